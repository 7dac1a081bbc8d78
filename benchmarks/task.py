"""What an experiment is given, what it returns, and how errors are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from attacks import fgsm, pgd
from benchmarks.mnist import Digits
from minigrad import backend

EPSILON = 0.25  # the paper's, on pixels in [0, 1]
PIXELS = (0.0, 1.0)
BATCH = 100


@dataclass(frozen=True)
class Row:
    """A figure of the paper: error and confidence in percent, None where the paper has none."""

    key: str
    section: str
    what: str
    error: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Measurement:
    """Error over `examples`, and the mean confidence on the mistakes (None without one), in percent.

    For an attack these are unclipped, as in the paper; `clipped` has the same with the adversarial
    images clipped to valid pixels.
    """

    error: float
    confidence: float | None
    examples: int
    clipped: Measurement | None = None


@dataclass(frozen=True)
class Task:
    """One experiment with one seed."""

    train: Digits
    test: Digits
    scale: str  # "quick" or "paper"
    seed: int
    epochs: int | None  # instead of the experiment's own number, where given
    progress: Callable[[int, int, str], None]  # (steps done, steps in all, what is being done)
    history: list[dict[str, float]] = field(default_factory=list)  # a record an epoch

    def epochs_or(self, own: int) -> int:
        return own if self.epochs is None else self.epochs


def measure(model: Any, x: Any, y: Any, batch: int = 1000) -> Measurement:
    """Error of the model's predictions for x against the labels y."""
    mistakes, confidence = 0, 0.0
    for start in range(0, len(y), batch):
        part = slice(start, start + batch)
        probabilities = backend.to_numpy(model.predict_proba(x[part]))
        if probabilities.ndim == 1:  # a model of two classes gives P(y = 1)
            probabilities = np.stack([1.0 - probabilities, probabilities], axis=1)
        sure = probabilities.max(axis=1)
        wrong = backend.to_numpy(model.predict(x[part])) != backend.to_numpy(y[part])
        mistakes += int(wrong.sum())
        confidence += float(sure[wrong].sum())
    return Measurement(
        error=100.0 * mistakes / len(y),
        confidence=100.0 * confidence / mistakes if mistakes else None,
        examples=len(y),
    )


def measure_fgsm(model: Any, digits: Digits, clip_too: bool = True) -> Measurement:
    """Error under FGSM with ε = .25, made on the model itself from the true labels."""
    return _measure_attack(model, digits, fgsm, clip_too)


def measure_pgd(model: Any, digits: Digits, clip_too: bool = True) -> Measurement:
    """Error under ten steps of PGD from a random start within the same ε = .25."""
    return _measure_attack(model, digits, partial(pgd, step=EPSILON / 4, steps=10), clip_too)


def _measure_attack(model: Any, digits: Digits, attack: Callable[..., Any], clip_too: bool) -> Measurement:
    def attacked(bounds: tuple[float, float] | None) -> Measurement:
        parts = [digits[start : start + 1000] for start in range(0, len(digits), 1000)]
        x = [attack(model, part.x, part.y, epsilon=EPSILON, bounds=bounds) for part in parts]
        return measure(model, backend.of(digits.x).xp.concatenate(x), digits.y)

    return replace(attacked(None), clipped=attacked(PIXELS) if clip_too else None)
