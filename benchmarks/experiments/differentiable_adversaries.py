"""Adversaries that the gradient can look through, a rotation towards the input gradient and a step along
the scaled gradient, fool a network too, but training on them helps less (sections 4 and 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import minigrad as mg
from attacks.evaluation import Mistakes
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.recipe import Cost
from benchmarks.task import PIXELS, Measurement, Row, Task, batches, in_percent, measure, measure_pgd

ANGLE = 0.2  # radians
LENGTH = 2.0  # of η, in pixels: about that of the rotation, for digits have norms of about 9

ROWS = (
    Row("differentiable.rotated", "4", "plain maxout, x rotated by .2 rad toward its gradient",
        claim="rotating x by a small angle toward the gradient reliably fools (half the digits or more)",
        holds=lambda f: f["differentiable.rotated"].error > 50),
    Row("differentiable.scaled", "6", "plain maxout, x moved by 2 along its gradient"),
    Row("differentiable.rotation_clean", "6", "maxout trained against rotation, clean",
        claim="less of a regulariser than J̃",
        holds=lambda f: f["differentiable.rotation_clean"].error > f["adversarial.clean"].error),
    Row("differentiable.scaling_clean", "6", "maxout trained against the scaled gradient, clean",
        claim="less of a regulariser than J̃",
        holds=lambda f: f["differentiable.scaling_clean"].error > f["adversarial.clean"].error),
    Row("differentiable.rotation_fgsm", "6", "maxout trained against rotation, FGSM ε=.25"),
    Row("differentiable.scaling_fgsm", "6", "maxout trained against the scaled gradient, FGSM ε=.25"),
    Row("differentiable.rotation_pgd", "–", "maxout trained against rotation, 10 steps of PGD, ε=.25"),
    Row("differentiable.scaling_pgd", "–", "maxout trained against the scaled gradient, 10 steps of PGD"),
)  # fmt: skip

CHOICES = (
    f"{RECIPE} α = .5; rotation by .2 rad in the plane of x and "
    "∇ₓJ, at constant norm; the scaled gradient has Euclidean length 2. The gradient of the objective "
    "flows through ∇ₓJ as well: the network learns how the adversary will react."
)

Adversary = Callable[[mg.Tensor, mg.Tensor], mg.Tensor]


def rotated(x: mg.Tensor, gradient: mg.Tensor) -> mg.Tensor:
    """‖x‖ (u cos θ + v sin θ): u along x, v along what of the gradient is normal to it."""
    u = unit(x)
    v = unit(gradient - u * mg.sum(gradient * u, axis=1, keepdims=True))
    return mg.sqrt(mg.sum(x * x, axis=1, keepdims=True)) * (u * np.cos(ANGLE) + v * np.sin(ANGLE))


def moved(x: mg.Tensor, gradient: mg.Tensor) -> mg.Tensor:
    return x + LENGTH * unit(gradient)


def unit(rows: mg.Tensor) -> mg.Tensor:
    """Each row at length 1. It is scaled by its greatest element first, a constant: the squares of a
    small gradient would be 0."""
    scaled = rows / (mg.max(mg.abs(rows), axis=1, keepdims=True).detach() + 1e-30)
    return scaled / mg.sqrt(mg.sum(scaled * scaled, axis=1, keepdims=True) + 1e-12)


def against(adversary: Adversary) -> Cost:
    """½ J(x) + ½ J(adversary(x, ∇ₓJ)), differentiable in all of it."""

    def cost(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
        leaf = mg.Tensor(x, requires_grad=True)
        clean = model.cost(leaf, y)
        (gradient,) = mg.grad(clean, leaf, create_graph=True)
        return 0.5 * clean + 0.5 * model.cost(adversary(leaf, gradient), y)

    return cost


MODELS = {
    "rotation": maxout("maxout against rotation", against(rotated), effort=3.5),
    "scaling": maxout("maxout against the scaled gradient", against(moved), effort=3.5),
}
USES = ("maxout", *MODELS)


def under(adversary: Adversary, model: Any, task: Task) -> Measurement:
    """Error on what the adversary makes, unclipped and clipped to valid pixels."""
    found, clipped = Mistakes(), Mistakes()
    for part in batches(task.test):
        leaf = mg.Tensor(part.x, requires_grad=True)
        (gradient,) = mg.grad(model.cost(leaf, part.y, reduction="sum"), leaf)
        made = adversary(leaf.detach(), gradient).data
        found.add(model, made, part.y)
        clipped.add(model, made.clip(*PIXELS), part.y)
    return replace(in_percent(found), clipped=in_percent(clipped))


def run(task: Task) -> dict[str, Measurement]:
    plain, test = task.model("maxout"), task.test
    return {
        "differentiable.rotated": under(rotated, plain, task),
        "differentiable.scaled": under(moved, plain, task),
        "differentiable.rotation_clean": measure(task.model("rotation"), test.x, test.y),
        "differentiable.scaling_clean": measure(task.model("scaling"), test.x, test.y),
        "differentiable.rotation_fgsm": task.fgsm("rotation"),
        "differentiable.scaling_fgsm": task.fgsm("scaling"),
        "differentiable.rotation_pgd": measure_pgd(task.model("rotation"), test[:1000]),
        "differentiable.scaling_pgd": measure_pgd(task.model("scaling"), test[:1000]),
    }
