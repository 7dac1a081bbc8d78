"""Costs of classifiers, each fused with the last layer: computed from logits and not from probabilities.

A *logit* z is a score without bounds: a class's probability is softmax(z) or σ(z). The *margin* of an
example is its label's logit minus the greatest other one. A cost of probabilities loses its gradient
where a probability rounds to 1, at a margin of 17 in float32. These costs keep it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_choice, check_class_labels, check_real, check_sign_labels
from minigrad.errors import ArgumentError
from minigrad.operands import as_array_for, as_tensor
from minigrad.operations.elementwise import difference, sigmoid
from minigrad.operations.reductions import mean, softmax, softmax_share, sum
from minigrad.primitives import primitive
from minigrad.tensor import Tensor
from minigrad.totals import total

__all__ = ["logistic_cost", "softmax_cross_entropy"]

def _reduce(costs: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return costs
    return mean(costs) if reduction == "mean" else sum(costs)

def _checked(labels: Any, logits: Any, reduction: str) -> tuple[Any, Any, Any]:
    """(labels as an array, logits as a Tensor, the backend of the logits), of one library."""
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    logits = as_tensor(logits, "logits")
    check_real("logits", logits.dtype)
    library = backend.of(logits.data)
    labels = as_array_for(library, labels, "labels", "logits are")
    if labels.size == 0 and reduction == "mean":
        raise ArgumentError("labels must name at least one example for the mean cost, got none")
    return labels, logits, library

def _rows(z: Any, labels: Any) -> tuple[Any, Any]:
    """(logits as rows, and where in their memory, read row by row, each label's is: one index is found in
    a third of the time that two take)."""
    xp = backend.of(z).xp
    z = xp.ascontiguousarray(z.reshape(labels.size, z.shape[-1]))
    return z, xp.arange(0, z.size, z.shape[-1]) + labels.reshape(-1).astype(np.intp, copy=False)

@primitive
def _cross_entropy(xp: Any, z: Any, labels: Any) -> Any:
    rows, at_label = _rows(z, labels)
    d = difference(xp, rows, rows.reshape(-1)[at_label][:, None])  # zⱼ − z_label; 0 at the label
    m = d.max(-1)
    with np.errstate(under="ignore"):
        e = xp.exp(difference(xp, d, m[:, None]))
        e.reshape(-1)[at_label] = 0.0
        # ln Σ e^d = m + ln(Σ_others e^(d−m) + e^−m). Written so, a confident right answer (m = 0, tiny
        # others) costs its tiny amount, where ln(1 + tiny) would be 0.
        return (m + xp.log1p(total(e, -1) + xp.expm1(-m))).reshape(labels.shape)

@primitive
def _cross_entropy_slope(xp: Any, z: Any, labels: Any) -> Any:
    rows, at_label = _rows(z, labels)
    with np.errstate(under="ignore"):
        p = xp.exp(difference(xp, rows, rows.max(-1, keepdims=True)))
        p /= total(p, -1, keepdims=True)
    # At the label p − 1 rounds to 0 for a confident right answer; −Σ of the others does not.
    p.reshape(-1)[at_label] = 0.0
    p.reshape(-1)[at_label] = -total(p, -1)
    return p.reshape(z.shape)
# ∂cost/∂zⱼ = pⱼ − [j is the label], p = softmax(z)
_cross_entropy.set_vjps(lambda g, cost, z, labels: _cross_entropy_slope(z, labels) * g[..., None])

@_cross_entropy_slope.set_vjps
def _cross_entropy_slope_in_z(g: Tensor, y: Tensor, z: Tensor, labels: Any) -> Tensor:
    return softmax_share(g, softmax(z))  # the label's 1 is constant: this is softmax's own derivative

def softmax_cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """−ln softmax(logits)[label] of each example, reduced by "mean", "sum" or "none".

    logits  (…, classes), real
    labels  (…), integers from 0 to classes − 1; a list or a NumPy array is moved beside the logits

    Finite at any finite logits whose differences are, and its gradient at the label does not round
    to 0 while e^−margin is a number: in float32 up to a margin of about 100. Infinite logits have the
    probabilities that `softmax` gives them: a label at −∞ costs ∞, one at +∞ alone costs 0.
    """
    labels, logits, library = _checked(labels, logits, reduction)
    if logits.ndim == 0:
        raise ArgumentError("logits must have shape (…, classes), got ()")
    if logits.shape[-1] == 0:
        raise ArgumentError(f"logits must have at least one class, got shape {logits.shape}")
    check_class_labels("labels", labels, logits.shape[:-1], logits.shape[-1])
    return _reduce(_cross_entropy(logits, library.asarray(labels)), reduction)

@primitive
def _logistic(xp: Any, z: Any, labels: Any) -> Any:
    m = -labels * z
    with np.errstate(under="ignore"):
        return xp.maximum(m, 0.0) + xp.log1p(xp.exp(-xp.abs(m)))
_logistic.set_vjps(lambda g, cost, z, labels: g * (-labels * sigmoid(-labels * z)))

def logistic_cost(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """ζ(−y z) of each example, ζ(t) = ln(1 + eᵗ), reduced by "mean", "sum" or "none".

    logits  z, of any shape, real: the log-odds of the label +1
    labels  y, −1 or +1, of the same shape

    Paper, section 5: the training cost of logistic regression with P(y = 1) = σ(z).
    """
    labels, logits, library = _checked(labels, logits, reduction)
    check_sign_labels("labels", labels, logits.shape)
    return _reduce(_logistic(logits, library.asarray(labels, logits.dtype)), reduction)
