"""Reverse-mode automatic differentiation: how a gradient is found.

How it works, in one page
-------------------------
A *primitive* is a function on arrays that comes with its derivative (`minigrad.primitives`). Called on
Tensors, it computes at once. If one of them requires a gradient, and recording is not switched off, the
result remembers the call: which primitive, which arguments (`minigrad.tensor`). The arguments remember
their own calls, and so on down to the *leaves*, the Tensors without a recorded call. This is the graph.
Nobody builds it: it is left by computing.

Let J be a number computed so. For any Tensor y on the way to J, the *cotangent* of y is ∂J/∂y. It has
y's shape. If J's own cotangent is 1, all the others follow by the chain rule. Take y = f(x, …) and let
g be y's cotangent. Then x gets from y the share

    (∂y/∂x)ᵀ g            the *vector-Jacobian product* (VJP) of f in x

and x's cotangent is the sum of its shares, one for each use of x. (Read x, y and g as flattened. The
*Jacobian* ∂y/∂x is the matrix with ∂yᵢ/∂xⱼ in row i, column j.) The matrix is never formed: each
primitive has, for each argument, a short rule that computes the product.

An example in numbers: x = 3, y = x · x = 9, J = x · y = 27. The rules of a product u · v are g · v for u
and g · u for v. The results are visited from the youngest to the oldest; a leaf only collects its shares:

    visited       its cotangent       the shares that it hands on
    J = x · y     1                   1 · y = 9 to x,   1 · x = 3 to y
    y = x · x     3                   3 · x = 9 to x,   3 · x = 9 to x
    (x, a leaf)   9 + 9 + 9 = 27      27 is ∂J/∂x, as 3x² says

A result is younger than its arguments. So when it is visited, everything that was computed from it
has been visited before, and its cotangent is complete. After its visit a result forgets its call, to free
memory. (So does an addition, whose rules need no saved array.) The graph is then *used up*, unless
retain_graph=True keeps it.

In the code the pass starts at `output`. It may be J itself, or a Tensor of any shape whose cotangent is
given as `gradient`. `walk` makes the visits, `Sums` adds up the shares, `order` sorts the results by age,
and `computed_from` finds those that lead to the inputs asked for. Then come the functions that users call,
`backward` and `grad`. `differentiate` joins the parts: it checks, orders, gives the output its cotangent,
and walks.

Rules are written in minigrad's own operations. Usually they run on bare arrays and nothing is recorded.
With create_graph=True they run on Tensors and are recorded as any computation is. So a gradient can be
differentiated again, by the same rules.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_flag, check_input, check_tensor, check_unmasked
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError
from minigrad.lanes import replaceable
from minigrad.modes import Setting, in_force
from minigrad.operations import add, copy
from minigrad.primitives import Rule, in_dtype, share_of
from minigrad.tensor import Tensor, new_tensor, raw
from minigrad.writes import refuse_replaced, refuse_written, writes


def walk(results: list[Tensor], sums: Sums, wanted: Callable[[Tensor], bool], retain_graph: bool) -> None:
    """The backward pass: visit each result and hand its cotangent on to its arguments.

    results  the computed Tensors, the youngest last; none is left at the end
    sums     the shares so far; at the start only the output's own cotangent
    wanted   whether the cotangent of a Tensor is needed
    """
    while results:
        y = results.pop()
        g = sums.take(y)
        if g is None:
            continue
        for position, x in enumerate(y.arguments):
            rule = y.made_by.vjps[position]
            if rule is not None and isinstance(x, Tensor) and wanted(x):
                sums.hand_on(g, y, position, rule, x)
        if not retain_graph:
            y.forget()


class Sums:
    """The cotangents of one backward pass: for each Tensor the sum of the shares that have come in.

    The walk reports every step to `hand_on` and `take`, so a subclass can do more with a pass than add:
    give it to `differentiate` as `sums_of_arrays`.
    """

    def __init__(self, asked: Iterable[Tensor] = ()) -> None:
        self.sums: dict[Tensor, Any] = {}
        self.asked = set(asked)
        self.found: dict[Tensor, Any] = {}  # the cotangents of computed Tensors that were asked for

    def hand_on(self, g: Any, y: Tensor, position: int, rule: Rule, x: Tensor) -> None:
        """Give x, the argument of y at `position`, its share of y's cotangent g."""
        self.add(x, share_of(y, position, rule, g))

    def add(self, x: Tensor, share: Any) -> None:
        total = self.sums[x] + share if x in self.sums else share
        # NumPy gives a scalar if there are no dimensions.
        self.sums[x] = np.asarray(total) if isinstance(total, np.generic) else total

    def take(self, y: Tensor) -> Any:
        """The cotangent of y, whose turn has come: all of its shares are in. It is removed.
        None if no share came, because nothing that is wanted is reached through y."""
        g = self.sums.pop(y, None)
        if y in self.asked and g is not None:
            self.found[y] = copied(g)
        return g

    def gradients(self) -> dict[Tensor, Any]:
        """The cotangents of what was asked for and of the leaves: the walk took every result's, so the
        leaves' are left. They are copied, for a share may be the memory of another or of a rule."""
        return {**self.found, **{leaf: copied(g) for leaf, g in self.sums.items()}}


def order(output: Tensor) -> list[Tensor]:
    """Every recorded result that output depends on, itself included, the youngest last.

    Raises GraphError if a part of the graph was used up, or memory was written to after its use.
    """
    results, seen, stack = [], {output}, [output]
    while stack:
        y = stack.pop()
        if y.made_by is None:
            continue
        if y.arguments is None:
            raise GraphError(
                "this graph was differentiated before, or up to an error, and what that needs was freed: "
                "pass retain_graph=True to the first backward() or grad()"
            )
        results.append(y)
        for x in y.arguments:
            if isinstance(x, Tensor) and x._requires_grad and x not in seen:
                seen.add(x)
                stack.append(x)
    results.sort(key=attrgetter("age"))
    if results and writes.last > results[0].age:
        refuse_written(results)
    return results


def computed_from(inputs: Iterable[Tensor], results: list[Tensor]) -> set[Tensor]:
    """The inputs, and those of `results` (the oldest first) that were computed from one of them, directly
    or through others."""
    found = set(inputs)
    for y in results:
        for x in y.arguments:
            if isinstance(x, Tensor) and x in found:
                found.add(y)
                break
    return found


# ---- what users call

adding = threading.Lock()  # to the grads of leaves, which threads may share


def backward(output: Tensor, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add ∂output/∂leaf to the `grad` of every leaf that requires one. It is `output.backward(…)`.

    gradient      the cotangent of output, of its shape, converted to its dtype; may be left out for a
                  single element
    retain_graph  keep what a second backward through the same graph needs; without it a second one
                  raises GraphError

    Raises ArgumentError if `gradient` is missing or does not fit, and GraphError if there is no graph,
    it was used up, or a Tensor in it was changed in place. Every `grad` is then as it was.
    """
    found = differentiate(output, gradient, None, retain_graph)
    with adding:
        for leaf, total in found.items():
            # Not +=: somebody may hold the old array.
            leaf._grad = total.data if leaf._grad is None else add(leaf._grad, total).data


def grad(
    output: Tensor,
    inputs: Tensor | Iterable[Tensor] | None = None,
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

    Raises ArgumentError if an input does not require a gradient or `gradient` does not fit, and
    GraphError if output was computed without recording, its graph was already used up, or a Tensor in
    it has been written to since.
    """
    check_tensor("output", output)
    if not isinstance(inputs, Iterable):
        raise ArgumentTypeError(f"inputs must be a Tensor or several, got {inputs!r}")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    create_graph = check_flag("create_graph", create_graph)
    retain_graph = check_flag("retain_graph", retain_graph) or create_graph
    found = differentiate(output, gradient, inputs, retain_graph, create_graph)
    results: list[Tensor] = []
    given: set[Tensor] = set()  # one may be given twice
    for tensor in inputs:
        total = found.get(tensor)
        if total is None:
            total = new_tensor(backend.of(tensor.data).xp.zeros_like(tensor.data))
        if tensor in given:
            total = copy(total)
        given.add(tensor)
        # A gradient that happens to be constant can be differentiated too: its derivative is zero.
        total._requires_grad = create_graph
        results.append(total)
    return tuple(results)


# ---- how a pass begins and ends


new_sums = replaceable(Sums)  # the fast lane has other sums for passes over bare arrays


def differentiate(
    output: Tensor,
    gradient: Any,
    inputs: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool = False,
    sums_of_arrays: Callable[[Iterable[Tensor]], Sums] = new_sums,
) -> dict[Tensor, Tensor]:
    """Check everything, walk, and give the gradients of `inputs`, or of every leaf if None.

    Rules run on Tensors if the pass is recorded. Under `detect_nonfinite` they do too, because only
    primitives inspect their results. Otherwise they run on bare arrays, and `sums_of_arrays` makes the
    object that adds up.
    """
    for position, tensor in enumerate(inputs or ()):
        check_input(f"inputs[{position}]", tensor)
    check_flag("retain_graph", retain_graph)
    seed = cotangent_of(output, gradient)
    results = order(output)
    # For backward all that requires a gradient; for grad the inputs and what was computed from them.
    wanted = attrgetter("_requires_grad") if inputs is None else computed_from(inputs, results).__contains__
    on_tensors = create_graph or in_force.get().detecting_nonfinite
    if on_tensors:
        refuse_replaced(results)
    with Setting(recording=create_graph):
        sums = Sums(inputs or ()) if on_tensors else sums_of_arrays(inputs or ())
        if wanted(output):
            sums.add(output, seed if on_tensors else seed.data)
        walk(results, sums, wanted, retain_graph)
        return {x: g if isinstance(g, Tensor) else new_tensor(g) for x, g in sums.gradients().items()}


def cotangent_of(output: Tensor, gradient: Any) -> Tensor:
    """The cotangent that a pass starts from: `gradient`, checked; ones if it is None."""
    check_tensor("output", output)
    if not output.requires_grad:
        raise GraphError(
            "output has no graph: nothing that it was computed from requires a gradient, or it was computed "
            "inside no_grad(), or by what has no derivative (sign, comparisons, a conversion to integers)"
        )
    if gradient is None:
        if output.data.size != 1:
            raise ArgumentError(
                f"gradient must be given for an output of several elements, here of shape {output.shape}: it "
                "is the cotangent. Or make one number of them, as mg.sum(output) does"
            )
        return new_tensor(backend.of(output.data).xp.ones_like(output.data))
    return tensor_like(gradient, "gradient", output, "output")


def tensor_like(value: Any, name: str, y: Tensor, whose: str) -> Tensor:
    """`value` as a Tensor of y's library, shape and dtype, or an error. Integers are converted."""
    array, library = raw(value), backend.of(y.data)
    check_unmasked(name, array)
    if backend.find(array) is None:
        array = library.asarray(backend.to_numpy(array, name))
    if backend.of(array) is not library:
        raise BackendError(
            f"{name} must be a {library.name} array, as {whose} is, got one of {backend.of(array).name}"
        )
    if array.dtype.kind not in "fiu":
        raise ArgumentTypeError(f"{name} must be real, got dtype {array.dtype}")
    if array.shape != y.shape:
        raise ArgumentError(f"{name} must have {whose}'s shape {y.shape}, got {array.shape}")
    return in_dtype(value if isinstance(value, Tensor) else new_tensor(array), y.dtype)


def copied(g: Any) -> Any:
    return copy(g) if isinstance(g, Tensor) else g.copy()
