"""Beyond the paper: the same objective with examples of several steps resists several steps, and how
each network fares under every attack."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from attacks import (
    adversarial_objective,
    basic_iterative,
    fast_gradient,
    fgsm,
    fgsm_random_start,
    momentum_iterative,
    pgd,
)
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.task import EPSILON, PIXELS, Measurement, Row, Task, measure, measure_attack, measure_pgd

EPOCHS = 4
STEPS = 5
EXAMPLES = 1000

ROWS = (
    Row("pgd.clean", "–", "maxout trained on J̃ with 5 steps of PGD, clean"),
    Row("pgd.fgsm", "–", "the same, FGSM ε=.25"),
    Row("pgd.pgd", "–", "the same under 10 steps of PGD, ε=.25",
        claim="not the paper's: training on several steps helps against several",
        holds=lambda f: f["pgd.pgd"].error < f["adversarial.pgd"].error),
)  # fmt: skip

CHOICES = (
    f"{RECIPE} But {EPOCHS} epochs at the quick scale. α = .5, ε = .25, unclipped; {STEPS} steps of .1 "
    "from a random start. Lengths in other norms are those at which plain maxout just fails: 2 in L2, "
    f"20 in L1 for one pixel. The attacks are tried on {EXAMPLES} test digits."
)


def objective(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
    attack = partial(pgd, epsilon=EPSILON, step=0.1, steps=STEPS, seed=generator)
    return adversarial_objective(model, x, y, alpha=0.5, attack=attack)


MODELS = {"pgd": maxout("maxout on the objective with PGD", objective, epochs=EPOCHS, effort=6)}
USES = ("maxout", "adversarial", "pgd")

ATTACKS = {
    "FGSM": partial(fgsm, epsilon=EPSILON),
    "FGSM, clipped": partial(fgsm, epsilon=EPSILON, bounds=PIXELS),
    "one step from a random start": partial(fgsm_random_start, epsilon=EPSILON),
    "basic iterative, 10 steps": partial(basic_iterative, epsilon=EPSILON, step=0.05, steps=10),
    "momentum iterative, 10 steps": partial(momentum_iterative, epsilon=EPSILON, step=0.05, steps=10),
    "PGD, 20 steps, 2 starts": partial(pgd, epsilon=EPSILON, step=0.03, steps=20, restarts=2),
    "PGD, clipped": partial(pgd, epsilon=EPSILON, step=0.03, steps=20, bounds=PIXELS),
    "fast gradient, L2 of 2": partial(fast_gradient, epsilon=2.0, norm=2),
    "PGD, L2 of 2": partial(pgd, epsilon=2.0, step=0.25, steps=20, norm=2),
    "fast gradient, L1 of 20": partial(fast_gradient, epsilon=20.0, norm=1),
}


def run(task: Task) -> dict[str, Measurement]:
    model, some = task.model("pgd"), task.test[:EXAMPLES]
    task.data["attacks"] = {
        "models": list(USES),
        "attacks": list(ATTACKS),
        "examples": len(some),
        "errors": [
            [measure_attack(task.model(name), some, attack, clip_too=False).error for name in USES]
            for attack in ATTACKS.values()
        ],
    }
    return {
        "pgd.clean": measure(model, task.test.x, task.test.y),
        "pgd.fgsm": task.fgsm("pgd"),
        "pgd.pgd": measure_pgd(model, some),
    }
