"""Scribbles for data sets and folders: right, the same on any number of processes, all or none."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scribble_tools.check.command import check_dataset
from scribble_tools.cli import main
from scribble_tools.generate.command import parse_class_settings
from scribble_tools.generate.label_folder import generate_folder
from scribble_tools.generate.plan import PRESETS, ScribblePlan, generate_scribbles, slice_axis
from scribble_tools.generate.scribble_dataset import generate_dataset
from scribble_tools.generate.strokes import STYLES, StrokeSettings
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation

pytestmark = pytest.mark.slow

SPACING_MM = (8.0, 1.5, 1.5)
LABELS = {"background": 0, "wall": 1, "cavity": 2}


def heart(shape=(6, 40, 44), seed=0):
    """A ring (1) around a disc (2) that gets smaller; the last slice is empty."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape).astype(float)
    centre = rng.uniform(-3, 3, 2)
    radius = np.hypot(y - shape[1] / 2 - centre[0], x - shape[2] / 2 - centre[1])
    outer = 14 * np.sqrt(np.clip(1 - z / (shape[0] - 1), 0, 1))
    return np.where(radius < outer - 3, 2, radius < outer).astype(np.uint8)


def write(path, array, spacing_mm=SPACING_MM):
    image = sitk.GetImageFromArray(array)
    if array.ndim == 3:
        image.SetSpacing(spacing_mm[::-1])
        image.SetOrigin((5, -7, 11))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def scribbles_of(folder):
    return {path.name: read(path) for path in sorted(folder.glob("*.nii.gz"))}


@pytest.fixture
def dataset(tmp_path):
    """Six cases of three patients with dense labels."""
    folder = tmp_path / "Dataset007_Heart"
    for number in range(6):
        case, dense = f"p{number // 2}_f{number % 2}", heart(seed=number)
        write(folder / "imagesTr" / f"{case}_0000.nii.gz", dense.astype(np.float32))
        write(folder / "imagesTr" / f"{case}_0001.nii.gz", dense.astype(np.float32))
        write(folder / "labelsTr" / f"{case}.nii.gz", dense)
    content = {
        "channel_names": {"0": "cine", "1": "T2"},
        "labels": LABELS,
        "numTraining": 6,
        "file_ending": ".nii.gz",
        "licence": "mine",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


# --- one case --------------------------------------------------------------------------------

plans = st.builds(
    ScribblePlan,
    foreground=st.sampled_from([preset[0] for preset in PRESETS.values()]),
    background=st.sampled_from([preset[1] for preset in PRESETS.values()]),
    mode=st.sampled_from(("2d", "3d")),
    seed=st.integers(0, 9),
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(plans, st.integers(0, 50))
def test_no_plan_writes_a_wrong_label(plan, shape_seed):
    dense = heart((4, 24, 28), shape_seed)
    scribble = generate_scribbles(dense, SPACING_MM, LABELS.values(), 3, plan, "case")
    assert scribble.shape == dense.shape
    assert (scribble[scribble < 3] == dense[scribble < 3]).all()
    assert set(np.unique(scribble).tolist()) == {0, 1, 2, 3}


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.sampled_from((1.0, 0.5, 0.2)), st.integers(0, 20))
def test_every_class_is_scribbled_in_every_chosen_slice(share, seed):
    dense = heart((8, 30, 30), seed)
    plan = ScribblePlan(slices=share, seed=seed)
    scribble = generate_scribbles(dense, SPACING_MM, LABELS.values(), 3, plan, "case")
    chosen = [k for k in range(8) if (scribble[k] < 3).any()]
    # seven slices with objects and an empty one, of which at least one is taken
    assert len(chosen) == round(share * 7) + 1
    for k in chosen:
        assert set(np.unique(scribble[k]).tolist()) == {*np.unique(dense[k]).tolist(), 3}


@pytest.mark.parametrize("nth", [1, 2, 3, 7, 50])
def test_every_nth_slice_is_dense_and_nothing_else(nth):
    dense = heart((9, 20, 20))
    plan = ScribblePlan(every_nth=nth)
    scribble = generate_scribbles(dense, SPACING_MM, LABELS.values(), 3, plan, "case")
    for k in range(9):
        expected = dense[k] if (k - 4) % nth == 0 else np.full_like(dense[k], 3)
        assert (scribble[k] == expected).all()


def test_slices_are_cut_across_the_largest_spacing():
    assert slice_axis((30, 5, 40), (1, 6, 1)) == 1
    assert slice_axis((30, 30, 30), (1, 1, 1)) == 0
    assert slice_axis((30, 1, 40), (2, 1, 1)) == 1  # a single slice, whatever its spacing
    dense = np.moveaxis(heart(), 0, 2)
    plan = ScribblePlan(every_nth=100)
    scribble = generate_scribbles(dense, (1.5, 1.5, 8), LABELS.values(), 3, plan, "case")
    assert np.flatnonzero((scribble < 3).any(axis=(0, 1))).tolist() == [3]


def test_strokes_depend_on_seed_and_case_name_alone():
    def draw(seed, case):
        return generate_scribbles(heart(), SPACING_MM, (0, 1, 2), 3, ScribblePlan(seed=seed), case)

    assert (draw(0, "a") == draw(0, "a")).all()
    assert (draw(0, "a") != draw(0, "b")).any() and (draw(0, "a") != draw(1, "a")).any()


def test_known_strokes_are_drawn_on_any_machine():
    """Positions recorded once: a change here changes every data set that is generated anew."""
    scribble = generate_scribbles(heart(), SPACING_MM, (0, 1, 2), 3, ScribblePlan(), "case")
    weights = np.arange(scribble.size) % 9973
    found = [int(weights[scribble.ravel() == value].sum()) for value in (0, 1, 2)]
    assert found == [2824146, 744953, 436920]


def test_acdc_preset_covers_what_people_cover():
    dense = np.concatenate([heart((8, 40, 40), seed)[:6] for seed in range(4)])
    foreground, background = PRESETS["acdc"]
    plan = ScribblePlan(foreground, background)
    scribble = generate_scribbles(dense, SPACING_MM, (0, 1, 2), 3, plan, "case")
    wall, cavity = ((scribble == value).sum() / (dense == value).sum() for value in (1, 2))
    # means of ACDC: 16 % of the myocardium's, 13 % of the left ventricle's voxels
    assert 0.08 < wall < 0.25 and 0.08 < cavity < 0.25


# --- folders ---------------------------------------------------------------------------------


def test_folder_of_labels(tmp_path, capsys):
    for name, dense in (("a", heart(seed=1)), ("b", heart(seed=2))):
        write(tmp_path / "dense" / f"{name}.nii.gz", dense)
    write(tmp_path / "dense" / "photo.png", np.pad(heart()[1], 2))
    (tmp_path / "dense" / "notes.txt").write_text("no label file")
    for count in (1, 2):
        out = tmp_path / f"np{count}"
        assert (
            main(["generate", str(tmp_path / "dense"), "--out", str(out), "-np", str(count)]) == 0
        )
    assert "unlabelled voxels have the value 3" in capsys.readouterr().out
    one, two = scribbles_of(tmp_path / "np1"), scribbles_of(tmp_path / "np2")
    assert list(one) == ["a.nii.gz", "b.nii.gz"]
    assert all((one[name] == two[name]).all() for name in one)
    dense = sitk.ReadImage(str(tmp_path / "dense" / "a.nii.gz"))
    scribble = sitk.ReadImage(str(tmp_path / "np1" / "a.nii.gz"))
    assert scribble.GetOrigin() == dense.GetOrigin() and scribble.GetSpacing() == dense.GetSpacing()
    photo = read(tmp_path / "np1" / "photo.png")
    assert photo.shape == (44, 48) and set(np.unique(photo).tolist()) == {0, 1, 2, 3}
    record = json.loads((tmp_path / "np1" / "generated.json").read_text())
    assert record["unlabelled"] == 3 and record["classes"]["1"]["length"] == [0.5, 2.9]


def test_the_next_line_of_a_folder_has_its_values_and_a_free_id(tmp_path, monkeypatch, capsys):
    raw = tmp_path / "raw"
    for number in (100, 101):
        (raw / f"Dataset{number}_Mine").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", str(raw))
    write(tmp_path / "dense" / "a.nii.gz", heart() * 4)
    write(tmp_path / "images" / "a.nii.gz", heart().astype(np.float32) * 1.5)
    folders = str(tmp_path / "dense"), "--out", str(tmp_path / "drawn")
    assert main(["generate", *folders, "-np", "1"]) == 0
    (line,) = (n for n in capsys.readouterr().out.splitlines() if n.startswith("next: "))
    assert "--labels background=0 NAME1=4 NAME2=8 --unlabelled 9 --name NAME " in line
    assert line.endswith('--dataset-id 102 --out "$nnUNet_raw"')
    line = line.replace("IMAGES", str(tmp_path / "images")).replace('"$nnUNet_raw"', str(raw))
    for name, own in (("NAME1", "wall"), ("NAME2", "cavity"), ("NAME", "Hearts")):
        line = line.replace(name, own)
    assert main(line.split()[2:]) == 0
    assert (raw / "Dataset102_Hearts" / "labelsTr_dense" / "a.nii.gz").is_file()


def test_images_of_whole_numbers_are_no_labels(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 99, heart().shape).astype(np.uint8)
    write(tmp_path / "all" / "a.nii.gz", noise)
    words = ["generate", str(tmp_path / "all"), "--out", str(tmp_path / "drawn")]
    assert main(words) == 1
    assert "a.nii.gz looks like an image, not like labels" in capsys.readouterr().err
    write(tmp_path / "all" / "a_gt.nii.gz", heart())
    assert main(words) == 1 and not (tmp_path / "drawn").exists()
    assert "--pattern tells which are labels" in capsys.readouterr().err
    assert main([*words, "--pattern", "{case}_gt.nii.gz"]) == 0


def test_scribbles_in_the_place_of_dense_labels_are_asked_about(tmp_path, capsys):
    write(tmp_path / "dense" / "a.nii.gz", heart())
    assert main(["generate", str(tmp_path / "dense"), "--out", str(tmp_path / "drawn")]) == 0
    assert "WARNING" not in capsys.readouterr().err
    assert main(["generate", str(tmp_path / "drawn"), "--out", str(tmp_path / "again")]) == 0
    assert "a.nii.gz looks like scribbles already" in capsys.readouterr().err


def test_patterns_say_which_files_are_labels(tmp_path, capsys):
    """In folders of cases each has strokes of its own, though all files are called alike."""
    for case in ("a", "b"):
        write(tmp_path / "hearts" / case / "dense.nii.gz", heart())
        write(tmp_path / "hearts" / case / "image.nii.gz", 50 * heart())
    out = tmp_path / "drawn"
    words = ["generate", str(tmp_path / "hearts"), "--out", str(out), "-np", "1", "--pattern"]
    assert main([*words, "{case}/labels.nii.gz"]) == 1
    assert "there are a/dense.nii.gz, a/image.nii.gz, b/dense.nii.gz and 1 more" in (
        capsys.readouterr().err
    )
    assert main([*words, "dense.nii.gz"]) == 1 and not out.exists()
    assert main([*words, "{case}/dense.nii.gz"]) == 0
    drawn = [out / case / "dense.nii.gz" for case in ("a", "b")]
    assert sorted(out.rglob("*.nii.gz")) == drawn
    assert (read(drawn[0]) != read(drawn[1])).any()
    assert main([*words, "{case}/dense.nii.gz", "--overwrite"]) == 0


def test_folder_with_a_chosen_value_for_unlabelled(tmp_path):
    write(tmp_path / "dense" / "a.nii.gz", heart())
    generate_folder(tmp_path / "dense", tmp_path / "out", ScribblePlan(), unlabelled=255)
    assert set(np.unique(read(tmp_path / "out" / "a.nii.gz")).tolist()) == {0, 1, 2, 255}


@pytest.mark.parametrize("unlabelled", [2, -1, 70000])
def test_unlabelled_must_be_a_free_value(tmp_path, unlabelled):
    write(tmp_path / "dense" / "a.nii.gz", heart())
    with pytest.raises(ValueError, match=rf"unlabelled {unlabelled}: take .* it holds \[0, 1, 2\]"):
        generate_folder(tmp_path / "dense", tmp_path / "out", ScribblePlan(), unlabelled)
    assert not (tmp_path / "out").exists()


def test_the_highest_label_leaves_another_value_for_unlabelled(tmp_path):
    write(tmp_path / "dense" / "a.nii.gz", heart().astype(np.int32) * 30000)
    counts = generate_folder(tmp_path / "dense", tmp_path / "out", ScribblePlan(), num_processes=1)
    assert set(counts) == {0, 30000, 60000, 60001}
    write(tmp_path / "dense" / "b.nii.gz", heart().astype(np.int32) * 65535)
    with pytest.raises(ValueError, match="unlabelled 131071: take a value up to 65535"):
        generate_folder(
            tmp_path / "dense", tmp_path / "other", ScribblePlan(), 131071, num_processes=1
        )
    for name, asked in (("free", None), ("said", 7)):
        out, unlabelled = tmp_path / name, asked or 65534
        counts = generate_folder(tmp_path / "dense", out, ScribblePlan(), asked, num_processes=1)
        assert set(counts) == {0, unlabelled, 30000, 60000, 65535, 131070}
        assert set(np.unique(read(out / "b.nii.gz"))) == {0, unlabelled, 65535, 131070}


@pytest.mark.parametrize(
    ("ending", "unlabelled", "dtype"),
    [(".png", 256, np.uint16), (".tif", 256, np.uint16), (".bmp", 254, np.uint8)],
)
def test_masks_of_0_and_255_are_drawn_on(tmp_path, ending, unlabelled, dtype):
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 15:40] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / f"a{ending}")
    (tmp_path / "masks" / f"._a{ending}").write_bytes(b"\0\5\x16\7")
    out = tmp_path / "out"
    counts = generate_folder(tmp_path / "masks", out, ScribblePlan(), num_processes=1)
    assert set(counts) == {0, 255, unlabelled}
    found, _ = read_labels(out / f"a{ending}")
    assert set(np.unique(found)) == {0, 255, unlabelled}
    drawn = found != unlabelled
    assert np.array_equal(found[drawn], mask[drawn]) and 0 < drawn.mean() < 0.5
    assert np.asarray(Image.open(out / f"a{ending}")).dtype == dtype
    assert sorted(path.name for path in out.iterdir()) == [f"a{ending}", "generated.json"]


def test_problems_of_a_folder_are_reported_together(tmp_path):
    write(tmp_path / "dense" / "good.nii.gz", heart())
    write(tmp_path / "dense" / "half.nii.gz", heart() + np.float32(0.5))
    write(tmp_path / "dense" / "minus.nii.gz", heart().astype(np.int16) - 1)
    (tmp_path / "dense" / "broken.nii.gz").write_text("")
    with pytest.raises(ValueError, match="3 problems, nothing written") as error:
        generate_folder(tmp_path / "dense", tmp_path / "out", ScribblePlan(), num_processes=1)
    for words in ("half.nii.gz holds", "minus.nii.gz holds the negative label -1", "broken.nii.gz"):
        assert words in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense"]


def test_folder_without_labels_or_background(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        generate_folder(tmp_path / "none", tmp_path / "out", ScribblePlan())
    (tmp_path / "dense").mkdir()
    with pytest.raises(FileNotFoundError, match="no label files"):
        generate_folder(tmp_path / "dense", tmp_path / "out", ScribblePlan())
    write(tmp_path / "dense" / "a.nii.gz", heart() + np.uint8(1))
    with pytest.raises(ValueError, match=r"no background \(0\)"):
        generate_folder(tmp_path / "dense", tmp_path / "out", ScribblePlan())


def test_nothing_is_overwritten_unasked(tmp_path):
    write(tmp_path / "dense" / "a.nii.gz", heart())
    source, out = tmp_path / "dense", tmp_path / "out"
    generate_folder(source, out, ScribblePlan())
    with pytest.raises(FileExistsError, match="--overwrite"):
        generate_folder(source, out, ScribblePlan())
    generate_folder(source, out, ScribblePlan(seed=1), overwrite=True)
    with pytest.raises(ValueError, match="which is read, lies in .* take another --out"):
        generate_folder(source, source, ScribblePlan(), overwrite=True)
    assert (source / "a.nii.gz").exists()


# --- data sets -------------------------------------------------------------------------------


def test_dataset(dataset, tmp_path, capsys):
    words = f"generate {dataset} --dataset-id 104 --out {tmp_path} --preset scribblebench"
    assert main([*words.split(), "--patient-regex", r"(p\d)_"]) == 0
    assert "wall: " in capsys.readouterr().out
    new = tmp_path / "Dataset104_HeartScribbles"
    content = json.loads((new / "dataset.json").read_text())
    assert content["labels"] == {**LABELS, "ignore": 3} and list(content["labels"])[-1] == "ignore"
    assert content["licence"] == "mine" and content["numTraining"] == 6
    for sub, copy in (("imagesTr", "imagesTr"), ("labelsTr", "labelsTr_dense")):
        files = sorted((dataset / sub).iterdir())
        assert [p.name for p in files] == [p.name for p in sorted((new / copy).iterdir())]
        assert all(p.read_bytes() == (new / copy / p.name).read_bytes() for p in files)
    dense, scribbles = scribbles_of(dataset / "labelsTr"), scribbles_of(new / "labelsTr")
    assert list(dense) == list(scribbles)
    for name, scribble in scribbles.items():
        assert (scribble[scribble < 3] == dense[name][scribble < 3]).all()
    splits = json.loads((new / "splits_final.json").read_text())
    assert len(splits) == 3  # as many as patients
    for fold in splits:
        assert not {c[:2] for c in fold["train"]} & {c[:2] for c in fold["val"]}
    record = json.loads((new / "conversion.json").read_text())
    assert record["preset"] == "scribblebench" and record["seed"] == 0
    assert record["classes"]["wall"]["styles"] == list(STYLES)
    assert record["patients"]["p0_f1"] == "p0" and "numpy" in record["versions"]


def test_a_data_set_is_found_by_id_and_name(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    for number, source in enumerate(("7", dataset.name), 104):
        words = f"generate {source} --dataset-id {number} --out {tmp_path} --every-nth-slice 2"
        assert main([*words.split(), "--patient-regex", r"(p\d)_"]) == 0
        assert (tmp_path / f"Dataset{number}_HeartScribbles" / "labelsTr").is_dir()
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "7" / "a.nii.gz", heart())
    assert main("generate 7 --out drawn -np 1".split()) == 0, "what is there goes first"
    capsys.readouterr()
    for source, said in (
        ("8", "8 is no folder here, and data set 8 in "),
        ("Dataset008_X", "Dataset008_X is no folder here, and data set Dataset008_X in "),
        ("there/dense", "error: there/dense is not a folder\n"),
    ):
        assert main(f"generate {source} --dataset-id 110 --out new".split()) == 1
        assert said in capsys.readouterr().err
    monkeypatch.delenv("nnUNet_raw")
    assert main("generate 8 --dataset-id 110 --out new".split()) == 1
    assert "8 is no folder, and nnUNet_raw is not set" in capsys.readouterr().err


def test_dataset_is_the_same_for_any_number_of_processes(dataset, tmp_path, processes):
    one, two = (
        generate_dataset(dataset, 100 + n, tmp_path, ScribblePlan(), f"np{n}", num_processes=n)[0]
        for n in (1, 3)
    )
    one, two = scribbles_of(one / "labelsTr"), scribbles_of(two / "labelsTr")
    assert all((one[name] == two[name]).all() for name in one)


def test_scribbles_anew_from_the_dense_labels_of_a_scribble_dataset(dataset, tmp_path):
    first, _ = generate_dataset(dataset, 104, tmp_path, ScribblePlan())
    splits = json.loads((first / "splits_final.json").read_text())
    (first / "splits_final.json").write_text(json.dumps(splits[:2]))
    second, _ = generate_dataset(first, 105, tmp_path, ScribblePlan(every_nth=2), "Every2nd")
    content = json.loads((second / "dataset.json").read_text())
    assert content["labels"] == {**LABELS, "ignore": 3}
    assert json.loads((second / "splits_final.json").read_text()) == splits[:2]
    dense = scribbles_of(dataset / "labelsTr")
    for name, scribble in scribbles_of(second / "labelsTr").items():
        assert (scribble[1::2] == dense[name][1::2]).all() and (scribble[::2] == 3).all()


def test_a_share_of_the_cases(dataset, tmp_path):
    def cases(share, dataset_id, **more):
        more["patient_regex"] = "p."
        folder, _ = generate_dataset(
            dataset, dataset_id, tmp_path, ScribblePlan(), f"D{dataset_id}", share, **more
        )
        return folder, sorted(path.name[:5] for path in (folder / "labelsTr").iterdir())

    folder, two_thirds = cases(0.67, 201)
    assert len(two_thirds) == 4 and len({case[:2] for case in two_thirds}) == 2
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 4
    folder, every = cases(0.67, 202, keep_unscribbled=True)
    assert not check_dataset(folder, num_processes=1).count("warning")
    assert len(every) == 6
    empty = {c for c in every if (read(folder / "labelsTr" / f"{c}.nii.gz") == 3).all()}
    assert empty == set(every) - set(two_thirds)
    for fold in json.loads((folder / "splits_final.json").read_text()):
        assert fold["train"] and not empty & set(fold["train"])
    # every smaller share is part of the larger; a single patient leaves nothing to split
    folder, third = cases(0.34, 203)
    assert set(third) < set(two_thirds) and not (folder / "splits_final.json").exists()


def test_too_few_cases_for_the_folds(dataset, tmp_path):
    cases = [f"p{p}_f{f}" for p in range(3) for f in range(2)]
    splits = [{"train": cases[:3], "val": cases[3:]}, {"train": cases[3:], "val": cases[:3]}]
    (dataset / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(ValueError, match=r"fold \d keeps no \w+ case.*--keep-unscribbled"):
        generate_dataset(dataset, 9, tmp_path, ScribblePlan(), cases=0.17)
    with pytest.raises(ValueError, match="none of the 6"):
        generate_dataset(dataset, 9, tmp_path, ScribblePlan(), cases=0.01)
    with pytest.raises(ValueError, match="cases 1.5: a share"):
        generate_dataset(dataset, 9, tmp_path, ScribblePlan(), cases=1.5)
    (dataset / "splits_final.json").write_text('[{"train": []}]')
    with pytest.raises(ValueError, match=r"splits_final.json: \[0\].val is missing"):
        generate_dataset(dataset, 9, tmp_path, ScribblePlan())


def test_region_labels_and_partly_ignored_dense_labels(dataset, tmp_path):
    content = json.loads((dataset / "dataset.json").read_text())
    content["labels"] = {"background": 0, "whole": [1, 2], "cavity": 2}
    content["regions_class_order"] = [1, 2]
    (dataset / "dataset.json").write_text(json.dumps(content))
    folder, counts = generate_dataset(dataset, 104, tmp_path, ScribblePlan(), "Regions")
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "whole": [1, 2], "cavity": 2, "ignore": 3}
    assert set(counts) == {0, 1, 2, 3}

    content["labels"] = {**LABELS, "ignore": 3}
    (dataset / "dataset.json").write_text(json.dumps(content))
    part = heart()
    part[:, :15] = 3
    write(dataset / "labelsTr" / "p0_f0.nii.gz", part)
    folder, _ = generate_dataset(dataset, 105, tmp_path, ScribblePlan(), "Partly")
    scribble = read(folder / "labelsTr" / "p0_f0.nii.gz")
    assert (scribble[part == 3] == 3).all() and {0, 1, 2} < set(np.unique(scribble).tolist())


def test_problems_of_a_dataset_are_reported_together(dataset, tmp_path):
    write(dataset / "labelsTr" / "p0_f0.nii.gz", heart() + np.uint8(5))
    (dataset / "labelsTr" / "p1_f0.nii.gz").write_text("")
    with pytest.raises(ValueError, match="2 problems, nothing written") as error:
        generate_dataset(dataset, 104, tmp_path, ScribblePlan())
    assert "p0_f0.nii.gz holds [5, 6, 7]; expected [0, 1, 2]" in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [dataset.name]
    (dataset / "labelsTr" / "p2_f0.nii.gz").unlink()
    with pytest.raises(ValueError, match="p2_f0_0000.nii.gz has no dense label"):
        generate_dataset(dataset, 104, tmp_path, ScribblePlan())


def test_scribbles_are_no_dense_labels(dataset, tmp_path):
    folder, _ = generate_dataset(dataset, 104, tmp_path, ScribblePlan())
    for path in (folder / "labelsTr_dense").iterdir():
        path.unlink()
    (folder / "labelsTr_dense").rmdir()
    with pytest.raises(ValueError, match="these are scribbles already"):
        generate_dataset(folder, 105, tmp_path, ScribblePlan())


def test_a_dataset_does_not_replace_itself_or_its_list_of_files(dataset, tmp_path):
    with pytest.raises(ValueError, match="which is read, lies in .* or is the same"):
        generate_dataset(dataset, 7, tmp_path, ScribblePlan(), "Heart", overwrite=True)
    content = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps({**content, "dataset": {}}))
    with pytest.raises(ValueError, match="lists its files under 'dataset'"):
        generate_dataset(dataset, 8, tmp_path, ScribblePlan())


# --- command line ----------------------------------------------------------------------------


def test_settings_of_single_classes():
    plain = StrokeSettings()
    words = ["background:length=1.5-3,distance=0.2", "wall:style=both,thickness=2", "7:strokes=4"]
    found = parse_class_settings(words, LABELS, lambda value: plain)
    assert found == {
        0: StrokeSettings(length=(1.5, 3.0), distance=(0.2, 0.2)),
        1: StrokeSettings(STYLES, thickness=2),
        7: StrokeSettings(strokes=4),
    }
    assert parse_class_settings(["1:components=one"], {}, lambda value: plain)[1] == StrokeSettings(
        every_component=False
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("liver:length=1", "no class 'liver'; there are background, wall, cavity"),
        ("wall:colour=3", "cannot read 'colour=3'. Write NAME:KEY=VALUE"),
        ("wall:length=long", "cannot read 'length=long'"),
        ("wall", "no class ''"),
        ("wall:thickness=0", "thickness 0: must be at least 1"),
    ],
)
def test_settings_of_single_classes_that_cannot_be_read(word, message):
    with pytest.raises(ValueError, match=message):
        parse_class_settings([word], LABELS, lambda value: StrokeSettings())


def test_options_override_the_preset(dataset, tmp_path):
    words = f"generate {dataset} --dataset-id 104 --out {tmp_path} --style both --thickness 2"
    more = "--length 0.4-0.6 --mode 3d --seed 5 --class background:style=interior cavity:length=1"
    assert main([*words.split(), *more.split()]) == 0
    folder = tmp_path / "Dataset104_HeartScribbles"
    record = json.loads((folder / "conversion.json").read_text())
    assert (record["mode"], record["seed"], record["preset"]) == ("3d", 5, "acdc")
    wall, cavity, background = (record["classes"][n] for n in ("wall", "cavity", "background"))
    assert wall["styles"] == list(STYLES) and background["styles"] == ["interior"]
    assert wall["thickness"] == background["thickness"] == 2
    assert wall["length"] == [0.4, 0.6] and cavity["length"] == [1, 1]
    assert background["length"] == list(PRESETS["acdc"][1].length)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "is a data set: give the new one a --dataset-id"),
        ("--dataset-id 5 --unlabelled 0", "--unlabelled is for folders of labels"),
        ("--dataset-id 5 --pattern {case}.nii", "--pattern is for folders of labels"),
        ("--dataset-id 5 --every-nth-slice 3 --style both", "draws no strokes: leave out --style"),
        ("--dataset-id 5 --every-nth-slice 0", "every 0th slice: must be at least 1"),
        ("--dataset-id 5 --mode 3d --slices 0.5", "a share of slices makes sense in mode 2d only"),
        ("--dataset-id 5 --slices 0", "slices 0: a share above 0"),
        ("--dataset-id 5 --seed -1", "seed -1: must not be negative"),
        ("--dataset-id 5 --length 3-1", "length 3-1: positive, and the smaller value first"),
        ("--dataset-id 5 --patient-regex x_", "does not match p0_f0"),
        ("--dataset-id 5 --class 77:length=1", "holds no label 77, but [0, 1"),
    ],
)
def test_options_that_make_no_sense(dataset, tmp_path, capsys, options, message):
    assert main(["generate", str(dataset), "--out", str(tmp_path), *options.split()]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [dataset.name]


def test_options_for_data_sets_are_refused_for_folders(tmp_path, capsys):
    write(tmp_path / "dense" / "a.nii.gz", heart())
    words = f"generate {tmp_path / 'dense'} --out {tmp_path / 'out'} --dataset-id 5 --cases 0.5"
    assert main(words.split()) == 1
    assert "takes no --dataset-id --cases" in capsys.readouterr().err


def test_images_in_the_place_of_labels_are_asked_about(tmp_path, capsys):
    (tmp_path / "dense").mkdir()
    values = np.arange(2 * 16 * 16, dtype=np.int16).reshape(2, 16, 16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "dense" / "a.nii.gz"))
    assert main(["generate", str(tmp_path / "dense"), "--out", str(tmp_path / "out")]) == 1
    assert "holds 512 different values: are these images?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_slices_of_an_isotropic_volume_are_cut_across_z_whatever_is_rounded():
    assert slice_axis((40, 64, 64), (1.0, 1.0000001, 1.0)) == 0
    assert slice_axis((40, 64, 64), (1.0, 1.2, 1.0)) == 1


@pytest.mark.parametrize("ending", [".NII.GZ", ".MHA"])
def test_files_with_endings_in_capitals_are_drawn_on_too(tmp_path, ending, capsys):
    write(tmp_path / "dense" / f"a{ending.lower()}", heart())
    (tmp_path / "dense" / f"a{ending.lower()}").rename(tmp_path / "dense" / f"a{ending}")
    folders = str(tmp_path / "dense"), "--out", str(tmp_path / "drawn")
    assert main(["generate", *folders, "-np", "1"]) == 0
    assert (tmp_path / "drawn" / f"a{ending.lower()}").is_file()
    assert "--resample" not in capsys.readouterr().out


def test_scribbles_of_segmentations_of_slicer_are_label_files(tmp_path, capsys):
    labels = heart()
    segments = [NewSegment(name, (1, 0, 0), labels == k) for k, name in enumerate("ab", 1)]
    (tmp_path / "dense").mkdir()
    image = sitk.GetImageFromArray(labels)
    write_segmentation(segments, image, tmp_path / "dense" / "anna.seg.nrrd")
    folders = str(tmp_path / "dense"), "--out", str(tmp_path / "drawn")
    assert main(["generate", *folders, "-np", "1"]) == 0
    assert "the line above needs --resample" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "drawn").glob("*.nrrd")} == {"anna.nrrd"}
    assert set(np.unique(read_labels(tmp_path / "drawn" / "anna.nrrd")[0])) == {0, 1, 2, 3}
    write(tmp_path / "dense" / "anna.nrrd", labels)
    with pytest.raises(ValueError, match="anna.nrrd: of two files"):
        generate_folder(tmp_path / "dense", tmp_path / "more", ScribblePlan(), num_processes=1)
