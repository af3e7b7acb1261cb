"""Hostile input, kills, full disks and second writers for every command of both packages.

    python tests/campaign.py --n 500 --seed 1

draws N experiments of each sort, runs them, and compares what happens with what it knows of the
right answer. It prints a table and every failure, and ends with status 1 if there is one. Nothing
outside a temporary folder is touched.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.update(OMP_NUM_THREADS="1", nnUNet_n_proc_DA="0", nnUNet_def_n_proc="1")
os.environ["nnUNet_compile"] = "f"

from scribble_tools.trust.printable import printable  # noqa: E402
from tests.hostile import formats_world, network_world, world  # noqa: E402
from tests.hostile.commands import COMMANDS, Command  # noqa: E402
from tests.hostile.damage import BY_KIND, SECRET, is_shown_raw  # noqa: E402
from tests.hostile.network_commands import NETWORK_COMMANDS  # noqa: E402
from tests.hostile.running import Outcome, adopt_orphans, files_of, start  # noqa: E402

FAULTS = ("traceback", "abort", "hang", "changed", "wrong", "half", "shown")
WORDS = {
    "traceback": "tracebacks",
    "abort": "aborts of the process",
    "hang": "hangs over 60 s",
    "changed": "times the user's files changed or were lost",
    "wrong": "wrong successes",
    "half": "half written results",
    "shown": "times a secret or a terminal's command was shown",
}
SORTS = ("hostile input", "kill", "full disk", "second writer")


class Campaign:
    """Draws experiments from a seed, runs them one after the other, and keeps count."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        only: str = "",
        quick: bool = False,
        keep: Path | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.whole = folder / "whole"
        self.folder = folder
        self.root = folder / "0" / "world"
        self.begun = 0
        known = (*COMMANDS, *NETWORK_COMMANDS)
        self.commands = [c for c in known if only in c.name and not (quick and c.slow)]
        self.runs: Counter = Counter()
        self.faults: list[dict] = []
        self.told = 0
        self.seconds: dict[str, float] = {}
        self.outputs: dict[str, dict[str, str]] = {}
        world.build(self.whole)
        formats_world.build(self.whole)
        if any(command.needs_network for command in self.commands):
            network_world.build(self.whole, keep)

    def _fresh(self) -> Path:
        """A world of its own for every experiment; what is left of the last one does not matter."""
        shutil.rmtree(self.root.parent, ignore_errors=True)
        self.begun += 1
        self.root = self.folder / str(self.begun) / "world"
        shutil.copytree(self.whole, self.root, symlinks=True)
        return self.root

    def _draw(self, fitting: Callable[[Command], object]) -> Command:
        """A command; slow ones a quarter as often as others."""
        commands = [command for command in self.commands if fitting(command)]
        weights = [1 if command.slow else 4 for command in commands]
        return self.rng.choices(commands, weights)[0]

    def rehearse(self) -> None:
        """Every command once with the whole world: what is to be right later is right now."""
        for command in self.commands:
            root = self._fresh()
            before = files_of(root)
            outcome = start(command.words, root).wait()
            self._judge("rehearsal", command, "nothing", "succeed", outcome, before, root)
            self.seconds[command.name] = outcome.seconds

    def hostile_input(self) -> None:
        """One file that a command reads is damaged."""
        command = self._draw(lambda command: command.reads)
        kind = self.rng.choice([*command.reads])
        place = self.rng.choice(command.reads[kind])
        damage = self.rng.choice(BY_KIND[kind])
        root = self._fresh()
        verdict = damage(root / place, self.rng)
        if damage.__name__ in command.blind:
            verdict = "any"
        before = files_of(root)
        outcome = start(command.words, root).wait()
        what = f"{damage.__name__} of {place}"
        self._judge("hostile input", command, what, verdict, outcome, before, root)

    def kill(self) -> None:
        """A command is killed at any moment; the same command again does what it should."""
        command = self._draw(lambda command: command.writes)
        root = self._fresh()
        before = files_of(root)
        moment = self.rng.uniform(0, 1.05 * self.seconds[command.name])
        running = start(command.words, root)
        time.sleep(moment)
        running.kill()
        killed = running.wait()
        what = f"killed after {moment:.2f} s"
        self._judge("kill", command, what, "killed", killed, before, root)
        seen = any(self._is_visible(root / place) for place in command.writes)
        if command.repeatable or not seen:
            again = start(command.words, root).wait()
            self._judge("kill", command, f"{what}, again", "succeed", again, before, root)

    def full_disk(self) -> None:
        """Files cannot grow beyond a length."""
        command = self._draw(lambda command: command.writes)
        root = self._fresh()
        before = files_of(root)
        largest = self.rng.choice([0, 10, 100, 300, 600, 1000, 3000, 10_000, 40_000])
        outcome = start(command.words, root, largest).wait()
        what = f"files of at most {largest} bytes"
        self._judge("full disk", command, what, "right", outcome, before, root)

    def second_writer(self) -> None:
        """The same command twice at once."""
        command = self._draw(lambda command: command.writes)
        root = self._fresh()
        before = files_of(root)
        first = start(command.words, root)
        time.sleep(self.rng.uniform(0, 0.6 * self.seconds[command.name]))
        second = start(command.words, root, log="log2")
        outcomes = first.wait(), second.wait()
        for outcome in outcomes:
            self._judge("second writer", command, "two at once", "any", outcome, before, root)
        if all(outcome.end != 0 for outcome in outcomes):
            self._fault("second writer", command, "two at once", "wrong", "neither succeeds", "")
        elif problem := self._problem(command, root, ""):
            self._fault("second writer", command, "two at once", "wrong", problem, "")

    def _problem(self, command: Command, root: Path, printed: str) -> str | None:
        try:
            return command.check(root, printed)
        except Exception as error:  # what is missing or broken raises anything
            return f"{type(error).__name__}: {error}"

    def _judge(
        self,
        sort: str,
        command: Command,
        what: str,
        verdict: str,
        outcome: Outcome,
        before: dict[str, str],
        root: Path,
    ) -> None:
        self.runs[sort] += 1

        def fault(kind: str, detail: str) -> None:
            self._fault(sort, command, what, kind, detail, outcome.printed)

        if "Traceback (most recent call last)" in outcome.printed:
            fault("traceback", outcome.printed.strip().splitlines()[-1])
        if outcome.end == "hang":
            fault("hang", f"{outcome.seconds:.0f} s")
        elif isinstance(outcome.end, str) and verdict != "killed":
            fault("abort", outcome.end)
        if is_shown_raw(outcome.printed):
            fault("shown", "raw control characters")
        after = files_of(root)
        own = tuple(command.writes)
        lost = [p for p, held in before.items() if after.get(p) != held and not p.startswith(own)]
        failed = outcome.end != 0 and verdict != "killed" and sort != "second writer"
        if own == () or lost or (failed and not command.always):
            lost = [p for p, held in before.items() if after.get(p) != held]
        if lost:
            fault("changed", ", ".join(lost[:3]))
        added = [p for p in after if p not in before and not p.startswith(own or ("\0",))]
        visible = [p for p in added if not any(part.startswith(".") for part in Path(p).parts)]
        if visible or (added and verdict != "killed" and sort != "second writer"):
            fault("half", f"left behind: {', '.join((visible or added)[:3])}")
        if (root / "PWNED").exists() or "PWNED" in after:
            fault("shown", "a file's code was run")
        if self._holds_secret(root, after, before) or SECRET in outcome.printed:
            fault("shown", "a value of the environment")
        there = [place for place in own if self._is_visible(root / place)]
        if outcome.end == 0:
            if verdict == "refuse":
                fault("wrong", "succeeds")
            elif verdict in ("right", "succeed") and (
                problem := self._problem(command, root, outcome.printed)
            ):
                fault("wrong", problem)
        elif verdict == "succeed":
            fault("wrong", f"fails: {outcome.printed.strip()[-150:]}")
        elif there and sort != "second writer" and not command.always:
            problem = self._problem(command, root, outcome.printed)
            if problem is not None or verdict != "killed":
                fault("half", f"{there[0]} is there after a failure ({problem})")

    @staticmethod
    def _is_visible(path: Path) -> bool:
        """Whether it is a file, or a folder in which anything but hidden work lies."""
        if not path.is_dir():
            return path.exists()
        inside = (p.relative_to(path).parts for p in path.rglob("*"))
        return any(not any(part.startswith(".") for part in parts) for parts in inside)

    @staticmethod
    def _holds_secret(root: Path, after: dict[str, str], before: dict[str, str]) -> bool:
        new = (root / p for p, held in after.items() if before.get(p) != held)
        return any(SECRET.encode() in path.read_bytes() for path in new if path.is_file())

    def _fault(
        self, sort: str, command: Command, what: str, kind: str, detail: str, printed: str
    ) -> None:
        entry = {"sort": sort, "command": command.name, "what": what, "kind": kind}
        self.faults.append({**entry, "detail": detail, "printed": printed[-1500:]})

    def tell_new_faults(self) -> None:
        """Print what has been found since the last time."""
        for fault in self.faults[self.told :]:
            words = (fault[key] for key in ("kind", "command", "what", "detail"))
            print(printable(" | ".join(words)), flush=True)
        self.told = len(self.faults)

    def table(self) -> str:
        """Runs and faults of every sort."""
        lines = [f"{'':16}{'runs':>6}" + "".join(f"{kind:>11}" for kind in FAULTS)]
        for sort in self.runs:
            own = Counter(f["kind"] for f in self.faults if f["sort"] == sort)
            numbers = "".join(f"{own[kind]:>11}" for kind in FAULTS)
            lines.append(f"{sort:16}{self.runs[sort]:>6}{numbers}")
        return "\n".join(lines)


def run(
    n: int, seed: int, folder: Path, only: str = "", quick: bool = False, keep: Path | None = None
) -> Campaign:
    """``n`` experiments of each sort, hostile input four times as often as the others."""
    campaign = Campaign(seed, folder, only, quick, keep)
    campaign.rehearse()
    campaign.tell_new_faults()
    for k in range(n):
        campaign.hostile_input()
        if k % 4 == 0:
            (campaign.kill, campaign.full_disk, campaign.second_writer)[k // 4 % 3]()
        campaign.tell_new_faults()
    return campaign


def preload(with_networks: bool) -> None:
    """Import what the commands import, once for all of them."""
    import importlib

    import matplotlib

    import nnunetv2_pclmix.cli
    import scribble_tools.cli

    matplotlib.use("Agg")
    import matplotlib.pyplot  # noqa: F401

    for table in (scribble_tools.cli.COMMANDS, nnunetv2_pclmix.cli.COMMANDS):
        for module, _ in table.values():
            importlib.import_module(module)
    if with_networks:
        import nnunetv2.inference.predict_from_raw_data
        import nnunetv2.run.run_training  # noqa: F401

        network_world.shorten()
        network_world.fewer_samples()


def main() -> int:
    """Run a campaign, print its table, and write it as JSON; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100, help="runs with hostile input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose name holds this")
    parser.add_argument("--quick", action="store_true", help="without the slow commands")
    parser.add_argument(
        "--network", type=Path, help="folder that keeps the trained network for the next campaign"
    )
    parser.add_argument("--out", type=Path, help="JSON with all failures")
    args = parser.parse_args()
    preload(with_networks=not args.quick)
    adopt_orphans()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign_", ignore_cleanup_errors=True) as folder:
        campaign = run(args.n, args.seed, Path(folder), args.only, args.quick, args.network)
    print(campaign.table())
    print(f"seed {args.seed}, {sum(campaign.runs.values())} runs, {time.monotonic() - began:.0f} s")
    for kind, words in WORDS.items():
        print(f"{sum(f['kind'] == kind for f in campaign.faults)} {words}")
    if args.out:
        content = {"seed": args.seed, "runs": dict(campaign.runs), "faults": campaign.faults}
        args.out.write_text(json.dumps(content, indent=1) + "\n")
    return int(bool(campaign.faults))


if __name__ == "__main__":
    sys.exit(main())
