"""Which files make up a case to predict, and what nnU-Net gets of them."""

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.convert.labels_among import doubt_of_labels_only
from scribble_tools.images.exclusion import exclusion_problems
from scribble_tools.predict.new_images import (
    NewImage,
    find_new_images,
    read_new_images,
    write_model_input,
)


def save(path, size=(6, 5, 3), components=1, spacing=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size[::-1] + ((components,) if components > 1 else ())
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    image = sitk.GetImageFromArray(array, isVector=components > 1)
    image.SetSpacing(spacing or (1.0,) * len(size))
    sitk.WriteImage(image, str(path))
    return path


def names(found):
    return {case.name: [path.name for path in case.files] for case in found}


def test_names_and_formats_are_taken_as_they_are(tmp_path):
    for name in ("anna.nrrd", "b/ben.mha", "scan_2024.nii.gz", "carl_0000.nii.gz", ".hidden.nrrd"):
        save(tmp_path / name)
    (tmp_path / "anna.seg.nrrd").touch()
    (tmp_path / "notes.txt").touch()
    assert names(find_new_images(tmp_path, 1)) == {
        "anna": ["anna.nrrd"],
        "ben": ["ben.mha"],
        "carl": ["carl_0000.nii.gz"],
        "scan_2024": ["scan_2024.nii.gz"],
    }
    assert names(find_new_images(tmp_path, 1, exclude=["b/*", "scan*"])).keys() == {"anna", "carl"}
    one = find_new_images(tmp_path / "carl_0000.nii.gz", 1)
    assert names(one) == {"carl": ["carl_0000.nii.gz"]}


def test_numbers_of_patients_are_no_channels(tmp_path):
    for number in (0, 1, 2):
        save(tmp_path / f"patient_{number:04d}.nrrd")
    assert len(find_new_images(tmp_path, 1)) == 3
    (case,) = find_new_images(tmp_path, 3)
    assert case.name == "patient" and len(case.files) == 3
    with pytest.raises(ValueError, match="patient: channels 0000, 0001, 0002, but the model wan"):
        find_new_images(tmp_path, 2)


def test_a_picture_named_as_in_a_data_set_holds_all_channels(tmp_path):
    images = tmp_path / "images"
    picture(images / "slide_07.png", None)
    picture(images / "slide_05_0000.png", None)
    found = find_new_images(images, 3)
    assert names(found) == {"slide_05": ["slide_05_0000.png"], "slide_07": ["slide_07.png"]}
    assert find_new_images(images / "slide_05_0000.png", 3) == found[:1]
    _, files = write_model_input(found[0], [*"RGB"], ".png", tmp_path)
    assert [path.name for path in files] == ["slide_05_0000.png"]
    save(images / "a_0000.nrrd")
    with pytest.raises(ValueError, match="a: channels 0000, but the model wants 3"):
        find_new_images(images, 3)


@pytest.mark.parametrize("numbers", [(1, 2, 3, 4), (0, 1, 2), (0, 2), (2021, 2022)])
@pytest.mark.parametrize(
    ("name", "size"), [("IMG_{:04d}.png", (6, 5)), ("a_{:04d}.nrrd", (6, 5, 3))]
)
def test_files_that_hold_all_channels_are_a_case_each(tmp_path, numbers, name, size):
    """Whatever their numbers, of a camera or of years, say."""
    for number in numbers:
        save(tmp_path / name.format(number), size, components=3)
    found = names(find_new_images(tmp_path, 3))
    assert [*found.values()] == [[name.format(number)] for number in numbers]
    assert [*found] == [name.format(number).split(".")[0] for number in numbers]


def test_files_without_a_first_channel_are_refused_one_by_one(tmp_path):
    files = [save(tmp_path / f"a_{number:04d}.nrrd") for number in (1, 2)]
    found = find_new_images(tmp_path, 3)
    _, problems = read_new_images(found, tmp_path, ["T1", "T2", "T3"], ".nrrd", tmp_path)
    assert [path for path, _ in problems] == files
    assert "1 channel, but the model was trained on 3 (T1, T2, T3)" in problems[0][1]


def test_patterns_name_the_channels(tmp_path):
    for case in ("a", "b"):
        for channel in ("t1", "t2"):
            save(tmp_path / case / f"{channel}.nii.gz")
    patterns = ["{case}/t1.nii.gz", "{case}/t2.nii.gz"]
    found = find_new_images(tmp_path, 2, patterns)
    assert names(found) == dict.fromkeys("ab", ["t1.nii.gz", "t2.nii.gz"])
    (tmp_path / "b/t2.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"b: nothing fits \{case\}/t2.nii.gz"):
        find_new_images(tmp_path, 2, patterns)


def test_what_is_not_clear_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        find_new_images(tmp_path / "none", 1)
    with pytest.raises(FileNotFoundError, match="holds no image of a format that is read"):
        find_new_images(tmp_path, 1)
    save(tmp_path / "a.nrrd")
    save(tmp_path / "b/a.mha")
    with pytest.raises(ValueError, match="would both be a: --exclude a.mha"):
        find_new_images(tmp_path, 1)


@pytest.mark.parametrize(
    ("word", "said"), [("b", "b/*"), ("c/a.mha", "*/c/a.mha"), ("c/", "*/c/*")]
)
def test_a_pattern_of_a_part_of_a_path_is_completed(tmp_path, word, said):
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / "b/c/a.mha").touch()
    (problem,) = exclusion_problems([tmp_path], [word])
    assert problem.endswith(f"Say {said!r}")
    assert exclusion_problems([tmp_path], [said]) == []


def test_a_pattern_to_pass_over_that_fits_nothing_is_refused_with_all_else(tmp_path):
    for name in ("a.nrrd", "b/a.mha", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError) as caught:
        find_new_images(tmp_path, 1, exclude=["*.txt", "*_odl*", "b", "._*", "B/*"])
    text = str(caught.value)
    assert f"--exclude '*_odl*' fits no file below {tmp_path}: is it misspelt?" in text
    assert text.count("fits no file") == 3, "a folder's name alone and other capitals fit none"
    assert "would both be a" in text


def test_channels_come_from_files_or_from_one_file(tmp_path):
    one, two = save(tmp_path / "a_0000.nrrd"), save(tmp_path / "a_0001.nrrd")
    both = save(tmp_path / "b.nrrd", components=2)
    out = tmp_path / "out"
    out.mkdir()
    for case in (NewImage("a", (one, two)), NewImage("b", (both,))):
        image, files = write_model_input(case, ["T1", "T2"], ".nii.gz", out)
        assert [path.name for path in files] == [f"{case.name}_{k:04d}.nii.gz" for k in (0, 1)]
        assert image.GetSize() == (6, 5, 3)
        assert all(sitk.ReadImage(str(path)).GetSize() == (6, 5, 3) for path in files)


@pytest.mark.parametrize(
    ("size", "name", "ending", "channels", "message"),
    [
        ((6, 5, 3), "a.nrrd", ".nii.gz", ["T1", "T2"], r"1 channel, .* trained on 2 \(T1, T2\)$"),
        ((6, 5), "a.png", ".nii.gz", ["T1"], "is a picture, but"),
        ((6, 5, 3), "a.nrrd", ".png", ["T1"], "is a volume, but"),
    ],
)
def test_images_unlike_the_trainings_are_refused(tmp_path, size, name, ending, channels, message):
    case = NewImage("a", (save(tmp_path / name, size),))
    with pytest.raises(ValueError, match=message):
        write_model_input(case, channels, ending, tmp_path)


@pytest.mark.parametrize(
    ("channels", "wanted", "message"),
    [
        (1, 3, "g.png: 1 channel, but .* It is grey: save it as RGB$"),
        (4, 3, "g.png: 4 channels, but .* It is RGB with an alpha channel: save it as RGB$"),
        (3, 1, "g.png: 3 channels, but .* It is RGB: save it as grey$"),
    ],
)
def test_pictures_of_another_kind_are_refused_with_how_to_save_them(
    tmp_path, channels, wanted, message
):
    case = NewImage("g", (save(tmp_path / "g.png", (6, 5), channels),))
    with pytest.raises(ValueError, match=message):
        write_model_input(case, [*"RGB"][:wanted], ".png", tmp_path)


def test_channels_on_different_grids_are_refused(tmp_path):
    files = save(tmp_path / "a.nrrd"), save(tmp_path / "b.nrrd", spacing=(2.0, 1.0, 1.0))
    said = r"b.nrrd and .*a.nrrd differ in spacing \[2.0, 1.0, 1.0\] against \[1.0, 1.0, 1.0\]"
    with pytest.raises(ValueError, match=said):
        write_model_input(NewImage("a", files), ["T1", "T2"], ".nii.gz", tmp_path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_with_nan_are_refused(tmp_path, ending, value):
    """Of NaN a network makes NaN, and ITK 0 of that in a NIfTI."""
    path = tmp_path / f"a{ending}"
    array = np.ones((3, 4, 5), np.float32)
    array[0, 0, :2] = value
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    with pytest.raises(ValueError, match=f"a{ending} holds 2 voxels that are NaN or infinite"):
        write_model_input(NewImage("a", (path,)), ["T1"], ".nii.gz", tmp_path)


def scan(path, few=False, seed=0):
    """An image of noise, or a map of two labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 2000, (3, 8, 8)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array // 1000 if few else array), str(path))


def refused(tmp_path, exclude=()):
    """What is said of the images below a folder, file by file."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    folder = tmp_path / "scans"
    found = find_new_images(folder, 1, exclude=exclude)
    _, problems = read_new_images(found, folder, ["MRI"], ".nii.gz", work)
    return {path.relative_to(folder).as_posix(): text for path, text in problems}


@pytest.mark.parametrize(
    ("image", "label", "exclude"),
    [
        ("case{}.nii.gz", "case{}_label.nii.gz", "'*_label.nii.gz'"),
        ("case{}_t2.nii.gz", "case{}-seg.nrrd", "'*-seg.nrrd'"),
        ("volume-{}.nii", "segmentation-{}.nii", "'segmentation-*.nii'"),
        ("images/p{}_0000.nii.gz", "labels/p{}.nii.gz", "'labels/p*.nii.gz'"),
    ],
)
def test_label_files_beside_their_images_are_refused(tmp_path, image, label, exclude):
    for number in (3, 12):
        scan(tmp_path / "scans" / image.format(number), seed=number)
        scan(tmp_path / "scans" / label.format(number), few=True)
    said = refused(tmp_path)
    assert said.keys() == {label.format(3), label.format(12)}
    words = f"looks like labels of an image beside it. Pass over such files: --exclude {exclude}."
    assert all(words in text for text in said.values())
    assert not refused(tmp_path, [exclude.strip("'")])


def test_images_of_few_grey_values_are_predicted(tmp_path):
    """A black slice of a stack, images of few values without others, and a label file alone."""
    scans = tmp_path / "scans"
    for number in (1, 2, 3):
        scan(scans / f"slice_{number:03d}.nrrd", few=number == 3)
        scan(scans / f"mask_only_{number}_{number}.nrrd", few=True)
    scan(scans / "ben.nrrd", few=True)
    assert not refused(tmp_path)


def test_one_label_file_is_named_with_what_passes_over_it(tmp_path):
    scan(tmp_path / "scans/anna.nrrd")
    scan(tmp_path / "scans/anna seg[1].nrrd", few=True)
    (text,) = refused(tmp_path).values()
    assert "--exclude 'anna seg[[]1].nrrd'" in text
    assert not refused(tmp_path, ["anna seg[[]1].nrrd"])


def picture(path, colours):
    """A picture of noise, or of the given colours in equal columns."""
    array = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    if colours:
        array = np.repeat(np.array(colours, np.uint8), 12 // len(colours), axis=0)[None]
        array = np.broadcast_to(array, (12, 12, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(path))


def test_strokes_in_colours_beside_pictures_in_colours_are_refused(tmp_path):
    folder = tmp_path / "scans"
    for name in ("new0", "new1"):
        picture(folder / f"{name}.png", None)
        picture(folder / f"{name}_scribble.png", [(0, 0, 0), (255, 0, 0), (0, 0, 255)])
    picture(folder / "slide2.png", [(250, 240, 245), (90, 20, 90)])  # of no other's case
    (tmp_path / "work").mkdir()
    names = [*"RGB"]
    found = find_new_images(folder, len(names))
    _, problems = read_new_images(found, folder, names, ".png", tmp_path / "work")
    assert [path.name for path, _ in problems] == ["new0_scribble.png", "new1_scribble.png"]
    assert all("--exclude '*_scribble.png'." in text for _, text in problems)


def test_a_folder_of_labels_alone_is_asked_about(tmp_path):
    images = {}
    for number in range(3):
        path = tmp_path / f"case{number}.nii.gz"
        scan(path, seed=number, few=number < 2)
        images[path] = sitk.ReadImage(str(path))
    assert not doubt_of_labels_only(images) and not doubt_of_labels_only({})
    images.popitem()
    assert "case0.nii.gz and all others hold few whole values" in doubt_of_labels_only(images)
