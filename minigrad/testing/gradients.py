"""Reverse mode against numeric differentiation.

For a function f, a random cotangent c and a random direction v in one of its inputs x, the number
d/dt ⟨c, f(x + t v)⟩ at t = 0 is computed twice:

    reverse mode:  ⟨∇ₓ⟨c, f(x)⟩, v⟩          numeric:  ⟨c, f(x + h v) − f(x − h v)⟩ / 2h

Two evaluations check a whole gradient, however many elements it has: what is wrong in all of them
shows along almost every direction. An error in one element of N must be about √N times the tolerance
to show; `exact=True` looks at the elements one by one. The cotangent is random because an all-ones
one hides rules that misuse it. Numeric derivatives are taken in float64 always: float32 differences
are mostly rounding.

The direction is a random unit vector, stretched in each element to that element's size, so that
large and small elements are moved by the same share of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import check_choice, check_count, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError

# Balances rounding (∝ 1/h) and truncation (∝ h²) of the numeric side in float64.
STEP = 6e-6
# Where h does not agree: a function that bends within h v needs a smaller step.
SMALLER_STEPS = (1.0, 1e-1, 1e-2)
# An element smaller than this is moved as if it were this large: one that is 0 must move too.
LEAST_SIZE = 1e-2
# A few roundings of float64, relative to the numbers that are subtracted.
ROUNDING = 8 * float(np.finfo(np.float64).eps)
# Of the difference, relative to the size that the compared numbers have on average over directions.
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}


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
    step: float | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Assert that the gradients of `function` in all of its inputs are right.

    function    from Tensors to a Tensor, of any shapes; deterministic
    inputs      numbers, arrays or Tensors, of any layout; they are not written to
    order       2 also checks the gradient of the gradient
    dtype       in which reverse mode runs: float64, or float32 with a wider tolerance. The numeric
                side is always float64.
    directions  how many random directions are tried in each input, at two evaluations each (more
                only where they do not agree)
    exact       compare element by element instead, which names the wrong one
    step        h; None for one that fits float64, and smaller ones where that is too coarse
    tolerance   relative to the size of the gradient in the input concerned; None for the dtype's own
    seed        of the cotangent and the directions

    Raises GradientError, which shows both numbers and how to get them again, or KinkError where the
    function is not smooth between the sample points: draw the inputs away from there. (Exactly at a
    symmetric kink, as of |x| at 0, the numeric side is 0 and nothing is noticed.)
    """
    check_count("order", order)
    check_count("directions", directions)
    check_count("seed", seed, low=0)
    if order > 2:
        raise ArgumentError(f"order must be 1 or 2, got {order}")
    if step is not None:
        check_number("step", step, low=0.0, low_open=True)
    name = check_choice("dtype", getattr(dtype, "__name__", str(dtype)), tuple(TOLERANCE))
    if tolerance is not None:
        check_number("tolerance", tolerance, low=0.0, low_open=True)
    if not inputs:
        raise ArgumentError("inputs must be at least one, got none")
    check = _Check(
        function=function,
        inputs=[_host(position, x) for position, x in enumerate(inputs)],
        dtype=np.dtype(name),
        step=step,
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


def _host(position: int, x: Any) -> np.ndarray:
    """An input as a NumPy array of real numbers, in the layout that it has."""
    array = x.numpy() if isinstance(x, mg.Tensor) else backend.to_numpy(x)
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(f"inputs[{position}] must be real numbers, got dtype {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


class _Check:
    def __init__(
        self,
        function: Callable[..., Any],
        inputs: list[np.ndarray],
        dtype: np.dtype[Any],
        step: float | None,
        tolerance: float,
        seed: int,
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.dtype = dtype
        self.step = STEP if step is None else step
        self.shares = SMALLER_STEPS if step is None else (1.0,)
        self.tolerance = tolerance
        self.seed = seed
        self.library = backend.current()
        self.random = np.random.default_rng([seed, 1412_6572])  # not what a test drew from its seed
        # What reverse mode sees, to the bit, in float64.
        self.exact_inputs = [x.astype(dtype).astype(np.float64, order="C") for x in inputs]
        value = self.value(self.exact_inputs)
        if not np.isfinite(value).all():
            raise GradientError(f"{self.name} is not finite at the inputs: {_show(self.inputs)}")
        self.cotangent = self.random.normal(size=value.shape)

    @property
    def name(self) -> str:
        function = self.function
        return str(getattr(function, "name", None) or getattr(function, "__name__", None) or function)

    # ---- the two sides

    def value(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        with mg.no_grad():
            output = self.function(*(mg.Tensor(self.library.asarray(x)) for x in inputs))
        if not isinstance(output, mg.Tensor):
            raise ArgumentTypeError(f"function must return a Tensor, got {type(output).__name__}")
        return np.asarray(output.numpy(), np.float64)

    def at(self, position: int, v: np.ndarray, t: float) -> np.ndarray:
        """f where input `position` is x + t v."""
        moved = list(self.exact_inputs)
        moved[position] = moved[position] + t * v
        return self.value(moved)

    def numeric(self, position: int, v: np.ndarray, h: float) -> tuple[float, float]:
        """The central difference, and what it may be off by for rounding alone."""
        right = self.at(position, v, h)
        difference = right - self.at(position, v, -h)
        derivative = float(np.vdot(self.cotangent, difference)) / (2 * h)
        # Outputs that the direction leaves alone cancel exactly, however large they are.
        return derivative, ROUNDING * _norm([self.cotangent * right * (difference != 0)]) / h

    def reverse(self) -> list[np.ndarray]:
        """The gradient of ⟨c, f(x)⟩ in every input. Inputs of the right dtype keep their layout."""
        with mg.enable_grad():
            leaves = [
                mg.Tensor(self.library.asarray(x.astype(self.dtype, copy=False)), requires_grad=True)
                for x in self.inputs
            ]
            output = self.function(*leaves)
            if not output.requires_grad:  # it does not depend on any input
                return [np.zeros(x.shape) for x in self.inputs]
            cotangent = self.library.asarray(self.cotangent.astype(output.dtype))
            gradients = mg.grad(output, leaves, gradient=cotangent)
        for position, (gradient, leaf) in enumerate(zip(gradients, leaves, strict=True)):
            if gradient.shape != leaf.shape or gradient.dtype != leaf.dtype:
                raise GradientError(
                    f"{self.name}: the gradient in input {position + 1} has shape {gradient.shape} and "
                    f"dtype {gradient.dtype}, the input {leaf.shape} and {leaf.dtype}"
                )
        return [g.numpy().astype(np.float64) for g in gradients]

    # ---- the comparisons

    def along(self, directions: int) -> None:
        """Compare along random directions, in one input at a time."""
        for position, (x, gradient) in enumerate(zip(self.exact_inputs, self.reverse(), strict=True)):
            size = np.maximum(np.abs(x), LEAST_SIZE)
            for _ in range(directions if x.size else 0):
                unit = self.random.normal(size=x.shape)
                v = unit / _norm([unit]) * size
                # ⟨g, v⟩ is about ‖g‖/√N for a random unit vector v of N elements.
                usual = _norm([gradient * size]) / np.sqrt(x.size)
                self.compare(position, v, gradient, usual, f"in input {position + 1}, along the direction")

    def elements(self) -> None:
        """Compare element by element."""
        for position, (x, gradient) in enumerate(zip(self.exact_inputs, self.reverse(), strict=True)):
            size = np.maximum(np.abs(x), LEAST_SIZE)
            usual = float(np.abs(gradient * size).max(initial=0.0))
            for index in np.ndindex(x.shape):
                v = np.zeros(x.shape)
                v[index] = size[index]
                where = f"in element {list(index)} of input {position + 1}, along the direction"
                self.compare(position, v, gradient, usual, where)

    def compare(self, position: int, v: np.ndarray, gradient: np.ndarray, usual: float, where: str) -> None:
        with np.errstate(invalid="ignore"):
            reverse = float(np.vdot(gradient, v))
        if not np.isfinite(reverse):
            raise GradientError(f"{self.name}, {where}: reverse mode gave {reverse}")
        tried = []
        for share in self.shares:
            h = self.step * share
            numeric, rounding = self.numeric(position, v, h)
            bound = self.tolerance * max(usual, min(abs(numeric), 10 * usual)) + rounding
            tried.append((numeric, bound, rounding))
            if self.agree(reverse, numeric, bound):
                return
            if len(self.shares) > 1:  # once more, with the error of order h² removed
                finer = (4 * self.numeric(position, v, h / 2)[0] - numeric) / 3
                if self.agree(reverse, finer, bound):
                    return
        h, (numeric, bound, rounding) = self.step, tried[0]
        difference = abs(reverse - numeric)
        report = (
            f"{self.name}, {where}:\n"
            f"  reverse mode: {reverse!r}\n"
            f"  numeric:      {numeric!r}  (central difference, step {h:g})\n"
            f"  difference {difference:.3g}, allowed {bound:.3g}\n"
            f"  seed {self.seed}, reverse mode in {self.dtype}\n"
            f"  inputs: {_show(self.inputs)}\n"
            f"  direction: {_show([v])}\n"
            f"  cotangent: {_show([self.cotangent])}"
        )
        self.explain(position, v, h, difference, rounding, report)
        raise GradientError(report)

    @staticmethod
    def agree(reverse: float, numeric: float, bound: float) -> bool:
        return bool(np.isfinite(numeric) and np.isfinite(bound) and abs(reverse - numeric) <= bound)

    def explain(
        self, position: int, v: np.ndarray, h: float, difference: float, rounding: float, report: str
    ) -> None:
        """Raise what is more to the point than a wrong rule, if something is.

        For a smooth function the residual of a parabola through five points is of the order h³, so
        that, divided by h, it vanishes; a slope that changes by s within the step leaves about s.
        """
        points = h * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        samples = [self.at(position, v, t) for t in points]
        if not all(np.isfinite(sample).all() for sample in samples):
            raise GradientError(f"the function is not finite everywhere within a step; {report}")
        if not np.array_equal(samples[2], self.at(position, v, 0.0)):
            raise GradientError(f"the function gives another value for the same inputs; {report}")
        phi = np.array([float(np.vdot(self.cotangent, sample - samples[2])) for sample in samples])
        fit = np.polynomial.Polynomial.fit(points, phi, 2)
        residual = float(np.abs(phi - fit(points)).max())
        if residual > h * (0.02 * difference + rounding):
            raise KinkError(f"a kink, a tie or a jump lies within a step of the inputs; {report}")

    def slope(self) -> Callable[..., Any]:
        """The gradient as a function of its own: Σ ⟨∇ₓ⟨c, f(x)⟩, u⟩ for fixed random u."""
        combination = [self.random.normal(size=x.shape) for x in self.inputs]

        def gradient_of(*inputs: mg.Tensor) -> mg.Tensor:
            with mg.enable_grad():
                leaves = [x if x.requires_grad else mg.Tensor(x, requires_grad=True) for x in inputs]
                output = self.function(*leaves)
                cotangent = self.library.asarray(self.cotangent.astype(output.dtype))
                if not output.requires_grad:
                    return mg.Tensor(0.0)
                gradients = mg.grad(output, leaves, gradient=cotangent, create_graph=True)
                terms = [
                    mg.sum(g * self.library.asarray(u.astype(g.dtype)))
                    for g, u in zip(gradients, combination, strict=True)
                ]
                return mg.sum(mg.stack(terms))

        gradient_of.__name__ = f"the gradient of {self.name}"
        return gradient_of


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.vdot(a, a)) for a in arrays)))


def _show(arrays: Sequence[np.ndarray]) -> str:
    with np.printoptions(threshold=20, precision=17):
        return "; ".join(f"{a.dtype}{list(a.shape)} {a.tolist() if a.size <= 20 else a}" for a in arrays)
