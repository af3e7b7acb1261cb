"""Which versions made a result: for records beside data sets, scores and pictures."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("nnunetv2-pclmix", "nnunetv2", "numpy", "scipy", "SimpleITK")


def package_versions() -> dict[str, str]:
    """Version of Python and of the packages that data and scores depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
