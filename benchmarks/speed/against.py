"""This checkout beside another: the same work in turn, the ratio of their times, and whether they agree.

Give it the directory of another checkout, made with `git worktree add` or `git clone`. Each of the two
runs in a process of its own, one at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, commit, publish
from benchmarks.speed.options import THREADS, add_common_arguments
from benchmarks.speed.plots import beside
from benchmarks.speed.timing import ratio, time_in_turn
from benchmarks.speed.workers import Worker, worker
from minigrad.checks import check_count
from minigrad.errors import ArgumentError

HERE = Path(__file__).parents[2]
WORKS = {
    "step": "adversarial step, 240 units, batch 100",
    "small": "adversarial step, 4 units, batch 2 (20 times)",
    "fgsm": "FGSM on 2,000 images, batches of 1,000",
    "operation": "one operation on 8 elements, of a chain of 1,000, forward and backward",
}


def checkout(directory: Path) -> AbstractContextManager[Worker]:
    """The process of a checkout, for a `with` block."""
    return worker(Path(__file__).with_name("against_worker.py"), [], directory, {})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="CHECKOUT", help="another checkout of this repository")
    add_common_arguments(parser, "against", f"A minute on two cores. {THREADS}", WORKS)
    parser.add_argument(
        "--rounds", type=int, default=31, metavar="N", help="rounds of each (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Compare the bits, time each work in turn, print and write the ratios."""
    check_count("--rounds", options.rounds)
    other = Path(options.directory).resolve()
    for package in ("minigrad", "models", "attacks"):
        if not (other / package / "__init__.py").is_file():
            raise ArgumentError(f"CHECKOUT must be a checkout of this repository, got {options.directory!r}")
    directory = check_writable_directory("--out", options.out)
    console, conditions = terminal(110), Conditions()
    found: dict[str, Any] = {}
    with ExitStack() as stack, Steps(console, 1 + len(options.works), options.quiet) as steps:
        steps.begin("do both give the same bits?")
        both = {"this": stack.enter_context(checkout(HERE)), "other": stack.enter_context(checkout(other))}
        same = both["this"].ask("bits") == both["other"].ask("bits")
        for name in options.works:
            steps.begin(f"{name}, {WORKS[name]}")
            contenders = {key: (lambda one=one, name=name: one.ask(name)) for key, one in both.items()}
            seconds = time_in_turn(contenders, options.rounds, settle=0.1, conditions=conditions, here=False,
                                   progress=steps.share)  # fmt: skip
            found[name] = {
                "what": WORKS[name],
                "ratio": ratio(seconds, "this", "other"),
                "median_seconds": {key: float(np.median(values)) for key, values in seconds.items()},
            }
    content = {"works": found, "same_bits": same, "other_commit": commit(other)}
    publish(directory, "against", content, plot, [table(content)], conditions, console)


def plot(content: Mapping[str, Any]) -> Figure:
    label = f"time of this checkout / of {content['other_commit']}"
    return beside(content["works"].values(), "this", label, digits=3)


def table(content: dict[str, Any]) -> Table:
    said = "the same bits" if content["same_bits"] else "OTHER BITS"
    result = Table(title=f"This checkout beside {content['other_commit']}",
                   caption=f"medians over the rounds of one run; in brackets the quartiles. Five adversarial "
                   f"steps, a second-order gradient and an FGSM have {said}.")  # fmt: skip
    result.add_column("work: what it is")
    for heading in ("this, ms", "other, ms", "ratio"):
        result.add_column(heading, justify="right")
    for name, entry in content["works"].items():
        median, ratios = entry["median_seconds"], entry["ratio"]
        result.add_row(
            f"{name}: {entry['what']}", significant(1e3 * median["this"]), significant(1e3 * median["other"]),
            f"{ratios['median']:.3f} [{ratios['lower_quartile']:.3f}, {ratios['upper_quartile']:.3f}]",
        )  # fmt: skip
    return result
