"""Train, attack, and print what was measured beside the paper's figures. About two minutes on two cores
at the default scale."""

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
    parser.add_argument("--seeds", type=int, help="number of seeds, 0, 1, 2, …, instead of the scale's")
    parser.add_argument("--backend", choices=["numpy", "cupy"], default=None,
                        help="array library (default: MINIGRAD_BACKEND, else numpy)")  # fmt: skip
    parser.add_argument("--data", default=mnist.DIRECTORY, metavar="DIR",
                        help="directory with MNIST's four IDX files (default: the copy that comes "
                        "with this repository)")  # fmt: skip
    parser.add_argument("--out", default="results", metavar="DIR",
                        help="where paper.json is written, over an earlier one "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bars: the table alone")


def run(options: argparse.Namespace) -> None:
    """Check everything, then run the chosen experiments with every seed, print and write the result."""
    if options.epochs is not None:
        check_count("--epochs", options.epochs)
    seeds = options.seeds if options.seeds is not None else SEEDS[options.scale]
    check_count("--seeds", seeds)
    library = backend.current() if options.backend is None else backend.get(options.backend)
    train, test = (digits.to(library.name) for digits in mnist.load(options.data))
    path = os.path.join(check_writable_directory("--out", options.out), "paper.json")

    console = Console(width=None if sys.stdout.isatty() else 110)  # no terminal, no width to keep to
    names = list(dict.fromkeys(options.rows))
    report = Report(command(options, seeds, library.name), (len(train), len(test)), library)
    try:
        with backend.use(library.name):
            for number, name in enumerate(names, 1):
                for seed in range(seeds):
                    place = f"({number} of {len(names)}, seed {seed + 1} of {seeds})"
                    with watching(console, options.quiet, place) as progress:
                        began = time.perf_counter()
                        task = Task(train, test, options.scale, seed, options.epochs, progress)
                        found = EXPERIMENTS[name].run(task)
                    report.add(name, seed, found, task.history, time.perf_counter() - began)
                    report.write(path)
        report.complete = True
        report.write(path)
    finally:  # what is done is shown after an interruption too
        if report.measured:
            console.print(report.table())
            done = "" if report.complete else "; not complete"
            console.print(
                f"{report.seconds():.0f} s, backend {library.name}{done}; written to {path}", highlight=False
            )


def command(options: argparse.Namespace, seeds: int, library: str) -> str:
    """What to type for the same figures again, with every setting that they depend on."""
    epochs = "" if options.epochs is None else f" --epochs {options.epochs}"
    data = "" if options.data == mnist.DIRECTORY else f" --data {options.data}"
    return (
        f"python -m benchmarks paper --rows {' '.join(options.rows)} --scale {options.scale}{epochs} "
        f"--seeds {seeds} --backend {library}{data}"
    )


class Report:
    """What was measured so far: as a table, and as the JSON file that is written after every seed."""

    def __init__(self, command: str, examples: tuple[int, int], library: backend.Backend) -> None:
        self.command = command
        self.examples = examples
        self.library = library
        self.started = time.time()
        self.complete = False
        self.measured: dict[str, list[Measurement]] = {}
        self.records: dict[str, Any] = {}

    def seconds(self) -> float:
        return time.time() - self.started

    def add(
        self, name: str, seed: int, found: dict[str, Measurement], history: list[Any], seconds: float
    ) -> None:
        for key, measurement in found.items():
            self.measured.setdefault(key, []).append(measurement)
        record = self.records.setdefault(name, {"choices": EXPERIMENTS[name].CHOICES, "runs": []})
        record["runs"].append({"seed": seed, "seconds": seconds, "history": history})

    def rows(self) -> list[Row]:
        return [row for name in self.records for row in EXPERIMENTS[name].ROWS]

    def write(self, path: str) -> None:
        content = {
            "command": self.command,
            "complete": self.complete,
            "dtype": "float32",
            "examples": dict(zip(("train", "test"), self.examples, strict=True)),
            "rows": [
                {
                    **dataclasses.asdict(row),
                    "measured": summarise(self.measured[row.key]),
                    "by_seed": [dataclasses.asdict(m) for m in self.measured[row.key]],
                }
                for row in self.rows()
            ],
            "experiments": self.records,
            "environment": environment(self.library),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": self.seconds(),
        }
        with atomic_writer(path) as file:
            file.write(json.dumps(content, indent=1).encode())

    def table(self) -> Table:
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
        for row in self.rows():
            summary = summarise(self.measured[row.key])
            paper = " / ".join(f"{figure:g}" for figure in (row.error, row.confidence) if figure is not None)
            clipped = figures(summary["clipped"]) if "clipped" in summary else "–"
            examples = f"{summary['examples']} × {summary['seeds']}"
            result.add_row(row.section, row.what, paper or "–", figures(summary), clipped, examples)
        return result


@contextmanager
def watching(console: Console, quiet: bool, prefix: str) -> Iterator[Watch]:
    """One bar with the remaining time, gone when done; nothing where quiet or off a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True,
                  disable=quiet or not console.is_terminal) as progress:  # fmt: skip
        bar = progress.add_task(prefix)

        def watch(done: int, total: int, what: str) -> None:
            if done == total:
                what = f"measuring {what}"
            if done % 10 == 0 or done == total:
                progress.update(bar, description=f"{what} {prefix}", completed=done, total=total)

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
