"""The Tensor, the graph and the walk."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import platform
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend, lanes
from minigrad.errors import ArgumentError, ArgumentTypeError, GraphError, NonFiniteError
from minigrad.testing import check_gradients

rng = np.random.default_rng(3)
over_each_library = pytest.mark.usefixtures("library")


def device(data: Any) -> Any:
    """An array of the library under test."""
    return backend.current().asarray(np.asarray(data))


def leaf(data: Any = 2.0) -> mg.Tensor:
    return mg.Tensor(device(np.asarray(data, np.float64)), requires_grad=True)


@over_each_library
class TestSharedNodes:
    @pytest.mark.parametrize("uses", range(1, 11))
    def test_fan_out(self, uses: int) -> None:
        x = rng.normal(size=3)
        check_gradients(lambda t: mg.sum(mg.stack([mg.exp(t) for _ in range(uses)]), 0), x, order=2)

        def shared(t: mg.Tensor) -> mg.Tensor:
            node = mg.tanh(t)
            total = node
            for _ in range(uses - 1):
                total = total + node * node
            return total

        check_gradients(shared, x, order=2)

    def test_diamonds(self) -> None:
        x = rng.normal(size=(2, 2))
        check_gradients(lambda a: a + a, x, order=2)
        check_gradients(lambda a: a * a, x, order=2)
        check_gradients(lambda a: a @ a @ a, x, order=2)
        check_gradients(lambda a, b: (a * b) / (a + b + 5.0) - (a * b), x, x.T, order=2)


@over_each_library
class TestBackward:
    def test_only_leaves_that_ask_have_a_grad(self) -> None:
        x, y, constant = leaf(3.0), leaf(4.0), mg.Tensor(5.0)
        product = x * y
        (product * constant).backward()
        assert x.grad.tolist() == 20.0
        assert y.grad.tolist() == 15.0
        assert constant.grad is None
        assert isinstance(x.grad, backend.current().array_type)

    def test_grads_of_several_backwards_add_up_in_new_memory(self) -> None:
        x = leaf([1.0, 2.0])
        mg.sum(x * 3.0).backward()
        first = x.grad
        mg.sum(x * x).backward()
        assert first.tolist() == [3, 3]
        assert x.grad.tolist() == [5, 7]

    def test_read_only_and_broadcast_grads_and_cotangents_are_accepted(self) -> None:
        x = leaf(np.zeros(3))
        broadcast_to = backend.current().xp.broadcast_to
        x.grad = broadcast_to(device(1.0), (3,))
        (x + x).backward(broadcast_to(device(2.0), (3,)))
        assert x.grad.tolist() == [5, 5, 5]

    def test_leaves_never_share_a_buffer(self) -> None:
        x, y, z = leaf(np.zeros(3)), leaf(np.zeros(3)), leaf(np.zeros((3, 1)))
        seed = device(np.ones(3))
        ((x + y) + mg.reshape(z, (3,))).backward(seed)
        seed[:] = 7
        x.grad[:] = 9
        assert y.grad.tolist() == [1, 1, 1]
        assert z.grad.tolist() == [[1], [1], [1]]

    def test_a_leaf_differentiated_itself(self) -> None:
        x = leaf([1.0, 2.0])
        seed = device([3.0, 4.0])
        x.backward(seed)
        assert x.grad.tolist() == [3, 4]
        assert not backend.current().xp.shares_memory(x.grad, seed)

    def test_a_second_backward_raises_and_says_what_to_do(self) -> None:
        x = leaf()
        y = mg.exp(x * x)
        y.backward()
        with pytest.raises(GraphError, match="retain_graph=True"):
            y.backward()
        with pytest.raises(GraphError, match="retain_graph=True"):
            mg.grad(y, x)

    def test_the_graph_is_also_used_up_where_two_outputs_share_it(self) -> None:
        x = leaf()
        shared = x * x
        first, second = mg.exp(shared), mg.tanh(shared)
        first.backward()
        with pytest.raises(GraphError):
            second.backward()
        with pytest.raises(GraphError):
            mg.grad(second, x)

    def test_with_retain_graph_a_second_backward_doubles(self) -> None:
        x = leaf(rng.normal(size=4))
        y = mg.sum(mg.exp(x) * x)
        y.backward(retain_graph=True)
        first = x.grad.copy()
        y.backward(retain_graph=True)
        assert x.grad.tolist() == (2 * first).tolist()

    def test_cotangents_that_do_not_fit(self) -> None:
        x = leaf(np.ones(3))
        with pytest.raises(ArgumentError, match="gradient must be given.*\\(3,\\)"):
            (x * 2).backward()
        with pytest.raises(ArgumentError, match="shape \\(3,\\), got \\(2,\\)"):
            (x * 2).backward(device(np.ones(2)))
        with pytest.raises(ArgumentTypeError, match="bool"):
            (x * 2).backward(device(np.ones(3, bool)))

    def test_one_element_needs_no_cotangent(self) -> None:
        x = leaf([[4.0]])
        (x * x).backward()
        assert x.grad.tolist() == [[8.0]]

    def test_nothing_to_differentiate(self) -> None:
        with pytest.raises(GraphError, match="no_grad"):
            mg.Tensor(1.0).backward()
        with mg.no_grad():
            y = leaf() * 2
        with pytest.raises(GraphError, match="no_grad"):
            y.backward()

    def test_data_changed_in_place_after_its_use(self) -> None:
        p = mg.Parameter(np.ones(2))
        cost = mg.sum(p * p)
        optimiser = mg.optim.SGD([p], lr=0.1)
        cost.backward(retain_graph=True)
        optimiser.step()
        with pytest.raises(GraphError, match="multiply was changed in place"):
            cost.backward()

    def test_data_changed_in_place_that_another_gradient_needs(self) -> None:
        p, x = mg.Parameter(np.ones(2)), leaf(np.ones(2))
        cost = mg.sum(p * x)
        p.data += 1
        p.changed_in_place()
        with pytest.raises(GraphError, match="multiply was changed in place"):
            mg.grad(cost, x)
        p.requires_grad = False
        frozen = mg.sum(p * x)
        p.changed_in_place()
        with pytest.raises(GraphError, match="multiply was changed in place"):
            frozen.backward()
        p.requires_grad = True
        view = mg.sum(mg.reshape(p, (2, 1)) * mg.reshape(x, (2, 1)))
        p.data += 1
        p.changed_in_place()
        with pytest.raises(GraphError, match="reshape was changed in place"):
            mg.grad(view, x)

    def test_a_failed_backward_leaves_the_grads_alone(self) -> None:
        x = leaf([1.0])
        x.grad = device([5.0])
        y = mg.exp(x)
        z = y * y
        y.backward()
        before = x.grad
        with pytest.raises(GraphError):
            z.backward()
        assert x.grad is before


@over_each_library
class TestGrad:
    def test_leaves_every_grad_alone(self) -> None:
        x, y = leaf(), leaf()
        y.grad = backend.current().asarray(np.array(7.0))
        gx, gy = mg.grad(x * y, [x, y])
        assert isinstance(gx, mg.Tensor)
        assert (gx.item(), gy.item()) == (2.0, 2.0)
        assert x.grad is None
        assert y.grad == 7.0
        assert not gx.requires_grad

    def test_of_an_intermediate_result(self) -> None:
        x = leaf(3.0)
        y = x * x
        z = mg.exp(y) * y
        gy, gx = mg.grad(z, (y, x))
        assert gy.item() == pytest.approx(10 * np.exp(9))
        assert gx.item() == pytest.approx(60 * np.exp(9))

    def test_of_the_output_itself(self) -> None:
        x = leaf([1.0, 2.0])
        y = x * 2.0
        (g,) = mg.grad(y, y, gradient=[5.0, 6.0])
        assert g.numpy().tolist() == [5, 6]

    def test_the_same_input_twice(self) -> None:
        x = leaf()
        a, b = mg.grad(x * x, [x, x])
        assert a.item() == b.item() == 4.0
        assert not backend.current().xp.shares_memory(a.data, b.data)

    def test_an_input_that_output_does_not_depend_on_has_gradient_zero(self) -> None:
        x, y = leaf([1.0, 2.0]), leaf()
        gx, gy = mg.grad(y * y, [x, y])
        assert gx.numpy().tolist() == [0, 0]
        assert gy.item() == 4.0

    def test_inputs_that_cannot_be_asked_for(self) -> None:
        x = leaf()
        with pytest.raises(ArgumentError, match="inputs\\[1\\] must require a gradient"):
            mg.grad(x * 2, [x, mg.Tensor(1.0)])
        with pytest.raises(ArgumentTypeError, match="inputs\\[0\\] must be a Tensor"):
            mg.grad(x * 2, [1.0])  # type: ignore[list-item]
        with pytest.raises(ArgumentTypeError, match="output must be a Tensor"):
            mg.grad(1.0, x)  # type: ignore[arg-type]

    def test_flags_of_numpy_are_flags(self) -> None:
        x = leaf(3.0)
        y = x * x
        mg.grad(y, x, create_graph=np.True_)
        mg.grad(y, x, retain_graph=np.True_)
        assert mg.grad(y, x)[0].item() == 6.0

    def test_derivatives_of_every_order(self) -> None:
        x = leaf(1.3)
        y = mg.exp(2.0 * x)
        for order in range(1, 6):
            (y,) = mg.grad(y, x, create_graph=True)
            assert y.item() == pytest.approx(2.0**order * np.exp(2.6))

    def test_the_second_derivative_of_something_linear_is_zero(self) -> None:
        x = leaf([1.0, 2.0])
        (g,) = mg.grad(mg.sum(3.0 * x), x, create_graph=True)
        (gg,) = mg.grad(mg.sum(g * g), x)
        assert gg.numpy().tolist() == [0, 0]

    def test_create_graph_keeps_the_graph(self) -> None:
        x = leaf()
        y = x * x * x
        mg.grad(y, x, create_graph=True)
        assert mg.grad(y, x)[0].item() == 12.0

    def test_through_a_cotangent(self) -> None:
        """The gradient is linear in the cotangent, and can be differentiated in it."""
        x, v = leaf([1.0, 2.0]), leaf([1.0, 1.0])
        (g,) = mg.grad(x * x, x, gradient=v, create_graph=True)
        assert mg.grad(g, v, gradient=[1.0, 10.0])[0].numpy().tolist() == [2, 40]

    def test_only_what_leads_to_the_inputs_is_computed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        products = count_products(monkeypatch)
        x, W, V = (leaf(rng.normal(size=(3, 3))) for _ in range(3))
        y = mg.sum((x @ W) @ V)
        products.clear()
        mg.grad(y, x, retain_graph=True)
        assert len(products) == 2  # back through V and W, no weight gradient
        products.clear()
        mg.grad(y, V, retain_graph=True)
        assert len(products) == 1
        data = mg.Tensor(x.data)
        y = mg.sum((data @ W) @ V)
        products.clear()
        y.backward()
        assert len(products) == 3  # V, through V, W; no product for the data


def count_products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which every matrix product adds its number of floating-point operations."""
    from minigrad.operations import products

    flops: list[int] = []

    def counted(owner: Any, name: str, operands: Callable[..., tuple[Any, Any]]) -> None:
        original = getattr(owner, name)

        def wrapper(*arguments: Any) -> Any:
            x, y = operands(*arguments)
            if not isinstance(x, mg.Tensor):  # of Tensors it is counted where their arrays are multiplied
                flops.append(2 * int(np.prod(x.shape)) * y.shape[-1])
            return original(*arguments)

        monkeypatch.setattr(owner, name, wrapper)

    counted(products._matmul, "forward", lambda xp, x, y: (x, y))
    counted(products._linear, "forward", lambda xp, x, W, b: (x, W))
    counted(products, "_times_transposed", lambda g, W: (g, W.T))
    if not lanes.PLAIN:

        def factors(product: Any, *_: Any) -> tuple[Any, Any]:
            a, b = product.pairs[0]
            return np.empty((a.shape[1], sum(len(part) for part, _ in product.pairs))), b

        counted(mg.fast.sums.Product, "multiplied", factors)
    return flops


@over_each_library
class TestGradAndRemainder:
    def network(self) -> tuple[mg.Tensor, mg.Tensor, mg.Tensor, mg.Tensor]:
        x, W, V = leaf(rng.normal(size=(4, 3))), leaf(rng.normal(size=(3, 5))), leaf(rng.normal(size=(5, 1)))
        J = mg.mean(mg.exp(mg.tanh(x @ W) @ V) * mg.sum(W * W) * mg.tanh(x @ W)[:, :1])
        return x, W, V, J

    @pytest.mark.fast_lane
    def test_backward_frees_what_the_remainder_stands_for(self) -> None:
        x, W = leaf(np.ones((2, 3))), leaf(np.ones((3, 2)))
        hidden = mg.tanh(x @ W)
        _, rest = mg.grad_and_remainder(mg.sum(hidden), x)
        alive = weakref.ref(rest.arguments[0])
        rest.backward()
        del hidden
        assert alive() is None

    def test_together_they_are_the_whole_gradient(self) -> None:
        x, W, V, J = self.network()
        expected = mg.grad(J, [x, W, V], retain_graph=True)
        gx, rest = mg.grad_and_remainder(J, x)
        assert rest.item() == J.item()
        np.testing.assert_array_equal(gx.numpy(), expected[0].numpy())
        found = mg.grad(3.0 * rest, [x, W, V], retain_graph=True)
        assert not found[0].numpy().any()
        for ours, whole in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(ours.numpy(), 3.0 * whole.numpy(), rtol=1e-12)
        (rest * rest).backward()
        np.testing.assert_allclose(mg.Tensor(V.grad).numpy(), 2 * J.item() * expected[2].numpy(), rtol=1e-12)

    def test_the_remainder_can_be_differentiated_twice(self) -> None:
        x, W, _, J = self.network()
        slope = mg.grad(J, W, create_graph=True)[0]
        expected = mg.grad(mg.sum(slope**2), W, retain_graph=True)[0]
        _, rest = mg.grad_and_remainder(J, x)
        found = mg.grad(mg.sum(mg.grad(rest, W, create_graph=True)[0] ** 2), W)[0]
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9)

    def test_of_something_that_does_not_depend_on_x(self) -> None:
        x, y = leaf([1.0, 2.0]), leaf()
        gx, rest = mg.grad_and_remainder(y * y, x)
        assert gx.numpy().tolist() == [0, 0]
        assert mg.grad(rest, y)[0].item() == 4.0

    def test_of_something_that_depends_on_nothing_else(self) -> None:
        x = leaf(3.0)
        gx, rest = mg.grad_and_remainder(x * x, x)
        assert gx.item() == 6.0
        assert not rest.requires_grad

    def test_an_intermediate_x(self) -> None:
        u, w = leaf(2.0), leaf(5.0)
        x = u * u
        gx, rest = mg.grad_and_remainder(x * w + u, x)
        assert gx.item() == 5.0
        for create_graph in (False, True):
            gw, gu = mg.grad(rest, [w, u], retain_graph=True, create_graph=create_graph)
            assert (gw.item(), gu.item()) == (4.0, 1.0)

    def test_the_remainder_never_leads_to_x(self) -> None:
        x, W = leaf([2.0, 3.0]), leaf([1.0, 4.0])
        _, rest = mg.grad_and_remainder(mg.sum(x * W), x)
        for create_graph in (False, True, False):
            found = mg.grad(rest, [x, W], retain_graph=True, create_graph=create_graph)
            assert [g.numpy().tolist() for g in found] == [[0, 0], [2, 3]]
        rest.backward()
        assert x.grad is None

    def test_a_remainder_of_a_remainder(self) -> None:
        x, w, v = leaf([2.0, 3.0]), leaf([1.0, 4.0]), leaf(5.0)
        _, rest = mg.grad_and_remainder(mg.sum(x * w * w) * v, x)
        gw, last = mg.grad_and_remainder(rest * rest, w)
        J = 50.0 * 5.0
        np.testing.assert_allclose(gw.numpy(), 2 * J * np.array([20.0, 120.0]))
        for create_graph in (False, True):
            found = mg.grad(last, [x, w, v], retain_graph=True, create_graph=create_graph)
            assert [g.numpy().tolist() for g in found] == [[0, 0], [0, 0], 2 * J * 50.0]

    def test_changes_in_place_are_noticed_before_and_after(self) -> None:
        x, p = leaf([1.0, 2.0]), mg.Parameter(np.array([3.0, 4.0]))
        J = mg.sum((x * p) ** 2)
        _, rest = mg.grad_and_remainder(J, x)
        p.changed_in_place()
        with pytest.raises(GraphError, match="changed in place"):
            rest.backward()
        with pytest.raises(GraphError, match="changed in place"):
            mg.grad_and_remainder(J, x)

    def test_x_must_be_one_tensor(self) -> None:
        u = leaf(2.0)
        with pytest.raises(ArgumentTypeError, match="x must be a Tensor, got list"):
            mg.grad_and_remainder(u * u, [u])  # type: ignore[arg-type]

    def test_x_must_require_a_gradient(self) -> None:
        u = leaf(2.0)
        with pytest.raises(ArgumentError, match="x must require a gradient"):
            mg.grad_and_remainder(u * u, mg.Tensor(1.0))
        with pytest.raises(ArgumentTypeError, match="must be a Tensor"):
            mg.grad_and_remainder(u * u, np.ones(2))  # type: ignore[arg-type]


@over_each_library
class TestRecording:
    def test_no_grad_as_a_block_and_as_a_decorator(self) -> None:
        x = leaf()
        with mg.no_grad():
            assert not (x * 2).requires_grad
            with mg.enable_grad():
                assert (x * 2).requires_grad
            with mg.no_grad():
                pass
            assert not (x * 2).requires_grad
        assert (x * 2).requires_grad

        @mg.no_grad()
        def double(depth: int) -> mg.Tensor:
            return double(depth - 1) if depth else x * 2

        assert not double(3).requires_grad
        assert (x * 2).requires_grad

    def test_it_ends_with_an_exception(self) -> None:
        with pytest.raises(ZeroDivisionError), mg.no_grad():
            1 / 0  # noqa: B018
        assert (leaf() * 2).requires_grad

    def test_one_object_may_be_entered_twice(self) -> None:
        off = mg.no_grad()
        with off, off:
            pass
        assert (leaf() * 2).requires_grad

    def test_a_generator_cannot_be_decorated(self) -> None:
        with pytest.raises(ArgumentTypeError, match="numbers is a generator"):

            @mg.no_grad()
            def numbers() -> Any:
                yield 1

    def test_it_is_the_threads_own(self) -> None:
        seen = []
        with mg.no_grad():
            thread = threading.Thread(target=lambda: seen.append((leaf() * 2).requires_grad))
            thread.start()
            thread.join()
        assert seen == [True]

    def test_detach(self) -> None:
        x = leaf([1.0, 2.0])
        y = mg.sum((x * x).detach() * x)
        assert mg.grad(y, x)[0].numpy().tolist() == [1, 4]

    def test_nothing_is_recorded_from_constants(self) -> None:
        assert (mg.Tensor([1.0]) + 1).is_leaf


@over_each_library
def test_a_tensor_of_one_that_requires_a_gradient_is_an_error() -> None:
    """It would be another leaf, and the gradient lost."""
    x = leaf([1.0])
    for data in (x, x * 2.0):
        for options in ({}, {"requires_grad": True}):
            with pytest.raises(GraphError, match="^data must be an array, got a Tensor that requires"):
                mg.Tensor(data, **options)
    assert mg.Tensor(x.detach(), requires_grad=True).numpy().tolist() == [1.0]


class TestDepthAndMemory:
    def test_a_hundred_thousand_nodes_at_the_default_recursion_limit(self) -> None:
        x = leaf(np.ones(1))
        y = x
        for _ in range(50_000):
            y = y * 1.0 + 0.0
        (g,) = mg.grad(y, x, retain_graph=True)
        assert g.item() == 1.0
        y.backward()
        assert x.grad.item() == 1.0
        for _ in range(100_000):
            y = y + 1.0
        del y  # never differentiated

    def test_no_reference_cycles(self) -> None:
        gc.collect()
        gc.disable()
        try:
            before = live_tensors()
            x = leaf(rng.normal(size=(2, 3)))
            W = leaf(rng.normal(size=(3, 4)))
            J = mg.softmax_cross_entropy(mg.maxout(x @ W, 2), [0, 1])
            (g,) = mg.grad(J, x, create_graph=True)
            mg.sum(g * g).backward()
            _, rest = mg.grad_and_remainder(mg.sum(mg.exp(x @ W)), x)
            rest.backward()
            del x, W, J, g, rest, _
            assert live_tensors() == before
        finally:
            gc.enable()

    def test_backward_frees_what_it_has_used(self) -> None:
        x = leaf(np.ones(1000))
        y = mg.exp(x)
        z = mg.sum(y * y)
        exponential = weakref.ref(y)
        del y
        assert exponential() is not None
        z.backward()
        assert exponential() is None


def live_tensors() -> int:
    return sum(isinstance(thing, mg.Tensor) for thing in gc.get_objects())


class TestTensor:
    def test_what_it_is(self) -> None:
        t = mg.Tensor([[1, 2, 3]])
        assert (t.shape, t.ndim, t.size, t.dtype, len(t)) == ((1, 3), 2, 3, np.int64, 1)
        assert mg.Tensor(2.5).dtype == np.float64
        assert f"{mg.Tensor([2.5]):.2f}" == "2.50"
        assert int(mg.Tensor(2.5)) == 2
        with pytest.raises(ArgumentTypeError, match="requires_grad must be True or False"):
            mg.Tensor([1.0], np.float32)  # type: ignore[arg-type]
        assert mg.Tensor([1, 2], dtype=np.float32, requires_grad=True).dtype == np.float32
        assert mg.Tensor(mg.Tensor([1.0])).numpy().tolist() == [1.0]
        assert float(mg.Tensor(2.5)) == mg.Tensor([[2.5]]).item() == 2.5
        with pytest.raises(ArgumentError, match="one element"):
            mg.Tensor([1.0, 2.0]).item()
        with pytest.raises(TypeError):
            len(mg.Tensor(1.0))
        with pytest.raises(ArgumentTypeError, match="real numbers"):
            mg.Tensor(["a"])
        with pytest.raises(ArgumentTypeError, match="real numbers"):
            mg.Tensor([1j])

    def test_its_repr_says_what_matters(self) -> None:
        x = leaf([1.0, 2.0])
        assert repr(x) == "Tensor([1., 2.], dtype=float64, requires_grad=True)"
        assert repr(x * 2) == "Tensor([2., 4.], dtype=float64, made by multiply)"
        assert "shape=(1000,)" in repr(mg.Tensor(np.zeros(1000)))
        assert "shape=(0, 3)" in repr(mg.Tensor(np.zeros((0, 3))))

    def test_elements_cannot_be_assigned(self) -> None:
        with pytest.raises(GraphError, match=r"mg\.where"):
            leaf([1.0])[0] = 2.0

    def test_comparisons_give_arrays(self) -> None:
        x = leaf([1.0, 2.0, 3.0])
        assert (x > 2).tolist() == [False, False, True]
        assert (x >= mg.Tensor([2.0])).tolist() == [False, True, True]
        assert (2 > x).tolist() == [True, False, False]
        assert (x <= 1).tolist() == [True, False, False]
        assert (x == 2).tolist() == [False, True, False]
        assert (x != 2).tolist() == [True, False, True]
        assert len({x, x, leaf()}) == 2
        assert mg.Tensor(1.0) > 0

    def test_methods_are_the_operations(self) -> None:
        x = rng.uniform(0.1, 0.9, size=(2, 3))
        t = mg.Tensor(x)
        for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "relu", "abs", "sum", "mean", "max"):
            np.testing.assert_array_equal(getattr(t, name)().numpy(), getattr(mg, name)(x).numpy())
        np.testing.assert_array_equal(abs(-t).numpy(), x)
        assert t.clip(0.3, 0.5).numpy().max() == 0.5
        assert t.reshape((3, 2)).shape == t.reshape(3, 2).shape == t.transpose(1, 0).shape == t.T.shape
        assert t.transpose().shape == (3, 2)
        assert t.astype(np.float32).dtype == np.float32
        assert t.to("numpy").numpy().tolist() == x.tolist()

    def test_a_change_of_dtype_has_a_derivative(self) -> None:
        x = leaf([1.0, 2.0])
        (g,) = mg.grad(mg.sum(x.astype(np.float32) * 3.0), x)
        assert g.dtype == np.float64
        assert g.numpy().tolist() == [3, 3]
        assert not x.astype(np.int64).requires_grad
        assert x.astype(np.int64).dtype == np.int64

    def test_copies_and_pickles_of_leaves(self) -> None:
        p = mg.Parameter(np.ones(2))
        for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
            assert isinstance(twin, mg.Parameter)
            assert twin.requires_grad
            assert not np.shares_memory(twin.data, p.data)


@over_each_library
class TestNonFinite:
    def test_the_operation_is_named(self) -> None:
        x = leaf([1.0, 0.0])
        with np.errstate(all="ignore"), mg.detect_nonfinite():
            with pytest.raises(NonFiniteError, match="^log made"):
                mg.exp(mg.log(x))
            y = mg.sqrt(x)
            with pytest.raises(NonFiniteError, match="derivative of sqrt"):
                mg.sum(y).backward()

    def test_it_is_off_by_default(self) -> None:
        with np.errstate(all="ignore"):
            assert mg.log(leaf(0.0)).item() == -np.inf


@over_each_library
class TestOwnPrimitives:
    def test_a_user_adds_an_operation(self) -> None:
        @mg.primitive
        def cube(xp: Any, x: Any) -> Any:
            """x³"""
            return x * x * x

        cube.set_vjps(lambda g, y, x: g * 3.0 * x * x)
        check_gradients(cube, rng.normal(size=(2, 3)), order=2)
        assert cube.__doc__ == "x³"
        assert repr(cube) == "<primitive cube>"

    def test_a_rule_that_hands_out_what_is_not_its_own_does_no_harm(self) -> None:
        zeros = mg.Tensor(device(np.zeros(3)))

        @mg.primitive
        def half_square(xp: Any, x: Any) -> Any:
            return 0.5 * (x * x).sum()

        for rule, expected in ((lambda g, y, x: x, [2, 2, 2]), (lambda g, y, x: zeros, [0, 0, 0])):
            half_square.set_vjps(rule)
            x = leaf(np.ones(3))
            (half_square(x) + half_square(x)).backward()
            assert x.grad.tolist() == expected
            assert x.data.tolist() == [1, 1, 1]
            assert zeros.numpy().tolist() == [0, 0, 0]
            assert not backend.current().xp.shares_memory(x.grad, x.data)

    def test_a_rule_may_be_any_callable_and_give_any_tensor(self) -> None:
        class Sevenfold:
            __hash__ = None  # type: ignore[assignment]

            def __call__(self, g: Any, y: Any, x: Any) -> Any:
                return g * 7.0

        @mg.primitive
        def sevenfold(xp: Any, x: Any) -> Any:
            return x * 7.0

        sevens = mg.Parameter(np.full(2, 7.0))
        for rule in (Sevenfold(), lambda g, y, x: sevens):
            sevenfold.set_vjps(rule)
            x = leaf(np.ones(2))
            mg.sum(sevenfold(x)).backward()
            assert x.grad.tolist() == [7, 7]
            assert not backend.current().xp.shares_memory(x.grad, sevens.data)

    def test_rules_that_do_not_fit_the_forward(self) -> None:
        @mg.primitive
        def product(xp: Any, x: Any, y: Any) -> Any:
            return x * y

        with pytest.raises(ArgumentTypeError, match="product has no rules yet"):
            product(leaf(), leaf())
        for count in (0, 3):
            with pytest.raises(ArgumentError, match="one for each array argument of product"):
                product.set_vjps(*[None] * count)
        product.set_vjps(lambda g, z, x, y: g * y)
        with pytest.raises(ArgumentTypeError, match="y must be a setting, got a Tensor"):
            product(leaf(), leaf())
        product.set_vjps(lambda g, z, x, y: mg.reshape(g * y, (3, 2)), None)
        with pytest.raises(ArgumentError, match="rule of product for argument 1 must return"):
            mg.sum(product(leaf(np.ones((2, 3))), device(np.ones(3)))).backward()

    def test_forwards_that_cannot_be_primitives(self) -> None:
        def by_name(xp: Any, x: Any, *, n: int) -> Any:
            return x

        for forward in (by_name, 3):
            with pytest.raises(ArgumentTypeError, match="forward must be a function"):
                mg.primitive(forward)  # type: ignore[arg-type]

    def test_the_signature_is_the_callers(self) -> None:
        assert list(inspect.signature(mg.sum).parameters) == ["x", "axis", "keepdims"]

    def test_a_rule_must_return_a_tensor(self) -> None:
        @mg.primitive
        def same(xp: Any, x: Any) -> Any:
            return x + 0

        same.set_vjps(lambda g, y, x: g.data)
        with pytest.raises(
            ArgumentTypeError, match="rule of same for argument 1 must return an array or a Tensor"
        ):
            same(leaf(1.0)).backward()

    def test_a_rule_that_writes_into_its_cotangent_is_named(self) -> None:
        @mg.primitive
        def double(xp: Any, x: Any) -> Any:
            return 2.0 * x

        def writes(g: Any, y: Any, x: Any) -> Any:
            g *= 2.0
            return g * 1.0

        double.set_vjps(writes)
        with pytest.raises(ArgumentError, match="a rule of function must not write into the cotangent"):
            check_gradients(double, np.ones(3))

    def test_the_wrong_rule_of_two_for_one_tensor_is_named(self) -> None:
        @mg.primitive
        def both(xp: Any, x: Any, y: Any) -> Any:
            return x + y

        both.set_vjps(lambda g, z, x, y: g, lambda g, z, x, y: 1.0)
        t = leaf(np.ones(2))
        with pytest.raises(
            ArgumentTypeError, match="rule of both for argument 2 must return an array or a Tensor"
        ):
            mg.sum(both(t, t)).backward()


def test_everything_imports_without_cupy() -> None:
    script = (
        "import sys; sys.modules['cupy'] = None\n"
        "import minigrad, models, attacks\n"
        "try: minigrad.backend.use('cupy')\n"
        "except minigrad.errors.BackendError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'minigrad-adversarial[cuda12]'" in done.stdout


def test_importing_loads_nothing_that_is_slow() -> None:
    slow = ("cupy", "hypothesis", "rich", "tempfile", "zipfile", "inspect", "dataclasses")
    script = f"import sys, minigrad; print([name for name in {slow} if name in sys.modules])"
    numpy_alone = script.replace("minigrad", "numpy")
    run = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for code in (script, numpy_alone)
    ]
    assert run[0] == run[1]


def test_importing_needs_neither_ctypes_nor_a_count_of_references() -> None:
    script = (
        "import sys; sys.modules['_ctypes'] = None; del sys.getrefcount\n"
        "import numpy as np, minigrad as mg\n"
        "x = mg.Parameter(np.ones((2, 3)))\n"
        "for _ in range(2): x.grad = None; mg.sum(mg.matmul(np.ones((1, 2)), x)).backward()\n"
        "print(x.grad.sum())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "6.0\n"


@pytest.mark.fast_lane
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that keeps what was freed")
def test_memory_of_freed_arrays_is_used_again_without_page_faults() -> None:
    script = (
        "import resource, numpy as np, minigrad\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work(): [np.ones(3_600_000, np.float32) for _ in range(4)]\n"
        "work(); work(); before = faults(); work(); print(faults() - before)"
    )

    def page_faults(**environment: str) -> int:
        run = [sys.executable, "-c", script]
        done = subprocess.run(run, capture_output=True, text=True, check=True, env=os.environ | environment)
        return int(done.stdout)

    assert page_faults() < 200  # of some 14,000 pages
    assert page_faults(MALLOC_TRIM_THRESHOLD_="131072") > 200  # whoever sets it has it so


@pytest.mark.fast_lane
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that keeps what was freed")
def test_a_step_of_arrays_too_large_for_the_heap_has_no_page_faults_either() -> None:
    """The limits follow what a backward pass needs; before the first, such arrays are handed back."""
    script = (
        "import resource, numpy as np, minigrad as mg\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "x = mg.Tensor(np.ones(10_000_000, np.float32), requires_grad=True)\n"  # 40 MB
        "def step(): mg.grad(mg.sum(mg.exp(x) * x), x)\n"
        "def work(): [np.ones(10_000_000, np.float32) for _ in range(3)]\n"
        "found = []\n"
        "for f in (work, work, step, step, step): before = faults(); f(); found.append(faults() - before)\n"
        "print(*found)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = [int(count) for count in done.stdout.split()]
    assert found[1] > 100  # a fault a page, or a large one where the system has such
    assert found[-1] < found[1] / 10


class TestProductsOfStackedFactors:
    """A weight matrix that is used more than once: one product of the stacked factors (`Product`)."""

    def uses(self, dtype: Any = np.float64) -> tuple[mg.Tensor, list[mg.Tensor]]:
        random = np.random.default_rng(4)
        W = mg.Tensor(random.normal(size=(30, 40)), requires_grad=True, dtype=dtype)
        return W, [mg.Tensor(random.normal(size=(n, 30)), dtype=dtype) for n in (4, 1, 5)]

    def plain(self, W: mg.Tensor, xs: list[mg.Tensor]) -> np.ndarray:
        """The sum of one gradient for each use."""
        return sum(mg.grad(mg.sum(mg.tanh(mg.matmul(x, W))), W)[0].numpy() for x in xs)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.fast_lane
    def test_it_is_the_sum_over_the_uses(self, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        W, xs = self.uses(dtype)
        expected = self.plain(W, xs)
        total = sum(mg.sum(mg.tanh(mg.matmul(x, W))) for x in xs)
        flops = count_products(monkeypatch)
        (gradient,) = mg.grad(total, W)
        assert flops == [2 * 10 * 30 * 40]  # one product, of all ten rows
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=100 * np.finfo(dtype).eps)

    def test_beside_uses_of_another_kind(self) -> None:
        W, xs = self.uses()
        expected = self.plain(W, xs) + 2 * W.numpy()
        for order in (0, 1, 2, 3):
            terms = [mg.sum(mg.tanh(mg.matmul(x, W))) for x in xs]
            terms.insert(order, mg.sum(W * W))
            np.testing.assert_allclose(mg.grad(sum(terms), W)[0].numpy(), expected, rtol=1e-12)

    def test_of_a_matrix_that_was_computed(self) -> None:
        V, xs = self.uses()
        total = 0.0
        W = V * 3.0
        for x in xs:
            total = total + mg.sum(mg.tanh(mg.matmul(x, W)))
        expected = 3.0 * self.plain(mg.Tensor(W.numpy(), requires_grad=True), xs)
        np.testing.assert_allclose(mg.grad(total, V)[0].numpy(), expected, rtol=1e-12)

    def test_recorded_it_can_be_differentiated_again(self) -> None:
        W, xs = self.uses()
        check_gradients(lambda W: sum(mg.sum(mg.tanh(mg.matmul(x, W))) for x in xs), W.numpy(), order=2)

    def test_of_a_bias(self) -> None:
        """With its weights, with others', with none; of batches of matrices, and with many rows."""
        random = np.random.default_rng(3)
        b = mg.Tensor(random.normal(size=5).astype(np.float32), requires_grad=True)
        Ws = [mg.Tensor(random.normal(size=(n, 5)).astype(np.float32), n != 2) for n in (3, 3, 2)]
        xs = [random.normal(size=(*rows, len(W.data))).astype(np.float32)
              for rows, W in zip([(4,), (2, 3), (3000,)], Ws, strict=True)]  # fmt: skip
        uses = [*zip(xs, Ws, strict=True), (xs[0], Ws[1])]

        def J(b: Any, *Ws_: Any) -> Any:
            by = dict(zip(map(id, Ws), Ws_, strict=True))
            return sum(mg.mean(mg.tanh(mg.linear(x, by[id(W)], b))) for x, W in uses) + mg.sum(b * b)

        found = mg.grad(J(b, *Ws), (b, Ws[0], Ws[1]))
        with lanes.plain_forms():
            expected = mg.grad(J(b, *Ws), (b, Ws[0], Ws[1]))
        for ours, plain in zip(found, expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours.numpy(), plain.numpy(), rtol=1e-5, atol=1e-6)
        wide = [a.numpy().astype(np.float64) for a in (b, *Ws)]
        check_gradients(lambda b, *Ws_: J(b, *Ws_), *wide)

    @pytest.mark.fast_lane
    def test_of_a_bias_whose_weights_are_fixed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its factors would be kept for it alone: it is summed at once."""
        monkeypatch.setattr(mg.fast.sums.BiasProduct, "multiplied", None)
        x, W, b = np.ones((2, 3)), np.ones((3, 4)), leaf(np.zeros(4))
        (gradient,) = mg.grad(mg.sum(mg.linear(x, W, b)), b)
        assert gradient.numpy().tolist() == [2.0] * 4

    def test_of_a_bias_of_another_dtype(self) -> None:
        x, W, b = np.ones((2, 3), np.float32), leaf(np.ones((3, 4))), leaf(np.zeros(4))
        gradients = mg.grad(mg.sum(mg.linear(x, W, b)), (W, b))
        assert [g.numpy().tolist() for g in gradients] == [[[2.0] * 4] * 3, [2.0] * 4]

    def test_other_dtypes_are_added_up(self) -> None:
        W, xs = self.uses()
        narrow = xs[0].numpy().astype(np.float32)
        total = mg.sum(mg.matmul(xs[1], W)) + mg.sum(mg.matmul(narrow, W))
        (gradient,) = mg.grad(total, W)
        assert gradient.dtype == np.float64
        expected = (xs[1].numpy().sum(0) + narrow.sum(0))[:, None].repeat(40, 1)
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-6, atol=1e-6)

    def test_gradients_accumulate_in_memory_of_their_own(self) -> None:
        W, xs = self.uses()
        for times in (1, 2):
            sum(mg.sum(mg.matmul(x, W)) for x in xs).backward()
            np.testing.assert_allclose(W.grad, times * self.plain_sum(xs))
            assert not np.shares_memory(W.grad, W.data)

    def plain_sum(self, xs: list[mg.Tensor]) -> np.ndarray:
        return sum(x.numpy().sum(0) for x in xs)[:, None].repeat(40, 1)

    @pytest.mark.fast_lane
    def test_factors_larger_than_the_product_are_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        W = mg.Tensor(np.eye(4), requires_grad=True)
        h = mg.Tensor(np.ones((4096, 4)))
        for _ in range(5):
            h = mg.tanh(mg.matmul(h, W))
        flops = count_products(monkeypatch)
        mg.grad(mg.sum(h), W)
        assert flops.count(2 * 4096 * 4 * 4) == 5 + 4  # one for each use, and the way down

    def test_an_overflow_in_a_product_is_named_as_a_derivatives(self) -> None:
        W = mg.Tensor(np.full((2, 2), 1e-300), requires_grad=True)
        J = mg.sum(mg.matmul(np.full((2, 2), 1e200), W) * 1e200)
        with (
            np.errstate(over="ignore"),
            mg.detect_nonfinite(),
            pytest.raises(NonFiniteError, match="in the derivative of matmul"),
        ):
            mg.grad(J, W)


class TestRulesOnBareArrays:
    def test_a_rule_called_by_hand_gives_what_its_formula_says(self) -> None:
        from minigrad.operations import products

        x, W = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
        g = rng.normal(size=(2, 4))
        with mg.no_grad():
            for rule in (
                products._matmul.vjps[1],
                lambda g, z, x, W: products._linear.vjps[1](g, z, x, W, 0),
            ):
                share = rule(g, x @ W, x, W)
                np.testing.assert_allclose(mg.tensor.raw(share), x.T @ g)

    def test_gradients_without_dimensions_are_arrays(self, library: Any) -> None:
        t = mg.Tensor(library.asarray(np.array(2.0)), requires_grad=True)
        (gradient,) = mg.grad(t**2 + t, t)
        assert isinstance(gradient.data, library.array_type)
        assert gradient.item() == 5.0
        (t + t).backward()
        assert isinstance(t.grad, library.array_type)
        (t * t).backward(gradient)

    def test_what_a_rule_returns_is_not_written_into(self) -> None:
        constant = np.zeros(3)

        @mg.primitive
        def stop(xp: Any, x: Any) -> Any:
            return x.copy()

        for returned in (constant, mg.Tensor(constant)):
            stop.set_vjps(lambda g, y, x, returned=returned: returned)
            x = mg.Tensor(np.ones(3), requires_grad=True)
            for _ in range(2):
                x.grad = None
                mg.sum(x * x + stop(x)).backward()
                np.testing.assert_array_equal(x.grad, 2.0)
                np.testing.assert_array_equal(constant, 0.0)
                assert not np.shares_memory(x.grad, constant)

    def test_an_array_that_a_rule_keeps_is_not_written_to(self) -> None:
        constant = np.full(3, 2.0)

        @mg.primitive
        def twice(xp: Any, x: Any) -> Any:
            return 2.0 * x

        twice.set_vjps(lambda g, y, x: constant)
        t = leaf(np.ones(3))
        mg.sum(twice(t) + twice(t) + twice(t)).backward()
        np.testing.assert_array_equal(t.grad, 6.0)
        np.testing.assert_array_equal(constant, 2.0)
        t.grad = None
        mg.sum(twice(t)).backward()
        assert not np.shares_memory(t.grad, constant)


@pytest.mark.fast_lane
class TestMemoryOfGradients:
    """The next gradient of a Parameter is written where the last was, if nobody looks at that."""

    def gradients(self, keep: Callable[[np.ndarray], Any]) -> tuple[np.ndarray, Any, np.ndarray, int]:
        """(the second gradient, what was kept of the first, the first's values, where the first was)."""
        W = mg.Parameter(np.ones((3, 4)))
        mg.sum(mg.matmul(rng.normal(size=(2, 3)), W)).backward()
        first, where, kept = W.grad.copy(), W.grad.ctypes.data, keep(W.grad)
        W.grad = None
        mg.sum(mg.matmul(np.full((2, 3), 0.5), W)).backward()
        np.testing.assert_array_equal(W.grad, 1.0)
        return W.grad, kept, first, where

    def test_it_is_used_again(self) -> None:
        second, _, _, where = self.gradients(lambda grad: None)
        assert second.ctypes.data == where

    @pytest.mark.parametrize("keep", [lambda grad: grad, lambda grad: grad[1:], lambda grad: mg.Tensor(grad)])
    def test_but_not_while_somebody_holds_it_or_a_part(self, keep: Callable[..., Any]) -> None:
        second, kept, first, where = self.gradients(keep)
        kept = kept.numpy() if isinstance(kept, mg.Tensor) else kept
        assert not np.shares_memory(second, kept)
        np.testing.assert_array_equal(kept, first[-len(kept) :])

    def test_a_batch_of_several_axes(self) -> None:
        W, x = mg.Parameter(np.ones((3, 4))), rng.normal(size=(2, 5, 3))
        expected = 2 * x.sum((0, 1))[:, None].repeat(4, 1)
        for _ in range(3):
            W.grad = None
            mg.sum(mg.linear(x, W, np.zeros(4)) + mg.matmul(x, W)).backward()
            np.testing.assert_allclose(W.grad, expected)

    def test_neither_a_view_nor_what_is_read_only_is_written_to(self) -> None:
        W, x = mg.Parameter(np.ones((3, 4))), np.ones((2, 3))
        mg.sum(mg.matmul(x, W)).backward()
        flat = np.full(12, 7.0)

        def read_only() -> np.ndarray:
            array = np.full((3, 4), 7.0)
            array.flags.writeable = False
            return array

        for make in (lambda: flat.reshape(3, 4), lambda: W.data[:], read_only):
            W.grad = make()
            W.grad = None
            mg.sum(mg.matmul(x, W)).backward()
            np.testing.assert_array_equal(W.grad, 2.0)
            np.testing.assert_array_equal(W.data, 1.0)
            np.testing.assert_array_equal(flat, 7.0)

    def test_only_where_gradients_are_products_is_it_kept(self) -> None:
        p = mg.Parameter(np.ones((3, 4)))
        mg.sum(p * p).backward()
        gone = weakref.ref(p.grad)
        p.grad = None
        assert gone() is None

    def test_it_goes_with_the_parameter(self) -> None:
        W = mg.Parameter(np.ones((3, 4)))
        mg.sum(mg.matmul(np.ones((2, 3)), W)).backward()
        last = weakref.ref(W.grad)
        W.grad = None
        assert last() is not None
        del W
        assert last() is None

    def test_of_another_dtype_or_shape_or_read_only_it_is_let_go(self) -> None:
        W = mg.Parameter(np.ones((3, 4)))
        for data, freeze in (
            (np.ones((3, 4)), False),
            (np.ones((3, 4), np.float32), False),
            (np.ones((3, 2), np.float32), True),
            (np.ones((3, 2), np.float32), False),
        ):
            W.data = data
            W.grad = None
            mg.sum(mg.matmul(np.ones((2, 3), data.dtype), W)).backward()
            np.testing.assert_array_equal(W.grad, np.full(data.shape, 2.0))
            assert W.grad.dtype == data.dtype
            W.grad.flags.writeable = not freeze

    def test_it_is_neither_copied_nor_pickled(self) -> None:
        W = mg.Parameter(np.ones((100, 100)))
        without = len(pickle.dumps(W))
        mg.sum(mg.matmul(np.ones((2, 100)), W)).backward()
        W.grad = None
        assert len(pickle.dumps(W)) < without + 100
        twin = copy.deepcopy(W)
        for p in (twin, W):
            mg.sum(mg.matmul(np.ones((2, 100)), p)).backward()
        assert not np.shares_memory(twin.grad, W.grad)
