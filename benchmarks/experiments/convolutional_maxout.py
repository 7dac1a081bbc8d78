"""A network that looks at images as images, and shares its weights over all places, is fooled as well
(section 4 has it on CIFAR-10)."""

from __future__ import annotations

from typing import Any

from benchmarks.experiments.maxout_attacked import PGD_EXAMPLES
from benchmarks.experiments.rubbish_classified import false_positives, rubbish
from benchmarks.recipe import Recipe, Stage, Together, falling
from benchmarks.task import Measurement, Row, Task, measure, measure_pgd
from minigrad import Parameter
from minigrad.optim import SGD, exponential_decay, linear_ramp
from models import ConvolutionalMaxout, MaxoutConvolution
from models.classifier import initial_weights

ROWS = (
    Row("convolutional.clean", "–", "convolutional maxout, clean (the maxout paper: .45)"),
    Row("convolutional.fgsm", "4", "convolutional maxout, FGSM ε=.25",
        claim="not the paper's on these data: convolution and pooling do not protect",
        holds=lambda f: f["convolutional.clean"].error < 2 and f["convolutional.fgsm"].error > 80),
    Row("convolutional.pgd", "–", "convolutional maxout under 10 steps of PGD, ε=.25"),
    Row("convolutional.rubbish", "A", "convolutional maxout on N(0, I): false positives"),
)  # fmt: skip

IMAGE = (28, 28, 1)
EPOCHS = 4
QUICK_LAYERS = (MaxoutConvolution(12, pieces=2, window=5), MaxoutConvolution(24, pieces=2, window=5))
PUBLISHED_LAYERS = (
    MaxoutConvolution(48, pieces=2, window=8, pool=4, pool_stride=2),
    MaxoutConvolution(48, pieces=2, window=8, padding=3, pool=4, pool_stride=2),
    MaxoutConvolution(24, pieces=4, window=5, padding=3),
)

CHOICES = (
    "Scale quick: 12 and 24 maxout units of 2 pieces, 5 × 5, with pooling 2 × 2; N(0, 2 / inputs); "
    f"learning rate falling from .03 to .0006, momentum .9, no dropout, {EPOCHS} epochs, the last 1,000 "
    "training images held out. Scale paper, as published with the maxout paper: 48, 48 and 24 units of 2, "
    "2 and 4 pieces, 8 × 8, 8 × 8 and 5 × 5, with 0, 3 and 3 zeros around what they look at, pooling 4 × "
    "4, 4 × 4 and 2 × 2 by steps of 2; U(±.005); dropout .8 and .5; norms of at most .9 in the first layer "
    "and 1.9365 above; learning rate .05 divided by 1.00004 an update, momentum .5 to .7 over 250 epochs; "
    "stopped once the error on the last 10,000 training images has not fallen for 100 epochs, of 400 at "
    "most. The published run then continued the same network on all 60,000 images; here a new one trains "
    "on them, for as many epochs as were best. Pooling windows that reach over the border are left out "
    "(there they are cut), a unit has one bias, not one a place, and batches are of 100 (there 128). The "
    "noise is that of the rows of rubbish."
)


def build(scale: str, seed: int, digits: Any) -> ConvolutionalMaxout:
    if scale == "quick":
        return ConvolutionalMaxout(IMAGE, 10, layers=QUICK_LAYERS, seed=seed)
    return ConvolutionalMaxout(
        IMAGE, 10, layers=PUBLISHED_LAYERS, dropout=(0.8, 0.5), weights=initial_weights, seed=seed
    )


def published(parameters: list[Parameter], updates: int, epochs: int) -> Together:
    def limited(own: list[Parameter], max_norm: float) -> SGD:
        lr = exponential_decay(0.05, 1.00004, minimum=1e-6)
        return SGD(own, lr=lr, momentum=linear_ramp(0.5, 0.7, 250 * updates), max_norm=max_norm)

    first_layer, others = parameters[:2], parameters[2:]  # W and b of each layer, in their order
    return Together(limited(first_layer, 0.9), limited(others, 1.9365))


STAGES = {
    "quick": (Stage(falling(0.03, 0.0006), EPOCHS),),
    "paper": (
        Stage(published, 400, held_out=10_000, watched=10_000, score="clean_error", patience=100),
        Stage(published, None, held_out=0, watched=10_000, new_model=True),
    ),
}
MODELS = {"convolutional": Recipe("convolutional maxout", build, STAGES, effort=5)}
USES = ("convolutional",)


def run(task: Task) -> dict[str, Measurement]:
    model, test = task.model("convolutional"), task.test
    return {
        "convolutional.clean": measure(model, test.x, test.y),
        "convolutional.fgsm": task.fgsm("convolutional"),
        "convolutional.pgd": measure_pgd(model, test[:PGD_EXAMPLES]),
        "convolutional.rubbish": false_positives(model, rubbish(task)),
    }
