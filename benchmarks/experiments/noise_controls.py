"""Noise as large as the adversary's step is no substitute for it (section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.task import EPSILON, Measurement, Row, Task, measure
from minigrad import backend

ROWS = (
    Row("noise.sign_fgsm", "6", "maxout trained with ±.25 random-sign noise, FGSM", 86.2, 97.3,
        spread=(86.2, 90.4),
        claim="random signs do not protect",
        holds=lambda f: f["noise.sign_fgsm"].error > 4 * f["adversarial.fgsm"].error,
        remark="Above the spread, as for plain maxout; about at it where the gradient rounds."),
    Row("noise.uniform_fgsm", "6", "maxout trained with U(−.25, .25) noise, FGSM", 90.4, 97.8,
        spread=(86.9, 90.4),
        claim="uniform noise does not protect",
        holds=lambda f: f["noise.uniform_fgsm"].error > 4 * f["adversarial.fgsm"].error,
        remark="As for plain maxout, the paper's figure comes out where the gradient rounds."),
    Row("noise.sign_clean", "6", "maxout trained with random-sign noise, clean"),
    Row("noise.uniform_clean", "6", "maxout trained with uniform noise, clean"),
)  # fmt: skip

CHOICES = f"{RECIPE} Every training image has noise, drawn anew at each step; none is shown clean."


def noisy(draw: Any) -> Any:
    def cost(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
        return model.cost(x + backend.of(x).asarray(draw(generator, x.shape)), y)

    return cost


def random_signs(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return EPSILON * (2 * generator.integers(0, 2, shape, dtype=np.int8) - 1).astype(np.float32)


def uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return EPSILON * (2 * generator.random(shape, dtype=np.float32) - 1)


MODELS = {
    "noise_sign": maxout("maxout with random-sign noise", noisy(random_signs)),
    "noise_uniform": maxout("maxout with uniform noise", noisy(uniform)),
}
USES = tuple(MODELS)


def run(task: Task) -> dict[str, Measurement]:
    test = task.test
    return {
        "noise.sign_fgsm": task.fgsm("noise_sign"),
        "noise.uniform_fgsm": task.fgsm("noise_uniform"),
        "noise.sign_clean": measure(task.model("noise_sign"), test.x, test.y),
        "noise.uniform_clean": measure(task.model("noise_uniform"), test.x, test.y),
    }
