"""minigrad beside other frameworks: the same step, attack and chain, checked equal, then timed in turn."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.output import check_writable_directory, terminal
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.floor import CLASSES, FEATURES, PIECES, products, repeated
from benchmarks.speed.frameworks import FRAMEWORKS
from benchmarks.speed.overhead import OPERATIONS, arrays
from benchmarks.speed.plots import bars, quartiles
from benchmarks.speed.timing import ratio, time_in_turn
from minigrad.checks import check_count
from minigrad.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frameworks", nargs="+", choices=[*FRAMEWORKS], metavar="NAME",
                        help=f"{', '.join(FRAMEWORKS)} (default: those that are installed)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--out", default="results/peers", metavar="DIR",
                        help="where peers.json and .png go (default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Check that all compute the same, then time, print and write."""
    check_count("--rounds", options.rounds)
    directory = check_writable_directory("--out", options.out)
    names = options.frameworks or [name for name in FRAMEWORKS if installed(name)]
    if missing := [name for name in names if not installed(name)]:
        raise ArgumentError(f"--frameworks must be installed, {missing[0]} is not: pip install -e '.[peers]'")
    names = list(dict.fromkeys(["minigrad", *names]))
    random = np.random.default_rng(0)
    x = random.random((1000, FEATURES), dtype=np.float32)
    y = random.integers(0, CLASSES, 1000)
    check_equal(names, x, y)

    conditions = Conditions()
    found: dict[str, Any] = {}
    for units, batch, rounds in ((240, 100, options.rounds), (1600, 500, max(3, options.rounds // 4))):
        made = {name: FRAMEWORKS[name](weights(units)) for name in names}
        contenders: dict[str, Callable[[], Any]] = {"products": products(batch, units, adversarial=True)}
        contenders |= {name: _step(one, x[:batch], y[:batch]) for name, one in made.items()}
        found[f"adversarial step, {units} units, batch {batch}"] = compared(
            contenders, rounds, "products", conditions
        )
        del made, contenders
    attacked = {name: FRAMEWORKS[name](weights(240)) for name in names}
    contenders = {"products": repeated(10, products(1000, 240, weights=False))}
    contenders |= {name: repeated(10, lambda one=one: one.fgsm(x, y)) for name, one in attacked.items()}  # type: ignore[misc]
    found["FGSM on 10,000 images, batches of 1,000"] = compared(
        contenders, max(3, options.rounds // 4), "products", conditions
    )
    chains = {name: one.chain(arrays()) for name, one in attacked.items()}
    chains = {name: run for name, run in chains.items() if run is not None}
    found["chain"] = compared(chains, options.rounds, "minigrad", conditions)
    modules = [importlib.import_module(name) for name in names if name != "minigrad"]
    publish(
        directory,
        "peers",
        {"works": found},
        plot(found),
        [table(found)],
        conditions,
        terminal(110),
        modules,
    )


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def weights(units: int) -> list[np.ndarray]:
    """The same for all: U(−.05, .05), which makes the classes differ and the gradients matter."""
    random = np.random.default_rng(2)
    layers = [(FEATURES, units * PIECES), (units, units * PIECES), (units, CLASSES)]
    found = []
    for shape in layers:
        found.append(random.uniform(-0.05, 0.05, shape).astype(np.float32))
        found.append(np.zeros(shape[1], np.float32))
    return found


def check_equal(names: list[str], x: np.ndarray, y: np.ndarray) -> None:
    """ArgumentError unless three steps and an attack give what minigrad's give, but for rounding."""
    reference = None
    for name in names:
        one = FRAMEWORKS[name](weights(240))
        adversarial = one.fgsm(x[:100], y[:100])
        for start in (0, 100, 200):
            one.step(x[start : start + 100], y[start : start + 100])
        after = [array.copy() for array in one.parameters()]
        if reference is None:
            reference = adversarial, after
            continue
        differing = float((adversarial != reference[0]).mean())  # a sign at a gradient near 0 may turn
        moved = [a - w for a, w in zip(reference[1], weights(240), strict=True)]
        off = max(
            float(np.abs(a - b).max() / np.abs(m).max())
            for a, b, m in zip(after, reference[1], moved, strict=True)
        )
        if differing > 1e-3 or off > 1e-2:
            raise ArgumentError(
                f"--frameworks must compute the same, {name} does not: {differing:.2%} of the adversarial "
                f"pixels and up to {off:.2%} of the weights' change differ"
            )


def _step(framework: Any, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    return lambda: framework.step(x, y)


def compared(
    contenders: dict[str, Callable[[], Any]], rounds: int, to: str, conditions: Conditions
) -> dict[str, Any]:
    seconds = time_in_turn(contenders, rounds, settle=0.1, conditions=conditions)
    return {
        name: {"median_seconds": float(np.median(values)), f"to_{to}": ratio(seconds, name, to)}
        for name, values in seconds.items()
    }


def plot(found: dict[str, Any]) -> Figure:
    groups = {
        what: {name: quartiles(entry["to_products"]) for name, entry in entries.items()}
        for what, entries in found.items()
        if what != "chain"
    }
    return bars(groups, "time / time of the bare products")


def table(found: dict[str, Any]) -> Table:
    names = list(found["chain"]) + [
        name for name in next(iter(found.values())) if name not in found["chain"] and name != "products"
    ]
    result = Table(title="minigrad and other frameworks",
                   caption="time as a multiple of the bare products, and µs of one operation of the "
                   "chain, forward and backward; medians over the rounds of one run, in brackets "
                   "the quartiles")  # fmt: skip
    result.add_column("work")
    for name in names:
        result.add_column(name, justify="right")
    for what, entries in found.items():
        if what == "chain":
            row = [f"{1e6 * entries[name]['median_seconds'] / OPERATIONS:.2f} µs" if name in entries else "–"
                   for name in names]  # fmt: skip
            result.add_row("one operation on 8 elements", *row)
        else:
            cell = "{median:.2f}\n[{lower_quartile:.2f}, {upper_quartile:.2f}]"
            result.add_row(what, *(cell.format(**entries[name]["to_products"]) for name in names))
    return result
