"""What one small operation costs beside its arithmetic: a chain of 1,000 on 8 elements."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

import minigrad as mg
from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.options import add_common_arguments
from benchmarks.speed.plots import bars, panels, quartiles
from benchmarks.speed.timing import ratio, spread, time_in_turn
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


def torch_chains() -> dict[str, Callable[[], Any]]:
    """The same in PyTorch; nothing if it is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return {}
    x, factor, summand = (torch.tensor(array, requires_grad=True) for array in arrays())
    return {
        "PyTorch, forward, recorded": lambda: chain(x, factor, summand),
        "PyTorch, forward and backward": lambda: torch.autograd.grad(
            chain(x, factor, summand).sum(), (x, factor, summand)
        ),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    takes = "Some seconds, in one thread. PyTorch is timed too if it is installed (extra: peers)."
    add_common_arguments(parser, "overhead", takes)
    parser.add_argument(
        "--rounds", type=int, default=50, metavar="N", help="rounds of each (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Time the chains in turn, print and write microseconds an operation."""
    check_count("--rounds", options.rounds)
    directory = check_writable_directory("--out", options.out)
    console, conditions = terminal(100), Conditions()
    others = torch_chains()
    if not others:
        console.print("PyTorch is not installed, and left out: pip install -e '.[peers]'")
    contenders = {
        "NumPy, forward": numpy_forward(),
        "minigrad, forward, recorded": minigrad_forward(),
        "minigrad, forward and backward": minigrad_both_ways(),
        **others,
    }
    with Steps(console, 1, options.quiet) as steps:
        steps.begin(f"chains of {OPERATIONS:,} operations")
        seconds = time_in_turn(contenders, options.rounds, conditions=conditions, progress=steps.share)
    found = {
        name: {
            "microseconds": spread([1e6 * value / OPERATIONS for value in values]),
            "to_numpy": ratio(seconds, name, "NumPy, forward"),
        }
        for name, values in seconds.items()
    }
    packages = ["torch"] if others else []
    publish(directory, "overhead", {"operations": found}, plot, [table(found)], conditions, console, packages)


def plot(content: Mapping[str, Any]) -> Figure:
    found = content["operations"]
    figure, (ax,) = panels(1, 0.3 + 0.3 * len(found))
    bars(
        ax,
        {name: quartiles(entry["microseconds"]) for name, entry in found.items()},
        {name: f"{significant(entry['microseconds']['median'])} µs, "
               f"{entry['to_numpy']['median']:.1f} × NumPy" for name, entry in found.items()},
        f"µs an operation on {ELEMENTS} elements, of a chain of {OPERATIONS:,}",
    )  # fmt: skip
    return figure


def table(found: dict[str, Any]) -> Table:
    result = Table(title=f"One operation on {ELEMENTS} elements, of a chain of {OPERATIONS:,}",
                   caption="medians over the rounds of one run, of times and of ratios; in brackets the "
                   "quartiles")  # fmt: skip
    result.add_column("what")
    for heading in ("µs", "× NumPy's forward"):
        result.add_column(heading, justify="right")
    for name, entry in found.items():
        low, median, high = quartiles(entry["microseconds"])
        result.add_row(name, f"{median:.2f} [{low:.2f}, {high:.2f}]", f"{entry['to_numpy']['median']:.1f}")
    return result
