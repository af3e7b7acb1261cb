"""What is wrong with many files in the same way is one problem."""

from pathlib import Path

import pytest

from scribble_tools.problems import list_problems, once_per_kind, refuse


def test_the_same_of_many_files_is_said_once_and_names_them():
    problems = [
        (Path(f"masks/case{k}.png"), f"has {k + 3} channels, not labels") for k in range(24)
    ]
    (text,) = once_per_kind(problems)
    first, second = text.splitlines()
    assert first == "masks/case0.png: has 3 channels, not labels"
    assert second.strip() == (
        "the same in 23 other files: case1.png, case2.png, case3.png, case4.png, case5.png "
        "and 18 more"
    )


def test_different_problems_stay_apart_in_their_order():
    found = once_per_kind(
        [
            ("a.png", "a.png has 3 channels"),
            ("b.png", "b.png is cut off"),
            ("c.png", "c.png has 4 channels"),
        ]
    )
    assert found == ["a.png has 3 channels\n  the same in 1 other file: c.png", "b.png is cut off"]


def test_nothing_is_nothing():
    assert once_per_kind([]) == []


def test_what_is_said_of_many_files_alike_names_them_all():
    problems = [f"my data/c {k}.5.nii.gz holds NaN: mend it" for k in range(9)]
    problems.insert(3, "my data/other.png (image: i.png) has 3 channels")
    lines = list_problems(problems).splitlines()
    assert lines[0] == "9 files: each holds NaN: mend it"
    assert lines[1:10] == [f"  my data/c {k}.5.nii.gz" for k in range(9)]
    assert lines[10:] == ["my data/other.png (image: i.png) has 3 channels"]
    assert list_problems(problems[:2]).splitlines() == problems[:2]
    with pytest.raises(ValueError, match="10 problems, nothing written:\n9 files: each holds NaN"):
        refuse(problems)
    refuse([])
