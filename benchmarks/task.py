"""What an experiment is given, what it returns, and how errors are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from pydantic import FiniteFloat, NonNegativeInt

import minigrad as mg
from attacks import fgsm, input_gradient, pgd
from attacks.evaluation import Mistakes
from attacks.fast_gradient import step_along
from attacks.foreign import Attack, predicted_labels
from attacks.gradients import zero_gradients_uncounted
from attacks.norms import INFINITY
from benchmarks.examples import Examples
from minigrad import backend

EPSILON = 0.25  # the paper's, on pixels in [0, 1]
PIXELS = (0.0, 1.0)
BATCH = 100
STRENGTHS = tuple(i / 20 for i in range(11))  # ε of the curves, 0 to .5


@dataclass(frozen=True)
class Measurement:
    """Error over `examples`, and the mean confidence on the mistakes (None without one), in percent.

    A row that counts something else than mistakes says so.

    For an attack these are unclipped, as in the paper. `clipped` has the same with the adversarial
    images clipped to valid pixels, and `rounded` with a gradient that rounds: see
    `fgsm_from_rounded_gradient`.
    """

    error: FiniteFloat
    confidence: FiniteFloat | None
    examples: NonNegativeInt
    clipped: Measurement | None = None
    rounded: Measurement | None = None


Figures = Mapping[str, Measurement]  # by row; KeyError if a row was not measured


@dataclass(frozen=True)
class Row:
    """A figure of the paper and what it claims with it.

    error, confidence  the paper's, in percent; None if it has none
    spread             the least and the greatest error that the paper and independent short runs have
    claim              what the paper says with the figure, and `holds` whether the measured ones do
    remark             why a figure may lie outside the spread, and what was tried
    """

    key: str
    section: str
    what: str
    error: float | None = None
    confidence: float | None = None
    spread: tuple[float, float] | None = None
    claim: str = ""
    holds: Callable[[Figures], bool] | None = None
    remark: str = ""

    def paper(self) -> str:
        """The paper's figures, as they are shown."""
        return " / ".join(f"{figure:g}" for figure in (self.error, self.confidence) if figure is not None)


@dataclass(frozen=True)
class Task:
    """One experiment with one seed.

    model(name)  the trained model of that name (see `benchmarks.experiments`) with this task's seed
    data         what the experiment keeps for the figures, beside its measurements: plain numbers
    """

    train: Any  # Digits, or the Examples of what DATA of the experiment names
    test: Any
    scale: str  # "quick" or "paper"
    seed: int
    model: Callable[[str], Any]
    data: dict[str, Any] = field(default_factory=dict)

    def fgsm(self, name: str, digits: Examples | None = None) -> Measurement:
        """Error of a model under FGSM with ε = .25, made on itself from the true labels; the errors
        at other ε are kept for the figure."""
        model, digits = self.model(name), self.test if digits is None else digits
        self.data.setdefault("error_against_epsilon", {})[name] = error_against_epsilon(model, digits)
        return measure_fgsm(model, digits)


def measure(model: Any, x: Any, y: Any, size: int = 1000) -> Measurement:
    """Error of the model's predictions for x against the labels y."""
    found = Mistakes()
    for part in batches(Examples(x, y), size):
        found.add(model, part.x, part.y)
    return in_percent(found)


def batches(examples: Examples, size: int = 1000) -> Iterator[Examples]:
    """The examples in their order, so many at a time."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def measure_fgsm(
    model: Any, examples: Examples, variants: bool = True, *, clip_too: bool = True, epsilon: float = EPSILON
) -> Measurement:
    """Error under FGSM, made on the model itself from the true labels.

    variants  also from a gradient that rounds, and clipped to valid pixels if `clip_too`
    """
    found = measure_attack(model, examples, partial(fgsm, epsilon=epsilon), variants and clip_too)
    if variants and getattr(model, "outputs", None) == "softmax" and model.n_classes > 2:
        rounded = partial(fgsm_from_rounded_gradient, epsilon=epsilon)
        found = replace(found, rounded=measure_attack(model, examples, rounded, clip_too=False))
    return found


def fgsm_from_rounded_gradient(
    model: Any, x: Any, y: Any, *, epsilon: float, bounds: tuple[float, float] | None = None
) -> Any:
    """FGSM from `rounded_gradient`."""
    return step_along(x, rounded_gradient(model, x, y), epsilon, INFINITY, bounds)


def rounded_gradient(model: Any, x: Any, y: Any) -> Any:
    """The input gradient from ∂J/∂z = softmax(z) − [label] as it comes out in x's own precision.

    In float32 that is 0 at the label of an example with a margin above about 17: the sure digits lose
    the greatest part of their gradient, and are then fooled less often. minigrad's own cost keeps it.
    """
    library = backend.of(x)
    with model.evaluating():
        leaf = mg.Tensor(x, requires_grad=True)
        z = model(leaf)
        p = mg.softmax(z.detach()).data
        is_label = library.asarray(y)[:, None] == library.xp.arange(p.shape[1])
        (gradient,) = mg.grad(z, leaf, gradient=p - is_label.astype(p.dtype))
    return gradient.data


def measure_pgd(
    model: Any, examples: Examples, clip_too: bool = True, steps: int = 10, *, epsilon: float = EPSILON
) -> Measurement:
    """Error under PGD from a random start within the same ε, its steps ε · 2.5/steps long."""
    attack = partial(pgd, epsilon=epsilon, step=2.5 * epsilon / steps, steps=steps)
    return measure_attack(model, examples, attack, clip_too)


def measure_attack(model: Any, examples: Examples, attack: Attack, clip_too: bool = True) -> Measurement:
    """Error under an attack as it is and, if asked, with its bounds set to those of valid pixels."""
    found = Mistakes()
    for part in batches(examples):
        with zero_gradients_uncounted():  # a network at chance may have no gradient; its error shows it
            adversarial = attack(model, part.x, part.y)
        found.add(model, adversarial, part.y)
    clipped = measure_attack(model, examples, partial(attack, bounds=PIXELS), False) if clip_too else None
    return replace(in_percent(found), clipped=clipped)


def error_against_epsilon(model: Any, examples: Examples) -> list[float]:
    """Error in percent under FGSM, unclipped, at each of STRENGTHS: one gradient serves them all."""
    mistakes = np.zeros(len(STRENGTHS), np.int64)
    for part in batches(examples):
        with zero_gradients_uncounted():
            sign = backend.of(part.x).xp.sign(input_gradient(model, part.x, part.y))
        labels = backend.to_numpy(part.y)
        for i, epsilon in enumerate(STRENGTHS):
            predicted = backend.to_numpy(predicted_labels(model, part.x + epsilon * sign))
            mistakes[i] += np.count_nonzero(predicted != labels)
    return (100.0 * mistakes / len(examples)).tolist()


def probabilities(model: Any, x: Any) -> np.ndarray:
    """predict_proba of many examples, on the host."""
    parts = [model.predict_proba(x[start : start + 1000]) for start in range(0, len(x), 1000)]
    return np.concatenate([backend.to_numpy(part) for part in parts])


def in_percent(found: Mistakes) -> Measurement:
    return Measurement(
        error=100.0 * found.mistakes / found.examples,
        confidence=None if found.confidence is None else 100.0 * found.confidence,
        examples=found.examples,
    )


def share(which: Any, probabilities: Any = None) -> Measurement:
    """The share of True, in percent, and the mean of `probabilities` there, both on the host."""
    which = np.asarray(which)
    there = None if probabilities is None or not which.any() else 100.0 * float(probabilities[which].mean())
    return Measurement(100.0 * float(which.mean()) if which.size else 0.0, there, which.size)
