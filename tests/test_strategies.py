"""The strategies of minigrad.testing draw what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import ArgumentError
from minigrad.testing import (
    GradientError,
    array_from_seed,
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
from minigrad.testing.strategies import shapes

QUIET = settings(max_examples=2000, derandomize=True, database=None)


class TestStrategies:
    @given(arrays(low=-1.0, high=3.0), arrays((2, 3), dtype=np.float32))
    def test_arrays_within_their_bounds(self, any_shape: np.ndarray, fixed: np.ndarray) -> None:
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
            away_from((0.0,), margin=11.0)
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

    @pytest.mark.parametrize(
        "what",
        [
            lambda x: (x == 0).any(),
            lambda x: (np.signbit(x) & (x == 0)).any(),
            lambda x: (np.abs(x) == 1).any(),
            lambda x: (x == 10).any(),
            lambda x: (x == np.nextafter(-10, 0)).any(),
            lambda x: ((np.abs(x) < 1e-100) & (x != 0)).any(),
            lambda x: (x > 6).any(),
        ],
    )
    def test_special_numbers_are_drawn(self, what: Any) -> None:
        find(arrays(3), what, settings=QUIET)

    def test_what_it_finds_where_even_numbers_would_not(self) -> None:
        relu6 = lambda x: np.clip(x, 0, 6)  # noqa: E731
        length = lambda x: np.sqrt(np.sum(x * x))  # noqa: E731
        kinks = away_from((0.0, 6.0), 2, layouts=["C"])
        with pytest.raises(GradientError):  # wrong above 6

            @settings(database=None, derandomize=True, report_multiple_bugs=False)
            @given(kinks)
            def _(x: np.ndarray) -> None:
                check_gradients(relu6, x, vjp=lambda g, x: g * (x > 0))

            _()
        with np.errstate(all="ignore"), pytest.raises(AssertionError):  # NaN at 0

            @settings(database=None, derandomize=True, report_multiple_bugs=False)
            @given(arrays(1, layouts=["C"]))
            def _(x: np.ndarray) -> None:
                check_gradients(length, x, gradient=lambda x: x / length(x))

            _()

    @given(st.data(), st.sampled_from([np.float16, np.float32, np.float64]))
    def test_what_was_drawn_is_made_again(self, data: Any, dtype: Any) -> None:
        from minigrad.testing.failures import made_by

        drawn = data.draw(
            away_from((0.5, -3.0), dtype=dtype, low=-5.0, high=7.0) | distinct_arrays(dtype=dtype)
        )
        again = eval(made_by(drawn), {"np": np, "array_from_seed": array_from_seed})
        np.testing.assert_array_equal(again, drawn)
        assert (again.dtype, again.strides, again.flags.writeable) == (
            drawn.dtype,
            drawn.strides,
            drawn.flags.writeable,
        )

    @given(away_from((1.0, 8.0), margin=0.05, dtype=np.float16, low=-1.0, high=9.0))
    def test_kinks_keep_their_distance_in_a_short_dtype(self, x: np.ndarray) -> None:
        for kink in (1.0, 8.0):
            assert (np.abs(x.astype(float) - kink) >= 0.05 - 1e-12).all()

    def test_shapes_and_elements_as_hypothesis_gives_them(self) -> None:
        for shape in (3, np.int64(3), [3], (3,), st.just((3,)), st.just(3)):
            assert find(arrays(shape), lambda x: True, settings=QUIET).shape == (3,)
        chosen = find(arrays(2, elements=st.floats(5, 6)), lambda x: True, settings=QUIET)
        assert ((chosen >= 5) & (chosen <= 6)).all()
        for wrong, message in (
            (lambda: arrays(np.float32, 3), "positional"),  # type: ignore[misc]
            (lambda: arrays(np.float32), r"arrays\(3, dtype=np.float32\)"),
            (lambda: arrays(3, elements=2.0), "elements must be a strategy"),
            (lambda: arrays(3, dtype=int), "dtype must be a floating-point type"),
            (lambda: arrays(3, layouts=["D"]), "layouts must be one of"),
            (lambda: away_from(0.0), "kinks must be a list of numbers"),
            (lambda: away_from([np.nan]), "kinks must be a finite number"),
            (lambda: arrays(3, dtype=np.float16, high=70000.0), "range of float16"),
            (lambda: arrays(3, low=-1e308, high=1e308), "range of float64"),
            (lambda: array_from_seed(0, (2,), layout="broadcast", repeated=5), "repeated must be an axis"),
        ):
            with pytest.raises((TypeError, ValueError), match=message):
                wrong()
