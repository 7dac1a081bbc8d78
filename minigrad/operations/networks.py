"""What neural networks add: costs fused with their last layer, maxout, dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_choice, check_class_labels, check_count, check_number, check_sign_labels
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError
from minigrad.kernels import MOST_CLASSES
from minigrad.modes import thread
from minigrad.operands import as_array
from minigrad.operations.elementwise import multiply, sigmoid
from minigrad.operations.reductions import mean, softmax, sum
from minigrad.primitives import primitive
from minigrad.tensor import Tensor, raw

# ---- costs


def _reduce(costs: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return costs
    if reduction == "mean" and costs.size == 0:
        raise ArgumentError("labels must name at least one example for the mean cost, got none")
    return mean(costs) if reduction == "mean" else sum(costs)


def _labels_beside(labels: Any, logits: Any) -> tuple[Any, Any, Any]:
    """(labels as an array, logits as a Tensor, the backend of the logits), of one library."""
    logits = logits if isinstance(logits, Tensor) else Tensor(logits)
    labels = as_array(labels)
    library, own = backend.of(logits.data), backend.of(labels)
    if own is not backend.NUMPY and own is not library:
        raise BackendError(f"labels are a {own.name} array, logits a {library.name} array: move one")
    return labels, logits, library


def _rows(z: Any, labels: Any) -> tuple[Any, Any, Any]:
    """(logits as rows, their numbers, their labels)."""
    xp = backend.of(z).xp
    z = z.reshape(labels.size, z.shape[-1])
    return z, xp.arange(len(z)), labels.reshape(-1)


def _kernels_for_costs(z: Any) -> Any:
    """The kernels, where there are some and the classes are few enough for them."""
    return backend.kernels_for(z) if z.shape[-1] <= MOST_CLASSES else None


@primitive
def _cross_entropy(xp: Any, z: Any, labels: Any) -> Any:
    if kernels := _kernels_for_costs(z):
        return kernels.cross_entropy(z, labels)
    rows, i, label = _rows(z, labels)
    d = rows - rows[i, label][:, None]  # zⱼ − z_label; 0 at the label
    m = d.max(-1)
    e = xp.exp(d - m[:, None])
    e[i, label] = 0.0
    # ln Σ e^d = m + ln(Σ_others e^(d−m) + e^−m). Written so, a confident right answer (m = 0, tiny
    # others) costs its tiny amount, where ln(1 + tiny) would be 0.
    return (m + xp.log1p(e.sum(-1) + xp.expm1(-m))).reshape(labels.shape)


@primitive
def _cross_entropy_slope(xp: Any, z: Any, labels: Any) -> Any:
    if kernels := _kernels_for_costs(z):
        return kernels.cross_entropy_slope(z, labels)
    rows, i, label = _rows(z, labels)
    p = xp.exp(rows - rows.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    # At the label p − 1 rounds to 0 for a confident right answer; −Σ of the others does not.
    p[i, label] = 0.0
    p[i, label] = -p.sum(-1)
    return p.reshape(z.shape)


# ∂cost/∂zⱼ = pⱼ − [j is the label], p = softmax(z)
_cross_entropy.set_vjps(lambda g, cost, z, labels: g[..., None] * _cross_entropy_slope(z, labels))


@_cross_entropy_slope.set_vjps
def _cross_entropy_slope_in_z(g: Tensor, y: Tensor, z: Tensor, labels: Any) -> Tensor:
    p = softmax(z)  # the label's 1 is constant: this is softmax's own derivative
    return p * (g - sum(g * p, -1, keepdims=True))


def softmax_cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """−ln softmax(logits)[label] of each example, reduced by "mean", "sum" or "none".

    logits  (…, classes), real
    labels  (…), integers from 0 to classes − 1; a list or a NumPy array is moved beside the logits

    Finite at any finite logits whose differences are, and its gradient at the label does not round
    to 0 while e^−margin is a number: in float32 up to a margin of about 100.
    """
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    labels, logits, library = _labels_beside(labels, logits)
    if logits.ndim == 0:
        raise ArgumentError("logits must have shape (…, classes), got ()")
    check_class_labels("labels", labels, logits.shape[:-1], logits.shape[-1])
    return _reduce(_cross_entropy(logits, library.asarray(labels)), reduction)


@primitive
def _logistic(xp: Any, z: Any, labels: Any) -> Any:
    m = -labels * z
    return xp.maximum(m, 0.0) + xp.log1p(xp.exp(-xp.abs(m)))


_logistic.set_vjps(lambda g, cost, z, labels: g * (-labels * sigmoid(-labels * z)))


def logistic_cost(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """ζ(−y z) of each example, ζ(t) = ln(1 + eᵗ), reduced by "mean", "sum" or "none".

    logits  z, of any shape, real: the log-odds of the label +1
    labels  y, −1 or +1, of the same shape

    Paper, section 5: the training cost of logistic regression with P(y = 1) = σ(z).
    """
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    labels, logits, library = _labels_beside(labels, logits)
    check_sign_labels("labels", labels, logits.shape)
    return _reduce(_logistic(logits, library.asarray(labels, logits.dtype)), reduction)


# ---- maxout


@primitive
def _maxout(xp: Any, z: Any, pieces: int) -> Any:
    if kernels := backend.kernels_for(z):
        return kernels.maxout(z, pieces)
    return _in_pieces(z, pieces).max(-2)


_IN_CACHE = 1 << 16  # elements


@primitive
def _spread(xp: Any, u: Any, of: tuple[Any, Any], pieces: int) -> Any:
    """A number for each unit, at its winning piece, and zeros at the others. `of` is (what maxout was
    given, what it returned)."""
    kernels = backend.kernels_for(u)
    if kernels and u.dtype == of[0].dtype:
        return kernels.spread(u, of[0], pieces)
    wins, shape, units = _wins(*of, pieces), of[0].shape, u.shape[-1]
    if xp is not np:
        return (u[..., None, :] * wins).reshape(shape)
    u, wins = u.reshape(-1, 1, units), wins.reshape(-1, pieces, units)
    result = np.empty(wins.shape, u.dtype)
    # From booleans to numbers, and times u, so many examples at a time that they stay in the cache.
    rows = max(1, _IN_CACHE // (pieces * units))
    for start in range(0, len(u), rows):
        part = result[start : start + rows]
        part[...] = wins[start : start + rows]
        part *= u[start : start + rows]
    return result.reshape(shape)


@primitive
def _select(xp: Any, v: Any, of: tuple[Any, Any], pieces: int) -> Any:
    """Of a number for each piece, that of each unit's winning one."""
    return (_in_pieces(v, pieces) * _wins(*of, pieces)).sum(-2)


def _in_pieces(z: Any, pieces: int) -> Any:
    return z.reshape(*z.shape[:-1], pieces, z.shape[-1] // pieces)


def _wins(z: Any, y: Any, pieces: int) -> Any:
    """True at each unit's first greatest piece: (…, pieces, units)."""
    if kernels := backend.kernels_for(z):
        return kernels.wins(z, pieces)
    xp = backend.of(z).xp
    greatest = _in_pieces(z, pieces) == y[..., None, :]
    if xp is np and np.count_nonzero(greatest) == y.size and not (y.size and np.isnan(y.max())):
        return greatest  # no ties, as nearly always: to count and look for NaN costs least of all
    # Counted down, the first piece has the highest number, which is the maximum: several times faster
    # than argmax over so short an axis.
    countdown = xp.arange(pieces, 0, -1, dtype=np.int8 if pieces < 128 else np.int32)[:, None]
    numbers = greatest * countdown
    return greatest & (numbers == numbers.max(-2, keepdims=True))


# A unit's value is its greatest piece's, so its gradient is that piece's alone. Spreading and
# selecting are linear, and each is the other's transpose.
_maxout.set_vjps(lambda g, y, z, pieces: _spread(g, of=(raw(z), raw(y)), pieces=pieces))
_spread.set_vjps(lambda g, spread, u, of, pieces: _select(g, of=of, pieces=pieces))
_select.set_vjps(lambda g, selected, v, of, pieces: _spread(g, of=of, pieces=pieces))


def maxout(z: Any, pieces: int) -> Tensor:
    """max over pieces: z (…, pieces · units) → (…, units); unit u is the greatest of z's columns
    u, u + units, u + 2 units, … A tie gives the gradient to the first of them.

    Goodfellow et al., "Maxout Networks", 2013 (arXiv 1302.4389), section 2.
    """
    check_count("pieces", pieces)
    z = z if isinstance(z, Tensor) else Tensor(z)
    if z.ndim == 0 or z.shape[-1] % pieces or z.shape[-1] == 0:
        raise ArgumentError(f"z must have a last axis of {pieces} pieces a unit, got shape {z.shape}")
    return _maxout(z, pieces)


# ---- dropout


def dropout(
    x: Any, keep: float = 0.5, *, generator: np.random.Generator, scale: float | None = None
) -> Tensor:
    """x with each element kept with probability `keep` and times `scale`, and set to 0 otherwise.

    keep       rounded to a multiple of 2⁻¹⁶, and 2⁻¹⁶ at least
    generator  of `minigrad.backend.mask_generator`, or any other of NumPy's: one seed, one sequence of
               masks on every backend. On a GPU the former's masks are drawn by the kernel that
               applies them, without memory or a transfer; others' are drawn on the host and uploaded.
    scale      1/keep (as rounded) where None, so that the expected value is x

    It always drops: whether a model is training is for the model to say.
    """
    check_number("keep", keep, low=0.0, high=1.0, low_open=True)
    if not isinstance(generator, np.random.Generator):
        raise ArgumentTypeError(f"generator must be a numpy.random.Generator, got {generator!r}")
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind != "f":
        raise ArgumentTypeError(f"x must be real (floating point), got dtype {x.dtype}")
    if thread.capturing:
        raise BackendError("dropout draws another mask at every step: it cannot be captured")
    threshold = max(1, round(keep * 2**16))
    factor = 2**16 / threshold if scale is None else check_number("scale", scale)
    if backend.kernels_for(x.data) is not None:
        place = _place(generator, x.size)
        if place is not None:
            return _dropped(x, *place, threshold, factor)
    return multiply(x, backend.of(x.data).asarray(_mask(generator, x, threshold, factor)))


def _mask(generator: np.random.Generator, x: Any, threshold: int, factor: float) -> np.ndarray:
    """The factor where an element is kept, 0 elsewhere, on the host."""
    kept = _sixteen_bits(generator, x.size).reshape(x.shape) < threshold
    mask = kept.astype(x.dtype)
    if factor != 1.0:
        mask *= factor
    return mask


def _sixteen_bits(generator: np.random.Generator, count: int) -> Any:
    """So many numbers from 0 to 2¹⁶ − 1, in whole blocks of four words, as Philox makes them: a float a
    number would be twice the work."""
    words = 4 * math.ceil(count / 16)
    return generator.integers(0, 2**64 - 1, words, np.uint64, endpoint=True).view(np.uint16)[:count]


def _place(generator: np.random.Generator, count: int) -> tuple[Any, Any] | None:
    """(key, counter) from which a kernel draws what `_sixteen_bits` would, which are skipped; None where
    the generator is of another kind, or in the middle of a block."""
    bits = generator.bit_generator
    if not isinstance(bits, np.random.Philox):
        return None
    state: Any = bits.state
    if state["buffer_pos"] != 4 or state["has_uint32"]:
        return None
    bits.advance(math.ceil(count / 16))
    return tuple(state["state"]["key"].tolist()), tuple(state["state"]["counter"].tolist())


@primitive
def _dropped(xp: Any, x: Any, key: Any, counter: Any, threshold: int, scale: float) -> Any:
    if kernels := backend.kernels_for(x):
        return kernels.dropout(x, key, counter, threshold, scale)
    generator = np.random.Generator(np.random.Philox(key=np.uint64(key), counter=np.uint64(counter)))
    return x * xp.asarray(_mask(generator, x, threshold, scale))


# The same place in the sequence gives the same mask once more: none is kept.
_dropped.set_vjps(lambda g, y, x, key, counter, threshold, scale: _dropped(g, key, counter, threshold, scale))
