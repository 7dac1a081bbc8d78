"""From the plain core to the fast lane, rung by rung: what each module of `minigrad.fast` adds, in time and
in memory.

Each rung has the forms of its module and of all below it, and runs in a process of its own. All of them do
the same work in turn.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.options import THREADS, add_common_arguments
from benchmarks.speed.plots import bars, panels, quartiles
from benchmarks.speed.timing import ratio, time_in_turn
from benchmarks.speed.workers import worker
from minigrad import lanes
from minigrad.checks import check_count
from minigrad.errors import ArgumentError

RUNGS = ("calls", "sums", "remainder", "forms", "memory", "images")  # modules of minigrad.fast, from below
PLAIN = "plain core"
WORKS = {
    "step": "adversarial step, 240 units, batch 100",
    "small": "adversarial step, 4 units, batch 2 (20 times)",
    "fgsm": "FGSM on 2,000 images, batches of 1,000",
    "photos": "input gradient of four photos, SqueezeNet",
}
DEFAULT_MALLOC = {"GLIBC_TUNABLES": ""}  # set, so minigrad leaves malloc as it is; empty, so glibc does too


def rungs() -> dict[str, list[str]]:
    """The name of each rung, and the modules whose forms it has."""
    return {PLAIN: []} | {f"+ {name}": [*RUNGS[: i + 1]] for i, name in enumerate(RUNGS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, "ladder", f"Four minutes on two cores. {THREADS}", WORKS)
    parser.add_argument(
        "--rounds", type=int, default=21, metavar="N", help="rounds of each (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Time each work on every rung in turn, ask for its memory, print and write."""
    check_count("--rounds", options.rounds)
    if lanes.PLAIN:
        raise ArgumentError("MINIGRAD_PLAIN must not be set for ladder: it climbs from the plain core itself")
    if by_hand := {name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"}:
        raise ArgumentError(f"{min(by_hand)} must not be set for ladder, which sets it itself")
    directory = check_writable_directory("--out", options.out)
    console, conditions = terminal(120), Conditions()
    root, script = Path(__file__).parents[2], Path(__file__).with_name("ladder_worker.py")
    found: dict[str, Any] = {}
    with ExitStack() as stack, Steps(console, len(options.works), options.quiet) as steps:
        workers = {
            name: stack.enter_context(
                worker(script, modules, root, {} if "memory" in modules else DEFAULT_MALLOC)
            )
            for name, modules in rungs().items()
        }
        for work in options.works:
            steps.begin(f"{work}, {WORKS[work]}")
            contenders = {key: (lambda one=one, work=work: one.ask(work)) for key, one in workers.items()}
            seconds = time_in_turn(contenders, options.rounds, settle=0.1, conditions=conditions, here=False,
                                   progress=steps.share)  # fmt: skip
            found[work] = {
                name: {"median_seconds": float(np.median(values)), "to_plain": ratio(seconds, name, PLAIN),
                       "peak_bytes": int(workers[name].ask(f"bytes {work}"))}
                for name, values in seconds.items()
            }  # fmt: skip
    content = {"works": {WORKS[work]: entry for work, entry in found.items()}}
    publish(directory, "ladder", content, plot, [table(content["works"])], conditions, console)


def plot(content: Mapping[str, Any]) -> Figure:
    """Time and memory of each rung beside the plain core's: a row a work."""
    works = content["works"]
    figure, axes = panels(2 * len(works), 0.6 + 0.15 * len(rungs()))
    for place, (what, entries) in enumerate(works.items()):
        milliseconds = {name: 1e3 * entry["median_seconds"] for name, entry in entries.items()}
        megabytes = {name: entry["peak_bytes"] / 1e6 for name, entry in entries.items()}
        shares = {name: size / megabytes[PLAIN] for name, size in megabytes.items()}
        bars(
            axes[2 * place],
            {name: quartiles(entry["to_plain"]) for name, entry in entries.items()},
            {name: f"{entry['to_plain']['median']:.2f}, {significant(milliseconds[name])} ms"
             for name, entry in entries.items()},
            "time / time of the plain core",
            what,
        )  # fmt: skip
        bars(
            axes[2 * place + 1],
            {name: (share,) * 3 for name, share in shares.items()},
            {name: f"{share:.2f}, {significant(megabytes[name])} MB" for name, share in shares.items()},
            "peak memory / the plain core's",
        )
    return figure


def table(works: dict[str, Any]) -> Table:
    result = Table(
        title="From the plain core to the fast lane",
        caption="Each rung has the forms of its module of minigrad.fast and of those above. Time as a share "
        "of the plain core's: medians over the rounds of one run, in brackets the quartiles; then the "
        "median itself, and the most memory that the work holds beside what it began with.",
    )
    names = {what: name for name, what in WORKS.items()}
    result.add_column("rung")
    for what in works:
        result.add_column(f"{names[what]}: {what}", justify="right")
    for name in rungs():
        cells = []
        for entries in works.values():
            entry = entries[name]
            low, median, high = quartiles(entry["to_plain"])
            milliseconds = significant(1e3 * entry["median_seconds"])
            megabytes = significant(entry["peak_bytes"] / 1e6)
            cells.append(f"{median:.2f} [{low:.2f}, {high:.2f}]\n{milliseconds} ms, {megabytes} MB")
        result.add_row(name, *cells)
    return result
