"""A small campaign of hostile input and faults; the large ones are run by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.damage import BY_KIND

pytestmark = pytest.mark.slow

CAMPAIGN = Path(__file__).with_name("campaign.py")


def test_a_small_campaign_finds_nothing(tmp_path):
    out = tmp_path / "faults.json"
    line = [sys.executable, str(CAMPAIGN), "--n", "24", "--seed", "3", "--quick", "--out", str(out)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert out.exists(), f"the campaign itself ended: {done.stdout}{done.stderr}"
    content = json.loads(out.read_text())
    assert not content["faults"], done.stdout
    assert content["runs"]["hostile input"] == 24 and len(content["runs"]) == 5


def test_every_damage_is_one(tmp_path):
    """What is damaged is another file afterwards, or there is another one beside it."""
    import random
    import shutil

    from tests.hostile import world
    from tests.hostile.commands import COMMANDS
    from tests.hostile.running import files_of

    world.build(tmp_path / "whole")
    whole = files_of(tmp_path / "whole")
    read = {(kind, places[0]) for c in COMMANDS for kind, places in c.reads.items()}
    for kind, place in sorted(read):
        for damage in BY_KIND[kind]:
            root = tmp_path / "try"
            shutil.copytree(tmp_path / "whole", root)
            verdict = damage(root / place, random.Random(5))
            assert verdict in ("refuse", "right", "any")
            assert files_of(root) != whole, (damage, place)
            shutil.rmtree(root)
