"""Noise that looks like nothing is classified with confidence, but not by an RBF network (appendix A)."""

from __future__ import annotations

from typing import Any

import numpy as np

from attacks import fgsm
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.task import EPSILON, Measurement, Row, Task, measure, probabilities, share
from minigrad import backend
from minigrad.generators import random_generator

DRAWS = 10_000

ROWS = (
    Row("rubbish.maxout", "A", "maxout, softmax outputs, on N(0, I): false positives", 98.35, 92.8,
        claim="nearly all noise is classified, and confidently",
        holds=lambda f: f["rubbish.maxout"].error > 80),
    Row("rubbish.sigmoid", "A", "maxout, sigmoid outputs, on N(0, I)", 68.0, 87.9, spread=(6.5, 68.0),
        claim="independent outputs accept less",
        holds=lambda f: f["rubbish.sigmoid"].error < f["rubbish.maxout"].error,
        remark="It grows with training: 71% after one epoch."),
    Row("rubbish.softmax", "A", "softmax regression on N(0, I)", 59.8, 70.8, spread=(59.8, 98.0),
        claim="softmax regression accepts less than maxout",
        holds=lambda f: f["rubbish.softmax"].error < f["rubbish.maxout"].error),
    Row("rubbish.rbf", "A", "RBF network on N(0, I)", 0.0, spread=(0.0, 0.0),
        claim="the RBF network accepts none",
        holds=lambda f: f["rubbish.rbf"].error == 0),
    Row("rubbish.fives", "A", "maxout's false positives that are fives", 45.3),
    Row("rubbish.most", "A", "maxout's false positives of the most frequent class", 45.3,
        claim="the classes of the noise are far from even",
        holds=lambda f: f["rubbish.most"].error > 20),
    Row("rubbish.eights", "A", "maxout's false positives that are eights", 0.0),
    Row("rubbish.fooling", "A", "maxout: noise becomes a chosen class by one step ε=.25, mean of ten",
        claim="one fast step makes noise a chosen class, far more often than chance (10%)",
        holds=lambda f: f["rubbish.fooling"].error > 20),
    Row("rubbish.sigmoid_clean", "A", "maxout, sigmoid outputs, clean"),
)  # fmt: skip

CHOICES = (
    f"{RECIPE} False positive: some class has p > .5. {DRAWS} draws of N(0, I), pixels unclipped, the "
    "same for every model. The fooling step descends the cost of the chosen class, and counts the "
    "draws that get p > .5 for it and did not have it; the paper's figures for it (75.3 in the mean) are "
    "on CIFAR-10."
)

MODELS = {"sigmoid": maxout("maxout with sigmoid outputs", outputs="sigmoid")}
USES = ("maxout", "sigmoid", "softmax", "rbf")


def run(task: Task) -> dict[str, Measurement]:
    noise = rubbish(task)
    found = {}
    for name in USES:
        p = probabilities(task.model(name), noise)
        found[f"rubbish.{name}"] = share(p.max(1) > 0.5, p.max(1))
        if name == "maxout":
            classes = np.bincount(p.argmax(1)[p.max(1) > 0.5], minlength=10)
            task.data["rubbish_classes"] = classes.tolist()
            total = int(classes.sum())
            for key, count in (("fives", classes[5]), ("most", classes.max()), ("eights", classes[8])):
                found[f"rubbish.{key}"] = Measurement(100.0 * count / max(total, 1), None, total)
    found["rubbish.fooling"] = mean_of_classes(fooled(task.model("maxout"), noise[:1000]))
    task.fgsm("sigmoid")  # for the curve over ε
    found["rubbish.sigmoid_clean"] = measure(task.model("sigmoid"), task.test.x, task.test.y)
    return found


def rubbish(task: Task) -> Any:
    """Draws of N(0, I), of the test examples' size; the same for a seed, whatever the model."""
    generator = random_generator(np.random.SeedSequence((task.seed, 2014)))
    x = task.test.x
    return backend.of(x).asarray(generator.standard_normal((DRAWS, x.shape[1]), dtype=np.float32))


def false_positives(model: Any, noise: Any) -> Measurement:
    """How often some class has p > .5, and its mean p there."""
    p = probabilities(model, noise).max(1)
    return share(p > 0.5, p)


def fooled(model: Any, noise: Any, *, epsilon: float = EPSILON) -> list[Measurement]:
    """How often one step of FGSM toward each class gives it p > .5, among the draws that did not have it
    before."""
    before, found = probabilities(model, noise), []
    for target in range(10):
        x = fgsm(model, noise, np.full(len(noise), target), epsilon=epsilon, targeted=True)
        p = probabilities(model, x)[before[:, target] <= 0.5, target]
        found.append(share(p > 0.5, p))
    return found


def mean_of_classes(found: list[Measurement]) -> Measurement:
    """The mean of the shares, over the classes that had draws to count, and all of their draws."""
    counted = [each for each in found if each.examples]
    return Measurement(
        error=float(np.mean([each.error for each in counted])) if counted else 0.0,
        confidence=None,
        examples=sum(each.examples for each in counted),
    )
