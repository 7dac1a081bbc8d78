"""Random programs of minigrad's differentiable operations: one integer is one program.

    program = draw(17)          # leaves, constants and steps; print(program) is Python to paste
    run(program, library)       # its outputs, and its gradients to third order, as NumPy arrays
    run_torch(program)          # the same from PyTorch
    shrink(program, fails)      # fewer steps that still fail

A program is a list of nodes. A step reads earlier nodes, some of them more than once, and numbers, lists
and arrays. While it is drawn its values are computed: a step whose operand lies at a kink, a tie or
outside of its domain, or whose values leave an ordinary range, is drawn again, and counted.

To add an operation, give it a line in OPERATIONS: what minigrad computes, what PyTorch computes, and a
function of a `Drawing` that gives the arguments.
"""

from __future__ import annotations

import math
import random as random_numbers
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend, lanes
from minigrad.generators import mask_generator

ORDINARY = 30.0  # the greatest value that a step may have
LARGEST_GRADIENT = 1e5
KINK = 1e-3  # how far from a kink or a tie is far enough
TOLERANCE = 1e-9  # of the largest number of its order: rounding in float64, some of it cancelled


@dataclass(frozen=True)
class Ref:
    """The value of an earlier node."""

    node: int


@dataclass(frozen=True)
class Node:
    """operation(*arguments); the leaves are "leaf", "parameter" and "constant", of one array."""

    operation: str
    arguments: tuple[Any, ...]

    def reads(self) -> list[int]:
        return [part.node for a in self.arguments for part in _parts(a) if isinstance(part, Ref)]


LEAVES = {"leaf": "mg.Tensor({}, requires_grad=True)", "parameter": "mg.Parameter({})",
          "constant": "mg.Tensor({})"}  # fmt: skip


@dataclass(frozen=True)
class Program:
    nodes: tuple[Node, ...]
    seed: int  # of the cotangents, and the number it was drawn from

    def __str__(self) -> str:
        lines = [f"# program {self.seed}"]
        for i, node in enumerate(self.nodes):
            written = ", ".join(_written(a) for a in node.arguments)
            call = LEAVES.get(node.operation, f"OURS[{node.operation!r}]({{}})")
            lines.append(f"v{i} = {call.format(written)}")
        return "\n".join(lines)

    def steps(self) -> int:
        return sum(node.operation not in LEAVES for node in self.nodes)

    def outputs(self) -> list[int]:
        """The steps that nothing reads."""
        read = {i for node in self.nodes for i in node.reads()}
        return [i for i, node in enumerate(self.nodes) if i not in read and node.operation not in LEAVES]

    def wanted(self) -> list[int]:
        """What gradients are asked for: the leaves, and to first order the step in the middle. (Beyond
        that, what is held constant beside a step depends on how the rules happen to be written.)"""
        leaves = [i for i, node in enumerate(self.nodes) if node.operation in ("leaf", "parameter")]
        middle = [i for i, node in enumerate(self.nodes) if node.operation in SMOOTH_STEPS and node.reads()]
        return leaves + middle[len(middle) // 2 : len(middle) // 2 + 1]


def _parts(argument: Any) -> Sequence[Any]:
    return argument if isinstance(argument, list) else (argument,)


def _written(argument: Any) -> str:
    if isinstance(argument, Ref):
        return f"v{argument.node}"
    if isinstance(argument, list):
        return f"[{', '.join(map(_written, argument))}]"
    if isinstance(argument, np.ndarray):
        values = argument.tolist() if argument.size else f"np.zeros({argument.shape})"
        return f"np.array({values}, dtype={argument.dtype.name!r})"
    return repr(argument)


# ---- drawing


class RedrawError(Exception):
    """This step cannot be taken here; the reason is counted."""


class Drawing:
    """A program that is being drawn: its nodes and their values so far."""

    def __init__(self, seed: int) -> None:
        self.random = random_numbers.Random(seed)
        self.arrays = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.values: list[np.ndarray] = []
        self.redrawn: Counter[str] = Counter()

    def add(self, node: Node, value: np.ndarray) -> Ref:
        self.nodes.append(node)
        self.values.append(value)
        return Ref(len(self.nodes) - 1)

    def leaf(self, shape: tuple[int, ...], kind: str | None = None) -> Ref:
        data = self.arrays.uniform(-2.0, 2.0, shape)
        kind = kind or self.random.choices(list(LEAVES), (5, 3, 1))[0]
        return self.add(Node(kind, (data,)), data)

    def shape(self) -> tuple[int, ...]:
        ndim = self.random.choices((0, 1, 2, 3), (1, 3, 5, 3))[0]
        return tuple(self.random.choices((0, 1, 2, 3), (1, 4, 8, 8))[0] for _ in range(ndim))

    def some(self, fits: Callable[[np.ndarray], bool] = lambda value: True) -> tuple[Ref, np.ndarray]:
        """One of the values so far, one of the last by preference."""
        found = [i for i, value in enumerate(self.values) if fits(value)]
        if not found:
            raise RedrawError("nothing fits")
        i = self.random.choice(found[-3:] if self.random.random() < 0.7 else found)
        return Ref(i), self.values[i]

    def beside(self, x: np.ndarray) -> tuple[Any, np.ndarray]:
        """Another operand, whose shape broadcasts with x's."""
        kind = self.random.random()
        if kind < 0.2:
            number = self.random.choice((0.5, -1.5, 2, -1, True, 3.0, np.float64(0.75)))
            return number, np.asarray(number, float)
        if kind < 0.55:
            return self.some(lambda value: _broadcasts(value, x))
        shape = [1 if self.random.random() < 0.3 else n for n in x.shape]
        shape = shape[self.random.randint(0, len(shape)) :] if self.random.random() < 0.3 else shape
        if kind < 0.65:
            data = self.arrays.uniform(-2.0, 2.0, shape)
            if kind < 0.59 and data.size and data.ndim:
                return data.tolist(), data
            if kind < 0.62 and data.ndim:
                whole = np.rint(data).astype(np.int64) if kind < 0.61 else data > 0.0
                return whole, whole.astype(float)
            return data, data
        ref = self.leaf(tuple(shape))
        return ref, self.values[ref.node]

    def axes(self, x: np.ndarray) -> Any:
        """None, an axis, or several in any order, some counted from the end."""
        kind = self.random.random()
        if kind < 0.25 or x.ndim == 0:
            return None
        axes = self.random.sample(range(x.ndim), self.random.randint(1, x.ndim))
        axes = [a - x.ndim if self.random.random() < 0.4 else a for a in axes]
        return axes[0] if kind < 0.7 else tuple(axes)

    def axis(self, ndim: int) -> int:
        return self.random.randrange(-ndim, ndim)

    def index(self, shape: tuple[int, ...]) -> Any:
        parts: list[Any] = []
        arrays = self.random.random() < 0.5
        length = self.random.randint(1, 3)  # of all index arrays, so that they meet
        for n in shape[: self.random.randint(0, len(shape))]:
            kind = self.random.random()
            if arrays and n and kind < 0.4:
                found = [self.random.randrange(-n, n) for _ in range(length)]
                parts.append(found if self.random.random() < 0.5 else np.array(found))
            elif n and kind < 0.6:
                parts.append(self.random.randrange(-n, n))
            else:
                bounds = (None, None, 0, 1, -1, n)
                step = self.random.choice((None, 1, 2, -1))
                parts.append(slice(self.random.choice(bounds), self.random.choice(bounds), step))
        if self.random.random() < 0.2:
            parts.insert(self.random.randint(0, len(parts)), None)
        if self.random.random() < 0.2:
            parts.append(Ellipsis)
        if shape and not parts and self.random.random() < 0.5:
            return self.arrays.random(shape[: self.random.randint(1, len(shape))]) < 0.6
        return parts[0] if len(parts) == 1 and self.random.random() < 0.5 else tuple(parts)


def _broadcasts(x: np.ndarray, y: np.ndarray) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(x.shape[::-1], y.shape[::-1], strict=False))


def need(holds: Any, reason: str) -> None:
    if not np.all(holds):
        raise RedrawError(reason)


def apart(x: np.ndarray, at: Any = 0.0) -> None:
    need(np.abs(x - at) > KINK, "kink or tie")


def distinct_maximum(x: np.ndarray, axis: Any) -> None:
    """The greatest element of each group leads by more than rounding."""
    axes = range(x.ndim) if axis is None else [a % x.ndim for a in _several(axis)]
    need(math.prod(x.shape[a] for a in axes), "nothing fits")
    kept = [a for a in range(x.ndim) if a not in axes]
    groups = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), -1) if x.size else x[..., :0]
    if groups.size and groups.shape[-1] > 1:
        two = np.sort(groups, -1)[..., -2:]
        apart(two[..., 1] - two[..., 0])


def _several(axis: Any) -> Any:
    return axis if isinstance(axis, tuple) else (axis,)


# ---- the operations


def unary(domain: Callable[[np.ndarray], None] = lambda x: None) -> Callable[[Drawing], tuple[Any, ...]]:
    def arguments(d: Drawing) -> tuple[Any, ...]:
        ref, x = d.some()
        domain(x)
        return (ref,)

    return arguments


def binary(domain: Callable[..., None] = lambda x, y: None) -> Callable[[Drawing], tuple[Any, ...]]:
    def arguments(d: Drawing) -> tuple[Any, ...]:
        ref, x = d.some()
        other, y = d.beside(x)
        if d.random.random() < 0.5:
            ref, x, other, y = other, y, ref, x
        domain(x, y)
        return ref, other

    return arguments


def _power_domain(x: np.ndarray, y: np.ndarray) -> None:
    need(np.all(x > 0.2), "domain")
    need(np.abs(y) < 4, "domain")


def _power_of_number(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    n = d.random.choice((0, 1, 2, 3, 2.0, -1, 0.5, -0.5))
    apart(x)  # PyTorch's higher derivatives of x⁰ and x¹ are NaN at 0
    if n < 0 or n != int(n):
        need(x > 0.2 if n != int(n) else np.abs(x) > 0.2, "domain")
    return ref, n


def reduction(check: Callable[..., None] = lambda x, axis: None) -> Callable[[Drawing], tuple[Any, ...]]:
    def arguments(d: Drawing) -> tuple[Any, ...]:
        ref, x = d.some()
        axis = d.axes(x)
        check(x, axis)
        return ref, axis, d.random.random() < 0.4

    return arguments


def not_empty(x: np.ndarray, axis: Any) -> None:
    axes = range(x.ndim) if axis is None else _several(axis)
    need(math.prod(x.shape[a] for a in axes), "nothing fits")


def _spread(least: float) -> Callable[[Drawing], tuple[Any, ...]]:
    """For var and std, where the latter is at least so far from its kink."""

    def arguments(d: Drawing) -> tuple[Any, ...]:
        ref, x = d.some()
        axis, ddof = d.axes(x), d.random.choice((0, 1))
        n = math.prod(x.shape if axis is None else [x.shape[a] for a in _several(axis)])
        need(n > ddof, "nothing fits")
        need(x.std(axis) >= least, "kink or tie")
        return ref, axis, d.random.random() < 0.4, ddof

    return arguments


def _cumsum(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    return ref, None if x.ndim == 0 or d.random.random() < 0.3 else d.axis(x.ndim)


def _along_an_axis(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim > 0)
    axis = d.axis(x.ndim)
    need(x.shape[axis], "nothing fits")
    return ref, axis


def _where(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    other, _ = d.beside(x)
    condition = d.arrays.random(x.shape) < 0.5
    kind = d.random.random()
    pair = (ref, other) if d.random.random() < 0.5 else (other, ref)
    return (condition if kind < 0.5 else condition.astype(np.int64), *pair)


def _where_greater(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    left, y = d.some(lambda value: _broadcasts(value, x))
    right, z = d.beside(y)
    need(_broadcasts(z, x) and _broadcasts(np.broadcast_to(0.0, np.broadcast(x, y).shape), z), "nothing fits")
    number = round(d.random.uniform(-1, 1), 2)
    apart(x, number)
    return ref, number, left, right


def _clip(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    low = d.random.choice((None, -1.0, -0.25, 0))
    high = d.random.choice((None, 0.5, 1, 1.5))
    for bound in (low, high):
        if bound is not None:
            apart(x, bound)
    return ref, low, high


def _clip_to_arrays(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    low, a = d.some(lambda value: _broadcasts(value, x))
    high, b = d.some(lambda value: _broadcasts(value, np.broadcast_to(0.0, np.broadcast(x, a).shape)))
    apart(x - a)
    apart(np.maximum(x, a) - b)
    return ref, low, None if d.random.random() < 0.2 else high


def _squeeze(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: 1 in value.shape)
    ones = [a for a, n in enumerate(x.shape) if n == 1]
    some = tuple(d.random.sample(ones, d.random.randint(1, len(ones))))
    return ref, d.random.choice((None, some, some[0] - x.ndim))


def _expand_dims(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim < 3)
    several = x.ndim < 2 and d.random.random() < 0.5
    places = d.random.sample(range(x.ndim + 1 + several), 1 + several)
    return ref, tuple(a - x.ndim - 2 if a == 0 else a for a in places) if several else places[0] - x.ndim - 1


def _pad(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    pairs = tuple((d.random.randint(0, 1), d.random.randint(0, 2)) for _ in range(x.ndim))
    widths = d.random.choice((0, 1, (0, 1), (1, 2), pairs or 1))
    return ref, widths, "constant", d.random.choice((0, -1.5, 2))


def _split(d: Drawing) -> tuple[Any, ...]:
    """And which of the parts."""
    ref, x = d.some(lambda value: value.ndim > 0)
    axis = d.axis(x.ndim)
    length = x.shape[axis]
    if d.random.random() < 0.5:
        parts = d.random.choice([p for p in (1, 2, 3) if length % p == 0])
        return ref, parts, axis, d.random.randrange(parts)
    cuts = tuple(sorted(d.random.randint(0, length) for _ in range(d.random.randint(1, 2))))
    return ref, cuts, axis, d.random.randint(0, len(cuts))


def _einsum(d: Drawing) -> tuple[Any, ...]:
    """Of one array, of it and itself, or of two with letters in common; perhaps "..." for the first axis."""
    ref, x = d.some(lambda value: value.ndim > 0)
    letters = d.random.sample("abcd", x.ndim)
    if x.ndim > 1 and x.shape[0] == x.shape[-1] and d.random.random() < 0.4:
        letters[-1] = letters[0]  # a diagonal
    lengths = dict(zip(letters, x.shape, strict=True))
    operands: list[Any] = [ref]
    inputs = ["".join(letters)]
    if d.random.random() < 0.7:
        common = d.random.sample(sorted(lengths), d.random.randint(0, len(lengths)))
        if d.random.random() < 0.3:
            operands.append(ref)
            inputs.append(inputs[0])
        else:
            if d.random.random() < 0.5:
                common.insert(d.random.randint(0, len(common)), "e")
                lengths["e"] = d.random.randint(0, 3)
            operands.append(d.leaf(tuple(lengths[letter] for letter in common)))
            inputs.append("".join(common))
    output = d.random.sample(sorted(lengths), d.random.randint(0, min(3, len(lengths))))
    first = letters[0]
    if d.random.random() < 0.3 and all(first not in own[1:] for own in inputs) and first not in output[1:]:
        output = [first, *(letter for letter in output if letter != first)]
        texts = [("..." + own[1:] if own[:1] == first else own) for own in (*inputs, "".join(output))]
    else:
        texts = [*inputs, "".join(output)]
    return f"{','.join(texts[:-1])}->{texts[-1]}", operands


def _reshape(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    sides = [n for n in x.shape if n != 1]
    d.random.shuffle(sides)
    sides.insert(d.random.randint(0, len(sides)), 1)
    if x.size and d.random.random() < 0.4:
        return ref, d.random.choice((-1, (-1,), (1, -1)))
    return ref, tuple(sides)


def _transpose(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    axes = d.random.sample(range(x.ndim), x.ndim)
    return ref, None if d.random.random() < 0.3 else tuple(a - x.ndim if a % 2 else a for a in axes)


def _broadcast_to(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim < 3 or 1 in value.shape)
    shape = tuple(d.random.choice((1, 2, 3)) if n == 1 else n for n in x.shape)
    return ref, (*((d.random.choice((1, 2)),) if x.ndim < 3 else ()), *shape)


def _concatenate(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim > 0)
    axis = d.axis(x.ndim)
    others = [x.shape[i] for i in range(x.ndim) if i != axis % x.ndim]
    parts: list[Any] = [ref]

    def fits(v: np.ndarray) -> bool:
        return v.ndim == x.ndim and [v.shape[i] for i in range(v.ndim) if i != axis % v.ndim] == others

    for _ in range(d.random.randint(0, 2)):
        if d.random.random() < 0.6:
            parts.append(d.some(fits)[0])
        else:
            parts.append(
                d.leaf(
                    tuple(d.random.randint(0, 2) if i == axis % x.ndim else n for i, n in enumerate(x.shape))
                )
            )
    d.random.shuffle(parts)
    return parts, axis


def _stack(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim < 3)
    parts: list[Any] = [ref]
    for _ in range(d.random.randint(0, 2)):
        parts.append(d.some(lambda v: v.shape == x.shape)[0] if d.random.random() < 0.6 else d.leaf(x.shape))
    d.random.shuffle(parts)
    return parts, d.axis(x.ndim + 1)


def _getitem(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    index = d.index(x.shape)
    need(x[index].ndim <= 3, "nothing fits")
    return ref, index


def _matmul(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim > 0)
    if d.random.random() < 0.4:
        other, y = d.some(lambda v: v.ndim > 0 and v.shape[-2 if v.ndim > 1 else 0] == x.shape[-1])
        need(
            _broadcasts(
                x[..., :1, :1] if x.ndim > 2 else np.zeros(()), y[..., :1, :1] if y.ndim > 2 else np.zeros(())
            ),
            "nothing fits",
        )
        return ref, other
    n = x.shape[-1]
    batch = d.random.choice(((), (), (1,), x.shape[:-2])) if x.ndim > 2 else ()
    if d.random.random() < 0.3:
        m = x.shape[-2] if x.ndim > 1 else n
        shape = (*batch, d.random.randint(1, 3), m) if d.random.random() < 0.5 or batch else (m,)
        return d.leaf(shape), ref
    return ref, d.leaf((*batch, n, d.random.randint(0, 3)) if d.random.random() < 0.7 else (n,))


def _linear(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim > 1)
    outputs = d.random.randint(1, 3)
    return ref, d.leaf((x.shape[-1], outputs)), d.leaf((outputs,))


def _image(d: Drawing) -> tuple[Ref, tuple[int, int], int]:
    """(an image of one of the last values, reshaped, or a leaf; a window that fits; a stride)."""
    ref = d.leaf(
        (d.random.randint(1, 2), d.random.randint(1, 4), d.random.randint(1, 4), d.random.randint(1, 2))
    )
    found = [i for i, value in enumerate(d.values) if value.ndim == 4]
    ref = Ref(d.random.choice(found)) if d.random.random() < 0.7 else ref
    shape = d.values[ref.node].shape
    size = d.random.randint(1, min(3, shape[1])), d.random.randint(1, min(3, shape[2]))
    return ref, size, d.random.randint(1, 3)


def _conv2d(d: Drawing) -> tuple[Any, ...]:
    ref, size, stride = _image(d)
    filters = d.random.randint(1, 2)
    W = d.leaf((*size, d.values[ref.node].shape[3], filters))
    return ref, W, d.leaf((filters,)), stride, d.random.choice(("valid", "same", 1))


def _max_pool2d(d: Drawing) -> tuple[Any, ...]:
    ref, size, stride = _image(d)
    x = d.values[ref.node]
    for i, j in np.ndindex(*(n - k + 1 for n, k in zip(x.shape[1:3], size, strict=True))):
        window = x[:, i : i + size[0], j : j + size[1]]
        distinct_maximum(window, (1, 2))
    return ref, size, stride


def _maxout(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim > 0 and value.shape[-1] > 0)
    pieces = d.random.choice([p for p in (1, 2, 3) if x.shape[-1] % p == 0])
    if x.size:
        distinct_maximum(x.reshape(*x.shape[:-1], pieces, x.shape[-1] // pieces), -2)
    return ref, pieces


def _dropout(d: Drawing) -> tuple[Any, ...]:
    return d.some()[0], d.random.choice((0.3, 0.5, 1.0)), d.random.choice((None, 1.0)), d.random.randrange(99)


REDUCTIONS = ("mean", "sum", "none")


def _cross_entropy(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some(lambda value: value.ndim > 0 and value.shape[-1] > 0)
    labels = d.arrays.integers(0, x.shape[-1], x.shape[:-1])
    how = d.random.choice(REDUCTIONS)
    need(labels.size or how != "mean", "nothing fits")
    return ref, labels, how


def _logistic_cost(d: Drawing) -> tuple[Any, ...]:
    ref, x = d.some()
    how = d.random.choice(REDUCTIONS)
    need(x.size or how != "mean", "nothing fits")
    return ref, 2 * d.arrays.integers(0, 2, x.shape) - 1, how


def _dropped(x: Any, keep: float, scale: float | None, seed: int) -> Any:
    return mg.dropout(x, keep=keep, scale=scale, generator=mask_generator(seed))


@dataclass(frozen=True)
class Operation:
    ours: Callable[..., Any]
    theirs: str  # the method of tests.programs.peers, or the function of torch
    arguments: Callable[[Drawing], tuple[Any, ...]]
    smooth: bool = True


def _positive(x: np.ndarray) -> None:
    need(x > 0.1, "domain")


OPERATIONS: dict[str, Operation] = {
    "add": Operation(mg.add, "add", binary()),
    "subtract": Operation(mg.subtract, "subtract", binary()),
    "multiply": Operation(mg.multiply, "multiply", binary()),
    "divide": Operation(mg.divide, "divide", binary(lambda x, y: need(np.abs(y) > 0.2, "domain"))),
    "power": Operation(mg.power, "power", binary(_power_domain)),
    "power of a number": Operation(lambda x, n: x**n, "power", _power_of_number),
    "+": Operation(lambda x, y: x + y, "add", binary()),
    "-": Operation(lambda x, y: x - y, "subtract", binary()),
    "*": Operation(lambda x, y: x * y, "multiply", binary()),
    "x x": Operation(lambda x: x * x, "square", unary()),
    "square": Operation(mg.square, "square", unary()),
    "negative": Operation(mg.negative, "negative", unary()),
    "exp": Operation(mg.exp, "exp", unary(lambda x: need(np.abs(x) < 3, "domain"))),
    "expm1": Operation(mg.expm1, "expm1", unary(lambda x: need(np.abs(x) < 3, "domain"))),
    "log": Operation(mg.log, "log", unary(_positive)),
    "log1p": Operation(mg.log1p, "log1p", unary(lambda x: need(x > -0.8, "domain"))),
    "sqrt": Operation(mg.sqrt, "sqrt", unary(_positive)),
    "sin": Operation(mg.sin, "sin", unary()),
    "cos": Operation(mg.cos, "cos", unary()),
    "tanh": Operation(mg.tanh, "tanh", unary()),
    "sigmoid": Operation(mg.sigmoid, "sigmoid", unary()),
    "softplus": Operation(mg.softplus, "softplus", unary()),
    "logaddexp": Operation(mg.logaddexp, "logaddexp", binary()),
    "abs": Operation(mg.abs, "abs", unary(apart)),
    "relu": Operation(mg.relu, "relu", unary(apart)),
    "sign": Operation(mg.sign, "sign", unary(apart), smooth=False),
    "maximum": Operation(mg.maximum, "maximum", binary(lambda x, y: apart(x - y))),
    "minimum": Operation(mg.minimum, "minimum", binary(lambda x, y: apart(x - y))),
    "where": Operation(mg.where, "where", _where),
    "where greater": Operation(lambda x, n, y, z: mg.where(x > n, y, z), "where_greater", _where_greater),
    "clip": Operation(mg.clip, "clip", _clip),
    "clip to arrays": Operation(mg.clip, "clip_to_arrays", _clip_to_arrays),
    "copy": Operation(mg.copy, "copy", unary()),
    "astype": Operation(lambda x: mg.astype(x, np.float64), "copy", unary()),
    "to_backend": Operation(lambda x: mg.to_backend(x, backend.of(x.data).name), "copy", unary()),
    "sum": Operation(mg.sum, "sum", reduction()),
    "mean": Operation(mg.mean, "mean", reduction(not_empty)),
    "cumsum": Operation(mg.cumsum, "cumsum", _cumsum),
    "var": Operation(mg.var, "var", _spread(0.0)),
    "std": Operation(mg.std, "std", _spread(0.1)),
    "norm": Operation(
        lambda x, axis, keepdims: mg.norm(x, None, axis, keepdims),
        "norm",
        reduction(lambda x, axis: need(np.sqrt((x * x).sum(axis)) > 0.1, "kink or tie")),
    ),
    "prod": Operation(mg.prod, "prod", reduction()),
    "max": Operation(mg.max, "max", reduction(distinct_maximum)),
    "min": Operation(mg.min, "min", reduction(lambda x, axis: distinct_maximum(-x, axis))),
    "logsumexp": Operation(mg.logsumexp, "logsumexp", reduction(not_empty)),
    "softmax": Operation(mg.softmax, "softmax", _along_an_axis),
    "log_softmax": Operation(mg.log_softmax, "log_softmax", _along_an_axis),
    "broadcast_to": Operation(mg.broadcast_to, "broadcast_to", _broadcast_to),
    "reshape": Operation(mg.reshape, "reshape", _reshape),
    "transpose": Operation(mg.transpose, "transpose", _transpose),
    "squeeze": Operation(mg.squeeze, "squeeze", _squeeze),
    "expand_dims": Operation(mg.expand_dims, "expand_dims", _expand_dims),
    "pad": Operation(mg.pad, "pad", _pad),
    "split": Operation(lambda x, where, axis, which: mg.split(x, where, axis)[which], "split", _split),
    "concatenate": Operation(mg.concatenate, "concatenate", _concatenate),
    "stack": Operation(mg.stack, "stack", _stack),
    "getitem": Operation(mg.getitem, "getitem", _getitem),
    "matmul": Operation(mg.matmul, "matmul", _matmul),
    "einsum": Operation(lambda text, operands: mg.einsum(text, *operands), "einsum", _einsum),
    "linear": Operation(mg.linear, "linear", _linear),
    "conv2d": Operation(mg.conv2d, "conv2d", _conv2d),
    "max_pool2d": Operation(mg.max_pool2d, "max_pool2d", _max_pool2d),
    "avg_pool2d": Operation(mg.avg_pool2d, "avg_pool2d", _image),
    "maxout": Operation(mg.maxout, "maxout", _maxout),
    "dropout": Operation(_dropped, "dropout", _dropout),
    "softmax_cross_entropy": Operation(mg.softmax_cross_entropy, "softmax_cross_entropy", _cross_entropy),
    "logistic_cost": Operation(mg.logistic_cost, "logistic_cost", _logistic_cost),
}
OURS = {name: operation.ours for name, operation in OPERATIONS.items()}
SMOOTH_STEPS = {name for name, operation in OPERATIONS.items() if operation.smooth}
ON_THE_HOST = {"getitem", "softmax_cross_entropy", "logistic_cost"}  # these take arrays of the host anywhere
NAMES = list(OPERATIONS)


def draw(seed: int, redrawn: Counter[str] | None = None) -> Program:
    """The program of that number. What was drawn again on the way is added to `redrawn`, by reason."""
    d = Drawing(seed)
    d.leaf(d.shape(), "leaf")
    if d.random.random() < 0.5:
        d.leaf(d.shape())
    length, steps = d.random.randint(1, 8), 0
    while steps < length:
        before = len(d.nodes)
        try:
            name = d.random.choice(NAMES)
            arguments = OPERATIONS[name].arguments(d)
            with mg.no_grad(), np.errstate(all="ignore"):
                given = [_resolved(a, d.values) for a in arguments]
                if not any(isinstance(a, Ref) for argument in arguments for a in _parts(argument)):
                    raise RedrawError("nothing fits")
                if name in TENSORS_ONLY:
                    given = [
                        mg.Tensor(a) if isinstance(r, Ref) else a
                        for r, a in zip(arguments, given, strict=True)
                    ]
                value = OPERATIONS[name].ours(*given).data
            need(value.size <= 60, "nothing fits")
            need(np.isfinite(value) & (np.abs(value) <= ORDINARY), "range")
        except RedrawError as reason:
            d.redrawn[str(reason)] += 1
            del d.nodes[before:], d.values[before:]
            continue
        d.add(Node(name, arguments), value)
        steps += 1
    if redrawn is not None:
        redrawn.update(d.redrawn)
    return pruned(Program(tuple(d.nodes), seed))


TENSORS_ONLY = {"power of a number", "+", "-", "*", "x x", "where greater", "to_backend"}


def _resolved(argument: Any, values: Sequence[Any]) -> Any:
    if isinstance(argument, Ref):
        return values[argument.node]
    if isinstance(argument, list):
        return [_resolved(part, values) for part in argument]
    return argument


def pruned(program: Program) -> Program:
    """Without the leaves that nothing reads."""
    return _kept(program, {i for o in program.outputs() for i in _below(program, o)})


def _below(program: Program, output: int) -> set[int]:
    found, stack = set(), [output]
    while stack:
        i = stack.pop()
        if i not in found:
            found.add(i)
            stack += program.nodes[i].reads()
    return found


def _kept(program: Program, kept: set[int]) -> Program:
    new = {old: position for position, old in enumerate(sorted(kept))}

    def renamed(argument: Any) -> Any:
        if isinstance(argument, Ref):
            return Ref(new[argument.node])
        return [renamed(part) for part in argument] if isinstance(argument, list) else argument

    nodes = tuple(
        Node(program.nodes[i].operation, tuple(renamed(a) for a in program.nodes[i].arguments))
        for i in sorted(kept)
    )
    return Program(nodes, program.seed)


# ---- running


class Cotangents:
    """The same random cotangents, whoever asks, in the order of asking."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed + 1)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.random.uniform(-1.0, 1.0, shape)


def evaluate(program: Program, library: backend.Backend) -> list[Any]:
    """The Tensor of every node."""
    values: list[Any] = []
    for node in program.nodes:
        arguments = node.arguments
        if node.operation in LEAVES:
            data = library.asarray(arguments[0].copy())
            is_parameter = node.operation == "parameter"
            values.append(mg.Parameter(data) if is_parameter else mg.Tensor(data, node.operation == "leaf"))
            continue
        given = [_resolved(a, values) for a in arguments]
        if node.operation not in ON_THE_HOST:
            given = [library.asarray(a) if isinstance(a, np.ndarray) else a for a in given]
        values.append(OURS[node.operation](*given))
    return values


Results = list[list[np.ndarray]]  # the outputs; the gradients of first, second, third order


def run(program: Program, library: backend.Backend = backend.NUMPY, order: int = 3) -> Results:
    """The outputs, and the gradients to third order of them with random cotangents; also checks that
    `backward` finds what `grad` found. An empty list of gradients if nothing requires one."""
    with backend.use(library.name):
        values = evaluate(program, library)
        outputs, cotangent = program.outputs(), Cotangents(program.seed)
        results = [[values[i].numpy() for i in outputs]]
        wanted = [values[i] for i in program.wanted() if values[i].requires_grad]
        leaves = [x for x in wanted if x.is_leaf]
        cotangents = [library.asarray(cotangent(values[i].shape)) for i in outputs]
        if len(outputs) == 1:
            total, seed = values[outputs[0]], cotangents[0]
        else:
            total, seed = _combined([values[i] for i in outputs], cotangents), None
        if not (total.requires_grad and leaves):
            return results
        total.backward(seed, retain_graph=True)
        for number in range(order):
            found = mg.grad(
                total, leaves if number else wanted, gradient=seed, create_graph=number + 1 < order
            )
            results.append([g.numpy().copy() for g in found])
            if number + 1 < order:
                found = found[: len(leaves)]
                total = _combined(found, [library.asarray(cotangent(g.shape)) for g in found])
                seed = None
        for leaf, g in zip(wanted, results[1], strict=True):
            if leaf.is_leaf:
                grad = np.zeros(leaf.shape) if leaf.grad is None else backend.to_numpy(leaf.grad)
                difference([[grad]], [[g]], "backward and grad")
    return results


def _combined(tensors: Sequence[Any], cotangents: Sequence[Any]) -> Any:
    total = mg.sum(tensors[0] * cotangents[0])
    for tensor, c in zip(tensors[1:], cotangents[1:], strict=True):
        total = total + mg.sum(tensor * c)
    return total


def is_ordinary(results: Results) -> bool:
    return all(
        np.all(np.isfinite(a)) and np.abs(a).max(initial=0.0) < LARGEST_GRADIENT
        for part in results
        for a in part
    )


def difference(ours: Results, theirs: Results, what: str) -> int:
    """Raise AssertionError unless all are equal up to rounding, at the size of the largest of their order;
    returns how many arrays were compared."""
    assert [len(part) for part in ours] == [len(part) for part in theirs], f"{what}: not as many results"
    compared = 0
    for order, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        scale = max([1.0, *(float(np.abs(a).max(initial=0.0)) for a in expected)])
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            compared += 1
            assert a.shape == b.shape, f"{what}, order {order}, number {number}: shapes {a.shape}, {b.shape}"
            error = float(np.abs(a - b).max(initial=0.0))
            assert error <= TOLERANCE * scale, (
                f"{what}, order {order}, number {number}: {error:g} of {scale:g}\n{a}\n{b}"
            )
    return compared


def compared(program: Program, against: Sequence[str]) -> Counter[str]:
    """Run a program in the ways `against`: of "torch", "strict" (the library) and "plain" (the lane).
    AssertionError if one differs; the counts of what was compared, or of why the program was left out."""
    ours = run(program)
    if len(ours) == 1:
        return Counter(["left out: no gradient"])
    if not is_ordinary(ours):
        return Counter(["left out: gradients out of range"])
    counts = Counter({"programs": 1, "steps": program.steps()})
    if "strict" in against:
        counts["strict"] = difference(ours, run(program, backend.get("strict")), "the strict library")
    if "plain" in against and not lanes.PLAIN:
        with lanes.plain_forms():
            theirs = run(program)
        counts["plain"] = difference(ours, theirs, "the plain lane")
    if "torch" in against:
        from tests.programs import peers

        values = evaluate(program, backend.NUMPY)
        asked = [i for i in program.wanted() if values[i].requires_grad]
        counts["torch"] = difference(ours, peers.run(program, asked), "PyTorch")
    return counts


def fails(against: Sequence[str]) -> Callable[[Program], bool]:
    """Whether a program does not compute the same everywhere, for `shrink`."""

    def is_failure(program: Program) -> bool:
        try:
            compared(program, against)
        except Exception:
            return True
        return False

    return is_failure


# ---- shrinking


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """A program of fewer steps that still fails: a dropped step becomes a leaf of its value."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(program):
            try:
                found = fails(candidate)
            except Exception:
                found = False
            if found:
                program, smaller = candidate, True
                break
    return program


def _smaller(program: Program) -> Any:
    outputs = program.outputs()
    for output in outputs if len(outputs) > 1 else ():
        yield _kept(program, _below(program, output))
    with mg.no_grad():
        values = [value.numpy() for value in evaluate(program, backend.NUMPY)]
    for i, node in enumerate(program.nodes):
        if node.operation not in LEAVES:
            nodes = list(program.nodes)
            nodes[i] = Node("leaf", (values[i].copy(),))
            cut = Program(tuple(nodes), program.seed)
            if cut.outputs():
                yield pruned(cut)
    for i, node in enumerate(program.nodes):
        if node.operation not in LEAVES and len(outputs) == 1 and i not in outputs:
            yield _kept(program, _below(program, i))
        if node.operation in ("leaf", "parameter"):
            nodes = list(program.nodes)
            nodes[i] = Node("constant", node.arguments)
            yield Program(tuple(nodes), program.seed)
