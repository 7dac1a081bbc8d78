"""minigrad.testing: its checks fail where they must, and its strategies draw what they say."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, find, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.tensor import raw
from minigrad.testing import (
    GradientError,
    KinkError,
    UndecidedError,
    array_from_seed,
    arrays,
    check_differentiable,
    check_gradients,
)
from minigrad.testing.strategies import LAYOUTS, in_layout
from tests.checkers.catalogue import RIGHT, WRONG, Entry

QUIET = settings(max_examples=2000, derandomize=True, database=None)
X = np.random.default_rng(0).normal(size=(3, 4))


def wrong_exp(rule: Any) -> Any:
    @mg.primitive
    def wrong(xp: Any, x: Any) -> Any:
        return xp.exp(x)

    wrong.set_vjps(rule)
    return wrong


def wrong_in_one_element(g: mg.Tensor, y: mg.Tensor, x: mg.Tensor) -> mg.Tensor:
    factor = np.ones(x.shape)
    factor[1, 2] = 1.01
    return g * y * factor


class TestNegativeControls:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("exact", [False, True])
    def test_a_wrong_rule(self, dtype: Any, exact: bool) -> None:
        for rule in (lambda g, y, x: -g * y, lambda g, y, x: g, lambda g, y, x: 1.01 * g * y):
            with pytest.raises(GradientError):
                check_gradients(wrong_exp(rule), X, dtype=dtype, exact=exact)

    def test_one_wrong_element_of_many(self) -> None:
        for exact in (False, True):
            with pytest.raises(GradientError, match=r"x\[1, 2\] .* 1\.01\n  \(of 12 elements"):
                check_gradients(wrong_exp(wrong_in_one_element), X, exact=exact)

    def test_a_wrong_second_derivative(self) -> None:
        wrong = wrong_exp(lambda g, y, x: g * raw(y))  # right numbers, without a graph
        check_gradients(wrong, X)
        with pytest.raises(GradientError, match="the gradient of wrong"):
            check_gradients(wrong, X, order=2)

    def test_the_tolerance_decides(self) -> None:
        slightly = wrong_exp(lambda g, y, x: 1.001 * g * y)
        check_gradients(slightly, X, tolerance=1e-2)
        with pytest.raises(GradientError):
            check_gradients(slightly, X)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_a_gradient_of_the_wrong_shape_or_dtype_cannot_be_made(self, dtype: Any) -> None:
        wrong = wrong_exp(lambda g, y, x: mg.sum(g * y, 0))
        with pytest.raises(ArgumentError, match="rule of wrong"):
            check_gradients(wrong, X, dtype=dtype)


def scaled(factor: Any, claimed: Any) -> Any:
    """x ↦ factor·x, whose rule says claimed·g."""

    @mg.primitive
    def linear_map(xp: Any, x: Any) -> Any:
        return factor * x

    linear_map.set_vjps(lambda g, y, x: claimed * g)
    return linear_map


class TestPower:
    """Wrong rules that a check of less care would let pass, and right ones that it would fail."""

    def test_an_infinite_gradient(self) -> None:
        for options in ({}, {"exact": True}, {"dtype": np.float32}):
            with pytest.raises(GradientError, match=r"x\[0\] +-?inf"):
                check_gradients(scaled(1.0, np.array([np.inf, 1.0, 1.0])), np.ones(3), **options)

    @pytest.mark.parametrize("size", [1, 100, 10_000, 100_000])
    def test_a_relative_error_in_every_element_of_any_number(self, size: int) -> None:
        x = np.random.default_rng(1).normal(size=size)
        check_gradients(scaled(2.0, 2.0), x)
        with pytest.raises(GradientError):
            check_gradients(scaled(2.0, 2.0002), x, directions=5)
        with pytest.raises(GradientError):
            check_gradients(scaled(2.0, 2.02), x, directions=5, dtype=np.float32)

    @pytest.mark.parametrize("factor", [1e-9, 1e-3, 1.0, 1e9])
    @pytest.mark.parametrize("exact", [False, True])
    def test_gradients_of_any_size(self, factor: float, exact: bool) -> None:
        for dtype in (np.float64, np.float32):
            check_gradients(scaled(factor, factor), X, exact=exact, dtype=dtype)
            with pytest.raises(GradientError):
                check_gradients(scaled(factor, -factor), X, exact=exact, dtype=dtype)

    def test_an_input_with_a_small_gradient_beside_one_with_a_large(self) -> None:
        wrong = scaled(1e-6, -1e-6)
        for options in ({}, {"exact": True}, {"dtype": np.float32}):
            with pytest.raises(GradientError, match="in b is wrong"):
                check_gradients(lambda a, b: mg.stack([1e3 * a, wrong(b)]), X, X, **options)

    def test_a_large_constant_beside_a_wrong_gradient(self) -> None:
        wrong = wrong_exp(lambda g, y, x: 1.01 * g * y)
        with pytest.raises(GradientError):
            check_gradients(lambda x: wrong(x) + 1e5, X)

    @pytest.mark.parametrize(
        ("function", "inputs"),
        [
            (lambda a, b: a * mg.exp(b), (1e4, 1.0)),
            (lambda a, b: a + mg.tanh(b), (1e8, 1.0)),
            (mg.tanh, (np.array([1e8, 0.3]),)),
            (mg.log, (np.array([1e3, 0.5]),)),
            (mg.log, (np.array([1e-4, 1e-5]),)),
            (mg.sqrt, (np.array([1e-4, 1e-5]),)),
            (lambda x: mg.exp(20.0 * x), (np.array([1.0, -1.0]),)),
            (lambda x: mg.tanh(1000.0 * x), (np.array([1e-3, 2e-4]),)),
            (lambda x: mg.mean(x * x), (np.linspace(-1, 1, 100_000),)),
            (lambda x: mg.Tensor(np.ones(3)), (np.ones(2),)),
            (lambda a, b: mg.exp(a), (X, X)),
        ],
    )
    def test_right_functions_of_every_scale(self, function: Any, inputs: Any) -> None:
        check_gradients(function, *inputs, order=2)

    def test_inside_no_grad(self) -> None:
        with mg.no_grad():
            check_gradients(mg.exp, X, order=2)


class TestReports:
    def test_a_failure_can_be_read_and_pasted(self) -> None:
        x = np.array([[0.5, -1.25], [2.0, 3.0]], np.float32)
        with pytest.raises(GradientError) as failure:
            check_gradients(wrong_exp(lambda g, y, x: 2 * g * y), np.asfortranarray(x), seed=17, name="mine")
        report = str(failure.value)
        assert report.startswith("the gradient of mine in x is wrong\n")
        assert re.search(r"x\[1, 1\] .* 2\n.*the 3 worst of 4 elements; exact=True", report, re.DOTALL)
        assert "# in Fortran's order\n  seed=17" in report
        pasted: dict[str, Any] = {"np": np}
        exec(report[report.index("  x = np.array") :].split("#")[0].strip(), pasted)
        np.testing.assert_array_equal(pasted["x"], x)
        assert pasted["x"].dtype == np.float32

    def test_what_a_strategy_drew_is_shown_as_what_makes_it_again(self) -> None:
        drawn = find(arrays((4, 5, 6), low=-1.0), lambda x: not x.flags.writeable, settings=QUIET)
        with pytest.raises(GradientError) as failure:
            check_gradients(wrong_exp(lambda g, y, x: g), drawn)
        call = re.search(r"x = (array_from_seed\(.*\))\n", str(failure.value))
        assert call is not None
        again = eval(call[1], {"array_from_seed": array_from_seed, "np": np})
        np.testing.assert_array_equal(again, drawn)
        assert not again.flags.writeable

    def test_a_large_array_is_described(self) -> None:
        with pytest.raises(GradientError, match=r"x: float64, shape \(3, 100\) from -\d.* to \d.*read-only"):
            check_gradients(
                wrong_exp(lambda g, y, x: g),
                in_layout(np.random.default_rng(0).normal(size=(3, 100)), "read-only"),
            )

    @pytest.mark.parametrize("size", [2, 512, 513, 100_000])
    def test_wrong_elements_are_named_without_being_asked_for(self, size: int) -> None:
        x = np.random.default_rng(0).normal(size=size)
        wrong = [size // 2, size - 1]

        def gradient(x: np.ndarray) -> np.ndarray:
            result = np.cos(x)
            result[wrong] *= [1.5, -1.0]
            return result

        with pytest.raises(GradientError) as failure:
            check_gradients(lambda x: np.sum(np.sin(x)), x, gradient=gradient)
        assert re.findall(r"x\[(\d+)\]", str(failure.value)).sort() == [str(i) for i in wrong].sort()
        assert set(re.findall(r"x\[(\d+)\]", str(failure.value))) == {str(i) for i in wrong}

    @pytest.mark.parametrize(
        ("function", "x"),
        [
            (mg.relu, [1e-12, 1.0]),
            (mg.abs, [0.5, -1e-12]),
            (mg.max, [1.0, 1.0 + 1e-12]),
            (lambda x: mg.maxout(x, 2), [1.0, 1.0 + 1e-12]),
            (lambda x: mg.clip(x, -1.0, 1.0), [1.0 - 1e-12, 0.0]),
            (lambda x: mg.where(x > 0, x, x + 1.0), [1e-12, 1.0]),
        ],
    )
    def test_beside_a_kink_there_is_a_derivative(self, function: Any, x: Any) -> None:
        check_gradients(function, np.array(x))

    @pytest.mark.parametrize(
        ("function", "slope", "x", "element"),
        [
            (np.abs, lambda x: np.where(x < 0, -1, 1), [0.5, 0.0], r"x\[1\] = 0.0: slope -1 below, 1 above"),
            (
                lambda x: np.maximum(x, 0),
                lambda x: x > 0,
                [0.0, 1.0],
                r"x\[0\] = 0.0: slope 0 below, 1 above",
            ),
            (np.max, lambda x: [1.0, 0.0], [1.0, 1.0], r"slope 0 below, 1 above"),
            (lambda x: np.clip(x, -1, 1), lambda x: abs(x) < 1, [1.0, 0.0], "= 1.0: slope 1 below, 0 above"),
            (lambda x: np.minimum(x, 6.0), lambda x: x < 6, [6.0], r"x\[0\] = 6.0: slope 1 below, 0 above"),
            (np.floor, lambda x: 0 * x, [2.0, 0.5], r"x\[0\] = 2.0: a jump"),
            (lambda x: np.where(x > 0, x, x + 1), lambda x: 0 * x + 1, [0.0, 2.0], r"x\[0\] = 0.0: a jump"),
            (np.cbrt, lambda x: 1 + 0 * x, [0.0], r"x\[0\] = 0.0: an infinite slope"),
            (lambda x: np.sqrt(np.abs(x)), lambda x: 1 + 0 * x, [0.0], r"x\[0\] = 0.0: an infinite slope"),
            (np.sqrt, lambda x: 0.5 / np.sqrt(x + 1e-30), [0.0, 1.0], "not finite beside the inputs"),
            (
                lambda x: np.where(np.arange(3000) == 2000, np.abs(x), x),
                lambda x: np.ones(3000),
                np.zeros(3000),
                r"x\[2000\] = 0.0",
            ),
        ],
    )
    def test_at_a_kink_it_is_told_from_a_wrong_gradient(
        self, function: Any, slope: Any, x: Any, element: str
    ) -> None:
        with np.errstate(all="ignore"):
            with pytest.raises(KinkError, match=element):
                check_differentiable(function, np.array(x))
            with pytest.raises(KinkError, match=element):
                check_gradients(function, np.array(x), vjp=lambda g, x: g * np.asarray(slope(x), float))

    def test_a_kink_does_not_excuse_a_wrong_gradient(self) -> None:
        with pytest.raises(GradientError):
            check_gradients(np.abs, np.array([0.0, 1.0, 2.0]), vjp=lambda g, x: 5 * g * np.sign(x))

    @pytest.mark.parametrize("function", [np.exp, np.arctan, lambda x: np.abs(x) * x, lambda x: 1e8 + x * x])
    def test_where_there_is_a_derivative(self, function: Any) -> None:
        check_differentiable(function, np.array([0.3, -1e-9, 2.0, 0.0, 5e2]))

    def test_errors_come_before_any_work(self) -> None:
        for wrong, name in (
            ({"order": 0}, "order"),
            ({"directions": 0}, "directions"),
            ({"gradient": 3}, "gradient must be a function"),
            ({"gradient": np.exp, "vjp": np.exp}, "gradient and vjp must not both"),
            ({"gradient": np.exp, "order": 2}, "order must be 1 for a function with a derivative of its own"),
            ({"with_respect_to": 1}, "with_respect_to must name inputs"),
            ({"with_respect_to": "y"}, "with_respect_to must name inputs"),
            ({"dtype": np.int64}, "dtype"),
            ({"directions": 1.5}, "directions"),
            ({"tolerance": -1.0}, "tolerance"),
            ({"tolerance": float("inf")}, "tolerance"),
            ({"seed": -1}, "seed"),
            ({"dtype": "foo"}, "dtype"),
        ):
            with pytest.raises((ArgumentError, ArgumentTypeError), match=name):
                check_gradients(mg.exp, X, **wrong)  # type: ignore[arg-type]
        for inputs in ((), (3,), (None, "a"), (np.arange(3), True)):
            with pytest.raises(ArgumentError, match="inputs must hold at least one floating-point array"):
                check_gradients(mg.exp, *inputs)
        for dtype in (complex, np.longdouble):
            with pytest.raises(
                ArgumentTypeError, match=r"inputs\[0\] must be real numbers of at most 64 bits"
            ):
                check_gradients(mg.exp, np.ones(2, dtype))
        with pytest.raises(
            ArgumentTypeError, match="function must return a Tensor, got ndarray; for a function"
        ):
            check_gradients(lambda x: x.data, X)
        with pytest.raises(
            ArgumentError, match=r"function must return one number if gradient is given, got shape"
        ):
            check_gradients(np.exp, X, gradient=np.exp)
        with pytest.raises(ArgumentTypeError, match="function must return an array or a tuple"):
            check_gradients(lambda x: x * 1j, X, vjp=lambda g, x: g)
        with pytest.raises(ArgumentError, match="with_respect_to names inputs.1., which holds no floating"):
            check_gradients(np.sum, X, 1, vjp=lambda g, x: g, with_respect_to=1)

    def test_what_is_not_a_function_of_its_inputs(self) -> None:
        random = np.random.default_rng(0)
        with pytest.raises(GradientError, match="another value for the same inputs"):
            check_gradients(lambda x: np.sum(x * random.normal(size=x.shape)), X, gradient=lambda x: x)
        with pytest.raises(GradientError, match="another value for the same inputs"):
            check_gradients(lambda x: mg.dropout(x, generator=random), X)
        with pytest.raises(GradientError, match="another one when it is asked for again"):
            check_gradients(squares, X, gradient=lambda x: 2 * x + random.normal(size=x.shape))
        with np.errstate(all="ignore"):
            with pytest.raises(GradientError, match="not finite at the inputs"):
                check_gradients(mg.log, np.array([np.inf, 1.0]))
            with pytest.raises(KinkError, match="not finite beside the inputs"):
                check_gradients(mg.sqrt, np.array([0.0, 1.0]))


class TestInputs:
    def test_any_kind_of_input_and_none_is_written_to(self, library: Any) -> None:
        inputs = (2.5, np.float32(1.5), X, mg.Tensor(library.asarray(X)), np.arange(3, dtype=float)[:, None])
        before = [np.array(mg.Tensor(x).numpy()) for x in inputs]
        check_gradients(lambda a, b, c, d, e: mg.tanh(a * b * c * d) + mg.sum(e), *inputs, order=2)
        for x, old in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(mg.Tensor(x).numpy(), old)

    @pytest.mark.parametrize("layout", LAYOUTS[:-1])
    def test_views_are_not_seen_as_zero(self, layout: str) -> None:
        check_gradients(mg.exp, in_layout(X, layout), exact=True, order=2)
        check_gradients(mg.exp, np.broadcast_to(X[:1], (3, 4)), exact=True)

    def test_nothing_to_differentiate(self) -> None:
        check_gradients(mg.exp, np.zeros((0, 3)), order=2)
        check_gradients(lambda x: mg.Tensor(np.zeros(0)), X, strict=True)


# ---- gradients of any origin


def squares(x: Any) -> Any:
    return np.sum(x * x)


def product(x: Any, W: Any) -> Any:
    return x @ W


def product_vjp(g: Any, x: Any, W: Any) -> Any:
    return g @ W.T, x.T @ g


class TestPlainFunctions:
    def test_one_number(self) -> None:
        check_gradients(squares, X, gradient=lambda x: 2 * x, strict=True)
        check_gradients(lambda x: x**3, 2.5, gradient=lambda x: 3 * x**2, strict=True)
        check_gradients(lambda x, y: x * y, 2.5, -1.5, gradient=lambda x, y: (y, x), strict=True)
        with pytest.raises(GradientError, match="in y is wrong"):
            check_gradients(lambda x, y: x * y, 2.5, -1.5, gradient=lambda x, y: (y, y))

    def test_any_output(self) -> None:
        W = np.random.default_rng(1).normal(size=(4, 2))
        check_gradients(product, X, W, vjp=product_vjp, strict=True)
        with pytest.raises(GradientError, match="in W is wrong"):
            check_gradients(product, X, W, vjp=lambda g, x, W: (g @ W.T, x.T @ (g + 1e-3)))

    def test_several_outputs(self) -> None:
        def function(x: Any, y: Any) -> Any:
            return np.sin(x), x * y

        def vjp(g: Any, x: Any, y: Any) -> Any:
            return g[0] * np.cos(x) + g[1] * y, g[1] * x

        check_gradients(function, X, 2 * X, vjp=vjp, strict=True)
        with pytest.raises(GradientError, match="in x is wrong"):
            check_gradients(function, X, 2 * X, vjp=lambda g, x, y: (g[0] * np.cos(x), g[1] * x))
        engine = lambda x, y: (mg.tanh(x), mg.sum(x * y), mg.Tensor(np.arange(3)))  # noqa: E731
        check_gradients(engine, X, 2 * X, order=3)

    def test_what_is_not_floating_point_is_passed_on(self) -> None:
        def power(
            x: Any, n: int, mask: Any, negate: Any, how: str, none: None = None, *, scale: float = 1
        ) -> Any:
            assert isinstance(n, int)
            assert mask.dtype == bool
            assert (how, none) == ("sum", None)
            return scale * np.sum(np.where(mask, x**n, 0)) * negate[0]

        def gradient(
            x: Any, n: int, mask: Any, negate: Any, how: str, none: None = None, *, scale: float = 1
        ) -> Any:
            return scale * np.where(mask, n * x ** (n - 1), 0) * negate[0]

        check_gradients(
            power, X, 3, X > 0, [-1, 2], "sum", None, gradient=gradient, keywords={"scale": 2.0}, strict=True
        )

    def test_a_choice_of_inputs(self) -> None:
        W = np.random.default_rng(1).normal(size=(4, 2))
        for vjp in (lambda g, x, W: x.T @ g, lambda g, x, W: (None, x.T @ g), product_vjp):
            for chosen in (1, "W", -1, [1], ("W",)):
                check_gradients(product, X, W, vjp=vjp, with_respect_to=chosen, strict=True)
        check_gradients(lambda x, W: x @ W, X, W, with_respect_to="W", order=2, strict=True)

    def test_tuples_lists_and_dicts_of_arrays(self) -> None:
        parameters = {"W": np.ones((4, 2)), "b": [0.5, -0.5], "steps": 3, "more": (np.float64(2.0), 1.5)}

        def layer(x: Any, p: Any) -> Any:
            assert p["steps"] == 3
            return (x @ p["W"] + np.asarray(p["b"])) * p["more"][0] * p["more"][1]

        def vjp(g: Any, x: Any, p: Any) -> Any:
            z, (s, t) = x @ p["W"] + np.asarray(p["b"]), p["more"]
            h = g * s * t
            more = (np.sum(g * z * t), np.sum(g * z * s))
            return h @ p["W"].T, {"W": x.T @ h, "b": h.sum(0), "more": more}

        def forgets(dx: Any, dp: Any) -> Any:
            return dx, {**dp, "more": (dp["more"][0], 0.0)}

        check_gradients(layer, X, parameters, vjp=vjp, strict=True)
        with pytest.raises(GradientError, match=r"in p\['more'\]\[1\] is wrong"):
            check_gradients(layer, X, parameters, vjp=lambda g, x, p: forgets(*vjp(g, x, p)))
        with pytest.raises(ArgumentError, match="must return a dict with 'b' for p"):
            check_gradients(layer, X, parameters, vjp=lambda g, x, p: (g @ p["W"].T, {"W": x.T @ g}))
        with pytest.raises(ArgumentError, match="must return one array for each of x, p"):
            check_gradients(layer, X, parameters, vjp=lambda g, x, p: g)

    def test_forward_mode(self) -> None:
        W = np.random.default_rng(1).normal(size=(4, 2))

        def jvp(v: Any, x: Any, W: Any) -> Any:
            return v[0] @ W + x @ v[1]

        check_gradients(product, X, W, jvp=jvp, strict=True)
        check_gradients(product, X, W, jvp=jvp, vjp=product_vjp, exact=True, strict=True)
        check_gradients(np.sin, X, jvp=lambda v, x: v * np.cos(x), strict=True)
        with pytest.raises(GradientError, match="in W is wrong"):
            check_gradients(product, X, W, jvp=lambda v, x, W: v[0] @ W)
        with pytest.raises(GradientError, match="not each other's transpose"):
            check_gradients(product, X, W, jvp=jvp, vjp=lambda g, x, W: (g @ W.T, -x.T @ g))
        with pytest.raises(GradientError, match="jvp returned shapes"):
            check_gradients(product, X, W, jvp=lambda v, x, W: v[0] @ W[:, :1])

    def test_shape_and_dtype_are_the_inputs(self) -> None:
        for wrong, message in (
            (lambda g, x: None, "is None"),
            (lambda g, x: (2 * g * x)[:, :1], r"has shape \(3, 1\), x has \(3, 4\)"),
            (lambda g, x: (2 * g * x).astype(np.float32), "has dtype float32, x has float64"),
            (lambda g, x: (2 * g * x).astype(int), "has dtype int64, x has float64"),
        ):
            with pytest.raises(GradientError, match=message):
                check_gradients(lambda x: x * x, X, vjp=wrong)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_the_dtype_is_the_inputs_own(self, dtype: Any) -> None:
        seen = []

        def vjp(g: Any, x: Any) -> Any:
            seen.append((g.dtype, x.dtype))
            return g * np.cos(x)

        check_gradients(np.sin, X.astype(dtype), vjp=vjp)
        assert set(seen) == {(np.dtype(dtype), np.dtype(dtype))}
        check_gradients(np.sin, X, vjp=vjp, dtype=np.float16)
        assert seen[-1] == (np.float16, np.float16)

    def test_who_writes_where(self) -> None:
        def overwrites(x: Any) -> Any:
            x *= 2
            return np.sum(x)

        def clips(x: Any) -> Any:
            np.minimum(x, 1e300, out=x)
            return np.sum(x)

        with pytest.raises(GradientError, match="the function writes into its input x"):
            check_gradients(overwrites, X.copy(), gradient=lambda x: 2 * np.ones(x.shape))
        check_gradients(clips, X.copy(), gradient=lambda x: np.ones(x.shape))
        with pytest.raises(GradientError, match="the derivative writes into its input x"):
            check_gradients(squares, X.copy(), gradient=lambda x: np.multiply(x, 2, out=x))
        with pytest.raises(GradientError, match="vjp writes into g"):
            check_gradients(np.sin, X, vjp=lambda g, x: np.multiply(g, np.cos(x), out=g))

        def overwrites_tensor(t: mg.Tensor) -> mg.Tensor:
            t.data *= 2
            return mg.sum(t)

        with pytest.raises(GradientError, match="the function writes into its input t"):
            check_gradients(overwrites_tensor, X.copy())

    def test_a_layer_that_keeps_what_it_saw_first(self) -> None:
        layer = SimpleNamespace(x=None)

        def forward(x: Any) -> Any:
            layer.x = x if layer.x is None else layer.x
            return np.sum(x**3)

        with pytest.raises(GradientError, match="in x is wrong"):
            check_gradients(forward, X + 1, gradient=lambda x: 3 * layer.x**2 * (x / x)) or check_gradients(
                forward, X + 2, gradient=lambda x: 3 * layer.x**2
            )


# ---- neither false alarms nor false passes


@pytest.mark.parametrize("entry", WRONG, ids=lambda entry: entry.name)
def test_every_wrong_gradient_of_the_catalogue_is_caught(entry: Entry) -> None:
    function, vjp = entry.fresh()
    with np.errstate(all="ignore"), pytest.raises(GradientError):
        check_gradients(function, *entry.arrays(), vjp=vjp)


@pytest.mark.parametrize("entry", RIGHT, ids=lambda entry: entry.name)
def test_no_right_gradient_of_the_catalogue_is_refused(entry: Entry) -> None:
    function, vjp = entry.fresh()
    with np.errstate(all="ignore"):
        check_gradients(function, *entry.arrays(), vjp=vjp)


# f, f′, and an error that must be seen, of what is defined everywhere. The first five are of any size.
SMOOTH: dict[str, tuple[Any, Any]] = {
    "x²": (lambda x: x * x, lambda x: 2 * x),
    "2x + 3": (lambda x: 2 * x + 3, lambda x: 2 * np.ones_like(x)),
    "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "arcsinh": (np.arcsinh, lambda x: 1 / np.hypot(1, x)),
    "x/√(1 + x²)": (lambda x: x / np.hypot(1, x), lambda x: np.hypot(1, x) ** -3.0),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2),
    "sin": (np.sin, np.cos),
}
ANY_FLOAT = st.floats(-1e150, 1e150)


class TestNoFalseAlarm:
    @pytest.mark.parametrize("name", SMOOTH)
    @given(x=hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=4), elements=ANY_FLOAT))
    def test_hypothesis_own_floats(self, name: str, x: np.ndarray) -> None:
        function, slope = SMOOTH[name]
        with np.errstate(all="ignore"):
            check_gradients(function, x, vjp=lambda g, x: g * slope(x))

    @given(
        power=st.integers(-300, 300),
        constant=st.sampled_from([0.0, 1.0, -1e8, 1e16, 1e200]),
        name=st.sampled_from(["x²", "2x + 3", "arctan", "arcsinh"]),
        seed=st.integers(0, 1000),
    )
    def test_any_size_beside_any_constant(self, power: int, constant: float, name: str, seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=3) * 10.0**power
        function, slope = SMOOTH[name]
        with np.errstate(all="ignore"):
            assume(np.isfinite(function(x) + constant).all())
            check_gradients(lambda x: function(x) + constant, x, vjp=lambda g, x: g * slope(x))
            check_gradients(lambda x: (function(x), constant), x, vjp=lambda g, x: g[0] * slope(x))

    @given(
        power=st.integers(-10, 10),
        at=st.floats(-2, 2),
        name=st.sampled_from(["arctan", "x/√(1 + x²)", "tanh", "sin"]),
    )
    def test_functions_that_bend_sharply(self, power: int, at: float, name: str) -> None:
        function, slope = SMOOTH[name]
        k = 10.0**power
        x = np.array([0.0, at, at / k])
        check_gradients(lambda x: function(k * x), x, vjp=lambda g, x: g * k * slope(k * x))

    @pytest.mark.parametrize(
        ("function", "x"),
        [
            (lambda t: t * t, np.full(3, 3e-47)),
            (lambda t: 1e8 + t * t, np.array([1e-3])),
            (lambda t: mg.sum(mg.softplus(t) + mg.softplus(-t)), np.array([1e-9])),
            (mg.log, np.array([1e-10, 2.0])),
            (mg.log, np.array([1e-300])),
            (lambda x: 1 / x, np.array([1e-9, 1.0])),
            (lambda x: x * 1e300, np.array([1.0, 2.0])),
            (lambda x: mg.sum(x * x), np.array([1e150, 1e-200, 0.0])),
            (lambda x: (x + 1e10) - 1e10, np.array([0.5])),
        ],
    )
    def test_cases_that_once_raised_it(self, function: Any, x: np.ndarray) -> None:
        check_gradients(function, x)

    def test_a_gradient_beyond_the_range_of_its_dtype_is_infinite(self) -> None:
        check_gradients(lambda x: 1 / x, np.array([1e-200, 1.0]), vjp=lambda g, x: -g / x / x)
        for x in (np.float64(1e-200), np.float32(1e-25)):
            with np.errstate(all="ignore"):
                check_gradients(lambda x: 1 / x, x, gradient=lambda x: -1 / x / x)
                with pytest.raises(GradientError, match="inf"):
                    check_gradients(lambda x: 1 / x, x, gradient=lambda x: 1 / x / x)

    @pytest.mark.parametrize(
        ("function", "slope", "seeds"),
        [
            (lambda x: np.logaddexp(x, -x) - np.log(2), np.tanh, [550, 8811, 10896, 12563, 14779, 17403]),
            (
                lambda x: np.sqrt(1 + x * x) - 1,
                lambda x: x / np.sqrt(1 + x * x),
                [6648, 9907, 12243, 16880],
            ),
            (lambda x: 1 - np.cos(x), np.sin, [17764]),
        ],
    )
    def test_a_rounding_inside_of_a_function_is_no_jump_of_its_own(
        self, function: Any, slope: Any, seeds: list[int]
    ) -> None:
        for seed in (*seeds, *range(1000, 1100)):
            x = array_from_seed(seed, (), numbers="special")
            with np.errstate(all="ignore"):
                check_gradients(function, x, gradient=slope)

    @pytest.mark.parametrize("scale", [2.0**-45, 1e-6, 1.0, 1e13])
    @pytest.mark.parametrize("jump", [1e-10, 1.0])
    def test_a_jump_of_its_own_beside_such_roundings(self, scale: float, jump: float) -> None:
        for smooth in (np.exp, lambda x: np.logaddexp(x, -x) - np.log(2), lambda x: 0.0 * x):
            with pytest.raises(KinkError):
                check_differentiable(lambda x, f=smooth: scale * (jump * np.sign(x) + f(x)), np.zeros(3))

    def test_a_jump_of_its_own_within_a_guard(self) -> None:
        with pytest.raises(KinkError):
            check_differentiable(lambda x: np.sign(x) + (np.abs(x) < 1e-9), np.zeros(3))

    def test_a_function_that_computes_in_float32(self) -> None:
        short = lambda x: np.sin(x.astype(np.float32))  # noqa: E731
        staircase = lambda x: np.sin(x.astype(np.float32)).astype(np.float64)  # noqa: E731
        for function in (short, staircase):
            check_gradients(function, X, vjp=lambda g, x: (g * np.cos(x)).astype(x.dtype))
            with pytest.raises(GradientError):
                check_gradients(function, X, vjp=lambda g, x: (1.1 * g * np.cos(x)).astype(x.dtype))


class TestNoFalsePass:
    @pytest.mark.parametrize(
        ("name", "size"),
        [("x²", 1), ("x²", 1000), ("arctan", 10), ("arctan", 10_000), ("sin", 1), ("sin", 100)],
    )
    def test_a_relative_error_of_a_hundred_thousandth(self, size: int, name: str) -> None:
        function, slope = SMOOTH[name]
        x = np.random.default_rng(size).normal(size=size)
        caught = 0
        for seed in range(60):
            try:
                check_gradients(function, x, vjp=lambda g, x: g * slope(x) * (1 + 1e-5), seed=seed)
            except GradientError:
                caught += 1
        assert caught >= 57

    @pytest.mark.parametrize("power", [-300, -150, -20, 0, 20, 100])
    def test_at_any_magnitude(self, power: int) -> None:
        x = np.random.default_rng(0).normal(size=5) * 10.0**power
        slope = lambda g, x: g / np.hypot(1, x)  # noqa: E731
        check_gradients(np.arcsinh, x, vjp=slope, strict=True)
        with pytest.raises(GradientError):
            check_gradients(np.arcsinh, x, vjp=lambda g, x: slope(g, x) * (1 + 1e-4))

    @pytest.mark.parametrize(
        ("function", "slope"),
        [
            (lambda x: np.exp(x) - 1, np.exp),
            (lambda x: np.log(1 + x), lambda x: 1 / (1 + x)),
            (lambda x: np.cos(1 + x) - np.cos(1.0), lambda x: -np.sin(1 + x)),
            (lambda x: (1000 + x) ** 2 - 1e6, lambda x: 2 * (1000 + x)),
            (lambda x: np.logaddexp(0, x) - np.log(2), lambda x: 1 / (1 + np.exp(-x))),
        ],
    )
    def test_where_large_numbers_cancel(self, function: Any, slope: Any) -> None:
        """Near 0 they move in stairs, which small steps see. That the slope is seen less sharply there is no
        excuse for another one."""
        for x in (0.0, 1e-20, -1e-100, 3e-9, 1e-3, -0.5):
            check_gradients(function, np.float64(x), gradient=slope)
            for factor in (0.999, 1.01, 1.1):
                with pytest.raises(GradientError):
                    check_gradients(function, np.float64(x), gradient=lambda x, k=factor: k * slope(x))

    def test_with_one_option_it_says_that_rounding_left_nothing_to_judge(self) -> None:
        function, x = lambda x: 1e16 + x * x, np.array([1e-3, 2e-3])
        wrong = lambda g, x: 5 * g * x  # noqa: E731
        check_gradients(function, x, vjp=wrong)
        with pytest.raises(UndecidedError, match="rounding leaves too few digits .* in x"):
            check_gradients(function, x, vjp=wrong, strict=True)
        check_gradients(lambda x: x * 0.0, x, vjp=lambda g, x: 0 * x, strict=True)

    def test_an_output_that_does_not_move_hides_nothing(self) -> None:
        wrong = lambda g, x: g[0] * 2.0001 * x  # noqa: E731
        with pytest.raises(GradientError):
            check_gradients(lambda x: (x * x, np.full(9, 1e12)), X, vjp=wrong)

    def test_small_elements_one_by_one(self) -> None:
        x = np.array([1.0, 1e-4, 1e-5])
        wrong = lambda g, x: g * np.where(x < 1e-3, 3 * x, 2 * x)  # noqa: E731
        with pytest.raises(GradientError, match=r"x\[1\]"):
            check_gradients(lambda x: x * x, x, vjp=wrong, exact=True)


class TestHowItIsUsed:
    def test_it_needs_numpy_alone(self) -> None:
        code = """
import sys
sys.modules["hypothesis"] = None
import numpy as np
from minigrad.testing import check_gradients
check_gradients(lambda x: np.sum(x * x), np.ones(3), gradient=lambda x: 2 * x)
try:
    from minigrad.testing import arrays
except ImportError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (
            "minigrad.testing.arrays needs hypothesis: pip install 'minigrad-adversarial[testing]'"
            in done.stdout
        )

    def test_there_is_nothing_else_in_it(self) -> None:
        import minigrad.testing

        assert all(getattr(minigrad.testing, name) for name in minigrad.testing.__all__)
        with pytest.raises(AttributeError, match="no attribute 'gradcheck'"):
            minigrad.testing.gradcheck  # noqa: B018


def _himmelblau(x: Any) -> Any:
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


STEEP = np.array([1.3, 0.4, -0.7])
OF_SINES = np.array([np.pi, 1.0])
BESIDE_BOUNDS = np.array([1.0, 0.0, 1e6])
FAR = np.float32([1e5 + 0.5, 1e5 - 1.25, 1e5 + 2])
BUFFER = np.empty(3)


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _gelu_vjp(g: Any, x: Any) -> Any:
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2))


class TestWhereItOnceErred:
    """Each stands for a kind that was found by trying: the claims are right, and times `factor` wrong."""

    @pytest.mark.parametrize(
        ("function", "vjp", "x"),
        [
            (lambda x: np.sum(x**2), lambda g, x: 2 * g * x + g * 1e-6, np.zeros(3)),
            (lambda x: np.sum((x - 1) ** 2), lambda g, x: g * (2 * (x - 1) + 1), np.ones(3)),
            (_himmelblau, lambda g, x: np.full(2, 1e-6), np.array([3.0, 2.0])),
            (lambda x: np.sin(1e5 * x), lambda g, x: 2e5 * g * np.cos(1e5 * x), STEEP),
            (np.sin, lambda g, x: g * np.cos(x) * np.array([1, -1]), OF_SINES),
            (lambda x: x * 1, lambda g, x: g * np.where(x == 0, 3.0, 1.0), BESIDE_BOUNDS),
            (np.sin, lambda g, x: 2 * g * np.cos(x), FAR),
            (lambda x: np.multiply(x, 2, out=BUFFER), lambda g, x: 0 * g, STEEP),
            (lambda x: np.maximum(x, 0), lambda g, x: g, np.array([-1e-3, -1.0, 2.0])),
        ],
    )
    @pytest.mark.parametrize("seed", range(5))
    def test_wrong_gradients(self, function: Any, vjp: Any, x: Any, seed: int) -> None:
        with pytest.raises(GradientError):
            check_gradients(function, x, vjp=vjp, seed=seed)

    @pytest.mark.parametrize(
        ("function", "vjp", "x"),
        [
            (_himmelblau, lambda g, x: np.zeros(2), np.array([3.0, 2.0])),
            (lambda x: np.sum(np.maximum(x, 0) ** 2), lambda g, x: 2 * g * np.maximum(x, 0), np.zeros(2)),
            (lambda x: x * np.abs(x), lambda g, x: 2 * g * np.abs(x), np.array([0.0, 1.0])),
            (np.sin, lambda g, x: g * np.cos(x), FAR),
            (np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), np.float32([-5.920851, 9.0, 0.3])),
            (
                lambda x: float(np.tanh(x.astype(np.float32)).sum()),
                lambda g, x: g * (1 - np.tanh(x) ** 2),
                np.random.default_rng(0).normal(size=500),
            ),
            (lambda x: (x + 1e8) - 1e8, lambda g, x: g, STEEP),
            (lambda x: np.multiply(x, 2, out=BUFFER), lambda g, x: 2 * g, STEEP),
            (lambda x: np.nansum(x), lambda g, x: np.where(np.isnan(x), 0.0, g), np.array([np.nan, 1.0])),
            (np.floor, lambda g, x: 0 * x, np.array([1.0001, 0.7])),
            (lambda x: np.array([math.log(x[0])]), lambda g, x: g / x, np.array([1e-9])),
            (lambda x: np.array([math.exp(x[0])]), lambda g, x: g * np.exp(x), np.array([709.0])),
            (_gelu, _gelu_vjp, np.full(5, -5.0)),
            (
                lambda x: x * (1 - np.cos(x)),
                lambda g, x: g * (1 - np.cos(x) + x * np.sin(x)),
                np.array([1e-4]),
            ),
            (np.sqrt, lambda g, x: g * 0.5 / np.sqrt(x), np.array([1e-6, 100.0])),
            (lambda x: float(x[0]) ** 0.5, lambda g, x: 0.5 * g / np.sqrt(x), np.array([1e-8])),
        ],
    )
    @pytest.mark.parametrize("seed", range(5))
    def test_right_gradients(self, function: Any, vjp: Any, x: Any, seed: int) -> None:
        check_gradients(function, x, vjp=vjp, seed=seed)

    @pytest.mark.parametrize("seed", range(5))
    def test_kinks_in_several_elements(self, seed: int) -> None:
        for n in (2, 5, 20):
            with pytest.raises(KinkError, match="slope 0 below, 1 above"):
                check_gradients(
                    lambda x: np.maximum(x, 0), np.zeros(n), vjp=lambda g, x: g * (x > 0), seed=seed
                )
        with pytest.raises(GradientError):
            check_gradients(_gelu, np.full(5, -5.0), vjp=lambda g, x: -2 * _gelu_vjp(g, x), seed=seed)

    def test_what_is_not_finite(self) -> None:
        x = np.full(600, 1e-30, np.float32)
        x[590:] = 1.0
        with np.errstate(all="ignore"), pytest.raises(GradientError, match="inf"):
            check_gradients(
                lambda x: (1 / x).sum(dtype=float), x, gradient=lambda x: np.full(600, -np.inf, np.float32)
            )
        for jvp in (lambda v, x: np.full(3, np.nan), lambda v, x: 2 * x * v * np.array([1, 1, np.inf])):
            with pytest.raises(GradientError, match="jvp returned"):
                check_gradients(lambda x: x**2, STEEP, jvp=jvp)
        with np.errstate(all="ignore"), pytest.raises(GradientError, match="nan"):
            check_gradients(
                lambda x: (1 / x).sum(dtype=float),
                np.array([1e-3] * 3 + [1, 2], np.float16),
                gradient=lambda x: np.where(np.arange(5) == 3, np.nan, -1 / x.astype(float) ** 2).astype(
                    "f2"
                ),
            )

    def test_slips_are_answered(self) -> None:
        x, W, b = STEEP, np.ones((3, 2)), np.ones(2)
        with pytest.raises(ArgumentTypeError, match="function must return a Tensor, got float64"):
            check_gradients(lambda x: np.sum(np.sinh(x)), x)
        with pytest.raises(ArgumentTypeError, match="function must take Tensors if none of gradient"):
            check_gradients(lambda x: x % 2, x)
        check_gradients(
            lambda p, y: np.sum(p[0]) * np.sum(p[1]), [W, b], np.arange(2),
            gradient=lambda p, y: [0 * W + p[1].sum(), 0 * b + p[0].sum()],
        )  # fmt: skip
        check_gradients(lambda a, b: a * b, 2.0, 3.0, gradient=lambda a, b: [b, a])
        check_gradients(np.sum, x.astype(">f8"), gradient=lambda x: np.ones_like(x))
        with pytest.raises(ArgumentTypeError, match="function must return at least one array"):
            check_gradients(lambda x: (), x, vjp=lambda g, x: x)
        with pytest.raises(ArgumentError, match="function must return the same shapes"):
            check_gradients(lambda x: x[x > 0.4], x, vjp=lambda g, x: x)
        with pytest.raises(ArgumentTypeError, match="keywords must be a mapping"):
            check_gradients(np.sum, x, gradient=np.ones_like, keywords=3)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="function must be a function"):
            check_differentiable(3, x)  # type: ignore[arg-type]
        for chosen in (np.int64(0), range(1)):
            check_gradients(np.sum, x, gradient=np.ones_like, with_respect_to=chosen)
        for dtype in (float, "f4", np.dtype("f2")):
            check_gradients(np.sum, x, gradient=np.ones_like, dtype=dtype)

    def test_a_drawn_array_that_was_written_to_is_not_called_drawn(self) -> None:
        drawn = find(arrays(3, layouts=["C"]), lambda x: True, settings=QUIET)
        drawn[0] = 7.0
        with pytest.raises(GradientError, match=r"a = np.array\(\[ ?7"):
            check_gradients(np.sum, drawn, gradient=lambda x: 2 * x)
