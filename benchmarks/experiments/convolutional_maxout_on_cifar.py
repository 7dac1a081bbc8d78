"""Convolutional maxout on CIFAR-10 is fooled by a step of a fifth of the standard deviation of its whitened
pixels (section 4), and by noise (appendix A). The images are not part of this repository: --cifar says where
they are."""

from __future__ import annotations

from typing import Any

from benchmarks.cifar import CLASSES, is_whole
from benchmarks.experiments.maxout_attacked import PGD_EXAMPLES
from benchmarks.experiments.rubbish_classified import false_positives, fooled, mean_of_classes, rubbish
from benchmarks.recipe import Recipe, Stage, Together, falling
from benchmarks.task import Measurement, Row, Task, measure, measure_fgsm, measure_pgd
from minigrad import Parameter, backend
from minigrad.optim import SGD, linear_ramp
from models import ConvolutionalMaxout, MaxoutConvolution
from models.classifier import initial_weights

EPSILON = 0.1

ROWS = (
    Row("cifar.clean", "–", "CIFAR-10, convolutional maxout, clean (the maxout paper: 11.68)"),
    Row("cifar.fgsm", "4", "CIFAR-10, convolutional maxout, FGSM ε=.1", 87.15, 96.6,
        claim="the network errs on most adversarial examples, with high confidence",
        holds=lambda f: f["cifar.fgsm"].error > 80 and (f["cifar.fgsm"].confidence or 0) > 80),
    Row("cifar.pgd", "–", "CIFAR-10, convolutional maxout under 10 steps of PGD, ε=.1"),
    Row("cifar.rubbish", "A", "CIFAR-10, convolutional maxout, N(0, I): false positives", 93.4, 84.4,
        claim="nearly all noise is classified",
        holds=lambda f: f["cifar.rubbish"].error > 80),
    Row("cifar.airplane", "A", "CIFAR-10: noise becomes an airplane by one step ε=.1", 24.7),
    Row("cifar.frog", "A", "CIFAR-10: noise becomes a frog by one step ε=.1", 100.0),
    Row("cifar.truck", "A", "CIFAR-10: noise becomes a truck by one step ε=.1", 100.0),
    Row("cifar.fooling", "A", "CIFAR-10: noise becomes a chosen class by one step ε=.1, mean of ten", 75.3,
        claim="one fast step makes noise a chosen class, far more often than chance (10%)",
        holds=lambda f: f["cifar.fooling"].error > 20),
)  # fmt: skip

IMAGE = (32, 32, 3)
EPOCHS = 4
QUICK_LAYERS = (
    MaxoutConvolution(24, pieces=2, window=5, padding=2, pool=3, pool_stride=2),
    MaxoutConvolution(32, pieces=2, window=5, padding=2, pool=3, pool_stride=2),
)
PUBLISHED_LAYERS = (
    MaxoutConvolution(96, pieces=2, window=8, padding=4, pool=4, pool_stride=2),
    MaxoutConvolution(192, pieces=2, window=8, padding=3, pool=4, pool_stride=2),
    MaxoutConvolution(192, pieces=2, window=5, padding=3),
)

CHOICES = (
    "Images are contrast-normalised and ZCA-whitened, as published with the maxout paper (scale 55, bias "
    ".1). ε is in these units, and nothing is clipped, for they have no bounds. Scale quick, never tried "
    "on the real images: 24 and 32 maxout units of 2 pieces, 5 × 5, with 2 zeros around what they look at, "
    "pooling 3 × 3 by steps of 2; N(0, 2 / inputs); learning rate falling from .01 to .0002, momentum .9, "
    f"{EPOCHS} epochs, the last 1,000 images held out. Scale paper, as published for images that are not "
    "moved or mirrored: 96, 192 and 192 units of 2 pieces, 8 × 8, 8 × 8 and 5 × 5, with 4, 3 and 3 zeros, "
    "pooling 4 × 4, 4 × 4 and 2 × 2 by steps of 2; then 500 units of 5 pieces; U(±.005); dropout .8 and "
    ".5; norms of at most .9, 1.9365, 1.9365, 1.9 and 1.9365; learning rate .17, in the convolutions "
    ".17/20, each falling to a hundredth of itself over 500 epochs; momentum .5 to .6 over 250; 785 epochs "
    "on all 50,000, in batches of 100 (there 128). Pooling windows that reach over the border are left "
    "out; there they are cut. Noise and fooling step are those of the rows of rubbish."
)


def build(scale: str, seed: int, images: Any) -> ConvolutionalMaxout:
    if scale == "quick":
        return ConvolutionalMaxout(IMAGE, 10, layers=QUICK_LAYERS, seed=seed)
    return ConvolutionalMaxout(
        IMAGE,
        10,
        layers=PUBLISHED_LAYERS,
        units=(500,),
        pieces=5,
        dropout=(0.8, 0.5),
        weights=initial_weights,
        seed=seed,
    )


def published(parameters: list[Parameter], updates: int, epochs: int) -> Together:
    def layer(number: int, max_norm: float, lr: float) -> SGD:
        return SGD(
            parameters[2 * number : 2 * number + 2],  # W and b of each layer, in their order
            lr=linear_ramp(lr, lr / 100, 500 * updates),
            momentum=linear_ramp(0.5, 0.6, 250 * updates),
            max_norm=max_norm,
        )

    convolutions = [layer(number, norm, 0.17 / 20) for number, norm in enumerate((0.9, 1.9365, 1.9365))]
    return Together(*convolutions, layer(3, 1.9, 0.17), layer(4, 1.9365, 0.17))


STAGES = {
    "quick": (Stage(falling(0.01, 0.0002), EPOCHS),),
    "paper": (Stage(published, 785, held_out=0),),
}
MODELS = {
    "cifar": Recipe(
        "convolutional maxout on CIFAR-10", build, STAGES, effort=40, data="cifar", epsilon=EPSILON
    )
}
USES = ("cifar",)
DATA = "cifar"


def run(task: Task) -> dict[str, Measurement]:
    model, test, noise = task.model("cifar"), task.test, rubbish(task)
    reached = fooled(model, noise[:1000], epsilon=EPSILON)
    task.data["whole"] = is_whole(*(backend.to_numpy(part.y) for part in (task.train, test)))
    return {
        "cifar.clean": measure(model, test.x, test.y),
        "cifar.fgsm": measure_fgsm(model, test, clip_too=False, epsilon=EPSILON),
        "cifar.pgd": measure_pgd(model, test[:PGD_EXAMPLES], clip_too=False, epsilon=EPSILON),
        "cifar.rubbish": false_positives(model, noise),
        **{f"cifar.{name}": reached[CLASSES.index(name)] for name in ("airplane", "frog", "truck")},
        "cifar.fooling": mean_of_classes(reached),
    }
