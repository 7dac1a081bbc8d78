"""The exact worst case of a model that is linear in its input (paper, section 5)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from attacks.gradients import check_gradient, evaluating, prepare
from attacks.norms import INFINITY, check_norm, steepest
from attacks.options import options_by_name
from minigrad import backend
from minigrad.checks import check_class_labels, check_number, check_result, check_sign_labels
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array


@options_by_name
def linear_worst_case(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    norm: float = INFINITY,
    bounds: tuple[float, float] | None = None,
) -> Any:
    """x + η with ‖η‖ ≤ ε that leaves the label y the smallest lead over its best rival: a new array.

    model   with logits z(x) = W x + b: one for each class, or a single one for labels −1 and +1.
            ArgumentError if z is not linear (seen on the host).
    norm    inf, 2 or 1; with bounds inf alone

    If no such η changes the prediction, nothing within ε does: for these models this is a proof.
    The lead over class k is z_y − z_k, linear in η, so the worst η against it is
    ε·argmax{⟨d, w_k − w_y⟩ : ‖d‖ ≤ 1}; the rival whose lead can be made smallest is taken. For two
    classes it is what FGSM finds; for more, FGSM follows a mean over the rivals.
    """
    epsilon = check_number("epsilon", epsilon, low=0.0)
    norm = check_norm(norm)
    if bounds is not None and norm != INFINITY:
        raise ArgumentError(f"bounds must be None unless norm is inf, got norm {norm:g}")
    x, y, bounds = prepare(model, x, y, bounds, targeted=False)
    if x.ndim != 2:
        raise ArgumentError(f"x must have shape (examples, features), got {x.shape}")
    if not callable(model):
        raise ArgumentTypeError(
            f"model must be a function from x to logits, a Tensor, got {type(model).__name__}"
        )
    library = backend.of(x)
    y = as_array(y, "y")
    with evaluating(model):
        with mg.no_grad():
            z = _logits(model, x)
        if z.ndim == 1:
            check_sign_labels("y", y, (len(x),))
        else:
            check_class_labels("y", y, (len(x),), z.shape[1])
        if len(x) == 0:
            return x.copy()
        W = _weights(model, x[:1])
        check_gradient(model, W)
        result = _worst(x, library.asarray(y), z, W, epsilon, norm, bounds)
        check_result("the adversarial x", result)
        with mg.no_grad():
            _check_linear(model, x, z, W, result, _logits(model, result))
    return result


def _logits(model: Any, x: Any) -> Any:
    """The array of the model's logits, (examples,) or (examples, classes), or an error."""
    z = model(mg.Tensor(x))
    if not isinstance(z, mg.Tensor) or z.ndim not in (1, 2) or z.shape[0] != len(x):
        what = f"a Tensor of shape {z.shape}" if isinstance(z, mg.Tensor) else type(z).__name__
        raise ArgumentTypeError(
            f"model must return logits, a Tensor of shape ({len(x)}, classes) or ({len(x)},), got {what}"
        )
    check_result(f"the logits of {type(model).__name__}", z.data)
    return z.data


def _worst(
    x: Any, y: Any, z: Any, W: Any, epsilon: float, norm: float, bounds: tuple[float, float] | None
) -> Any:
    """x + η for the logits z of x, whose slopes are W."""
    xp = backend.of(x).xp

    def worst(towards: Any) -> Any:
        """The worst x + η against the slopes `towards`, one row an example."""
        moved = x + epsilon * steepest(towards, norm)
        return moved if bounds is None else xp.clip(moved, *bounds)

    if z.ndim == 1:
        result = worst(-y[:, None].astype(x.dtype) * W)
    else:
        result, least = x, None
        own = xp.arange(z.shape[1]) == y[:, None]
        z_own, W_own = xp.where(own, z, 0).sum(1), W[y]
        for k in range(z.shape[1]):
            towards = W[k] - W_own
            moved = worst(towards)
            lead = z_own - z[:, k] - ((moved - x) * towards).sum(1)
            lead = xp.where(y == k, xp.inf, lead)
            if least is None:
                result, least = moved, lead
            else:
                result = xp.where((lead < least)[:, None], moved, result)
                least = xp.minimum(lead, least)
    return result


def _weights(model: Any, example: Any) -> Any:
    """∂z/∂x, (classes, features), at one example; a linear model has the same everywhere."""
    with mg.enable_grad():
        leaf = mg.Tensor(example, requires_grad=True)
        z = model(leaf)
        rows = [z] if z.ndim == 1 else [z[:, k] for k in range(z.shape[1])]
        gradients = [mg.grad(mg.sum(row), leaf, retain_graph=True)[0].data for row in rows]
        leaf.requires_grad = False  # a model that keeps its input keeps no leaf to be trained
    return backend.of(example).xp.concatenate(gradients)


def _check_linear(model: Any, x: Any, z: Any, W: Any, moved: Any, z_moved: Any) -> None:
    """Raise if logits differ otherwise than W says, between examples or by η (host arrays alone)."""
    if backend.of(x) is not backend.NUMPY:
        return
    limits = np.finfo(z.dtype)
    for found, difference in ((z - z[:1], x - x[:1]), (z_moved - z, moved - x)):
        expected = difference @ W.T
        expected = expected[:, 0] if z.ndim == 1 else expected
        rounding = 1e3 * limits.eps * abs(z).max()
        # Below the least normal number a product is rounded to a multiple of the least number, or to 0.
        rounding += limits.tiny * x.shape[1] * (1.0 + abs(difference).max())
        if not abs(found - expected).max() <= 1e-3 * abs(expected).max() + rounding:
            raise ArgumentError(
                f"model must have logits linear in x, got {type(model).__name__} whose logits are not"
            )
