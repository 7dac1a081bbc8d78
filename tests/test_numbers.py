"""Numbers at the edges: guarded points, rounded results, ranges, long sums, infinities and NaN."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operations import maxout_units
from tests.declarations import OPERATIONS, Case, Operation
from tests.properties import numbers

CONTINUOUS = [operation for operation in OPERATIONS if operation.differentiable]


def slopes(function: Any, *arrays: Any, gradient: Any = None) -> list[np.ndarray]:
    leaves = [mg.Tensor(x, requires_grad=True) for x in arrays]
    y = function(*leaves)
    gradient = np.ones(y.shape, y.dtype) if gradient is None else gradient
    return [g.numpy() for g in mg.grad(y, leaves, gradient=gradient)]


# ---- ranges


@pytest.mark.parametrize("operation", CONTINUOUS, ids=lambda operation: operation.name)
@given(data=st.data())
def test_a_share_is_right_where_it_and_the_derivative_are_in_range(operation: Operation, data: Any) -> None:
    case = data.draw(operation.inputs)
    scales = [2.0 ** data.draw(st.integers(-60, 60)) for _ in case.arrays]
    upstream = 2.0 ** data.draw(st.integers(-60, 100))
    arrays = [(x * scale).astype(np.float32) for x, scale in zip(case.arrays, scales, strict=True)]
    if operation.name in ("_spread", "_select", "prod"):  # products of the others may overflow
        arrays = [x.astype(np.float32) for x in case.arrays]

    def call(*leaves: Any) -> mg.Tensor:
        return operation.function(*leaves, **case.options)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide = [x.astype(np.float64) for x in arrays]
        z = call(*map(mg.Tensor, wide)).numpy()
        g = numbers(z.shape).astype(np.float32)
        assume(np.isfinite(z).all() and np.abs(z).max(initial=0.0) < 1e38)
        derivative = slopes(call, *wide, gradient=g.astype(float))
        found = slopes(call, *arrays, gradient=(g * np.float32(upstream)))
    for ours, one in zip(found, derivative, strict=True):
        right = one * upstream
        if all((np.abs(a[a != 0]) > 1e-30).all() and (np.abs(a) < 1e36).all() for a in (one, right)):
            assert np.isfinite(ours).all()
            np.testing.assert_allclose(ours, right, rtol=1e-3, atol=1e-3 * np.abs(right).max(initial=0.0))


def test_a_quotient_of_large_numbers() -> None:
    found = slopes(mg.divide, np.float32([1e19]), np.float32([1e10]), gradient=np.float32([1e30]))
    np.testing.assert_allclose([g[0] for g in found], [1e20, -1e29], rtol=1e-6)


# ---- rounded results


def test_slopes_where_the_result_rounds() -> None:
    x = np.float32([-9.0109138, 12.0, 0.0, 1e-4])
    np.testing.assert_allclose(slopes(mg.tanh, x)[0], np.cosh(x.astype(float)) ** -2, rtol=1e-6)
    for orders in (2, 3, 4):  # 0 at 0 has derivatives of its own: −2 at the third order
        t = mg.Tensor(0.0, requires_grad=True)
        y = mg.tanh(t)
        for _ in range(orders):
            (y,) = mg.grad(y, t, create_graph=True)
        assert y.item() == {2: 0.0, 3: -2.0, 4: 0.0}[orders]
    np.testing.assert_array_equal(slopes(mg.logsumexp, np.float32([1e7, 1e7]))[0], [0.5, 0.5])


def sigmoid_slope(x: Any) -> Any:
    return 0.25 * np.cosh(x / 2) ** -2


# Functions of one number, and their derivatives written so that nothing cancels.
DERIVATIVES: dict[str, tuple[Any, list[Any]]] = {
    "sigmoid": (mg.sigmoid, [sigmoid_slope, lambda x: -np.tanh(x / 2) * sigmoid_slope(x)]),
    "softplus": (
        mg.softplus,
        [lambda x: np.exp(-np.logaddexp(0, -x)), sigmoid_slope, lambda x: -np.tanh(x / 2) * sigmoid_slope(x)],
    ),
    "logistic_cost": (
        lambda x: mg.logistic_cost(mg.reshape(x, (1,)), [1]),
        [lambda x: -np.exp(-np.logaddexp(0, x)), sigmoid_slope, lambda x: -np.tanh(x / 2) * sigmoid_slope(x)],
    ),
    "tanh": (mg.tanh, [lambda x: np.cosh(x) ** -2, lambda x: -2 * np.tanh(x) * np.cosh(x) ** -2]),
    "expm1": (mg.expm1, [np.exp, np.exp, np.exp]),
    "log1p": (mg.log1p, [lambda x: 1 / (1 + x), lambda x: -((1 + x) ** -2), lambda x: 2 * (1 + x) ** -3]),
    "x · sigmoid": (
        lambda x: x * mg.sigmoid(x),
        [lambda x: np.exp(-np.logaddexp(0, -x)) + x * sigmoid_slope(x)],
    ),
}


@pytest.mark.parametrize("name", DERIVATIVES)
@given(exponent=st.integers(-60, 4), mantissa=st.floats(1.0, 2.0), sign=st.sampled_from([-1.0, 1.0]))
def test_derivatives_near_0_and_far_from_it_keep_their_digits(
    name: str, exponent: int, mantissa: float, sign: float
) -> None:
    x = np.float32(sign * mantissa * 2.0**exponent)
    assume(name != "log1p" or x > -0.9)
    function, derivatives = DERIVATIVES[name]
    leaf = mg.Tensor(x, requires_grad=True)
    y = function(leaf)
    for derivative in derivatives:
        (y,) = mg.grad(y, leaf, create_graph=True)
        np.testing.assert_allclose(y.item(), derivative(float(x)), rtol=2e-5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "softmax_cross_entropy"])
@given(margin=st.floats(0.0, 60.0), seed=st.integers(0, 99))
def test_nearly_certain_classes_keep_their_digits(name: str, order: int, margin: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    z, g = random.normal(size=(2, 5)).astype(np.float32)
    z[2] += np.float32(margin)

    def found(dtype: Any) -> np.ndarray:
        t = mg.Tensor(z.astype(dtype), requires_grad=True)
        y = (
            mg.softmax_cross_entropy(mg.reshape(t, (1, 5)), [2])
            if name.endswith("py")
            else getattr(mg, name)(t)
        )
        (s,) = mg.grad(y, t, gradient=np.resize(g, y.shape).astype(dtype), create_graph=order == 2)
        return (mg.grad(s, t, gradient=random_g.astype(dtype))[0] if order == 2 else s).numpy()

    random_g = random.normal(size=5)
    ours, right = found(np.float32), found(np.float64)
    np.testing.assert_allclose(ours, right, rtol=1e-3, atol=3e-6 * np.abs(right).max())


def test_the_root_of_minus_0_is_that_of_0() -> None:
    for zero in (0.0, -0.0):
        with np.errstate(divide="ignore"):
            assert slopes(mg.sqrt, np.array([zero])) == slopes(lambda x: x**0.5, np.array([zero])) == [np.inf]


# ---- guards


def test_mixed_derivatives_of_a_power_at_zero() -> None:
    # Below 1 the slope itself is infinite.
    for n in (1.0, 1.5, 2.0, 3.0):
        mixed = []
        for first in (0, 1):
            leaves = [mg.Tensor(v, requires_grad=True) for v in (0.0, n)]
            with np.errstate(all="ignore"):
                (s,) = mg.grad(leaves[0] ** leaves[1], leaves[first], create_graph=True)
                mixed.append(mg.grad(s, leaves[1 - first])[0].item())
        assert mixed == [-np.inf if n == 1 else 0.0] * 2


# ---- long sums


@pytest.mark.parametrize("axis", [0, None])
def test_long_sums_keep_their_digits(axis: Any) -> None:
    x = np.full((100_000, 3), 0.1, np.float32)
    right = x.astype(float).sum(axis)
    for function, expected in ((mg.sum, right), (mg.mean, x.astype(float).mean(axis))):
        np.testing.assert_allclose(function(x, axis).numpy(), expected, rtol=1e-7)
    b = np.zeros(3, np.float32)
    np.testing.assert_allclose(slopes(lambda b: b + x, b, gradient=x)[0], x.astype(float).sum(0), rtol=1e-7)
    hits = np.zeros(100_000, int)
    g = slopes(lambda t: t[hits], np.zeros((2, 3), np.float32), gradient=x)[0]
    np.testing.assert_allclose(g[0], x.astype(float).sum(0), rtol=1e-7)
    np.testing.assert_allclose(mg.softmax(np.zeros((10**5, 2), np.float32), 0).numpy(), 1e-5, rtol=1e-6)
    pooled = mg.avg_pool2d(x.reshape(1, 300, 1000, 1), (300, 500), 500)
    np.testing.assert_allclose(pooled.numpy(), x[0, 0], rtol=1e-7)


def test_an_axis_out_of_range() -> None:
    for name in ("sum", "mean", "max", "min", "logsumexp", "softmax", "log_softmax"):
        with pytest.raises(ArgumentError):
            getattr(mg, name)(np.ones((2, 2)), 2)


@pytest.mark.parametrize("axis", [-1, 0, None, np.int64(-1)])
def test_an_axis_of_what_has_no_dimensions(axis: Any) -> None:
    for name, right in (("sum", 1), ("mean", 1), ("max", 1), ("min", 1), ("logsumexp", 1), ("softmax", 0)):
        assert slopes(partial(getattr(mg, name), axis=axis), np.float64(3.0))[0] == right


# ---- infinities and NaN

INF = np.inf


@pytest.mark.parametrize(
    ("z", "cost", "slope"),
    [([-INF, 0], INF, [-1, 1]), ([INF, 0], 0, [0, 0]), ([0, INF], INF, [-1, 1]), ([0, -INF], 0, [0, 0]),
     ([INF, INF], np.log(2), [-0.5, 0.5]), ([-INF, -INF], np.log(2), [-0.5, 0.5])],
)  # fmt: skip
def test_infinite_logits(library: Any, z: Any, cost: float, slope: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t = mg.Tensor(library.asarray(np.array([z])), requires_grad=True)
        J = mg.softmax_cross_entropy(t, [0])
        np.testing.assert_allclose(J.numpy(), cost)
        np.testing.assert_allclose(mg.grad(J, t)[0].numpy(), [slope])
        np.testing.assert_allclose(mg.softmax(t).numpy(), np.array([slope]) + [[1, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [
    mg.sigmoid, mg.softmax, mg.log_softmax, mg.logsumexp, mg.softplus, mg.tanh,
    lambda t: mg.softmax_cross_entropy(mg.reshape(t, (1, 2)), [0]), lambda t: mg.logistic_cost(t, [1, 1]),
])  # fmt: skip
def test_underflow_is_meant(function: Any, dtype: Any) -> None:
    with np.errstate(all="raise"):
        slopes(function, np.array([1000.0, -1000.0], dtype))


SELECTORS = [
    ("maximum", mg.maximum, 2), ("minimum", mg.minimum, 2), ("max", lambda *x: mg.max(mg.stack(x), 0), 3),
    ("min", lambda *x: mg.min(mg.stack(x), 0), 3),
    ("maxout", lambda *x: mg.maxout(mg.stack(x, 1), 3)[:, 0], 3),
    ("relu", mg.relu, 1), ("clip", lambda x: mg.clip(x, -1.0, 1.0), 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "count"), SELECTORS, ids=lambda value: str(value)[:8])
def test_the_first_nan_is_selected_and_losers_get_nothing(name: str, function: Any, count: int) -> None:
    values = (np.nan, 0.5, 2.0)
    cases = np.array(np.meshgrid(*[values] * count)).reshape(count, -1)
    leaves = [mg.Tensor(x, requires_grad=True) for x in cases]
    y = function(*leaves)
    has_nan = np.isnan(cases).any(0)
    np.testing.assert_array_equal(np.isnan(y.numpy()), has_nan)
    shares = np.array([g.numpy() for g in mg.grad(y, leaves, gradient=np.full(y.shape, np.inf))])
    assert not np.isnan(shares).any()
    first = np.isnan(cases).argmax(0)
    expected = np.where(np.arange(count)[:, None] == first, np.inf, 0.0)
    np.testing.assert_array_equal(shares[:, has_nan], expected[:, has_nan])


def test_masks_select(library: Any) -> None:
    z = library.asarray(np.array([[1.0, 2.0]]))
    of = (z, library.asarray(np.array([[2.0]])))
    u = library.asarray(np.array([[np.inf]]))
    assert maxout_units._spread(u, of=of, pieces=2).numpy().tolist() == [[0.0, np.inf]]
    v = library.asarray(np.array([[np.inf, 3.0]]))
    assert maxout_units._select(v, of=of, pieces=2).numpy().tolist() == [[3.0]]


# ---- dtypes at the door


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_other_floats_are_refused(dtype: Any) -> None:
    if np.dtype(dtype) == np.float64:
        pytest.skip("longdouble is float64 here")
    x = np.ones(3, dtype)
    for call in (
        lambda: mg.exp(x),
        lambda: mg.multiply(x, x),
        lambda: mg.sum(x),
        lambda: mg.add(np.ones(3), x),
    ):
        with pytest.raises(ArgumentTypeError, match="must be float32 or float64, got"):
            call()
    assert mg.multiply(np.ones(3, np.float32), dtype(2)).dtype == np.float32


def test_masked_arrays_are_refused() -> None:
    x = np.ma.masked_array([1.0, 2.0], [True, False])
    for call in (lambda: mg.exp(x), lambda: mg.add(np.ones(2), x), lambda: backend.NUMPY.asarray(x)):
        with pytest.raises(ArgumentTypeError, match=r"fill it first, with x.filled\(0\)"):
            call()


# ---- every rule, at guarded points too, in float32 beside float64, to the second order


def to_second_order(operation: Operation, case: Case, dtype: Any) -> list[np.ndarray]:
    """The gradients in all arrays of a weighted sum, and those of a weighted sum of these."""
    leaves = [mg.Tensor(x.astype(np.float32).astype(dtype), requires_grad=True) for x in case.arrays]
    random = np.random.default_rng(5)
    output = operation.function(*leaves, **case.options)
    output = output + 0.5 * output * output

    def weighted(tensors: Any) -> mg.Tensor:
        return sum(mg.sum(t * random.normal(size=t.shape).astype(dtype)) for t in tensors)

    first = mg.grad(weighted([output]), leaves, create_graph=True)
    return [g.numpy() for g in (*first, *mg.grad(weighted(first), leaves))]


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.differentiable], ids=lambda o: o.name)
@settings(max_examples=8)
@given(data=st.data())
def test_float32_is_float64_but_for_rounding(operation: Operation, data: Any) -> None:
    case = data.draw(operation.inputs)
    singles = [x.astype(np.float32).astype(np.float64) for x in case.arrays]
    with np.errstate(all="ignore"):
        exact = to_second_order(operation, Case(singles, case.options), np.float64)
        rounded = to_second_order(operation, Case(singles, case.options), np.float32)
    for found, right in zip(rounded, exact, strict=True):
        size = max(abs(right).max(initial=0.0), 1e-30)
        assert size > 1e30 or abs(found - right).max(initial=0.0) <= 1e-4 * max(size, 1.0)


POINTS = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0]
BINARY = [
    mg.add, mg.subtract, mg.multiply, mg.divide, mg.power, mg.maximum, mg.minimum,
    lambda x, y: mg.where(x.data > y.data, x * y, y * y * x),
    lambda x, y: mg.clip(x * y, -1.0, 1.0), lambda x, y: mg.abs(x) * y, lambda x, y: mg.relu(x - y) ** 2,
    lambda x, y: mg.logsumexp(mg.stack([x, y])), lambda x, y: mg.softmax(mg.stack([x, y, 0 * x]))[0],
    lambda x, y: mg.sigmoid(x) * mg.softplus(y), lambda x, y: mg.tanh(x * y),
    lambda x, y: mg.exp(x) * mg.log(y), lambda x, y: mg.log_softmax(mg.stack([x, y]))[1],
    lambda x, y: mg.sqrt(x) * y, lambda x, y: x**2.0 * y**0.0,
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(BINARY)))
def test_mixed_partial_derivatives_are_symmetric(place: int) -> None:
    """At every pair of points where rules have guards, wherever both orders are finite."""
    for a in POINTS:
        for b in POINTS:
            mixed = []
            for order in (0, 1):
                leaves = [mg.Tensor(value, requires_grad=True) for value in (a, b)]
                with np.errstate(all="ignore"):
                    (slope,) = mg.grad(BINARY[place](*leaves), leaves[order], create_graph=True)
                    mixed.append(mg.grad(mg.sum(slope), leaves[1 - order])[0].item())
            if np.isfinite(mixed).all() and not (a == 0 and b <= 0 and BINARY[place] is mg.power):
                assert mixed[0] == pytest.approx(mixed[1], rel=1e-9, abs=1e-12), (a, b, mixed)


# ---- operations over axes


@given(st.sampled_from([0.1, 0.3, 1.1, 7.7, -1e30, 1e-40]), st.integers(1, 9), st.sampled_from(["f", "d"]))
def test_equal_elements_have_no_spread(value: float, n: int, dtype: str) -> None:
    """The mean of n equal numbers may differ from them by rounding."""
    x = np.full((2, n), value, dtype)
    x[1, 0] = 2.0 * value + 1.0
    assert mg.std(x, 1).numpy()[0] == 0.0
    assert not slopes(lambda t: mg.std(t, 1)[0], x)[0].any()
    assert not mg.hessian(lambda t: mg.std(t, 1)[0])(x).numpy().any()


def test_a_spread_without_degrees_of_freedom_is_nan_and_so_is_its_gradient() -> None:
    with np.errstate(all="ignore"):
        for spread in (mg.var, mg.std):
            assert np.isnan(spread([3.0], ddof=1).numpy())
            assert np.isnan(slopes(lambda t, s=spread: s(t, ddof=1), np.array([3.0]))[0]).all()


def test_large_and_small_factors_in_turn() -> None:
    x = np.float32([1e30, 1e-30] * 4)
    assert mg.prod(x).item() == pytest.approx(1.0)
    np.testing.assert_allclose(slopes(mg.prod, x)[0] * x, 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "product",
    [
        lambda a, w: mg.einsum("bi,i->bi", a, w),
        lambda a, w: mg.einsum("bi,ij->bj", a, w[:, None]),
        lambda a, w: mg.matmul(a, w[:, None]),
        lambda a, w: mg.linear(a, w[:, None], [0.0]),
        lambda a, w: mg.conv2d(a.reshape(4, 500, 500, 2), mg.reshape(w, (1, 1, 2, 1))),
    ],
)
def test_long_products_with_a_cotangent_that_repeats(product: Any) -> None:
    """The gradient of a mean or a sum is one number in all places, with strides of 0."""
    a = np.random.default_rng(0).random((1_000_000, 2)).astype(np.float32)
    for reduce in (mg.mean, mg.sum):
        w = mg.Tensor(np.ones(2, np.float32), requires_grad=True)
        (found,) = mg.grad(reduce(product(a, w)), w)
        exact = a.sum(0, dtype=np.float64)
        np.testing.assert_allclose(found.numpy() / found.numpy()[0], exact / exact[0], rtol=5e-5)
        scale = found.numpy()[0] / exact[0]
        assert any(scale == pytest.approx(s, rel=5e-5) for s in (1.0, 1e-6, 0.5e-6))


def test_long_sums_of_products() -> None:
    ones = np.ones(((1 << 24) + (1 << 20), 1), np.float32)
    assert mg.einsum("bi,bi->i", ones, np.broadcast_to(ones[:1], ones.shape)).item() == len(ones)


# ---- the dtype of what stands beside


def test_lists_and_integers_take_the_dtype_of_any_real_array() -> None:
    x, whole = mg.Tensor(np.ones((2, 3), np.float32)), np.ones((3, 2), int)
    for z in (
        mg.linear(x, whole, [1, 2]),
        mg.linear([[1, 2, 3]], whole, np.ones(2, np.float32)),
        mg.linear(x, [[1, 2]] * 3, [1, 2]),
        mg.clip(np.arange(3), [0, 1, 1], np.ones(3, np.float32)),
        mg.clip(np.arange(3), np.zeros(3, np.float32), [1, 1, 1]),
        mg.where(np.array([1.0, 0.0, 1.0]), x, np.array([1, 2, 3])),
        mg.where(np.array([1.0, 0.0, 1.0]), x, [1, 2, 3]),
        mg.einsum("ij,k->k", whole, np.ones(2, np.float32)),
        mg.einsum(",i,i->i", np.array(2.0), [1.0, 2.0], np.ones(2, np.float32)),
    ):
        assert z.dtype == np.float32


@pytest.mark.parametrize("operation", [mg.var, mg.std, mg.prod, mg.norm, mg.cumsum, mg.sum, mg.mean, mg.max])
def test_lists_of_whole_numbers_are_numbers(operation: Any) -> None:
    np.testing.assert_array_equal(operation([3, 4]).numpy(), operation([3.0, 4.0]).numpy())
    np.testing.assert_array_equal(operation(3).numpy(), operation(3.0).numpy())


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("q", 2**53 + 1), ("Q", 2**64 - 1), ("?", True), ("f", -np.inf), ("f", 0.1), ("d", np.nan), ("b", -7)],
)
def test_a_border_of_any_number_of_the_dtype(dtype: str, number: Any) -> None:
    x = np.ones(1, dtype)
    np.testing.assert_array_equal(
        mg.pad(x, 1, constant_values=number).numpy(), np.pad(x, 1, constant_values=number)
    )


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("q", 2**63), ("Q", -1), ("q", 1.5), ("?", 2), ("f", 1e300), ("d", 10**400), ("b", 300), ("q", np.inf)],
)
def test_a_border_of_a_number_that_the_dtype_has_not(dtype: str, number: Any) -> None:
    with pytest.raises(ArgumentError, match="^constant_values must be a number of x's dtype"):
        mg.pad(np.ones(1, dtype), 1, constant_values=number)


@pytest.mark.parametrize("zero", [-0.0, np.float32(-0.0), np.float64(-0.0), np.array(-0.0)])
def test_a_negative_zero_stays_negative(zero: Any) -> None:
    x = mg.Tensor(np.ones(2, np.float32))
    for result in (x * zero, zero * x, mg.minimum(x, zero), mg.where(np.array([True, False]), zero, zero)):
        assert np.signbit(result.numpy()).all()
