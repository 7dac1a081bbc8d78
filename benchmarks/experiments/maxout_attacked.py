"""A deep network that errs on one digit in a hundred errs on nine in ten after one step (section 4)."""

from __future__ import annotations

from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.task import Measurement, Row, Task, measure, measure_pgd

ROWS = (
    Row("maxout.clean", "6", "maxout, clean", 0.94, spread=(0.94, 1.51),
        claim="the network errs on about one digit in a hundred",
        holds=lambda f: f["maxout.clean"].error < 2),
    Row("maxout.fgsm", "4", "maxout, FGSM ε=.25", 89.4, 97.6, spread=(87.4, 92.2),
        claim="the network errs on most adversarial examples, with high confidence",
        holds=lambda f: f["maxout.fgsm"].error > 80 and (f["maxout.fgsm"].confidence or 0) > 80,
        remark="99 to 100% at every setting tried (learning rates, momentum, with and without dropout, "
        "3 to 250 epochs). The paper's figure comes out where the gradient of the softmax rounds."),
    Row("maxout.pgd", "–", "maxout under 10 steps of PGD, ε=.25"),
)  # fmt: skip

CHOICES = RECIPE

MODELS = {"maxout": maxout("maxout")}
USES = ("maxout",)

PGD_EXAMPLES = 1000  # each costs twenty forward and backward passes


def run(task: Task) -> dict[str, Measurement]:
    return {
        "maxout.clean": measure(task.model("maxout"), task.test.x, task.test.y),
        "maxout.fgsm": task.fgsm("maxout"),
        "maxout.pgd": measure_pgd(task.model("maxout"), task.test[:PGD_EXAMPLES]),
    }
