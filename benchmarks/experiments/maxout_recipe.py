"""How the maxout networks of all experiments are built and trained."""

from __future__ import annotations

from benchmarks.mnist import Digits
from benchmarks.recipe import Cost, Recipe, Stage, descent, falling, plain_cost
from minigrad import Parameter
from minigrad.optim import SGD, exponential_decay, linear_ramp
from models import MaxoutNetwork

QUICK_EPOCHS = 8

CHOICES = (
    "Two hidden layers of 240 units, 5 pieces. Scale quick: learning rate falling from .1 to .002, "
    f"momentum .9, no dropout, {QUICK_EPOCHS} epochs, the last 1,000 training images held out. Scale "
    "paper, as published with the maxout paper: dropout .8 and .5, max-norm 1.9365, learning rate .1 "
    "divided by 1.000004 an update, momentum .5 to .7 over 250 epochs; stopped once the error on the "
    "last 10,000 training images has not fallen for 100 epochs, of 400 at most."
)


def published(parameters: list[Parameter], updates: int, epochs: int) -> SGD:
    return SGD(
        parameters,
        lr=exponential_decay(0.1, 1.000004, minimum=1e-6),
        momentum=linear_ramp(0.5, 0.7, 250 * updates),
        max_norm=1.9365,
    )


# Validation on the last 10,000; then on all 60,000, from the best epoch on, until the last 10,000
# cost no more than the training images did there.
CONTINUED = (
    Stage(published, 400, held_out=10_000, watched=10_000, score="clean_error", patience=100),
    Stage(descent(0.0615, 0.694, max_norm=1.9365), 100, held_out=0, watched=10_000, until_cost=True),
)
# The paper's own way, which came with 1600 units (section 6): the number of epochs is chosen by the
# error on adversarial validation examples, and a new network trains for so many on all 60,000.
ANEW = (
    Stage(published, 400, held_out=10_000, watched=10_000, score="fgsm_error", patience=100),
    Stage(published, None, held_out=0, watched=10_000, new_model=True),
)


# A start ten times as large, for costs under which the published one, U(−.005, .005), dies out.
LARGE_START = 10.0


def maxout(
    what: str,
    cost: Cost = plain_cost,
    *,
    units: int = 240,
    outputs: str = "softmax",
    epochs: int = QUICK_EPOCHS,
    stages: tuple[Stage, ...] = CONTINUED,
    stream: int = 0,
    effort: float = 1.0,
    initial_scale: float = 1.0,
) -> Recipe:
    """The recipe of a maxout network trained on `cost`: `epochs` at the quick scale, `stages` at the
    paper's; `effort` as of Recipe. `initial_scale` multiplies the published U(−.005, .005)."""

    def build(scale: str, seed: int, digits: Digits) -> MaxoutNetwork:
        dropout = (0.8, 0.5) if scale == "paper" else None
        model = MaxoutNetwork(
            digits.x.shape[1], 10, units=(units, units), outputs=outputs, dropout=dropout, seed=seed
        )
        for parameter in model.parameters():
            parameter.data *= initial_scale
        return model

    by_scale = {"quick": (Stage(falling(0.1, 0.002), epochs),), "paper": stages}

    def weights(units: int) -> int:
        return units * (5 * (784 + units) + 10)

    own = effort * weights(units) / weights(240)
    return Recipe(what, build, by_scale, cost, stream=stream, effort=own)
