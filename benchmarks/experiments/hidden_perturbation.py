"""The input is the place to perturb: hidden units outgrow the step, and at the last hidden layer it
hinders (section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from attacks import input_gradient
from attacks.fast_gradient import step_along
from attacks.norms import INFINITY
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import LARGE_START, maxout
from benchmarks.recipe import Cost
from benchmarks.task import EPSILON, Measurement, Row, Task, measure, measure_pgd
from models import MaxoutNetwork

ROWS = (
    Row("hidden.first_growth", "6", "perturbed at hidden layer 1: its mean |h|, % of that without",
        claim="unbounded units grow, so that the step is smaller beside them",
        holds=lambda f: f["hidden.first_growth"].error > 110),
    Row("hidden.last_growth", "6", "perturbed at hidden layer 2: its mean |h|, % of that without",
        claim="unbounded units grow, so that the step is smaller beside them",
        holds=lambda f: f["hidden.last_growth"].error > 110,
        remark="The last layer's values shrink here, though the network learns as well as without."),
    Row("hidden.first_clean", "6", "perturbed at hidden layer 1, clean",
        claim="no better than perturbing the input",
        holds=lambda f: f["adversarial.clean"].error < f["hidden.first_clean"].error < 20),
    Row("hidden.last_clean", "6", "perturbed at hidden layer 2, the last, clean",
        claim="no better than perturbing the input",
        holds=lambda f: f["adversarial.clean"].error < f["hidden.last_clean"].error < 20),
    Row("hidden.first_fgsm", "6", "perturbed at hidden layer 1, FGSM ε=.25"),
    Row("hidden.last_fgsm", "6", "perturbed at hidden layer 2, FGSM ε=.25",
        claim="perturbing the last hidden layer does not protect the input",
        holds=lambda f: f["hidden.last_clean"].error < 20
        and f["hidden.last_fgsm"].error > 4 * f["adversarial.fgsm"].error),
    Row("hidden.first_pgd", "–", "perturbed at hidden layer 1, 10 steps of PGD, ε=.25"),
    Row("hidden.last_pgd", "–", "perturbed at hidden layer 2, 10 steps of PGD, ε=.25"),
)  # fmt: skip

CHOICES = (
    f"{RECIPE} α = .5, and ε = .25 at the hidden layer too; the "
    "values there are not bounded. Initial weights ten times as large as published: with those the last "
    "layer's values, about .005, are lost under the step, and the network learns nothing at all. The "
    "paper gives no figures."
)


class Above:
    """What stands above a hidden layer of a network, as a model whose input is that layer's values."""

    def __init__(self, model: MaxoutNetwork, layer: int) -> None:
        self.model, self.layer = model, layer

    def cost(self, values: mg.Tensor, y: Any, reduction: str = "mean") -> mg.Tensor:
        return mg.softmax_cross_entropy(self.model.logits_above(self.layer, values), y, reduction)


def perturbed_at(layer: int) -> Cost:
    """½ J + ½ J with ε sign(∇ₕJ) added to the values h of a hidden layer."""

    def cost(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
        above, h = Above(model, layer), hidden_values(model, x, layer)
        step = step_along(h.data, input_gradient(above, h, y), EPSILON, INFINITY) - h.data
        return 0.5 * above.cost(h, y) + 0.5 * above.cost(h + step, y)

    return cost


def hidden_values(model: MaxoutNetwork, x: Any, layer: int) -> mg.Tensor:
    h = mg.Tensor(x)
    for number in range(1, layer + 1):
        h = model.hidden_values(number, h)
    return h


MODELS = {
    f"hidden_{place}": maxout(
        f"maxout perturbed at hidden layer {layer}",
        perturbed_at(layer),
        effort=1.5,
        initial_scale=LARGE_START,
    )
    for place, layer in (("first", 1), ("last", 2))
}
MODELS["maxout_large_start"] = maxout("maxout from larger initial weights", initial_scale=LARGE_START)
USES = tuple(MODELS)


def growth(task: Task, name: str, layer: int) -> Measurement:
    x = task.test.x
    with mg.no_grad():
        own, plain = (
            mg.mean(mg.abs(hidden_values(model, x, layer))).item()
            for model in (task.model(name), task.model("maxout_large_start"))
        )
    return Measurement(100.0 * own / plain, None, len(x))


def run(task: Task) -> dict[str, Measurement]:
    found = {}
    for place, layer in (("first", 1), ("last", 2)):
        name = f"hidden_{place}"
        found[f"hidden.{place}_growth"] = growth(task, name, layer)
        found[f"hidden.{place}_clean"] = measure(task.model(name), task.test.x, task.test.y)
        found[f"hidden.{place}_fgsm"] = task.fgsm(name)
        found[f"hidden.{place}_pgd"] = measure_pgd(task.model(name), task.test[:1000])
    return found
