"""What the network makes of a photo, of steps along several signs, and of the steps alone."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from attacks import basic_iterative, fgsm, input_gradient
from benchmarks.photos import LEVEL, Photo, most_probable
from benchmarks.task import PIXELS, rounded_gradient

DRAWS = 4  # of random signs
Named = list[tuple[str, float]]  # the most probable classes and their probabilities in percent


@dataclass(frozen=True)
class Strength:
    """A size of step, and how it was typed."""

    typed: str
    value: float

    def __str__(self) -> str:
        levels = round(self.value / LEVEL, 1)
        return f"{self.typed} ({levels:g} grey level{'' if levels == 1.0 else 's'})"


def strength(text: str) -> Strength:
    """Of what was typed, such as 1/255 or .007; the parser's error if it is no number in (0, 1]."""
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number in (0, 1], such as 1/255 or .007, got {text!r}")
    return Strength(text.strip(), value)


@dataclass(frozen=True)
class Step:
    """One size of step: what the network says of the photo after it, of variants, and of the step alone.

    rounded_to_8_bits  the photo after the step, in whole grey levels from 0 to 255
    softmax_minus_1    after a step along the gradient that is made with softmax − 1, which rounds in float32
    on_black           ε · sign alone; its negative half is no valid image
    random_draws       of random signs of the same size; random_changes of them change the class, and the
                       photo's own class keeps random_least percent or more
    """

    epsilon: Strength
    after: Named
    rounded_to_8_bits: Named
    softmax_minus_1: Named
    on_black: Named
    random_draws: int
    random_changes: int
    random_least: float


@dataclass(frozen=True)
class Study:
    """Of one photo.

    one_step, several_steps  towards the target class, within the first ε; several are kept in [0, 1]
    wrong_signs              percent of the signs of the gradient that differ from those in float64: with this
                             engine's cost ("ours"), and with softmax − 1
    """

    name: str
    preparation: str
    clean: Named
    steps: list[Step]
    one_step: Named
    several_steps: Named
    wrong_signs: dict[str, float]


def study_photo(
    photo: Photo, model: Any, exact: Any, epsilons: list[Strength], target: int, steps: int, seed: int = 0
) -> tuple[Study, np.ndarray]:
    """What the network makes of a photo and of every step; and the signs of the gradient.

    exact  the same network in float64
    steps  so many within the first of `epsilons`, towards the class `target`
    seed   of the random signs
    """
    x, random = photo.x, np.random.default_rng(seed)
    clean = model.predict_proba(x)[0]
    own, goal = np.array([clean.argmax()]), np.array([target])
    sign, rounded = signs(model, x, own)
    true = np.sign(input_gradient(exact, x.astype(np.float64), own))
    found = [take_step(model, x, own, sign, rounded, epsilon, random) for epsilon in epsilons]
    first = epsilons[0].value
    towards = {"epsilon": first, "targeted": True, "warn_above": 1.0}
    reached = [
        fgsm(model, x, goal, **towards),
        basic_iterative(model, x, goal, steps=steps, bounds=PIXELS, **towards),
    ]
    p = model.predict_proba(np.concatenate(reached))
    wrong = {"ours": percent_wrong(sign, true), "softmax_minus_1": percent_wrong(rounded, true)}
    one, several = map(most_probable, p)
    return Study(photo.name, photo.preparation, most_probable(clean), found, one, several, wrong), sign[0]


def signs(model: Any, x: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The signs of the input gradient for the labels `own`: of this engine's cost, and with softmax − 1."""
    return np.sign(input_gradient(model, x, own)), np.sign(rounded_gradient(model, x, own))


def take_step(
    model: Any, x: Any, own: Any, sign: Any, rounded: Any, epsilon: Strength, random: np.random.Generator
) -> Step:
    """What the network says of the photo x, of class `own`, after a step along each of the signs."""
    e = np.float32(epsilon.value)
    noise = random.choice(np.float32([-1, 1]), (DRAWS, *x.shape[1:]))
    after = x + e * sign
    images = [after, np.rint(after.clip(0, 1) / LEVEL) * LEVEL, x + e * rounded, e * sign, x + e * noise]
    p = model.predict_proba(np.concatenate(images).astype(np.float32))
    changes, least = int((p[4:].argmax(1) != own).sum()), 100.0 * float(p[4:, own].min())
    return Step(epsilon, *map(most_probable, p[:4]), DRAWS, changes, least)


def percent_wrong(signs: np.ndarray, true: np.ndarray) -> float:
    """The percent of the true signs, but for those that are 0, that `signs` has wrong."""
    counted = true != 0
    return 100.0 * float((signs != true)[counted].mean()) if counted.any() else 0.0
