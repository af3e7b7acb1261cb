"""ITK-SNAP's label descriptions as the program writes them."""

import pytest

from scribble_tools.images.itksnap_labels import read_label_description

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
