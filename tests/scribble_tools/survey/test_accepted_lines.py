"""What `inspect` prints, `convert` accepts: every format, and files as people have them."""

import os
import re
import shlex

import numpy as np
import pytest

from scribble_tools import cli
from scribble_tools.survey.command import inspect_path
from scribble_tools.survey.text import format_report
from tests.scribble_tools.convert.people_files import (
    a_folder_for_each_class,
    almost_integers,
    colours,
    dicom,
    labels_in,
    library_default,
    masks,
    masks_in_folders,
    mirrored,
    names_in_other_forms,
    nan_labels,
    nifti2,
    no_codes,
    one_slice,
    other_form,
    packed_as_nii,
    picture_strokes,
    plain,
    shared_values,
    sheared,
    slicer_files,
    slicer_header,
    slicer_masks,
    slicer_on_pictures,
    strokes,
    tiles,
    trailing_bytes,
    turned,
    two_layers,
    unpacked,
    write,
)

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".png", ".bmp", ".tif")


FLAT = (tiles, one_slice, slicer_on_pictures, masks, a_folder_for_each_class, colours)


ACCEPTED = [
    *map(plain, ENDINGS), nan_labels, almost_integers, unpacked, packed_as_nii, trailing_bytes,
    tiles, one_slice, slicer_on_pictures, slicer_header, slicer_files, no_codes, other_form,
    library_default, mirrored, masks, masks_in_folders, a_folder_for_each_class, colours,
    names_in_other_forms, slicer_masks,
]  # fmt: skip


def inspected_line(root, capsys):
    capsys.readouterr()
    assert cli.main(["inspect", str(root), "-np", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return next((line.strip() for line in lines if line.startswith("  scribble_tools convert")), "")


@pytest.mark.parametrize("make", ACCEPTED, ids=lambda make: make.__name__)
def test_what_inspect_prints_is_accepted_by_convert(tmp_path, monkeypatch, capsys, make):
    make(tmp_path / "data")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    line = os.path.expandvars(inspected_line(tmp_path / "data", capsys))
    report = format_report(inspect_path(tmp_path / "data"))
    asked = "next (edit what stands in capitals):" in report
    words = [*shlex.split(line)[1:], "-np", "1"]
    named = [re.sub(r"^NAME(?=\d*(=|$))", "Own", word) for word in words]
    assert asked == (named != words)
    if named != words:
        assert cli.main(words) == 1 and not (tmp_path / "raw").exists()
        assert "words in capitals are for you to fill in: " in capsys.readouterr().err
    assert cli.main(named) == 0
    flat = make in FLAT or make.__name__ in ("plain.png", "plain.bmp", "plain.tif")
    labels = picture_strokes() if flat else strokes()
    for found in labels_in(tmp_path / "raw" / "Dataset100_Data"):
        # 1 and 2 may have changed places with the order in which classes are named
        assert np.array_equal(found == 0, labels == 3)
        assert np.array_equal(found == 3, labels == 0)
        pair = [np.array_equal(found == k, labels == 1) for k in (1, 2)]
        assert sum(pair) == 1


@pytest.mark.parametrize("make", [nifti2, sheared, turned, two_layers, shared_values])
def test_inspect_prints_no_line_that_convert_would_refuse(tmp_path, capsys, make):
    make(tmp_path)
    assert inspected_line(tmp_path, capsys) == ""


def test_inspect_names_what_it_does_not_read(tmp_path, capsys):
    dicom(tmp_path)
    line = inspected_line(tmp_path, capsys)
    assert "--images IMAGES" in line  # to be filled in
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert "not read: 6 files are DICOM" in capsys.readouterr().out
    assert cli.main(["inspect", str(tmp_path / "images")]) == 1
    assert "6 files are DICOM" in capsys.readouterr().err


@pytest.mark.parametrize("names", ["{}.nii.gz {}_gt.nii.gz", "{}/t1.nii.gz {}/seg.nii.gz"])
def test_dense_labels_beside_images_lead_to_a_data_set_of_scribbles(
    tmp_path, monkeypatch, capsys, names
):
    """Every printed line is pasted, with the words in capitals filled in."""
    raw = tmp_path / "raw"
    raw.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(raw))
    dense = np.zeros((4, 40, 40), np.uint8)
    dense[:, 12:28, 12:28] = 1
    noise = np.random.default_rng(0).integers(1, 90, dense.shape)
    for case in ("p1", "p2"):
        for name, array in zip(names.split(), ((noise + 9 * dense) / 7, dense), strict=True):
            write(tmp_path / "hearts" / name.format(case), array.astype(np.float32))
    report = inspect_path(tmp_path / "hearts")
    drawn = tmp_path / "drawn"
    line = report["command"].replace("SCRIBBLES", str(drawn))
    assert cli.main(shlex.split(line)[1:]) == 0
    ending = names.split()[1].format("p1")
    assert (drawn / ending).is_file() and not (drawn / names.split()[0].format("p1")).exists()
    (line,) = (n for n in capsys.readouterr().out.splitlines() if n.startswith("next: "))
    images = report["advice"].partition("with --images ")[2]
    line = line.replace("IMAGES --image-pattern IMAGE_PATTERN", images).replace(
        "$nnUNet_raw", str(raw)
    )
    line = line.replace("NAME1", "wall").replace("NAME", "Hearts")
    assert cli.main(shlex.split(line)[2:]) == 0
    (folder,) = raw.iterdir()
    assert len(labels_in(folder)) == 2 and (folder / "labelsTr_dense").is_dir()
    assert {*np.unique(labels_in(folder)[0])} == {0, 1, 2}
