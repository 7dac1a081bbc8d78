"""Reverse-mode automatic differentiation: the graph that primitives leave, and the walk back.

How it works, in one page
-------------------------
A *primitive* is a function on plain arrays that comes with its own derivative. When one is called
on Tensors, it computes at once, and its result remembers how it was made: by which primitive, from
which arguments. These point to what they were made from in turn, and so on down to the *leaves*,
Tensors that were given and not computed. This graph is a by-product of computing.

For a scalar cost J and any Tensor y on the way to it, call ∂J/∂y the *cotangent* of y; it has y's
shape. If y = f(x, …), the chain rule turns y's cotangent g into x's share of its own:

    g  ↦  (∂y/∂x)ᵀ g            the *vector-Jacobian product* (VJP) of f in x

No Jacobian is ever formed: a primitive has one short rule per argument that computes the product.
Reverse mode starts with ∂J/∂J = 1 and visits the Tensors from the youngest to the oldest. A result
is always younger than its arguments, so when a Tensor's turn comes, everything that was computed
from it has been visited and its cotangent is complete: the sum of the shares, one for each use.
That visit is `walk`, below, with `_hand_on` for one result. After them come the sums of shares, the
order of the visit (`_plan`), and a pass that is cut in two (`grad_and_remainder`). What a primitive is
is said in `minigrad.primitives`, and what a Tensor remembers in `minigrad.tensor`.

Rules are written in the operations that they differentiate. By default they run on bare arrays and
nothing is recorded, so they cost what their array arithmetic costs. With create_graph=True they run
on Tensors, are recorded as any other computation is, and their results can be differentiated again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError, NonFiniteError
from minigrad.memory import nobody_elses
from minigrad.modes import Setting, thread
from minigrad.primitives import Rule, _EachPosition
from minigrad.tensor import Tensor, new_tensor

ndarray = np.ndarray


def grad(
    output: Tensor,
    inputs: Tensor | Iterable[Tensor],
    *,
    gradient: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """(∂output/∂input for each input), as Tensors; no `.grad` is read or written.

    output        the Tensor to differentiate
    inputs        one Tensor or several, leaves or intermediate results; only what leads to them is
                  computed. One that `output` does not depend on has gradient zero.
    gradient      the cotangent of output, of its shape; may be left out for a single element
    retain_graph  keep what a second pass through the same graph needs (always so with create_graph)
    create_graph  record the gradients, so that they can be differentiated in turn

    Raises ArgumentError where an input does not require a gradient or `gradient` does not fit, and
    GraphError where output was computed without recording, its graph was already used up, or a
    Tensor in it has been written to since.
    """
    if not isinstance(inputs, Iterable):
        raise ArgumentTypeError(f"inputs must be Tensors, got {type(inputs).__name__}")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    _check_inputs(inputs)
    found = walk(output, gradient, inputs, retain_graph or create_graph, create_graph)
    results: list[Tensor] = []
    for tensor in inputs:
        share = found.get(tensor)
        if share is None:
            share = new_tensor(backend.of(tensor.data).xp.zeros_like(tensor.data))
        elif any(share is earlier for earlier in results):  # one input, given twice
            share = mg.copy(share)
        # A gradient that happens to be constant can be differentiated too: its derivative is zero.
        share.requires_grad = create_graph
        results.append(share)
    return tuple(results)


def _check_inputs(inputs: tuple[Tensor, ...]) -> None:
    for position, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"inputs[{position}] must be a Tensor, got {type(tensor).__name__}")
        if not tensor.requires_grad:
            raise ArgumentError(
                f"inputs[{position}] does not require a gradient: make it with "
                "Tensor(data, requires_grad=True) before computing output from it"
            )


def walk(
    output: Tensor,
    gradient: Any,
    inputs: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
    visited: dict[Tensor, Tensor] | None = None,
) -> dict[Tensor, Tensor]:
    """The backward pass: the cotangents of `inputs`, or of every leaf where None.

    Every cotangent that it returns has memory of its own. `visited`, where given, collects the
    cotangent of each computed Tensor on the way.

    Where nothing is to be recorded or inspected, the rules get bare arrays for Tensors: the same
    formulas, without the cost of a Tensor for every intermediate result.
    """
    seed = _seed(output, gradient)
    results, wanted, reused = _plan(output, inputs, create_graph)
    asked: set[Tensor] = set(inputs or ())
    _, detecting_nonfinite = thread.settings
    on_tensors = create_graph or detecting_nonfinite
    sums = _Sums()
    if output in wanted:
        sums.add(output, seed if on_tensors else seed.data, is_own=False)
    found: dict[Tensor, Tensor] = {}
    with Setting(recording=create_graph):
        while results:
            y = results.pop()  # the youngest; its memory can go as soon as it was visited
            g, is_own = sums.take(y)
            if g is None:
                continue
            if y in asked:
                found[y] = _as_tensor(g if is_own else copied(g))
            if visited is not None:
                visited[y] = _as_tensor(g)
            _hand_on(y, g, sums, wanted, reused, on_tensors)
            if not retain_graph:
                y.forget()
        sums.multiply_products()
        for x in sums.tensors():  # the leaves are left
            if inputs is None or x in asked:
                g, is_own = sums.take(x)
                found[x] = _as_tensor(g if is_own else copied(g))
    return found


def _hand_on(
    y: Tensor, g: Any, sums: _Sums, wanted: set[Tensor], reused: set[Tensor], on_tensors: bool
) -> None:
    """Add to the cotangent of each argument x of y that is wanted its share of y's: (∂y/∂x)ᵀ g."""
    primitive, arguments, arrays, options = y._made_by
    value, given = (y, arguments) if on_tensors else (y.data, arrays)
    for position, x in enumerate(arguments):
        if not isinstance(x, Tensor) or x not in wanted:
            continue
        rule = primitive.vjps[position]
        if rule is None:
            continue
        try:
            share = rule(g, value, *given, **options) if options else rule(g, value, *given)
        except NonFiniteError as error:
            raise NonFiniteError(f"in the derivative of {primitive.name}: {error}") from error
        if type(share) is Product:  # of the weights' gradient, not yet multiplied: see there
            if x in reused and sums.put_off(x, share):
                continue
            share = share.multiplied(_spare_of(x))
        if type(share) is Tensor and not on_tensors:
            share = share.data
        data = x.data
        if type(share) is not type(data) or share.shape != data.shape or share.dtype != data.dtype:
            share = _fitted(share, primitive, position, x, on_tensors)
        is_own = not on_tensors and share.base is None and nobody_elses(share)
        sums.add(x, share, is_own)


class _Sums:
    """The cotangents so far: for each Tensor the sum of the shares that have come in, as Tensors or as
    bare arrays."""

    def __init__(self) -> None:
        self._own: dict[Tensor, Any] = {}  # in memory of this pass alone, which is added to in place
        self._shared: dict[Tensor, Any] = {}  # one share as a rule gave it: others may see its memory
        self._products: dict[Tensor, Product] = {}  # shares that are to be one product

    def add(self, x: Tensor, share: Any, is_own: bool) -> None:
        if x in self._own:
            self._own[x] += share
        elif x in self._shared:
            total = self._shared.pop(x) + share
            # NumPy gives a scalar where there are no dimensions.
            self._own[x] = np.asarray(total) if isinstance(total, np.generic) else total
        elif is_own:
            self._own[x] = share
        else:
            self._shared[x] = share

    def take(self, x: Tensor) -> tuple[Any, bool]:
        """(x's sum, None where nothing has come in; whether it is in memory of this pass alone)."""
        g = self._own.pop(x, None)
        return (self._shared.pop(x, None), False) if g is None else (g, True)

    def put_off(self, x: Tensor, share: Product) -> bool:
        """Leave a share of x to `multiply_products`, if keeping its factors costs no more memory."""
        stacked = self._products[x] + share if x in self._products else share
        if not stacked.is_worth_its_memory():
            return False
        self._products[x] = stacked
        return True

    def multiply_products(self) -> None:
        for x, product in self._products.items():
            self.add(x, product.multiplied(_spare_of(x)), is_own=True)

    def tensors(self) -> list[Tensor]:
        return [*self._own, *self._shared]


def copied(g: Any) -> Any:
    return mg.copy(g) if isinstance(g, Tensor) else g.copy()


def in_dtype(share: Any, dtype: Any) -> Any:
    return share if share.dtype == dtype else share.astype(dtype)


def _as_tensor(g: Any) -> Tensor:
    return g if isinstance(g, Tensor) else new_tensor(g)


def _fitted(share: Any, primitive: Any, position: int, x: Tensor, on_tensors: bool) -> Any:
    """A rule's share in the shape and dtype of its argument x, as a Tensor or as an array."""
    name = f"{primitive.name} for argument {position + 1}"
    if isinstance(share, np.generic):
        share = np.asarray(share)  # what NumPy gives where there are no dimensions
    if not isinstance(share, Tensor) and (on_tensors or backend.find(share) is None):
        raise ArgumentTypeError(
            f"the rule of {name} must return a Tensor, got {type(share).__name__}: write it in "
            "minigrad's operations"
        )
    if share.shape != x.shape:
        if not _repeats(x.shape, share.shape):
            raise ArgumentError(
                f"the rule of {name} must return the argument's shape {x.shape}, or what it was "
                f"broadcast to, got {share.shape}"
            )
        share = mg.operations.unbroadcast(share, x.shape)
    return in_dtype(share, x.dtype)


class Product:
    """aᵀ b of two arrays, not yet multiplied: a rule may return it as its share where nothing is recorded.

    A weight matrix that is used twice, on clean and on adversarial examples say, has the gradient
    a₁ᵀb₁ + a₂ᵀb₂. That is one product of the stacked factors, [a₁ a₂]ᵀ[b₁ b₂]: no second array of the
    size of the weights, and no pass over both to add them.
    """

    def __init__(self, *factors: tuple[Any, Any]) -> None:
        self._factors = factors

    def __add__(self, other: Product) -> Product:
        return Product(*self._factors, *other._factors)

    def is_worth_its_memory(self) -> bool:
        """Whether the factors are no larger than their product, so that keeping them costs no more."""
        rows = sum(len(a) for a, _ in self._factors)
        inputs, outputs = self._factors[0][0].shape[1], self._factors[0][1].shape[1]
        return rows * (inputs + outputs) <= inputs * outputs

    def factors(self) -> tuple[Any, Any]:
        """(aᵀ, b), stacked."""
        a, b = self._factors[0]
        if len(self._factors) > 1:
            xp = backend.of(a).xp
            a, b = (xp.concatenate(parts) for parts in zip(*self._factors, strict=True))
        return a.T, b

    def multiplied(self, spare: Any = None) -> Any:
        """The product, written into the array `spare` if it fits."""
        transposed, b = self.factors()
        shape = transposed.shape[0], b.shape[1]
        if spare is not None and spare.shape == shape and spare.dtype == transposed.dtype == b.dtype:
            return np.matmul(transposed, b, out=spare)
        return transposed @ b


def _spare_of(x: Tensor) -> Any:
    return x.take_spare() if isinstance(x, mg.Parameter) else None


def _repeats(shape: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether `shape` broadcasts to `result`."""
    own = (1,) * (len(result) - len(shape)) + shape
    return len(own) == len(result) and all(n in (1, m) for n, m in zip(own, result, strict=True))


def _seed(output: Tensor, gradient: Any) -> Tensor:
    """The cotangent that a backward pass starts from."""
    if not isinstance(output, Tensor):
        raise ArgumentTypeError(f"output must be a Tensor, got {type(output).__name__}")
    if not output.requires_grad:
        raise GraphError(
            "output has no graph: nothing that it was computed from requires a gradient, or it was "
            "computed inside no_grad()"
        )
    library = backend.of(output.data)
    if gradient is None:
        if output.data.size != 1:
            raise ArgumentError(
                f"gradient must be given for an output of several elements, here of shape {output.shape}"
            )
        return new_tensor(library.xp.ones_like(output.data))
    if not isinstance(gradient, Tensor):
        gradient = gradient if backend.find(gradient) else library.asarray(gradient)
    seed = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if seed.shape != output.shape:
        raise ArgumentError(f"gradient must have output's shape {output.shape}, got {seed.shape}")
    if backend.of(seed.data) is not library:
        raise BackendError(f"gradient must be a {library.name} array, as output is")
    if seed.dtype.kind not in "fiu":
        raise ArgumentTypeError(f"gradient must be real, got dtype {seed.dtype}")
    return seed if seed.dtype == output.dtype else mg.astype(seed, output.dtype)


_age = operator.attrgetter("_age")


def _plan(
    output: Tensor, inputs: Sequence[Tensor] | None, create_graph: bool
) -> tuple[list[Tensor], set[Tensor], set[Tensor]]:
    """(every computed Tensor that output depends on, itself included, the youngest last; the Tensors
    whose cotangents are wanted; the leaves that are used more than once)."""
    results = []
    seen, reused = {output}, set()
    stack = [] if output.is_leaf else [output]
    while stack:
        y = stack.pop()
        primitive, arguments, *_ = y._made_by
        if arguments is None:
            raise GraphError(
                "this graph was differentiated before, and what that needs was freed: pass "
                "retain_graph=True to the first backward() or grad()"
            )
        if create_graph and isinstance(primitive, _Remainder):
            primitive.restore(y)
            arguments = y._made_by[1]
        results.append(y)
        age = y._age
        for x in arguments:
            if not isinstance(x, Tensor):
                continue
            if x._age > age:
                raise GraphError(
                    f"an argument of {primitive.name} was changed in place after it was used (by "
                    "an optimiser step, say): compute the output anew before differentiating it"
                )
            if not x.requires_grad:
                continue
            is_leaf = x._made_by is None
            if x not in seen:
                seen.add(x)
                if not is_leaf:
                    stack.append(x)
            elif is_leaf:
                reused.add(x)
    results.sort(key=_age)
    return results, seen if inputs is None else _leading_to(inputs, results), reused


def _leading_to(inputs: Sequence[Tensor], results: list[Tensor]) -> set[Tensor]:
    """The inputs, and the results that were computed from one of them."""
    leading = set(inputs)
    for y in results:
        for x in y._made_by[1]:
            if isinstance(x, Tensor) and x in leading:
                leading.add(y)
                break
    return leading


# ---- one backward pass in two parts


def grad_and_remainder(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(∂output/∂x, remainder): one backward pass, cut in two where the input gradient is needed.

    The remainder is a Tensor with output's value and with output's derivative in everything but x.
    Differentiating it later costs only what this call has not done: the cotangents of the results
    between output and x are known now, and what is left is the last product to each Tensor beside
    that way. For a network's cost J and its input x these are the weight gradients: ∇ₓJ now and the
    weights' gradients later cost no more than one pass for both.

    Take J = f(z), z = x W. On the way to x, this call finds g = ∂J/∂z, and with it ∂J/∂x = g Wᵀ. What
    is left is ∂J/∂W = xᵀ g. So the remainder is made to look like a function of z alone whose
    derivative is g, known by now, and of a z that was computed from W but not from x.

    output is a Tensor of one element. Raises as `grad` does.
    """
    _check_inputs((x,))
    way: dict[Tensor, Tensor] = {}
    gradient = walk(output, None, (x,), True, create_graph=False, visited=way).get(x)
    if gradient is None:
        return new_tensor(backend.of(x.data).xp.zeros_like(x.data)), output
    way.pop(x, None)
    # The way once more, oldest first, with x cut off: this is what the remainder stands for.
    again = {x: x.detach()}
    # And each result on it by itself, cut off from the way: where known cotangents come in.
    stops = []
    for y in reversed(way):
        beside = tuple(a.detach() if isinstance(a, Tensor) and a in again else a for a in y._made_by[1])
        if any(isinstance(a, Tensor) and a.requires_grad for a in beside):
            stops.append((_made_again(y, beside), way[y]))
        along = tuple(again.get(a, a) if isinstance(a, Tensor) else a for a in y._made_by[1])
        again[y] = _made_again(y, along)
    if not stops:
        return gradient, output.detach()
    stopped = tuple(stop for stop, _ in stops)
    options = {"whole": again[output], "cotangents": [g.data for _, g in stops]}
    return gradient, new_tensor(output.data, (_REMAINDER, stopped, [t.data for t in stopped], options))


def _made_again(y: Tensor, arguments: tuple[Any, ...]) -> Tensor:
    """y's value and primitive with other arguments, as old as y is."""
    primitive, _, arrays, options = y._made_by
    twin = new_tensor(y.data, (primitive, arguments, arrays, options))
    twin._age = y._age
    return twin


def _is_one(g: Any) -> bool:
    """Whether g is known to be 1: on the host alone, for looking at it would make a GPU wait."""
    return type(g) is ndarray and bool(g == 1.0)


class _Remainder:
    """Hands each stop the cotangent that is already known for it."""

    name = "remainder"

    def __init__(self) -> None:
        self.vjps = _EachPosition(self._rule_at)

    def _rule_at(self, position: int) -> Rule:
        def rule(g: Any, y: Any, *stops: Any, whole: Tensor, cotangents: list[Any]) -> Any:
            known = cotangents[position]
            return known if _is_one(g) else known * g

        return rule

    def restore(self, remainder: Tensor) -> None:
        """Put the whole way back in place of its stops: the known cotangents are mere values, without a
        graph of their own to differentiate."""
        whole = remainder._made_by[3]["whole"]
        remainder._made_by = (mg.copy, (whole,), [whole.data], {})


_REMAINDER = _Remainder()
