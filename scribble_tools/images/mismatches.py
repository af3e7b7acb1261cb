"""The errors of label files that do not fit their images."""

from __future__ import annotations


class Mismatch(ValueError):
    """A label file does not fit its image."""


class GridMismatch(Mismatch):
    """A label file lies on another voxel grid than its image.

    Attributes:
        remedy: what `convert folder` offers; other commands have no such options.
        option: the one that is right without doubt, if any.
    """

    def __init__(self, message: str, remedy: str = "", option: str = ""):
        super().__init__(message)
        self.remedy = remedy
        self.option = option
