"""Convolutional maxout on CIFAR-10: fooled by a fifth of its pixels' standard deviation (section 4), and by
noise (appendix A). The data are not part of this repository: --cifar says where they are."""

from __future__ import annotations

from typing import Any

from benchmarks.cifar import CLASSES, is_whole
from benchmarks.experiments.maxout_attacked import PGD_EXAMPLES
from benchmarks.experiments.rubbish_classified import fooled, rubbish
from benchmarks.recipe import Recipe, Stage, Together
from benchmarks.task import Measurement, Row, Task, measure, measure_fgsm, measure_pgd, probabilities, share
from minigrad import Parameter, backend
from minigrad.optim import SGD, linear_ramp
from models import ConvolutionalMaxout, MaxoutConvolution

EPSILON = 0.1
TARGETS = {name: CLASSES.index(name) for name in ("airplane", "frog", "truck")}

ROWS = (
    Row("cifar.clean", "–", "convolutional maxout on CIFAR-10, clean (the maxout paper: 11.68)"),
    Row("cifar.fgsm", "4", "convolutional maxout on CIFAR-10, FGSM ε=.1", 87.15, 96.6,
        claim="errs on most adversarial examples, with high confidence",
        holds=lambda f: f["cifar.fgsm"].error > 80 and (f["cifar.fgsm"].confidence or 0) > 80),
    Row("cifar.pgd", "–", "the same under 10 steps of PGD, ε=.1"),
    Row("cifar.rubbish", "A", "convolutional maxout on CIFAR-10, on N(0, I): false positives", 93.4, 84.4,
        claim="nearly all noise is classified",
        holds=lambda f: f["cifar.rubbish"].error > 80),
    Row("cifar.airplane", "A", "the same: noise becomes an airplane by one step ε=.1", 24.7),
    Row("cifar.frog", "A", "the same: a frog", 100.0),
    Row("cifar.truck", "A", "the same: a truck", 100.0),
    Row("cifar.fooling", "A", "the same: a chosen class, mean of ten", 75.3,
        claim="one fast step makes noise a chosen class, far more often than chance (10%)",
        holds=lambda f: f["cifar.fooling"].error > 20),
)  # fmt: skip

EPOCHS = 4
QUICK = (
    MaxoutConvolution(24, pieces=2, window=5, padding=2, pool=3),
    MaxoutConvolution(32, pieces=2, window=5, padding=2, pool=3),
)
PUBLISHED = (
    MaxoutConvolution(96, pieces=2, window=8, padding=4, pool=4),
    MaxoutConvolution(192, pieces=2, window=8, padding=3, pool=4),
    MaxoutConvolution(192, pieces=2, window=5, padding=3),
)

CHOICES = (
    "Images with their contrast normalised, and whitened by ZCA, as published with the maxout paper (scale "
    "55, bias .1); ε is in these units, and nothing is clipped, for they have no bounds. Scale quick, "
    "never tried on the real images: layers of 24 and 32 maxout units of 2 pieces, 5 × 5, pooling 3 × 3 by "
    f"steps of 2; learning rate falling from .01 to .0002, momentum .9, {EPOCHS} epochs. Scale paper, as "
    "published with the maxout paper for images that are not moved or mirrored: 96, 192 and 192 units of 2 "
    "pieces, 8 × 8, 8 × 8 and 5 × 5; then 500 units of 5 pieces; dropout .8 and .5; norms of at most .9, "
    "1.9365, 1.9365, 1.9 and 1.9365; learning rate .17, a twentieth of that in the convolutions, falling "
    "to a hundredth over 500 epochs, momentum .5 to .6 over 250; 785 epochs on all 50,000, in batches of "
    "100 (there 128). The noise and the fooling step are as for the digits, with the same choices."
)


def build(scale: str, seed: int, images: Any) -> ConvolutionalMaxout:
    image = (32, 32, 3)
    if scale == "quick":
        return ConvolutionalMaxout(image, 10, layers=QUICK, weights="he", seed=seed)
    return ConvolutionalMaxout(
        image, 10, layers=PUBLISHED, units=(500,), pieces=5, dropout=(0.8, 0.5), seed=seed
    )


def quick(parameters: list[Parameter], updates: int, epochs: int) -> SGD:
    return SGD(parameters, lr=linear_ramp(0.01, 0.0002, updates * epochs), momentum=0.9)


def published(parameters: list[Parameter], updates: int, epochs: int) -> Together:
    def layer(number: int, max_norm: float, lr: float) -> SGD:
        return SGD(
            parameters[2 * number : 2 * number + 2],
            lr=linear_ramp(lr, lr / 100, 500 * updates),
            momentum=linear_ramp(0.5, 0.6, 250 * updates),
            max_norm=max_norm,
        )

    convolutions = [layer(number, norm, 0.17 / 20) for number, norm in enumerate((0.9, 1.9365, 1.9365))]
    return Together(*convolutions, layer(3, 1.9, 0.17), layer(4, 1.9365, 0.17))


STAGES = {"quick": (Stage(quick, EPOCHS),), "paper": (Stage(published, 785, held_out=0),)}
MODELS = {
    "cifar": Recipe(
        "convolutional maxout on CIFAR-10", build, STAGES, effort=40, data="cifar", epsilon=EPSILON
    )
}
USES = ("cifar",)
DATA = "cifar"


def run(task: Task) -> dict[str, Measurement]:
    model, test, noise = task.model("cifar"), task.test, rubbish(task)
    task.data["whole"] = is_whole(*(backend.to_numpy(part.y) for part in (task.train, test)))
    p = probabilities(model, noise)
    return {
        "cifar.clean": measure(model, test.x, test.y),
        "cifar.fgsm": measure_fgsm(model, test, clip_too=False, epsilon=EPSILON),
        "cifar.pgd": measure_pgd(model, test[:PGD_EXAMPLES], clip_too=False, epsilon=EPSILON),
        "cifar.rubbish": share(p.max(1) > 0.5, p.max(1)),
        **{
            f"cifar.{name}": fooled(model, noise[:1000], epsilon=EPSILON, targets=[target])
            for name, target in TARGETS.items()
        },
        "cifar.fooling": fooled(model, noise[:1000], epsilon=EPSILON),
    }
