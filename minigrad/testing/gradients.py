"""Reverse mode against numeric differentiation.

For a function f with inputs x, a random cotangent c and a random unit direction v over all inputs
together, the number d/dt ⟨c, f(x + t v)⟩ at t = 0 is computed twice:

    reverse mode:  ⟨∇ₓ⟨c, f(x)⟩, v⟩          numeric:  (φ(h) − φ(−h)) / 2h,  φ(t) = ⟨c, f(x + t v)⟩

Two evaluations check a whole gradient, however many elements it has: an error in any element shows
in almost every direction. The cotangent is random because an all-ones one hides rules that misuse
it. Numbers are float64 wherever they are compared: float32 differences are mostly rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, check_choice, check_count, check_number

# Of the numeric side: the step that balances rounding (∝ 1/h) and truncation (∝ h²) in float64.
STEP = 6e-6
# Of the comparison, relative to the gradient's norm: what reverse mode loses in each dtype.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}


class GradientError(AssertionError):
    """Reverse mode and numeric differentiation disagree."""


class KinkError(AssertionError):
    """They disagree because the function has a kink, a tie or a jump between the sample points."""


def check_gradients(
    function: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    dtype: Any = np.float64,
    directions: int = 2,
    exact: bool = False,
    step: float = STEP,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Assert that the gradients of `function` in all of its inputs are right.

    function    from Tensors to a Tensor, of any shapes
    inputs      numbers, arrays or Tensors, of any layout; they are not written to
    order       2 also checks the gradient of the gradient
    dtype       in which reverse mode runs: float64, or float32 with a wider tolerance. The numeric
                side is always float64.
    directions  how many random directions are tried
    exact       compare element by element instead, which names the wrong one: 2 evaluations each
    step        h, in the unit of the largest input (at least 1)
    tolerance   of the difference relative to the gradient's norm; None for the dtype's own
    seed        of the cotangent and the directions

    Raises GradientError, which shows both numbers and how to get them again, or KinkError where the
    function is not smooth between x − h v and x + h v: draw the inputs away from there.
    """
    check_count("order", order)
    check_count("directions", directions)
    check_number("step", step, low=0.0, low_open=True)
    name = check_choice("dtype", np.dtype(dtype).name, tuple(TOLERANCE))
    if order > 2:
        raise ArgumentError(f"order must be 1 or 2, got {order}")
    check = _Check(
        function=function,
        inputs=[_host(x) for x in inputs],
        dtype=np.dtype(dtype),
        step=step * max(1.0, *(float(np.abs(_host(x)).max(initial=0.0)) for x in inputs)),
        tolerance=TOLERANCE[name] if tolerance is None else tolerance,
        seed=seed,
    )
    if exact:
        check.elements()
    else:
        check.along(directions)
    if order == 2:
        check_gradients(
            check.slope(), *inputs, dtype=dtype, directions=directions, exact=exact, step=step,
            tolerance=tolerance, seed=seed + 1,
        )  # fmt: skip


def _host(x: Any) -> np.ndarray:
    """An input as a NumPy array, in the layout that it has."""
    array = x.numpy() if isinstance(x, mg.Tensor) else backend.to_numpy(x)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


class _Check:
    def __init__(
        self,
        function: Callable[..., Any],
        inputs: list[np.ndarray],
        dtype: np.dtype[Any],
        step: float,
        tolerance: float,
        seed: int,
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.dtype = dtype
        self.step = step
        self.tolerance = tolerance
        self.seed = seed
        self.library = backend.current()
        self.random = np.random.default_rng([seed, 1412_6572])  # not what a test drew from its seed
        self.exact_inputs = [x.astype(np.float64, order="C") for x in inputs]
        shape = self.value(*self.exact_inputs).shape
        self.cotangent = self.random.normal(size=shape)

    # ---- the two sides

    def value(self, *inputs: np.ndarray) -> np.ndarray:
        with mg.no_grad():
            output = self.function(*(mg.Tensor(self.library.asarray(x)) for x in inputs))
        return np.asarray(output.numpy(), np.float64)

    def phi(self, direction: Sequence[np.ndarray], t: float) -> float:
        """⟨c, f(x + t v)⟩"""
        moved = [x + t * v for x, v in zip(self.exact_inputs, direction, strict=True)]
        return float(np.vdot(self.cotangent, self.value(*moved)))

    def numeric(self, direction: Sequence[np.ndarray]) -> float:
        return (self.phi(direction, self.step) - self.phi(direction, -self.step)) / (2 * self.step)

    def reverse(self) -> list[np.ndarray]:
        """The gradient of ⟨c, f(x)⟩ in every input. Inputs of the right dtype keep their layout."""
        leaves = [
            mg.Tensor(self.library.asarray(x.astype(self.dtype, copy=False)), requires_grad=True)
            for x in self.inputs
        ]
        output = self.function(*leaves)
        cotangent = self.library.asarray(self.cotangent.astype(output.dtype))
        gradients = mg.grad(output, leaves, gradient=cotangent)
        for position, (gradient, leaf) in enumerate(zip(gradients, leaves, strict=True)):
            if gradient.shape != leaf.shape or gradient.dtype != leaf.dtype:
                raise GradientError(
                    f"{self.name}: the gradient in input {position + 1} has shape {gradient.shape} and "
                    f"dtype {gradient.dtype}, its input {leaf.shape} and {leaf.dtype}"
                )
        return [g.numpy().astype(np.float64) for g in gradients]

    # ---- the comparisons

    def along(self, directions: int) -> None:
        """Compare along random unit directions over all inputs together."""
        gradients = self.reverse()
        scale = _norm(gradients)
        for _ in range(directions):
            direction = [self.random.normal(size=x.shape) for x in self.exact_inputs]
            length = _norm(direction) or 1.0
            direction = [v / length for v in direction]
            reverse = sum(float(np.vdot(g, v)) for g, v in zip(gradients, direction, strict=True))
            self.compare(reverse, direction, scale, "along the direction")

    def elements(self) -> None:
        """Compare element by element."""
        gradients = self.reverse()
        scale = max((float(np.abs(g).max(initial=0.0)) for g in gradients), default=0.0)
        for position, x in enumerate(self.exact_inputs):
            for index in np.ndindex(x.shape):
                direction = [np.zeros(other.shape) for other in self.exact_inputs]
                direction[position][index] = 1.0
                where = f"in element {list(index)} of input {position + 1}, along the direction"
                self.compare(float(gradients[position][index]), direction, scale, where)

    def compare(self, reverse: float, direction: list[np.ndarray], scale: float, where: str) -> None:
        numeric = self.numeric(direction)
        difference = abs(reverse - numeric)
        # Below this the numeric side itself is rounding.
        floor = 1e-15 * abs(self.phi(direction, 0.0)) / self.step
        if difference <= self.tolerance * max(scale, abs(numeric), 1e-3) + 10 * floor:
            return
        report = (
            f"{self.name}, {where}:\n"
            f"  reverse mode: {reverse!r}\n"
            f"  numeric:      {numeric!r}  (central difference, step {self.step:g})\n"
            f"  difference {difference:.3g}, allowed {self.tolerance:g} of {max(scale, abs(numeric)):.3g}\n"
            f"  seed {self.seed}, reverse mode in {self.dtype}\n"
            f"  inputs: {_show(self.inputs)}\n"
            f"  direction: {_show(direction)}\n"
            f"  cotangent: {_show([self.cotangent])}"
        )
        if self.has_kink(direction, difference):
            raise KinkError(f"a kink, a tie or a jump lies within a step of the inputs; {report}")
        raise GradientError(report)

    def has_kink(self, direction: Sequence[np.ndarray], difference: float) -> bool:
        """Whether φ departs from a parabola between −h and h by what could explain the difference.

        For a smooth φ the residual of a quadratic fit through five points is of the order h³; a
        slope that changes by s within the step leaves about s·h.
        """
        points = self.step * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        values = np.array([self.phi(direction, t) for t in points])
        fit = np.polynomial.Polynomial.fit(points, values, 2)
        residual = float(np.abs(values - fit(points)).max())
        return not np.isfinite(values).all() or residual > 0.02 * self.step * difference

    def slope(self) -> Callable[..., Any]:
        """The gradient as a function of its own: Σ ⟨∇ₓ⟨c, f(x)⟩, u⟩ for fixed random u."""
        combination = [self.random.normal(size=x.shape) for x in self.inputs]

        def gradient_of(*inputs: mg.Tensor) -> mg.Tensor:
            with mg.enable_grad():
                leaves = [x if x.requires_grad else mg.Tensor(x, requires_grad=True) for x in inputs]
                output = self.function(*leaves)
                cotangent = self.library.asarray(self.cotangent.astype(output.dtype))
                gradients = mg.grad(output, leaves, gradient=cotangent, create_graph=True)
                terms = [
                    mg.sum(g * self.library.asarray(u.astype(g.dtype)))
                    for g, u in zip(gradients, combination, strict=True)
                ]
                return mg.sum(mg.stack(terms))

        gradient_of.__name__ = f"the gradient of {self.name}"
        return gradient_of

    @property
    def name(self) -> str:
        function = self.function
        return str(getattr(function, "name", None) or getattr(function, "__name__", None) or function)


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.vdot(a, a)) for a in arrays)))


def _show(arrays: Sequence[np.ndarray]) -> str:
    with np.printoptions(threshold=20, precision=17):
        return "; ".join(f"{a.dtype}{list(a.shape)} {a.tolist() if a.size <= 20 else a}" for a in arrays)
