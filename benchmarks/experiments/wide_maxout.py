"""The paper's record: 1600 units a layer, trained on the adversarial objective (section 6). At the paper
scale alone."""

from __future__ import annotations

from benchmarks.experiments.adversarially_trained_maxout import CHOICES as CHOICES_OF_240
from benchmarks.experiments.adversarially_trained_maxout import objective
from benchmarks.experiments.maxout_attacked import PGD_EXAMPLES
from benchmarks.experiments.maxout_recipe import ANEW, maxout
from benchmarks.experiments.transfer_between_models import transferred
from benchmarks.task import Measurement, Row, Task, measure, measure_pgd

SCALES = ("paper",)

ROWS = (
    Row("wide.plain_clean", "6", "maxout, 1600 units a layer, clean", 1.14),
    Row("wide.clean", "6", "the same trained on J̃, clean", 0.782,
        claim="adversarial training lowers the clean error, to .782 in the mean of five",
        holds=lambda f: f["wide.clean"].error < f["wide.plain_clean"].error),
    Row("wide.plain_fgsm", "6", "maxout, 1600 units a layer, FGSM ε=.25", 89.4),
    Row("wide.fgsm", "6", "the same trained on J̃, its own FGSM ε=.25", 17.9, 81.4, spread=(13.7, 23.6)),
    Row("wide.pgd", "–", "the same under 10 steps of PGD, ε=.25"),
    Row("wide.to_trained", "6", "made on the plain one, tried on the trained one", 19.6,
        spread=(19.6, 42.0)),
    Row("wide.to_plain", "6", "made on the trained one, tried on the plain one", 40.9,
        spread=(40.9, 72.0)),
)  # fmt: skip

CHOICES = (
    f"{CHOICES_OF_240} Here with 1600 units a layer; and the network trained on J̃ is stopped by the error on "
    "adversarial validation examples, and a new one trains for as many epochs on all 60,000."
)

MODELS = {
    "wide": maxout("maxout of 1600 units", units=1600),
    "wide_adversarial": maxout(
        "maxout of 1600 units on the adversarial objective", objective, units=1600, stages=ANEW, effort=2
    ),
}
USES = tuple(MODELS)


def run(task: Task) -> dict[str, Measurement]:
    plain, trained, test = task.model("wide"), task.model("wide_adversarial"), task.test
    return {
        "wide.plain_clean": measure(plain, test.x, test.y),
        "wide.clean": measure(trained, test.x, test.y),
        "wide.plain_fgsm": task.fgsm("wide"),
        "wide.fgsm": task.fgsm("wide_adversarial"),
        "wide.pgd": measure_pgd(trained, test[:PGD_EXAMPLES]),
        "wide.to_trained": transferred(plain, trained, test),
        "wide.to_plain": transferred(trained, plain, test),
    }
