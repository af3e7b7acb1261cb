"""How long scribble_tools takes for a data set of ACDC's size, and how much memory.

Every command runs as a process of its own, as a user starts it: convert acdc, check, generate,
preview, evaluate and report, the last two on predictions made here from the dense labels (shifted,
with false islands). Memory is the largest sum over the process and all that it starts, sampled;
shared pages count once (Linux's proportional set size). Without a folder, a set of ACDC's layout
is drawn.

    python benchmarks/scribble_tools_speed.py [--volumes N] [--out speed.json]
    python benchmarks/scribble_tools_speed.py --images ACDC/training --scribbles scribbles

The limits are meant for 160 volumes on two cores. Exit code 1 when one is exceeded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from machine import processor

from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.writing import write_json
from scribble_tools.images.image_io import read_image
from scribble_tools.text_tables import text_table

LIMIT_SECONDS = {
    "convert acdc": 20,
    "check": 30,
    "generate": 60,
    "preview": 60,
    "evaluate": 60,
    "report": 60,
}
LIMIT_MIB = 2048
LIMIT_REPORT_MB = 20  # of 200 cases
SHAPE, SPACING_MM = (10, 256, 216), (1.4, 1.4, 10.0)  # z, y, x; x, y, z
UNLABELLED = 4
SAMPLE_SECONDS = 0.1


def _write(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def _draw_heart(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, dense labels (1 RV, 2 myocardium, 3 LV) and scribbles of one volume (10, 256, 216)."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    dense = np.zeros(SHAPE, np.uint8)
    scribble = np.full(SHAPE, UNLABELLED, np.uint16)
    y, x = rng.uniform(110, 146), rng.uniform(100, 130)
    for z in range(SHAPE[0]):
        size = rng.uniform(0.9, 1.1) * (1 - 0.05 * z)  # towards the apex
        left = np.hypot(rows - y, columns - x) / size
        right = np.hypot(rows - y, (columns - x + 26 * size) * 1.2) / size
        dense[z] = np.select([left < 16, left < 25, right < 24], [3, 2, 1])
        strokes = [(abs(left - 8), 3), (abs(left - 20), 2), (abs(right - 12), 1)]
        strokes.append((abs(left - 50), 0))
        for distance, value in strokes:
            scribble[z][(distance < 0.6 / size) & (dense[z] == value)] = value
    image = np.array((60, 220, 90, 240))[dense] + rng.normal(0, 25, SHAPE)
    return image.astype(np.int16), dense, scribble


def draw_dataset(folder: Path, volumes: int) -> tuple[Path, Path]:
    """Draw patients of two frames in ACDC's layout; return the folders of images and scribbles."""
    images, scribbles = folder / "images", folder / "scribbles"
    for number in range(volumes):
        patient = f"patient{number // 2 + 1:03d}"
        case = f"{patient}_frame{(1, 12)[number % 2]:02d}"
        image, dense, scribble = _draw_heart(np.random.default_rng(number))
        _write(image, images / patient / f"{case}.nii.gz")
        _write(dense, images / patient / f"{case}_gt.nii.gz")
        _write(scribble, scribbles / f"{case}_scribble.nii.gz")
    return images, scribbles


def write_predictions(dense: Path, out: Path) -> None:
    """Dense labels, shifted by up to two pixels, with three false islands in every case."""
    out.mkdir()
    for number, path in enumerate(sorted(dense.glob("*.nii.gz"))):
        rng = np.random.default_rng(number)
        image = read_image(path)
        labels = sitk.GetArrayFromImage(image)
        prediction = np.roll(labels, rng.integers(-2, 3, 2), axis=(1, 2))
        for value in (1, 2, 3):
            z, y, x = (int(rng.integers(0, max(1, size - 8))) for size in labels.shape)
            prediction[z : z + 2, y : y + 8, x : x + 8] = value
        result = sitk.GetImageFromArray(prediction)
        result.CopyInformation(image)
        sitk.WriteImage(result, str(out / path.name), useCompression=True)


def session_mib(session: int) -> float:
    """Memory of all processes of a session now, in MiB, pages shared between them counted once."""
    kib = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the fields behind the name, which may hold spaces: state, parent, group, session
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                lines = (stat.parent / "smaps_rollup").read_text().splitlines()
                kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it has ended meanwhile
            continue
    return kib / 1024


def measure(command: list[str]) -> dict[str, float]:
    """Run a scribble_tools command; its wall clock seconds and peak memory in MiB.

    Raises:
        RuntimeError: the command failed; the message holds its output.
    """
    peak = 0.0
    words = [sys.executable, "-m", "scribble_tools.cli", *command]
    # without nnU-Net's folders: check would look for a preprocessed data set of the same id
    environment = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet_")}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        # a session of its own, by which everything that it starts is found
        process = subprocess.Popen(
            words, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.is_set():
                peak = max(peak, session_mib(process.pid))
                done.wait(SAMPLE_SECONDS)

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
        if code:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{output.read()}")
    return {"seconds": round(seconds, 2), "peak_mib": round(peak)}


def measure_all(
    images: Path, scribbles: Path, work: Path, processes: int
) -> dict[str, dict[str, float]]:
    """Command to what `measure` says of it, in the order of use."""
    np_words = ["-np", str(processes)]
    raw, dataset = work / "raw", work / "raw" / "Dataset127_ACDCScribbles"
    convert = ["convert", "acdc", "--images", str(images), "--scribbles", str(scribbles)]
    results = {
        "convert acdc": measure([*convert, "--dataset-id", "127", "--out", str(raw), *np_words])
    }
    dense = dataset / "labelsTr_dense"
    write_predictions(dense, work / "predictions")
    commands = {
        "check": ["check", str(dataset)],
        "generate": ["generate", str(dense), "--out", str(work / "generated")],
        "preview": ["preview", str(dataset), "--out", str(work / "pictures")],
        "evaluate": ["evaluate", str(work / "predictions"), str(dense), "--out", str(work / "s")],
    }
    page = work / "report.html"
    commands["report"] = [
        *("report", "--dataset", str(dataset), "--pred", str(work / "predictions")),
        *("--out", str(page)),
    ]
    for name, command in commands.items():
        results[name] = measure([*command, *np_words])
    results["report"]["file_mb"] = round(page.stat().st_size / 1e6, 1)
    return results


def main() -> int:
    """Measure, print a table, and return 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="ACDC's folder that holds patientNNN/")
    parser.add_argument("--scribbles", type=Path, help="folder of *_scribble.nii.gz")
    parser.add_argument("--volumes", type=int, default=160, help="to be drawn (default: 160)")
    parser.add_argument("-np", type=int, default=2, dest="processes", help="default: 2")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args()
    if (args.images is None) != (args.scribbles is None):
        parser.error("give --images and --scribbles, or neither")
    if args.volumes < 2 or args.volumes % 2:
        parser.error("--volumes: two per patient, so an even number")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images, scribbles = (
            (args.images.resolve(), args.scribbles.resolve())
            if args.images
            else draw_dataset(work / "source", args.volumes)
        )
        volumes = len(list(scribbles.rglob("*_scribble.nii.gz")))
        results = measure_all(images, scribbles, work, args.processes)
    rows = [
        (
            name,
            f"{row['seconds']:.1f}",
            str(LIMIT_SECONDS[name]),
            f"{row['peak_mib']:.0f}",
            str(LIMIT_MIB),
        )
        for name, row in results.items()
    ]
    print(f"{volumes} volumes, -np {args.processes}; the limits are for 160 volumes")
    print(text_table(("command", "seconds", "limit", "peak MiB", "limit"), rows))
    report_mb = results["report"]["file_mb"]
    print(f"report: a file of {report_mb} MB; the limit is {LIMIT_REPORT_MB} MB for 200 cases")
    if args.out:
        content = {
            "data": "given" if args.images else "drawn, 10 x 256 x 216",
            "volumes": volumes,
            "processes": args.processes,
            "results": results,
            "limit_seconds": LIMIT_SECONDS,
            "limit_mib": LIMIT_MIB,
            "limit_report_mb": LIMIT_REPORT_MB,
            "machine": {"processor": processor(), "cores": os.cpu_count()},
            "versions": package_versions(),
        }
        write_json(content, args.out)
    return int(
        report_mb > LIMIT_REPORT_MB
        or any(
            row["seconds"] > LIMIT_SECONDS[name] or row["peak_mib"] > LIMIT_MIB
            for name, row in results.items()
        )
    )


if __name__ == "__main__":
    sys.exit(main())
