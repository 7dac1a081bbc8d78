"""What one small operation costs beside its arithmetic: a chain of 1,000 on 8 elements."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.table import Table

import minigrad as mg
from benchmarks.output import check_writable_directory, terminal
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.plots import bars
from benchmarks.speed.timing import ratio, time_in_turn
from minigrad.checks import check_count

OPERATIONS = 1000
ELEMENTS = 8


def chain(x: Any, factor: Any, summand: Any) -> Any:
    """x · factor + summand, 500 times over."""
    for _ in range(OPERATIONS // 2):
        x = x * factor + summand
    return x


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x, summand = random.standard_normal((2, ELEMENTS), dtype=np.float32)
    return x, np.full(ELEMENTS, 0.999, np.float32), summand


def numpy_forward() -> Callable[[], Any]:
    x, factor, summand = arrays()
    return lambda: chain(x, factor, summand)


def minigrad_both_ways() -> Callable[[], Any]:
    """Forward and backward, with gradients of all three."""
    x, factor, summand = (mg.Tensor(a, requires_grad=True) for a in arrays())

    def run() -> Any:
        return mg.grad(mg.sum(chain(x, factor, summand)), (x, factor, summand))

    return run


def minigrad_forward() -> Callable[[], Any]:
    x, factor, summand = (mg.Tensor(a, requires_grad=True) for a in arrays())
    return lambda: chain(x, factor, summand)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--out", default="results/overhead", metavar="DIR",
                        help="where overhead.json and .png go (default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Time the chains in turn, print and write microseconds an operation."""
    check_count("--rounds", options.rounds)
    directory = check_writable_directory("--out", options.out)
    contenders = {
        "NumPy, forward": numpy_forward(),
        "minigrad, forward, recorded": minigrad_forward(),
        "minigrad, forward and backward": minigrad_both_ways(),
    }
    conditions = Conditions()
    seconds = time_in_turn(contenders, options.rounds, conditions=conditions)
    found = {
        name: {
            "microseconds": 1e6 * float(np.median(values)) / OPERATIONS,
            "to_numpy": ratio(seconds, name, "NumPy, forward"),
        }
        for name, values in seconds.items()
    }
    spread = {
        name: np.quantile(1e6 * np.array(values) / OPERATIONS, (0.25, 0.5, 0.75))
        for name, values in seconds.items()
    }
    groups = {
        name: {"time": (float(low), float(mid), float(high))} for name, (low, mid, high) in spread.items()
    }
    table = Table(title=f"One operation on {ELEMENTS} elements, of a chain of {OPERATIONS}",
                  caption="medians over the rounds of one run")  # fmt: skip
    for heading, side in (("what", "left"), ("µs", "right"), ("× NumPy's forward", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for name, entry in found.items():
        table.add_row(name, f"{entry['microseconds']:.2f}", f"{entry['to_numpy']['median']:.1f}")
    figure = bars(groups, "µs an operation")
    publish(directory, "overhead", {"operations": found}, figure, [table], conditions, terminal(100))
