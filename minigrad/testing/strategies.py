"""Hypothesis strategies for the inputs of gradient tests.

Shapes and layouts are hypothesis's to shrink. The numbers come from a drawn seed, so that a failing example
shrinks to the smallest shape, and to ordinary numbers if they fail too.

Every array holds numbers from `low` to `high`, −10 to 10 unless other bounds are given, and none within
`margin` of a kink. In half of the arrays they are ordinary: spread evenly, half of them over the middle of
the range. In the other half some are 0, −0, ±1, the bounds, the edges beside the kinks, the neighbours of
all these, or have any magnitude from 10⁻³⁰⁰ up.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.checks import check_choice, check_count, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.testing.failures import remember

Shape = tuple[int, ...]

LOW, HIGH = -10.0, 10.0
LAYOUTS = ("C", "F", "transposed", "every second", "reversed", "read-only", "broadcast")
WITHOUT_REPEATS = LAYOUTS[:-1]  # a broadcast view repeats its elements
SMALLEST = -300.0  # the power of ten from which magnitudes go up
KINDS = ("ordinary", "special", "distinct")
DEFAULTS: dict[str, Any] = {  # of array_from_seed, which shows what differs from them
    "numbers": "ordinary", "dtype": np.dtype(np.float64), "low": LOW, "high": HIGH, "kinks": [],
    "margin": 0.05, "layout": "C", "repeated": 0,
}  # fmt: skip


def seeds() -> st.SearchStrategy[int]:
    """Seeds for random generators."""
    return st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Any:
    """Shapes, those without dimensions and with axes of length 0 and 1 among them.

    Two in three have no axis of length 0, so that most examples have something to test.
    """
    sides = [min_side, max(min_side, 1), max(min_side, 1)]
    return st.sampled_from(sides).flatmap(lambda side: _shapes(min_dims, max_dims, side, max_side))


@functools.cache  # hypothesis examines every strategy that is new, at some cost
def _shapes(min_dims: int, max_dims: int, min_side: int, max_side: int) -> Any:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


# ---- arrays from a seed


def array_from_seed(
    seed: int,
    shape: Any = (),
    *,
    numbers: str = "ordinary",
    dtype: Any = np.float64,
    low: float = LOW,
    high: float = HIGH,
    kinks: Sequence[float] = (),
    margin: float = 0.05,
    layout: str = "C",
    repeated: int = 0,
) -> np.ndarray:
    """The array that a strategy drew, made again: a failing check shows this call.

    numbers   "ordinary", "special" (see the module), or "distinct": all different, evenly spaced
    layout    how it lies in memory, one of LAYOUTS
    repeated  the axis along which a "broadcast" one repeats its elements
    """
    check_count("seed", seed, low=0)
    check_choice("numbers", numbers, KINDS)
    check_choice("layout", layout, LAYOUTS)
    shape, dtype = as_shape(shape), float_type(dtype)
    pieces = _pieces(kinks, margin, low, high, dtype)
    if layout == "broadcast" and not 0 <= repeated < max(len(shape), 1):
        raise ArgumentError(f"repeated must be an axis of shape {shape}, got {repeated}")
    random = np.random.default_rng(seed)
    full = shape
    if layout == "broadcast" and shape:
        shape = (*shape[:repeated], min(shape[repeated], 1), *shape[repeated + 1 :])
    if numbers == "distinct":
        array = _distinct(random, shape, dtype, low, high)
    else:
        array = _spread(random, shape, pieces)
        if numbers == "special":
            array = _mixed(random, array, pieces, dtype)
    array = np.asarray(array, dtype)
    array = np.broadcast_to(array, full) if layout == "broadcast" else in_layout(array, layout)
    options = {"numbers": numbers, "dtype": dtype, "low": low, "high": high, "kinks": [*kinks],
               "margin": margin, "layout": layout, "repeated": repeated}  # fmt: skip
    written = "".join(
        f", {name}={_written(value)}" for name, value in options.items() if value != DEFAULTS[name]
    )
    return remember(array, f"array_from_seed({seed}, {full}{written})")


def _spread(random: np.random.Generator, shape: Shape, pieces: list[tuple[float, float]]) -> np.ndarray:
    """Ordinary numbers: half of them over all pieces, half over a fifth of their length in the middle."""
    lengths = np.array([right - left for left, right in pieces])
    ends = np.cumsum(lengths)
    # A point of the pieces laid end to end, then put back in its place.
    place = random.uniform(0.0, 1.0, shape)
    place = np.where(random.uniform(size=shape) < 0.5, 0.4 + 0.2 * place, place) * ends[-1]
    piece = np.searchsorted(ends, place, side="right").clip(max=len(pieces) - 1)
    start = np.array([left for left, _ in pieces])[piece]
    return start + (place - (ends - lengths)[piece])


def _mixed(
    random: np.random.Generator, array: np.ndarray, pieces: list[tuple[float, float]], dtype: np.dtype[Any]
) -> np.ndarray:
    """The array with special numbers in place of half of its elements, as far as the pieces hold them."""
    marks = [0.0, 1.0, -1.0, *itertools.chain.from_iterable(pieces)]
    beside = [
        float(np.nextafter(dtype.type(mark), dtype.type(to))) for mark in marks for to in (-np.inf, np.inf)
    ]
    marks = [m for m in [*marks, *beside, -0.0] if any(left <= m <= right for left, right in pieces)]
    greatest = max(abs(end) for piece in pieces for end in piece)
    least = max(SMALLEST, math.log10(float(np.finfo(dtype).tiny)))
    powers = random.uniform(least, max(math.log10(greatest or 1.0), least), array.shape)
    tiny = random.choice([-1.0, 1.0], array.shape) * 10.0**powers
    special = random.choice(marks, array.shape) if marks else array
    choice = random.integers(0, 4, array.shape)
    mixed = np.where(choice == 0, special, np.where(choice == 1, tiny, array))
    inside = np.zeros(array.shape, bool)
    for left, right in pieces:
        inside |= (left <= mixed) & (mixed <= right)
    return np.where(inside, mixed, array)


def _distinct(
    random: np.random.Generator, shape: Shape, dtype: np.dtype[Any], low: float, high: float
) -> np.ndarray:
    size = math.prod(shape)
    values = np.linspace(low, high, size + 2)[1:-1].astype(dtype)
    if len(np.unique(values)) < size:
        raise ArgumentError(f"low and high must leave room for {size} different {dtype}s")
    return random.permutation(values).reshape(shape)


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


def _from_seed(
    shape: Any, numbers: Sequence[str], layouts: Sequence[str], given: Any
) -> st.SearchStrategy[np.ndarray]:
    for layout in layouts:
        check_choice("layouts", layout, LAYOUTS)
    return _drawn(shape, numbers, tuple(layouts), given)


@st.composite
def _drawn(draw: st.DrawFn, shape: Any, numbers: Sequence[str], layouts: Sequence[str], given: Any) -> Any:
    return _draw(draw, shape, numbers, layouts, given)


def _draw(
    draw: st.DrawFn, shape: Any, numbers: Sequence[str], layouts: Sequence[str], given: Any
) -> np.ndarray:
    shape = as_shape(draw(shape) if isinstance(shape, st.SearchStrategy) else shape)
    chosen, layout = draw(st.sampled_from(numbers)), draw(st.sampled_from(layouts))
    repeated = draw(st.integers(0, max(0, len(shape) - 1))) if layout == "broadcast" else 0
    return array_from_seed(draw(seeds()), shape, numbers=chosen, layout=layout, repeated=repeated, **given)


def _written(value: Any) -> str:
    return f"np.{value}" if isinstance(value, np.dtype) else repr(value)


def arrays(
    shape: Any = None,
    *,
    dtype: Any = np.float64,
    low: float = LOW,
    high: float = HIGH,
    elements: st.SearchStrategy[float] | None = None,
    layouts: Sequence[str] = LAYOUTS,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of numbers from low to high, in every layout.

    shape     a shape, a length, a strategy of shapes, or None for `shapes()`
    elements  a strategy of hypothesis's for the numbers, in place of low and high
    """
    if elements is None:
        return away_from((), shape, dtype=dtype, low=low, high=high, layouts=layouts)
    if not isinstance(elements, st.SearchStrategy):
        raise ArgumentTypeError(f"elements must be a strategy, got {type(elements).__name__}")
    drawn = hnp.arrays(float_type(dtype), _shape_or_strategy(shape), elements=elements)
    kinds = [layout for layout in layouts if layout != "broadcast"]
    return st.builds(in_layout, drawn, st.sampled_from(kinds))


def away_from(
    kinks: Sequence[float],
    shape: Any = None,
    *,
    margin: float = 0.05,
    dtype: Any = np.float64,
    low: float = LOW,
    high: float = HIGH,
    layouts: Sequence[str] = LAYOUTS,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of numbers from low to high, none of them within `margin` of a kink."""
    given = _away_from(kinks, margin, dtype, low, high)
    return _from_seed(_shape_or_strategy(shape), KINDS[:2], layouts, given)


def _away_from(kinks: Any, margin: float, dtype: Any, low: float, high: float) -> dict[str, Any]:
    """These settings of `array_from_seed`, checked."""
    dtype = float_type(dtype)
    _pieces(kinks, margin, low, high, dtype)
    kinks = [float(kink) for kink in kinks]
    if kinks and margin < 4 * float(np.finfo(dtype).eps) * max(map(abs, kinks)):
        raise ArgumentError(f"margin must be more than {dtype} rounds away, got {margin}")
    return {"dtype": dtype, "low": low, "high": high, "kinks": kinks, "margin": margin}


def distinct_arrays(
    shape: Any = None,
    *,
    dtype: Any = np.float64,
    low: float = LOW,
    high: float = HIGH,
    layouts: Sequence[str] = WITHOUT_REPEATS,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays whose elements all differ, in any layout but a broadcast one: evenly spaced, in random
    order, so that there are no ties for max or maxout."""
    _pieces((), 0.0, low, high, float_type(dtype))
    given = {"dtype": dtype, "low": low, "high": high}
    return _from_seed(_shape_or_strategy(shape), KINDS[2:], layouts, given)


def _pieces(
    kinks: Sequence[float], margin: float, low: float, high: float, dtype: np.dtype[Any]
) -> list[tuple[float, float]]:
    """The intervals between low and high that keep their distance from every kink. Their ends are numbers of
    the dtype, so that what lies between them stays there when it is rounded."""
    check_number("low", low)
    check_number("high", high, low=low)
    check_number("margin", margin, low=0.0)
    if not isinstance(kinks, Iterable) or isinstance(kinks, str):
        raise ArgumentTypeError(f"kinks must be a list of numbers, got {kinks!r}")
    if max(-low, high, high - low) > float(np.finfo(dtype).max):
        raise ArgumentError(f"low and high must lie within the range of {dtype}, got {low} and {high}")
    starts, ends = [low], []
    for kink in sorted(check_number("kinks", kink) for kink in kinks):
        starts.append(max(starts[-1], kink + margin))
        ends.append(min(high, kink - margin))
    pieces = []
    for left, right in zip(starts, [*ends, high], strict=True):
        inner = _inside(left, right, dtype)
        if inner is not None and (left < right or not ends):
            pieces.append(inner)
    if not pieces:
        raise ArgumentError(f"kinks leave nothing between low and high: {list(kinks)} with margin {margin}")
    return pieces


def _inside(left: float, right: float, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """The interval from the least to the greatest number of the dtype within."""
    least, greatest = dtype.type(left), dtype.type(right)
    if float(least) < left:
        least = np.nextafter(least, dtype.type(np.inf))
    if float(greatest) > right:
        greatest = np.nextafter(greatest, dtype.type(-np.inf))
    return (float(least), float(greatest)) if least <= greatest else None


def float_type(dtype: Any) -> np.dtype[Any]:
    """`dtype`, if it is a floating-point type of 64 bits at most."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentTypeError(f"dtype must be a floating-point type, got {dtype!r}") from error
    if found.kind != "f" or found.itemsize > 8:
        raise ArgumentTypeError(f"dtype must be a floating-point type of at most 64 bits, got {found}")
    return found


def as_shape(shape: Any) -> Shape:
    """A shape from a shape or a length."""
    lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
    try:
        return tuple(check_count("shape", operator.index(n), low=0) for n in lengths)
    except TypeError as error:
        raise ArgumentTypeError(
            f"shape must be a shape, a length or a strategy of shapes, got {shape!r} (a dtype is given by "
            "name: arrays(3, dtype=np.float32))"
        ) from error


def _shape_or_strategy(shape: Any) -> Any:
    if shape is None:
        return shapes()
    return shape if isinstance(shape, st.SearchStrategy) else as_shape(shape)


@st.composite
def broadcastable_arrays(
    draw: st.DrawFn,
    count: int = 2,
    *,
    kinks: Sequence[float] = (),
    dtype: Any = np.float64,
    low: float = LOW,
    high: float = HIGH,
) -> list[np.ndarray]:
    """`count` arrays whose shapes broadcast together, axes of length 0 and 1 among them."""
    given = _away_from(kinks, 0.05, dtype, low, high)
    drawn = draw(_broadcastable_shapes(count, draw(st.sampled_from([0, 1, 1]))))
    return [_draw(draw, shape, KINDS[:2], LAYOUTS, given) for shape in drawn.input_shapes]


@functools.cache
def _broadcastable_shapes(count: int, min_side: int) -> Any:
    return hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, min_side=min_side, max_side=4)


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
