"""Run by `python -m benchmarks against` in a process of its own, over the minigrad of another checkout.

So it uses no more than has been public from the start. It reads the name of a work from each line, does
the work, and prints a line.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from attacks import adversarial_objective, fgsm
from models import MaxoutNetwork


def network(features: int, units: int, batch: int) -> tuple[Any, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    x, y = random.random((batch, features), dtype=np.float32), random.integers(0, 10, batch)
    return MaxoutNetwork(features, 10, units=(units, units), pieces=5), x, y


def step(features: int, units: int, batch: int) -> Callable[[], Any]:
    """One step of momentum SGD on the adversarial objective; returns the model."""
    model, x, y = network(features, units, batch)
    optimiser = mg.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

    def run() -> Any:
        optimiser.zero_grad()
        adversarial_objective(model, x, y, alpha=0.5, epsilon=0.25).backward()
        optimiser.step()
        return model

    return run


def attack() -> Callable[[], Any]:
    model, x, y = network(784, 240, 2000)

    def run() -> None:
        for start in (0, 1000):
            part = slice(start, start + 1000)
            fgsm(model, x[part], y[part], epsilon=0.25)

    return run


def chain() -> Callable[[], Any]:
    """x · factor + summand, 500 times over, and its gradients in all three."""
    random = np.random.default_rng(0)
    arrays = (random.standard_normal(8, dtype=np.float32), np.full(8, 0.999, np.float32),
              random.standard_normal(8, dtype=np.float32))  # fmt: skip
    x, factor, summand = (mg.Tensor(array, requires_grad=True) for array in arrays)

    def run() -> Any:
        y = x
        for _ in range(500):
            y = y * factor + summand
        return mg.grad(mg.sum(y), (x, factor, summand))

    return run


def repeated(times: int, function: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            function()

    return run


def bits() -> str:
    """A digest of five adversarial steps, an FGSM on what they trained, and a second-order gradient."""
    digest = hashlib.sha256()
    run = step(784, 240, 100)
    for _ in range(5):
        model = run()
    for parameter in model.parameters():
        digest.update(parameter.numpy().tobytes())
    _, x, y = network(784, 240, 100)
    digest.update(np.ascontiguousarray(fgsm(model, x, y, epsilon=0.25)).tobytes())
    z = mg.Tensor(np.random.default_rng(2).standard_normal((5, 20)), requires_grad=True)
    J = mg.softmax_cross_entropy(mg.maxout(mg.sigmoid(z) * z, 2), np.arange(5))
    (slope,) = mg.grad(J, z, create_graph=True)
    digest.update(mg.grad(mg.sum(slope * slope), z)[0].numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    works = {"step": step(784, 240, 100), "small": repeated(20, step(8, 4, 2)), "fgsm": attack(),
             "operation": chain()}  # fmt: skip
    for line in sys.stdin:
        name = line.strip()
        if name == "bits":
            print(bits(), flush=True)
        else:
            works[name]()
            print("done", flush=True)
