"""A linear model fails as a deep one does: FGSM against softmax regression (section 4)."""

from __future__ import annotations

from benchmarks.task import Measurement, Row, Task, measure_fgsm
from benchmarks.training import train
from minigrad.optim import SGD
from models import SoftmaxRegression

ROWS = (Row("softmax.fgsm", "4", "softmax regression, FGSM ε=.25", 99.9, 79.3),)

CHOICES = (
    "The paper does not say how it was trained. Its 79.3% confidence needs small weights, so it is "
    "stopped early here: learning rate .02, momentum .5, 2 epochs."
)


def run(task: Task) -> dict[str, Measurement]:
    model = SoftmaxRegression(task.train.x.shape[1], 10, seed=task.seed)
    optimiser = SGD(model.parameters(), lr=0.02, momentum=0.5)
    train(task, model, task.train, optimiser, task.epochs_or(2), "softmax regression")
    return {"softmax.fgsm": measure_fgsm(model, task.test)}
