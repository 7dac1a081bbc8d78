"""Training on the adversarial objective makes the same network resist FGSM (section 6)."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from attacks import adversarial_objective
from benchmarks.experiments.maxout_recipe import CHOICES as MAXOUT_CHOICES
from benchmarks.experiments.maxout_recipe import trained_maxout
from benchmarks.task import EPSILON, Measurement, Row, Task, measure, measure_fgsm, measure_pgd

ROWS = (
    Row("adversarial.clean", "6", "maxout trained on J̃, clean", 0.84),
    Row("adversarial.fgsm", "6", "maxout trained on J̃, its own FGSM ε=.25", 17.9, 81.4),
    Row("adversarial.pgd", "–", "the same under 10 steps of PGD, ε=.25"),
)

CHOICES = (
    f"{MAXOUT_CHOICES} Objective with α = .5, ε = .25; examples are made by the network as it trains, with "
    "dropout on where it has dropout, and are not clipped. PGD is not in the paper; it is "
    "measured because a network trained on one-step examples may withstand those alone."
)


PGD_EXAMPLES = 1000  # each costs twenty forward and backward passes


def objective(model: Any, x: Any, y: Any) -> mg.Tensor:
    """J̃ with the paper's α and ε."""
    return adversarial_objective(model, x, y, alpha=0.5, epsilon=EPSILON)


def run(task: Task) -> dict[str, Measurement]:
    model = trained_maxout(task, "maxout, adversarial objective", objective)
    return {
        "adversarial.clean": measure(model, task.test.x, task.test.y),
        "adversarial.fgsm": measure_fgsm(model, task.test),
        "adversarial.pgd": measure_pgd(model, task.test[:PGD_EXAMPLES]),
    }
