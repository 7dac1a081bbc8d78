"""How close training and attacking come to the time of their bare matrix products."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from attacks import adversarial_objective, attack_in_batches, fgsm
from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish, usable_processors
from benchmarks.speed.options import THREADS, add_common_arguments
from benchmarks.speed.plots import beside
from benchmarks.speed.timing import ratio, time_in_turn
from minigrad.checks import check_count
from minigrad.optim import SGD
from models import MaxoutNetwork

FEATURES, CLASSES, PIECES = 784, 10, 5


@dataclass(frozen=True)
class Work:
    """What is timed: minigrad's side, and its matrix products alone."""

    what: str
    target: float  # the ratio to reach on two cores
    rounds: int
    make: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]


def layers(units: int, features: int = FEATURES, pieces: int = PIECES) -> list[tuple[int, int]]:
    """Inputs and columns of each layer of the network, input side first."""
    return [(features, units * pieces), (units, units * pieces), (units, CLASSES)]


def products(
    batch: int,
    units: int,
    adversarial: bool = False,
    weights: bool = True,
    features: int = FEATURES,
    pieces: int = PIECES,
) -> Callable[[], None]:
    """The matrix products of a step, through NumPy on arrays that are there already.

    A training step has one forward product a layer, one for the gradient of each weight matrix, and one
    back through each layer but the first. An adversarial step has all of it twice, and the first
    layer's once: the input gradient. An attack (weights=False) has no weight gradients.
    """
    random = np.random.default_rng(0)
    widths = layers(units, features, pieces)

    def array(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    W = [array(*shape) for shape in widths]
    x = [array(batch, inputs) for inputs, _ in widths]
    z = [array(batch, outputs) for _, outputs in widths]
    dW, dx = [np.empty_like(a) for a in W], [np.empty_like(a) for a in x]

    def forward() -> None:
        for i in range(3):
            np.matmul(x[i], W[i], out=z[i])

    def backward(to_input: bool) -> None:
        for i in (2, 1, 0):
            if weights:
                np.matmul(x[i].T, z[i], out=dW[i])
            if i or to_input:
                np.matmul(z[i], W[i].T, out=dx[i])

    def run() -> None:
        forward()
        backward(to_input=adversarial or not weights)
        if adversarial:
            forward()
            backward(to_input=False)

    return run


def step(batch: int, units: int, published: bool = False) -> Callable[[], None]:
    """One step of momentum SGD on the adversarial objective, α = .5, ε = .25; `published` adds the maxout
    paper's dropout and max-norm."""
    random = np.random.default_rng(1)
    x = random.random((batch, FEATURES), dtype=np.float32)
    y = random.integers(0, CLASSES, batch)
    dropout = (0.8, 0.5) if published else None
    model = MaxoutNetwork(FEATURES, CLASSES, units=(units, units), pieces=PIECES, dropout=dropout)
    optimiser = SGD(model.parameters(), lr=0.01, momentum=0.5, max_norm=1.9365 if published else None)

    def run() -> None:
        optimiser.zero_grad()
        adversarial_objective(model, x, y, alpha=0.5, epsilon=0.25).backward()
        optimiser.step()

    return run


def attack(examples: int, batch: int, units: int, threads: int = 1) -> Callable[[], None]:
    """FGSM over many examples, batch by batch; with several threads by `attack_in_batches`."""
    random = np.random.default_rng(1)
    x = random.random((examples, FEATURES), dtype=np.float32)
    y = random.integers(0, CLASSES, examples)
    model = MaxoutNetwork(FEATURES, CLASSES, units=(units, units), pieces=PIECES)

    def run() -> None:
        for start in range(0, examples, batch):
            part = slice(start, start + batch)
            fgsm(model, x[part], y[part], epsilon=0.25)

    def run_in_threads() -> None:
        attack_in_batches(model, x, y, partial(fgsm, epsilon=0.25), batch_size=batch, threads=threads)

    return run if threads == 1 else run_in_threads


def repeated(times: int, function: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            function()

    return run


WORKS = {
    "step": Work("adversarial step, 240 units, batch 100", 1.15, 40,
                 lambda: (step(100, 240), products(100, 240, adversarial=True))),
    "published": Work("adversarial step, 240 units, batch 100, dropout and max-norm", 1.35, 40,
                      lambda: (step(100, 240, published=True), products(100, 240, adversarial=True))),
    "wide": Work("adversarial step, 1600 units, batch 500", 1.12, 7,
                 lambda: (step(500, 1600), products(500, 1600, adversarial=True))),
    "fgsm": Work("FGSM on 10,000 images, batches of 1,000", 1.10, 7,
                 lambda: (attack(10_000, 1000, 240),
                          repeated(10, products(1000, 240, weights=False)))),
    "fgsm_threads": Work("FGSM on 10,000 images, a thread a processor", 1.16, 7,
                         lambda: (attack(10_000, 1000, 240, threads=usable_processors() or 1),
                                  repeated(10, products(1000, 240, weights=False)))),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    works = {name: f"{work.what} ({work.rounds} rounds)" for name, work in WORKS.items()}
    takes = f"Less than a minute on two cores. {THREADS} fgsm_threads attacks in a thread a processor."
    add_common_arguments(parser, "floor", takes, works)
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each, instead of its own number")


def run(options: argparse.Namespace) -> None:
    """Time each work beside its products, print and write the ratios."""
    if options.rounds is not None:
        check_count("--rounds", options.rounds)
    directory = check_writable_directory("--out", options.out)
    console, conditions = terminal(120), Conditions()
    found = {}
    with Steps(console, len(options.works), options.quiet) as steps:
        for name in options.works:
            work = WORKS[name]
            steps.begin(f"{name}, {work.what}")
            ours, bare = work.make()
            contenders = {"minigrad": ours, "products": bare}
            seconds = time_in_turn(
                contenders, options.rounds or work.rounds, conditions=conditions, progress=steps.share
            )
            found[name] = {
                "what": work.what,
                "target": work.target,
                "ratio": ratio(seconds, "minigrad", "products"),
                "median_seconds": {key: float(np.median(values)) for key, values in seconds.items()},
                "seconds": seconds,
            }
            if name != "fgsm_threads":  # its products are multiplied two at a time, those beside it are not
                conditions.check_floor(work.what, found[name]["ratio"])
    publish(directory, "floor", {"works": found}, plot, [table(found)], conditions, console)


def table(found: dict[str, Any]) -> Table:
    result = Table(title="Time as a multiple of the bare matrix products",
                   caption="medians over the rounds of one run, of times and of ratios; in brackets the "
                   "quartiles. To reach: what this project aims at on two cores")  # fmt: skip
    result.add_column("work: what it is")
    for heading in ("products, ms", "minigrad, ms", "ratio", "to reach"):
        result.add_column(heading, justify="right")
    for name, entry in found.items():
        median, ratios = entry["median_seconds"], entry["ratio"]
        result.add_row(
            f"{name}: {entry['what']}", significant(1e3 * median["products"]),
            significant(1e3 * median["minigrad"]),
            f"{ratios['median']:.2f} [{ratios['lower_quartile']:.2f}, {ratios['upper_quartile']:.2f}]",
            f"≤ {entry['target']:.2f}",
        )  # fmt: skip
    return result


def plot(content: Mapping[str, Any]) -> Figure:
    label = "time of minigrad / time of its bare matrix products, which is 1 (dashed: to reach)"
    return beside(content["works"].values(), "minigrad", label)
