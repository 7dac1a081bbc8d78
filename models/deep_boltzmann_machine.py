"""The deep Boltzmann machine that is trained to predict what it is not shown (paper, section 9).

Goodfellow, Mirza, Courville, Bengio, "Multi-Prediction Deep Boltzmann Machines", 2013 (NIPS 26).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import check_count, check_number
from minigrad.errors import ArgumentError
from minigrad.generators import mask_generator, random_generator
from minigrad.operands import as_array, as_tensor
from models.classifier import Classifier
from models.dropout import checked_units


class Inferred(NamedTuple):
    """What mean-field inference finds: the arguments z of σ for each pixel and hidden unit, which is then
    believed to be 1 with probability σ(z), and of the softmax for the classes. All are (examples, …)."""

    v: mg.Tensor | None  # None where all pixels are shown
    h1: mg.Tensor
    h2: mg.Tensor
    y: mg.Tensor


class DeepBoltzmannMachine(Classifier):
    """Pixels v, two layers of hidden units h¹ and h², and a class y (one-hot), with

        P(v, h¹, h², y) ∝ exp(vᵀW₁h¹ + h¹ᵀW₂h² + h²ᵀW₃y + aᵀv + b₁ᵀh¹ + b₂ᵀh² + cᵀy)

    Each v and h is 0 or 1; a grey pixel is taken for the probability of a white one. No layer follows from
    the one below alone: what is not known is inferred from both its neighbours, round after round, until all
    agree (`infer`). The logits are what that says of y where all pixels are shown. The rounds are ordinary
    operations, so that gradients pass through them.

    units         (of h¹, of h²)
    iterations    rounds of inference
    label_weight  how many times a hidden label counts in `prediction_cost`, where a hidden pixel counts once
    seed          of the initial weights, U(−.05, .05), and of what is hidden in training
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        units: tuple[int, int] = (300, 300),
        iterations: int = 5,
        label_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(n_features, n_classes)
        self.units = checked_units(units)
        if len(self.units) != 2:
            raise ArgumentError(f"units must be the numbers of both hidden layers, got {units!r}")
        self.iterations = check_count("iterations", iterations)
        self.label_weight = check_number("label_weight", label_weight, low=0.0)
        seeds = np.random.SeedSequence(check_count("seed", seed, low=0)).spawn(2)
        generator, self.dropout_generator = random_generator(seeds[0]), mask_generator(seeds[1])
        sizes = (self.n_features, *self.units, self.n_classes)
        self.W1, self.W2, self.W3 = (
            mg.Parameter(generator.uniform(-0.05, 0.05, shape).astype(np.float32))
            for shape in itertools.pairwise(sizes)
        )
        self.a, self.b1, self.b2, self.c = (mg.Parameter(np.zeros(n, np.float32)) for n in sizes)

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return self.infer(x).y

    def infer(self, x: Any, y: Any = None, shown: tuple[Any, Any] | None = None) -> Inferred:
        """Mean-field inference of what is not shown: of all distributions in which the units are independent
        of one another, one that is near the machine's own.

        x      (examples, features), in [0, 1]
        y      (examples, classes), one-hot; needed if `shown` is given
        shown  (pixels, labels): 1 where one is shown and 0 where not, (examples, features) and
               (examples, 1). None for all pixels and no label.

        A round sets h¹ and y to what follows from their neighbours, h¹ = σ(W₁ᵀv + W₂h² + b₁) and
        y = softmax(W₃ᵀh² + c), and then v = σ(W₁h¹ + a) and h² = σ(W₂ᵀh¹ + W₃y + b₂). Each half makes
        KL(inferred ‖ exact) as small as it can be while the other stays.
        """
        x = self._batch(x)
        if shown is not None:
            y, shown = self._checked_masks(x.shape[0], y, shown)
        h2 = mg.sigmoid(self.b2)
        z_v: mg.Tensor | None = None if shown is None else self.a
        from_v: Any = x @ self.W1 + self.b1 if shown is None else None  # shown, it is the same in every round
        for _ in range(self.iterations):
            if shown is not None:
                v = blend(shown[0], x, mg.sigmoid(z_v))
                from_v = v @ self.W1 + self.b1
            z_h1 = from_v + h2 @ self.W2.T
            h1 = mg.sigmoid(z_h1)
            classes = mg.softmax(h2 @ self.W3 + self.c)
            if shown is not None:
                classes = blend(shown[1], y, classes)
                z_v = h1 @ self.W1.T + self.a
            z_h2 = h1 @ self.W2 + classes @ self.W3.T + self.b2
            h2 = mg.sigmoid(z_h2)
        return Inferred(z_v, z_h1, z_h2, h2 @ self.W3 + self.c)

    def _checked_masks(self, examples: int, y: Any, shown: Any) -> tuple[Any, tuple[Any, Any]]:
        """`infer`'s y and shown as Tensors, of the shapes that it names."""
        if not isinstance(shown, (tuple, list)) or len(shown) != 2:
            raise ArgumentError(f"shown must be (pixels, labels) or None, got {type(shown).__name__}")
        given = {"y": y, "shown[0]": shown[0], "shown[1]": shown[1]}
        tensors = {name: as_tensor(value, name) for name, value in given.items()}
        for (name, tensor), n in zip(tensors.items(), (self.n_classes, self.n_features, 1), strict=True):
            if tensor.shape != (examples, n):
                raise ArgumentError(f"{name} must have shape {(examples, n)}, got {tensor.shape}")
        return tensors["y"], (tensors["shown[0]"], tensors["shown[1]"])

    def prediction_cost(self, x: Any, y: Any) -> mg.Tensor:
        """The multi-prediction criterion: each pixel and each label is shown or hidden by a coin, drawn anew
        at every call, and the cost is −ln of the probability that inference gives to what is hidden; the mean
        over the examples.

        x  (examples, features), in [0, 1];  y  (examples,), the labels

        Of a hidden pixel: x ζ(−z) + (1 − x) ζ(z), with ζ(z) = ln(1 + eᶻ); of a hidden label:
        −ln softmax(z)[y].
        """
        x, y = self._batch(x), as_array(y, "y")
        self.check_labels(y, x.shape[0])
        if x.shape[0] == 0:
            raise ArgumentError("x and y must hold at least one example, got none")
        library = backend.of(x.data)
        one_hot = (library.asarray(y)[:, None] == library.xp.arange(self.n_classes)).astype(x.dtype)
        pixels, labels = (
            mg.dropout(library.xp.ones(shape, x.dtype), keep=0.5, scale=1.0, generator=self.dropout_generator)
            for shape in (x.shape, (x.shape[0], 1))
        )
        z = self.infer(x, one_hot, (pixels, labels))
        of_pixels = mg.sum((1.0 - pixels) * (x * mg.softplus(-z.v) + (1.0 - x) * mg.softplus(z.v)))
        of_labels = mg.sum((1.0 - labels[:, 0]) * mg.softmax_cross_entropy(z.y, y, reduction="none"))
        return (of_pixels + self.label_weight * of_labels) / float(x.shape[0])


def blend(shown: Any, known: Any, believed: Any) -> Any:
    """What is known where it is shown, and what is believed elsewhere."""
    return known * shown + believed * (1.0 - shown)
