"""What is tested: a function with the derivative that is claimed for it, and the arguments it is tested at.

An argument is an array or a number, or a tuple, list or dict of them. Its floating-point arrays are its
*leaves*, in which derivatives are checked; all the rest is passed on as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.tensor import raw
from minigrad.testing.failures import GradientError

__tracebackhide__ = True  # pytest then leaves this file out of a failure


@dataclass
class Leaf:
    """A floating-point array among the arguments."""

    path: str  # where in its argument it is: ["W"], say
    given: Any
    array: np.ndarray  # the given one, or in the dtype that was asked for
    argument: int
    checked: bool
    arguments: Arguments

    @property
    def name(self) -> str:
        """As its user would write it: x, or parameters["W"]."""
        return self.arguments.names[self.argument] + self.path

    def like_given(self, array: np.ndarray) -> Any:
        """`array` as the kind of thing that was given: a float, an array of NumPy or CuPy, …"""
        if isinstance(self.given, float) and not isinstance(self.given, np.generic):
            return float(array)
        if isinstance(self.given, np.generic):
            return array[()]
        library = backend.find(self.given)
        return array if library is None else library.asarray(array)


class Arguments:
    """The arguments of a call, and the leaves in them.

    chosen  positions or names of the arguments to check; None for all
    dtype   of the leaves; None for each one's own
    """

    def __init__(self, function: Any, inputs: Sequence[Any], chosen: Any, dtype: Any) -> None:
        self.inputs = inputs
        self.function = function
        positions = self._positions(chosen)
        self.leaves: list[Leaf] = []
        for position, tree in enumerate(inputs):
            for path, value in leaves_of(tree, ""):
                array = as_array(value)
                if array.dtype.kind == "c" or array.dtype.itemsize > 8:
                    raise ArgumentTypeError(
                        f"inputs[{position}] must be real numbers of at most 64 bits, got dtype {array.dtype}"
                    )
                array = array if dtype is None else array.astype(dtype, copy=False)
                self.leaves.append(Leaf(path, value, array, position, position in positions, self))
        for position in positions if chosen is not None else ():
            if not any(leaf.argument == position for leaf in self.leaves):
                raise ArgumentError(
                    f"with_respect_to names inputs[{position}], which holds no floating-point number, "
                    f"got {_kind(inputs[position])}"
                )
        self._are_leaves = all(map(is_leaf, inputs))
        self.checked = [leaf for leaf in self.leaves if leaf.checked]
        if not self.checked:
            kinds = ", ".join(_kind(value) for value in inputs) or "none"
            raise ArgumentError(
                "inputs must hold at least one floating-point array or number to differentiate in (3.0, "
                f"not 3), got {kinds}"
            )

    @cached_property
    def names(self) -> list[str]:
        return parameter_names(self.function, len(self.inputs))

    def _positions(self, chosen: Any) -> set[int]:
        count = len(self.inputs)
        if chosen is None:
            return set(range(count))
        positions: set[int] = set()
        several = list(chosen) if isinstance(chosen, Iterable) and not isinstance(chosen, str) else [chosen]
        for one in several or [()]:
            is_position = isinstance(one, (int, np.integer)) and not isinstance(one, bool)
            if isinstance(one, str) and one in self.names:
                positions.add(self.names.index(one))
            elif is_position and -count <= one < count:
                positions.add(int(one) % count)
            else:
                raise ArgumentError(
                    f"with_respect_to must name inputs, by position below {count} or as one of "
                    f"{', '.join(self.names)}, got {one!r}"
                )
        if len(several) > len(positions) > 0:
            raise ArgumentError(f"with_respect_to must name each input once, got {chosen!r}")
        return positions

    def call(self, arrays: Sequence[Any]) -> list[Any]:
        """The arguments with these in place of the leaves."""
        if self._are_leaves:
            return list(arrays)
        replacement = iter(arrays)
        return [replaced(tree, replacement) for tree in self.inputs]

    def like_given(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        return [leaf.like_given(array) for leaf, array in zip(self.leaves, arrays, strict=True)]

    def split(self, result: Any, what: str) -> list[Any]:
        """What a derivative returned, taken apart: one thing for each checked leaf."""
        positions = sorted({leaf.argument for leaf in self.checked})
        count = len(self.inputs)
        parts = [result]
        tree = self.inputs[positions[0]] if len(positions) == 1 else None
        is_several = _is_several(result) or (len(positions) > 1 and isinstance(result, list))
        if is_several and not (_is_tree(tree) and _has_length_of(result, tree)):
            parts = [result[p] for p in positions] if len(result) == count else list(result)
        if len(parts) != len(positions):
            names = ", ".join(self.names[p] for p in positions)
            raise ArgumentError(
                f"{what} must return one array for each of {names}, as a tuple if there are several, "
                f"got {_kind(result)}"
            )
        found: list[Any] = []
        for position, part in zip(positions, parts, strict=True):
            found += matched(self.inputs[position], part, self.names[position], what)
        return found


class Function:
    """A plain function: arrays in, an array or a tuple of arrays out.

    gradient  (*inputs) ↦ its derivatives in the inputs, if it returns one number
    vjp       (g, *inputs) ↦ (∂f/∂x)ᵀ g for each input x; g has the shape of the result
    jvp       (v, *inputs) ↦ Σ (∂f/∂x) v over the inputs x; v has the shape of the inputs
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Arguments,
        keywords: Mapping[str, Any],
        gradient: Callable[..., Any] | None,
        vjp: Callable[..., Any] | None,
        jvp: Callable[..., Any] | None,
    ) -> None:
        self.function, self.arguments, self.keywords = function, arguments, keywords
        self.gradient, self.vjp, self.jvp = gradient, vjp, jvp
        self.returns_tuple = False
        self.has_reverse = gradient is not None or vjp is not None

    def value(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs at these leaves."""
        result = self.function(*self.arguments.call(self.arguments.like_given(arrays)), **self.keywords)
        self.returns_tuple = _is_several(result)
        if self.returns_tuple and not result:
            raise ArgumentTypeError(f"function must return at least one array, got {result!r}")
        return [_real(output) for output in (result if self.returns_tuple else [result])]

    def reverse(self, arrays: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> list[Any]:
        """The claimed derivatives of Σ ⟨cotangent, output⟩ in the checked leaves, as they were returned."""
        inputs = self.arguments.call(self.arguments.like_given(arrays))
        if self.gradient is not None:
            return self.arguments.split(self.gradient(*inputs, **self.keywords), "gradient")
        assert self.vjp is not None
        g = [np.array(c) for c in cotangents]
        result = self.vjp(tuple(g) if self.returns_tuple else g[0], *inputs, **self.keywords)
        if any(not np.array_equal(mine, given) for mine, given in zip(g, cotangents, strict=True)):
            raise GradientError(f"{function_name(self.function)}: vjp writes into g")
        return self.arguments.split(result, "vjp")

    def forward(self, arrays: Sequence[np.ndarray], tangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The claimed change of the outputs as the checked leaves change by `tangents`."""
        assert self.jvp is not None
        inputs = self.arguments.call(self.arguments.like_given(arrays))
        v = tuple(np.array(tangent) for tangent in tangents)
        result = self.jvp(v if len(v) > 1 else v[0], *inputs, **self.keywords)
        return [_real(output, "jvp") for output in (result if _is_several(result) else [result])]


class EngineFunction(Function):
    """A function of Tensors; its derivative is the engine's."""

    def __init__(
        self, function: Callable[..., Any], arguments: Arguments, keywords: Mapping[str, Any]
    ) -> None:
        super().__init__(function, arguments, keywords, None, None, None)
        self.has_reverse = True
        self.library = backend.current()

    def value(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with mg.no_grad():
            outputs = self._call([mg.Tensor(self.library.asarray(x)) for x in arrays])
        return [_real(output.numpy()) for output in outputs]

    def reverse(self, arrays: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> list[Any]:
        with mg.enable_grad():
            leaves, checked = self._leaves(arrays)
            output, cotangent = self._output(leaves, cotangents)
            if not output.requires_grad:  # it depends on none of them
                return [np.zeros(x.shape, x.dtype) for x in checked]
            before = None if cotangent is None else cotangent.copy()
            found = [g.numpy() for g in mg.grad(output, checked, gradient=cotangent)]
            if before is not None and not bool((before == cotangent).all()):
                raise ArgumentError(
                    "a rule of function must not write into the cotangent that it is given, which others "
                    "still use, got one that does: work on a copy"
                )
            return found

    def _leaves(self, arrays: Sequence[np.ndarray]) -> tuple[list[mg.Tensor], list[mg.Tensor]]:
        flags = [leaf.checked for leaf in self.arguments.leaves]
        leaves = [
            mg.Tensor(self.library.asarray(x), requires_grad=checked)
            for x, checked in zip(arrays, flags, strict=True)
        ]
        return leaves, [leaf for leaf in leaves if leaf.requires_grad]

    def _call(self, leaves: Sequence[mg.Tensor]) -> list[mg.Tensor]:
        try:
            result = self.function(*self.arguments.call(leaves), **self.keywords)
        except TypeError as error:
            if isinstance(error, ArgumentTypeError) or any(map(_is_tensor, self.arguments.inputs)):
                raise
            raise ArgumentTypeError(
                "function must take Tensors if none of gradient, vjp and jvp is given. To check a function "
                f"of arrays, give its own. Called with Tensors it raised: {error}"
            ) from error
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        if not outputs:
            raise ArgumentTypeError(f"function must return at least one Tensor, got {result!r}")
        for output in outputs:
            if not isinstance(output, mg.Tensor):
                raise ArgumentTypeError(
                    f"function must return a Tensor, got {type(output).__name__}; for a function of arrays "
                    "give its own gradient=, vjp= or jvp="
                )
        return outputs

    def _output(self, leaves: Sequence[mg.Tensor], cotangents: Sequence[np.ndarray]) -> tuple[mg.Tensor, Any]:
        """What to differentiate, and its cotangent: one output, or the sum of several times theirs."""
        outputs = self._call(leaves)
        if len(outputs) == 1:
            return outputs[0], self.library.asarray(cotangents[0].astype(outputs[0].dtype))
        if not any(y.dtype.kind == "f" for y in outputs):
            return mg.Tensor(0.0), None
        terms = [
            mg.sum(y * self.library.asarray(c.astype(y.dtype)))
            for y, c in zip(outputs, cotangents, strict=True)
            if y.dtype.kind == "f"
        ]
        return _total(terms), None

    def next_order(self, cotangents: Sequence[np.ndarray], random: np.random.Generator) -> Callable[..., Any]:
        """The gradient as a function of its own, for the next order: Σ ⟨∇ₓ⟨c, f⟩, u⟩, u fixed and random."""
        weights = [random.normal(size=leaf.array.shape) for leaf in self.arguments.checked]

        def gradient_of(*inputs: Any, **_: Any) -> mg.Tensor:
            with mg.enable_grad():
                given = [value for tree in inputs for _, value in leaves_of(tree, "")]
                leaves = [x if x.requires_grad else mg.Tensor(x, requires_grad=True) for x in given]
                flags = [leaf.checked for leaf in self.arguments.leaves]
                checked = [x for x, flag in zip(leaves, flags, strict=True) if flag]
                output, cotangent = self._output(leaves, cotangents)
                if not output.requires_grad:
                    return mg.Tensor(0.0)
                gradients = mg.grad(output, checked, gradient=cotangent, create_graph=True)
                terms = [
                    mg.sum(g * self.library.asarray(u.astype(g.dtype)))
                    for g, u in zip(gradients, weights, strict=True)
                ]
                return _total(terms)

        gradient_of.__wrapped__ = self.function  # type: ignore[attr-defined]  # whose names its inputs have
        return gradient_of


def _total(terms: Sequence[mg.Tensor]) -> mg.Tensor:
    """The sum of numbers, in float64 if their dtypes differ."""
    if len({term.dtype for term in terms}) > 1:
        terms = [mg.astype(term, np.float64) for term in terms]
    return terms[0] if len(terms) == 1 else mg.sum(mg.stack(terms))


# ---- arguments that are tuples, lists and dicts of arrays


def as_array(value: Any) -> np.ndarray:
    value = raw(value)
    library = backend.find(value)
    return np.asarray(value) if library is None else library.to_numpy(value)


def is_array_like(value: Any) -> bool:
    """Whether a list is a way of writing an array: numbers all the way down. (A tuple is several things.)"""
    if isinstance(value, list):
        return bool(value) and all(is_array_like(item) for item in value)
    return isinstance(value, (int, float, np.number))


def _is_tree(value: Any) -> bool:
    """Whether it holds leaves and is none, nor a list of integers."""
    return (
        isinstance(value, (list, tuple, dict))
        and any(
            is_leaf(item) or _is_tree(item) for item in (value.values() if isinstance(value, dict) else value)
        )
        and not is_leaf(value)
    )


def _is_several(result: Any) -> bool:
    """Whether a function returned several things, and not a list of numbers for one array."""
    return isinstance(result, tuple) or (isinstance(result, list) and not is_array_like(result))


def is_leaf(value: Any) -> bool:
    """Whether it is an array, or a way of writing one, of floating-point numbers."""
    if isinstance(value, (float, np.floating)):
        return True
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return np.dtype(value.dtype).kind in "fc"
    try:
        return isinstance(value, list) and is_array_like(value) and np.asarray(value).dtype.kind == "f"
    except ValueError:  # rows of unequal lengths: several arrays
        return False


def _is_tensor(value: Any) -> bool:
    return isinstance(value, mg.Tensor)


def leaves_of(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, leaf) of each, in a fixed order."""
    if is_leaf(tree):
        yield name, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves_of(value, f"{name}[{key!r}]")
    elif _is_tree(tree):
        for position, value in enumerate(tree):
            yield from leaves_of(value, f"{name}[{position}]")


def replaced(tree: Any, replacement: Iterator[Any]) -> Any:
    """The tree with the next replacement in place of each leaf."""
    if is_leaf(tree):
        return next(replacement)
    if isinstance(tree, dict):
        return {key: replaced(value, replacement) for key, value in tree.items()}
    if _is_tree(tree):
        items = [replaced(value, replacement) for value in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return tree


def matched(tree: Any, result: Any, name: str, what: str) -> list[Any]:
    """The parts of `result` that stand where the leaves of `tree` stand."""
    if is_leaf(tree):
        return [result]
    found: list[Any] = []
    if not any(True for _ in leaves_of(tree, "")):
        return found  # whatever stands there
    if isinstance(tree, dict):
        for key, value in tree.items():
            if any(True for _ in leaves_of(value, "")):
                if not isinstance(result, Mapping) or key not in result:
                    raise ArgumentError(
                        f"{what} must return a dict with {key!r} for {name}, got {_kind(result)}"
                    )
                found += matched(value, result[key], f"{name}[{key!r}]", what)
    else:
        if not isinstance(result, (list, tuple)) or len(result) != len(tree):
            raise ArgumentError(
                f"{what} must return a tuple of {len(tree)} gradients for {name}, got {_kind(result)}"
            )
        for position, (value, part) in enumerate(zip(tree, result, strict=True)):
            found += matched(value, part, f"{name}[{position}]", what)
    return found


def _has_length_of(result: Any, tree: Any) -> bool:
    return isinstance(tree, (list, tuple)) and len(result) == len(tree)


class ComplexError(ArgumentTypeError):
    """A function returned complex numbers, as NumPy's and Python's roots do outside of their domain."""


def _real(output: Any, what: str = "function") -> np.ndarray:
    """What a plain function, or its jvp, returned, as an array."""
    array = as_array(output)
    if array.dtype.kind not in "fiub":
        raise (ComplexError if array.dtype.kind == "c" else ArgumentTypeError)(
            f"{what} must return an array or a tuple of arrays of real numbers, got {_kind(output)}"
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    dtype = getattr(value, "dtype", None)
    return f"{type(value).__name__} of {dtype}" if dtype is not None else type(value).__name__


def parameter_names(function: Any, count: int) -> list[str]:
    """What a function calls its first `count` positional arguments, or "input 1" and so on."""
    names: list[str] = []
    try:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind == parameter.VAR_POSITIONAL:
                names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
    except (TypeError, ValueError):  # some builtins have no signature
        pass
    return [*names, *(f"input {position + 1}" for position in range(len(names), count))][:count]


def function_name(function: Any) -> str:
    return str(getattr(function, "name", None) or getattr(function, "__name__", None) or function)
