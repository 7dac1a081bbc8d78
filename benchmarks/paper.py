"""`python -m benchmarks paper`: train, attack, and print what was measured beside the paper's figures."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

import minigrad as mg
from benchmarks import mnist
from benchmarks.experiments import EXPERIMENTS
from benchmarks.task import Measurement, Row, Task
from minigrad import backend
from minigrad.checkpoint import atomic_writer
from minigrad.errors import check_count, check_writable_directory

SEEDS = {"quick": 1, "paper": 5}

Watch = Callable[[int, int, str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(EXPERIMENTS)
    parser.add_argument("--rows", nargs="+", choices=[*EXPERIMENTS], metavar="NAME", default=[*EXPERIMENTS],
                        help=f"run these experiments alone: {names}")  # fmt: skip
    parser.add_argument("--scale", choices=[*SEEDS], default="quick",
                        help="quick: minutes, one seed; paper: the published settings, five seeds, "
                        "hours on a CPU (default: quick)")  # fmt: skip
    parser.add_argument("--epochs", type=int, help="epochs of every training, instead of the scale's")
    parser.add_argument("--seeds", type=int, help="how many seeds, 0 upwards, instead of the scale's")
    parser.add_argument("--backend", choices=["numpy", "cupy"], default=None,
                        help="array library (default: MINIGRAD_BACKEND, else numpy)")  # fmt: skip
    parser.add_argument("--data", default=mnist.DIRECTORY, metavar="DIR",
                        help="directory with MNIST's four IDX files (default: the copy that comes "
                        "with this repository)")  # fmt: skip
    parser.add_argument("--out", default="results", metavar="DIR",
                        help="where paper.json is written (default: %(default)s)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bars: the table alone")


def run(options: argparse.Namespace) -> None:
    """Check everything, then run the chosen experiments with every seed, print and write the result."""
    if options.epochs is not None:
        check_count("--epochs", options.epochs)
    seeds = options.seeds if options.seeds is not None else SEEDS[options.scale]
    check_count("--seeds", seeds)
    out = check_writable_directory("--out", options.out)
    library = backend.current() if options.backend is None else backend.get(options.backend)
    train, test = (digits.to(library.name) for digits in mnist.load(options.data))

    console = Console(width=None if sys.stdout.isatty() else 110)  # no terminal, no width to keep to
    started = time.time()
    measured: dict[str, list[Measurement]] = {}
    records: dict[str, Any] = {}
    with backend.use(library.name):
        for name in dict.fromkeys(options.rows):
            experiment = EXPERIMENTS[name]
            runs = []
            for seed in range(seeds):
                began = time.perf_counter()
                with watching(console, options.quiet, f"seed {seed}") as progress:
                    task = Task(train, test, options.scale, seed, options.epochs, progress)
                    for key, measurement in experiment.run(task).items():
                        measured.setdefault(key, []).append(measurement)
                seconds = time.perf_counter() - began
                runs.append({"seed": seed, "seconds": seconds, "history": task.history})
            records[name] = {"choices": experiment.CHOICES, "runs": runs}

    rows = [row for name in records for row in EXPERIMENTS[name].ROWS]
    summaries = {row.key: summarise(measured[row.key]) for row in rows}
    report = {
        "command": command(options, seeds, library.name),
        "dtype": "float32",
        "examples": {"train": len(train), "test": len(test)},
        "rows": [
            {**dataclasses.asdict(row), "measured": summaries[row.key],
             "by_seed": [dataclasses.asdict(m) for m in measured[row.key]]}
            for row in rows
        ],
        "experiments": records,
        "environment": environment(library),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": time.time() - started,
    }  # fmt: skip
    path = os.path.join(out, "paper.json")
    with atomic_writer(path) as file:
        file.write(json.dumps(report, indent=1).encode())
    console.print(table(rows, summaries, seeds))
    console.print(f"{report['seconds']:.0f} s, backend {library.name}; written to {path}", highlight=False)


def command(options: argparse.Namespace, seeds: int, library: str) -> str:
    """What to type for the same figures again, with every setting that they depend on."""
    epochs = "" if options.epochs is None else f" --epochs {options.epochs}"
    return (
        f"python -m benchmarks paper --rows {' '.join(options.rows)} --scale {options.scale}{epochs} "
        f"--seeds {seeds} --backend {library}"
    )


@contextmanager
def watching(console: Console, quiet: bool, prefix: str) -> Iterator[Watch]:
    """One bar with the remaining time, gone when done; nothing where quiet or off a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True,
                  disable=quiet or not console.is_terminal) as progress:  # fmt: skip
        bar = progress.add_task(prefix)

        def watch(done: int, total: int, what: str) -> None:
            if done % 10 == 0 or done == total:
                progress.update(bar, description=f"{what}, {prefix}", completed=done, total=total)

        yield watch


def summarise(measurements: list[Measurement]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds (deviation None for a single one)."""

    def over_seeds(values: list[float | None]) -> dict[str, float | None]:
        given = [value for value in values if value is not None]
        return {
            "mean": statistics.fmean(given) if given else None,
            "deviation": statistics.stdev(given) if len(given) > 1 else None,
        }

    summary: dict[str, Any] = {
        "error": over_seeds([m.error for m in measurements]),
        "confidence": over_seeds([m.confidence for m in measurements]),
        "examples": measurements[0].examples,
        "seeds": len(measurements),
    }
    clipped = [m.clipped for m in measurements if m.clipped is not None]
    if clipped:
        summary["clipped"] = summarise(clipped)
    return summary


def table(rows: list[Row], summaries: dict[str, Any], seeds: int) -> Table:
    """The paper's figure and the measured one, row by row."""
    result = Table(
        title="Explaining and Harnessing Adversarial Examples (Goodfellow et al., 2015)",
        caption="error % / mean confidence % on the mistakes; ± standard deviation over seeds; "
        "clipped: adversarial images clipped to [0, 1]",
    )
    for heading in ("§", "what"):
        result.add_column(heading)
    for heading in ("paper", "measured", "clipped", "examples × seeds"):
        result.add_column(heading, justify="right")
    for row in rows:
        summary = summaries[row.key]
        paper = " / ".join(f"{figure:g}" for figure in (row.error, row.confidence) if figure is not None)
        clipped = figures(summary["clipped"]) if "clipped" in summary else "–"
        result.add_row(
            row.section, row.what, paper or "–", figures(summary), clipped, f"{summary['examples']} × {seeds}"
        )
    return result


def figures(summary: dict[str, Any]) -> str:
    def figure(of: dict[str, float | None], digits: int) -> str:
        mean, deviation = of["mean"], of["deviation"]
        if mean is None:
            return "–"
        return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")

    return f"{figure(summary['error'], 2)} / {figure(summary['confidence'], 1)}"


def environment(library: backend.Backend) -> dict[str, Any]:
    """What the figures may depend on: versions and machine."""
    device = None
    if library.name == "cupy":
        device = library.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {
        "minigrad": mg.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": library.name,
        "backend_version": library.xp.__version__,
        "device": device,
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
    }
