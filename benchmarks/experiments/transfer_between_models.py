"""Adversarial examples made on one model fool another, and less so where it was trained to resist
(sections 6 and 8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attacks import fgsm
from benchmarks.mnist import Digits
from benchmarks.task import (
    EPSILON,
    PIXELS,
    Measurement,
    Row,
    Task,
    fgsm_from_rounded_gradient,
    measure,
)

ROWS = (
    Row("transfer.to_trained", "6", "made on plain maxout, tried on the adversarially trained", 19.6,
        spread=(19.6, 42.0),
        claim="the trained network resists examples from the plain one too",
        holds=lambda f: f["transfer.to_trained"].error < f["transfer.to_plain"].error,
        remark="“The original model” may be the 240 or the 1600 network; here both have 240 units."),
    Row("transfer.to_plain", "6", "made on the adversarially trained maxout, tried on plain", 40.9,
        spread=(40.9, 72.0),
        claim="examples from the trained network fool the plain one less often than its own",
        holds=lambda f: f["transfer.to_plain"].error < f["maxout.fgsm"].error),
)  # fmt: skip

CHOICES = "FGSM with ε = .25 from the true labels, over all test digits; also between all other pairs."

MODELS: dict[str, Any] = {}
USES = ("softmax", "maxout", "adversarial")


def run(task: Task) -> dict[str, Measurement]:
    plain, trained = task.model("maxout"), task.model("adversarial")
    task.data["transfer"] = matrix(task, USES)
    return {
        "transfer.to_trained": transferred(plain, trained, task.test),
        "transfer.to_plain": transferred(trained, plain, task.test),
    }


def transferred(source: Any, target: Any, digits: Digits) -> Measurement:
    def tried(x: Any) -> Measurement:
        return measure(target, x, digits.y)

    return replace(
        tried(examples_of(source, digits)),
        clipped=tried(examples_of(source, digits, PIXELS)),
        rounded=tried(fgsm_from_rounded_gradient(source, digits.x, digits.y, epsilon=EPSILON)),
    )


def examples_of(source: Any, digits: Digits, bounds: tuple[float, float] | None = None) -> Any:
    return fgsm(source, digits.x, digits.y, epsilon=EPSILON, bounds=bounds)


def matrix(task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    """Error in percent of each model (columns) on the examples made on each (rows), and on clean digits."""
    models, digits = [task.model(name) for name in names], task.test

    def errors(x: Any) -> list[float]:
        return [measure(model, x, digits.y).error for model in models]

    return {
        "models": list(names),
        "clean": errors(digits.x),
        "errors": [errors(examples_of(model, digits)) for model in models],
        "examples": len(digits),
    }
