"""The training loop, with the watch that FGSM training needs: a stronger attack, every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import minigrad as mg
from benchmarks.mnist import Digits
from benchmarks.task import BATCH, Task, measure, measure_fgsm, measure_pgd
from minigrad import backend
from minigrad.errors import DataError

HELD_OUT = 1000  # the last training images, which no step sees
WATCHED_BY_PGD = 500

Cost = Callable[[Any, Any, Any], mg.Tensor]


def plain_cost(model: Any, x: Any, y: Any) -> mg.Tensor:
    """J(θ, x, y)."""
    return model.cost(x, y)


def train(
    task: Task,
    model: Any,
    digits: Digits,
    optimiser: mg.optim.SGD,
    epochs: int,
    what: str,
    cost: Cost = plain_cost,
) -> None:
    """Minimise `cost` over the digits but the last HELD_OUT, in shuffled batches; leaves the model
    in evaluation mode and a record of every epoch in task.history."""
    if len(digits) < HELD_OUT + BATCH:
        raise DataError(f"the training set must have {HELD_OUT + BATCH} digits or more, got {len(digits)}")
    x, y, held_out = digits.x[:-HELD_OUT], digits.y[:-HELD_OUT], digits[-HELD_OUT:]
    generator = backend.random_generator(task.seed)
    library = backend.of(x)
    steps = len(y) // BATCH
    for epoch in range(epochs):
        started = time.perf_counter()
        order = library.asarray(generator.permutation(len(y))[: steps * BATCH].reshape(steps, BATCH))
        total = 0.0
        model.train()
        for step in range(steps):
            chosen = order[step]
            optimiser.zero_grad()
            J = cost(model, x[chosen], y[chosen])
            J.backward()
            optimiser.step()
            total = total + J.data  # on the device until the epoch ends
            task.progress(epoch * steps + step + 1, epochs * steps, what)
        model.eval()
        task.history.append(
            {
                "epoch": epoch + 1,
                "training_cost": float(total) / steps,
                **watch(model, held_out),
                "seconds": time.perf_counter() - started,
            }
        )


def watch(model: Any, held_out: Digits) -> dict[str, float]:
    """Error in percent on held-out digits: clean, under FGSM, and under ten steps of PGD."""
    return {
        "clean_error": measure(model, held_out.x, held_out.y).error,
        "fgsm_error": measure_fgsm(model, held_out, clip_too=False).error,
        "pgd_error": measure_pgd(model, held_out[:WATCHED_BY_PGD], clip_too=False).error,
    }
