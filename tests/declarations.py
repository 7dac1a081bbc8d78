"""Every operation, declared once: its function, its NumPy reference, its inputs.

tests/test_operations.py crosses each declaration with everything that an operation is held to, and
fails where an operation of minigrad has none. To add one:

    Operation("cube", mg.cube, lambda x: x**3, unary())

`inputs` is a hypothesis strategy of Case objects: the arrays that a gradient is checked in, in all
shapes and layouts, and the options of the call. Kinks are left out by drawing away from them; what
happens *at* them has exact tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import backend, lanes, testing
from minigrad.operations import costs, elementwise, images, maxout_units
from minigrad.operations import shapes as moves
from minigrad.primitives import unbroadcast
from minigrad.testing import broadcastable_arrays, class_labels, seeds, sign_labels, strategies
from minigrad.testing.strategies import HIGH, LOW

# Within other strategies these are made anew for every example, and hypothesis examines each new one.
arrays, away_from, distinct_arrays = map(cache, (testing.arrays, testing.away_from, testing.distinct_arrays))
shapes = cache(strategies.shapes)


@dataclass(frozen=True)
class Case:
    """One call: function(*arrays, **options)."""

    arrays: list[np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    # The public name, with what distinguishes the case behind a blank; `_name` of a private primitive.
    name: str
    function: Callable[..., mg.Tensor]
    reference: Callable[..., Any]
    inputs: st.SearchStrategy[Case]
    differentiable: bool = True
    # Whether NaN and infinities go where the reference takes them (it is the same NumPy formula).
    like_numpy: bool = True

    @property
    def public_name(self) -> str:
        return self.name.split()[0]


# ---- inputs


def unary(low: float = LOW, high: float = HIGH, kinks: tuple[float, ...] = ()) -> st.SearchStrategy[Case]:
    return away_from(kinks, low=low, high=high).map(lambda x: Case([x]))


def binary(low: float = LOW, high: float = HIGH, kinks: tuple[float, ...] = ()) -> st.SearchStrategy[Case]:
    return broadcastable_arrays(low=low, high=high, kinks=kinks).map(Case)


@st.composite
def without_ties(draw: st.DrawFn) -> Case:
    """Two arrays that broadcast and nowhere come close."""
    x, y = draw(broadcastable_arrays())
    return Case([np.round(x * 4) / 4, np.round(y * 4) / 4 + 0.1])


@st.composite
def powers(draw: st.DrawFn) -> Case:
    base, exponent = draw(broadcastable_arrays(low=0.3, high=2.0))
    return Case([base, exponent - 1.0])


@cache
def axes(ndim: int, allow_none: bool = True, single: bool = False) -> st.SearchStrategy[Any]:
    """Every form of an axis: None, an int, negative, a tuple."""
    one = st.integers(-ndim, ndim - 1) if ndim else st.nothing()
    several = (
        st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim).map(tuple) if ndim else st.just(())
    )
    negative = several.map(lambda chosen: tuple(a - ndim for a in chosen))
    forms = [one] if single else [one, several, negative]
    return st.one_of(*([st.none()] if allow_none else []), *forms)


@st.composite
def reductions(
    draw: st.DrawFn, distinct: bool = False, min_side: int = 1, away_from_zero: bool = False
) -> Case:
    of_shape = shapes(min_dims=1, min_side=min_side)
    x = draw(distinct_arrays(of_shape) if distinct else arrays(of_shape))
    if away_from_zero:
        x = np.where(x < 0, x - 0.5, x + 0.5)
    options: dict[str, Any] = {"axis": draw(axes(x.ndim))}
    if draw(st.booleans()):
        options["keepdims"] = draw(st.booleans())
    return Case([x], options)


@st.composite
def reductions_with_ddof(draw: st.DrawFn) -> Case:
    """Of two elements or more, all distinct: where std has no kink."""
    x = draw(distinct_arrays(shapes(min_dims=1, min_side=2)))
    axis = draw(axes(x.ndim).filter(lambda axis: axis != ()))
    return Case(
        [x], {"axis": axis, "ddof": draw(st.sampled_from([0, 1, 0.5])), "keepdims": draw(st.booleans())}
    )


@st.composite
def along_one_axis(draw: st.DrawFn, min_side: int = 1) -> Case:
    x = draw(arrays(shapes(min_dims=1, min_side=min_side)))
    return Case([x], {"axis": draw(axes(x.ndim, allow_none=False, single=True))})


@st.composite
def reshapes(draw: st.DrawFn) -> Case:
    x = draw(arrays())
    shape: list[int] = list(draw(st.permutations(x.shape)))
    if shape and x.size and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return Case([x], {"shape": tuple(shape)})


@st.composite
def transposes(draw: st.DrawFn) -> Case:
    x = draw(arrays())
    order = draw(st.none() | st.permutations(range(x.ndim)).map(tuple))
    if order and draw(st.booleans()):
        order = tuple(a - x.ndim for a in order)
    return Case([x], {"axes": order})


@st.composite
def broadcasts(draw: st.DrawFn) -> Case:
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=draw(shapes()), min_side=0))
    return Case([draw(arrays(drawn.input_shapes[0]))], {"shape": drawn.result_shape})


@st.composite
def unbroadcasts(draw: st.DrawFn) -> Case:
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=draw(shapes()), min_side=0))
    return Case([draw(arrays(drawn.result_shape))], {"shape": drawn.input_shapes[0]})


@st.composite
def indexings(draw: st.DrawFn) -> Case:
    x = draw(arrays(shapes(min_dims=1, min_side=1)))
    kinds = [
        hnp.basic_indices(x.shape, allow_newaxis=True),
        hnp.integer_array_indices(x.shape),
        hnp.arrays(bool, x.shape),
        st.lists(st.integers(-x.shape[0], x.shape[0] - 1), min_size=1, max_size=4),
        hnp.integer_array_indices(x.shape[:1]).map(lambda index: (*index, slice(None, None, -1)))
        if x.ndim > 1
        else st.just(Ellipsis),
    ]
    return Case([x], {"index": draw(st.one_of(*kinds))})


@st.composite
def matrices(draw: st.DrawFn) -> Case:
    least = draw(st.sampled_from([1, 1, 1, 0]))
    drawn = draw(
        hnp.mutually_broadcastable_shapes(
            signature="(n?,k),(k,m?)->(n?,m?)", max_dims=2, min_side=least, max_side=3
        )
    )
    return Case([draw(arrays(shape)) for shape in drawn.input_shapes])


@st.composite
def linears(draw: st.DrawFn) -> Case:
    leading = draw(shapes(min_dims=1, max_dims=2))
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return Case([draw(arrays(shape)) for shape in ((*leading, inputs), (inputs, outputs), (outputs,))])


@st.composite
def joins(draw: st.DrawFn, new_axis: bool) -> Case:
    shape = draw(shapes(min_dims=0 if new_axis else 1))
    axis = draw(st.integers(-len(shape) - new_axis, len(shape) - (not new_axis)))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        own = list(shape)
        if not new_axis:
            own[axis] = draw(st.integers(0, 3))
        parts.append(draw(arrays(tuple(own))))
    return Case(parts, {"axis": axis})


@st.composite
def with_new_axes(draw: st.DrawFn) -> Case:
    x = draw(arrays())
    count = draw(st.integers(0, 2))
    ndim = x.ndim + count
    places = (
        draw(st.lists(st.integers(0, ndim - 1), unique=True, min_size=count, max_size=count)) if count else []
    )
    new = tuple(a - ndim if draw(st.booleans()) else a for a in places)
    return Case([x], {"axis": new[0] if len(new) == 1 and draw(st.booleans()) else new})


@st.composite
def with_axes_of_length_1(draw: st.DrawFn) -> Case:
    case = draw(with_new_axes())
    x = np.expand_dims(case.arrays[0], case.options["axis"])
    ones = [a for a, n in enumerate(x.shape) if n == 1]
    axis = draw(st.none() | st.lists(st.sampled_from(ones), unique=True).map(tuple)) if ones else None
    return Case([x], {"axis": axis})


@st.composite
def paddings(draw: st.DrawFn) -> Case:
    x = draw(arrays())
    width = st.integers(0, 2)
    pair = st.tuples(width, width)
    forms = [width, pair, st.lists(pair, min_size=x.ndim, max_size=x.ndim).map(tuple)] if x.ndim else [width]
    value = draw(st.sampled_from([0, 1.5]))
    return Case([x], {"pad_width": draw(st.one_of(*forms)), "constant_values": value})


@st.composite
def splits(draw: st.DrawFn) -> Case:
    x = draw(arrays(shapes(min_dims=1, min_side=1)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    divisors = [n for n in range(1, x.shape[axis] + 1) if x.shape[axis] % n == 0]
    cuts = st.lists(st.integers(-2, x.shape[axis] + 1), max_size=3)
    where = draw(st.sampled_from(divisors) | cuts)
    parts = len(where) + 1 if isinstance(where, list) else where
    return Case([x], {"indices_or_sections": where, "axis": axis, "part": draw(st.integers(0, parts - 1))})


@st.composite
def einsums_of_arrays(draw: st.DrawFn) -> Case:
    """Any letters in any places: repeated, summed out, dropped, of length 1, beside an ellipsis."""
    lengths = {letter: draw(st.integers(1, 3)) for letter in "ijk"}
    dots = draw(st.lists(st.integers(1, 2), max_size=2)) if draw(st.booleans()) else None
    inputs, operands = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("ijk", max_size=3))
        whole = len(set(letters)) == len(letters) and draw(st.booleans())  # a diagonal's axes are as long
        shape = [1 if whole and draw(st.integers(0, 3)) == 0 else lengths[letter] for letter in letters]
        own_dots = [] if dots is None else dots[draw(st.integers(0, len(dots))) :]
        place = draw(st.integers(0, len(letters)))
        own = letters if dots is None else f"{letters[:place]}...{letters[place:]}"
        inputs.append(own)
        operands.append(draw(arrays((*shape[:place], *own_dots, *shape[place:]))))
    found = sorted(set("".join(inputs)) - {"."})
    output = "".join(draw(st.permutations(found))[: draw(st.integers(0, len(found)))])
    if dots is not None:
        place = draw(st.integers(0, len(output)))
        output = f"{output[:place]}...{output[place:]}"
    arrow = f"->{output}" if draw(st.integers(0, 3)) else ""
    return Case(operands, {"subscripts": ",".join(inputs) + arrow})


@st.composite
def choices(draw: st.DrawFn) -> Case:
    x, y, condition = draw(broadcastable_arrays(3))
    return Case([x, y], {"condition": condition > 0})


@st.composite
def pieces(draw: st.DrawFn) -> Case:
    count, units = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    leading = draw(shapes(max_dims=2))
    return Case([draw(distinct_arrays((*leading, count * units)))], {"pieces": count})


@st.composite
def winners(draw: st.DrawFn, of_units: bool) -> Case:
    count, units = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    leading = draw(shapes(max_dims=2))
    x = draw(arrays((*leading, units if of_units else count * units)))
    z = draw(hnp.arrays(np.float64, (*leading, count, units), elements=st.sampled_from([-1.0, 0.0, 1.0])))
    return Case([x], {"of": (z.reshape(*leading, count * units), z.max(-2)), "pieces": count})


@st.composite
def image_windows(draw: st.DrawFn) -> dict[str, Any]:
    """The shape of an image, of the windows that fit in it, and of their places in it."""
    stride = draw(st.integers(1, 3))
    size = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    image = tuple(k + draw(st.integers(0, 4)) for k in size)
    steps = tuple((n - k) // stride + 1 for n, k in zip(image, size, strict=True))
    examples, channels = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    return {"x": (examples, *image, channels), "W": (*size, channels, 2), "y": (examples, *steps, 2),
            "pooled": (examples, *steps, channels), "size": size, "stride": stride}  # fmt: skip


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    windows = draw(image_windows())
    biases = [draw(arrays(2))] if draw(st.booleans()) else []
    padding = draw(st.sampled_from(["valid", "same", 0, 1, 2]))
    operands = [draw(arrays(windows["x"])), draw(arrays(windows["W"])), *biases]
    return Case(operands, {"stride": windows["stride"], "padding": padding})


@st.composite
def convolution_shares(draw: st.DrawFn, of: str) -> Case:
    windows = draw(image_windows())
    g, other = draw(arrays(windows["y"])), draw(arrays(windows["W" if of == "x" else "x"]))
    size = {"image": windows["x"][1:3]} if of == "x" else {"window": windows["size"]}
    return Case([g, other], {"stride": windows["stride"], **size})


@st.composite
def poolings(draw: st.DrawFn, of: str = "", sums: bool = False) -> Case:
    """Of an image, or of what its windows gave: their greatest numbers or their sums."""
    windows = draw(image_windows())
    options = {"size": windows["size"], "stride": windows["stride"]}
    if not of:
        return Case([draw(distinct_arrays(windows["x"]))], options)
    if sums:
        return Case([draw(arrays(windows[of]))], {**options, "image": windows["x"][1:3]})
    x = draw(hnp.arrays(np.float64, windows["x"], elements=st.sampled_from([-1.0, 0.0, 1.0])))
    options["of"] = (x, _max_pool2d(x, windows["size"], windows["stride"]))
    return Case([draw(arrays(windows[of]))], options)


@st.composite
def scatters(draw: st.DrawFn) -> Case:
    shape = draw(shapes(min_dims=1, min_side=1))
    index = draw(hnp.integer_array_indices(shape) | hnp.basic_indices(shape).map(lambda i: i))
    index = index if isinstance(index, tuple) else (index,)
    return Case([draw(arrays(np.empty(shape)[index].shape))], {"index": index, "shape": shape})


@st.composite
def dropouts(draw: st.DrawFn) -> Case:
    scale = draw(st.none() | st.floats(0.5, 2.0))
    return Case([draw(arrays())], {"keep": draw(st.floats(0.1, 1.0)), "seed": draw(seeds()), "scale": scale})


@st.composite
def drops(draw: st.DrawFn) -> Case:
    word = st.integers(0, 2**64 - 1)
    place = {"key": (draw(word), draw(word)), "counter": (draw(word), draw(word), 0, 0)}
    options = {**place, "threshold": draw(st.integers(1, 2**16)), "scale": draw(st.floats(0.5, 2.0))}
    return Case([draw(arrays())], options)


@st.composite
def labelled(draw: st.DrawFn) -> Case:
    examples, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    z = draw(arrays((examples, classes), low=-40.0, high=40.0))
    labels = draw(class_labels(examples, classes))
    return Case([z], {"labels": labels, "reduction": draw(st.sampled_from(["mean", "sum", "none"]))})


@st.composite
def signed(draw: st.DrawFn) -> Case:
    examples = draw(st.integers(1, 4))
    z = draw(arrays((examples,), low=-30.0, high=30.0))
    labels = draw(sign_labels(examples))
    return Case([z], {"labels": labels, "reduction": draw(st.sampled_from(["mean", "sum", "none"]))})


# ---- references


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def _log_softmax(x: Any, axis: int = -1) -> Any:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def _logsumexp(x: Any, axis: Any, keepdims: bool = False) -> Any:
    return np.log(np.exp(x).sum(axis, keepdims=keepdims))


def _norm(x: Any, axis: Any, keepdims: bool = False) -> Any:
    return np.sqrt(np.sum(x * x, axis, keepdims=keepdims))


def _reduced(costs: Any, reduction: str) -> Any:
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](costs)


def _cross_entropy(z: Any, labels: Any, reduction: str) -> Any:
    return _reduced(-_log_softmax(z)[np.arange(len(z)), labels], reduction)


def _logistic(z: Any, labels: Any, reduction: str) -> Any:
    return _reduced(np.log1p(np.exp(-labels * z)), reduction)


def _maxout(z: Any, pieces: int) -> Any:
    return z.reshape(*z.shape[:-1], pieces, z.shape[-1] // pieces).max(-2)


def _unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    new = g.ndim - len(shape)
    summed = g.sum(tuple(range(new)))
    return summed.sum(tuple(i for i, n in enumerate(shape) if n != summed.shape[i]), keepdims=True).reshape(
        shape
    )


def _spread(u: Any, of: tuple[Any, Any], pieces: int) -> Any:
    return np.where(_first_greatest(of[0], pieces), u[..., None, :], 0.0).reshape(of[0].shape)


def _select(v: Any, of: tuple[Any, Any], pieces: int) -> Any:
    wins = _first_greatest(of[0], pieces)
    return np.where(wins, v.reshape(wins.shape), 0.0).sum(-2)


def _first_greatest(z: Any, pieces: int) -> Any:
    z = z.reshape(*z.shape[:-1], pieces, z.shape[-1] // pieces)
    return z.argmax(-2)[..., None, :] == np.arange(pieces)[:, None]


def _windows(x: Any, size: Any, stride: int) -> Any:
    """(example, i, j, channel, row, column)"""
    return np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))[:, ::stride, ::stride]


def _conv2d(x: Any, W: Any, b: Any = 0.0, stride: int = 1, padding: Any = "valid") -> Any:
    if padding == "same":
        missing = [max((-(-n // stride) - 1) * stride + k - n, 0)
                   for n, k in zip(x.shape[1:3], W.shape[:2], strict=True)]  # fmt: skip
        widths = [(n // 2, -(-n // 2)) for n in missing]
    else:
        widths = [(0 if padding == "valid" else padding,) * 2] * 2
    x = np.pad(x, [(0, 0), *widths, (0, 0)])
    return np.einsum("nijcab,abcf->nijf", _windows(x, W.shape[:2], stride), W) + b


def _conv2d_in_x(g: Any, W: Any, stride: int, image: Any) -> Any:
    x = np.zeros((len(g), *image, W.shape[2]))
    for i, j in np.ndindex(*g.shape[1:3]):
        part = x[:, i * stride : i * stride + W.shape[0], j * stride : j * stride + W.shape[1]]
        part += np.einsum("nf,abcf->nabc", g[:, i, j], W)
    return x


def _conv2d_in_W(g: Any, x: Any, stride: int, window: Any) -> Any:
    return np.einsum("nijcab,nijf->abcf", _windows(x, window, stride), g)


def _max_pool2d(x: Any, size: Any, stride: int) -> Any:
    return _windows(x, size, stride).max((-2, -1))


def _add_to_windows(u: Any, size: Any, stride: int, image: Any) -> Any:
    x = np.zeros((len(u), *image, u.shape[3]))
    for i, j in np.ndindex(*u.shape[1:3]):
        x[:, i * stride : i * stride + size[0], j * stride : j * stride + size[1]] += u[
            :, i : i + 1, j : j + 1
        ]
    return x


def _places(of: tuple[Any, Any], size: Any, stride: int) -> Any:
    """For each window of each channel, where in the image its first greatest is: an index."""
    windows = _windows(of[0], size, stride)
    n, i, j, c = np.indices(windows.shape[:4])
    first = windows.reshape(*windows.shape[:4], size[0] * size[1]).argmax(-1)
    return n, i * stride + first // size[1], j * stride + first % size[1], c


def _spread_windows(u: Any, of: tuple[Any, Any], size: Any, stride: int) -> Any:
    x = np.zeros(of[0].shape)
    np.add.at(x, _places(of, size, stride), u)
    return x


def _scatter(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape)
    np.add.at(out, index, g)
    return out


def _slope(z: Any, labels: Any) -> Any:
    return np.exp(_log_softmax(z)) - np.eye(z.shape[-1])[labels]


def _on_device(function: Callable[..., mg.Tensor], name: str) -> Callable[..., mg.Tensor]:
    """The function with one of its options moved beside its arrays."""

    def call(*arguments: Any, **options: Any) -> mg.Tensor:
        value = options[name]
        parts = value if isinstance(value, tuple) else (value,)
        library = backend.current()
        moved = tuple(library.asarray(part) if isinstance(part, np.ndarray) else part for part in parts)
        options[name] = moved if isinstance(value, tuple) else moved[0]
        return function(*arguments, **options)

    return call


def _dropout(x: Any, keep: float, seed: int, scale: float | None) -> Any:
    threshold = round(keep * 2**16)
    factor = 2**16 / threshold if scale is None else scale
    return x * factor * (_sixteen_bits(np.random.default_rng(seed), x) < threshold)


def _sixteen_bits(generator: np.random.Generator, x: Any) -> Any:
    words = generator.integers(0, 2**64 - 1, -(-x.size // 16) * 4, np.uint64, endpoint=True)
    numbers = [int(word) >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    return np.array(numbers[: x.size]).reshape(x.shape)


def _dropped(x: Any, key: Any, counter: Any, threshold: int, scale: float) -> Any:
    philox = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))
    return x * scale * (_sixteen_bits(np.random.Generator(philox), x) < threshold)


def _einsum(*operands: Any, subscripts: str) -> Any:
    return np.einsum(subscripts, *operands)


# ---- the table


OPERATIONS = [
    Operation("add", mg.add, np.add, binary()),
    Operation("subtract", mg.subtract, np.subtract, binary()),
    Operation("multiply", mg.multiply, np.multiply, binary()),
    Operation("divide", mg.divide, np.divide, binary(kinks=(0.0,))),
    Operation("power", mg.power, np.power, powers()),
    Operation("power of a number", lambda x: 1.7**x, lambda x: 1.7**x, unary()),
    Operation("power to -2", lambda x: x**-2, lambda x: x**-2.0, unary(kinks=(0.0,))),
    Operation("power to 0", lambda x: x**0, lambda x: x**0, unary()),
    Operation("negative", mg.negative, np.negative, unary()),
    Operation("square", mg.square, np.square, unary()),
    Operation("sin", mg.sin, np.sin, unary()),
    Operation("cos", mg.cos, np.cos, unary()),
    Operation("exp", mg.exp, np.exp, unary()),
    Operation("expm1", mg.expm1, np.expm1, unary()),
    Operation("log", mg.log, np.log, unary(low=0.2)),
    Operation("log1p", mg.log1p, np.log1p, unary(low=-0.8)),
    Operation("sqrt", mg.sqrt, np.sqrt, unary(low=0.2)),
    Operation("tanh", mg.tanh, np.tanh, unary(low=-20.0, high=20.0)),
    Operation(
        "_sigmoid_slope",
        elementwise._sigmoid_slope,
        lambda x: 0.25 * np.cosh(0.5 * x) ** -2.0,
        unary(-40.0, 40.0),
    ),
    Operation("_tanh_slope", elementwise._tanh_slope, lambda x: np.cosh(x) ** -2.0, unary(-20.0, 20.0)),
    Operation(
        "_power_times_log",
        lambda x, n: elementwise._power_times_log(x, n, 1),
        lambda x, n: x**n * np.log(x),
        powers(),
    ),
    Operation("sigmoid", mg.sigmoid, _sigmoid, unary(low=-40.0, high=40.0)),
    Operation("softplus", mg.softplus, lambda x: np.logaddexp(x, 0.0), unary(low=-40.0, high=40.0)),
    Operation("abs", mg.abs, np.abs, unary(kinks=(0.0,))),
    Operation("sign", mg.sign, np.sign, unary(), differentiable=False),
    Operation("relu", mg.relu, lambda x: np.maximum(x, 0.0), unary(kinks=(0.0,))),
    Operation("maximum", mg.maximum, np.maximum, without_ties()),
    Operation("minimum", mg.minimum, np.minimum, without_ties()),
    Operation(
        "where",
        _on_device(lambda x, y, condition: mg.where(condition, x, y), "condition"),
        lambda x, y, condition: np.where(condition, x, y),
        choices(),
    ),
    Operation(
        "clip", lambda x: mg.clip(x, -1.0, 1.0), lambda x: np.clip(x, -1.0, 1.0), unary(kinks=(-1.0, 1.0))
    ),
    Operation("clip above", lambda x: mg.clip(x, high=1), lambda x: np.minimum(x, 1.0), unary(kinks=(1.0,))),
    Operation("clip nothing", mg.clip, np.copy, unary()),
    Operation(
        "clip to arrays",
        lambda x, y: mg.clip(x, y, y + 1.0),
        lambda x, y: np.clip(x, y, y + 1.0),
        without_ties(),
    ),
    Operation("copy", mg.copy, np.copy, unary()),
    Operation("astype", lambda x: mg.astype(x, x.dtype), np.copy, unary()),
    Operation("to_backend", lambda x: mg.to_backend(x, backend.current().name), np.copy, unary()),
    Operation("sum", mg.sum, np.sum, reductions(min_side=0)),
    Operation("mean", mg.mean, np.mean, reductions()),
    Operation("max", mg.max, np.max, reductions(distinct=True)),
    Operation("min", mg.min, np.min, reductions(distinct=True)),
    Operation("var", mg.var, np.var, reductions_with_ddof()),
    Operation("std", mg.std, np.std, reductions_with_ddof()),
    Operation(
        "norm",
        lambda x, axis, keepdims=False: mg.norm(x, axis=axis, keepdims=keepdims),
        _norm,
        reductions(away_from_zero=True),
    ),
    # Of which products may overflow depends on the order.
    Operation("prod", mg.prod, np.prod, reductions(min_side=0), like_numpy=False),
    Operation("cumsum", mg.cumsum, np.cumsum, along_one_axis(0) | arrays().map(lambda x: Case([x]))),
    Operation("logaddexp", mg.logaddexp, np.logaddexp, binary(low=-40.0, high=40.0)),
    Operation("_difference", elementwise._difference, np.subtract, binary(), like_numpy=False),
    Operation("logsumexp", mg.logsumexp, _logsumexp, reductions(), like_numpy=False),
    Operation(
        "softmax",
        mg.softmax,
        lambda x, axis: np.exp(_log_softmax(x, axis)),
        along_one_axis(),
        like_numpy=False,
    ),
    Operation("log_softmax", mg.log_softmax, _log_softmax, along_one_axis(), like_numpy=False),
    Operation("reshape", mg.reshape, lambda x, shape: np.reshape(x, shape), reshapes()),
    Operation("transpose", mg.transpose, np.transpose, transposes()),
    Operation("broadcast_to", mg.broadcast_to, np.broadcast_to, broadcasts()),
    Operation("_unbroadcast", unbroadcast, _unbroadcast, unbroadcasts()),
    Operation("getitem", mg.getitem, lambda x, index: x[index], indexings()),
    Operation(
        "concatenate",
        lambda *xs, axis: mg.concatenate(xs, axis),
        lambda *xs, axis: np.concatenate(xs, axis),
        joins(False),
    ),
    Operation(
        "stack", lambda *xs, axis: mg.stack(xs, axis), lambda *xs, axis: np.stack(xs, axis), joins(True)
    ),
    Operation("expand_dims", mg.expand_dims, np.expand_dims, with_new_axes()),
    Operation("squeeze", mg.squeeze, np.squeeze, with_axes_of_length_1()),
    Operation("pad", mg.pad, np.pad, paddings()),
    Operation(
        "split",
        lambda x, indices_or_sections, axis, part: mg.split(x, indices_or_sections, axis)[part],
        lambda x, indices_or_sections, axis, part: np.split(x, indices_or_sections, axis)[part],
        splits(),
    ),
    Operation(
        "einsum",
        lambda *xs, subscripts: mg.einsum(subscripts, *xs),
        _einsum,
        einsums_of_arrays(),
        like_numpy=False,
    ),
    Operation("matmul", mg.matmul, np.matmul, matrices()),
    Operation("linear", mg.linear, lambda x, W, b: x @ W + b, linears()),
    Operation("conv2d", mg.conv2d, _conv2d, convolutions(), like_numpy=False),
    Operation("max_pool2d", mg.max_pool2d, _max_pool2d, poolings()),
    Operation(
        "avg_pool2d",
        mg.avg_pool2d,
        lambda x, size, stride: _windows(x, size, stride).mean((-2, -1)),
        poolings(),
    ),
    Operation("maxout", mg.maxout, _maxout, pieces()),
    Operation(
        "dropout",
        lambda x, keep, seed, scale: mg.dropout(
            x, keep=keep, generator=np.random.default_rng(seed), scale=scale
        ),
        _dropout,
        dropouts(),
    ),
    Operation(
        "softmax_cross_entropy", mg.softmax_cross_entropy, _cross_entropy, labelled(), like_numpy=False
    ),
    Operation("logistic_cost", mg.logistic_cost, _logistic, signed(), like_numpy=False),
    # Primitives of the library's own that serve as derivatives of others.
    Operation(
        "_spread", _on_device(maxout_units._spread, "of"), _spread, winners(of_units=True), like_numpy=False
    ),
    Operation(
        "_select", _on_device(maxout_units._select, "of"), _select, winners(of_units=False), like_numpy=False
    ),
    Operation("_conv2d_in_x", images._conv2d_in_x, _conv2d_in_x, convolution_shares("x"), like_numpy=False),
    Operation("_conv2d_in_W", images._conv2d_in_W, _conv2d_in_W, convolution_shares("W"), like_numpy=False),
    Operation(
        "_sum_windows",
        images._sum_windows,
        lambda x, size, stride: _windows(x, size, stride).sum((-2, -1)),
        poolings(),
        like_numpy=False,
    ),
    Operation(
        "_add_to_windows",
        images._add_to_windows,
        _add_to_windows,
        poolings("pooled", sums=True),
        like_numpy=False,
    ),
    Operation(
        "_spread_windows",
        _on_device(images._spread_windows, "of"),
        _spread_windows,
        poolings("pooled"),
        like_numpy=False,
    ),
    Operation(
        "_select_windows",
        _on_device(images._select_windows, "of"),
        lambda v, of, size, stride: v[_places(of, size, stride)],
        poolings("x"),
        like_numpy=False,
    ),
    Operation("_scatter", _on_device(moves._scatter, "index"), _scatter, scatters()),
    Operation(
        "_cross_entropy_slope",
        _on_device(costs._cross_entropy_slope, "labels"),
        _slope,
        labelled().map(lambda case: Case(case.arrays, {"labels": case.options["labels"]})),
        like_numpy=False,
    ),
]
if not lanes.PLAIN:
    OPERATIONS.append(Operation("_dropped_at", mg.fast.forms.dropped_at, _dropped, drops()))
