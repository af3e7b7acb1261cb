"""A conversion that replaces a data set leaves alone what no conversion wrote there."""

import json

import numpy as np
import pytest

from scribble_tools.cli import main
from scribble_tools.convert.source import SourceCase
from tests.scribble_tools.convert.test_conversion import (
    SHAPE,
    convert,
    make_cases,
    source_of,
    write,
)


def files_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_users_own_files_stay_and_old_cases_go(tmp_path):
    cases = make_cases(tmp_path, (".nii.gz",) * 3)
    folder = convert(tmp_path, source_of(cases))
    (folder / "imagesTs").mkdir()
    (folder / "imagesTs" / "new_0000.nii.gz").write_bytes(b"mine")
    (folder / "notes.txt").write_text("mine")
    again = convert(tmp_path, source_of(cases[:2]), overwrite=True)
    assert again == folder
    assert (folder / "imagesTs" / "new_0000.nii.gz").read_bytes() == b"mine"
    assert (folder / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == ["c0.nii.gz", "c1.nii.gz"]
    named = json.loads((folder / "splits_final.json").read_text())[0]
    assert sorted(named["train"] + named["val"]) == ["c0", "c1"]  # the converter's own: anew
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_test_cases_of_an_earlier_conversion_go(tmp_path):
    cases = make_cases(tmp_path, (".nii.gz",) * 3)
    test = SourceCase("t", "t", cases[2].images, part="Ts")
    folder = convert(tmp_path, source_of([*cases[:2], test]))
    assert (folder / "imagesTs").is_dir()
    convert(tmp_path, source_of(cases[:2]), overwrite=True)
    assert not (folder / "imagesTs").exists()


def test_installed_splits_stay_while_their_cases_do(tmp_path):
    cases = make_cases(tmp_path, (".nii.gz",) * 3)
    folder = convert(tmp_path, source_of(cases))
    mine = json.dumps([{"train": ["c0"], "val": ["c1"]}])
    (folder / "splits_final.json").write_text(mine)
    convert(tmp_path, source_of(cases), overwrite=True)
    assert (folder / "splits_final.json").read_text() == mine
    before = files_below(folder)
    with pytest.raises(ValueError, match=r"splits_final.json is not what .* has not: c1\. Mend"):
        convert(tmp_path, source_of([cases[0], cases[2]]), overwrite=True)
    assert files_below(folder) == before


def test_a_folder_of_the_users_is_not_mixed_with_test_cases(tmp_path):
    cases = make_cases(tmp_path, (".nii.gz",) * 3)
    folder = convert(tmp_path, source_of(cases))
    (folder / "imagesTs").mkdir()
    more = SourceCase("t", "t", cases[0].images, part="Ts")
    with pytest.raises(ValueError, match=r"imagesTs is not what a conversion made.* move it away"):
        convert(tmp_path, source_of([*cases, more]), overwrite=True)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"patients": []}'])
def test_what_no_conversion_made_is_not_replaced(tmp_path, content):
    cases = make_cases(tmp_path)
    folder = convert(tmp_path, source_of(cases))
    (folder / "conversion.json").unlink()
    if content is not None:
        (folder / "conversion.json").write_text(content)
    before = files_below(folder)
    with pytest.raises(FileExistsError, match="exists and holds no conversion.json"):
        convert(tmp_path, source_of(cases), overwrite=True)
    assert files_below(folder) == before


def test_a_data_set_is_not_replaced_by_what_is_made_of_it(tmp_path):
    folder = convert(tmp_path, source_of(make_cases(tmp_path)))
    inside = [
        SourceCase(c, c, (folder / f"imagesTr/{c}_0000.nii.gz",), folder / f"labelsTr/{c}.nii.gz")
        for c in ("c0", "c1")
    ]
    before = files_below(folder)
    with pytest.raises(ValueError, match="c0_0000.nii.gz lies in .*Dataset007_X, which would be"):
        convert(tmp_path, source_of(inside), overwrite=True)
    assert files_below(folder) == before


def test_generated_scribbles_have_splits_for_their_cases_whatever_they_replace(tmp_path):
    cases = [
        SourceCase(c.name, c.patient, c.images, c.scribble, write_dense(tmp_path, c.name))
        for c in make_cases(tmp_path, (".nii.gz",) * 6)
    ]
    test = SourceCase("t", "t", cases[0].images, part="Ts")
    source = convert(tmp_path, source_of([*cases, test]), num_folds=2)
    words = ["generate", str(source), "--dataset-id", "8", "--name", "Y", "--overwrite"]
    for share, number in ((0.67, 4), (1, 6), (0.67, 4)):
        assert main([*words, "--out", str(tmp_path / "raw"), "--cases", str(share)]) == 0
        made = tmp_path / "raw" / "Dataset008_Y"
        (made / "imagesTs").mkdir(exist_ok=True)  # the user's: what is generated has no test cases
        folds = json.loads((made / "splits_final.json").read_text())
        assert len({c for fold in folds for side in fold.values() for c in side}) == number


def write_dense(folder, name):
    dense = np.zeros(SHAPE, np.uint8)
    dense[:, 2:5, 1:4] = 1
    return write(folder / "dense" / f"{name}.nii.gz", np.where(dense, 1, 5))
