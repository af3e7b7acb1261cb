"""Commands that are printed to be pasted run what they say, whatever files are called."""

import shlex
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli

EVIL = "';touch PWNED;'"
NAMES = [EVIL, "$(touch PWNED)", "`touch PWNED`", 'x"; touch PWNED; "', "a b", "-x", "~", "$HOME"]


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(image, str(path))


def strokes(rng):
    labels = np.full((4, 40, 40), 4, np.uint8)
    for label, row in ((0, 5), (1, 20), (2, 30)):
        labels[:, row, 3:30] = label
    return labels


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["names", "folder"])
def test_the_line_of_inspect_is_harmless(tmp_path, monkeypatch, capsys, name, layout):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for k in (1, 2, 3):
        image = rng.normal(size=(4, 40, 40)).astype(np.float32)
        if layout == "names":
            write(tmp_path / "in" / f"p{k}_img{name}.nii.gz", image)
            write(tmp_path / "in" / f"p{k}_lab.nii.gz", strokes(rng))
        else:
            write(tmp_path / "in" / f"images{name}" / f"p{k}.nii.gz", image)
            write(tmp_path / "in" / f"strokes{name}" / f"p{k}.nii.gz", strokes(rng))
    assert cli.main(["inspect", "in"]) == 0
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if "convert folder" in line)
    command = line[line.index("scribble_tools") :]
    (tmp_path / "line").write_text(f"scribble_tools() {{ :; }}\n{command}\n")
    subprocess.run(["bash", "line"], check=True, env={"PATH": "/usr/bin:/bin", "nnUNet_raw": "raw"})
    assert not (tmp_path / "PWNED").exists()
    words = shlex.split(command)
    if layout == "folder":
        assert f"in/images{name}" in words and f"in/strokes{name}" in words
