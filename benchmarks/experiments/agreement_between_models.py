"""Different models give the same wrong answer to the same adversarial example (section 8)."""

from __future__ import annotations

from typing import Any

from benchmarks.experiments.transfer_between_models import examples_of
from benchmarks.task import Measurement, Row, Task, share
from minigrad import backend

ROWS = (
    Row("agreement.rbf_of_fooled", "8", "of those that fool maxout: RBF gives maxout's class", 16.0,
        claim="a shallow RBF network often errs as maxout does: more than by chance among nine",
        holds=lambda f: f["agreement.rbf_of_fooled"].error > 100 / 9),
    Row("agreement.softmax_of_fooled", "8", "of those that fool maxout: softmax gives maxout's class", 54.6,
        claim="a linear model agrees more than the RBF network",
        holds=lambda f: f["agreement.softmax_of_fooled"].error > f["agreement.rbf_of_fooled"].error),
    Row("agreement.softmax_of_both", "8", "where softmax errs too: it gives maxout's class", 84.6,
        claim="most of what both get wrong they get wrong in the same way",
        holds=lambda f: f["agreement.softmax_of_both"].error > 50),
    Row("agreement.rbf_of_both", "8", "where the RBF network errs too: it gives maxout's class", 54.3,
        claim="the RBF network agrees less than the linear model",
        holds=lambda f: f["agreement.rbf_of_both"].error < f["agreement.softmax_of_both"].error),
    Row("agreement.rbf_of_softmax", "8", "where RBF and softmax err: RBF gives softmax's class", 53.6,
        claim="a good part of the RBF network's errors is the linear model's",
        holds=lambda f: f["agreement.rbf_of_softmax"].error > 100 / 9),
)  # fmt: skip

CHOICES = (
    "All classes are predicted on the FGSM examples (ε = .25) that are made on maxout, over all test "
    "digits; the rows count those among them that maxout gets wrong. The paper does not say whether "
    "its last figure is over these as well; here it is."
)

MODELS: dict[str, Any] = {}
USES = ("softmax", "maxout", "rbf")


def run(task: Task) -> dict[str, Measurement]:
    x = examples_of(task.model("maxout"), task.test)
    y = backend.to_numpy(task.test.y)
    maxout, softmax, rbf = (
        backend.to_numpy(task.model(name).predict(x)) for name in ("maxout", "softmax", "rbf")
    )
    fooled = maxout != y
    softmax_too, rbf_too = fooled & (softmax != y), fooled & (rbf != y)
    return {
        "agreement.rbf_of_fooled": share((rbf == maxout)[fooled]),
        "agreement.softmax_of_fooled": share((softmax == maxout)[fooled]),
        "agreement.softmax_of_both": share((softmax == maxout)[softmax_too]),
        "agreement.rbf_of_both": share((rbf == maxout)[rbf_too]),
        "agreement.rbf_of_softmax": share((rbf == softmax)[softmax_too & rbf_too]),
    }
