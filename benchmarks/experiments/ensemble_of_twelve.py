"""An ensemble of twelve networks is hardly harder to fool than one (section 9)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.experiments.maxout_recipe import CHOICES as RECIPE
from benchmarks.experiments.maxout_recipe import maxout
from benchmarks.experiments.transfer_between_models import transferred
from benchmarks.task import Measurement, Row, Task, error_against_epsilon, measure, measure_fgsm

MEMBERS = 12
EPOCHS = 4

ROWS = (
    Row("ensemble.clean", "9", "ensemble of 12 maxout networks, clean"),
    Row("ensemble.whole", "9", "the same, FGSM ε=.25 on the whole ensemble", 91.1, spread=(91.1, 93.5),
        claim="an ensemble does not protect",
        holds=lambda f: f["ensemble.whole"].error > 80,
        remark="Above the spread, as for one network; the members are too unsure after short training "
        "for the gradient to round."),
    Row("ensemble.member", "9", "the same, FGSM ε=.25 made on one of its members", 87.9,
        spread=(87.9, 92.7),
        claim="examples made on one member fool the whole, a little less",
        holds=lambda f: 50 < f["ensemble.member"].error <= f["ensemble.whole"].error,
        remark="Above the spread, as for one network."),
)  # fmt: skip

CHOICES = (
    f"{RECIPE} But {EPOCHS} epochs at the quick scale. The members differ in weights and order of the "
    "digits, and their probabilities are averaged; the attack descends the cost −ln of that average."
)

MODELS = {
    f"member_{i}": maxout(f"ensemble member {i + 1}", epochs=EPOCHS, stream=1 + i) for i in range(MEMBERS)
}
USES = tuple(MODELS)


class Ensemble(mg.Module):
    """The mean of its members' probabilities."""

    outputs, n_classes = "softmax", 10

    def __init__(self, members: list[Any]) -> None:
        self.members = members

    def forward(self, x: Any) -> mg.Tensor:
        """ln of the mean probability of each class: logits as good as any."""
        return mg.logsumexp(mg.stack([mg.log_softmax(m(x)) for m in self.members]), axis=0)

    def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
        """−ln(mean pₖ[y]) = ln K − ln Σ exp(−Jₖ), from the members' own costs, which do not round."""
        costs = mg.stack([member.cost(x, y, reduction="none") for member in self.members])
        own = np.log(len(self.members)) - mg.logsumexp(-costs, axis=0)
        return own if reduction == "none" else (mg.mean if reduction == "mean" else mg.sum)(own)

    def predict_proba(self, x: Any) -> Any:
        return sum(member.predict_proba(x) for member in self.members) / len(self.members)

    def predict(self, x: Any) -> Any:
        return self.predict_proba(x).argmax(-1)


def run(task: Task) -> dict[str, Measurement]:
    members = [task.model(name) for name in USES]
    ensemble, test = Ensemble(members), task.test
    task.data["error_against_epsilon"] = {"ensemble": error_against_epsilon(ensemble, test)}
    return {
        "ensemble.clean": measure(ensemble, test.x, test.y),
        "ensemble.whole": measure_fgsm(ensemble, test),
        "ensemble.member": transferred(members[0], ensemble, test),
    }
