"""Patients from case names and from the record of a conversion."""

import json

import pytest

from scribble_tools.dataset.patients import find_patients, perhaps_of_one

CASES = ("patient021_frame01", "patient021_frame13", "patient022_frame01")


@pytest.mark.parametrize("regex", [r"patient\d+", r"patient(\d+)", "(.*)_frame"])
def test_regex(tmp_path, regex):
    patients = find_patients(CASES, tmp_path, regex)
    assert list(patients) == list(CASES)
    assert patients[CASES[0]] == patients[CASES[1]] != patients[CASES[2]]
    assert patients[CASES[2]] in ("patient022", "022")


def test_unusable_regex(tmp_path):
    with pytest.raises(ValueError, match="does not match patient021_frame01, patient022_frame01$"):
        find_patients(CASES, tmp_path, "frame13")
    with pytest.raises(ValueError, match=r"'\(x\\d\)' does not match"):  # as it was typed
        find_patients(CASES, tmp_path, r"(x\d)")
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        find_patients(CASES, tmp_path, "(")
    with pytest.raises(ValueError, match="does not match patient022_frame01$"):
        find_patients(CASES, tmp_path, "(021)|frame")  # a match without the group


def test_record_of_the_conversion(tmp_path):
    reference = tmp_path / "labelsTr_dense"
    reference.mkdir()
    assert find_patients(CASES, reference) is None
    record = {"patients": dict(zip(CASES, "aab", strict=True)) | {"another": "c"}}
    (tmp_path / "conversion.json").write_text(json.dumps(record))
    assert find_patients(CASES, reference) == dict(zip(CASES, "aab", strict=True))
    assert find_patients(CASES, reference, "frame..")[CASES[0]] == "frame01"  # takes precedence
    assert find_patients((*CASES, "unknown"), reference) is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"patients": []}'])
def test_unusable_record(tmp_path, content):
    (tmp_path / "conversion.json").write_text(content)
    with pytest.raises(ValueError, match="(?s)conversion.json.*--patient-regex"):
        find_patients(CASES, tmp_path)


@pytest.mark.parametrize(
    ("cases", "found"),
    [
        ("sub-01_ses-1 sub-01_ses-2 sub-02_ses-1", "sub-01_ses-1 sub-01_ses-2"),
        ("anna_after anna_before ben_before", "anna_after anna_before"),
        (" ".join(CASES), " ".join(CASES[:2])),
        ("photo_1 photo_2 photo_3 view_1", ""),
        ("case-2021-1 case-2021-2", ""),  # numbered through
        ("site1_001 site1_002 site2_001", ""),
        ("BraTS20_Training_001 BraTS20_Training_002 BraTS21_Training_001", ""),
        ("anna ben", ""),
        ("", ""),
        ("anna_v1_T2 anna_v2_T2 ben_v1_T2", ""),  # two heads with numbers may be two sites
        ("anna_v1_T2 anna_v2_T2 b_v1_T2 b_v2_T2 c_v1_T2 c_v2_T2", "anna_v1_T2 anna_v2_T2"),
        ("anna_1 anna_2 b_1 b_2 c_1 c_2", "anna_1 anna_2"),
        ("anna_001 anna_002 b_001 b_002 c_001 c_002", ""),
        ("anna_pre_T2 anna_post_T2 ben_pre_T2", "anna_post_T2 anna_pre_T2"),
        ("a_T2 b_T2", ""),
        ("a_pre b_pre a_post a_1 a_2 b_1 b_2 c_1 c_2", "a_post a_pre a_1 a_2"),
        (" ".join(f"{site}_{k:02d}" for site in "abc" for k in range(8)), ""),  # sites
    ],
)
def test_names_of_one_patients_images(cases, found):
    assert perhaps_of_one(cases.split()) == found.split()
