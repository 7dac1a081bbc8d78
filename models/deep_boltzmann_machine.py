"""The deep Boltzmann machine that is trained to predict what it is not shown (paper, section 9).

Salakhutdinov and Hinton, "Deep Boltzmann Machines", 2009 (AISTATS), for the model and its inference;
Goodfellow, Mirza, Courville, Bengio, "Multi-Prediction Deep Boltzmann Machines", 2013 (NIPS 26), for the
training.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import check_count, check_finite, check_number
from minigrad.errors import ArgumentError
from minigrad.layers import drawn
from minigrad.operands import as_array, as_tensor
from models.classifier import Classifier, checked_units
from models.dropout import generators


class Inferred(NamedTuple):
    """The logits that mean-field inference ends with: σ(z) is the believed probability that a pixel or hidden
    unit is 1, softmax(z) that of the classes. v is (examples, features), or None where all pixels are shown;
    h1 and h2 are (examples, units), y is (examples, classes)."""

    v: mg.Tensor | None
    h1: mg.Tensor
    h2: mg.Tensor
    y: mg.Tensor


class DeepBoltzmannMachine(Classifier):
    """A probability for each state of pixels v, two layers of hidden units h¹ and h², and a one-hot class y:

        P(v, h¹, h², y) = exp(vᵀW₁h¹ + h¹ᵀW₂h² + h²ᵀW₃y + aᵀv + b₁ᵀh¹ + b₂ᵀh² + cᵀy) / Z

    Each v and h is 0 or 1; a grey pixel enters with its value. Only neighbours in the chain v – h¹ – h² – y
    are connected, and a connection works both ways: no layer follows from the one below alone. So h¹, h² and
    y are inferred, in a fixed number of rounds (`infer`). The logits are those of y after the last round,
    with all pixels shown.

    Maximum likelihood would need the gradient of ln Z, a sum over all states. It does not occur here:
    `prediction_cost` judges what the rounds predict. They are matrix products, σ and softmax, so that
    backpropagation gives the exact gradient of what is computed: in the Parameters for training, in x for an
    attack. An attack's cost is −ln softmax(z)[y], as that of every Classifier.

    units         (of h¹, of h²)
    iterations    rounds of inference
    label_weight  how many times a hidden label counts in `prediction_cost`, where a hidden pixel counts once
    pixel_means   (features,), in [0, 1]: a begins at their log-odds, as if none were under .001 or over .999;
                  at 0 if None
    seed          of the initial weights, U(−.05, .05), and of what is hidden in training

    The Parameters are W1 (features, units of h¹), W2 (units of h¹, units of h²), W3 (units of h², classes),
    and the biases a, b1, b2, c; float32.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        units: tuple[int, int] = (300, 300),
        iterations: int = 5,
        label_weight: float = 1.0,
        pixel_means: Any = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_features, n_classes)
        self.units = checked_units(units)
        if len(self.units) != 2:
            raise ArgumentError(f"units must be the numbers of both hidden layers, got {units!r}")
        self.iterations = check_count("iterations", iterations)
        self.label_weight = check_number("label_weight", label_weight, low=0.0)
        weights, self.mask_generator = generators(seed)
        sizes = (self.n_features, *self.units, self.n_classes)
        self.W1, self.W2, self.W3 = (
            drawn(lambda shape, generator: generator.uniform(-0.05, 0.05, shape), shape, weights)
            for shape in itertools.pairwise(sizes)
        )
        self.a, self.b1, self.b2, self.c = (mg.Parameter(np.zeros(n, np.float32)) for n in sizes)
        if pixel_means is not None:
            means = backend.to_numpy(pixel_means, "pixel_means")
            if means.shape != (self.n_features,):
                raise ArgumentError(f"pixel_means must have shape {(self.n_features,)}, got {means.shape}")
            check_finite("pixel_means", means)
            p = np.clip(means.astype(np.float64), 0.001, 0.999)
            self.a = mg.Parameter(np.log(p / (1.0 - p)).astype(np.float32))

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return self.infer(x).y

    def infer(self, x: Any, y: Any = None, shown: tuple[Any, Any] | None = None) -> Inferred:
        """Mean-field inference. P(what is hidden | what is shown) is a sum over all states. It is
        approximated by a q in which all units are independent: it is given by their means v, h¹, h², y.

        They begin at v = σ(a) and h² = σ(b₂), with what is shown in its place. A round is

            h¹ = σ(W₁ᵀv + W₂h² + b₁),  y = softmax(W₃ᵀh² + c);  then
            v = σ(W₁h¹ + a),  h² = σ(W₂ᵀh¹ + W₃y + b₂).

        h¹ and y are not connected, nor are v and h². So each of the two lines makes KL(q ‖ P) as small as it
        can be while the other two means stay, and it never rises. Set all four at once, and it could.

        x      (examples, features), pixels in [0, 1]; an attack may leave that range
        y      (examples, classes), one-hot; needed with `shown`, and not looked at without
        shown  (pixels, labels): 1 where one is shown and 0 where not, (examples, features) and
               (examples, 1). None for all pixels and no label.

        The result is there for what is shown too: what the rest makes of it. ArgumentError, naming the
        argument, for other shapes.
        """
        x = self._batch(x)
        if shown is None:
            from_v = x @ self.W1 + self.b1  # the same in every round
        else:
            y, pixels, labels = self._masked(x, y, shown)
        z_v: mg.Tensor = self.a
        h2 = mg.sigmoid(self.b2)
        for _ in range(self.iterations):
            if shown is not None:
                from_v = where_shown(pixels, x, mg.sigmoid(z_v)) @ self.W1 + self.b1
            z_h1 = from_v + h2 @ self.W2.T
            h1 = mg.sigmoid(z_h1)
            classes = mg.softmax(h2 @ self.W3 + self.c)
            if shown is not None:
                classes = where_shown(labels, y, classes)
                z_v = h1 @ self.W1.T + self.a
            z_h2 = h1 @ self.W2 + classes @ self.W3.T + self.b2
            h2 = mg.sigmoid(z_h2)
        return Inferred(None if shown is None else z_v, z_h1, z_h2, h2 @ self.W3 + self.c)

    def _masked(self, x: mg.Tensor, y: Any, shown: Any) -> list[mg.Tensor]:
        """`infer`'s y and both parts of `shown`, as Tensors of x's dtype and the shapes that it names."""
        if not isinstance(shown, (tuple, list)) or len(shown) != 2:
            raise ArgumentError(f"shown must be a pair (pixels, labels) or None, got {shown!r:.99}")
        lengths = {"y": self.n_classes, "shown[0]": self.n_features, "shown[1]": 1}
        tensors = []
        for (name, n), value in zip(lengths.items(), (y, *shown), strict=True):
            tensor = as_tensor(value, name)
            if tensor.shape != (x.shape[0], n):
                raise ArgumentError(f"{name} must have shape {(x.shape[0], n)}, got {tensor.shape}")
            whole = tensor.dtype.kind in "biu"
            tensors.append(mg.Tensor(tensor.data.astype(x.dtype)) if whole else tensor)
        return tensors

    def prediction_cost(self, x: Any, y: Any) -> mg.Tensor:
        """The multi-prediction criterion: predict a random half from the rest.

        x  (examples, features), in [0, 1], which is not checked;  y  (examples,), the labels

        At every call each pixel and each label is hidden with probability 1/2, inference sees the others, and
        the cost, a scalar, is the mean over the examples of

            Σ over hidden pixels [x ζ(−z) + (1 − x) ζ(z)] + label_weight · [−ln softmax(z)[y] if y is hidden]

        with ζ(z) = ln(1 + eᶻ) and the z that `infer` finds. If label_weight is 1, that is −ln q(what is
        hidden). One set of Parameters learns to predict whatever is missing, hence the name.

        ArgumentError, naming the argument, for labels or shapes that do not fit, or no examples.
        """
        x, y = self._batch(x), as_array(y, "y")
        self.check_labels(y, x.shape[0])
        if x.shape[0] == 0:
            raise ArgumentError("x and y must hold at least one example, got none")
        library = backend.of(x.data)
        # Dropout of ones draws the coins: on the device, and anew in each replay of a recorded step.
        pixels, labels = (
            mg.dropout(library.xp.ones(shape, x.dtype), keep=0.5, scale=1.0, generator=self.mask_generator)
            for shape in (x.shape, (x.shape[0], 1))
        )
        z = self.infer(x, self._is_label(y, library).astype(x.dtype), (pixels, labels))
        assert z.v is not None
        of_pixels = mg.sum((1.0 - pixels) * (x * mg.softplus(-z.v) + (1.0 - x) * mg.softplus(z.v)))
        of_labels = mg.sum((1.0 - labels[:, 0]) * mg.softmax_cross_entropy(z.y, y, reduction="none"))
        return (of_pixels + self.label_weight * of_labels) / float(x.shape[0])


def where_shown(shown: mg.Tensor, known: mg.Tensor, believed: mg.Tensor) -> mg.Tensor:
    """What is known where it is shown, and what is believed elsewhere."""
    return known * shown + believed * (1.0 - shown)
