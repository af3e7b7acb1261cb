"""Benchmarks are scripts that import each other by their names alone."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")  # set by the benchmark, and as before afterwards
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))  # where the package is not installed
