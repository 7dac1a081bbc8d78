"""Functions of functions: derivatives at a point, their products with a direction, one inside another."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.testing import arrays, check_gradients

A = np.random.default_rng(3).normal(size=(3, 3))


def quadratic(x: Any) -> Any:
    """½ xᵀ(A + Aᵀ)x: its Hessian is A + Aᵀ."""
    return mg.einsum("i,ij,j->", x, backend.of(x.data).asarray(A), x)


def curved(x: Any) -> Any:
    return mg.stack([mg.sin(x[0]) * x[1], mg.exp(x[2]), x[0] ** 2, x[1] * x[2]])


def jacobian_of_curved(x: np.ndarray) -> np.ndarray:
    return np.array([
        [np.cos(x[0]) * x[1], np.sin(x[0]), 0], [0, 0, np.exp(x[2])], [2 * x[0], 0, 0], [0, x[2], x[1]],
    ])  # fmt: skip


points = arrays(3)


@given(x=points, v=arrays(3, low=-2.0, high=2.0))
def test_each_is_what_its_name_says(library: Any, x: np.ndarray, v: np.ndarray) -> None:
    close = {"rtol": 1e-9, "atol": 1e-9 * (1 + np.abs(x).max() ** 2)}
    x_, v_ = library.asarray(x), library.asarray(v)
    value, gradient = mg.value_and_grad(quadratic)(x_)
    H = A + A.T
    np.testing.assert_allclose(value.numpy(), x @ A @ x, **close)
    np.testing.assert_allclose(gradient.numpy(), H @ x, **close)
    np.testing.assert_allclose(mg.hessian(quadratic)(x_).numpy(), H, **close)
    np.testing.assert_allclose(mg.hvp(quadratic, x_, v_).numpy(), H @ v, **close)
    J = jacobian_of_curved(x)
    close["atol"] = 1e-9 * (1 + np.abs(J).max())
    np.testing.assert_allclose(mg.jacobian(curved)(x_).numpy(), J, **close)
    np.testing.assert_allclose(mg.jvp(curved, x_, v_).numpy(), J @ v, **close)


@given(st.data())
def test_shapes(data: Any) -> None:
    x = data.draw(arrays(data.draw(st.sampled_from([(), (2,), (0,), (2, 3)]))))
    pair = mg.jacobian(lambda t: mg.stack([t, t * 2.0]))(x)
    assert pair.shape == (2, *x.shape, *x.shape)
    assert mg.hessian(lambda t: mg.sum(t * t))(x).shape == (*x.shape, *x.shape)
    assert mg.hvp(lambda t: mg.sum(t * t), x, x).shape == x.shape
    assert mg.jvp(lambda t: t[None], x, x).shape == (1, *x.shape)


def test_several_arguments_and_options() -> None:
    def cost(w: Any, x: Any, *, scale: float) -> Any:
        return mg.sum(w * x * x) * scale

    w, x = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, (dw, dx) = mg.value_and_grad(cost, (0, -1))(w, x, scale=2.0)
    assert value.item() == 82.0
    assert dw.numpy().tolist() == [18, 32]
    assert dx.numpy().tolist() == [12, 32]
    assert mg.value_and_grad(cost, 1)(w, x, scale=2.0)[1].numpy().tolist() == [12, 32]
    np.testing.assert_array_equal(mg.hessian(cost, 1)(w, x, scale=1.0).numpy(), np.diag([2.0, 4.0]))
    assert mg.value_and_grad(cost, np.int64(1))(w, x, scale=2.0)[1].numpy().tolist() == [12, 32]


@pytest.mark.parametrize("inner", ["value_and_grad", "hvp", "jvp"])
def test_one_inside_another(inner: str) -> None:
    v = np.array([1.0, -1.0, 0.5])

    def f(x: Any) -> Any:
        return mg.sum(mg.sin(x) * x * x)

    def along(x: Any) -> Any:
        if inner == "value_and_grad":
            return mg.value_and_grad(f)(x)[1]
        return mg.hvp(f, x, v) if inner == "hvp" else mg.jvp(f, x, v)

    x = np.array([0.3, -1.2, 0.7])
    check_gradients(along, x, order=2)
    if inner == "value_and_grad":
        np.testing.assert_allclose(mg.jacobian(along)(x).numpy(), mg.hessian(f)(x).numpy(), atol=1e-12)


def test_what_comes_out_is_recorded_if_an_argument_asks_for_it() -> None:
    x, w = np.array([1.0, 2.0]), mg.Tensor(3.0, requires_grad=True)

    def f(x: Any, w: Any) -> Any:
        return mg.sum(w * x**3)

    value, slope = mg.value_and_grad(f)(x, 3.0)
    assert not value.requires_grad
    assert not slope.requires_grad
    value, slope = mg.value_and_grad(f)(x, w)
    assert mg.grad(mg.sum(slope) + value, w)[0].item() == pytest.approx(3 + 12 + 1 + 8)
    with mg.no_grad():
        value, slope = mg.value_and_grad(f)(x, w)
        assert slope.numpy().tolist() == [9, 36]
        assert not slope.requires_grad


@pytest.mark.parametrize("recorded", [True, False])
def test_what_else_was_computed_from_the_argument_is_held_fixed(recorded: bool) -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=recorded)
    y = 3.0 * x
    product = lambda a, b: mg.sum(a * b)  # noqa: E731
    assert mg.value_and_grad(product)(x, y)[1].numpy().tolist() == [3, 6]
    assert [g.numpy().tolist() for g in mg.value_and_grad(product, (0, 1))(x, x)[1]] == [[1, 2], [1, 2]]
    assert mg.jacobian(lambda a: a * x)(x).numpy().tolist() == [[1, 0], [0, 2]]
    assert not mg.hessian(lambda a: mg.sum(a * y))(x).numpy().any()
    assert mg.jvp(lambda a: a * y, x, [1.0, 1.0]).numpy().tolist() == [3, 6]
    if recorded:  # and the derivative has its own derivative in x all the same
        _, slope = mg.value_and_grad(lambda a, b: mg.sum(a * a * b))(x, y)
        np.testing.assert_allclose(mg.grad(mg.sum(slope), x)[0].numpy(), 12 * x.numpy())


CROSSED = {  # ∂/∂b of a derivative in a of Σ a² b³, which is 6 a b² along the diagonal
    "a closure": lambda a, b: mg.value_and_grad(lambda u: mg.sum(u**2 * b**3))(a)[1],
    "a dictionary": lambda a, b: mg.value_and_grad(lambda u, o: mg.sum(u**2 * o["b"] ** 3))(a, {"b": b})[1],
    "an option": lambda a, b: mg.value_and_grad(lambda u, b: mg.sum(u**2 * b**3))(a, b=b)[1],
    "a jacobian": lambda a, b: mg.sum(mg.jacobian(lambda u: u**2 * b**3)(a), 0),
    "a jvp": lambda a, b: mg.jvp(lambda u: u**2 * b**3, a, np.ones(2)),
    "an hvp": lambda a, b: mg.hvp(lambda u: mg.sum(u**3 * b**3) / 3.0, a, np.ones(2)),
}


@pytest.mark.parametrize("name", CROSSED)
def test_what_the_function_brings_along_is_differentiated_too(name: str) -> None:
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    right = np.diag(6 * a * b**2)
    np.testing.assert_allclose(mg.jacobian(lambda b: CROSSED[name](a, b))(b).numpy(), right)
    p = mg.Parameter(b)  # as the penalty of a model
    np.testing.assert_allclose(mg.grad(mg.sum(CROSSED[name](a, p)), p)[0].numpy(), right.sum(0))
    with mg.no_grad():
        assert not CROSSED[name](a, p).requires_grad


def test_a_function_that_takes_the_given_tensor_from_outside() -> None:
    W = mg.Parameter(np.ones(2))
    cost = lambda _: mg.sum(W * W)  # noqa: E731
    for call in (mg.value_and_grad(cost), mg.jacobian(cost), mg.hessian(cost)):
        with pytest.raises(ArgumentError, match="^function must compute from its argument"):
            call(W)
    with pytest.raises(ArgumentError, match="^function must compute from its argument"):
        mg.hvp(cost, W, np.ones(2))
    assert not mg.value_and_grad(cost)(np.ones(2))[1].numpy().any()


def test_they_are_pickled_as_their_function_is() -> None:
    derivative = pickle.loads(pickle.dumps(mg.hessian(quadratic)))
    np.testing.assert_allclose(derivative(np.ones(3)).numpy(), A + A.T)


@pytest.mark.parametrize("product", [mg.hvp, mg.jvp])
def test_a_wrong_direction_is_found_before_any_work(product: Any) -> None:
    def never(x: Any) -> Any:
        raise AssertionError

    for v in ([1.0], np.ones((2, 1)), np.array([True, False]), None, "ab"):
        with pytest.raises((ArgumentError, TypeError), match=r"^v must "):
            product(never, np.ones(2), v)
    with pytest.raises(TypeError, match="^x must be real"):
        product(never, np.array([1, 2]), np.ones(2))
    with pytest.raises(TypeError, match="^x must be one array, got a tuple"):
        product(never, (np.ones(2),), (np.ones(2),))


def test_functions_that_do_not_depend_on_their_argument() -> None:
    x = np.ones(2)
    assert mg.value_and_grad(lambda x: mg.Tensor(3.0))(x)[1].numpy().tolist() == [0, 0]
    assert not mg.hessian(lambda x: mg.sum(x))(x).numpy().any()
    assert not mg.hvp(lambda x: mg.sum(x), x, x).numpy().any()
    assert not mg.jvp(lambda x: mg.Tensor([1.0]), x, x).numpy().any()
    assert mg.jvp(lambda x: x.astype(int), x, x).numpy().tolist() == [0, 0]
    assert not mg.jacobian(lambda x: mg.Tensor([1.0]))(x).numpy().any()


def test_leaves_keep_their_grad_and_arguments_are_not_written_to() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    x.grad = np.array([7.0, 7.0])
    before = x.numpy().copy()
    mg.hessian(lambda t: mg.sum(t**3))(x)
    assert x.grad.tolist() == [7, 7]
    np.testing.assert_array_equal(x.numpy(), before)


def test_what_they_say() -> None:
    with pytest.raises(
        ArgumentError, match=r"function must return one element, got shape \(4,\): see mg.jac"
    ):
        mg.value_and_grad(curved)(np.ones(3))
    with pytest.raises(TypeError, match=r"arguments go to what is returned, as in mg.jacobian\(f\)\(x\)"):
        mg.jacobian(curved, np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="argnums must name different arguments"):
        mg.value_and_grad(quadratic, (0, -1))(np.ones(3))


def test_grad_of_a_function_is_told_what_to_use() -> None:
    with pytest.raises(
        ArgumentTypeError, match=r"got function: .*mg.grad\(f\(x\), x\).*mg.value_and_grad\(f\)\(x\)"
    ):
        mg.grad(lambda x: mg.sum(x**2))  # type: ignore[arg-type]
