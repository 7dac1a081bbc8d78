"""How the time of an adversarial training step grows with batch and width, in minigrad, eager and captured,
and in PyTorch and JAX: in ms, and as a multiple of the bare matrix products.

Each contender works in a process of its own, one at a time. In one process they would have each other's
memory: minigrad asks malloc to keep what is freed, which spares PyTorch's large arrays their page faults
too; and idle threads of one pool would take the processor from the next for longer than a short step lasts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.frameworks import chosen, label, left_out, packages
from benchmarks.speed.options import add_common_arguments
from benchmarks.speed.plots import panels
from benchmarks.speed.sizes import PIECES, Size, add_size_arguments, check_sizes, usable_memory
from benchmarks.speed.timing import SETTLE, ratio, spread, time_in_turn
from benchmarks.speed.workers import (
    ROOT,
    Worker,
    add_threads_argument,
    check_threads,
    on_processors,
    thread_variables,
    worker,
)
from minigrad.checks import check_count, check_number
from minigrad.errors import ArgumentError

WIDTHS = (16, 64, 256, 1_024, 4_096)
NAMES = ("minigrad", "captured", "torch", "jax")
PRODUCTS, CAPTURED, JAX = "products", label("captured"), label("jax")
ONE_ROW = "Below 1 at batch 1: NumPy's product of one column and one row, in the weights' gradient, is slow."
BESIDE_JAX = "captured / JAX"
MOST_TO_JAX = 2.0  # what captured aims at, in every cell
LEAST_SECONDS = 0.02  # of a round, for which a step is called as often as that takes
SHORT = 0.25  # a step of fewer seconds is run for a while before it is timed, a longer one needs none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_size_arguments(parser, WIDTHS)
    parser.add_argument("--frameworks", nargs="+", choices=NAMES, metavar="NAME",
                        help=f"{', '.join(NAMES)} (default: those that are installed)")  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N", help="rounds of each (default: %(default)s)"
    )
    parser.add_argument("--most-gflop", type=float, default=40.0, metavar="X",
                        help="leave out steps that have more (default: %(default)s)")  # fmt: skip
    add_threads_argument(parser)
    takes = "Six minutes on two cores. PyTorch and JAX (extra: peers) are left out if they are not installed."
    add_common_arguments(parser, "growth", takes)


def run(options: argparse.Namespace) -> None:
    """Time every contender at every size that is not too large; print, plot and write."""
    check_sizes(options.batches, options.widths)
    check_count("--rounds", options.rounds)
    check_number("--most-gflop", options.most_gflop, low=0.0)
    check_threads(options.threads)
    directory = check_writable_directory("--out", options.out)
    console = terminal(110)
    names = [name for name in chosen(options.frameworks) if name in NAMES]
    if options.frameworks is None and (said := left_out(names, NAMES)):
        console.print(said, soft_wrap=True)
    sizes = [Size(batch, width) for batch in dict.fromkeys(options.batches)
             for width in dict.fromkeys(options.widths)]  # fmt: skip
    memory = usable_memory() / (1 + len(names))  # all hold theirs at the same time
    timed = [size for size in sizes if gflop(size) <= options.most_gflop and size.bytes() <= memory]
    if not timed:
        raise ArgumentError(
            f"--batches and --widths must have a size that fits into memory and --most-gflop, which is "
            f"{options.most_gflop}: got none"
        )
    conditions = Conditions()
    script = Path(__file__).with_name("growth_worker.py")
    with ExitStack() as stack, Steps(console, len(timed), options.quiet) as steps:
        stack.enter_context(on_processors(options.threads))
        environment = thread_variables(options.threads)
        workers = {
            label(name): stack.enter_context(worker(script, [name], ROOT, environment))
            for name in (PRODUCTS, *names)
        }
        pools = {name: json.loads(one.ask("pools")) for name, one in workers.items()}
        cells = []
        for size in timed:
            steps.begin(f"batch {size.batch}, width {size.width}")
            cells.append(cell(size, workers, options.rounds, conditions, steps.share))
    content = {
        "threads": options.threads,
        "thread_pools_of_contenders": pools,
        "most_gflop": options.most_gflop,
        "cells": cells,
        "left_out": [{"batch": size.batch, "width": size.width} for size in sizes if size not in timed],
        "greatest_captured_to_jax": greatest(cells),
        "most_captured_to_jax": MOST_TO_JAX,
    }
    publish(directory, "growth", content, plot, [table(content)], conditions, console, packages(names))


def gflop(size: Size) -> float:
    return size.flop("adversarial step") / 1e9


def cell(
    size: Size,
    workers: dict[str, Worker],
    rounds: int,
    conditions: Conditions,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Seconds of a step of each contender at one size, and ratios, with quartiles over the rounds."""
    once = {}
    for name, one in workers.items():
        one.ask(f"make {size.batch} {size.width // PIECES} {PIECES}")
        one.ask("time 1")  # captures, compiles
        once[name] = float(one.ask("time 1"))
    calls = {name: math.ceil(min(1000.0, LEAST_SECONDS / seconds)) for name, seconds in once.items()}
    contenders = {name: partial(one.ask, f"time {calls[name]}") for name, one in workers.items()}
    seconds = time_in_turn(
        contenders,
        rounds,
        warm_up=0,
        settle=SETTLE if max(once.values()) < SHORT else 0.0,
        conditions=conditions,
        here=False,
        clock=lambda contender: float(contender()),
        progress=progress,
    )
    found = {
        name: {"seconds": spread(values), "to_products": ratio(seconds, name, PRODUCTS)}
        for name, values in seconds.items()
    }
    both = CAPTURED in seconds and JAX in seconds
    return {
        "batch": size.batch,
        "width": size.width,
        "gflop": gflop(size),
        "contenders": found,
        "captured_to_jax": ratio(seconds, CAPTURED, JAX) if both else None,
    }


def greatest(cells: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell at which captured takes longest beside JAX; None without the two of them."""
    if cells[0]["captured_to_jax"] is None:
        return None
    most = max(cells, key=lambda one: one["captured_to_jax"]["median"])
    return {key: most[key] for key in ("batch", "width", "captured_to_jax")}


def verdict(content: dict[str, Any]) -> str:
    """The greatest ratio in words; nothing if there is none."""
    if (most := content["greatest_captured_to_jax"]) is None:
        return ""
    return (f"captured / JAX is at most {most['captured_to_jax']['median']:.2f}, at batch {most['batch']}, "
            f"width {most['width']} (to reach: ≤ {MOST_TO_JAX:g} everywhere)")  # fmt: skip


def table(content: dict[str, Any]) -> Table:
    cells = content["cells"]
    names = [*cells[0]["contenders"]]
    on = "" if content["threads"] is None else f", threads: {content['threads']}"
    caption = "ms, and multiple of the bare products; medians over the rounds of one run, in brackets the "
    caption += f"quartiles. {below_one(cells)}"
    result = Table(title=f"The adversarial step by batch and width{on}", padding=0,
                   caption="\n".join(filter(None, (caption, verdict(content)))))  # fmt: skip
    for heading in ("batch", "width", *names, BESIDE_JAX):
        result.add_column(heading, justify="right")
    for one in [*cells, *content["left_out"]]:
        found = one.get("contenders", {})
        row = [_cell(one, name) if found else "–" for name in names]
        compared = one.get("captured_to_jax")
        result.add_row(
            str(one["batch"]), str(one["width"]), *row, f"{compared['median']:.2f}" if compared else "–"
        )
    return result


def _cell(one: dict[str, Any], name: str) -> str:
    times = "{median:.2f}\n[{lower_quartile:.2f}, {upper_quartile:.2f}]"
    said = times.format(**one["contenders"][name]["to_products"])
    return _ms(one, name) if name == PRODUCTS else f"{_ms(one, name)} · {said}"


def _ms(one: dict[str, Any], name: str) -> str:
    return significant(1e3 * one["contenders"][name]["seconds"]["median"])


def plot(content: Mapping[str, Any]) -> Figure:
    """A map of batch by width for each contender, the darker the larger: multiples of the products; then
    captured beside JAX. What was left out is a dash on white."""
    cells = content["cells"]
    maps = {
        name: {
            _size(one): (one["contenders"][name]["to_products"]["median"], f"\n{_ms(one, name)} ms")
            for one in cells
        }
        for name in cells[0]["contenders"]
        if name != PRODUCTS
    }
    label, note = "time / time of the bare products", below_one(cells)
    if content["greatest_captured_to_jax"]:
        maps[BESIDE_JAX] = {_size(one): (one["captured_to_jax"]["median"], "") for one in cells}
        label += " (last map: time / time of JAX)"
    if content["left_out"]:
        label += f"\n–: a step of more than {content['most_gflop']:g} GFLOP, or than fits into memory"
    sizes = [_size(one) for one in (*cells, *content["left_out"])]
    batches, widths = (sorted({size[axis] for size in sizes}) for axis in (0, 1))
    figure, axes = panels(len(maps), max(2.4, 0.33 * len(batches) + 0.6))
    norm = LogNorm(*_limits([value for one in maps.values() for value, _ in one.values()]))
    for ax, (name, one) in zip(axes, maps.items(), strict=True):
        values = np.array([[one.get((batch, width), (np.nan, ""))[0] for width in widths]
                           for batch in batches])  # fmt: skip
        image = ax.imshow(values, norm=norm, cmap="cividis_r", aspect="auto", origin="lower")
        for row, batch in enumerate(batches):
            for column, width in enumerate(widths):
                value, note = one.get((batch, width), (None, ""))
                dark = value is not None and norm(value) > 0.5
                ax.text(column, row, "–" if value is None else f"{significant(value)}{note}", ha="center",
                        va="center", fontsize=6, color="white" if dark else "black")  # fmt: skip
        ax.set_title(name, fontsize=8.5, loc="left")
        ax.set_xticks(range(len(widths)), [f"{width:,}" for width in widths], fontsize=7)
        ax.set_yticks(range(len(batches)), [f"{batch:,}" for batch in batches], fontsize=7)
        ax.set_xlabel("width [columns]", fontsize=7.5)
        ax.set_ylabel("batch [examples]", fontsize=7.5)
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=60, fraction=0.02, pad=0.02)
    bar.set_label(f"{label}\n{note}" if note else label, fontsize=7.5)
    bar.ax.xaxis.set_major_formatter("{x:g}")
    bar.ax.tick_params(labelsize=7)
    return figure


def below_one(cells: Sequence[dict[str, Any]]) -> str:
    """Why a step takes less time than its products, if one does."""
    ones = [times["to_products"]["median"] for one in cells if one["batch"] == 1
            for name, times in one["contenders"].items() if name != PRODUCTS]  # fmt: skip
    return ONE_ROW if min(ones, default=1.0) < 1.0 else ""


def _size(one: dict[str, Any]) -> tuple[int, int]:
    return one["batch"], one["width"]


def _limits(values: list[float]) -> tuple[float, float]:
    """Of the colours: what is there, and at least from 1 to 2."""
    return min(1.0, *values), max(2.0, *values)
