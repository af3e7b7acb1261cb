"""A test lies where what it tests lies: tests/PACKAGE/FOLDER/test_MODULE.py."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# folders of the repository whose tests mirror them; what concerns all of it lies on top
MIRRORED = ("nnunetv2_pclmix", "scribble_tools", "benchmarks")
# what spans the modules of its folder, or all of nnU-Net
SPANNING = {
    "nnunetv2_pclmix": "amp compile configurations mps nnunet_details nnunet_version pretraining "
    "regions resenc_presets stock_interfaces",
    "nnunetv2_pclmix/method": "contrast losses",
    "nnunetv2_pclmix/training": "resume",
    "scribble_tools": "hidden_files kills_of_commands nothing_is_lost printed_commands",
    "scribble_tools/convert": "colours files_as_people_have_them headers_that_differ no_files "
    "one_slice",
    "scribble_tools/images": "read_back",
    "scribble_tools/report": "browser",
    "scribble_tools/survey": "accepted_lines",
}


def places_of(folder: str) -> set[str]:
    """Where tests lie below it: ``FOLDER/MODULE``."""
    files = (ROOT / "tests" / folder).rglob("test_*.py")
    places = (file.relative_to(ROOT / "tests") for file in files)
    return {(place.parent / place.stem.removeprefix("test_")).as_posix() for place in places}


def test_tests_mirror_the_source():
    found = set().union(*map(places_of, MIRRORED))
    spanning = {f"{folder}/{name}" for folder, names in SPANNING.items() for name in names.split()}
    assert not spanning - found, "strike it off the list"
    there = {place for place in found if [*ROOT.glob(f"{place}.*")] or (ROOT / place).is_dir()}
    assert not spanning & there, "it has a module of its own: strike it off the list"
    strange = found - there - spanning
    assert not strange, "call a test as what it tests, beside the tests of its folder"


def test_the_trainer_reads_like_a_table_of_contents():
    assert len((ROOT / "nnunetv2_pclmix" / "trainer.py").read_text().splitlines()) <= 350
