"""The SLURM scripts, run by bash with a stand-in for srun; what they start takes its arguments."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nnunetv2.run import run_training
from torch.distributed.run import get_args_parser

from nnunetv2_pclmix import train

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "slurm"
# what Slurm sets in a job
JOB = {
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_CPUS_PER_TASK": "12",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
}

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")


@pytest.fixture
def submit(tmp_path):
    """Run a script as Slurm would; returns what it gives to srun."""
    many = "printf 'node%s\\n' $(seq 20000)"  # more than a pipe holds
    for name, body in (("srun", 'printf "%s\\n" "$@"'), ("scontrol", many)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, **JOB, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def run(script, *arguments, **variables):
        return subprocess.run(
            ["bash", str(SCRIPTS / script), *arguments],
            env=environment | variables,
            capture_output=True,
            text=True,
        )

    return run


def after(word, printed):
    lines = printed.splitlines()
    return lines[lines.index(word) + 1 :]


@pytest.mark.parametrize(
    ("variables", "goes_on"), [({}, False), ({"SLURM_RESTART_COUNT": "1"}, True)]
)
def test_each_fold_is_a_command_of_nnunets(submit, monkeypatch, variables, goes_on):
    result = submit("folds.sbatch", "901", "3d_fullres", **variables)
    assert result.returncode == 0, result.stderr
    started = []
    monkeypatch.setattr(run_training, "run_training", lambda *args, **_: started.extend(args))
    monkeypatch.setattr(torch, "set_num_interop_threads", lambda number: None)
    monkeypatch.setattr(sys, "argv", ["train", *after("nnUNetv2_train", result.stdout)])
    run_training.run_training_entry()
    assert started[:5] == ["901", "3d_fullres", "3", "nnUNetTrainerPCLMix", "nnUNetPlans"]
    pretrained, gpus, npz, continues = started[5:9]
    assert (pretrained, gpus, npz, continues) == (None, 1, True, goes_on)


@pytest.mark.parametrize(("variables", "goes_on"), [({}, False), ({"CONTINUE": "1"}, True)])
def test_nodes_start_our_command_by_torchrun(submit, variables, goes_on):
    result = submit("nodes.sbatch", "901", "3d_fullres", "all", "mine", "plans", **variables)
    assert result.returncode == 0, result.stderr
    launcher = get_args_parser().parse_args(after("torchrun", result.stdout))
    assert (launcher.nnodes, launcher.nproc_per_node, launcher.max_restarts) == ("2", "4", 3)
    assert launcher.rdzv_endpoint == "node1:23456"
    assert launcher.module
    assert launcher.training_script == train.__name__
    args = train.build_parser().parse_args(launcher.training_script_args)
    assert (args.dataset, args.configuration, args.fold) == ("901", "3d_fullres", "all")
    assert (args.tr, args.p, args.npz, args.c) == ("mine", "plans", True, goes_on)


@pytest.mark.parametrize("script", ["folds.sbatch", "nodes.sbatch"])
def test_without_arguments_the_usage_is_printed(submit, script):
    result = submit(script)
    assert result.returncode != 0
    assert f"usage: sbatch {script}" in result.stderr
