"""The nnU-Net that is tested is the one that was asked for: CI runs the newest and the oldest."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nnunetv2
from packaging.requirements import Requirement

ASKED_FOR = Requirement(os.environ.get("TESTED_NNUNET", "nnunetv2"))
"""`make test-oldest` sets it; otherwise any version that pip found will do."""


def test_this_process_and_those_that_it_starts_import_the_version_asked_for():
    distribution = metadata.distribution("nnunetv2")
    assert ASKED_FOR.specifier.contains(distribution.version)
    assert Path(nnunetv2.__file__) == Path(distribution.locate_file("nnunetv2/__init__.py"))
    started = [sys.executable, "-c", "import nnunetv2; print(nnunetv2.__file__)"]
    printed = subprocess.run(started, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == nnunetv2.__file__
