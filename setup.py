"""Packaging of nnunetv2-pclmix, with the start-up files that let nnU-Net find its trainers."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent

# Both files make Python call `register` when it starts, which names our folder in the environment
# variable nnUNet_extTrainer. Python 3.15 reads the .start file (PEP 829) and then ignores the
# .pth file's import line; older versions know only the latter. Its line says nothing when the
# package is gone or broken, because it would say it at every start of Python; whatever is imported
# there, it does not end Python either.
STARTUP_FILES = {
    "nnunetv2_pclmix.pth": (
        'import sys; exec("try:\\n from nnunetv2_pclmix.discovery import register\\n register()'
        '\\nexcept BaseException:\\n pass")\n'
    ),
    "nnunetv2_pclmix.start": "nnunetv2_pclmix.discovery:register\n",
}

# Each lower bound was installed and tested, all of them together: see tests/lower_bounds.txt.
REQUIREMENTS = [
    "nnunetv2>=2.8",  # the first that looks for trainers in nnUNet_extTrainer
    # Before 2.6 a checkpoint can run code even where it is read with weights_only=True
    # (CVE-2025-32434, GHSA-53q9-r3pm-6pq6). The next such hole (CVE-2026-24747: opcodes applied
    # to the wrong types, sizes that do not match; up to 2.9) is closed by scribble_tools.trust,
    # through which every checkpoint goes first.
    "torch>=2.6",
    "batchgenerators>=0.25.4",  # older ones invent background where resampled scribbles meet
    "batchgeneratorsv2>=0.3.6",  # older ones do the same where they augment them
    "SimpleITK>=2.2.1",  # reads and writes images; the lowest that nnU-Net 2.8 takes
    "numpy>=1.26",  # the lowest that the blosc2 of nnU-Net 2.8 takes
    "acvl-utils>=0.2.6",  # cropping and padding; the lowest that nnU-Net 2.8 takes
    "dynamic-network-architectures>=0.4.4",  # the U-Net; the lowest that nnU-Net 2.8 takes
    "scipy>=1.10",  # distances and connected components
    "h5py>=3.8",  # reads the files of WSL4MIS
    "matplotlib>=3.6",  # previews of scribbles and reports
    "jinja2>=3.1",  # the page of `scribble_tools report`; torch brings it too
    "pillow>=9.1",  # its pictures, as WebP; matplotlib brings it too
    "tifffile>=2022.8.12",  # TIF of 64 bits; nnU-Net brings it too
    "tqdm>=4.60",  # progress bars
    "packaging>=24",  # the doctor compares versions
]

DEVELOPMENT = [
    "pytest",
    "pytest-cov",  # by hand: python -m pytest --cov
    "pytest-xdist",  # the tests side by side, which would take too long one after the other
    "ruff>=0.17,<0.18",  # another release may format otherwise
    "hypothesis",  # property tests of generated scribbles and label mappings
    "medpy>=0.5",  # the tests compare our metrics with its
    "pynrrd",  # the tests write 3D Slicer's files with it
    "nbclient>=0.8",  # runs docs/quickstart.ipynb as a reader would; brings nbformat
    "ipykernel>=6.20.1",  # the kernel that it runs in; 6.20.0 was withdrawn
    "selenium>=4.11",  # drives the browser that opens the report
    "build",
    "twine>=6.1",  # reads what is built as a package index would
    "setuptools>=70.1",  # the tests install the package without build isolation
]


class BuildWithStartupFiles(build_py):
    """``build_py`` that also puts the start-up files beside the packages, in site-packages."""

    def run(self) -> None:
        """Build the packages, then write the start-up files."""
        super().run()
        # An editable install builds no packages: what it installs is gathered in install_lib.
        editable_folder = self.get_finalized_command("install").install_lib
        folder = Path(editable_folder if self.editable_mode else self.build_lib)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in STARTUP_FILES.items():
            (folder / name).write_text(content, encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """List the start-up files too, unless they are not in ``build_lib``."""
        extra = [] if self.editable_mode else [str(Path(self.build_lib, n)) for n in STARTUP_FILES]
        return super().get_outputs(include_bytecode) + extra


def version() -> str:
    """Read the version from the package without importing it."""
    source = (HERE / "nnunetv2_pclmix" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE).group(1)


def long_description() -> str:
    """Return the README, or nothing in a copy of the sources that lacks it."""
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


# Build tools run this file as a script. Someone who names this folder in nnUNet_extTrainer makes
# nnU-Net import it instead, and then it must do nothing.
if __name__ == "__main__":
    setup(
        name="nnunetv2-pclmix",
        version=version(),
        description="PCLMix as an nnU-Net v2 trainer: segmentation learned from scribbles",
        long_description=long_description(),
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        project_urls={
            "PCLMix": "https://arxiv.org/abs/2405.06288",
            "nnU-Net": "https://github.com/MIC-DKFZ/nnUNet",
        },
        classifiers=[
            "Development Status :: 4 - Beta",
            "Environment :: Console",
            "Environment :: GPU :: NVIDIA CUDA",
            "Intended Audience :: Healthcare Industry",
            "Intended Audience :: Science/Research",
            "Operating System :: MacOS",
            "Operating System :: POSIX :: Linux",
            "Programming Language :: Python :: 3",
            "Programming Language :: Python :: 3.10",
            "Programming Language :: Python :: 3.11",
            "Programming Language :: Python :: 3.12",
            "Topic :: Scientific/Engineering :: Artificial Intelligence",
            "Topic :: Scientific/Engineering :: Medical Science Apps.",
        ],
        keywords="nnU-Net segmentation scribble weak supervision contrastive learning",
        python_requires=">=3.10",
        packages=find_packages(include=["nnunetv2_pclmix*", "scribble_tools*"]),
        package_data={
            "nnunetv2_pclmix": ["external_trainers/*.py"],
            "scribble_tools": ["report/templates/*"],
        },
        install_requires=REQUIREMENTS,
        extras_require={"dev": DEVELOPMENT},
        entry_points={
            "console_scripts": [
                "nnunetv2_pclmix = nnunetv2_pclmix.cli:main",
                "scribble_tools = scribble_tools.cli:main",
            ]
        },
        cmdclass={"build_py": BuildWithStartupFiles},
    )
