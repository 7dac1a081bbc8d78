"""Every operation: its value is NumPy's, its gradients are the numeric ones, its dtype is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError
from tests.gradients import check_gradients

rng = np.random.default_rng(7)
# Away from the kinks at 0 and ±1, and from ties.
REAL = rng.permutation(np.linspace(-2.3, 2.4, 12)).reshape(3, 4)
POSITIVE = np.abs(REAL) + 0.3


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


UNARY = {
    "negative": (mg.negative, np.negative, REAL),
    "exp": (mg.exp, np.exp, REAL),
    "expm1": (mg.expm1, np.expm1, REAL),
    "log": (mg.log, np.log, POSITIVE),
    "log1p": (mg.log1p, np.log1p, POSITIVE),
    "sqrt": (mg.sqrt, np.sqrt, POSITIVE),
    "abs": (mg.abs, np.abs, REAL),
    "tanh": (mg.tanh, np.tanh, REAL),
    "sigmoid": (mg.sigmoid, lambda x: 1 / (1 + np.exp(-x)), REAL),
    "softplus": (mg.softplus, lambda x: np.log1p(np.exp(x)), REAL),
    "relu": (mg.relu, lambda x: np.maximum(x, 0), REAL),
    "clip": (lambda x: mg.clip(x, -1.0, 1.0), lambda x: np.clip(x, -1, 1), REAL),
    "clip below": (lambda x: mg.clip(x, high=0.5), lambda x: np.minimum(x, 0.5), REAL),
    "square": (lambda x: x**2, np.square, REAL),
    "to the 0": (lambda x: x**0, np.ones_like, REAL),
    "to the -1.5": (lambda x: x**-1.5, lambda x: x**-1.5, POSITIVE),
    "2 to the": (lambda x: 2.0**x, lambda x: 2.0**x, REAL),
    "sum": (mg.sum, np.sum, REAL),
    "sum 0": (lambda x: mg.sum(x, 0), lambda x: x.sum(0), REAL),
    "sum -1 keep": (lambda x: x.sum(-1, keepdims=True), lambda x: x.sum(-1, keepdims=True), REAL),
    "sum both": (lambda x: x.sum((0, -1)), lambda x: x.sum((0, -1)), REAL),
    "mean": (mg.mean, np.mean, REAL),
    "mean 1": (lambda x: x.mean(axis=1), lambda x: x.mean(1), REAL),
    "max": (mg.max, np.max, REAL),
    "min 1": (lambda x: x.min(1), lambda x: x.min(1), REAL),
    "min": (mg.min, np.min, REAL),
    "max -2 keep": (lambda x: x.max(-2, True), lambda x: x.max(-2, keepdims=True), REAL),
    "max tuple": (
        lambda x: mg.max(mg.reshape(x, (2, 3, 2)), (2, 0)),
        lambda x: x.reshape(2, 3, 2).max((0, 2)),
        REAL,
    ),
    "logsumexp": (mg.logsumexp, lambda x: np.log(np.exp(x).sum()), REAL),
    "logsumexp 0 keep": (
        lambda x: mg.logsumexp(x, 0, keepdims=True),
        lambda x: np.log(np.exp(x).sum(0, keepdims=True)),
        REAL,
    ),
    "softmax": (mg.softmax, _softmax, REAL),
    "softmax 0": (lambda x: mg.softmax(x, 0), lambda x: _softmax(x, 0), REAL),
    "log_softmax": (mg.log_softmax, lambda x: np.log(_softmax(x)), REAL),
    "reshape": (lambda x: x.reshape(2, -1), lambda x: x.reshape(2, -1), REAL),
    "transpose": (lambda x: x.T, np.transpose, REAL),
    "transpose axes": (
        lambda x: mg.transpose(x.reshape(3, 2, 2), (1, -1, 0)),
        lambda x: x.reshape(3, 2, 2).transpose(1, 2, 0),
        REAL,
    ),
    "broadcast_to": (lambda x: mg.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4)), REAL),
    "slice": (lambda x: x[1:, ::-2], lambda x: x[1:, ::-2], REAL),
    "row": (lambda x: x[-1], lambda x: x[-1], REAL),
    "element": (lambda x: x[1, 2], lambda x: x[1, 2], REAL),
    "new axis": (lambda x: x[:, None, ..., 0], lambda x: x[:, None, ..., 0], REAL),
    "gather twice": (lambda x: x[[0, 0, 2]], lambda x: x[[0, 0, 2]], REAL),
    "gather pairs": (lambda x: x[[0, 1, 0], [3, 3, 3]], lambda x: x[[0, 1, 0], [3, 3, 3]], REAL),
    "boolean": (lambda x: x[np.eye(3, 4) > 0], lambda x: x[np.eye(3, 4) > 0], REAL),
    "maxout": (lambda x: mg.maxout(x, 2), lambda x: x.reshape(3, 2, 2).max(1), REAL),
    "cross-entropy": (
        lambda x: mg.softmax_cross_entropy(x, [0, 3, 1]),
        lambda x: -np.log(_softmax(x))[[0, 1, 2], [0, 3, 1]].mean(),
        REAL,
    ),
    "cross-entropies": (
        lambda x: mg.softmax_cross_entropy(x, [0, 3, 1], reduction="none"),
        lambda x: -np.log(_softmax(x))[[0, 1, 2], [0, 3, 1]],
        REAL,
    ),
    "logistic": (
        lambda x: mg.logistic_cost(x[:, 0], [-1, 1, 1], reduction="sum"),
        lambda x: np.log1p(np.exp(-np.array([-1, 1, 1]) * x[:, 0])).sum(),
        REAL,
    ),
    "copy": (mg.copy, np.copy, REAL),
}  # fmt: skip

OTHER = rng.permutation(np.linspace(-1.9, 2.2, 4))
BINARY = {
    "add": (mg.add, np.add, REAL, OTHER),
    "subtract": (mg.subtract, np.subtract, REAL, OTHER[:1]),
    "multiply": (mg.multiply, np.multiply, REAL[:1], REAL[:, :1]),
    "divide": (mg.divide, np.divide, OTHER, REAL),
    "power": (mg.power, np.power, POSITIVE, OTHER),
    "maximum": (mg.maximum, np.maximum, REAL, OTHER),
    "minimum": (mg.minimum, np.minimum, REAL, OTHER[0]),
    "where": (
        lambda x, y: mg.where(backend.of(x.data).asarray(np.eye(3, 4) > 0), x, y),
        lambda x, y: np.where(np.eye(3, 4) > 0, x, y),
        REAL,
        OTHER,
    ),
    "concatenate": (
        lambda x, y: mg.concatenate([x, y, x], axis=-1),
        lambda x, y: np.concatenate([x, y, x], axis=-1),
        REAL,
        REAL[:, 1:],
    ),
    "stack": (lambda x, y: mg.stack([x, y], 1), lambda x, y: np.stack([x, y], 1), REAL, REAL + 1),
    "stack last": (lambda x, y: mg.stack([x, y], -1), lambda x, y: np.stack([x, y], -1), REAL, REAL + 1),
}
MATMUL_SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((3,), (2, 3, 4)),
    ((2, 2, 3), (3,)),
    ((2, 2, 3), (3, 4)),
    ((2, 3), (2, 3, 4)),
    ((2, 1, 2, 3), (3, 3, 2)),
]
for left, right in MATMUL_SHAPES:
    BINARY[f"matmul {left} {right}"] = (
        mg.matmul,
        np.matmul,
        rng.normal(size=left),
        rng.normal(size=right),
    )
CASES = {**UNARY, **BINARY}


@pytest.mark.parametrize("name", CASES)
class TestEveryOperation:
    def test_value_is_numpys(self, name: str, library: Any) -> None:
        function, reference, *inputs = CASES[name]
        result = function(*(mg.Tensor(library.asarray(x)) for x in inputs))
        expected = reference(*inputs)
        assert isinstance(result, mg.Tensor)
        assert isinstance(result.data, library.array_type)
        assert result.shape == np.shape(expected)
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12)

    def test_gradients_are_the_numeric_ones(self, name: str, library: Any) -> None:
        function, _, *inputs = CASES[name]
        check_gradients(function, *inputs)

    def test_float32_stays_float32(self, name: str, library: Any) -> None:
        function, _, *inputs = CASES[name]
        leaves = [mg.Tensor(library.asarray(x, np.float32), requires_grad=True) for x in inputs]
        output = function(*leaves)
        assert output.dtype == np.float32
        for gradient in mg.grad(output, leaves, gradient=library.xp.ones_like(output.data)):
            assert gradient.dtype == np.float32

    def test_inputs_and_cotangent_are_not_written_and_nothing_is_shared(
        self, name: str, library: Any
    ) -> None:
        function, _, *inputs = CASES[name]
        leaves = [mg.Tensor(library.xp.array(library.asarray(x)), requires_grad=True) for x in inputs]
        output = function(*leaves)
        cotangent = library.asarray(rng.normal(size=output.shape))
        before = [mg.Tensor(t).numpy().copy() for t in (*leaves, output, cotangent)]
        if library.name == "numpy":
            cotangent.flags.writeable = False
        gradients = mg.grad(output, leaves, gradient=cotangent, retain_graph=True)
        output.backward(cotangent)
        after = [mg.Tensor(t).numpy() for t in (*leaves, output, cotangent)]
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old, new)
        arrays = [g.data for g in gradients] + [leaf.grad for leaf in leaves]
        others = [leaf.data for leaf in leaves] + [cotangent, output.data]
        for i, array in enumerate(arrays):
            for other in arrays[:i] + others:
                assert not library.xp.shares_memory(array, other)

    def test_any_layout_of_the_inputs(self, name: str, library: Any) -> None:
        function, reference, *inputs = CASES[name]
        views = [
            library.asarray(np.repeat(x, 2, axis=-1))[..., ::2] if np.ndim(x) else library.asarray(x)
            for x in inputs
        ]
        fortran = [library.xp.asfortranarray(library.asarray(x)) for x in inputs]
        for arrays in (views, fortran):
            result = function(*map(mg.Tensor, arrays))
            np.testing.assert_allclose(result.numpy(), reference(*inputs), rtol=1e-12)


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0), data=st.data()
)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum", "power"])
def test_a_gradient_has_its_inputs_shape_under_every_broadcast(
    library: Any, name: str, shapes: Any, data: Any
) -> None:
    left, right = (rng.uniform(0.5, 2.0, size=shape) for shape in shapes.input_shapes)
    function, reference = CASES[name][:2]
    x, y = (mg.Tensor(library.asarray(a), requires_grad=True) for a in (left, right))
    output = function(x, y)
    assert output.shape == shapes.result_shape
    np.testing.assert_allclose(output.numpy(), reference(left, right))
    dx, dy = mg.grad(output, (x, y), gradient=library.xp.ones(output.shape))
    assert dx.shape == left.shape
    assert dy.shape == right.shape
    if name == "add":  # each element's gradient is the number of places it was repeated to
        for gradient in (dx, dy):
            if gradient.size:
                np.testing.assert_array_equal(gradient.numpy(), output.size / gradient.size)


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
        with pytest.raises(ArgumentTypeError, match="argument 2 must be real"):
            mg.concatenate([x, np.arange(3)])

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
    def test_integers_where_a_real_number_is_needed(self, data: Any) -> None:
        with pytest.raises(ArgumentTypeError, match="real"):
            mg.exp(mg.Tensor(data))
        with pytest.raises(ArgumentTypeError, match="argument 2.*real"):
            mg.multiply(np.ones(3), np.arange(3))
        with pytest.raises(ArgumentTypeError, match="requires_grad"):
            mg.Tensor(data, requires_grad=True)

    def test_integers_may_be_moved_about(self) -> None:
        labels = mg.Tensor(np.arange(6))
        assert labels.reshape(2, 3).T[1].numpy().tolist() == [1, 4]

    @pytest.mark.parametrize("operand", ["a", None, object(), 1j, np.array("a")], ids=repr)
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
        check_gradients(mg.linear, x, W, b)
        check_gradients(mg.linear, rng.normal(size=(2, 2, 3)), W, b)

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
        check_gradients(lambda t: mg.maxout(t, 150), z)

    def test_dropout_keeps_the_share_and_the_mean(self, library: Any) -> None:
        x = library.asarray(np.ones((200, 200), np.float32))
        for keep, scale in ((0.5, None), (0.8, 1.0)):
            y = mg.dropout(x, keep, generator=np.random.default_rng(0), scale=scale).numpy()
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
        y = mg.dropout(x, 0.3, generator=np.random.default_rng(0))
        np.testing.assert_array_equal(mg.grad(mg.sum(y), x)[0].numpy(), y.numpy())

    @pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
    def test_impossible_probabilities(self, keep: float) -> None:
        with pytest.raises(ArgumentError, match="keep"):
            mg.dropout(np.ones(3), keep, generator=np.random.default_rng(0))

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
