"""Reverse-mode automatic differentiation: primitives, the graph they leave, and the walk back.

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
That visit is `walk`, below. The rest of this file is bookkeeping around it.

Rules are written in the operations that they differentiate, on Tensors. By default nothing is
recorded while they run, so they cost what their array arithmetic costs. With create_graph=True
they are recorded as any other computation is, and their results can be differentiated again.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ContextDecorator
from sys import getrefcount
from typing import Any, Concatenate, Generic, ParamSpec

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError, NonFiniteError
from minigrad.operands import is_real, reconcile
from minigrad.tensor import Tensor, new_tensor

P = ParamSpec("P")
Rule = Callable[..., Any]
ndarray = np.ndarray


# ---- what is switched on and off, in each thread


class _Thread(threading.local):
    settings = (True, False)  # recording, detecting_nonfinite: one tuple, read at every operation

    def __init__(self) -> None:  # runs once in every thread
        self.previous: list[tuple[bool, bool]] = []


_thread = _Thread()


class _Setting(ContextDecorator):
    """Sets one of the thread's settings for a `with` block or for a decorated function."""

    def __init__(self, recording: bool | None = None, detecting_nonfinite: bool | None = None) -> None:
        self._values = recording, detecting_nonfinite

    def __enter__(self) -> None:
        old, values = _thread.settings, self._values
        _thread.previous.append(old)
        _thread.settings = (
            old[0] if values[0] is None else values[0],
            old[1] if values[1] is None else values[1],
        )

    def __exit__(self, *exception: object) -> None:
        _thread.settings = _thread.previous.pop()

    def __call__(self, function: Any) -> Any:
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _RUNS_LATER:
            raise ArgumentTypeError(
                f"{function.__name__} is a generator or a coroutine, whose body runs after the call: "
                "put a `with` statement inside it"
            )
        return super().__call__(function)


_RUNS_LATER = 0x20 | 0x80 | 0x200  # CPython's flags of generators, coroutines and both


def no_grad() -> _Setting:
    """Record nothing inside: `with mg.no_grad(): …`, or `@mg.no_grad()` on a function.

    Per thread, and may be nested.
    """
    return _Setting(recording=False)


def may_defer_products() -> bool:
    """Whether a rule may leave a product to the walk: nothing is recorded or inspected."""
    return _thread.settings == (False, False)


def enable_grad() -> _Setting:
    """Record inside, even within `no_grad()`. Used as `no_grad` is."""
    return _Setting(recording=True)


def detect_nonfinite() -> _Setting:
    """Raise NonFiniteError where the first NaN or infinity appears, naming the operation.

    Every result is inspected, which is slow and makes a GPU wait: for hunting a NaN, not for work.
    Used as `no_grad` is.
    """
    return _Setting(detecting_nonfinite=True)


# ---- primitives


class Primitive(Generic[P]):
    """A forward function on raw arrays, and one vector-Jacobian product per array argument.

    `forward(xp, *arrays, **options)` gets the array library and the arrays themselves: arguments
    that may have a derivative come first, settings such as an axis after them. A VJP is called as
    `rule(g, y, *arguments, **options)`, with the cotangent g of the result, the result y and the
    arguments. These are Tensors where the derivative is recorded, to be differentiated again, and
    their bare arrays otherwise; so a rule is written in operators and in minigrad's functions, which
    take both, not in a Tensor's methods; and it writes into none of them. It may return its share in
    the shape of the result where its argument was broadcast, and in another float dtype: the walk
    reduces it to the argument's. A rule of None says that there is no derivative in that argument.

        @primitive
        def multiply(xp, x, y):
            return x * y

        multiply.set_vjps(
            lambda g, z, x, y: g * y,  # ∂z/∂x = y
            lambda g, z, x, y: g * x,  # ∂z/∂y = x
        )

    Called with Tensors, arrays and numbers in any mixture, it returns a Tensor.
    """

    def __init__(self, forward: Callable[Concatenate[Any, P], Any], real: bool = True) -> None:
        code = getattr(forward, "__code__", None)
        if code is None or (code.co_kwonlyargcount and not code.co_flags & 0x04):
            raise ArgumentTypeError(
                f"forward must be a function without keyword-only parameters, got {forward!r}: an "
                "option is given by name or by position, after the arrays"
            )
        defaults = forward.__defaults__ or ()
        self.forward = forward
        self.name = forward.__name__.strip("_")
        self.real = real  # whether arguments with a derivative must be floating-point
        self.vjps: Sequence[Rule | None] = ()
        self._names = code.co_varnames[1 : code.co_argcount]
        self._defaults = dict(zip(self._names[len(self._names) - len(defaults) :], defaults, strict=True))
        self._variadic = False
        self._rules_everywhere = False
        self._complete_call = -1  # so many arguments, and no options, are a complete call
        self.__name__, self.__qualname__ = forward.__name__, forward.__qualname__
        self.__module__, self.__doc__ = forward.__module__, forward.__doc__
        self.__wrapped__ = forward

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    @property
    def __signature__(self) -> Any:
        """The forward's, without the array library: what a caller gives."""
        import inspect

        signature = inspect.signature(self.forward)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def set_vjps(self, *vjps: Rule | None) -> Any:
        """One rule per array argument, in order; None where there is no derivative.

        Returns the first, so that it also serves as the decorator of a single longer rule.
        """
        if not 0 < len(vjps) <= len(self._names):
            raise ArgumentError(
                f"vjps must be one for each array argument of {self.name}({', '.join(self._names)}), "
                f"got {len(vjps)}"
            )
        self.vjps = vjps
        self._rules_everywhere = None not in vjps
        self._complete_call = len(vjps) if len(vjps) == len(self._names) else -1
        return vjps[0]

    def set_vjp_of_each(self, rule_at: Callable[[int], Rule]) -> Callable[[int], Rule]:
        """For a forward that takes any number of arrays: `rule_at(position)` is a position's rule.

        The options of such a primitive are given by name.
        """
        self.vjps = _EachPosition(rule_at)
        self._variadic = self._rules_everywhere = True
        return rule_at

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> Tensor:
        if (options or len(arguments) != self._complete_call) and not self._variadic:
            arguments, options = self._bind(arguments, options)  # type: ignore[assignment]
        # Take the arrays out of the Tensors, and see whether they need any conversion.
        arrays: list[Any] = []
        dtype = None
        plain = not self._variadic  # NumPy arrays of one dtype, and perhaps numbers: nothing to convert
        requires_grad = False
        for argument in arguments:
            array: Any = argument
            if isinstance(argument, Tensor):
                array = argument.data
                if argument.requires_grad:
                    requires_grad = True
            arrays.append(array)
            kind = type(array)
            if kind is ndarray:
                if dtype is None:
                    dtype = array.dtype
                elif array.dtype is not dtype:
                    plain = False
            elif kind is not float and kind is not int:
                plain = False
        if plain and dtype is not None and dtype.kind == "f":
            xp: Any = np
        else:
            plain = False
            xp = reconcile(self.name, arrays, self._needs_real(arrays), joins=self._variadic)
        # Compute. (An empty ** costs as much as a small operation.)
        forward: Any = self.forward
        output = forward(xp, *arrays, **options) if options else forward(xp, *arrays)
        if type(output) is not ndarray and backend.find(output) is None:
            output = xp.asarray(output)  # NumPy gives a scalar where there are no dimensions
        recording, detecting_nonfinite = _thread.settings
        if detecting_nonfinite:
            _raise_if_nonfinite(self.name, xp, output)
        # Remember how, if anybody may ask for a derivative.
        if not (requires_grad and recording and (self._rules_everywhere or self._has_derivative(arguments))):
            return new_tensor(output)
        if not plain:  # keep what was no Tensor in its converted form
            arguments = tuple(  # type: ignore[assignment]
                argument if isinstance(argument, Tensor) else array
                for argument, array in zip(arguments, arrays, strict=True)
            )
        return new_tensor(output, (self, arguments, arrays, options))

    def _has_derivative(self, arguments: Any) -> bool:
        """Whether some argument that requires a gradient has a rule."""
        for position, argument in enumerate(arguments):
            if isinstance(argument, Tensor) and argument.requires_grad and self.vjps[position] is not None:
                return True
        return False

    def _needs_real(self, operands: list[Any]) -> list[bool]:
        """Of each operand. Joining takes any dtype, but no integers beside real numbers."""
        real = self.real or (self._variadic and any(is_real(operand) for operand in operands))
        return [real and self.vjps[position] is not None for position in range(len(operands))]

    def _bind(self, arguments: Any, options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort a call into (array arguments, all options) by the forward's signature."""
        names, arity, count = self._names, len(self.vjps), len(arguments)
        if arity == 0:
            raise ArgumentTypeError(f"{self.name} has no rules yet: give them with set_vjps")
        given = {**self._defaults, **dict(zip(names, arguments, strict=False)), **options}
        unknown = any(name not in names[count:] for name in options)
        if unknown or count > len(names) or len(given) < len(names):
            missing = [name for name in names if name not in given]
            problem = f"missing {missing[0]!r}" if missing else "too many or unknown arguments"
            raise ArgumentTypeError(
                f"{self.name}({', '.join(names)}): {problem}; got {count} by position "
                f"and {sorted(options)} by name"
            )
        settings = {name: given[name] for name in names[arity:]}
        for name, value in settings.items():
            if isinstance(value, Tensor):
                raise ArgumentTypeError(
                    f"{self.name}: {name} must be a setting, got a Tensor: {self.name} has rules for "
                    f"{', '.join(names[:arity])} alone"
                )
        if count < arity:  # arrays given by name
            arguments = [given[name] for name in names]
        return tuple(arguments[:arity]), settings


def primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """Make a forward function on real arrays a Primitive; its VJPs are set next to it."""
    return Primitive(forward)


def structural_primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """The same for one that only moves elements about, and so takes any dtype."""
    return Primitive(forward, real=False)


class _EachPosition(Sequence[Rule]):
    """The rules of a primitive that takes any number of arrays."""

    def __init__(self, rule_at: Callable[[int], Rule]) -> None:
        self._rule_at = rule_at

    def __getitem__(self, position: Any) -> Any:
        return self._rule_at(position)

    def __len__(self) -> int:
        raise TypeError("as many rules as there are arguments")


def _raise_if_nonfinite(where: str, xp: Any, array: Any) -> None:
    if array.dtype.kind == "f" and not bool(xp.isfinite(array).all()):
        raise NonFiniteError(f"{where} made a NaN or an infinity (result of shape {array.shape})")


# ---- gradients


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

    Where nothing is to be recorded, the rules get bare arrays for Tensors: the same formulas, without
    the cost of a Tensor for every intermediate result.
    """
    seed = _seed(output, gradient)
    results, wanted, reused = _plan(output, inputs, create_graph)
    asked: set[Tensor] = set(inputs or ())
    on_tensors = create_graph or _thread.settings[1]
    # The cotangents so far, Tensors or bare arrays as the rules want them: `shared` are in memory that
    # somebody else may see, `own` in memory of this pass alone, which can be added to in place.
    shared: dict[Tensor, Any] = {}
    own: dict[Tensor, Any] = {}
    if output in wanted:
        shared[output] = seed if on_tensors else seed.data
    products: dict[Tensor, Product] = {}  # shares that are to be one product of stacked factors
    found: dict[Tensor, Tensor] = {}

    with _Setting(recording=create_graph):
        while results:
            y = results.pop()  # the youngest; its memory can go as soon as it was visited
            g = shared.pop(y, None)
            is_own = g is None
            if is_own:
                g = own.pop(y, None)
                if g is None:
                    continue
            if y in asked:
                found[y] = _as_tensor(g if is_own else copied(g))
            if visited is not None:
                visited[y] = _as_tensor(g)
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
                if type(share) is Product:
                    stacked = products[x] + share if x in products else share
                    if x in reused and stacked.is_worth_its_memory():
                        products[x] = stacked
                        continue
                    share = share.multiplied(_spare_of(x))
                if type(share) is Tensor and not on_tensors:
                    share = share.data
                data = x.data
                if type(share) is not type(data) or share.shape != data.shape or share.dtype != data.dtype:
                    share = _fitted(share, primitive, position, x, on_tensors)
                # Add it up.
                if x in own:
                    if on_tensors:
                        own[x] = own[x] + share
                    else:
                        own[x] += share
                elif x in shared:
                    total = shared.pop(x) + share
                    # NumPy gives a scalar where there are no dimensions.
                    own[x] = np.asarray(total) if isinstance(total, np.generic) else total
                elif not on_tensors and share.base is None and nobody_elses(share):
                    own[x] = share
                else:
                    shared[x] = share
            if not retain_graph:
                y.forget()
        # The leaves are left.
        for x, product in products.items():
            earlier = own.get(x, shared.pop(x, None))
            share = product.multiplied(_spare_of(x))
            own[x] = share if earlier is None else share + earlier
        for x, g in own.items():
            if inputs is None or x in asked:
                found[x] = _as_tensor(g)
        for x, g in shared.items():
            if inputs is None or x in asked:
                found[x] = _as_tensor(copied(g))
    return found


def _references(array: Any) -> int:
    return getrefcount(array)


def _references_to_a_new_array(held: bool) -> int:
    array = np.empty(0)
    holder = [array] if held else []
    return _references(array) + 0 * len(holder)


_ALONE = _references_to_a_new_array(held=False)
if _references_to_a_new_array(held=True) <= _ALONE:
    _ALONE = -1  # an interpreter that does not count so: nothing is known to be nobody else's


def nobody_elses(array: Any) -> bool:
    """Whether a variable of the caller is all that refers to `array`: then nobody else can see what is
    written into it (unless it is a view)."""
    return getrefcount(array) == _ALONE


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
    derivative is the number g, and of a z that was computed from W but not from x.

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
    remainder = _Remainder(again[output], [g for _, g in stops])
    tensors = tuple(stop for stop, _ in stops)
    return gradient, new_tensor(output.data, (remainder, tensors, [t.data for t in tensors], {}))


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

    def __init__(self, whole: Tensor, cotangents: list[Tensor]) -> None:
        self.whole = whole
        self.vjps = [
            lambda g, *_, known=known.data: known if _is_one(g) else known * g for known in cotangents
        ]

    def restore(self, remainder: Tensor) -> None:
        """Put the whole way back in place of its stops: the known cotangents are numbers, without a
        graph of their own to differentiate."""
        remainder._made_by = (mg.copy, (self.whole,), [self.whole.data], {})
