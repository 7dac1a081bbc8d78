"""A network trained to refuse noise refuses noise, and is fooled by one step from it (appendix A)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.experiments.rubbish_classified import false_positives, fooled, mean_of_classes, rubbish
from benchmarks.task import Measurement, Row, Task, measure
from minigrad import backend

EPOCHS = 4

ROWS = (
    Row("refusing.gaussian", "A", "maxout trained to refuse N(0, I): false positives on it", 0.0,
        spread=(0.0, 1.0),
        claim="it learns to refuse the noise it is trained on",
        holds=lambda f: f["refusing.gaussian"].error < 1),
    Row("refusing.fooling", "A", "the same after one step ε=.25 toward a class, mean of ten",
        claim="it is fooled by one fast step on it all the same",
        holds=lambda f: f["refusing.fooling"].error > 10,
        remark="Tried: ε up to 2 toward the likeliest class fools it in 13%."),
    Row("refusing.clean", "A", "the same, clean digits"),
    Row("refusing.fgsm", "A", "the same, FGSM ε=.25"),
)  # fmt: skip

CHOICES = (
    f"{RECIPE} But {EPOCHS} epochs at the quick scale. Beside each batch stands one of N(0, I), whose "
    "cost is the cross-entropy of the uniform distribution; both count the same. The paper does not say."
)


def refusing(model: Any, x: Any, y: Any, generator: np.random.Generator) -> mg.Tensor:
    """J on the digits + cross-entropy between the uniform distribution and the outputs on noise."""
    noise = backend.of(x).asarray(generator.standard_normal(x.shape, dtype=np.float32))
    z = model(noise)
    return model.cost(x, y) + mg.mean(mg.logsumexp(z, axis=-1) - mg.mean(z, axis=-1))


MODELS = {"refusing": maxout("maxout trained to refuse noise", refusing, epochs=EPOCHS, effort=2)}
USES = ("refusing",)


def run(task: Task) -> dict[str, Measurement]:
    model, noise = task.model("refusing"), rubbish(task)
    return {
        "refusing.gaussian": false_positives(model, noise),
        "refusing.fooling": mean_of_classes(fooled(model, noise[:1000])),
        "refusing.clean": measure(model, task.test.x, task.test.y),
        "refusing.fgsm": task.fgsm("refusing"),
    }
