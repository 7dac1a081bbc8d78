"""Optimisers whose steps are captured: with MINIGRAD_TEST_CAPTURED=1 every `step()` of the tests replays a
record of what it does with the gradients that the Parameters have."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import minigrad as mg
from minigrad.errors import GraphError
from minigrad.optim.optimiser import Optimiser
from minigrad.steps import CaptureWarning, Step

eager_step = Optimiser.step
steps: WeakKeyDictionary[Optimiser, tuple[Any, Step]] = WeakKeyDictionary()


def captured_step(optimiser: Optimiser) -> None:
    trained = [p for p in optimiser.parameters if p.grad is not None and p.requires_grad]
    gradients = [p.grad for p in trained]
    if mg.fast.recording.recorded_now() is not None or not all(map(fits, trained)):
        return eager_step(optimiser)  # of a step that is captured as a whole; or an error
    kind = [(id(p), p.shape, p.dtype) for p in trained]
    if optimiser not in steps or steps[optimiser][0] != kind:
        steps[optimiser] = kind, captured(optimiser, trained, gradients)
    try:
        steps[optimiser][1](*gradients)
    except GraphError:  # something was replaced, or set anew
        steps[optimiser] = kind, captured(optimiser, trained, gradients)
        steps[optimiser][1](*gradients)
    assert steps[optimiser][1].captured
    return None


def captured(optimiser: Optimiser, trained: list[Any], gradients: list[Any]) -> Step:
    def update(*given: Any) -> None:
        optimiser.zero_grad()
        for parameter, gradient in zip(trained, given, strict=True):
            parameter.grad = gradient
        eager_step(optimiser)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        return mg.capture(update, *gradients, of=optimiser)


def fits(parameter: Any) -> bool:
    return type(parameter.grad) is type(parameter.data) and parameter.grad.dtype == parameter.dtype
