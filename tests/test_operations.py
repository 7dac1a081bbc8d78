"""Every operation: its value is NumPy's, its gradients are the numeric ones, its dtype is kept."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError
from minigrad.primitives import Primitive
from minigrad.testing import broadcastable_arrays, check_gradients
from tests.declarations import OPERATIONS, Operation
from tests.properties import PROPERTIES

rng = np.random.default_rng(7)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@given(data=st.data())
def test_every_operation(operation: Operation, library: Any, data: Any) -> None:
    """Each property, of the same case: to draw one takes as long as most of them. A failure names its own."""
    case = data.draw(operation.inputs)
    for holds in PROPERTIES:
        holds(operation, case, library)


def test_every_operation_is_listed_and_declared() -> None:
    for module in {sys.modules[getattr(mg, name).__module__] for name in mg.operations.__all__}:
        own = {
            n for n, v in vars(module).items() if isinstance(v, Primitive) and v.__module__ == module.__name__
        }
        unlisted = {name for name in own if name[0] != "_"} - set(module.__all__)
        assert not unlisted, f"add {unlisted} to the __all__ of {module.__name__}, or begin its name with _"
    declared = {operation.public_name for operation in OPERATIONS if operation.public_name[0] != "_"}
    undeclared = set(mg.operations.__all__) - declared
    assert not undeclared, f"declare {undeclared} in tests/declarations.py"
    unknown = declared - set(mg.operations.__all__)
    assert not unknown, f"{unknown} of tests/declarations.py must stand in an __all__ of minigrad/operations"
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))
    assert set(mg.operations.__all__) <= set(mg.__all__)


@given(broadcastable_arrays(2))
def test_a_gradient_counts_the_places_that_an_element_was_repeated_to(pair: list[np.ndarray]) -> None:
    x, y = (mg.Tensor(array, requires_grad=True) for array in pair)
    total = x + y
    for gradient in mg.grad(total, (x, y), gradient=np.ones(total.shape)):
        if gradient.size:
            np.testing.assert_array_equal(gradient.numpy(), total.size / gradient.size)


OPERATORS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "power": lambda x, y: x**y,
}


@pytest.mark.parametrize("name", OPERATORS)
@given(pair=broadcastable_arrays(2, low=0.5, high=2.0))
def test_operators_are_the_functions_with_a_tensor_on_either_side(
    library: Any, name: str, pair: list[np.ndarray]
) -> None:
    x, y = map(library.asarray, pair)
    expected = getattr(mg, name)(x, y).numpy()
    for left, right in ((mg.Tensor(x), mg.Tensor(y)), (mg.Tensor(x), y), (x, mg.Tensor(y))):
        result = OPERATORS[name](left, right)
        assert isinstance(result, mg.Tensor)
        np.testing.assert_array_equal(result.numpy(), expected)


class TestNumbersAndScalars:
    """None of these may turn float32 into float64, in the value or in the gradient."""

    OPERANDS = [
        2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.array(2.5), [1.5, 2.5, 3.5],
    ]  # fmt: skip

    @pytest.mark.parametrize("operand", OPERANDS, ids=repr)
    @pytest.mark.parametrize("operator", ["+", "-", "*", "/", "**"])
    def test_beside_float32(self, operand: Any, operator: str) -> None:
        x = mg.Tensor(np.array([1.0, 2.0, 3.0], np.float32), requires_grad=True)
        value = np.asarray(operand, np.float64)
        for left, right in ((x, operand), (operand, x)):
            result = eval(f"left {operator} right", {"left": left, "right": right})
            assert isinstance(result, mg.Tensor)
            assert result.dtype == np.float32
            plain = {"left": x.data if left is x else value, "right": x.data if right is x else value}
            np.testing.assert_allclose(result.numpy(), eval(f"left {operator} right", plain), rtol=1e-6)
            assert mg.grad(mg.sum(result), x)[0].dtype == np.float32

    def test_a_tensor_without_dimensions_does_not_widen_either(self) -> None:
        x = mg.Tensor(np.ones(3, np.float32), requires_grad=True)
        scale = mg.Tensor(2.0, requires_grad=True)
        assert scale.dtype == np.float64
        product = x * scale
        assert product.dtype == np.float32
        dx, ds = mg.grad(mg.sum(product), (x, scale))
        assert (dx.dtype, ds.dtype) == (np.float32, np.float64)
        assert ds.item() == 3.0

    def test_bounds_and_joined_numbers(self) -> None:
        x = mg.Tensor(np.ones(3, np.float32))
        for bound in (0.5, np.float64(0.5), 1):
            assert mg.clip(x, high=bound).dtype == np.float32
        first = x[0]
        for other in (1.0, 2, np.float64(1.0)):
            assert mg.stack([first, other]).dtype == np.float32
        assert mg.concatenate([x, [1.0, 2.0]]).dtype == np.float32

    def test_lists_beside_matrices(self) -> None:
        x = mg.Tensor(np.ones((2, 3), np.float32))
        for product in (x @ [1, 2, 3], mg.matmul([1.0, 2.0], x), mg.linear([[1.0, 2.0]], x, [0, 0, 0])):
            assert product.dtype == np.float32
        assert mg.matmul([1, 2], [3, 4]).item() == 11.0

    def test_lists_alone(self) -> None:
        assert mg.add([1.0, 2.0], [3, 4]).numpy().tolist() == [4, 6]
        assert mg.stack([[1.0, 2.0], [3.0, 4.0]]).numpy().tolist() == [[1, 2], [3, 4]]
        assert mg.where([True, False], [1.0, 2.0], [3.0, 4.0]).numpy().tolist() == [1, 4]

    def test_a_matrix_has_no_rules_of_its_own(self) -> None:
        with pytest.warns(PendingDeprecationWarning):
            m = np.matrix([[1.0, 2.0], [3.0, 4.0]])
        for product in (mg.multiply(m, m), mg.Tensor(m) * mg.Tensor(m), mg.Tensor(np.ones((2, 2))) * m * m):
            assert product.numpy().tolist() == [[1, 4], [9, 16]]

    def test_an_array_on_the_left(self) -> None:
        x = mg.Tensor(np.ones((2, 2)), requires_grad=True)
        a = np.array([[1.0, 2.0], [3.0, 4.0]])
        for result, expected in (
            (a + x, a + 1),
            (a - x, a - 1),
            (a * x, a),
            (a / x, a),
            (a @ x, a @ np.ones((2, 2))),
        ):
            assert isinstance(result, mg.Tensor)
            np.testing.assert_array_equal(result.numpy(), expected)

    def test_numbers_alone_are_float64(self) -> None:
        assert mg.exp(2).dtype == np.float64
        assert mg.add(1, 2.0).item() == 3.0
        assert isinstance(mg.multiply(2.0, 3.0), mg.Tensor)

    @pytest.mark.parametrize("data", [np.arange(3), np.array([True, False]), np.int32(3)], ids=repr)
    def test_integers_alone_where_a_real_number_is_needed(self, data: Any) -> None:
        with pytest.raises(ArgumentTypeError, match="real"):
            mg.exp(mg.Tensor(data))
        with pytest.raises(ArgumentTypeError, match="argument 1.*real"):
            mg.multiply(np.arange(3), 2.0)
        with pytest.raises(ArgumentTypeError, match="requires_grad"):
            mg.Tensor(data, requires_grad=True)

    @pytest.mark.parametrize("others", [np.arange(3), np.array([True, False, True]), np.uint8([0, 200, 255])])
    @pytest.mark.parametrize("operator", ["+", "-", "*", "/", "**"])
    def test_integers_beside_real_numbers_take_their_dtype(
        self, operator: str, others: Any, library: Any
    ) -> None:
        """To every order, as an array and as a Tensor, as a list would."""
        values = np.array([0.5, 1.5, 2.0], np.float32)

        def curvature(other: Any, on_the_left: bool) -> list[Any]:
            x = mg.Tensor(library.asarray(values), requires_grad=True)
            names = {"left": other, "right": x} if on_the_left else {"left": x, "right": other}
            y = eval(f"left {operator} right", names)
            assert y.dtype == np.float32
            (slope,) = mg.grad(mg.sum(y), x, create_graph=True)
            return [y.numpy(), slope.numpy(), mg.grad(mg.sum(slope), x)[0].numpy()]

        array = library.asarray(others)
        with np.errstate(all="ignore"):
            for on_the_left in (False, True):
                expected = curvature(library.asarray(others.astype(np.float32)), on_the_left)
                for other in (array, mg.Tensor(array)):
                    for ours, theirs in zip(curvature(other, on_the_left), expected, strict=True):
                        np.testing.assert_array_equal(ours, theirs)

    def test_masks_and_labels_beside_tensors(self) -> None:
        x = mg.Tensor(np.array([[1.0, -2.0, 3.0]], np.float32), requires_grad=True)
        three = np.arange(3)
        results = [
            x * (x > 0), x @ three, mg.where(x > 0, x, three), mg.stack([x[0], [1, 2, 3]]),
            mg.concatenate([x[0], three]), mg.linear(x, np.eye(3, dtype=int), three), mg.maximum(three, x),
            mg.einsum("ij,j->i", x, three),
        ]  # fmt: skip
        for result in results:
            assert result.dtype == np.float32
            assert result.requires_grad
        assert mg.sum(x[0, :2] * np.array([1, -1])).item() == 3.0
        with pytest.raises(BackendError, match="argument 2 must be a numpy array"):
            mg.multiply(x, backend.get("strict").asarray(np.arange(3)))

    def test_integers_that_are_written_to_after_their_use(self) -> None:
        x, mask = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor(np.array([1, 0]))
        y = mg.sum(x * mask)
        mask.data[...] = 5
        assert mg.grad(y, x)[0].numpy().tolist() == [1, 0]

    def test_integers_may_be_moved_about(self) -> None:
        labels = mg.Tensor(np.arange(6))
        assert labels.reshape(2, 3).T[1].numpy().tolist() == [1, 4]

    @pytest.mark.parametrize(
        "operand", ["a", None, object(), 1j, np.array("a")], ids=lambda operand: type(operand).__name__
    )
    def test_what_is_no_number(self, operand: Any) -> None:
        with pytest.raises(TypeError):
            mg.Tensor([1.0]) + operand


class TestKinks:
    """At a tie the first candidate gets the whole gradient; |x|, relu and sign are flat at 0."""

    def test_ties(self) -> None:
        x = mg.Tensor([1.0, 2.0, 2.0], requires_grad=True)
        assert mg.grad(mg.max(x), x)[0].numpy().tolist() == [0, 1, 0]
        table = mg.Tensor([[3.0, 1.0], [3.0, 3.0]], requires_grad=True)
        assert mg.grad(mg.max(table), table)[0].numpy().tolist() == [[1, 0], [0, 0]]
        assert mg.grad(mg.sum(mg.max(table, 0)), table)[0].numpy().tolist() == [[1, 0], [0, 1]]
        a, b = (mg.Tensor([5.0], requires_grad=True) for _ in range(2))
        for function in (mg.maximum, mg.minimum):
            assert [g.item() for g in mg.grad(function(a, b), (a, b))] == [1.0, 0.0]
        z = mg.Tensor(np.zeros((1, 6)), requires_grad=True)
        assert mg.grad(mg.sum(mg.maxout(z, 3)), z)[0].numpy().tolist() == [[1, 1, 0, 0, 0, 0]]

    @given(hnp.arrays(np.float64, (3, 6), elements=st.sampled_from([-1.0, 0.0, 0.0, 1.0])))
    def test_the_gradients_at_a_tie_sum_to_the_upstream_gradient(self, values: np.ndarray) -> None:
        x = mg.Tensor(values, requires_grad=True)
        g = np.arange(1.0, 4.0)
        (dx,) = mg.grad(mg.max(x, 1), x, gradient=g)
        np.testing.assert_array_equal(dx.numpy().sum(1), g)
        g2 = np.arange(6.0).reshape(3, 2)
        (dx,) = mg.grad(mg.maxout(x, 3), x, gradient=g2)
        np.testing.assert_array_equal(dx.numpy().reshape(3, 3, 2).sum(1), g2)

    def test_flat_at_zero(self) -> None:
        x = mg.Tensor([0.0, -0.0], requires_grad=True)
        for function in (mg.abs, mg.relu):
            assert mg.grad(mg.sum(function(x)), x)[0].numpy().tolist() == [0, 0]
        assert not mg.sign(x).requires_grad

    def test_norm_and_std_are_flat_where_they_have_a_kink(self) -> None:
        """At every order."""
        for function in (mg.norm, mg.std):
            x = mg.Tensor([0.0, 0.0, 0.0], requires_grad=True)
            (slope,) = mg.grad(function(x), x, create_graph=True)
            (curvature,) = mg.grad(mg.sum(slope), x)
            assert slope.numpy().tolist() == curvature.numpy().tolist() == [0, 0, 0]
        rows = mg.Tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
        (slope,) = mg.grad(mg.sum(mg.norm(rows, axis=1)), rows)
        np.testing.assert_allclose(slope.numpy(), [[0, 0], [0.6, 0.8]])

    def test_clip_to_arrays_is_maximum_and_minimum(self) -> None:
        x = mg.Tensor([-2.0, -1.0, 0.0, 5.0, np.nan], requires_grad=True)
        low = mg.Tensor([-1.0, -1.0, 2.0, 0.0, 0.0], requires_grad=True)
        high = mg.Tensor(1.0, requires_grad=True)
        y = mg.clip(x, low, high)
        np.testing.assert_array_equal(y.numpy(), [-1, -1, 1, 1, np.nan])
        dx, dlow, dhigh = mg.grad(mg.sum(y), (x, low, high))
        assert dx.numpy().tolist() == [0, 1, 0, 0, 1]
        assert dlow.numpy().tolist() == [1, 0, 0, 0, 0]
        assert dhigh.item() == 2.0

    def test_clip_passes_the_gradient_at_its_bounds(self) -> None:
        x = mg.Tensor([-2.0, -1.0, 0.0, 1.0, 2.0], requires_grad=True)
        assert mg.grad(mg.sum(mg.clip(x, -1.0, 1.0)), x)[0].numpy().tolist() == [0, 1, 1, 1, 0]

    @pytest.mark.parametrize("bounds", [(1.0, -1.0), (float("nan"), 1.0), ("a", None)])
    def test_bounds_that_make_no_sense(self, bounds: Any) -> None:
        with pytest.raises((ArgumentError, ArgumentTypeError), match="low"):
            mg.clip([1.0], *bounds)

    def test_powers_of_a_number(self) -> None:
        for base, slope in ((0.0, 0.0), (1.0, 0.0), (2.0, 8 * np.log(2))):
            n = mg.Tensor(3.0, requires_grad=True)
            assert mg.grad(base**n, n)[0].item() == pytest.approx(slope)
        n = mg.Tensor(2.0, requires_grad=True)
        assert np.isnan(mg.grad((-2.0) ** n, n)[0].item())

    def test_powers_at_zero(self) -> None:
        for exponent, expected in ((0, 0.0), (1, 1.0), (2, 0.0), (3.0, 0.0)):
            x = mg.Tensor(0.0, requires_grad=True)
            n = mg.Tensor(float(exponent), requires_grad=True)
            assert mg.grad(x**exponent, x)[0].item() == expected
            dx, dn = mg.grad(x**n, (x, n))
            assert dx.item() == expected
            assert dn.item() == 0.0 or exponent == 0


class TestProducts:
    @pytest.mark.parametrize("zeros", [0, 1, 2, 3])
    def test_zeros_are_right_at_every_order(self, zeros: int) -> None:
        """∂³(∏x)/∂xᵢ∂xⱼ∂xₖ is the product of the others, whatever is 0."""
        values = np.array([0.0] * zeros + [2.0, 3.0, 5.0, 7.0, 11.0])[:5]
        x = mg.Tensor(values, requires_grad=True)
        (first,) = mg.grad(mg.prod(x), x, create_graph=True)
        (second,) = mg.grad(first[1], x, create_graph=True)
        (third,) = mg.grad(second[3], x)
        for i in range(5):
            for chosen, found in (({i}, first), ({1, i}, second), ({1, 3, i}, third)):
                distinct = len(chosen) == {first: 1, second: 2, third: 3}[found]
                expected = np.prod([v for j, v in enumerate(values) if j not in chosen]) if distinct else 0.0
                assert found.numpy()[i] == expected

    def test_nothing_and_one(self) -> None:
        none = mg.Tensor(np.zeros((0, 3)), requires_grad=True)
        assert mg.prod(none, 0).numpy().tolist() == [1, 1, 1]
        assert mg.grad(mg.sum(mg.prod(none, 0)), none)[0].shape == (0, 3)
        assert mg.prod(2.0).item() == 2.0

    def test_two_infinities_are_equally_great_to_logaddexp(self) -> None:
        for value in (np.inf, -np.inf, 3.0):
            x = mg.Tensor(value, requires_grad=True)
            assert mg.grad(mg.logaddexp(x, value), x)[0].item() == 0.5
        x = mg.Tensor([1e4, -1e4], requires_grad=True)
        assert mg.grad(mg.sum(mg.logaddexp(x, 0.0)), x)[0].numpy().tolist() == [1, 0]

    def test_a_long_cumulative_sum_keeps_its_digits(self) -> None:
        assert mg.cumsum(np.ones(2**24 + 10, np.float32))[-1].item() == 2**24 + 10

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_norm_of_numbers_whose_squares_are_none(self, scale: float) -> None:
        x = mg.Tensor(np.array([3 * scale, 4 * scale], np.float32), requires_grad=True)
        assert mg.norm(x).item() == pytest.approx(5 * scale)
        np.testing.assert_allclose(mg.grad(mg.norm(x), x)[0].numpy(), [0.6, 0.8], rtol=1e-6)

    def test_norm_of_infinite_numbers(self) -> None:
        assert mg.norm([np.inf, 1.0]).item() == np.inf
        assert np.isnan(mg.norm([np.nan, 1.0]).item())


class TestFarFromZero:
    def test_squashing_functions_neither_overflow_nor_lose_their_slope(self) -> None:
        x = mg.Tensor(np.array([-1e4, -50.0, 50.0, 1e4], np.float32), requires_grad=True)
        for function in (mg.sigmoid, mg.softplus, mg.tanh):
            assert np.isfinite(function(x).numpy()).all()
        (slope,) = mg.grad(mg.sum(mg.sigmoid(x)), x)
        np.testing.assert_allclose(slope.numpy()[1:3], np.exp(-50.0), rtol=1e-5)

    def test_logsumexp_of_infinities(self) -> None:
        assert mg.logsumexp([-np.inf, -np.inf]).item() == -np.inf
        assert mg.logsumexp([np.inf, 0.0]).item() == np.inf
        assert mg.logsumexp([-np.inf, 3.0]).item() == 3.0
        assert mg.logsumexp([1e4, 1e4]).item() == pytest.approx(1e4 + np.log(2))

    def test_the_recipe_for_a_branch_that_is_not_taken(self) -> None:
        x = mg.Tensor([0.0, 1.0], requires_grad=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            (naive,) = mg.grad(mg.sum(mg.where(x > 0, mg.log(x), 0.0)), x)
        assert np.isnan(naive.numpy()[0])
        (sound,) = mg.grad(mg.sum(mg.where(x > 0, mg.log(mg.where(x > 0, x, 1.0)), 0.0)), x)
        assert sound.numpy().tolist() == [0.0, 1.0]


class TestCosts:
    @pytest.mark.parametrize("right", [True, False])
    def test_finite_at_logits_of_ten_thousand(self, right: bool) -> None:
        z = mg.Tensor(np.array([[1e4, -1e4, 0.0]], np.float32), requires_grad=True)
        cost = mg.softmax_cross_entropy(z, [0 if right else 1])
        assert cost.item() == (0.0 if right else 2e4)
        assert np.isfinite(mg.grad(cost, z)[0].numpy()).all()
        z = mg.Tensor(np.array([1e4], np.float32), requires_grad=True)
        cost = mg.logistic_cost(z, [1 if right else -1])
        assert cost.item() == (0.0 if right else 1e4)
        assert np.isfinite(mg.grad(cost, z)[0].numpy()).all()

    def test_the_true_classs_gradient_survives_a_margin_of_50_in_float32(self) -> None:
        z = mg.Tensor(np.array([[50.0, 0.0, 0.0]], np.float32), requires_grad=True)
        cost = mg.softmax_cross_entropy(z, [0])
        expected = 2 * np.exp(-50.0)
        assert cost.item() == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(mg.grad(cost, z)[0].numpy()[0, 0], -expected, rtol=1e-5)
        z = mg.Tensor(np.array([50.0], np.float32), requires_grad=True)
        (slope,) = mg.grad(mg.logistic_cost(z, [1]), z)
        np.testing.assert_allclose(slope.numpy(), -np.exp(-50.0), rtol=1e-5)

    @given(
        hnp.arrays(np.float64, (4, 3), elements=st.floats(-50, 50)),
        st.lists(st.integers(0, 2), min_size=4, max_size=4),
    )
    def test_cross_entropy_is_log_softmax_at_the_label(self, z: np.ndarray, labels: list[int]) -> None:
        cost = mg.softmax_cross_entropy(z, labels, reduction="none").numpy()
        np.testing.assert_allclose(cost, -mg.log_softmax(z).numpy()[range(4), labels], rtol=1e-9, atol=1e-12)
        leaf = mg.Tensor(z, requires_grad=True)
        (slope,) = mg.grad(mg.softmax_cross_entropy(leaf, labels, reduction="sum"), leaf)
        one_hot = np.eye(3)[labels]
        np.testing.assert_allclose(slope.numpy(), _softmax(z) - one_hot, atol=1e-12)

    @pytest.mark.parametrize(
        ("labels", "error"),
        [([0, 3], ArgumentError), ([0, -1], ArgumentError), ([0], ArgumentError), ([[0, 1]], ArgumentError),
         ([0.0, 1.0], ArgumentTypeError)],
    )  # fmt: skip
    def test_labels_that_do_not_fit(self, labels: list[Any], error: type[Exception]) -> None:
        with pytest.raises(error, match="labels"):
            mg.softmax_cross_entropy(np.zeros((2, 3)), labels)

    def test_labels_of_the_logistic_cost(self) -> None:
        with pytest.raises(ArgumentError, match="-1 or \\+1"):
            mg.logistic_cost(np.zeros(2), [0, 1])
        with pytest.raises(ArgumentError, match="shape"):
            mg.logistic_cost(np.zeros(2), [1])

    def test_an_unknown_reduction(self) -> None:
        with pytest.raises(ArgumentError, match="reduction must be one of mean, sum, none, got 'avg'"):
            mg.softmax_cross_entropy(np.zeros((1, 2)), [0], reduction="avg")

    def test_no_examples(self) -> None:
        none = np.zeros((0, 3)), np.zeros(0, int)
        assert mg.softmax_cross_entropy(*none, reduction="sum").item() == 0.0
        assert mg.softmax_cross_entropy(*none, reduction="none").shape == (0,)
        with pytest.raises(ArgumentError, match="at least one example"):
            mg.softmax_cross_entropy(*none)


class TestEmpty:
    """Nothing in, nothing out, and a gradient of the input's shape."""

    @pytest.mark.parametrize(
        ("function", "shape"),
        [
            (lambda x: mg.max(x, 1), (0, 3)),
            (lambda x: mg.max(mg.reshape(x, (0, 2, 2)), (1, 2)), (0, 4)),
            (lambda x: mg.maxout(x, 2), (0, 4)),
            (lambda x: mg.logsumexp(x, -1), (0, 3)),
            (mg.softmax, (0, 3)),
            (lambda x: x @ np.ones((3, 2)), (0, 3)),
            (lambda x: x @ np.ones((0, 2)), (3, 0)),
            (lambda x: x @ np.ones((2, 0, 4)), (3, 0)),
            (lambda x: np.ones((2, 3, 0)) @ x, (0, 4)),
            (lambda x: x @ np.ones(0), (0,)),
            (lambda x: mg.linear(x, np.ones((3, 2)), np.ones(2)), (0, 3)),
            (lambda x: x[np.zeros(0, int)], (3,)),
            (lambda x: mg.concatenate([x, np.ones((2, 3))]), (0, 3)),
        ],
    )
    def test_axes_of_length_zero(self, function: Any, shape: tuple[int, ...]) -> None:
        x = mg.Tensor(np.zeros(shape), requires_grad=True)
        y = function(x)
        (g,) = mg.grad(y, x, gradient=np.ones(y.shape))
        assert g.shape == shape


class TestLinear:
    def test_is_a_product_and_a_sum(self, library: Any) -> None:
        x, W, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
        np.testing.assert_allclose(mg.linear(*map(library.asarray, (x, W, b))).numpy(), x @ W + b)
        check_gradients(mg.linear, x, W, b, order=2)

    @pytest.mark.parametrize(
        ("shapes", "name"),
        [(((5, 4), (3, 2), (2,)), "x"), (((3,), (3, 2), (2,)), "x"), (((5, 3), (3,), (2,)), "W"),
         (((5, 3), (3, 2), (3,)), "b")],
    )  # fmt: skip
    def test_shapes_that_do_not_fit(self, shapes: Any, name: str) -> None:
        with pytest.raises(ArgumentError, match=f"^{name} must"):
            mg.linear(*(np.zeros(shape) for shape in shapes))


class TestMaxoutAndDropout:
    def test_pieces_that_do_not_divide(self) -> None:
        with pytest.raises(ArgumentError, match="pieces"):
            mg.maxout(np.zeros((2, 7)), 3)
        with pytest.raises(ArgumentTypeError, match="pieces"):
            mg.maxout(np.zeros((2, 6)), 1.5)

    def test_many_pieces(self) -> None:
        z = rng.normal(size=(2, 300))
        np.testing.assert_array_equal(mg.maxout(z, 150).numpy(), z.reshape(2, 150, 2).max(1))
        check_gradients(lambda t: mg.maxout(t, 150), z, order=2)

    def test_dropout_keeps_the_share_and_the_mean(self, library: Any) -> None:
        x = library.asarray(np.ones((200, 200), np.float32))
        for keep, scale in ((0.5, None), (0.8, 1.0)):
            y = mg.dropout(x, keep=keep, generator=np.random.default_rng(0), scale=scale).numpy()
            assert y.dtype == np.float32
            assert set(np.unique(y)) == {0.0, np.float32(1 / keep if scale is None else scale)}
            assert np.mean(y > 0) == pytest.approx(keep, abs=0.01)

    def test_dropouts_mask_follows_the_seed(self) -> None:
        def mask(seed: int) -> np.ndarray:
            return mg.dropout(np.ones(100), generator=np.random.default_rng(seed)).numpy()

        np.testing.assert_array_equal(mask(1), mask(1))
        assert (mask(1) != mask(2)).any()

    def test_dropouts_gradient_has_the_same_mask(self) -> None:
        x = mg.Tensor(np.ones(50), requires_grad=True)
        y = mg.dropout(x, keep=0.3, generator=np.random.default_rng(0))
        np.testing.assert_array_equal(mg.grad(mg.sum(y), x)[0].numpy(), y.numpy())

    @pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
    def test_impossible_probabilities(self, keep: float) -> None:
        with pytest.raises(ArgumentError, match="keep"):
            mg.dropout(np.ones(3), keep=keep, generator=np.random.default_rng(0))

    def test_dropout_of_integers(self) -> None:
        with pytest.raises(ArgumentTypeError, match="x must be real"):
            mg.dropout(np.arange(3), generator=np.random.default_rng(0))


class TestIndexing:
    def test_out_of_range(self, library: Any) -> None:
        x = mg.Tensor(library.asarray(np.zeros((3, 2))))
        for index in (3, [0, 5], (slice(None), [0, -3])):
            with pytest.raises(IndexError):
                x[index]

    def test_a_repeated_index_accumulates(self, library: Any) -> None:
        x = mg.Tensor(library.asarray(np.zeros(3)), requires_grad=True)
        (g,) = mg.grad(mg.sum(x[[0, 2, 0, 0]]), x)
        assert g.numpy().tolist() == [3, 0, 1]

    def test_a_tensor_as_index(self) -> None:
        x = mg.Tensor([10.0, 20.0, 30.0])
        assert x[mg.Tensor(np.array([2, 0]))].numpy().tolist() == [30, 10]
        assert x[x > 15.0].numpy().tolist() == [20, 30]
        assert x[[]].shape == (0,)

    def test_iteration_unpacks_the_first_axis(self) -> None:
        a, b = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
        assert (a.numpy().tolist(), b.numpy().tolist()) == ([1, 2], [3, 4])


class TestCalls:
    def test_options_by_name_or_by_position(self) -> None:
        x = np.arange(6.0).reshape(2, 3)
        for result in (mg.sum(x, 0), mg.sum(x, axis=0), mg.sum(axis=0, x=x), mg.sum(x, 0, False)):
            assert result.numpy().tolist() == [3, 5, 7]
        assert mg.add(x=1.0, y=2.0).item() == 3.0

    @pytest.mark.parametrize(
        "call",
        [lambda: mg.sum(), lambda: mg.sum([1.0], axes=0), lambda: mg.sum([1.0], 0, axis=0),
         lambda: mg.sum([1.0], 0, False, 1), lambda: mg.exp(), lambda: mg.add(1.0), lambda: mg.exp(1.0, 2.0)],
    )  # fmt: skip
    def test_wrong_calls_are_type_errors(self, call: Any) -> None:
        with pytest.raises(TypeError):
            call()

    def test_nothing_to_join(self) -> None:
        with pytest.raises(ArgumentError, match="arrays"):
            mg.stack([])

    def test_shapes_that_do_not_multiply(self) -> None:
        with pytest.raises(ArgumentError, match=r"\(2, 3\) and \(2, 3\)"):
            mg.matmul(np.zeros((2, 3)), np.zeros((2, 3)))
        with pytest.raises(ArgumentError, match="matmul"):
            mg.matmul(np.float64(1.0), np.zeros(3))


def test_maxout_with_a_nan_beside_a_tie() -> None:
    z = mg.Tensor([[np.nan, 1.0, 0.0, 1.0]], requires_grad=True)
    np.testing.assert_array_equal(mg.grad(mg.sum(mg.maxout(z, 2)), z)[0].numpy(), [[1, 1, 0, 0]])
