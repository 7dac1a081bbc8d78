"""The exact worst case of a model that is linear in its input (paper, section 5)."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from attacks.gradients import prepare
from attacks.norms import INFINITY, check_norm, steepest
from minigrad import backend
from minigrad.errors import ArgumentError, check_number


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
            ArgumentError where z is not linear (seen on the host).
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
    library = backend.of(x)
    xp = library.xp
    if len(x) == 0:
        return x.copy()
    with mg.no_grad():
        z = model(x).data
    W = _weights(model, x[:1])
    y = library.asarray(y.data if isinstance(y, mg.Tensor) else y)

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
    _check_linear(model, x, z, W, result)
    return result


def _weights(model: Any, example: Any) -> Any:
    """∂z/∂x, (classes, features), at one example; a linear model has the same everywhere."""
    with mg.enable_grad():
        leaf = mg.Tensor(example, requires_grad=True)
        z = model(leaf)
        rows = [z] if z.ndim == 1 else [z[:, k] for k in range(z.shape[1])]
        gradients = [mg.grad(mg.sum(row), leaf, retain_graph=True)[0].data for row in rows]
    return backend.of(example).xp.concatenate(gradients)


def _check_linear(model: Any, x: Any, z: Any, W: Any, moved: Any) -> None:
    if backend.of(x) is not backend.NUMPY:
        return
    with mg.no_grad():
        found = model(moved).data
    change = (moved - x) @ W.T
    expected = z + (change[:, 0] if z.ndim == 1 else change)
    if abs(found - expected).max() > 1e-3 * (1 + abs(expected).max()):
        raise ArgumentError(
            f"model must have logits linear in x, got {type(model).__name__} whose logits are not"
        )
