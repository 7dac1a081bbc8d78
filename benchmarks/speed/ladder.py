"""From the plain core to the fast lane, rung by rung: what each module of `minigrad.fast` adds, in time and
in memory.

Each rung has the forms of its module and of all below it, and runs in a process of its own. All of them do
the same work in turn.
"""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.output import check_writable_directory, terminal
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.plots import STYLES, quartiles
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
    parser.add_argument("--works", nargs="+", choices=[*WORKS], metavar="NAME", default=[*WORKS],
                        help=f"what to time: {', '.join(WORKS)} (default: all)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--out", default="results/ladder", metavar="DIR",
                        help="where ladder.json and .png go (default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Time each work on every rung in turn, ask for its memory, print and write."""
    check_count("--rounds", options.rounds)
    if lanes.PLAIN:
        raise ArgumentError("MINIGRAD_PLAIN must not be set for ladder: it climbs from the plain core itself")
    if by_hand := {name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"}:
        raise ArgumentError(f"{min(by_hand)} must not be set for ladder, which sets it itself")
    directory = check_writable_directory("--out", options.out)
    conditions = Conditions()
    root, script = Path(__file__).parents[2], Path(__file__).with_name("ladder_worker.py")
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                worker(script, modules, root, {} if "memory" in modules else DEFAULT_MALLOC)
            )
            for name, modules in rungs().items()
        }
        for work in options.works:
            contenders = {key: (lambda one=one, work=work: one.ask(work)) for key, one in workers.items()}
            seconds = time_in_turn(contenders, options.rounds, settle=0.1, conditions=conditions, here=False)
            found[work] = {
                name: {"median_seconds": float(np.median(values)), "to_plain": ratio(seconds, name, PLAIN),
                       "peak_bytes": int(workers[name].ask(f"bytes {work}"))}
                for name, values in seconds.items()
            }  # fmt: skip
    content = {"works": {WORKS[work]: entry for work, entry in found.items()}}
    publish(directory, "ladder", content, plot(content["works"]), [table(content["works"])], conditions,
            terminal(120))  # fmt: skip


def plot(works: dict[str, Any]) -> Figure:
    """Time and memory of each rung as a share of the plain core's, a column a work."""
    figure = Figure(figsize=(3.2 * len(works) + 0.8, 4.2), layout="constrained")
    axes = figure.subplots(1, len(works), sharey=True, squeeze=False)[0]
    for ax, (what, entries) in zip(axes, works.items(), strict=True):
        bytes_of_plain = entries[PLAIN]["peak_bytes"]
        for row, entry in enumerate(entries.values()):
            low, median, high = quartiles(entry["to_plain"])
            (time_colour, _), (memory_colour, hatch) = STYLES[:2]
            ax.barh(row - 0.18, median, 0.32, xerr=[[median - low], [high - median]], capsize=2, label="time",
                    color=time_colour, edgecolor="black", linewidth=0.5)  # fmt: skip
            ax.barh(row + 0.18, entry["peak_bytes"] / bytes_of_plain, 0.32, label="peak memory", hatch=hatch,
                    color=memory_colour, edgecolor="black", linewidth=0.5)  # fmt: skip
        ax.set_title(what.replace(", ", ",\n", 1), fontsize=9)
        ax.set_xlabel("of the plain core's")
        ax.axvline(1, color="black", linewidth=0.5, linestyle="--")
    axes[0].set_yticks(range(len(entries)), list(entries))
    axes[0].invert_yaxis()
    figure.legend(*(part[:2] for part in axes[0].get_legend_handles_labels()), loc="outside upper right",
                  ncols=2, fontsize=8)  # fmt: skip
    return figure


def table(works: dict[str, Any]) -> Table:
    result = Table(
        title="From the plain core to the fast lane",
        caption="Each rung has the forms of its module of minigrad.fast and of those above. Time as a share "
        "of the plain core's: medians over the rounds of one run, in brackets the quartiles; then the most "
        "memory that the work holds beside what it began with.",
    )
    result.add_column("rung")
    for what in works:
        result.add_column(what, justify="right")
    for name in rungs():
        cells = []
        for entries in works.values():
            entry = entries[name]
            low, median, high = quartiles(entry["to_plain"])
            megabytes = entry["peak_bytes"] / 1e6
            cells.append(f"{median:.2f} [{low:.2f}, {high:.2f}]\n{megabytes:.3g} MB")
        result.add_row(name, *cells)
    return result
