"""SqueezeNet: a convolutional network for ImageNet's classes, with 1.2 million parameters.

Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
and <0.5MB model size", 2016 (arXiv 1602.07360). Version 1.1 is the authors' later one
(github.com/forresti/SqueezeNet): as accurate, with 2.4 times less computation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.checks import check_examples
from minigrad.errors import ArgumentError
from minigrad.generators import random_generator
from minigrad.operands import as_tensor
from models.classifier import Classifier

SIDE = 224  # pixels in a row and in a column
MEAN = np.array([104.006, 116.669, 122.679], np.float32)  # of ImageNet's photos: blue, green, red; 0 to 255
FIRES = (16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)  # from fire2 on
POOLED = (2, 4, 6)  # the fires before which version 1.1 pools


class Fire(mg.Module):
    """The fire module (section 3.2): a 1 × 1 convolution with `squeeze` filters, then a 1 × 1 and a 3 × 3
    convolution of its result with `expand` filters each, joined along the channels. A ReLU follows each.

    x (examples, rows, columns, channels) → (examples, rows, columns, 2 expand)
    """

    def __init__(self, channels: int, squeeze: int, expand: int, generator: np.random.Generator) -> None:
        self.squeeze1x1 = mg.Conv2d(channels, squeeze, 1, seed=generator)
        self.expand1x1 = mg.Conv2d(squeeze, expand, 1, seed=generator)
        self.expand3x3 = mg.Conv2d(squeeze, expand, 3, padding=1, seed=generator)

    def forward(self, x: Any) -> mg.Tensor:
        x = mg.relu(self.squeeze1x1(x))
        return mg.relu(mg.concatenate([self.expand1x1(x), self.expand3x3(x)], -1))


class SqueezeNet(Classifier):
    """SqueezeNet 1.1. x is (examples, 224, 224, 3): red, green and blue in [0, 1].

    The weights are drawn from `seed` until trained ones are loaded. Trained weights expect blue, green and
    red from 0 to 255, less ImageNet's mean: `logits` converts x to that.

    Two things of the published network are not here: its dropout, and the ReLU between its last convolution
    and the mean, which the package that this project's weights come from leaves out too
    (benchmarks/data/photo).
    """

    def __init__(self, n_classes: int = 1000, *, seed: int = 0) -> None:
        super().__init__(SIDE * SIDE * 3, n_classes)
        generator = random_generator(seed)
        self.conv1 = mg.Conv2d(3, 64, 3, stride=2, seed=generator)
        channels = 64
        for number, (squeeze, expand) in enumerate(FIRES, start=2):
            setattr(self, f"fire{number}", Fire(channels, squeeze, expand, generator))
            channels = 2 * expand
        self.conv10 = mg.Conv2d(channels, self.n_classes, 1, seed=generator)

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        x = 255.0 * x[..., ::-1] - mg.backend.of(x.data).asarray(MEAN, x.dtype)
        x = mg.relu(self.conv1(x))
        for number in range(2, 2 + len(FIRES)):
            if number in POOLED:
                x = mg.max_pool2d(x, 3, 2)
            x = getattr(self, f"fire{number}")(x)
        return mg.mean(self.conv10(x), (1, 2))

    def _batch(self, x: Any) -> mg.Tensor:
        x = as_tensor(x, "x")
        if x.ndim != 4 or x.shape[1:] != (SIDE, SIDE, 3):
            raise ArgumentError(f"x must have shape (examples, {SIDE}, {SIDE}, 3), got {x.shape}")
        check_examples(x)
        return x
