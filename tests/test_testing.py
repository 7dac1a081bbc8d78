"""minigrad.testing: its checks fail where they must, and its strategies draw what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.tensor import raw
from minigrad.testing import (
    GradientError,
    KinkError,
    arrays,
    away_from,
    broadcastable_arrays,
    check_gradients,
    class_labels,
    distinct_arrays,
    networks,
    one_hot,
    seeds,
    sign_labels,
)
from minigrad.testing.strategies import LAYOUTS, in_layout, shapes

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
        with pytest.raises(GradientError, match="along the direction"):
            check_gradients(wrong_exp(wrong_in_one_element), X)
        with pytest.raises(GradientError, match=r"in element \[1, 2\] of input 1"):
            check_gradients(wrong_exp(wrong_in_one_element), X, exact=True)

    def test_a_wrong_second_derivative(self) -> None:
        wrong = wrong_exp(lambda g, y, x: g * raw(y))  # right numbers, without a graph
        check_gradients(wrong, X)
        with pytest.raises(GradientError, match="the gradient of wrong"):
            check_gradients(wrong, X, order=2)

    def test_a_step_so_coarse_that_the_check_must_fail(self) -> None:
        check_gradients(mg.exp, X)
        with pytest.raises(AssertionError):
            check_gradients(mg.exp, X, step=1.0)

    def test_a_tolerance_so_tight_that_the_check_must_fail(self) -> None:
        with pytest.raises(AssertionError):
            check_gradients(lambda x: mg.sum(mg.exp(x)), X, tolerance=1e-16, step=1e-3)

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
            with pytest.raises(GradientError, match="reverse mode gave"):
                check_gradients(scaled(1.0, np.array([np.inf, 1.0, 1.0])), np.ones(3), **options)

    @pytest.mark.parametrize("size", [1, 100, 10_000, 1_000_000])
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
            with pytest.raises(GradientError, match="input 2"):
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
    def test_a_failure_shows_all_that_is_needed_to_get_it_again(self) -> None:
        with pytest.raises(GradientError) as failure:
            check_gradients(wrong_exp(lambda g, y, x: g), X[:1, :2], seed=17)
        report = str(failure.value)
        for part in (
            "wrong, in input 1, along the direction",
            "reverse mode: ",
            "numeric:      ",
            "central difference, step",
            "seed 17",
            "reverse mode in float64",
            "inputs: float64[1, 2] [[0.12573022",
            "direction: float64[1, 2]",
            "cotangent: float64[1, 2]",
        ):
            assert part in report

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
    def test_a_kink_between_the_sample_points_is_told_from_a_wrong_rule(self, function: Any, x: Any) -> None:
        with pytest.raises(KinkError, match="a kink, a tie or a jump"):
            check_gradients(function, np.array(x))

    def test_errors_come_before_any_work(self) -> None:
        for wrong, name in (
            ({"order": 0}, "order"),
            ({"order": 3}, "order"),
            ({"directions": 0}, "directions"),
            ({"step": 0.0}, "step"),
            ({"dtype": np.int64}, "dtype"),
            ({"directions": 1.5}, "directions"),
            ({"tolerance": -1.0}, "tolerance"),
            ({"tolerance": float("inf")}, "tolerance"),
            ({"seed": -1}, "seed"),
            ({"dtype": "foo"}, "dtype"),
        ):
            with pytest.raises((ArgumentError, ArgumentTypeError), match=name):
                check_gradients(mg.exp, X, **wrong)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="inputs must be at least one"):
            check_gradients(mg.exp)
        for bad in (np.ones(2, complex), None, "a"):
            with pytest.raises(ArgumentTypeError, match=r"inputs\[0\] must be real"):
                check_gradients(mg.exp, bad)
        with pytest.raises(ArgumentTypeError, match="function must return a Tensor, got ndarray"):
            check_gradients(lambda x: x.data, X)

    def test_what_is_not_a_function_of_its_inputs(self) -> None:
        random = np.random.default_rng(0)
        with pytest.raises(GradientError, match="another value for the same inputs"):
            check_gradients(lambda x: mg.dropout(x, generator=random), X)
        with np.errstate(all="ignore"):
            with pytest.raises(GradientError, match="not finite at the inputs"):
                check_gradients(mg.log, np.array([np.inf, 1.0]))
            with pytest.raises(GradientError, match="not finite everywhere within a step"):
                check_gradients(mg.log, np.array([1e-12, 1.0]), step=1e-3)


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


class TestStrategies:
    @given(arrays(low=-1.0, high=3.0), arrays((2, 3), dtype=np.float32))
    def test_arrays(self, any_shape: np.ndarray, fixed: np.ndarray) -> None:
        assert any_shape.dtype == np.float64
        assert ((any_shape >= -1) & (any_shape <= 3)).all()
        assert fixed.shape == (2, 3)
        assert fixed.dtype == np.float32

    @pytest.mark.parametrize(
        "what",
        [
            lambda x: x.ndim == 0,
            lambda x: x.size == 0,
            lambda x: x.ndim == 3 and 1 in x.shape,
            lambda x: not x.flags.writeable,
            lambda x: x.ndim > 1 and not x.flags.c_contiguous and x.flags.f_contiguous,
            lambda x: x.size > 1 and 0 in x.strides,
            lambda x: x.size > 1 and any(s < 0 for s in x.strides),
            lambda x: x.size > 3 and not x.flags.c_contiguous and not x.flags.f_contiguous,
        ],
    )
    def test_every_kind_of_array_is_found(self, what: Any) -> None:
        find(arrays(), what, settings=settings(max_examples=2000, derandomize=True, database=None))

    @given(away_from((-1.0, 0.0, 0.5), margin=0.1))
    def test_kinks_keep_their_distance(self, x: np.ndarray) -> None:
        for kink in (-1.0, 0.0, 0.5):
            assert (np.abs(x - kink) >= 0.1 - 1e-12).all()

    def test_kinks_that_leave_nothing(self) -> None:
        with pytest.raises(ArgumentError, match="kinks leave nothing"):
            away_from((0.0,), margin=3.0)
        for bounds in ({"low": 1.0, "high": -1.0}, {"margin": -1.0}, {"high": float("inf")}):
            with pytest.raises(ArgumentError):
                away_from((0.0,), **bounds)
        with pytest.raises(ArgumentError, match="margin"):
            away_from((1000.0,), margin=1e-5, low=999.0, high=1001.0, dtype=np.float32)

    @given(away_from((5.0, -7.0), low=-1.0, high=1.0))
    def test_kinks_outside(self, x: np.ndarray) -> None:
        assert ((x >= -1.0) & (x <= 1.0)).all()

    @given(distinct_arrays())
    def test_no_ties(self, x: np.ndarray) -> None:
        assert len(np.unique(x)) == x.size

    @given(broadcastable_arrays(3))
    def test_shapes_that_broadcast(self, drawn: list[np.ndarray]) -> None:
        assert len(drawn) == 3
        np.broadcast_shapes(*(x.shape for x in drawn))

    @given(class_labels(5, 3), sign_labels(5), one_hot(5, 3), seeds(), shapes())
    def test_labels_and_the_rest(
        self, classes: np.ndarray, signs: np.ndarray, hot: np.ndarray, seed: int, shape: tuple[int, ...]
    ) -> None:
        assert classes.shape == signs.shape == (5,)
        assert set(classes) <= {0, 1, 2}
        assert set(signs) <= {-1, 1}
        assert hot.sum(1).tolist() == [1] * 5
        np.random.default_rng(seed)
        assert len(shape) <= 3

    @given(networks(), st.data())
    def test_networks(self, drawn: Any, data: Any) -> None:
        network, inputs = drawn
        logits = network(*map(mg.Tensor, inputs))
        cotangent = data.draw(one_hot(*logits.shape))
        leaves = [mg.Tensor(x, requires_grad=True) for x in inputs]
        for gradient, x in zip(mg.grad(network(*leaves), leaves, gradient=cotangent), inputs, strict=True):
            assert gradient.shape == x.shape
