"""Headers of strangers: ITK sees none that it dies of, and none that names a file elsewhere."""

import gzip
import os
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.images.image_io import read_image, save_image

ARRAY = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 3 2\n"
    "space directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nendian: little\n"
    "encoding: raw\nspace origin: (0,0,0)\n"
)
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
    "ElementSpacing = 1 1 2\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
)


@pytest.fixture
def folder(tmp_path):
    """Raw voxels in one file and slice by slice, in the folder and outside of it."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(ARRAY.tobytes())
    (folder / "all.raw").write_bytes(ARRAY.tobytes())
    for k, part in enumerate(ARRAY):
        (folder / f"part{k:03d}.raw").write_bytes(part.tobytes())
        (folder / f"s{k}.raw").write_bytes(part.tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe.raw")
    return folder


def write(folder, kind, data_file):
    if kind == "nrrd":
        path = folder / "case.nhdr"
        path.write_text(f"{NRRD}data file: {data_file}\n")
    else:
        path = folder / "case.mhd"
        path.write_text(f"{META}ElementDataFile = {data_file}\n")
    return path


@pytest.mark.parametrize("kind", ["nrrd", "meta"])
@pytest.mark.parametrize(
    "data_file", ["all.raw", "part%03d.raw 0 1 1", "s%d.raw 0 1 1", "LIST\ns0.raw\npart001.raw"]
)
def test_plain_files_in_the_same_folder_are_read(folder, kind, data_file):
    image = read_image(write(folder, kind, data_file))
    assert (sitk.GetArrayFromImage(image) == ARRAY).all()
    assert image.GetSpacing() == (1, 1, 2)


@pytest.mark.parametrize("kind", ["nrrd", "meta"])
@pytest.mark.parametrize(
    "data_file",
    [
        "../secret",
        "{outside}/secret",
        "./all.raw",
        "LIST\ns0.raw\n../secret",
        "LIST\n{outside}/secret\ns0.raw",
        "../secre%d 0 1 1",
        "{outside}/part%03d.raw 0 1 1",
        "link.raw",
        "LIST\ns0.raw\nlink.raw",
        "pipe.raw",
        "missing.raw",
        "..",
        "%s%s%s%n 0 1 1",
        "%99999999d.raw 0 1 1",
        "s%d.raw 0 999999 1",
    ],
)
def test_files_elsewhere_are_not_read(folder, kind, data_file, capsys):
    path = write(folder, kind, data_file.format(outside=folder.parent))
    with pytest.raises(ValueError, match=r"case.(nhdr|mhd) cannot be read as an image"):
        read_image(path)
    # the same under the ending of a file with its voxels in it
    other = path.rename(path.with_suffix(".nrrd" if kind == "nrrd" else ".mha"))
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_image(other)


def test_no_secret_comes_into_a_data_set(folder, tmp_path, capsys):
    write(folder, "nrrd", str(tmp_path / "secret"))
    labels = tmp_path / "labels"
    labels.mkdir()
    strokes = sitk.GetImageFromArray(np.full((2, 3, 4), 1, np.uint8))
    strokes.SetSpacing((1, 1, 2))
    sitk.WriteImage(strokes, str(labels / "case.nii.gz"))
    line = ["convert", "folder", "--images", str(folder), "--scribbles", str(labels)]
    line += ["--labels", "background=1", "RV=2", "--unlabelled", "0", "--dataset-id", "1"]
    assert cli.main([*line, "--name", "A", "--out", str(tmp_path / "out")]) == 1
    assert "only a file in the same folder" in capsys.readouterr().err
    assert not any((tmp_path / "out").glob("*/*")) and not any((tmp_path / "out").glob(".*/*"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("NDims = 3", "NDims = 99", "99 dimensions"),
        ("NDims = 3", "NDims = -3", "dimensions"),
        ("NDims = 3\n", "", "no known image format"),
        ("1 0 0 0 1 0 0 0 1", "1 " * 9801, "TransformMatrix|a value of"),
        ("Offset = 0 0 0", "Offset = 0 0 0 0 0", "Offset in its header has 5 of 3 numbers"),
        ("DimSize = 4 3 2", "DimSize = 4 3 200000", "cannot hold them"),
        ("DimSize = 4 3 2", "DimSize = 4 3 -2", "its size is"),
        ("DimSize = 4 3 2", "DimSize = 9" + "9" * 300 + " 3 2", "DimSize|its size|dimensions"),
        ("MET_SHORT", "MET_OTHER", "of the type 'MET_OTHER'"),
        ("MET_SHORT", "MET_SHORT\nElementNumberOfChannels = 99999999", "of the type"),
        ("CompressedData = False", "CompressedData = True\nCompressedDataSize = 9" * 2, "twice"),
        ("CompressedData = False", "CompressedDataSize = 99999999999999", "are 99999"),
        ("NDims = 3", "NDims = 3\nNDims = 99", "twice"),
        ("NDims = 3", "N" * 5000 + " = 3", "no known image format"),
        ("Offset = 0 0 0", "Offset = nan 0 0", "says Offset: nan 0 0; write finite numbers"),
        ("Offset = 0 0 0", "Offset = 1,5 0 0", "with a point for the decimals"),
        ("ElementSpacing = 1 1 2", "ElementSpacing = 0 1 2", "voxels are 0 x 1 x 2 mm: write the"),
        ("1 0 0 0 1 0 0 0 1", "0 0 0 0 1 0 0 0 1", "its axes span no volume"),
    ],
)
def test_metaimage_headers_that_itk_dies_of(tmp_path, old, new, reason):
    path = tmp_path / "case.mha"
    text = META.replace(old, new)
    assert text != META
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + ARRAY.tobytes())
    with pytest.raises(ValueError, match=reason):
        read_image(path)


@pytest.mark.parametrize(
    "line", ["dim[0] = 3", "0008|0060 = MR", "0010|0010 = ", "ITK_FileNotes = Müller", "a.b-c = 1"]
)
def test_metaimage_headers_carry_along_what_other_formats_say(tmp_path, line):
    path = tmp_path / "case.mha"
    text = f"{META}{line}\nElementDataFile = LOCAL\n"
    path.write_bytes(text.encode() + ARRAY.tobytes())
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd"])
def test_what_simpleitk_makes_of_nifti_is_read(tmp_path, ending):
    save_image(sitk.GetImageFromArray(ARRAY), tmp_path / "case.nii.gz")
    path = tmp_path / f"case{ending}"
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "case.nii.gz")), str(path))
    assert b"dim[0]" in path.read_bytes()
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()


NAN, INF = float("nan"), float("inf")


def nifti_with(folder, *fields):
    """A NIfTI file with numbers put into its header: (offset, format, values)."""
    path = folder / "case.nii"
    image = sitk.GetImageFromArray(ARRAY)
    image.SetSpacing((1.5, 1.5, 4))
    save_image(image, path)
    content = bytearray(path.read_bytes())
    for offset, form, *values in fields:
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(80, "<f", 0)], "voxels are 0 x 1.5 x 4 mm.*take 1 mm.*set_zooms"),
        ([(84, "<f", NAN)], "voxels are 1.5 x nan x 4 mm"),
        ([(88, "<f", INF)], "voxels are 1.5 x 1.5 x inf mm"),
        ([(252, "<2h", 1, 1), (280, "<f", NAN)], "its sform holds NaN.*set_sform"),
        ([(252, "<2h", 0, 1), (292, "<f", INF)], "its sform holds NaN or infinity"),
        ([(252, "<2h", 1, 0), (256, "<f", NAN)], "its qform holds NaN or infinity"),
        ([(252, "<2h", 1, 0), (268, "<f", NAN)], "its qform holds NaN or infinity"),
        ([(252, "<2h", 0, 1), (280, "<12f", *[0] * 12)], "an axis of no length.*set_sform"),
        ([(70, "<2h", 32, 64)], "complex numbers.*magnitude"),
    ],
)
def test_nifti_numbers_in_whose_place_itk_takes_others(tmp_path, capfd, fields, reason):
    with pytest.raises(ValueError, match=f"case.nii cannot be read as an image .*{reason}"):
        read_image(nifti_with(tmp_path, *fields))
    assert capfd.readouterr().err == "" or "length" in reason  # ITK's own words


def test_the_remedy_for_a_voxel_size_that_is_none(tmp_path):
    image = nibabel.load(nifti_with(tmp_path, (80, "<f", 0)))
    image.header.set_zooms((1.5, 1.5, 4))
    nibabel.save(image, tmp_path / "new.nii")
    assert read_image(tmp_path / "new.nii").GetSpacing() == (1.5, 1.5, 4)


def test_nifti_numbers_that_nobody_uses_may_be_anything(tmp_path):
    unused = [(92, "<4f", NAN, 0, 0, 0), (252, "<2h", 1, 0), (280, "<f", NAN)]
    assert read_image(nifti_with(tmp_path, *unused)).GetSpacing() == (1.5, 1.5, 4)
    slice_of_no_thickness = [(40, "<4h", 3, 4, 3, 1), (88, "<f", 0)]
    image = read_image(nifti_with(tmp_path, *slice_of_no_thickness))
    assert image.GetSize() == (4, 3, 1) and image.GetSpacing()[:2] == (1.5, 1.5)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("dimension: 3", "dimension: 16", "3 sizes and the dimension '16'"),
        ("sizes: 4 3 2", "sizes: 4 3 2 1 1 1 1", "7 dimensions|has 6 dimensions|says sizes"),
        ("sizes: 4 3 2", "sizes: 4 3 1000000", "cannot hold them"),
        ("sizes: 4 3 2", "sizes: 4 3 0", "its size is 4 x 3 x 0"),
        ("type: short", "type: block", "of the type 'block'"),
        ("type: short", "type: short\ntype: double", "twice"),
        ("(0,0,2)", " " * 3000, "space ?directions|has the line"),
        ("kinds: domain domain domain", " " * 3000 + ": raw", "has the line"),
        ("encoding: raw", "encoding: " + " " * 3000, "has the line"),
        ("encoding: raw", "encoding: other", "packed in the way 'other'"),
        ("(0,0,0)", "(" + "9" * 3000 + ",0,0)", "space ?origin|has the line"),
        ("endian", "\0endian", "has the line"),
        ("(0,0,0)", "(nan,nan,nan)", "spaceorigin: .nan,nan,nan.; write finite numbers"),
        ("(1,0,0)", "(1.5.3,0,0)", "spacedirections: .1.5.3,0,0. .*; write finite numbers"),
        ("(1,0,0)", "(0,0,0)", "voxels are 0 x 1 x 2 mm: write the true size|span no volume"),
    ],
)
def test_nrrd_headers_that_itk_dies_of(tmp_path, old, new, reason):
    path = tmp_path / "case.nrrd"
    text = NRRD.replace(old, new)
    assert text != NRRD
    path.write_bytes(f"{text}\n".encode() + ARRAY.tobytes())
    with pytest.raises(ValueError, match=reason):
        read_image(path)


def test_volumes_larger_than_the_memory_are_refused_at_once(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "a.nii"))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<8h", content, 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(ValueError, match="more than this machine's memory"):
            read_image(tmp_path / name)
    struct.pack_into("<8h", content, 40, 7, 9, 9, 9, 9, 9, 9, 9)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ValueError, match="7 dimensions"):
        read_image(tmp_path / "a.nii")


def test_packed_files_that_do_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr("scribble_tools.images.file_integrity.MOST_TRAILING", 1 << 20)
    path = tmp_path / "a.nii"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    bomb = tmp_path / "b.nii.gz"
    bomb.write_bytes(gzip.compress(path.read_bytes() + bytes(8 << 20)))
    with pytest.raises(ValueError, match="holds far more than"):
        read_image(bomb)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif"])
def test_pictures_of_any_claimed_size(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 7), np.uint8)), str(path))
    content = bytearray(path.read_bytes())
    if ending == ".png":
        struct.pack_into(">2I", content, 16, 1 << 30, 1 << 30)
    elif ending == ".bmp":
        struct.pack_into("<2i", content, 18, 1 << 16, 1 << 16)
    elif ending == ".jpg":
        place = next(p for m in b"\xc0\xc1\xc2" if (p := content.find(bytes([255, m]))) > 0)
        struct.pack_into(">2H", content, place + 5, 65535, 65535)
    else:
        start = struct.unpack_from("<I", content, 4)[0]
        for k in range(struct.unpack_from("<H", content, start)[0]):
            place = start + 2 + 12 * k
            if struct.unpack_from("<H", content, place)[0] in (256, 257, 278):
                struct.pack_into("<HII", content, place + 2, 4, 1, 1 << 20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}"):
        read_image(path)


def test_names_that_are_no_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "a.nii.gz"))
    (tmp_path / "a.nii.gz").rename(path)
    with pytest.raises(ValueError, match=r"a\\xff.nii.gz: this name is not UTF-8.*rename it"):
        read_image(path)
    with pytest.raises(ValueError, match="this name is not UTF-8"):
        save_image(sitk.GetImageFromArray(ARRAY), path)


def test_a_name_that_is_no_utf8_is_shown_once(tmp_path, capsys):
    path = tmp_path / os.fsdecode(b"a\xff.nii.gz")
    path.write_bytes(b"any")
    assert cli.main(["inspect", str(tmp_path), "-np", "1"]) == 0
    problem = next(line for line in capsys.readouterr().out.splitlines() if "UTF-8" in line)
    assert problem.count(r"a\xff") == 1


def test_content_that_nobody_knows_is_not_tried_on_every_reader(tmp_path):
    for name in ("a.nii.gz", "a.mha", "a.png", "a.hdr"):
        (tmp_path / name).write_bytes(b"# vtk DataFile Version 3.0\nASCII\n" * 20)
        with pytest.raises(ValueError, match="no known image format|header is damaged"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ((">f", 10, float("inf")), "its voxel size is inf x 1 x 1: write finite numbers"),
        ((">f", 14, float("nan")), "its voxel size is 1 x nan x 1: write finite numbers"),
        ((">d", 204, float("nan")), "its origin is nan x 0 x 0: write finite numbers"),
        ((">H", 8, 99), "of the type 99"),
    ],
)
def test_gipl_headers_of_no_numbers(tmp_path, capfd, patch, reason):
    path = tmp_path / "case.gipl"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
    content = bytearray(path.read_bytes())
    struct.pack_into(patch[0], content, *patch[1:])
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"case.gipl cannot be read as an image .*{reason}"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("start", [0, 60, 1000])
def test_a_bmp_whose_pixels_are_said_to_begin_in_its_palette(tmp_path, start):
    path = tmp_path / "case.bmp"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY[0].astype(np.uint8)), str(path))
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY[0]).all()
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, 10, start)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="case.bmp cannot be read as an image .*damaged"):
        read_image(path)
