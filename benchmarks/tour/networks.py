"""The two networks of the page: small, trained while it is made, and with weights of 8 bits.

They are trained in float64, and rounded. So a processor's own way to add up hardly ever leaves a trace: the
page is the same wherever it is made, and the tour's chapters may say what is on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from attacks import adversarial_objective, basic_iterative, evaluate, fgsm
from benchmarks.mnist import Digits
from models import MaxoutNetwork

UNITS, PIECES = 32, 2
EPSILON = 0.1  # of the training on adversarial examples, and of the error rates
BATCH, LR, MOMENTUM, ALPHA = 100, 0.1, 0.9, 0.5
LEVELS = 127  # of a weight, on each side of 0
EXAMINED = 2000  # test digits, of which errors are told and the page's digits are chosen


@dataclass(frozen=True)
class Network:
    """A trained network as the page has it, and the shares of digits on which it errs."""

    name: str
    model: MaxoutNetwork
    clean_error: float
    one_step_error: float
    ten_steps_error: float


def trained(name: str, adversarial: bool, train: Digits, test: Digits, epochs: int, seed: int) -> Network:
    """A maxout network trained on digits, or on the adversarial objective, and then rounded."""
    model = MaxoutNetwork(train.x.shape[1], 10, units=(UNITS,), pieces=PIECES, seed=seed).to(dtype=np.float64)
    optimiser = mg.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    alpha = ALPHA if adversarial else 1.0

    def update(x: Any, y: Any) -> None:
        optimiser.zero_grad()
        adversarial_objective(model, x, y, alpha=alpha, epsilon=EPSILON).backward()
        optimiser.step()

    step = mg.capture(update, train.x[:BATCH].astype(np.float64), train.y[:BATCH], of=[model, optimiser])
    generator = np.random.default_rng(seed)
    for epoch in range(epochs):
        optimiser.lr = LR * (1 - epoch / epochs)
        order = generator.permutation(len(train))
        for start in range(0, len(train) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            step(train.x[chosen].astype(np.float64), train.y[chosen])
    for layer in (model.hidden[0], model.output):
        whole, scales = rounded(layer.W.numpy())
        layer.W.data, layer.b.data = whole * scales, in_float32(layer.b.numpy())
        layer.W.changed_in_place()
        layer.b.changed_in_place()
    x, y = test.x[:EXAMINED].astype(np.float64), test.y[:EXAMINED]
    valid: Any = {"epsilon": EPSILON, "bounds": (0.0, 1.0)}
    one = evaluate(model, x, y, partial(fgsm, **valid))
    ten = evaluate(model, x, y, partial(basic_iterative, steps=10, **valid))
    errors = 1 - one.clean_accuracy, 1 - one.adversarial_accuracy, 1 - ten.adversarial_accuracy
    return Network(name, model, *errors)


def rounded(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whole numbers, the step of each column): W is about their product."""
    scales = in_float32(np.abs(W).max(0) / LEVELS)
    return np.rint(W / scales).astype(np.int8), scales


def in_float32(array: np.ndarray) -> np.ndarray:
    """The nearest numbers of float32, in float64."""
    return array.astype(np.float32).astype(np.float64)
