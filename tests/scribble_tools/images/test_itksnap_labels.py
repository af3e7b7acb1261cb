"""ITK-SNAP's label descriptions as the program writes them."""

import pytest

from scribble_tools.images.itksnap_labels import read_label_description, write_label_description

HEADER = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""
LINES = """\
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "RV"
    5     0  255    0      0.5  1  0    "Left ventricle, "inner" part"
"""


def test_names_and_values(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text(HEADER + LINES)
    expected = {"Clear Label": 0, "RV": 1, 'Left ventricle, "inner" part': 5}
    assert read_label_description(path) == expected
    path.write_text("\n" + LINES.replace("\n", "\r\n"), encoding="utf-8-sig")
    assert read_label_description(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no label in it"),
        ("background 5", "line 1: 'background 5'; expected IDX R G B A VIS MSH"),
        (LINES + LINES[:60].replace("Clear Label", "Empty"), "line 4: 0 '.*' stands twice"),
        (LINES + '    7     0    0    0        0  0  0    "RV"', "line 4: 7 'RV' stands twice"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"labels.txt is no label description.*{message}"):
        read_label_description(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.txt: no such file"):
        read_label_description(tmp_path / "none.txt")


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "labels.txt"
    labels = {4: ("outside", (0.2, 0.4, 1.0)), 1: ("RV, predicted", (1.0, 0.0, 0.5))}
    write_label_description(labels, path)
    assert read_label_description(path) == {"Clear Label": 0, "RV, predicted": 1, "outside": 4}
    line = next(line for line in path.read_text().splitlines() if "RV" in line)
    assert line.split()[:7] == ["1", "255", "0", "128", "1", "1", "1"]
    with pytest.raises(ValueError, match="cannot be the name"):
        write_label_description({1: ('a "b"', (0, 0, 0))}, path)
