"""Reverse mode against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend


def numeric_gradient(function: Callable[..., float], arrays: list[np.ndarray], position: int) -> np.ndarray:
    """∂function/∂arrays[position] by central differences, an element at a time, on copies."""
    result = np.zeros(arrays[position].shape)
    for index in np.ndindex(result.shape):
        ends = []
        for sign in (1, -1):
            moved = [array.copy() for array in arrays]
            moved[position][index] += sign * 1e-6
            ends.append(function(*moved))
        result[index] = (ends[0] - ends[1]) / 2e-6
    return result


def check_gradients(function: Callable[..., mg.Tensor], *arrays: Any, order: int = 2, seed: int = 0) -> None:
    """Assert that function's gradients in every array agree with differences, up to `order`.

    The cotangent, and at order 2 the direction in which gradients are combined, are random.
    """
    arrays = tuple(np.asarray(array, np.float64) for array in arrays)
    library = backend.current()
    rng = np.random.default_rng(seed)
    directions = [rng.normal(size=array.shape) for array in arrays]

    def output(*at: np.ndarray) -> mg.Tensor:
        return function(*(mg.Tensor(library.asarray(array)) for array in at))

    cotangent = rng.normal(size=output(*arrays).shape)

    def value(*at: np.ndarray) -> mg.Tensor:
        return mg.sum(output(*at) * library.asarray(cotangent))

    def gradients(*at: np.ndarray, create_graph: bool) -> tuple[list[mg.Tensor], tuple[mg.Tensor, ...]]:
        leaves = [mg.Tensor(library.asarray(array), requires_grad=True) for array in at]
        found = mg.grad(
            function(*leaves), leaves, gradient=library.asarray(cotangent), create_graph=create_graph
        )
        return leaves, found

    def slope(*at: np.ndarray) -> tuple[list[mg.Tensor], mg.Tensor]:
        leaves, found = gradients(*at, create_graph=True)
        products = [
            mg.sum(g * library.asarray(direction)) for g, direction in zip(found, directions, strict=True)
        ]
        return leaves, mg.sum(mg.stack(products))

    _, first = gradients(*arrays, create_graph=False)
    _compare("gradient", first, [
        numeric_gradient(lambda *at: value(*at).item(), list(arrays), i) for i in range(len(arrays))
    ])  # fmt: skip
    if order == 2:
        leaves, combined = slope(*arrays)
        _compare("gradient of gradient", mg.grad(combined, leaves), [
            numeric_gradient(lambda *at: slope(*at)[1].item(), list(arrays), i) for i in range(len(arrays))
        ])  # fmt: skip


def _compare(what: str, reverse: Any, numeric: list[np.ndarray]) -> None:
    for position, (ours, expected) in enumerate(zip(reverse, numeric, strict=True)):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(
            ours.numpy(),
            expected,
            rtol=1e-6,
            atol=1e-6,
            err_msg=f"{what} in argument {position + 1}: reverse mode, then numeric",
        )
