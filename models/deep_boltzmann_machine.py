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
from minigrad.checks import check_count, check_finite, check_mask, check_number
from minigrad.errors import ArgumentError
from minigrad.layers import drawn
from minigrad.operands import as_array_for
from models.classifier import Classifier, checked_units
from models.dropout import generators


class Inferred(NamedTuple):
    """The logits z that `DeepBoltzmannMachine.infer` ends with. σ(z) is the believed probability that a pixel
    or hidden unit is 1, softmax(z) that of the classes.

    v       (examples, features); None without `pixels_shown`
    h1, h2  (examples, units)
    y       (examples, classes)
    """

    v: mg.Tensor | None
    h1: mg.Tensor
    h2: mg.Tensor
    y: mg.Tensor


class DeepBoltzmannMachine(Classifier):
    """A probability for each state of pixels v, two layers of hidden units h¹ and h², and a one-hot class y:

        P(v, h¹, h², y) = exp(vᵀW₁h¹ + h¹ᵀW₂h² + h²ᵀW₃y + aᵀv + b₁ᵀh¹ + b₂ᵀh² + cᵀy) / Z

    Each v and h is 0 or 1; a grey pixel enters with its value. Only neighbours in the chain v – h¹ – h² – y
    are connected, and a connection works both ways: no layer follows from the one below alone. So h¹, h² and
    y are inferred, in a fixed number of rounds (`infer`). The logits are those that y has from the last h²,
    with all pixels shown.

    Maximum likelihood would need the gradient of ln Z, a sum over all states. It does not occur here:
    `prediction_cost` judges what the rounds predict. They are matrix products, σ and softmax, so that
    backpropagation gives the exact gradient of what is computed: in the Parameters for training, in x for an
    attack. An attack's cost is −ln softmax(z)[y], as that of every Classifier.

    units         (of h¹, of h²)
    iterations    rounds of inference
    label_weight  how many times a hidden label counts in `prediction_cost`, where a hidden pixel counts once.
                  1 as published: beside hundreds of pixels a label is then learned late. With 20, Adam and
                  learning rates from .004 down, few epochs suffice on MNIST.
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
            check_finite("pixel_means", means, (0.0, 1.0))
            p = np.clip(means.astype(np.float64), 0.001, 0.999)
            self.a = mg.Parameter(np.log(p / (1.0 - p)).astype(np.float32))

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return self.infer(x).y

    def infer(self, x: Any, y: Any = None, *, pixels_shown: Any = None, labels_shown: Any = None) -> Inferred:
        """Mean-field inference. P(what is hidden | what is shown) is a sum over all states. It is
        approximated by a q in which all units are independent: it is given by their means v, h¹, h², y.

        They begin at v = σ(a) and h² = σ(b₂), with what is shown in its place. A round is

            h¹ = σ(W₁ᵀv + W₂h² + b₁),  y = softmax(W₃ᵀh² + c);  then
            v = σ(W₁h¹ + a),  h² = σ(W₂ᵀh¹ + W₃y + b₂).

        h¹ and y are not connected, nor are v and h². So each of the two lines makes KL(q ‖ P) as small as it
        can be while the other two means stay, and it never rises. Set all four at once, and it could.

        x             (examples, features), pixels in [0, 1]; an attack may leave that range
        y             (examples,), the labels; None if none is shown
        pixels_shown  which pixels are shown: True or 1, and False or 0 for the others. (examples, features),
                      or (features,) for all examples alike; all pixels if None. Hidden ones are not looked
                      at, and may be NaN.
        labels_shown  which of the labels y are shown, (examples,); all if None. Hidden ones must be labels
                      too.

        The result, `Inferred`, has logits, also of what is shown: what the rest makes of it. (v is None
        without `pixels_shown`; y's logits are those from the last h².) The lower half of 28 × 28 pixels is
        filled in from the upper one by

            upper = np.arange(784) < 392
            z = model.infer(x, pixels_shown=upper)
            filled = np.where(upper, x, mg.sigmoid(z.v).numpy())

        ArgumentError or ArgumentTypeError, naming the argument, for shapes or labels that do not fit, and for
        masks that hold anything else (seen on the host). BackendError for labels or masks of a library that
        is neither x's nor NumPy.
        """
        x = self._batch(x)
        library = backend.of(x.data)
        if y is not None:
            y = self._labels(y, x)
        elif labels_shown is not None:
            raise ArgumentError("y must be given with labels_shown, got None")
        if pixels_shown is not None:
            pixels_shown = checked_mask("pixels_shown", pixels_shown, (x.shape, x.shape[1:]), library)
        if labels_shown is not None:
            labels_shown = checked_mask("labels_shown", labels_shown, (x.shape[:1],), library)[:, None]

        hidden_pixels = hidden_labels = None
        if pixels_shown is not None:
            x, hidden_pixels = mg.where(pixels_shown, x, 0.0), (~pixels_shown).astype(x.dtype)
        if y is not None:
            y = self._is_label(y, library)
            if labels_shown is not None:
                y, hidden_labels = y & labels_shown, (~labels_shown).astype(x.dtype)
            y = y.astype(x.dtype)
        return self._settled(x, hidden_pixels, y, hidden_labels)

    def _settled(self, v_shown: Any, hidden_pixels: Any, y_shown: Any, hidden_labels: Any) -> Inferred:
        """`infer` of pixels and one-hot labels that are 0 where they are hidden. There the masks are 1, and 0
        elsewhere. A mask is None if nothing is hidden, y_shown if no label is shown."""
        if hidden_pixels is None:
            from_v = v_shown @ self.W1 + self.b1  # the same in every round
        classes = y_shown
        z_v: mg.Tensor = self.a
        h2 = mg.sigmoid(self.b2)
        for _ in range(self.iterations):
            if hidden_pixels is not None:
                from_v = (v_shown + hidden_pixels * mg.sigmoid(z_v)) @ self.W1 + self.b1
            z_h1 = from_v + h2 @ self.W2.T
            h1 = mg.sigmoid(z_h1)
            if y_shown is None:
                classes = mg.softmax(h2 @ self.W3 + self.c)
            elif hidden_labels is not None:
                classes = y_shown + hidden_labels * mg.softmax(h2 @ self.W3 + self.c)
            if hidden_pixels is not None:
                z_v = h1 @ self.W1.T + self.a
            z_h2 = h1 @ self.W2 + classes @ self.W3.T + self.b2
            h2 = mg.sigmoid(z_h2)
        return Inferred(None if hidden_pixels is None else z_v, z_h1, z_h2, h2 @ self.W3 + self.c)

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
        x = self._batch(x)
        y = self._labels(y, x)
        if x.shape[0] == 0:
            raise ArgumentError("x and y must hold at least one example, got none")
        library = backend.of(x.data)
        # Dropout of ones draws the coins: on the device, and anew in each replay of a recorded step.
        hidden_pixels, hidden_labels = (
            mg.dropout(library.xp.ones(shape, x.dtype), keep=0.5, scale=1.0, generator=self.mask_generator)
            for shape in (x.shape, (x.shape[0], 1))
        )
        is_label = self._is_label(y, library).astype(x.dtype)
        z = self._settled(
            x * (1.0 - hidden_pixels), hidden_pixels, is_label * (1.0 - hidden_labels), hidden_labels
        )
        assert z.v is not None
        of_pixels = mg.sum(hidden_pixels * (x * mg.softplus(-z.v) + (1.0 - x) * mg.softplus(z.v)))
        of_labels = mg.sum(hidden_labels[:, 0] * mg.softmax_cross_entropy(z.y, y, reduction="none"))
        return (of_pixels + self.label_weight * of_labels) / float(x.shape[0])


def checked_mask(name: str, mask: Any, shapes: tuple[tuple[int, ...], ...], library: Any) -> Any:
    """A mask of one of these shapes, as booleans of this library."""
    mask = as_array_for(library, mask, name, "x is")
    if mask.shape not in shapes:
        raise ArgumentError(f"{name} must have shape {' or '.join(map(str, shapes))}, got {mask.shape}")
    if mask.dtype.kind != "b":
        check_mask(name, mask)
    return library.asarray(mask) != 0
