"""Testing gradients by properties. Needs the `test` extra; nothing else in minigrad imports it.

    from hypothesis import given
    from minigrad.testing import arrays, check_gradients, seeds

    @given(x=arrays(), seed=seeds())
    def test_my_function(x, seed):
        check_gradients(my_function, x, seed=seed)

`check_gradients` compares reverse mode with numeric differentiation; `strategies` draws the inputs.
"""

from minigrad.testing.gradients import GradientError, KinkError, check_gradients
from minigrad.testing.strategies import (
    arrays,
    away_from,
    broadcastable_arrays,
    class_labels,
    distinct_arrays,
    networks,
    one_hot,
    seeds,
    sign_labels,
)

__all__ = [
    "GradientError",
    "KinkError",
    "arrays",
    "away_from",
    "broadcastable_arrays",
    "check_gradients",
    "class_labels",
    "distinct_arrays",
    "networks",
    "one_hot",
    "seeds",
    "sign_labels",
]
