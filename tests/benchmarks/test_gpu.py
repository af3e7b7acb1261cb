"""`gpu.sh`: all that a GPU has to show, at a tiny size where there is none."""

import json
import os
import subprocess
import sys

import pytest

from tests.benchmarks.conftest import FOLDER

pytestmark = pytest.mark.slow

ONE_PASS = "nnUNetTrainerStrokeSupport"


def run_gpu_sh(out, **settings):
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **settings}
    environment.pop("nnUNet_n_proc_DA", None)
    command = ["bash", str(FOLDER / "gpu.sh"), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done, json.loads((out / "gpu.json").read_text()), (out / "table.txt").read_text()


def test_what_a_gpu_has_to_show_runs_without_one(benchmarks, tmp_path, commands_without_processes):
    done, figures, table = run_gpu_sh(tmp_path, GPU_SECONDS="900", GPU_TRAINERS=ONE_PASS)
    parts = {part["part"]: part["status"] for part in figures["parts"]}
    logs = (tmp_path / "log.txt").read_text().split("\n==== ")
    assert set(parts.values()) == {"ok"}, "".join(
        log[-3000:] for log in logs if parts.get(log.split("\n", 1)[0].strip(" =")) != "ok"
    )
    assert done.returncode == 0
    assert parts.keys() == {"doctor", "continued", "main_job", "prediction", "steps_2d", "steps_3d"}
    assert figures["continued"]["epochs_in_the_end"] == 3
    assert figures["prediction"]["different_voxels"] == 0  # both on the CPU
    assert list(figures["steps_2d"]["results"]["acdc_2d"]["steps"]) == [ONE_PASS]
    assert "figures that are missing: none" in table


def test_what_there_is_no_time_for_is_named(benchmarks, tmp_path):
    done, figures, table = run_gpu_sh(tmp_path, GPU_SECONDS="5")
    assert done.returncode == 1
    assert all("no time left" in part["status"] for part in figures["parts"])
    assert "missing: steps_2d, steps_3d, continued, prediction" in table
