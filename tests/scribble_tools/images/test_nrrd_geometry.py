"""NRRD files say where their voxels lie, or are refused with what to write."""

import numpy as np
import pytest

from scribble_tools import cli
from scribble_tools.images.image_io import read_image

AXES = "(1,0,0) (0,2,0) (0,0,3)"
TWO_CHANNELS = (3, 2, 2), (1, 2, 3), 2
ARRAY = np.arange(24, dtype="<i2")


def write(path, sizes="4 3 2", **fields):
    text = f"NRRD0005\ntype: short\ndimension: {len(sizes.split())}\nsizes: {sizes}\n"
    text += "encoding: raw\nendian: little\n"
    text += "".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in fields.items())
    data = ARRAY.tobytes()
    if path.suffix == ".nhdr":
        path.with_suffix(".raw").write_bytes(data)
        text, data = f"{text}data file: {path.stem}.raw\n", b""
    path.write_bytes(text.encode() + b"\n" + data)
    return path


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".seg.nrrd"])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        # ITK took 1 mm and its own direction for the slices
        (
            {"space": "LPS", "space_directions": "(1,0,0) (0,2,0) none"},
            ["space directions: (1,0,0) (0,2,0) none", "(axis 3)", "such as (0,0,SIZE)"],
        ),
        ({"space": "RAS", "space_directions": "none none none"}, ["axis 1 and 2 and 3"]),
        ({"space": "LPS", "space_directions": f"{AXES}", "spacings": "1 2 3"}, ["remove the line"]),
        (
            {"space": "LPS", "spacings": "1 2 3"},
            ["space: LPS and spacings: 1 2 3, but no space directions", "spacings: X Y Z"],
        ),
        ({"space_dimension": "3", "spacings": "1 2 3"}, ["space dimension: 3 and spacings"]),
        # ITK took 1 mm, with the origin in one space and the axes in another
        ({"space": "RAS", "space_origin": "(1,2,3)"}, ["space: RAS, but no space directions"]),
        ({"space": "RAS"}, ["space: RAS, but no space directions"]),
        (
            {"space_directions": AXES},
            [f"space directions: {AXES}, but no line before", "write one"],
        ),
        ({"space_directions": AXES, "space": "LPS"}, ["no line before says in which space"]),
        ({"spacings": "1 2 3", "space_origin": "(1,2,3)"}, ["space origin: (1,2,3), but no line"]),
        ({"spacings": "nan 2 3"}, ["spacings: nan 2 3", "ITK takes 1 mm", "voxel size of each"]),
        ({"spacings": "0 2 3"}, ["spacings: 0 2 3", "voxel size of each"]),
        ({"axis_mins": "5 5 5"}, ["axis mins: 5 5 5 and no spacings"]),
    ],
)
def test_what_is_left_open_or_said_twice_is_refused(tmp_path, ending, fields, words):
    path = write(tmp_path / f"case{ending}", **fields)
    with pytest.raises(ValueError) as error:
        read_image(path)
    for word in (str(path), *words):
        assert word in str(error.value)
    assert "ITK ERROR" not in str(error.value) and "[nrrd]" not in str(error.value)


@pytest.mark.parametrize(
    ("sizes", "fields", "words"),
    [
        (
            "2 3 2 2",
            {"space_directions": f"none {AXES}"},
            "(axis 1)|if that axis counts channels, say so: kinds: list domain domain domain",
        ),
        (
            "3 2 2 2",
            {"space_directions": f"{AXES} none", "kinds": "domain domain domain time"},
            "(axis 4)|kinds: domain domain domain list",
        ),
        ("6 4", {"space_directions": "(1,0,0) (0,1,0)"}, "2 axes in a space of 3 dimensions"),
        (
            "2 2 2 3 1",
            {"space_directions": f"none none {AXES}", "kinds": "list list domain domain domain"},
            "2 axes count channels",
        ),
    ],
)
def test_axes_that_are_not_of_space(tmp_path, sizes, fields, words):
    path = write(tmp_path / "case.nrrd", sizes, space="LPS", **fields)
    with pytest.raises(ValueError) as error:
        read_image(path)
    assert all(word in str(error.value) for word in words.split("|"))


@pytest.mark.parametrize(
    ("sizes", "fields", "size", "spacing", "channels"),
    [
        ("4 3 2", {}, (4, 3, 2), (1, 1, 1), 1),
        ("4 3 2", {"spacings": "1 2 3"}, (4, 3, 2), (1, 2, 3), 1),
        ("6 4", {"spacings": "2 3"}, (6, 4), (2, 3), 1),
        (
            "2 3 2 2",
            {"spacings": "nan 1 2 3", "kinds": "list domain domain domain"},
            *TWO_CHANNELS,
        ),
        (
            "2 3 2 2",
            {"space_directions": f"none {AXES}", "kinds": "list space space space"},
            *TWO_CHANNELS,
        ),
        (
            "2 3 2 2",
            {"space_directions": f"none {AXES}", "kinds": "vector ??? ??? none"},
            *TWO_CHANNELS,
        ),
        ("6 4", {"space_dimension": 2, "space_directions": "(2,0) (0,3)"}, (6, 4), (2, 3), 1),
    ],
)
def test_what_is_said_is_read(tmp_path, sizes, fields, size, spacing, channels):
    if "space_directions" in fields and "space_dimension" not in fields:
        fields = {"space": "LPS", **fields}
    image = read_image(write(tmp_path / "case.nrrd", sizes, **fields))
    assert (image.GetSize(), image.GetSpacing()) == (size, spacing)
    assert image.GetNumberOfComponentsPerPixel() == channels


def test_all_files_of_a_folder_are_named_and_nothing_is_written(tmp_path, capsys):
    for folder in ("images", "scribbles"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            path = tmp_path / folder / f"{name}.nrrd"
            write(path, space="LPS", space_directions="(1,0,0) (0,2,0) none")
    line = ["convert", "folder", "--images", str(tmp_path / "images"), "--scribbles"]
    line += [str(tmp_path / "scribbles"), "--labels", "background=1", "RV=2", "--unlabelled", "0"]
    assert cli.main([*line, "--dataset-id", "1", "--name", "A", "--out", str(tmp_path / "o")]) == 1
    said = capsys.readouterr().err
    assert all(f"{name}.nrrd" in said for name in "ab") and "Traceback" not in said
    assert not list((tmp_path / "o").glob("*"))
