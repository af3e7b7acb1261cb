"""One training step of PCLMix beside the stock trainer's: seconds, memory, and where they go.

Both trainers run in turns, on plans of nnU-Net's kind and a data set that is drawn here: nothing
has to be downloaded. What counts are the ratios to the first trainer named, of the same round.

    python benchmarks/step.py --out benchmarks/results/step_cpu.json

On a CPU the networks are reduced, to end in minutes; on a CUDA GPU they have the size that nnU-Net
plans (``--size`` chooses). On a machine that is busy with other work: ``--threads 1 --clock cpu``.

Memory is what a step needs at its peak, weights and optimiser included. On CUDA the allocator
tells. On a CPU two figures are given: of tensors, summed up from their allocations, which is what
CUDA's allocator would count but for its lower precision; and the peak resident size of a process
of its own, from before the trainer is built, which has scratch space of the convolutions and gaps
between allocations, too, and differs by some per cent from run to run. The former needs one step,
so that planned sizes can be measured without a GPU:

    python benchmarks/step.py --device cpu --size planned --sections tensors

The JSON file is written anew after every section, and says which are missing: a run that is killed
leaves what it had. What fails is named there, too, and the rest goes on.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peak_memory import peak_mib
from step_parts import Clock, split_step
from step_record import Record, within
from step_tables import tables, with_quartiles
from synthetic_task import PLANS, make_trainer, quiet, random_batch, write_task

from nnunetv2_pclmix.commands.machine import kernels
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from nnunetv2_pclmix.training.step import Descent
from scribble_tools.dataset.writing import write_json

TRAINERS = ("nnUNetTrainer", "nnUNetTrainerStrokeSupport", "nnUNetTrainerPCLMix")


# ------------------------------------------------------------------ of one trainer


def ready_trainer(name: str, plan: str, args: argparse.Namespace) -> Any:
    """A trainer in the middle of its training, where all terms have weight."""
    torch.manual_seed(0)
    trainer = make_trainer(name, plan, torch.device(args.device))
    with quiet():
        trainer.initialize()
    trainer.network.train()
    trainer.iteration = trainer.num_epochs * trainer.num_iterations_per_epoch // 2
    return trainer


def network_of(trainer: Any) -> torch.nn.Module:
    """Without the wrapping of torch.compile."""
    return getattr(trainer.network, "_orig_mod", trainer.network)


def modules_of(trainer: Any) -> list[torch.nn.Module]:
    """The network, and the queue of the contrast where the trainer has one."""
    memory = trainer.step.memory if is_ours(trainer) else None
    return [network_of(trainer), *([] if memory is None else [memory])]


def is_ours(trainer: Any) -> bool:
    """Whether it is not the stock trainer."""
    return isinstance(trainer, nnUNetTrainerPCLMix)


def persistent_bytes(trainer: Any) -> int:
    """Weights, buffers, memory queue and the optimiser's state."""
    tensors = [t for m in modules_of(trainer) for t in (*m.parameters(), *m.buffers())]
    tensors += [
        value
        for state in trainer.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    return sum(t.nbytes for t in tensors)


def count_synchronisations(trainer: Any, batch: dict) -> int:
    """How often a step makes the host wait for the GPU, as CUDA's allocator and copies tell."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.train_step(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(w.message) for w in caught)


def waiting_is_an_error(trainer: Any, batches: Sequence[dict]) -> str:
    """Three steps in which nothing may wait for the GPU but the optimiser and the last transfer.

    Returns:
        "none", "unknown" without a GPU, or where a step waited first.
    """
    on_cuda, step = trainer.device.type == "cuda", Descent.step

    def allowed(descent: Descent) -> torch.Tensor:
        # nnU-Net's scaling of the loss asks whether a gradient was infinite
        torch.cuda.set_sync_debug_mode("default")
        return step(descent)

    Descent.step = allowed if on_cuda else step
    try:
        for batch in batches[:3]:
            if on_cuda:
                torch.cuda.synchronize()
                torch.cuda.set_sync_debug_mode("error")
            trainer.train_step(batch)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.lineno}: {f.line}" for f in frames]
        return " < ".join(reversed(ours[-6:]))
    finally:
        Descent.step = step
        if on_cuda:
            torch.cuda.set_sync_debug_mode("default")
    return "none" if on_cuda else "unknown, no GPU"


def resident_mib(field: str) -> float | None:
    """VmRSS (now) or VmHWM (peak) of this process in MiB; None where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


# ------------------------------------------------------------------ in a process of its own


def child(args: argparse.Namespace) -> dict[str, float | None]:
    """What is measured in a process that does nothing else."""
    plan, name = args.child[1:]
    if args.child[0] == "startup":
        return child_startup(name, plan, args)
    # imports and the reading of nnU-Net's files are no part of it
    make_trainer(name, plan, torch.device(args.device))
    before = resident_mib("VmRSS:")
    if before is None:
        return {"mib": None}
    if args.child[0] == "memory":
        trainer = ready_trainer(name, plan, args)
        for _ in range(3):
            trainer.train_step(random_batch(trainer))
    else:
        predict, _ = predictor(model_folder(name, plan, args), args)
        predict()
    return {"mib": resident_mib("VmHWM:") - before}


def child_startup(name: str, plan: str, args: argparse.Namespace) -> dict[str, float]:
    """Seconds from the start of the process to the first batch, and of the first iteration."""
    trainer = make_trainer(name, plan, torch.device(args.device))
    with quiet():
        trainer.on_train_start()
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        batch = next(trainer.dataloader_train)
        ready = time.time()
        trainer.train_step(batch)  # ends with the transfer of the loss, so it is complete
        end = time.time()
        close_loaders(trainer.dataloader_train, trainer.dataloader_val)
    return {"startup": ready - args.started, "first iteration": end - ready}


def in_process(what: str, plan: str, name: str, args: argparse.Namespace) -> dict[str, float]:
    """Run `child` in a new process."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", what, plan, name]
    command += ["--device", args.device, "--threads", str(args.threads)]
    command += ["--started", str(time.time())]
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as cache:
        # every start compiles anew, as a first training does
        environment["TORCHINDUCTOR_CACHE_DIR"] = cache
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------ side by side


def in_turns(
    runs: dict[str, Callable[[], Any]], rounds: int, clock: Clock, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of each run in each round; every round calls all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(warm_up + rounds):
        for name, run in runs.items():
            start = clock.mark()
            run()
            elapsed = clock.seconds(start, clock.mark())
            if i >= warm_up:
                seconds[name].append(elapsed)
    return seconds


def compare(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Median, minimum, and the quartiles of the ratios to the first, round by round."""
    reference = np.array(next(iter(seconds.values())))
    rows = {}
    for name, values in seconds.items():
        quartiles = np.percentile(np.array(values) / reference, (25, 50, 75))
        rows[name] = {
            "seconds_median": float(np.median(values)),
            "seconds_least": float(np.min(values)),
            "ratio_quartiles": [round(float(q), 3) for q in quartiles],
            "ratio_of_least": round(float(np.min(values) / reference.min()), 3),
        }
    return rows


def ratios(values: dict[str, float | None]) -> dict[str, dict[str, float | None]]:
    """Each value with its ratio to the first."""
    first = next(iter(values.values()))
    return {
        name: {"value": value, "ratio": round(value / first, 3) if value and first else None}
        for name, value in values.items()
    }


def close_loaders(*loaders: Any) -> None:
    """End nnU-Net's worker processes."""
    for loader in loaders:
        if hasattr(loader, "_finish"):
            loader._finish()


def measure_loader(trainers: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Seconds per iteration with nnU-Net's loader and its workers, one trainer at a time."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    iterations = args.rounds // 2 + 1
    for _ in range(3):
        for name, trainer in trainers.items():
            with quiet():
                train, validation = trainer.get_dataloaders()
            for _ in range(2):
                trainer.train_step(next(train))
            start = time.perf_counter()
            for _ in range(iterations):
                trainer.train_step(next(train))
            seconds[name].append((time.perf_counter() - start) / iterations)
            close_loaders(train, validation)
    return compare(seconds)


def model_folder(name: str, plan: str, args: argparse.Namespace) -> Path:
    """Where `save_model` left the checkpoint."""
    trainer = make_trainer(name, plan, torch.device(args.device))
    return Path(trainer.output_folder_base)


def save_model(trainer: Any) -> dict[str, int]:
    """Write a model as a finished training does; sizes in bytes of weights and checkpoint."""
    folder = Path(trainer.output_folder_base)
    write_json(trainer.plans_manager.plans, folder / "plans.json")
    write_json(trainer.dataset_json, folder / "dataset.json")
    path = Path(trainer.output_folder) / "checkpoint_final.pth"
    with quiet():
        trainer.inference_allowed_mirroring_axes = (0, 1)
        trainer.save_checkpoint(str(path))
    weights = torch.load(path, map_location="cpu", weights_only=False)["network_weights"]
    distinct = {w.data_ptr(): w.nbytes for w in weights.values()}  # the decoder names the encoder's
    return {"weights": sum(distinct.values()), "checkpoint": path.stat().st_size}


def predictor(folder: Path, args: argparse.Namespace) -> tuple[Callable[[], Any], torch.nn.Module]:
    """nnU-Net's prediction of one small image with a saved model, and its network."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with quiet():
        predictor = nnUNetPredictor(
            use_mirroring=False, device=torch.device(args.device), allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(folder), (0,))
    patch = predictor.configuration_manager.patch_size
    shape = (4, *patch) if len(patch) == 2 else [p + p // 2 for p in patch]
    image = torch.randn(1, *shape)

    def predict() -> torch.Tensor:
        with quiet():
            return predictor.predict_logits_from_preprocessed_data(image)

    return predict, predictor.network


# ------------------------------------------------------------------ all of one plan


@dataclass
class Bench:
    """The trainers of one plan, ready, and what they step through."""

    plan: str
    args: argparse.Namespace
    clock: Clock
    trainers: dict[str, Any]
    batches: list[dict[str, Any]]

    @property
    def device(self) -> torch.device:
        """Where the trainers are."""
        return torch.device(self.args.device)

    @property
    def cuda(self) -> bool:
        """Whether that is a GPU."""
        return self.device.type == "cuda"

    def ours(self) -> dict[str, Any]:
        """All but stock."""
        return {name: trainer for name, trainer in self.trainers.items() if is_ours(trainer)}

    def two(self) -> dict[str, Any]:
        """Stock and the first of ours."""
        return dict(list(self.trainers.items())[:2])

    def runs(self) -> dict[str, Callable[[], Any]]:
        """A step of each, with any of the batches."""

        def stepping(trainer: Any) -> Callable[[], Any]:
            return lambda: trainer.train_step(self.batches[np.random.randint(len(self.batches))])

        return {name: stepping(trainer) for name, trainer in self.trainers.items()}


def steps_section(bench: Bench) -> dict[str, Any]:
    """Seconds of a step, in turns."""
    return {"steps": compare(in_turns(bench.runs(), bench.args.rounds, bench.clock, warm_up=1))}


def memory_section(bench: Bench) -> dict[str, Any]:
    """What the allocator tells, or without a GPU the resident size of a process of its own."""
    if bench.cuda:
        return {"memory_mib": peaks(bench)}
    names = bench.trainers
    return {
        "memory_mib": ratios(
            {name: in_process("memory", bench.plan, name, bench.args)["mib"] for name in names}
        )
    }


def tensors_section(bench: Bench) -> dict[str, Any]:
    """Of tensors, without a GPU; with one, `memory_section` has them."""
    return {} if bench.cuda else {"tensor_mib": peaks(bench)}


def peaks(bench: Bench) -> dict[str, Any]:
    """Most memory of a step, with what stays between steps."""
    found: dict[str, float | None] = {}
    runs = bench.runs()
    for name, trainer in bench.trainers.items():
        trainer.optimizer.zero_grad(set_to_none=True)  # a step begins with it
        found[name] = peak_mib(runs[name], bench.device) + persistent_bytes(trainer) / 2**20
    return ratios(found)


def syncs_section(bench: Bench) -> dict[str, Any]:
    """How often a step waits for the GPU."""
    if not bench.cuda:
        return {}
    counts = {
        name: count_synchronisations(trainer, bench.batches[0])
        for name, trainer in bench.trainers.items()
    }
    return {"synchronisations": counts}


def waits_section(bench: Bench) -> dict[str, Any]:
    """Where a step waits that need not; stock looks at every level for annotations."""
    found = {n: waiting_is_an_error(trainer, bench.batches) for n, trainer in bench.ours().items()}
    return {"waits": found}


def parts_section(bench: Bench) -> dict[str, Any]:
    """Medians of what a step consists of."""
    parts = {}
    for name, trainer in bench.ours().items():
        rounds = range(bench.args.rounds + 1)
        splits = [split_step(trainer, bench.batches[0], bench.clock) for _ in rounds]
        parts[name] = {
            part: float(np.median([split[part] for split in splits[1:]])) for part in splits[0]
        }
    return {"parts": parts}


# Those of most worth first: of a run that is stopped the last are missing.
MEASURES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "steps": steps_section,
    "memory": memory_section,
    "tensors": tensors_section,
    "syncs": syncs_section,
    "waits": waits_section,
    "parts": parts_section,
    "inference": lambda b: {"inference": measure_inference(b.two(), b.args, b.clock)},
    "loader": lambda b: {"loader": measure_loader(b.two(), b.args)},
}
SECTIONS = (*MEASURES, "startup")


def measure_plan(plan: str, record: Record) -> None:
    """Every section asked for, of one plan, with those trainers that come to run."""
    args = record.args
    device = torch.device(args.device)
    bench = Bench(plan, args, Clock(device, args.clock == "cpu"), {}, [])
    # what was compiled for another plan would be compiled again for shapes that vary
    torch.compiler.reset()
    gc.collect()  # trainers of another plan
    result = record.content["results"][plan]
    for name in args.trainers:
        begin = record.seconds()
        limit = None if args.ready_by is None else args.ready_by - time.time()
        with record.attempt(plan, name), within(limit):
            warm_up(name, bench)
            result.setdefault("ready", {})[name] = round(record.seconds() - begin, 1)
    result["ratios_to"] = next(iter(bench.trainers), None)  # another, where the first one failed
    if args.begin_when and bench.trainers:
        record.say(f"{plan}: waits for {args.begin_when.name}")
        while not args.begin_when.exists():
            time.sleep(0.1)
    for section, measure in MEASURES.items():
        if section in args.sections and bench.trainers:
            with record.attempt(plan, section):
                result.update(measure(bench))


def warm_up(name: str, bench: Bench) -> None:
    """Add a trainer, compiled and with its kernels chosen where its steps are timed."""
    trainer = ready_trainer(name, bench.plan, bench.args)
    if not bench.batches:
        batches = [random_batch(trainer) for _ in range(4)]
        bench.batches = [pinned(batch) for batch in batches] if bench.cuda else batches
    if bench.cuda or {"steps", "waits"} & set(bench.args.sections):
        for batch in bench.batches[:2]:
            trainer.train_step(batch)
    bench.trainers[name] = trainer


def pinned(batch: dict[str, Any]) -> dict[str, Any]:
    """In pinned memory, as nnU-Net's loader gives it to a GPU."""
    return {"data": batch["data"].pin_memory(), "target": [t.pin_memory() for t in batch["target"]]}


def measure_inference(
    trainers: dict[str, Any], args: argparse.Namespace, clock: Clock
) -> dict[str, Any]:
    """Seconds, size of the weights, and whether the networks are the same module for module."""
    sizes = {name: save_model(trainer) for name, trainer in trainers.items()}
    folders = {name: Path(trainer.output_folder_base) for name, trainer in trainers.items()}
    models = {name: predictor(folder, args) for name, folder in folders.items()}
    runs = {name: predict for name, (predict, _) in models.items()}
    result = {
        "steps": compare(in_turns(runs, args.rounds, clock)),
        "weight_bytes": ratios({name: size["weights"] for name, size in sizes.items()}),
        "checkpoint_bytes": ratios({name: size["checkpoint"] for name, size in sizes.items()}),
        "same_network": len({str(network) for _, network in models.values()}) == 1,
    }
    if args.device == "cuda":
        peaks = {name: peak_mib(run, torch.device("cuda")) for name, run in runs.items()}
    else:
        (plan,) = {trainer.plans_manager.plans_name for trainer in trainers.values()}
        peaks = {name: in_process("inference", plan, name, args)["mib"] for name in trainers}
    return {**result, "memory_mib": ratios(peaks)}


def measure_startup(plan: str, args: argparse.Namespace) -> dict[str, Any]:
    """Start of the process to first batch, and the first iteration, in turns."""
    values: dict[str, dict[str, list[float]]] = {}
    for _ in range(args.starts):
        for name in args.trainers[:2]:
            for what, seconds in in_process("startup", plan, name, args).items():
                values.setdefault(what, {}).setdefault(name, []).append(seconds)
    return {what: compare(seconds) for what, seconds in values.items()}


# ------------------------------------------------------------------ report


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--size", choices=PLANS, help="default: planned on CUDA, else reduced")
    parser.add_argument("--plans", nargs="+", metavar="PLAN", help="default: all of that size")
    parser.add_argument(
        "--trainers",
        nargs="+",
        default=TRAINERS,
        metavar="TRAINER",
        help="the first is what the others are compared with; settings of PCLMixConfig follow "
        "after a colon: nnUNetTrainerPCLMix:auxiliary_stride=8,contrast=False",
    )
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"in this order, whatever the one given: {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument(
        "--begin-when",
        type=Path,
        metavar="FILE",
        help="with the trainers ready, wait for this file before anything is measured",
    )
    parser.add_argument(
        "--ready-by",
        type=float,
        metavar="TIME",
        help="as `date +%%s` prints it: leave out trainers that are not ready then, e.g. compiled",
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: 7)")
    parser.add_argument(
        "--starts", type=int, help="processes timed per trainer (default: 1 on CUDA, else 3)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: seconds of the process"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.size = args.size or ("planned" if args.device == "cuda" else "reduced")
    args.starts = args.starts or (1 if args.device == "cuda" else 3)
    args.plans = args.plans or list(PLANS[args.size])
    args.sections = [section for section in SECTIONS if section in args.sections]
    if unknown := set(args.plans) - set(PLANS[args.size]):
        parser.error(f"--plans {' '.join(unknown)}: {args.size} has {' '.join(PLANS[args.size])}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print tables, write the JSON file."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    if args.child:
        print(json.dumps(child(args)))
        return
    record = Record(args)
    with tempfile.TemporaryDirectory() as folder:
        write_task(Path(folder), {name: PLANS[args.size][name] for name in args.plans})
        record.say("the data set is there")
        if args.device == "cuda":
            tried = kernels().items()
            record.content["kernels"] = {what: kernel.why_not for what, kernel in tried}
            record.say(f"why kernels do not run: {record.content['kernels']}")
        for name in args.plans:
            measure_plan(name, record)
            print(tables(name, record.content["results"][name]), flush=True)
        if "startup" in args.sections:
            with record.attempt(args.plans[0], "startup"):
                record.content["startup"] = measure_startup(args.plans[0], args)
    for what, rows in record.content["startup"].items():
        for name, row in rows.items():
            print(f"{what}, {name}: {row['seconds_median']:.2f} s, ratio {with_quartiles(row)}")
    print(f"{record.content['minutes']} minutes")
    if failed := record.content["failed"]:
        found = [f"{p}, {what}: {why}" for p, rows in failed.items() for what, why in rows.items()]
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
