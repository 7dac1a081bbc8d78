"""Schedules: functions of the number of updates that were made, for a learning rate or a momentum."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.checks import check_count, check_number

Schedule = Callable[[int], float]


class _Formula:
    """A formula of settings and t. It shows the call that made it, and can be pickled."""

    def __init__(
        self, made_by: Callable[..., Schedule], formula: Callable[..., float], *settings: Any
    ) -> None:
        self.made_by, self.formula, self.settings = made_by, formula, settings

    def __call__(self, t: int) -> float:
        return self.formula(*self.settings, t)

    def __repr__(self) -> str:
        return f"{self.made_by.__name__}({', '.join(map(repr, self.settings))})"


def exponential_decay(start: float, divisor: float, minimum: float = 0.0) -> Schedule:
    """update t ↦ max(start / divisorᵗ, minimum)."""
    start = check_number("start", start, low=0.0)
    divisor = check_number("divisor", divisor, low=1.0)
    minimum = check_number("minimum", minimum, low=0.0)
    return _Formula(exponential_decay, _decayed, start, divisor, minimum)


def _decayed(start: float, divisor: float, minimum: float, t: int) -> float:
    # Through logarithms: divisorᵗ itself overflows for a large t.
    return max(start * math.exp(-t * math.log(divisor)), minimum)


def linear_ramp(start: float, end: float, updates: int) -> Schedule:
    """update t ↦ start + (end − start)·t/updates, and `end` from t = updates on."""
    start, end = check_number("start", start), check_number("end", end)
    return _Formula(linear_ramp, _ramped, start, end, check_count("updates", updates))


def _ramped(start: float, end: float, updates: int, t: int) -> float:
    return start + (end - start) * min(t / updates, 1.0)
