"""What several tests of scores share."""

import pytest


@pytest.fixture
def two_are_enough(monkeypatch):
    """Intervals of so few groups that they can be worked out by hand."""
    monkeypatch.setattr("scribble_tools.evaluate.statistics.LEAST_GROUPS", 2)
