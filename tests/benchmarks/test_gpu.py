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
    steps = {"steps_eager", "steps_compiled"}
    assert parts.keys() == {"doctor", "continued", "main_job", "prediction", *steps}
    assert figures["continued"]["epochs_in_the_end"] == 3
    assert figures["prediction"]["different_voxels"] == 0  # both on the CPU
    for name in steps:
        assert list(figures[name]["results"]["acdc_2d"]["steps"]) == [ONE_PASS]
    assert "figures that are missing: none" in table
    assert max(map(len, table.splitlines())) <= 150


def test_what_there_is_no_time_for_is_named(benchmarks, tmp_path):
    done, figures, table = run_gpu_sh(tmp_path, GPU_SECONDS="5")
    assert done.returncode == 1
    assert all("no time left" in part["status"] for part in figures["parts"])
    assert "missing: steps_eager, steps_compiled, continued, prediction" in table


def test_a_part_says_in_one_line_that_it_lacks_anothers_result(benchmarks, tmp_path, monkeypatch):
    import gpu_figures

    for name in ("nnUNet_raw", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path))
    parts = tmp_path / "parts.tsv"
    parts.write_text("doctor\t3\tok\nmain_job\t9\tfailed: no\n")
    with pytest.raises(SystemExit, match="^not begun: preprocessing in main_job did not finish$"):
        gpu_figures.killed_and_continued("T", "cpu", parts, tmp_path / "continued.json")
    with pytest.raises(SystemExit, match="^not begun: the training in main_job did not finish$"):
        gpu_figures.predictions_compared("T", tmp_path, parts, tmp_path / "prediction.json")


def test_the_table_has_what_was_measured_before_a_limit_in_lines_that_fit(benchmarks, tmp_path):
    import gpu_figures

    steps = {"seconds_median": 0.1, "seconds_least": 0.1}
    steps |= {"ratio_quartiles": [1, 1, 1], "ratio_of_least": 1}
    content = {
        "machine": {"device": "cuda"},
        "results": {
            "acdc_2d": {
                "ratios_to": ONE_PASS,
                "steps": {ONE_PASS: steps},
                "waits": {ONE_PASS: "a.py < " * 90},
            }
        },
        "missing": {"acdc_2d": [], "large_3d": ["steps", "parts"]},
        "failed": {"large_3d": {ONE_PASS: "OutOfMemoryError: much"}},
        "kernels": {"stroke spread": "", "stroke growth": "ValueError: no"},
    }
    (tmp_path / "steps_eager.json").write_text(json.dumps(content))
    (tmp_path / "parts.tsv").write_text(f"steps_eager\t110\tfailed: {'long ' * 100}\n")
    assert gpu_figures.table(tmp_path, tmp_path) == 1
    lines = (tmp_path / "table.txt").read_text().splitlines()
    assert max(map(len, lines)) <= 150
    assert any(line.split()[:4] == ["acdc_2d,", "eager", ONE_PASS, "100.0"] for line in lines)
    assert f"failed, large_3d, eager, {ONE_PASS}: OutOfMemoryError: much" in lines
    assert "kernel of stroke growth, eager: ValueError: no" in lines
    assert not any("stroke spread" in line for line in lines)
    assert f"acdc_2d, eager: RATIOS ARE TO {ONE_PASS}, not to nnUNetTrainer" in lines
    missing = "steps_compiled, continued, prediction, steps_eager (large_3d: steps parts)"
    assert lines[-1] == f"figures that are missing: {missing}"


def test_a_kernel_that_does_not_run_is_a_failure(benchmarks, tmp_path):
    import gpu_figures

    for name in (*gpu_figures.STEPS, "continued", "prediction"):
        content = {"machine": {}, "results": {}, "kernels": {"stroke growth": ""}}
        content |= {
            "killed_after_epochs": 1,
            "epochs_in_the_end": 3,
            "losses_before_are_kept": True,
        }
        content |= dict.fromkeys(("different_voxels", "voxels", "foreground_voxels"), 0)
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "parts.tsv").write_text("steps_eager\t110\tok\n")
    assert gpu_figures.table(tmp_path, tmp_path) == 0
    content["kernels"] = {"stroke growth": "OSError: no"}
    (tmp_path / "steps_compiled.json").write_text(json.dumps(content))
    assert gpu_figures.table(tmp_path, tmp_path) == 1
