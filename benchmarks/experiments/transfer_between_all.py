"""Which models share their adversarial examples: every model's tried on every other (section 8)."""

from __future__ import annotations

from typing import Any

from benchmarks.experiments.transfer_between_models import matrix
from benchmarks.task import Measurement, Row, Task

ROWS = (
    Row("matrix.own", "8", "FGSM ε=.25, mean over the models: made on the model itself"),
    Row("matrix.others", "8", "the same: made on another model",
        claim="examples carry over between models: they err far more often than on clean digits",
        holds=lambda f: f["matrix.others"].error > 20),
)  # fmt: skip

CHOICES = "Unclipped, all test digits; the whole table is in the figure."

MODELS: dict[str, Any] = {}
USES = (
    "softmax", "maxout", "sigmoid", "adversarial", "noise_sign", "noise_uniform", "rotation", "scaling",
    "hidden_first", "hidden_last", "refusing", "pgd", "rbf",
)  # fmt: skip


def run(task: Task) -> dict[str, Measurement]:
    task.data["transfer_all"] = table = matrix(task, USES)
    own = [row[i] for i, row in enumerate(table["errors"])]
    others = [e for i, row in enumerate(table["errors"]) for j, e in enumerate(row) if i != j]
    return {
        "matrix.own": Measurement(sum(own) / len(own), None, table["examples"]),
        "matrix.others": Measurement(sum(others) / len(others), None, table["examples"]),
    }
