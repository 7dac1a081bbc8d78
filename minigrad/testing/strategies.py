"""Hypothesis strategies for the inputs of gradient tests.

Shapes and layouts are hypothesis's to shrink; the numbers come from a drawn seed, spread evenly, so
that a failing example shrinks to the smallest shape with ordinary numbers in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.checks import check_number
from minigrad.errors import ArgumentError, ArgumentTypeError

Shape = tuple[int, ...]
Sample = Callable[[np.random.Generator, Shape], np.ndarray]

LAYOUTS = ("C", "F", "transposed", "every second", "reversed", "read-only", "broadcast")
WITHOUT_REPEATS = LAYOUTS[:-1]  # a broadcast view repeats its elements


def seeds() -> st.SearchStrategy[int]:
    """Seeds for random generators."""
    return st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Any:
    """Shapes, those without dimensions and with axes of length 0 and 1 among them.

    Two in three have no axis of length 0, so that most examples have something to test.
    """
    dims = {"min_dims": min_dims, "max_dims": max_dims, "max_side": max_side}
    sides = [min_side, max(min_side, 1), max(min_side, 1)]
    return st.sampled_from(sides).flatmap(lambda side: hnp.array_shapes(min_side=side, **dims))


@st.composite
def _with_layout(draw: st.DrawFn, shape: Any, sample: Sample, dtype: Any, layouts: Sequence[str]) -> Any:
    if np.dtype(dtype).kind != "f":
        raise ArgumentTypeError(f"dtype must be a floating-point type, got {np.dtype(dtype)}")
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    random = np.random.default_rng(draw(seeds()))
    layout = draw(st.sampled_from(layouts))
    if layout == "broadcast" and shape:
        axis = draw(st.integers(0, len(shape) - 1))
        narrow = sample(random, (*shape[:axis], min(shape[axis], 1), *shape[axis + 1 :])).astype(dtype)
        return np.broadcast_to(narrow, shape)
    return in_layout(sample(random, shape).astype(dtype), layout)


def in_layout(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values, laid out in memory as LAYOUTS names it."""
    array = np.asarray(array)
    if layout == "F":
        return np.array(array, order="F")
    if layout == "transposed":
        return np.array(array.T, order="C").T
    if layout == "every second" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed" and array.ndim:
        return np.array(array[::-1], order="C")[::-1]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


def arrays(
    shape: Any = None,
    *,
    dtype: Any = np.float64,
    low: float = -2.0,
    high: float = 2.0,
    layouts: Sequence[str] = LAYOUTS,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of numbers between low and high, in every layout.

    shape  a shape, a strategy of shapes, or None for `shapes()`
    """
    return away_from((), shape, dtype=dtype, low=low, high=high, layouts=layouts)


def away_from(
    kinks: Sequence[float],
    shape: Any = None,
    *,
    margin: float = 0.05,
    dtype: Any = np.float64,
    low: float = -2.0,
    high: float = 2.0,
    layouts: Sequence[str] = LAYOUTS,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of numbers between low and high, none of them within `margin` of a kink."""
    pieces = _pieces(sorted(kinks), margin, low, high)
    lengths = np.array([right - left for left, right in pieces])
    ends = np.cumsum(lengths)

    if (
        np.dtype(dtype).kind == "f"
        and kinks
        and margin < 4 * float(np.finfo(dtype).eps) * max(map(abs, kinks))
    ):
        raise ArgumentError(f"margin must be more than {np.dtype(dtype)} rounds away, got {margin}")

    def sample(random: np.random.Generator, shape: Shape) -> np.ndarray:
        # A point of the pieces laid end to end, then put back in its place.
        position = random.uniform(0.0, ends[-1], shape)
        piece = np.searchsorted(ends, position, side="right").clip(max=len(pieces) - 1)
        start = np.array([left for left, _ in pieces])[piece]
        return start + (position - (ends - lengths)[piece])

    return _with_layout(shapes() if shape is None else shape, sample, dtype, layouts)


def _pieces(kinks: list[float], margin: float, low: float, high: float) -> list[tuple[float, float]]:
    check_number("low", low)
    check_number("high", high, low=low)
    check_number("margin", margin, low=0.0)
    pieces = []
    for kink in kinks:
        if min(high, kink - margin) > low:
            pieces.append((low, min(high, kink - margin)))
        low = max(low, kink + margin)
    if high > low:
        pieces.append((low, high))
    if not pieces:
        raise ArgumentError(f"kinks leave nothing between low and high: {kinks} with margin {margin}")
    return pieces


def distinct_arrays(
    shape: Any = None,
    *,
    dtype: Any = np.float64,
    low: float = -2.0,
    high: float = 2.0,
    layouts: Sequence[str] = WITHOUT_REPEATS,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays whose elements all differ, in any layout but a broadcast one: evenly spaced, in random
    order, so that there are no ties for max or maxout."""

    def sample(random: np.random.Generator, shape: Shape) -> np.ndarray:
        size = int(np.prod(shape))
        values = np.linspace(low, high, size + 2)[1:-1].astype(dtype)
        if len(np.unique(values)) < size:
            raise ArgumentError(f"low and high must leave room for {size} different {np.dtype(dtype)}s")
        return random.permutation(values).reshape(shape)

    return _with_layout(shapes() if shape is None else shape, sample, dtype, layouts)


@st.composite
def broadcastable_arrays(
    draw: st.DrawFn,
    count: int = 2,
    *,
    kinks: Sequence[float] = (),
    dtype: Any = np.float64,
    low: float = -2.0,
    high: float = 2.0,
) -> list[np.ndarray]:
    """`count` arrays whose shapes broadcast together, axes of length 0 and 1 among them."""
    least = draw(st.sampled_from([0, 1, 1]))
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, min_side=least, max_side=4))
    return [draw(away_from(kinks, shape, dtype=dtype, low=low, high=high)) for shape in drawn.input_shapes]


def class_labels(examples: int, classes: int) -> st.SearchStrategy[np.ndarray]:
    """Integers from 0 to classes − 1, one an example."""
    return hnp.arrays(np.int64, examples, elements=st.integers(0, classes - 1))


def sign_labels(examples: int) -> st.SearchStrategy[np.ndarray]:
    """−1 or +1, one an example."""
    return hnp.arrays(np.int64, examples, elements=st.sampled_from([-1, 1]))


def one_hot(examples: int, classes: int, dtype: Any = np.float64) -> st.SearchStrategy[np.ndarray]:
    """(examples, classes) cotangents that each pick one class."""
    return class_labels(examples, classes).map(lambda labels: np.eye(classes, dtype=dtype)[labels])


ACTIVATIONS: dict[str, Callable[[Any], mg.Tensor]] = {
    "tanh": mg.tanh,
    "sigmoid": mg.sigmoid,
    "softplus": mg.softplus,
    "maxout": lambda z: mg.maxout(mg.concatenate([z, -0.5 * z + 0.3], axis=-1), 2),
}


@st.composite
def networks(
    draw: st.DrawFn, max_layers: int = 3, max_width: int = 4
) -> tuple[Callable[..., mg.Tensor], list[np.ndarray]]:
    """(function, inputs) of a small random network: function(x, W, b, W, b, …) returns its logits.

    The inputs, x first, are float64 and have ordinary sizes; activations are drawn layer by layer.
    """
    widths = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=max_layers + 1))
    chosen = draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=len(widths), max_size=len(widths)))
    random = np.random.default_rng(draw(seeds()))
    inputs = [random.normal(size=(draw(st.integers(1, 3)), widths[0]))]
    for width, following in itertools.pairwise(widths):
        inputs += [random.normal(size=(width, following)), random.normal(size=following)]

    def network(x: mg.Tensor, *parameters: mg.Tensor) -> mg.Tensor:
        for layer, (W, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
            if layer:
                x = ACTIVATIONS[chosen[layer]](x)
            x = mg.linear(x, W, b)
        return x

    return network, inputs
