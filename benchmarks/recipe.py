"""How a model is built and trained: what a Recipe says, `benchmarks.training` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.examples import Examples
from benchmarks.task import BATCH, EPSILON
from minigrad.checks import shown_names
from minigrad.errors import ArgumentError, DataError
from minigrad.optim import SGD, Adam, linear_ramp

# cost(model, x, y, generator), a scalar Tensor to minimise; what it draws comes from the generator.
Cost = Callable[[Any, Any, Any, np.random.Generator], mg.Tensor]
# optimiser(parameters, updates an epoch, epochs)
Optimiser = Callable[[list[mg.Parameter], int, int], "SGD | Adam | Together"]

SHOWN = 10  # digits of the test set, in the report's figures


class Together:
    """Optimisers of different Parameters, each with its own settings, that take their steps together."""

    def __init__(self, *optimisers: SGD | Adam) -> None:
        self.optimisers = optimisers

    def zero_grad(self) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()

    def step(self) -> None:
        for optimiser in self.optimisers:
            optimiser.step()

    def state_dict(self) -> dict[str, np.ndarray]:
        return {
            f"{i}.{name}": array
            for i, optimiser in enumerate(self.optimisers)
            for name, array in optimiser.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        numbers = {str(i) for i in range(len(self.optimisers))}
        if unknown := [name for name in state if name.partition(".")[0] not in numbers]:
            raise ArgumentError(f"state has {shown_names(unknown)}, for which there is no place here")
        for i, optimiser in enumerate(self.optimisers):
            own = {name for name in state if name.startswith(f"{i}.")}
            optimiser.load_state_dict({name.removeprefix(f"{i}."): state[name] for name in own})


def plain_cost(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
    """J(θ, x, y)."""
    return model.cost(x, y)


def descent(
    lr: float | Callable[[int], float], momentum: float = 0.5, max_norm: float | None = None
) -> Optimiser:
    """The same learning rate and momentum whatever the number of epochs."""
    return lambda parameters, updates, epochs: SGD(parameters, lr=lr, momentum=momentum, max_norm=max_norm)


def falling(first: float, last: float, momentum: float = 0.9) -> Optimiser:
    """A learning rate that falls linearly over the whole stage."""
    return lambda parameters, updates, epochs: SGD(
        parameters, lr=linear_ramp(first, last, updates * epochs), momentum=momentum
    )


def falling_adam(first: float, last: float) -> Optimiser:
    """The same with Adam."""
    return lambda parameters, updates, epochs: Adam(parameters, lr=linear_ramp(first, last, updates * epochs))


@dataclass(frozen=True)
class Stage:
    """A part of a training that ends on one condition.

    optimiser    made anew when the stage begins
    epochs       at most; if None, as many as the best epoch of the stage before
    held_out     so many of the last examples are kept from training, for validation
    watched      on so many of the last examples errors are measured after each epoch
    score        the validation error that is to fall, "clean_error" or "fgsm_error": the parameters
                 of the epoch with the least are kept. None keeps those of the last.
    patience     end once the score has not fallen for so many epochs
    new_model    begin with a new model, not with the one of the stage before
    until_cost   end once the watched examples' cost is no greater than the training examples' was
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
    training examples.

    stages   by scale
    pick     what of the examples the model trains on
    stream   tells apart models that differ in their random numbers alone
    effort   about how long an epoch takes, in epochs of plain maxout
    data     "digits" or "cifar": what it trains on
    epsilon  of the attacks under which it is watched while it trains
    """

    what: str
    build: Callable[[str, int, Any], Any]
    stages: dict[str, tuple[Stage, ...]]
    cost: Cost = plain_cost
    pick: Callable[[Any], Any] = lambda examples: examples
    stream: int = 0
    effort: float = 1.0
    data: str = "digits"
    epsilon: float = EPSILON

    def epochs(self, scale: str, at_most: int | None) -> int:
        """The most epochs of all stages together."""
        own: list[int] = []
        for stage in self.stages[scale]:
            own.append(own[-1] if stage.epochs is None else stage.epochs)
        if at_most is None:
            return sum(own)
        return at_most if scale == "quick" else sum(min(epochs, at_most) for epochs in own)

    def check_large_enough(self, train: Examples, test: Examples, scale: str) -> None:
        """DataError if some stage could not take a step, or too little is left to measure and show."""
        option, kind = ("--cifar", "images") if self.data == "cifar" else ("--data", "digits")
        need = BATCH + max(stage.held_out for stage in self.stages[scale])
        for what, examples, least in (("training", train, need), ("test", test, SHOWN)):
            if (found := len(self.pick(examples))) < least:
                raise DataError(
                    f"the {what} set ({option}) must have {least} {kind} or more for {self.what}, got {found}"
                )

    def seed(self, seed: int) -> int:
        return seed + 1000 * self.stream


def both_scales(optimiser: Optimiser, epochs: int) -> dict[str, tuple[Stage, ...]]:
    """The same short training at either scale, for the models of which the paper says nothing."""
    stage = Stage(optimiser, epochs)
    return {"quick": (stage,), "paper": (stage,)}
