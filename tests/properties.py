"""What every operation is held to: each property is a function of an operation, a case and a library.

The tests cross all of them with all declared operations; the mutation suite asserts that a broken
derivative makes at least one of them fail.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backend import Backend
from minigrad.testing import check_gradients
from tests.declarations import Case, Operation

Property = Callable[[Operation, Case, Backend], None]


def leaves_of(case: Case, library: Backend, dtype: Any = None) -> list[mg.Tensor]:
    """The case's arrays as leaves; on NumPy in the very layout that was drawn."""
    return [mg.Tensor(library.asarray(x, dtype), requires_grad=True) for x in case.arrays]


def reference_of(operation: Operation, arrays: list[np.ndarray], options: dict[str, Any]) -> np.ndarray:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(operation.reference(*arrays, **options))


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 99]).normal(size=shape)


def value_is_the_references(operation: Operation, case: Case, library: Backend) -> None:
    result = operation.function(*leaves_of(case, library), **case.options)
    expected = reference_of(operation, case.arrays, case.options)
    assert isinstance(result, mg.Tensor)
    assert isinstance(result.data, library.array_type)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-9, atol=1e-12)


def curved(y: mg.Tensor) -> mg.Tensor:
    """With a cotangent that depends on the inputs, as it does inside any larger function.

    It is 0 at y = −5/3, where nothing saturates. At −1, where tanh does, differences would be rounding alone.
    """
    return y + 0.3 * y * y


def gradients_are_the_numeric_ones(operation: Operation, case: Case, library: Backend) -> None:
    """Order 1 and 2, in float64; and order 1 with reverse mode in float32.

    On NumPy; on another library they are NumPy's, which costs two evaluations and not some fifty."""
    if not operation.differentiable:
        return
    if library.name != "numpy":
        gradients_are_numpys(operation, case, library)
        return

    def call(*arguments: mg.Tensor) -> mg.Tensor:
        return operation.function(*arguments, **case.options)

    def bent(*arguments: mg.Tensor) -> mg.Tensor:
        return curved(call(*arguments))

    call.__name__ = f"{operation.name} {case.options or ''}"
    bent.__name__ = f"y + .3 y² of y = {call.__name__}"
    check_gradients(call, *case.arrays)
    check_gradients(bent, *case.arrays, order=2)
    # Wide, because a saturated softmax subtracts nearly equal numbers, of which float32 keeps few.
    check_gradients(call, *case.arrays, dtype=np.float32, tolerance=1e-2)


def gradients_are_numpys(operation: Operation, case: Case, library: Backend) -> None:
    """To the last digits, relative to the largest: libraries may add in another order."""
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-4)):
        here, there = (
            gradients_of_two_orders(operation, case, one, dtype) for one in (backend.get("numpy"), library)
        )
        for expected, found in zip(here, there, strict=True):
            largest = np.abs(expected).max(initial=0.0)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * largest)


def gradients_of_two_orders(
    operation: Operation, case: Case, library: Backend, dtype: Any
) -> list[np.ndarray]:
    """Those of ⟨c, curved(y)⟩ in the arrays, and those of a random combination of them."""
    with backend.use(library.name):
        leaves = leaves_of(case, library, dtype)
        y = operation.function(*leaves, **case.options)
        c = library.asarray(numbers(y.shape), dtype)
        first = mg.grad(curved(y), leaves, gradient=c, create_graph=True)
        total = sum(
            mg.sum(g * library.asarray(numbers(g.shape, seed), dtype)) for seed, g in enumerate(first, 1)
        )
        second = mg.grad(total, leaves)
    return [g.numpy() for g in [*first, *second]]


def dtypes_and_shapes_are_the_inputs(operation: Operation, case: Case, library: Backend) -> None:
    for dtype in (np.float32, np.float64):
        leaves = leaves_of(case, library, dtype)
        output = operation.function(*leaves, **case.options)
        assert output.dtype == dtype
        assert output.requires_grad == operation.differentiable
        if operation.differentiable:
            for gradient, leaf in zip(
                mg.grad(output, leaves, gradient=library.xp.ones_like(output.data)), leaves, strict=True
            ):
                assert gradient.dtype == dtype
                assert gradient.shape == leaf.shape
                assert isinstance(gradient.data, library.array_type)


def nothing_is_written_or_shared(operation: Operation, case: Case, library: Backend) -> None:
    if not operation.differentiable:
        return
    leaves = [mg.Tensor(library.xp.array(library.asarray(x)), requires_grad=True) for x in case.arrays]
    output = operation.function(*leaves, **case.options)
    cotangent = library.xp.array(library.asarray(numbers(output.shape)))
    watched = [*leaves, output, mg.Tensor(cotangent)]
    before = [np.array(t.numpy()) for t in watched]
    gradients = mg.grad(output, leaves, gradient=cotangent, retain_graph=True)
    output.backward(cotangent)
    for old, new in zip(before, watched, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    for leaf, gradient in zip(leaves, gradients, strict=True):
        np.testing.assert_array_equal(mg.Tensor(leaf.grad).numpy(), gradient.numpy())
    if output.made_by is not None and output.made_by.real:  # what only moves elements may return them
        assert all(output.data is not leaf.data for leaf in leaves), "the forward returns its argument"
    made = [g.data for g in gradients] + [leaf.grad for leaf in leaves]
    for position, array in enumerate(made):
        for other in [*made[:position], *(t.data for t in watched)]:
            assert not library.xp.shares_memory(array, other)


def any_layout_of_the_cotangent_will_do(operation: Operation, case: Case, library: Backend) -> None:
    if not operation.differentiable:
        return
    leaves = leaves_of(case, library)
    output = operation.function(*leaves, **case.options)
    narrow = numbers(output.shape[:-1] + (1,) * bool(output.ndim))
    plain = np.array(np.broadcast_to(narrow, output.shape))
    views = [
        library.xp.broadcast_to(library.asarray(narrow), output.shape),
        library.asarray(np.array(plain.T, order="C")).T,
    ]
    if library.name == "numpy":
        plain.flags.writeable = False
    expected = mg.grad(output, leaves, gradient=library.asarray(plain), retain_graph=True)
    for view in views:
        found = mg.grad(output, leaves, gradient=view, retain_graph=True)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-15)


def nan_and_infinity_go_where_numpys_would(operation: Operation, case: Case, library: Backend) -> None:
    if not operation.like_numpy:
        return
    for special in (np.nan, np.inf, -np.inf):
        arrays = [np.array(x, order="C") for x in case.arrays]
        for array in arrays:
            array.reshape(-1)[:1] = special
            assert array.size == 0 or not np.isfinite(array).all()
        with np.errstate(all="ignore"):
            result = operation.function(*(mg.Tensor(library.asarray(x)) for x in arrays), **case.options)
        np.testing.assert_allclose(
            result.numpy(), reference_of(operation, arrays, case.options), rtol=1e-9, atol=1e-12
        )


PROPERTIES: list[Property] = [
    value_is_the_references,
    gradients_are_the_numeric_ones,
    dtypes_and_shapes_are_the_inputs,
    nothing_is_written_or_shared,
    any_layout_of_the_cotangent_will_do,
    nan_and_infinity_go_where_numpys_would,
]
