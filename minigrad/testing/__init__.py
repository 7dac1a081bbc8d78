"""Testing gradients by properties: those of this engine, and yours of any origin.

    import numpy as np
    from minigrad.testing import check_gradients

    def sphere(x):
        return np.sum(x**2)

    check_gradients(sphere, np.ones(3), gradient=lambda x: 2 * x)

`check_gradients` compares a claimed derivative with numeric differentiation; it needs NumPy alone. The
strategies draw inputs for it with hypothesis (extra: testing), which is imported when one is asked for.
Nothing else in minigrad imports this package.
"""

from typing import TYPE_CHECKING, Any

from minigrad.testing.failures import GradientError, KinkError, UndecidedError
from minigrad.testing.gradients import check_differentiable, check_gradients

if TYPE_CHECKING:
    from minigrad.testing.strategies import (
        array_from_seed,
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
    "UndecidedError",
    "array_from_seed",
    "arrays",
    "away_from",
    "broadcastable_arrays",
    "check_differentiable",
    "check_gradients",
    "class_labels",
    "distinct_arrays",
    "networks",
    "one_hot",
    "seeds",
    "sign_labels",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from minigrad.testing import strategies
    except ImportError as error:
        raise ImportError(
            f"minigrad.testing.{name} needs hypothesis: pip install 'minigrad-adversarial[testing]'"
        ) from error
    return getattr(strategies, name)
