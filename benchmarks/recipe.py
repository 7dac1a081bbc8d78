"""How a model is built and trained: what a Recipe says, `benchmarks.training` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.mnist import Digits
from benchmarks.task import BATCH
from minigrad.errors import DataError
from minigrad.optim import SGD

# cost(model, x, y, generator), a scalar Tensor to minimise; what it draws comes from the generator.
Cost = Callable[[Any, Any, Any, np.random.Generator], mg.Tensor]
# optimiser(parameters, updates an epoch, epochs)
Optimiser = Callable[[list[mg.Parameter], int, int], SGD]

SHOWN = 10  # digits of the test set, in the report's figures


def plain_cost(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
    """J(θ, x, y)."""
    return model.cost(x, y)


def descent(
    lr: float | Callable[[int], float], momentum: float = 0.5, max_norm: float | None = None
) -> Optimiser:
    """The same learning rate and momentum whatever the number of epochs."""
    return lambda parameters, updates, epochs: SGD(parameters, lr=lr, momentum=momentum, max_norm=max_norm)


@dataclass(frozen=True)
class Stage:
    """A part of a training that ends on one condition.

    optimiser    made anew when the stage begins
    epochs       at most; if None, as many as the best epoch of the stage before
    held_out     so many of the last digits are kept from training, for validation
    watched      on so many of the last digits errors are measured after each epoch
    score        the validation error that is to fall, "clean_error" or "fgsm_error": the parameters
                 of the epoch with the least are kept. None keeps those of the last.
    patience     end once the score has not fallen for so many epochs
    new_model    begin with a new model, not with the one of the stage before
    until_cost   end once the watched digits' cost is no greater than the training digits' cost was
                 when the stage before ended
    """

    optimiser: Optimiser
    epochs: int | None
    held_out: int = 1000
    watched: int = 1000
    score: str | None = None
    patience: int | None = None
    new_model: bool = False
    until_cost: bool = False


@dataclass(frozen=True)
class Recipe:
    """What there is to know of a model: `build` makes it for a scale, from a seed and the
    training digits.

    stages  by scale; `digits` picks what the model trains on, `stream` tells apart models that differ in
            their random numbers alone, and `effort` is about how long an epoch takes
    """

    what: str
    build: Callable[[str, int, Digits], Any]
    stages: dict[str, tuple[Stage, ...]]
    cost: Cost = plain_cost
    digits: Callable[[Digits], Digits] = lambda digits: digits
    stream: int = 0
    effort: float = 1.0

    def epochs(self, scale: str, at_most: int | None) -> int:
        """The epochs of all stages, as far as they are known beforehand."""
        own = [stage.epochs for stage in self.stages[scale] if stage.epochs is not None]
        if at_most is None:
            return sum(own)
        return at_most if scale == "quick" else sum(min(epochs, at_most) for epochs in own)

    def check_large_enough(self, train: Digits, test: Digits, scale: str) -> None:
        """DataError if some stage could not take a step, or too little is left to measure and show."""
        need = BATCH + max(stage.held_out for stage in self.stages[scale])
        for what, digits, least in (("training", train, need), ("test", test, SHOWN)):
            if (found := len(self.digits(digits))) < least:
                raise DataError(
                    f"the {what} set (--data) must have {least} digits or more for {self.what}, got {found}"
                )

    def seed(self, seed: int) -> int:
        return seed + 1000 * self.stream


def both_scales(optimiser: Optimiser, epochs: int) -> dict[str, tuple[Stage, ...]]:
    """The same short training at either scale, for the models of which the paper says nothing."""
    stage = Stage(optimiser, epochs)
    return {"quick": (stage,), "paper": (stage,)}
