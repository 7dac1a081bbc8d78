"""Threes against sevens: logistic regression, where FGSM is exact (section 5, figure 2)."""

from __future__ import annotations

from benchmarks.task import Measurement, Row, Task, measure, measure_fgsm
from benchmarks.training import train
from minigrad.optim import SGD
from models import LogisticRegression

ROWS = (
    Row("logistic.clean", "5", "logistic regression, 3 against 7, clean", 1.6),
    Row("logistic.fgsm", "5", "logistic regression, FGSM ε=.25", 99.0),
)

CHOICES = "Plain cost, learning rate .1, momentum .5, 20 epochs; the paper does not say."


def run(task: Task) -> dict[str, Measurement]:
    digits, unseen = task.train.sevens_against_threes(), task.test.sevens_against_threes()
    model = LogisticRegression(digits.x.shape[1], seed=task.seed)
    optimiser = SGD(model.parameters(), lr=0.1, momentum=0.5)
    train(task, model, digits, optimiser, task.epochs_or(20), "logistic regression")
    return {
        "logistic.clean": measure(model, unseen.x, unseen.y),
        "logistic.fgsm": measure_fgsm(model, unseen),
    }
