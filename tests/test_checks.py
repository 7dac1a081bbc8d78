"""The checks of numbers, flags and finite arrays that all packages share."""

from __future__ import annotations

import decimal
import fractions
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.checks import (
    check_choice,
    check_count,
    check_finite,
    check_flag,
    check_number,
    check_result,
    count_nonfinite,
)
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError

NO_NUMBERS = ("0.1", None, True, np.True_, 1j, np.complex64(1), decimal.Decimal("0.1"), [0.1], b"1",
              "x" * 10**6, fractions.Fraction(1, 3), np.timedelta64(1, "s"), object())  # fmt: skip
ARRAYS = (np.array(0.25), np.array([0.25]), mg.Tensor(0.25), np.zeros((300, 300)))
OUT_OF_RANGE = (10**400, -(10**400), 10**5000, float("nan"), float("inf"), -1, np.float32("nan"),
                np.longdouble("1e400"))  # fmt: skip


class TestNumbers:
    @pytest.mark.parametrize(
        "value",
        [1, 0.5, np.float32(0.5), np.float16(0.5), np.int8(3), np.uint64(7), np.longdouble(2), 10**15],
    )
    def test_what_is_one_becomes_a_float(self, value: Any) -> None:
        found = check_number("epsilon", value, low=0.0)
        assert type(found) is float
        assert found == value

    @pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
    def test_what_is_none(self, value: Any) -> None:
        for check in (check_number, check_count):
            with pytest.raises(ArgumentTypeError, match=r"^epsilon must be an? (number|integer)") as error:
                check("epsilon", value)
            assert len(str(error.value)) < 200

    @pytest.mark.parametrize("value", ARRAYS, ids=str)
    def test_an_array_is_none_either(self, value: Any) -> None:
        for check in (check_number, check_count, check_flag):
            word = r": give \.item\(\)" if value.shape == () else ""
            with pytest.raises(ArgumentTypeError, match=rf"got an array of shape \(.*\){word}$"):
                check("epsilon", value)

    @pytest.mark.parametrize("value", OUT_OF_RANGE, ids=lambda value: f"{type(value).__name__}")
    def test_one_that_does_not_fit(self, value: Any) -> None:
        with pytest.raises(ArgumentError, match=r"epsilon must be a finite number in \[0.0, inf\)") as error:
            check_number("epsilon", value, low=0.0)
        assert len(str(error.value)) < 200

    def test_counts(self) -> None:
        assert type(check_count("steps", np.int16(3))) is int
        assert check_count("steps", 10**400) == 10**400
        with pytest.raises(ArgumentTypeError, match="steps must be an integer, got 2.0"):
            check_count("steps", 2.0)
        with pytest.raises(ArgumentError, match="steps must be at least 1, got an int of"):
            check_count("steps", -(10**5000))

    def test_flags(self) -> None:
        assert check_flag("targeted", np.True_) is True
        assert check_flag("targeted", False) is False
        for value in ("no", 0, 1, None, np.array(True)):
            with pytest.raises(ArgumentTypeError, match="targeted must be True or False, got"):
                check_flag("targeted", value)

    def test_choices(self) -> None:
        for value in ("tanh", np.array(["softmax", "sigmoid"]), None, ["softmax"]):
            with pytest.raises(ArgumentError, match="outputs must be one of softmax, sigmoid, got"):
                check_choice("outputs", value, ("softmax", "sigmoid"))  # type: ignore[arg-type]


class TestFinite:
    @given(st.integers(0, 10_000))
    def test_the_count_is_the_plain_one(self, seed: int) -> None:
        """Whatever the sizes, the squares' overflow, the dtype and the layout."""
        random = np.random.default_rng(seed)
        dtype = random.choice([np.float16, np.float32, np.float64])
        with np.errstate(all="ignore"):
            array = (random.normal(size=(7, 4)) * 10.0 ** random.integers(-320, 308, (7, 4))).astype(dtype)
        for value in random.choice([np.nan, np.inf, -np.inf], random.integers(0, 4)):
            array[random.integers(7), random.integers(4)] = value
        layout = random.choice(["C", "F", "part", "back"])
        array = {"C": array, "F": np.asfortranarray(array), "part": array[1::2, ::3], "back": array[::-1]}[
            layout
        ]
        bad = int((~np.isfinite(array)).sum())
        assert count_nonfinite(array) == bad
        if bad:
            with pytest.raises(ArgumentError, match=f"x must be finite, got {bad} NaN or infinite values of"):
                check_finite("x", array)
            with pytest.raises(NonFiniteError, match=f"got {bad} NaN or infinite values of {array.size}"):
                check_result("the logits", array)

    @pytest.mark.filterwarnings("ignore:the matrix subclass")
    def test_a_matrix(self) -> None:
        for matrix in (np.matrix([[1.0, 2.0], [3.0, 4.0]]), np.matrix([[1.0, np.nan]])):
            assert count_nonfinite(matrix) == np.isnan(matrix).sum()

    def test_arrays_of_no_elements_or_no_floats(self) -> None:
        for array in (np.zeros((0, 3)), np.zeros(3, int), np.array(["a"]), np.zeros((2, 0), np.float32)):
            assert count_nonfinite(array) == 0
        assert count_nonfinite(np.array(np.nan)) == 1

    def test_bounds(self) -> None:
        check_finite("x", np.array([0.0, 1.0]), (0.0, 1.0))
        with pytest.raises(ArgumentError, match="x must lie within bounds .*, got values from -1.0 to 0.5"):
            check_finite("x", np.array([0.5, -1.0]), (0.0, 1.0))
