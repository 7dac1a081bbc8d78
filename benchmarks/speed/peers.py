"""minigrad beside other frameworks: the same step, attack and chain, checked equal, then timed in turn."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.floor import FEATURES, products, repeated
from benchmarks.speed.frameworks import (
    FRAMEWORKS,
    chosen,
    examples,
    label,
    left_out,
    packages,
    step,
    weights,
)
from benchmarks.speed.options import add_common_arguments
from benchmarks.speed.overhead import OPERATIONS, arrays
from benchmarks.speed.plots import bars, is_ours, panels, quartiles
from benchmarks.speed.timing import SETTLE, ratio, time_in_turn
from benchmarks.speed.workers import add_threads_argument, check_threads, has_threads, run_with_threads
from minigrad.checks import check_count
from minigrad.errors import ArgumentError


@dataclass(frozen=True)
class Step:
    """An adversarial training step: its network, its batch, and how it is timed."""

    units: int
    batch: int
    features: int = FEATURES
    calls: int = 1  # in each round, of which the mean is taken: a clock cannot time a short one alone
    fewer_rounds: bool = False

    @property
    def what(self) -> str:
        features = "" if self.features == FEATURES else f"{self.features} features, "
        return f"adversarial step, {self.units} units, {features}batch {self.batch}"


STEPS = {
    "tiny": Step(4, 2, features=8, calls=100),
    "small": Step(32, 32, features=32, calls=100),
    "step": Step(240, 100),
    "wide": Step(1600, 500, fewer_rounds=True),
}
FGSM = "FGSM on 10,000 images, batches of 1,000"
WORKS = {**{name: step.what for name, step in STEPS.items()}, "fgsm": FGSM,
         "chain": "one operation on 8 elements"}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    takes = "Seven minutes on two cores with all frameworks (extra: peers). wide and fgsm have fewer rounds."
    add_common_arguments(parser, "peers", takes, WORKS)
    parser.add_argument("--frameworks", nargs="+", choices=[*FRAMEWORKS], metavar="NAME",
                        help=f"{', '.join(FRAMEWORKS)} (default: those that are installed)")  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=20, metavar="N", help="rounds of each (default: %(default)s)"
    )
    add_threads_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Check that all compute the same, then time, print and write."""
    check_count("--rounds", options.rounds)
    check_threads(options.threads)
    directory = check_writable_directory("--out", options.out)
    console = terminal(120)
    names = chosen(options.frameworks)
    if options.frameworks is None and (said := left_out(names)):
        console.print(said, soft_wrap=True)
    if not has_threads(options.threads):
        run_with_threads(options.threads, ["peers", "--works", *options.works, "--frameworks", *names,
                                           "--rounds", str(options.rounds), f"--out={directory}",
                                           *(["--quiet"] if options.quiet else [])])  # fmt: skip
        return
    conditions = Conditions()
    found = {}
    with Steps(console, 1 + len(options.works), options.quiet) as steps:
        steps.begin("do they compute the same?")
        check_equal(names, *examples(300))
        for work in options.works:
            steps.begin(f"{work}, {WORKS[work]}")
            found[WORKS[work]] = timed(work, names, options.rounds, conditions, steps.share)
    content = {"threads": options.threads, "works": found}
    publish(directory, "peers", content, plot, [table(found, options.threads)], conditions, console,
            packages(names))  # fmt: skip


def timed(
    work: str,
    names: list[str],
    rounds: int,
    conditions: Conditions,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Median seconds of each framework, and ratios."""
    fewer = max(3, rounds // 4)
    if work == "chain":
        made = {label(name): FRAMEWORKS[name](weights(240)).chain(arrays()) for name in names}
        chains = {name: run for name, run in made.items() if run is not None}
        return compared(chains, rounds, "minigrad", conditions, progress=progress)
    contenders: dict[str, Callable[[], Any]]
    if work == "fgsm":
        contenders = {"products": repeated(10, products(1000, 240, weights=False))}
        for name in names:
            one = FRAMEWORKS[name](weights(240))
            contenders[label(name)] = repeated(10, partial(one.fgsm, *one.batch(*examples(1000))))
        return compared(contenders, fewer, "products", conditions, progress=progress)
    size = STEPS[work]
    contenders = {"products": products(size.batch, size.units, adversarial=True, features=size.features)}
    contenders |= {label(name): step(name, size.batch, size.units, size.features) for name in names}
    found = compared(
        contenders, fewer if size.fewer_rounds else rounds, "products", conditions, size.calls, progress
    )
    for name in filter(is_ours, found):  # others multiply with libraries of their own
        conditions.check_floor(f"{name} in {size.what}", found[name]["to_products"])
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


def compared(
    contenders: dict[str, Callable[[], Any]],
    rounds: int,
    to: str,
    conditions: Conditions,
    calls: int = 1,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Median seconds of a call, and the ratio to the contender `to`. A round is the mean of so many calls."""
    if calls > 1:
        contenders = {name: repeated(calls, call) for name, call in contenders.items()}
    seconds = time_in_turn(contenders, rounds, settle=SETTLE, conditions=conditions, progress=progress)
    return {
        name: {"median_seconds": float(np.median(values)) / calls, f"to_{to}": ratio(seconds, name, to)}
        for name, values in seconds.items()
    }


def plot(content: Mapping[str, Any]) -> Figure:
    """A panel a work, the fastest first: multiples of the products, and of the chain, which has none, of
    minigrad."""
    works = content["works"]
    figure, axes = panels(len(works), 0.6 + 0.17 * max(map(len, works.values())))
    for ax, (what, entries) in zip(axes, works.items(), strict=True):
        to = _compared_to(what)
        entries = _fastest_first(what, entries)
        entries.pop("products", None)
        times = {name: _time(what, entry["median_seconds"]) for name, entry in entries.items()}
        bars(
            ax,
            {name: quartiles(entry[f"to_{to}"]) for name, entry in entries.items()},
            {name: f"{significant(entry[f'to_{to}']['median'])}, {times[name]}"
             for name, entry in entries.items()},
            f"time / time of {'the bare products' if to == 'products' else to}",
            what,
        )  # fmt: skip
        ax.axvline(1.0, color="black", linewidth=0.8)
    return figure


def _compared_to(what: str) -> str:
    return "minigrad" if what == WORKS["chain"] else "products"


def _fastest_first(what: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    ratio_to = f"to_{_compared_to(what)}"
    return dict(sorted(entries.items(), key=lambda item: item[1][ratio_to]["median"]))


def _time(what: str, seconds: float) -> str:
    """Of a call, in ms; of an operation of the chain in µs."""
    if what == WORKS["chain"]:
        return f"{significant(1e6 * seconds / OPERATIONS)} µs"
    return f"{significant(1e3 * seconds)} ms"


def table(found: dict[str, Any], threads: int | None) -> Table:
    on = "" if threads is None else f", threads: {threads}"
    result = Table(title=f"minigrad and other frameworks{on}",
                   caption="Time of a call, and as a multiple of the bare products; of the chain, time of an "
                   "operation, forward and backward, and as a multiple of minigrad's. Medians over the "
                   "rounds of one run, in brackets the quartiles")  # fmt: skip
    result.add_column("work: what it is")
    result.add_column("framework")
    for heading in ("time", "multiple"):
        result.add_column(heading, justify="right")
    names = {what: work for work, what in WORKS.items()}
    for what, entries in found.items():
        work = f"{names[what]}: {what}"
        for name, entry in _fastest_first(what, entries).items():
            low, median, high = quartiles(entry[f"to_{_compared_to(what)}"])
            multiple = f"{median:.2f} [{low:.2f}, {high:.2f}]"
            result.add_row(work, name, _time(what, entry["median_seconds"]), multiple)
            work = ""
        result.add_section()
    return result
