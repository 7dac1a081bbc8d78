"""A deep network that errs on one digit in a hundred errs on nine in ten after one step (section 4)."""

from __future__ import annotations

from benchmarks.experiments.maxout_recipe import CHOICES as CHOICES
from benchmarks.experiments.maxout_recipe import trained_maxout
from benchmarks.task import Measurement, Row, Task, measure, measure_fgsm

ROWS = (
    Row("maxout.clean", "6", "maxout, clean", 0.94),
    Row("maxout.fgsm", "4", "maxout, FGSM ε=.25", 89.4, 97.6),
)


def run(task: Task) -> dict[str, Measurement]:
    model = trained_maxout(task, "maxout")
    return {
        "maxout.clean": measure(model, task.test.x, task.test.y),
        "maxout.fgsm": measure_fgsm(model, task.test),
    }
