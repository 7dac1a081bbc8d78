"""What all classifiers share: the checks of x and y, the cost, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import (
    check_choice,
    check_class_labels,
    check_count,
    check_examples,
    check_result,
    shown,
)
from minigrad.errors import ArgumentError
from minigrad.operands import as_array_for, as_tensor


def initial_weights(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """U(−.005, .005), as the maxout paper draws them; float32, on the host."""
    return generator.uniform(-0.005, 0.005, shape).astype(np.float32)


def checked_units(units: Any, pieces: int = 1) -> tuple[int, ...]:
    """The units of each layer; an error if they are no counts, or too many for weights in memory."""
    if not isinstance(units, (tuple, list)):
        raise ArgumentError(f"units must be one number a hidden layer, (240, 240) say, got {shown(units)}")
    for i, n in enumerate(units):
        if check_count(f"units[{i}]", n) * pieces > np.iinfo(np.intp).max // 8:
            raise ArgumentError(f"units[{i}] must leave weights that fit in memory, got {shown(n)}")
    return tuple(map(int, units))


class Classifier(mg.Module):
    """A model of n_classes classes, labelled 0 to n_classes − 1.

    outputs  "softmax" or "sigmoid", as in `MaxoutNetwork`

    LogisticRegression, with labels −1 and +1 and one logit, replaces the four small methods that say
    so: check_labels, predict_proba and the two below them.
    """

    def __init__(self, n_features: int, n_classes: int, outputs: str = "softmax") -> None:
        self.n_features = check_count("n_features", n_features)
        self.n_classes = check_count("n_classes", n_classes, low=2)
        self.outputs = check_choice("outputs", outputs, ("softmax", "sigmoid"))

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        """The logits of a batch whose shape has been checked."""
        raise TypeError(f"{type(self).__name__} does not define logits(self, x)")

    def forward(self, x: Any) -> mg.Tensor:
        """Logits (examples, classes) for x (examples, features)."""
        return self.logits(self._batch(x))

    def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
        """J(θ, x, y) over the examples: their "mean", "sum" or "none".

        x  (examples, features), real;  y  (examples,), the labels

        Of one example: −ln softmax(z)[y], or Σⱼ ζ(−tⱼ zⱼ) for sigmoid outputs, with tⱼ = +1 at the
        label and −1 elsewhere, ζ(t) = ln(1 + eᵗ).
        """
        check_choice("reduction", reduction, ("mean", "sum", "none"))
        x = self._batch(x)
        y = self._labels(y, x)
        if reduction == "mean" and y.shape[0] == 0:
            raise ArgumentError("x and y must hold at least one example for the mean cost, got none")
        return self._cost_of_logits(self.logits(x), y, reduction)

    def predict(self, x: Any) -> Any:
        """The most probable label of each example: an integer array (examples,) of x's library. The model
        predicts in evaluation mode, without dropout, and is afterwards in the mode that it was in.

        NonFiniteError if the logits hold NaN or infinities (seen on the host): their argmax means nothing.
        """
        return self._label_of_logits(self._finite_logits(x).data)

    def predict_proba(self, x: Any) -> Any:
        """The probabilities of the labels: an array (examples, classes) of x's library.

        Mode and NonFiniteError as for `predict`.
        """
        with mg.no_grad():
            return (mg.softmax if self.outputs == "softmax" else mg.sigmoid)(self._finite_logits(x)).data

    def _finite_logits(self, x: Any) -> mg.Tensor:
        """The logits for a prediction: in evaluation mode, without a graph."""
        with self.evaluating(), mg.no_grad():
            z = self(x)
        check_result(f"the logits of {type(self).__name__}", z.data)
        return z

    def check_labels(self, y: Any, examples: int) -> None:
        """Raise unless y holds one label for each of so many examples."""
        check_class_labels("y", y, (examples,), self.n_classes)

    def _cost_of_logits(self, logits: mg.Tensor, y: Any, reduction: str) -> mg.Tensor:
        if self.outputs == "softmax":
            return mg.softmax_cross_entropy(logits, y, reduction)
        costs = mg.logistic_cost(logits, 2 * self._is_label(y, backend.of(logits.data)) - 1, reduction)
        if reduction == "none":
            return mg.sum(costs, axis=-1)
        return costs * self.n_classes if reduction == "mean" else costs

    def _is_label(self, y: Any, library: Any) -> Any:
        """True at each example's label: (examples, classes)."""
        return library.asarray(y)[:, None] == library.xp.arange(self.n_classes)

    def _label_of_logits(self, logits: Any) -> Any:
        return logits.argmax(-1)

    def _labels(self, y: Any, x: mg.Tensor) -> Any:
        """y as an array, with one label for each of the examples x."""
        y = as_array_for(backend.of(x.data), y, "y", "x is")
        self.check_labels(y, x.shape[0])
        return y

    def _batch(self, x: Any) -> mg.Tensor:
        x = as_tensor(x, "x")
        if x.ndim != 2 or x.shape[1] != self.n_features:
            raise ArgumentError(f"x must have shape (examples, {self.n_features}), got {x.shape}")
        check_examples(x)
        return x
