"""How what is not network grows with image and classes."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_growth(benchmarks, tmp_path):
    import growth

    out = tmp_path / "growth.json"
    growth.main(
        ["--sizes-2d", "32", "64", "--sizes-3d", "16", "--classes", "2", "3", "--repeats", "1"]
        + ["--threads", "1", "--device", "cpu", "--out", str(out)]
    )
    content = json.loads(out.read_text())
    two, three, classes = content["series"].values()
    assert [row["voxels"] for row in two["rows"]] == [2 * 32**2, 2 * 64**2]
    assert [row["voxels"] for row in three["rows"]] == [2 * 16**3]
    assert [row["classes"] for row in classes["rows"]] == [2, 3]
    assert two["rows"][1]["mib"] > two["rows"][0]["mib"] > 0
    assert three["exponents"] == {"seconds": None, "mib": None}
    assert out.with_suffix(".png").stat().st_size > 1000


def test_exponent_of_the_larger_half(benchmarks):
    import growth

    assert growth.exponent([1, 2, 4, 8], [9, 9, 32, 128]) == 2
    assert growth.exponent([1, 2], [3, 6]) == 1
    assert growth.exponent([1], [3]) is None
