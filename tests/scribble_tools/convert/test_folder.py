"""Folders of every kind that people have, through the command line, up to nnU-Net's own check."""

import json
import re

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scribble_tools import cli
from scribble_tools.convert.pairing import compile_pattern

SHAPE = (4, 9, 8)  # z, y, x
VALUES = {"background": 5, "RV": 1, "LV": 2}  # of the scribbles; 0 is unlabelled
WORDS = ["--labels", "background=5", "RV=1", "LV=2", "--unlabelled", "0"]


def make_image(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(np.uint8)


def make_scribble(seed=0, shape=SHAPE):
    labels = np.random.default_rng(seed + 100).integers(0, 3, shape)
    keep = np.random.default_rng(seed).random(shape) < 0.3
    keep.flat[0] = False
    return np.where(keep, np.array([5, 1, 2])[labels], 0).astype(np.uint8)


def in_nnunet(scribble):
    """What nnU-Net must see of values as in `VALUES`."""
    return np.select([scribble == 5, scribble == 1, scribble == 2], [0, 1, 2], 3)


def write(path, array, spacing=(1.0, 1.0, 6.0), origin=None):
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(spacing[: image.GetDimension()])
    if origin:
        image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def write_seg(path, scribble, names, crop=True, extra=()):
    """A Slicer segmentation of ``scribble`` (1 mm, 1 mm, 6 mm) whose values follow ``names``."""
    array = np.zeros(scribble.shape, np.uint8)
    for value, (_, source) in enumerate(names, 1):
        array[scribble == source] = value
    low = np.argwhere(array).min(0) if crop else np.zeros(3, int)
    high = np.argwhere(array).max(0) + 1 if crop else scribble.shape
    array = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    header = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": [[1, 0, 0], [0, 1, 0], [0, 0, 6]],
        "space origin": (low[::-1] * (1, 1, 6)).astype(float).tolist(),
    }
    for k, (name, _) in enumerate([*names, *extra]):
        header |= {
            f"Segment{k}_Name": name,
            f"Segment{k}_LabelValue": str(k + 1),
            f"Segment{k}_Layer": "0",
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), array.transpose(2, 1, 0), header)
    return path


def make_folders(root, ending=".nii.gz", count=3, label="{}"):
    for k in range(count):
        write(root / "images" / f"c{k}{ending}", make_image(k))
        write(root / "scribbles" / f"{label.format(f'c{k}')}{ending}", make_scribble(k))


def arguments_of(root, *words, labels=WORDS):
    fixed = ["--dataset-id", "130", "--name", "X", "--out", root / "raw", "-np", "1"]
    folders = ["--images", root / "images", "--scribbles", root / "scribbles"]
    return [str(word) for word in ("convert", "folder", *folders, *fixed, *labels, *words)]


def convert(root, *words, labels=WORDS):
    assert cli.main(arguments_of(root, *words, labels=labels)) == 0
    return root / "raw" / "Dataset130_X"


def refusal(root, capsys, *words, labels=WORDS):
    assert cli.main(arguments_of(root, *words, labels=labels)) == 1
    assert not list((root / "raw").glob("*"))
    return capsys.readouterr().err


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def json_of(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".png"])
def test_labels_go_there_and_back(tmp_path, ending):
    shape = (30, 28) if ending == ".png" else SHAPE
    for k in range(2):
        write(tmp_path / "images" / f"c{k}{ending}", make_image(k, shape))
        write(tmp_path / "scribbles" / f"c{k}{ending}", make_scribble(k, shape))
    # two values become one class, of which the first is written
    folder = convert(
        tmp_path, labels=["--labels", "background=5", "heart=2,1", "--unlabelled", "0"]
    )
    arguments = ["--dataset", str(folder), "--out", str(tmp_path / "restored")]
    assert cli.main(["restore-labels", str(folder / "labelsTr"), *arguments]) == 0
    for k in range(2):
        original = read(tmp_path / "scribbles" / f"c{k}{ending}")
        expected = np.where(original == 1, 2, original)
        assert np.array_equal(read(tmp_path / "restored" / f"c{k}{ending}"), expected)


@pytest.mark.parametrize(
    ("spacing", "configuration"),
    [((1, 1, 6), "2d"), ((6, 1, 1.2), "2d"), ((1, 1, 3), "3d_fullres"), ((1, 1), "2d")],
)
def test_the_next_command_names_a_configuration_that_fits(tmp_path, capsys, spacing, configuration):
    shape = SHAPE[3 - len(spacing) :]
    for folder, make in (("images", make_image), ("scribbles", make_scribble)):
        write(tmp_path / folder / "c.nrrd", make(0, shape), tuple(map(float, spacing)))
    convert(tmp_path)
    assert f"preprocess -d 130 -c {configuration} --clean" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Jürgen K. 1.5", "患者 2", "a'b (c)"])
def test_names_with_spaces_dots_and_letters_of_any_script(tmp_path, name):
    write(tmp_path / "images" / f"{name}.nii.gz", make_image())
    write(tmp_path / "scribbles" / f"{name}.nii.gz", make_scribble())
    folder = convert(tmp_path)
    assert [p.name for p in (folder / "imagesTr").iterdir()] == [f"{name}_0000.nii.gz"]
    assert cli.main(["check", str(folder), "-np", "1"]) == 0


def test_values_of_any_sign_and_size(tmp_path):
    write(tmp_path / "images" / "a.nii.gz", make_image())
    scribble = make_scribble().astype(np.int32)
    values = np.where(scribble == 5, 65536, np.where(scribble == 0, -1, scribble))
    write(tmp_path / "scribbles" / "a.nii.gz", values)
    words = ["--labels", "background=65536", "RV=1", "LV=2", "--unlabelled", "-1"]
    folder = convert(tmp_path, labels=words)
    assert np.array_equal(read(folder / "labelsTr" / "a.nii.gz"), in_nnunet(scribble))


def test_labels_of_another_dimension_are_no_pair(tmp_path, capsys):
    write(tmp_path / "images" / "a.nii.gz", make_image())
    write(tmp_path / "scribbles" / "a.nii.gz", make_scribble()[0])
    message = refusal(tmp_path, capsys)
    image = tmp_path / "images" / "a.nii.gz"
    assert f"(image: {image}) has 2 dimensions and 1 slices, its image 3 and 4: are" in message
    assert "--resample" not in message


def check_with_nnunet(folder):
    """nnU-Net's own integrity check, in this process; return the reader that it takes."""
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    verify_dataset_integrity(str(folder), 1)
    return determine_reader_writer_from_dataset_json(json_of(folder / "dataset.json"))()


# --- volumes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_nnunet_reads_what_was_drawn(tmp_path, ending):
    make_folders(tmp_path, ending)
    folder = convert(tmp_path)
    reader = check_with_nnunet(folder)
    assert type(reader).__name__ == "SimpleITKIO"
    for k in range(3):
        copied = folder / "imagesTr" / f"c{k}_0000{ending}"
        assert copied.read_bytes() == (tmp_path / "images" / f"c{k}{ending}").read_bytes()
        image, properties = reader.read_images([str(copied)])
        label = reader.read_seg(str(folder / "labelsTr" / f"c{k}{ending}"))[0]
        assert np.array_equal(image[0], make_image(k))
        assert np.array_equal(label[0], in_nnunet(make_scribble(k)))
        assert properties["spacing"] == pytest.approx([6, 1, 1])
    content = json_of(folder / "dataset.json")
    assert content["labels"] == {"background": 0, "RV": 1, "LV": 2, "ignore": 3}
    assert content["channel_names"] == {"0": "image"}


def test_several_values_make_a_class_and_several_are_unlabelled(tmp_path):
    make_folders(tmp_path)
    labels = ["--labels", "background=5", "heart=1,2", "--unlabelled", "0", "7"]
    folder = convert(tmp_path, labels=labels)
    expected = np.select([make_scribble(1) == 5, make_scribble(1) == 0], [0, 2], 1)
    assert np.array_equal(read(folder / "labelsTr" / "c1.nii.gz"), expected)


def test_images_in_the_place_of_scribbles_are_asked_about_in_few_lines(tmp_path, capsys):
    make_folders(tmp_path)
    for k in range(2):
        write(tmp_path / "scribbles" / f"c{k}.nii.gz", make_image(k))
    message = refusal(tmp_path, capsys)
    assert "and 1" in message and "are not mapped" in message and "are these images?" in message
    assert len([line for line in message.splitlines() if "reading" not in line]) <= 4


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_exchanged_images_and_scribbles_are_asked_about(tmp_path, capsys, dtype):
    for k in range(2):
        write(tmp_path / "images" / f"c{k}.nii.gz", make_scribble(k))
        image = make_image(k).astype(dtype) + (0.25 if dtype == np.float32 else 0)
        write(tmp_path / "scribbles" / f"c{k}.nii.gz", image)
    asked = "like labels, with 4 values: are --images and --scribbles exchanged?"
    assert asked in refusal(tmp_path, capsys)
    write(tmp_path / "images" / "a0.nii.gz", make_scribble(5))  # without a stroke file
    assert f"c0.nii.gz {asked}" in refusal(tmp_path, capsys, "--mixed")
    (tmp_path / "images" / "a0.nii.gz").unlink()
    for k in range(2):  # merely broken
        write(tmp_path / "scribbles" / f"c{k}.nii.gz", make_scribble(k) * np.float32(0.5))
    assert "exchanged?" not in refusal(tmp_path, capsys)
    for k in range(2):  # both images: something else is wrong
        write(tmp_path / "images" / f"c{k}.nii.gz", make_image(k))
    assert "exchanged?" not in refusal(tmp_path, capsys)


def test_dense_references_with_other_values(tmp_path, capsys):
    make_folders(tmp_path)
    dense = np.random.default_rng(0).choice([0, 10, 20], SHAPE).astype(np.uint8)
    for k in range(2):
        write(tmp_path / "dense" / f"c{k}.nii.gz", dense)
    words = ["--dense", tmp_path / "dense"]
    message = refusal(tmp_path, capsys, *words)
    assert "dense files: the values [0, 10, 20] are not mapped (background=5 RV=1 LV=2)" in message
    assert "--dense-labels background=VALUE NAME=VALUE[,VALUE] ...\n" in message
    write(tmp_path / "dense" / "c0.nii.gz", np.where(dense == 20, 5, dense))  # 5 for an organ
    message = refusal(tmp_path, capsys, *words)
    assert "(background=5 RV=1 LV=2), and 5 is read as background\n" in message
    write(tmp_path / "dense" / "c0.nii.gz", dense)
    for bad, what in (("LV=20", "RV must be named"), ("RV=10,20", "LV must be named")):
        given = refusal(tmp_path, capsys, *words, "--dense-labels", "background=0", bad)
        assert f"{what} for scribbles and dense labels" in given
    # in another order than the scribbles'
    folder = convert(tmp_path, *words, "--dense-labels", "LV=20", "RV=10", "background=0")
    assert "with a dense reference: 2 of 3 cases" in capsys.readouterr().out
    assert np.array_equal(read(folder / "labelsTr_dense" / "c1.nii.gz") * 10, dense)
    assert json_of(folder / "conversion.json")["dense_labels"]["classes"]["LV"] == [20]


def test_without_explanation_it_shows_what_it_saw(tmp_path, capsys):
    make_folders(tmp_path)
    message = refusal(tmp_path, capsys, labels=[])
    assert "nothing says what their labels mean" in message
    assert "seen in 3 files:" in message
    counts = {v: sum((make_scribble(k) == v).sum() for k in range(3)) for v in (0, 1, 2, 5)}
    rows = [line.split() for line in message.splitlines()]
    for value, count in counts.items():
        share = f"{100 * count / (3 * np.prod(SHAPE)):.3f}"
        assert [str(value), str(count), share, "%", "3"] in rows
    assert "--labels background=VALUE NAME=VALUE[,VALUE] ... --unlabelled VALUE" in message


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["--labels", "background=5", "RV=1", "--unlabelled", "0"], "values [2] are not mapped"),
        (
            ["--labels", "background=5", "RV=1", "LV=2"],
            "no value is said to mean unlabelled. Is 0 what nobody drew? It fills",
        ),
        (["--labels", "RV=1", "LV=2", "--unlabelled", "0"], "no background"),
        (["--labels", "background=5", "RV=1,5"], "the values [5] stand more than once"),
        (["--labels", "background"], "label 'background': write NAME=VALUE"),
        (["--labels", "background=5", "a=1", "a=2"], "a stands twice, write a=VALUE,VALUE"),
        (["--labels", "background=5", "RV=one"], "'one' is not a value"),
    ],
)
def test_labels_that_do_not_explain_all_are_refused_with_the_table(
    tmp_path, capsys, labels, problem
):
    make_folders(tmp_path, count=1)
    message = refusal(tmp_path, capsys, labels=labels)
    assert problem in message
    assert "seen in 1 file" in message


def test_the_few_files_with_values_that_are_not_mapped_are_named(tmp_path, capsys):
    make_folders(tmp_path, count=5)
    names = [tmp_path / "scribbles" / f"c{k}.nii.gz" for k in range(5)]
    # in so many files, the first ones
    for value, count in ((6, 1), (9, 1), (7, 3), (8, 4)):
        for name in names[:count]:
            array = read(name)
            array.flat[value] = value
            write(name, array)
    message = refusal(tmp_path, capsys)
    assert "the values [6, 7, 8, 9] are not mapped" in message
    assert f"\n  6, 9 only in {names[0]}\n" in message
    assert f"\n  7 only in {', '.join(map(str, names[:3]))}\n" in message
    assert "8 only in" not in message


def test_values_of_all_files_are_not_laid_at_the_door_of_any(tmp_path, capsys):
    make_folders(tmp_path)
    message = refusal(tmp_path, capsys, labels=["--labels", "background=5", "RV=1"])
    assert "only in" not in message


def test_background_is_not_what_nobody_annotated(tmp_path, capsys):
    make_folders(tmp_path)
    hint = "background means strokes on what is no organ, with a label of their own"
    without = ["--labels", "RV=1", "LV=2", "--unlabelled", "0"]
    for labels in ([], without):
        message = refusal(tmp_path, capsys, labels=labels)
        assert hint in message
        assert 'See docs/tutorial.md, section 3, "Which strokes"' in message
    assert hint not in refusal(tmp_path, capsys, labels=WORDS[:-2])


def test_unreadable_labels_are_all_named(tmp_path, capsys):
    make_folders(tmp_path)
    write(tmp_path / "scribbles" / "c0.nii.gz", np.full(SHAPE, 0.5, np.float32))
    (tmp_path / "scribbles" / "c1.nii.gz").write_bytes(b"none")
    message = refusal(tmp_path, capsys)
    assert "2 problems, nothing written" in message
    assert "c0.nii.gz holds" in message
    assert "c1.nii.gz cannot be read as an image" in message


def test_labels_on_another_grid_are_resampled_only_when_asked(tmp_path, capsys):
    make_folders(tmp_path)
    coarse = make_scribble(0, (4, 9, 4))
    write(tmp_path / "scribbles" / "c0.nii.gz", coarse, (2.0, 1.0, 6.0), (0.5, 0, 0))
    message = refusal(tmp_path, capsys)
    image = tmp_path / "images" / "c0.nii.gz"
    assert f"c0.nii.gz (image: {image}) does not lie on its image's voxel grid: it has " in message
    assert "size (4, 9, 4), spacing [2.0, 1.0, 6.0], origin [0.5, 0.0, 0.0]; its image" in message
    assert "its image size (8, 9, 4), spacing [1.0, 1.0, 6.0], origin [0.0, 0.0, 0.0]. A" in message
    assert "Are they a pair? Only if the strokes were drawn on another grid of the same" in message
    assert "say --resample to bring them to the image's" in message
    folder = convert(tmp_path, "--resample")
    expected = in_nnunet(np.repeat(coarse, 2, axis=2))
    assert np.array_equal(read(folder / "labelsTr" / "c0.nii.gz"), expected)


# --- 3D Slicer -------------------------------------------------------------------------------

SEGMENTS = ["--labels", "background=Background", "RV=Right ventricle, all", "LV=LV"]
ORDERS = (
    [("Background", 5), ("Right ventricle, all", 1), ("LV", 2)],
    [("LV", 2), ("Background", 5), ("Right ventricle, all", 1)],
)


def make_slicer_folders(root, **options):
    for k in range(3):
        write(root / "images" / f"c{k}.nrrd", make_image(k))
        names = ORDERS[k % 2]
        write_seg(root / "scribbles" / f"c{k}.seg.nrrd", sparse(k), names, **options)


def sparse(seed):
    """A scribble whose bounding box is smaller than the image."""
    scribble = make_scribble(seed)
    scribble[0], scribble[:, :2], scribble[:, :, 6:] = 0, 0, 0
    return scribble


@pytest.mark.parametrize("same_folder", [False, True])
def test_slicer_by_segment_name(tmp_path, same_folder):
    make_slicer_folders(tmp_path)
    words = []
    if same_folder:
        for path in (tmp_path / "scribbles").iterdir():
            path.rename(tmp_path / "images" / path.name)
        words = ["--scribbles", tmp_path / "images"]
    folder = convert(tmp_path, *words, labels=SEGMENTS)
    check_with_nnunet(folder)
    for k in range(3):
        labels = read(folder / "labelsTr" / f"c{k}.nrrd")
        assert np.array_equal(labels, in_nnunet(sparse(k)))
    record = json_of(folder / "conversion.json")
    assert record["values_of_names"] == {"Background": 0, "Right ventricle, all": 1, "LV": 2}
    assert len(record["cases"]) == 3


def test_slicer_dense_references_need_no_background_segment(tmp_path):
    make_slicer_folders(tmp_path)
    dense = make_scribble(9)
    write_seg(tmp_path / "dense" / "c1.seg.nrrd", dense, ORDERS[0][1:])
    folder = convert(tmp_path, "--dense", tmp_path / "dense", labels=SEGMENTS)
    expected = np.select([dense == 1, dense == 2], [1, 2], 0)
    assert np.array_equal(read(folder / "labelsTr_dense" / "c1.nrrd"), expected)


def test_slicer_refusals_show_the_segments(tmp_path, capsys):
    make_slicer_folders(tmp_path)
    message = refusal(tmp_path, capsys, labels=[])
    count = sum((sparse(k) == 1).sum() for k in range(3))
    assert re.search(rf"\n  Right ventricle, all +{count} +\d\.\d+ % +3\n", message)
    assert "--labels background=SEGMENT NAME=SEGMENT[,SEGMENT] ...\n" in message
    for labels, problem in (
        (SEGMENTS[:-1], "the segments LV are not mapped"),
        (["--labels", *SEGMENTS[2:]], "no background"),
        ([*SEGMENTS, "apex=Apex"], "no file has a segment Apex for apex"),
        ([*SEGMENTS, "apex=LV"], "the segment 'LV' stands more than once"),
        (WORDS, "the value 1 is Background in"),
    ):
        message = refusal(tmp_path, capsys, labels=labels)
        assert problem in message
        assert "seen in 3 files" in message


def test_a_segment_spelt_otherwise_in_one_file_is_traced_to_it(tmp_path, capsys):
    make_slicer_folders(tmp_path)
    odd = tmp_path / "scribbles" / "c1.seg.nrrd"
    write_seg(odd, sparse(1), [("Background", 5), ("right ventricle", 1), ("LV", 2)])
    message = refusal(tmp_path, capsys, labels=SEGMENTS)
    assert "the segments right ventricle are not mapped" in message
    assert f"\n  right ventricle only in {odd}\n" in message
    # a segment that is empty in the other files is in none of them
    write_seg(odd, sparse(1), ORDERS[0], extra=[("Sketch", 0)])
    convert(tmp_path, labels=SEGMENTS)


def test_strokes_of_another_image_are_no_case_for_resampling_at_first(tmp_path, capsys):
    make_slicer_folders(tmp_path)
    image = write(tmp_path / "images" / "c0.nrrd", make_image(), (1.5, 1.5, 6.0))
    message = refusal(tmp_path, capsys, labels=SEGMENTS)
    assert f"c0.seg.nrrd (image: {image}) does not lie on its image's voxel grid" in message
    assert "its image size (8, 9, 4), spacing [1.5, 1.5, 6.0]" in message
    assert "Are they a pair? Only if the strokes were drawn on another grid" in message


def test_slicer_segments_may_be_left_unlabelled(tmp_path):
    make_slicer_folders(tmp_path)
    labels = ["--labels", "background=Background", "LV=LV"]
    folder = convert(tmp_path, "--unlabelled", "Right ventricle, all", labels=labels)
    expected = np.select([sparse(2) == 5, sparse(2) == 2], [0, 1], 2)
    assert np.array_equal(read(folder / "labelsTr" / "c2.nrrd"), expected)


def write_overlapping(path):
    """A Slicer segmentation of Background and LV, which share a row."""
    layers = np.zeros((2, 8, 9, 4), np.uint8)
    layers[0, :2], layers[1, 1:3] = 1, 1
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": [[np.nan] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 6]],
        "space origin": [0.0, 0.0, 0.0],
    }
    for k, name in enumerate(("Background", "LV")):
        header |= {f"Segment{k}_{key}": v for key, v in (("Name", name), ("LabelValue", "1"))}
        header[f"Segment{k}_Layer"] = str(k)
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), layers, header)


def test_slicer_overlaps_are_reported_per_file(tmp_path, capsys):
    make_slicer_folders(tmp_path)
    write_overlapping(tmp_path / "scribbles" / "c0.seg.nrrd")
    message = refusal(tmp_path, capsys, labels=SEGMENTS)
    assert "c0.seg.nrrd has voxels in two segments: 36 in Background and LV" in message
    for choice, label in (("ignore", 3), ("first", 0)):
        folder = convert(tmp_path, "--overwrite", "--overlaps", choice, labels=SEGMENTS)
        labels = read(folder / "labelsTr" / "c0.nrrd")
        assert labels[0, 0].tolist() == [0, label, 2, 3, 3, 3, 3, 3]


def test_the_segment_that_stands_first_wins_over_the_background_and_in_updates(tmp_path):
    make_slicer_folders(tmp_path)
    write_overlapping(tmp_path / "scribbles" / "c0.seg.nrrd")
    first = ["--overlaps", "first"]
    words = [SEGMENTS[0], *reversed(SEGMENTS[1:])]
    folder = convert(tmp_path, *first, labels=words)
    assert read(folder / "labelsTr" / "c0.nrrd")[0, 0, :4].tolist() == [0, 1, 1, 3]
    write_overlapping(tmp_path / "more" / "c1.seg.nrrd")
    update = ["convert", "folder", "--update", "--scribbles", str(tmp_path / "more"), "--erase"]
    update += ["--not-mixed-up", *first, "--dataset-id", "130", "--out", str(tmp_path / "raw")]
    assert cli.main(update) == 0
    assert read(folder / "labelsTr" / "c1.nrrd")[0, 0, :4].tolist() == [0, 1, 1, 3]


def test_slicer_and_other_labels_are_not_mixed(tmp_path, capsys):
    make_slicer_folders(tmp_path)
    (tmp_path / "scribbles" / "c0.seg.nrrd").unlink()
    write(tmp_path / "scribbles" / "c0.nrrd", make_scribble())
    message = refusal(tmp_path, capsys, labels=SEGMENTS)
    assert "some files are segmentations of 3D Slicer, such as" in message


# --- ITK-SNAP --------------------------------------------------------------------------------

DESCRIPTION = """\
# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Right ventricle"
    2     0  255    0        1  1  1    "LV"
    5     0    0  255        1  1  1    "Outside"
"""


def test_itksnap_names_stand_for_values(tmp_path, capsys):
    make_folders(tmp_path)
    path = tmp_path / "labels.txt"
    path.write_text(DESCRIPTION)
    words = ["--label-description", path]
    message = refusal(tmp_path, capsys, *words, labels=[])
    assert "  1 (Right ventricle)" in message
    labels = ["--labels", "background=Outside", "RV=Right ventricle", "LV=2"]
    wrong = refusal(tmp_path, capsys, *words, "--unlabelled", "Clear", labels=labels)
    assert "'Clear' is not a value or a name of the description" in wrong
    folder = convert(tmp_path, *words, "--unlabelled", "Clear Label", labels=labels)
    assert np.array_equal(read(folder / "labelsTr" / "c2.nii.gz"), in_nnunet(make_scribble(2)))
    record = json_of(folder / "conversion.json")
    assert record["scribble_labels"]["classes"] == {"background": [5], "RV": [1], "LV": [2]}
    assert record["scribble_labels"]["unlabelled"] == [0]


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "colour"), [(".png", True), (".png", False), (".tif", True), (".bmp", False)]
)
def test_pictures_reach_nnunet(tmp_path, ending, colour):
    shape = (9, 8)
    pictures = [make_image(k, (*shape, 3) if colour else shape) for k in range(2)]
    for k, picture in enumerate(pictures):
        for folder, array, end in (
            ("images", picture, ending),
            ("scribbles", make_scribble(k, shape).astype(np.uint16), ".png"),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"dish{k}{end}")
    folder = convert(tmp_path)
    reader = check_with_nnunet(folder)
    assert type(reader).__name__ == "NaturalImage2DIO"
    kept = ".png" if ending == ".bmp" else ending
    image = reader.read_images([str(folder / "imagesTr" / f"dish1_0000{kept}")])[0]
    label = reader.read_seg(str(folder / "labelsTr" / f"dish1{kept}"))[0]
    assert np.array_equal(np.moveaxis(image[:, 0], 0, -1).squeeze(), pictures[1])
    assert np.array_equal(label[0, 0], in_nnunet(make_scribble(1, shape)))
    names = json_of(folder / "dataset.json")["channel_names"]
    assert list(names.values()) == (["R", "G", "B"] if colour else ["image"])


def test_coloured_labels_are_refused(tmp_path, capsys):
    for folder in ("images", "scribbles"):
        (tmp_path / folder).mkdir()
        Image.fromarray(make_image(0, (9, 8, 3))).save(tmp_path / folder / "a.png")
    message = refusal(tmp_path, capsys)
    assert "a.png is a picture in colours (72 of them: smooth borders" in message


# --- channels --------------------------------------------------------------------------------


def test_nnunets_channel_suffixes(tmp_path, capsys):
    make_folders(tmp_path)
    for k in range(3):
        path = tmp_path / "images" / f"c{k}.nii.gz"
        path.rename(path.with_name(f"c{k}_0000.nii.gz"))
        write(path.with_name(f"c{k}_0001.nii.gz"), make_image(k + 50))
    message = refusal(tmp_path, capsys)
    assert "the case has 2 channels" in message
    assert "--channel-names T1 T2" in message
    folder = convert(tmp_path, "--channel-names", "T1", "CT")
    check_with_nnunet(folder)
    assert json_of(folder / "dataset.json")["channel_names"] == {"0": "T1", "1": "CT"}
    assert np.array_equal(read(folder / "imagesTr" / "c1_0001.nii.gz"), make_image(51))


def test_a_missing_channel_is_named(tmp_path, capsys):
    make_folders(tmp_path, count=1)
    path = tmp_path / "images" / "c0.nii.gz"
    path.rename(path.with_name("c0_0001.nii.gz"))
    assert "c0: channels [1], expected 0, 1, ..." in refusal(tmp_path, capsys)


def test_numbers_of_a_camera_are_no_channels_where_strokes_have_longer_names(tmp_path, capsys):
    for k in range(3):
        write(tmp_path / "images" / f"IMG_{k:04d}.nii.gz", make_image(k))
        write(tmp_path / "scribbles" / f"IMG_{k:04d}_layer.nii.gz", make_scribble(k))
    message = refusal(tmp_path, capsys)
    assert "Perhaps --scribble-pattern '{case}_layer.*'" in message
    assert "masks" not in message and "channel" not in message
    folder = convert(tmp_path, "--scribble-pattern", "{case}_layer.*")
    assert len(list((folder / "labelsTr").iterdir())) == 3


def test_masks_of_the_first_channel_are_no_numbers_of_a_camera(tmp_path, capsys):
    for k in range(2):
        for channel in range(2):
            write(tmp_path / "images" / f"c{k}_{channel:04d}.nii.gz", make_image(k))
        for name in ("liver", "spleen"):
            write(tmp_path / "scribbles" / f"c{k}_0000_{name}.nii.gz", make_scribble(k))
    assert "If they are masks, one or more for each class" in refusal(tmp_path, capsys)


def test_exchanged_folders_are_asked_about_where_patterns_were_said(tmp_path, capsys):
    for k in range(2):
        write(tmp_path / "scribbles" / f"c{k}_t1.nii.gz", make_image(k))
        write(tmp_path / "images" / f"c{k}_strokes.nii.gz", make_scribble(k))
    words = ["--image-pattern", "{case}_t1.nii.gz", "--scribble-pattern", "{case}_strokes.nii.gz"]
    message = refusal(tmp_path, capsys, *words)
    path = tmp_path / "images" / "c0_strokes.nii.gz"
    assert f"matches '{words[-1]}'; there are c0_t1.nii.gz, c1_t1.nii.gz. {path} " in message
    assert f"{path} fits '{words[-1]}': are --scribbles and" in message
    words[-1] = "{case}_drawn.nii.gz"
    assert "--images and --scribbles exchanged?" in refusal(tmp_path, capsys, *words)
    assert "are --" not in refusal(tmp_path, capsys, *words[2:])


def test_a_pattern_that_stands_twice_is_no_file_that_is_missing(tmp_path, capsys):
    make_folders(tmp_path)
    words = ["--image-pattern", "{case}.nii.gz", "{case}.nii.gz"]
    message = refusal(tmp_path, capsys, *words)
    assert "--image-pattern '{case}.nii.gz' stands twice: say one for each channel" in message


def test_numbered_cases_are_not_taken_for_channels(tmp_path):
    for k in range(3):
        write(tmp_path / "images" / f"slice_{k:04d}.nii.gz", make_image(k))
        write(tmp_path / "scribbles" / f"slice_{k:04d}.nii.gz", make_scribble(k))
    folder = convert(tmp_path)
    assert len(list((folder / "labelsTr").iterdir())) == 3
    assert np.array_equal(read(folder / "imagesTr" / "slice_0002_0000.nii.gz"), make_image(2))


def test_a_name_that_is_both_is_refused(tmp_path, capsys):
    make_folders(tmp_path, count=1)
    write(tmp_path / "images" / "c0_0000.nii.gz", make_image())
    assert "c0: both" in refusal(tmp_path, capsys)


def test_channels_by_patterns_in_case_folders(tmp_path, capsys):
    for k in range(3):
        for name, seed in (("t1", k), ("t2", k + 50)):
            write(tmp_path / "images" / f"c{k}" / f"{name}.nii.gz", make_image(seed))
        write(tmp_path / "images" / f"c{k}" / f"c{k}_seg.nii.gz", make_scribble(k))
    words = ["--scribbles", tmp_path / "images", "--channel-names", "T1", "T2"]
    words += ["--image-pattern", "{case}/t1.nii.gz", "{case}/t2.nii.gz"]
    words += ["--scribble-pattern", "{case}/{case}_seg.nii.gz"]
    folder = convert(tmp_path, *words)
    assert np.array_equal(read(folder / "imagesTr" / "c2_0001.nii.gz"), make_image(52))
    assert np.array_equal(read(folder / "labelsTr" / "c2.nii.gz"), in_nnunet(make_scribble(2)))
    exchanged = [*words, "--overwrite", "--channel-names", "T2", "T1"]
    assert cli.main(arguments_of(tmp_path, *exchanged)) == 1
    message = capsys.readouterr().err
    assert "channels exchanged: T2 = {case}/t1.nii.gz, T1 = {case}/t2.nii.gz." in message
    assert "say --image-pattern '{case}/t2.nii.gz' '{case}/t1.nii.gz'" in message
    (tmp_path / "images" / "c1" / "t2.nii.gz").unlink()
    assert cli.main(arguments_of(tmp_path, *words, "--overwrite")) == 1
    assert "no '{case}/t2.nii.gz' for the cases c1: add the files, or" in capsys.readouterr().err


# --- pairing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "case"),
    [
        ("{case}.nii.gz", "a.nii.gz", "a"),
        ("{case}.nii.gz", "sub/folder/a.nii.gz", "a"),
        ("{case}/t1.nii", "a/t1.nii", "a"),
        ("{case}/t1.nii", "b/a/t1.nii", None),
        ("*/{case}_gt.*", "p1/p1_f1_gt.nii.gz", "p1_f1"),
        ("{case}/{case}_x.nii", "a/a_x.nii", "a"),
        ("{case}/{case}_x.nii", "a/b_x.nii", None),
        ("{case}+(1).nii", "a+(1).nii", "a"),
        ("{case}.nii", "anii", None),
    ],
)
def test_patterns(pattern, path, case):
    match = compile_pattern(pattern).fullmatch(path)
    assert (match and match.group("case")) == case


def test_everything_in_one_folder_told_apart_by_patterns(tmp_path):
    for k in range(2):
        for name, array in (("", make_image(k)), ("_s", make_scribble(k)), ("_gt", make_image(k))):
            array = array if name != "_gt" else np.full(SHAPE, 5, np.uint8)
            write(tmp_path / "images" / f"p{k}" / f"p{k}_f1{name}.nii.gz", array)
    everything = tmp_path / "images"
    words = ["--scribbles", everything, "--dense", everything, "--image-pattern"]
    words += ["{case}.nii.gz", "--scribble-pattern", "{case}_s.*", "--dense-pattern"]
    folder = convert(tmp_path, *words, "*/{case}_gt.nii.gz")
    assert sorted(p.name for p in (folder / "labelsTr_dense").iterdir()) == [
        "p0_f1.nii.gz",
        "p1_f1.nii.gz",
    ]
    assert np.array_equal(read(folder / "imagesTr" / "p1_f1_0000.nii.gz"), make_image(1))


def test_files_without_partner_are_all_named_with_a_hint(tmp_path, capsys):
    make_folders(tmp_path, label="{}_scribble")
    write(tmp_path / "dense" / "other.nii.gz", make_scribble())
    message = refusal(tmp_path, capsys, "--dense", tmp_path / "dense")
    assert "3 scribble files without image" in message
    assert "Perhaps --scribble-pattern '{case}_scribble.*'" in message
    assert "1 dense files without image" in message
    assert "--image-pattern and --dense-pattern" in message
    assert "--exclude 'GLOB'" not in message  # names differ throughout: none is extra
    assert "3 images without scribble" in message
    for name in ("images/c0.nii.gz", "scribbles/c2_scribble.nii.gz", "dense/other.nii.gz"):
        assert str(tmp_path / name) in message
    convert(tmp_path, "--scribble-pattern", "{case}_scribble.*")


@pytest.mark.parametrize("role", ["dense", "scribble"])
def test_label_files_of_other_patients_are_passed_over_on_request(tmp_path, capsys, role):
    make_folders(tmp_path)
    folder = tmp_path / {"dense": "dense", "scribble": "scribbles"}[role]
    words = ["--dense", folder] if role == "dense" else []
    for k in range(3):
        write(folder / f"c{k}.nii.gz", make_scribble(k))
    for name in ("kept1", "kept2"):
        write(folder / f"{name}.nii.gz", make_scribble())
    message = refusal(tmp_path, capsys, *words)
    assert f"2 {role} files without image" in message
    assert "If they are only extra, pass them over: --exclude 'GLOB'" in message
    words += ["--dense-labels", "background=0,5", "RV=1", "LV=2"] if role == "dense" else []
    folder = convert(tmp_path, *words, "--exclude", "kept*")
    assert len(list((folder / "labelsTr").iterdir())) == 3


def test_long_lists_of_files_are_cut(tmp_path, capsys):
    make_folders(tmp_path, count=8)
    same = ["--dense", tmp_path / "scribbles", "--dense-labels", *WORDS[1:4]]
    message = refusal(tmp_path, capsys, *same)
    assert "8 files are both scribble and dense" in message
    assert f"{tmp_path / 'scribbles' / 'c4.nii.gz'}\n  and 3 more\n Which?" in message
    assert "c5.nii.gz" not in message
    for k in range(6):
        write(tmp_path / "images" / "again" / f"c{k}.nii.gz", make_image())
    message = refusal(tmp_path, capsys)
    assert message.count("would both be the image of") == 5
    assert "6 image files too many" in message
    assert "\n  and 1 more\n Leave one out (--exclude)" in message


def test_images_without_scribble_only_with_mixed(tmp_path, capsys):
    make_folders(tmp_path)
    (tmp_path / "scribbles" / "c1.nii.gz").unlink()
    message = refusal(tmp_path, capsys)
    assert "1 images without scribble" in message
    assert "--mixed" in message
    folder = convert(tmp_path, "--mixed")
    assert (read(folder / "labelsTr" / "c1.nii.gz") == 3).all()
    folder = convert(tmp_path, "--exclude", "c1*", "--overwrite")
    assert not (folder / "labelsTr" / "c1.nii.gz").exists()


def test_labels_among_the_images_are_no_images_without_scribble(tmp_path, capsys):
    make_folders(tmp_path)
    for k in range(2):
        write(tmp_path / "images" / f"c{k}_mask.nii.gz", make_scribble(k))
    write(tmp_path / "images" / "d.nii.gz", make_image(7))
    message = refusal(tmp_path, capsys, "--mixed")
    assert "2 problems" in message and "--exclude '*_mask.nii.gz'" in message
    for k in range(2):
        assert f"c{k}_mask.nii.gz looks like labels of an image beside it" in message
    # of no image that is here
    (tmp_path / "images" / "c1_mask.nii.gz").rename(tmp_path / "images" / "e9_mask.nii.gz")
    folder = convert(tmp_path, "--mixed", "--exclude", "c0_mask*")
    names = sorted(path.name for path in (folder / "labelsTr").iterdir())
    assert names == [f"{case}.nii.gz" for case in ("c0", "c1", "c2", "d", "e9_mask")]


def test_values_grids_and_damaged_images_are_told_at_once(tmp_path, capsys):
    make_folders(tmp_path, count=4)
    scribble = make_scribble(0)
    scribble[0, 0, 0] = 77
    write(tmp_path / "scribbles" / "c0.nii.gz", scribble)
    label = write(tmp_path / "scribbles" / "c1.nii.gz", make_scribble(1), origin=(50, 0, 0))
    image = tmp_path / "images" / "c2.nii.gz"
    image.write_bytes(image.read_bytes()[:-40])
    dense = write(tmp_path / "dense" / "c3.nii.gz", make_scribble(3), (2.0, 2.0, 6.0))
    message = refusal(tmp_path, capsys, "--dense", tmp_path / "dense")
    assert "4 problems, nothing written" in message
    assert "the values [77] are not mapped" in message
    assert f"{label} (image: {tmp_path / 'images' / 'c1.nii.gz'}) does not lie on" in message
    assert f"{image} is cut off or damaged" in message
    assert f"{dense} (image: {tmp_path / 'images' / 'c3.nii.gz'}) does not lie on" in message


def test_ambiguous_places_are_refused(tmp_path, capsys):
    make_folders(tmp_path)
    write(tmp_path / "images" / "again" / "c1.nii.gz", make_image())
    message = refusal(tmp_path, capsys)
    assert "would both be the image of c1" in message
    same = ["--scribbles", tmp_path / "images"]
    message = refusal(tmp_path, capsys, *same)
    assert "holds images and scribble files" in message
    assert "--scribble-pattern '{case}_scribble.nii.gz'" in message
    twice = ["--exclude", "again/*", "--dense", tmp_path / "scribbles"]
    assert "3 files are both scribble and dense" in refusal(tmp_path, capsys, *twice)
    message = refusal(tmp_path, capsys, "--exclude", "*")
    assert f"no file below {tmp_path / 'scribbles'} that --exclude leaves has an ending" in message
    message = refusal(tmp_path, capsys, "--exclude", "agian/*")
    assert "--exclude 'agian/*' fits no file below " in message
    assert "would both be the image of c1" in message


def of_visits(root, patient, visit, k):
    write(root / "all" / patient / visit / "t1.nii.gz", make_image(k))
    write(root / "all" / patient / visit / "strokes.nii.gz", make_scribble(k))


def in_one_folder(root, head):
    names = [f"{head}/{name}.nii.gz" for name in ("t1", "strokes")]
    folders = ["--images", str(root / "all"), "--scribbles", str(root / "all")]
    return [*folders, "--image-pattern", names[0], "--scribble-pattern", names[1]]


def test_folders_of_visits_in_folders_of_patients(tmp_path, capsys):
    """All files have the same names; a patient's visits stay together without another word."""
    for k, (patient, visit) in enumerate((("anna", "v1"), ("anna", "v2"), ("ben", "v1"))):
        of_visits(tmp_path, patient, visit, k)
    said = in_one_folder(tmp_path, "*/{case}")
    assert "say '{patient}/{case}/t1.nii.gz'" in refusal(tmp_path, capsys, *said)
    for wrong in ("{case}/{patient}", "{patient}/{patient}_{case}"):
        said = in_one_folder(tmp_path, wrong)
        assert "{patient} stands once, before {case}" in refusal(tmp_path, capsys, *said)
    said = in_one_folder(tmp_path, "{patient}/{case}")
    folder = convert(tmp_path, *said)
    assert "--patient-regex or --patients if not so" not in capsys.readouterr().out
    of_patients = {"anna_v1": "anna", "anna_v2": "anna", "ben_v1": "ben"}
    assert json_of(folder / "conversion.json")["patients"] == of_patients
    of_visits(tmp_path, "ben", "v2", 3)
    options = ["--dataset-id", "130", "--out", str(tmp_path / "raw")]
    assert cli.main(["convert", "folder", "--update", *said, *options]) == 0
    of_patients["ben_v2"] = "ben"
    assert json_of(folder / "conversion.json")["patients"] == of_patients


def test_a_pattern_that_takes_anothers_files_is_named(tmp_path, capsys):
    of_visits(tmp_path, "anna", "v1", 0)
    folders = ["--images", str(tmp_path / "all"), "--scribbles", str(tmp_path / "all")]
    said = [*folders, "--image-pattern", "*/{case}/t1.nii.gz", "--scribble-pattern"]
    (tmp_path / "all" / "anna" / "v1" / "strokes.nii.gz").unlink()
    message = refusal(tmp_path, capsys, *said, "*/{case}/t*.nii.gz")
    assert "every file that --image-pattern '*/{case}/t1.nii.gz' fits is another" in message


def test_files_beside_images_without_scribble_are_named(tmp_path, capsys):
    for k, name in enumerate(("strokes", "strokes", "Strokes_1")):
        write(tmp_path / "all" / f"c{k}" / "t1.nii.gz", make_image(k))
        write(tmp_path / "all" / f"c{k}" / f"{name}.nii.gz", make_scribble(k))
    message = refusal(tmp_path, capsys, *in_one_folder(tmp_path, "{case}"))
    assert f"such as {tmp_path}/all/c2/Strokes_1.nii.gz: are these their scribbles?" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "nowhere"], "nowhere is not a folder"),
        (["--image-pattern", "{case}.mha"], "no file below .* matches '{case}.mha'"),
        (["--scribble-pattern", "x.mha"], "pattern 'x.mha' must hold {case}"),
        (["--dense-pattern", "{case}.mha"], "--dense-pattern without --dense"),
        (["--dense-labels", "background=0", "a=1"], "--dense-labels without --dense"),
        (["--label-description", "none.txt"], "none.txt: no such file"),
        (["--patients", "none.csv"], "none.csv: no such file"),
        (["--patient-regex", "("], "--patient-regex '\\(': "),
        (
            ["--patient-regex", r"c[01]\d*"],
            r"--patient-regex 'c\[01\]\\d\*' gives no patient for the cases c2",
        ),
    ],
)
def test_wrong_options_are_named(tmp_path, capsys, words, message):
    make_folders(tmp_path)
    assert re.search(message, refusal(tmp_path, capsys, *words))


def test_a_folder_without_images_is_named(tmp_path, capsys):
    make_folders(tmp_path)
    for path in (tmp_path / "scribbles").iterdir():
        path.rename(path.with_suffix(".txt"))
    assert "has an ending of an image format" in refusal(tmp_path, capsys)


# --- patients --------------------------------------------------------------------------------


def test_every_case_is_a_patient_unless_told(tmp_path, capsys):
    make_folders(tmp_path)
    write(tmp_path / "images" / ".trash" / "c1.nii.gz", make_image())  # hidden: passed over
    folder = convert(tmp_path)
    said = capsys.readouterr().out
    assert "every case counts as a patient of its own" in said and "for example?" not in said
    assert len(json_of(folder / "splits_final.json")) == 3


def test_names_of_one_patients_images_are_pointed_at(tmp_path, capsys):
    make_folders(tmp_path)
    for role in ("images", "scribbles"):
        (tmp_path / role / "c1.nii.gz").rename(tmp_path / role / "c0_later.nii.gz")
        (tmp_path / role / "c0.nii.gz").rename(tmp_path / role / "c0_first.nii.gz")
    convert(tmp_path)
    assert "(c0_first and c0_later, for example?)" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["name", "path", "table"])
def test_patients_keep_their_cases_together(tmp_path, capsys, how):
    table = ["case;patient"]
    words = ["--patient-regex", r"(pat\d)"]
    for patient in range(2):
        for frame in range(2):
            name = f"{frame}{patient}" if how == "path" else f"pat{patient}_{frame}"
            sub = f"pat{patient}/" if how == "path" else ""
            write(tmp_path / "images" / f"{sub}{name}.nii.gz", make_image(frame))
            write(tmp_path / "scribbles" / f"{name}.nii.gz", make_scribble(frame))
            table.append(f"{name};pat{patient}")
    if how == "table":
        (tmp_path / "patients.csv").write_text("\n".join(table))
        words = ["--patients", tmp_path / "patients.csv"]
    folder = convert(tmp_path, *words)
    printed = capsys.readouterr().out
    assert "counts as a patient" not in printed
    assert "wrote 4 training cases of 2 patients to" in printed
    assert set(json_of(folder / "conversion.json")["patients"].values()) == {"pat0", "pat1"}
    assert len(json_of(folder / "splits_final.json")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,who\nc0,a\n", "needs the columns case,patient; found"),
        ("case,patient\nc0,a\nc0,b\n", "names a case twice"),
        ("case,patient\nc0,a\n", "gives no patient for the cases c1, c2"),
    ],
)
def test_bad_tables_are_named(tmp_path, capsys, text, message):
    make_folders(tmp_path)
    (tmp_path / "p.csv").write_text(text)
    assert message in refusal(tmp_path, capsys, "--patients", tmp_path / "p.csv")


def test_a_table_that_is_not_utf_8_is_named(tmp_path, capsys):
    make_folders(tmp_path)
    (tmp_path / "p.csv").write_bytes("case,patient\nc0,Müller\n".encode("cp1252"))
    message = refusal(tmp_path, capsys, "--patients", tmp_path / "p.csv")
    assert "p.csv is not UTF-8" in message and "save it as CSV UTF-8" in message
