"""NumPy's functions on Tensors are recorded or raise; what would make an array of a Tensor raises."""

from __future__ import annotations

import copy
import inspect
import math
import operator
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import numpy_calls, other_names
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError
from minigrad.testing import check_gradients
from tests.declarations import OPERATIONS

X = np.array([[0.5, 0.25, 0.75], [1.5, 1.25, 0.1]])
POSITIVE = {np.log, np.sqrt, np.log1p, np.power, np.divide}


def leaf(data: Any = X) -> mg.Tensor:
    return mg.Tensor(data, requires_grad=True)


@pytest.mark.parametrize("ufunc", list(numpy_calls.UFUNCS), ids=lambda u: u.__name__)
def test_every_ufunc_of_the_table(library: Any, ufunc: Any) -> None:
    inputs = [X, X + 0.5][: ufunc.nin] if ufunc is not np.matmul else [X, X.T]
    tensors = [leaf(library.asarray(x)) for x in inputs]
    result = ufunc(*tensors)
    assert isinstance(result, mg.Tensor)
    np.testing.assert_allclose(result.numpy(), ufunc(*inputs), rtol=1e-12)
    if ufunc is not np.sign:
        check_gradients(ufunc, *(mg.Tensor(x) for x in inputs), order=2)


CALLS: list[Callable[[Any], Any]] = [
    lambda a: np.sum(a, 0),
    lambda a: np.sum(a, axis=(0, 1), keepdims=True),
    lambda a: np.mean(a, -1),
    lambda a: np.max(a, axis=1, keepdims=True),
    lambda a: np.amax(a),
    lambda a: np.min(a, 0),
    lambda a: np.amin(a, axis=0),
    lambda a: np.where(X > 0.5, a, 2.0),
    lambda a: np.concatenate([a, a], axis=1),
    lambda a: np.concatenate((a, X)),
    lambda a: np.stack([a, a], 1),
    lambda a: np.reshape(a, (3, 2)),
    lambda a: np.ravel(a),
    lambda a: np.transpose(a),
    lambda a: np.transpose(a, (1, 0)),
    lambda a: np.broadcast_to(a, (4, 2, 3)),
    lambda a: np.dot(a, X.T),
    lambda a: np.dot(X[0], np.transpose(a)),
    lambda a: np.dot(a, 2.0),
    lambda a: np.clip(a, 0.3, 1.3),
    lambda a: np.clip(a, a_min=None, a_max=1.3),
    lambda a: np.copy(a),
    lambda a: np.clip(a, X[0] + 0.05, 1.3),
    lambda a: np.var(a, 0, ddof=1),
    lambda a: np.std(a, axis=1, keepdims=True),
    lambda a: np.prod(a, 1),
    lambda a: np.cumsum(a),
    lambda a: np.cumsum(a, axis=-1),
    lambda a: np.linalg.norm(a),
    lambda a: np.linalg.norm(a, 2, 1),
    lambda a: np.squeeze(a[:, :1]),
    lambda a: np.squeeze(a[:1], axis=0),
    lambda a: np.expand_dims(a, (0, -1)),
    lambda a: np.pad(a, ((1, 0), (0, 2)), constant_values=3.0),
    lambda a: np.split(a, 3, axis=1)[1],
    lambda a: np.einsum("ij,kj->ik", a, X),
    lambda a: np.einsum("ij->j", a, optimize=True),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_function_of_the_table(call: Callable[[Any], Any]) -> None:
    result = call(leaf())
    assert isinstance(result, mg.Tensor)
    assert result.requires_grad
    np.testing.assert_allclose(result.numpy(), call(X))
    check_gradients(call, mg.Tensor(X))


def test_the_table_has_no_more_functions_than_are_tested() -> None:
    names = {name for call in CALLS for name in call.__code__.co_names}
    assert {function.__name__ for function in numpy_calls.FUNCTIONS} <= names | {"amax", "amin"}


@pytest.mark.parametrize("function", sorted(numpy_calls.WITHOUT_DERIVATIVE, key=lambda f: f.__name__))
def test_what_has_no_derivative_gives_what_numpy_gives(function: Any) -> None:
    two = {"allclose", "array_equal", "isclose", "may_share_memory", "shares_memory", "equal", "greater",
           "greater_equal", "less", "less_equal", "not_equal"}  # fmt: skip
    more = (X,) if function.__name__ in two else (3.0,) if function is np.full_like else ()
    with np.errstate(all="ignore"):
        found, expected = function(leaf(), *more), function(X, *more)
    assert not isinstance(found, mg.Tensor)
    if function is not np.empty_like:
        np.testing.assert_array_equal(found, expected)


OPERATORS = ["add", "sub", "mul", "truediv", "pow", "matmul", "lt", "le", "gt", "ge"]
LEFT: list[Any] = [
    X, np.float64(2.0), np.float32(2.0), np.int64(2), 2.0, 2, np.array(2.0), X.tolist(),
]  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_every_left_operand_gives_what_the_right_one_does(library: Any, name: str) -> None:
    function = getattr(operator, name)
    t = leaf(library.asarray(X.T.copy() if name == "matmul" else X))
    operands = [library.asarray(X)] + (LEFT if library.name == "numpy" else [2.0, 2, np.float64(2.0)])
    for left in operands:
        if name == "matmul" and not getattr(left, "ndim", isinstance(left, list)):
            continue
        if isinstance(left, list) and name in ("lt", "le", "gt", "ge"):
            continue
        result = function(left, t)
        if name in ("lt", "le", "gt", "ge"):
            assert not isinstance(result, mg.Tensor)
            continue
        assert isinstance(result, mg.Tensor)
        assert result.requires_grad
        plain = X if left is operands[0] else left
        np.testing.assert_allclose(
            result.numpy(), function(np.asarray(plain), X.T if name == "matmul" else X), rtol=1e-6
        )


REFUSED: dict[str, Callable[[mg.Tensor], Any]] = {
    "np.sum of a Tensor does not take dtype": lambda t: np.sum(t, dtype=np.float32),
    "np.sum of a Tensor does not take where": lambda t: np.sum(t, where=X > 1),
    "np.max of a Tensor does not take initial": lambda t: np.max(t, initial=0.0),
    "np.reshape of a Tensor does not take order": lambda t: np.reshape(t, (3, 2), order="F"),
    "np.exp of a Tensor does not take where": lambda t: np.exp(t, where=X > 1),
    "np.exp cannot write a Tensor's result into an array": lambda t: np.exp(t, out=np.empty((2, 3))),
    "write array = array \\+ tensor": lambda t: operator.iadd(np.ones((2, 3)), t),
    "np.add.reduce does not take Tensors: use mg.sum": lambda t: np.add.reduce(t),
    "np.vstack does not take Tensors: use mg.concatenate": lambda t: np.vstack([t, t]),
    "np.arcsin does not take Tensors: use minigrad's operations": lambda t: np.arcsin(t),
    "np.einsum of a Tensor does not take out": lambda t: np.einsum("ij->i", t, out=np.empty(2)),
    "np.cumsum of a Tensor does not take dtype": lambda t: np.cumsum(t, dtype=np.float32),
    "np.cumprod does not take Tensors: use": lambda t: np.cumprod(t),
    "np.outer does not take Tensors: use mg.einsum\\('i,j->ij', x, y\\)": lambda t: np.outer(t, t),
    "np.var of a Tensor does not take correction": lambda t: np.var(t, correction=1),
    "np.save does not take Tensors: use mg.save": lambda t: np.save("/nowhere", t),
    "np.dot of Tensors takes two dimensions at most": lambda t: np.dot(t[None], t.T),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_everything_else_says_what_to_write(message: str) -> None:
    with pytest.raises(ArgumentTypeError, match=message):
        REFUSED[message](leaf())


def test_no_public_function_of_numpy_gives_numbers_without_a_word() -> None:
    """Called with a Tensor that requires a gradient, each gives a recorded Tensor, raises, or is listed."""
    allowed = {f.__name__ for f in numpy_calls.WITHOUT_DERIVATIVE}
    # Of types and settings, printing, and what only looks at the shape or asks for one Python number.
    allowed |= {"isscalar", "iterable", "typename", "result_type", "can_cast", "set_printoptions", "info",
                "asmatrix", "issubdtype", "broadcast_shapes", "common_type", "isfortran", "printoptions",
                "get_include", "setbufsize", "seterr", "errstate", "isdtype", "test", "show_config",
                "show_runtime", "getbufsize", "geterr", "geterrcall", "seterrcall", "save", "savez",
                "savez_compressed", "base_repr", "format_float_positional", "format_float_scientific",
                "promote_types", "tri", "tril_indices", "triu_indices", "frompyfunc", "vectorize",
                "add_newdoc", "iscomplexobj", "isrealobj"}  # fmt: skip
    silent = []
    t = leaf()
    for name in sorted(set(np.__all__) - allowed):
        function = getattr(np, name)
        if isinstance(function, type) or not callable(function):
            continue
        for arguments in ((t,), (t, t), ([t, t],), (t[0, 0],), (t, 0)):
            try:
                result = function(*arguments)
            except Exception:
                continue
            if not (isinstance(result, mg.Tensor) and result.requires_grad) and result is not None:
                silent.append((name, type(result).__name__))
    assert [entry for entry in silent if entry[0] not in {"sign"}] == []


MADE: dict[str, Callable[[mg.Tensor], Any]] = {
    "asarray": np.asarray,
    "array of a list": lambda t: np.array([t[0], t[1]]),
    "array of numbers and a Tensor": lambda t: np.array([1.0, t[0, 0]]),
    "asarray of objects": lambda t: np.asarray(t, dtype=object),
    "ascontiguousarray": np.ascontiguousarray,
    "full": lambda t: np.full(3, t[0, 0]),
    "arange": lambda t: np.arange(t[0, 0]),
    "slice assignment": lambda t: operator.setitem(np.zeros((2, 3)), slice(None), t),
    "index assignment": lambda t: operator.setitem(np.zeros(3), [0, 1], t[0, 0]),
    "a list as an operand": lambda t: t[0] * [t[0, 0], 1.0, 2.0],
    "a Tensor of a list": lambda t: mg.Tensor([t[0], t[1]]),
    "a Parameter of a list": lambda t: mg.Parameter([t[0], t[1]]),
    "random numbers": lambda t: np.random.default_rng(0).normal(t, 1.0),
    "masked": lambda t: np.ma.array(t),
    "isin": lambda t: np.asarray([t]),
}


@pytest.mark.parametrize("name", MADE)
def test_what_makes_an_array_raises(name: str) -> None:
    with pytest.raises(GraphError, match=r"join Tensors with mg.stack .* or write .numpy\(\)"):
        MADE[name](leaf())
    if name not in ("a list as an operand", "a Parameter of a list", "arange", "masked"):
        MADE[name](mg.Tensor(X))  # nothing is lost


def test_an_element_of_an_array_is_not_assigned() -> None:
    t, array = leaf(), np.zeros(3)
    with pytest.raises((GraphError, ValueError)) as caught:
        array[0] = t[0, 0]
    assert "mg.stack" in str(caught.value) or "mg.stack" in str(caught.value.__cause__)
    array[0] = t[0, 0].item()
    array[1] = mg.Tensor(X)[0, 1]
    assert array.tolist() == [0.5, 0.25, 0.0]


def test_numbers_and_printing_stay() -> None:
    t = leaf()[0, 0]
    assert (float(t), int(t), bool(t), math.exp(t), f"{t:.2f}") == (0.5, 0, True, math.exp(0.5), "0.50")
    assert "0.5" in repr(t)
    assert t < 1.0
    assert (t == 0.5).item()
    assert sum([t, t]).requires_grad
    assert max(t, t * 2).requires_grad


def test_a_tensor_on_a_device_is_not_converted(library: Any) -> None:
    t = mg.Tensor(library.asarray(X))
    if library.name == "numpy":
        np.testing.assert_array_equal(np.asarray(t), X)
    else:
        with pytest.raises(BackendError, match=r"use .numpy\(\)"):
            np.asarray(t)


class TestRequiresGradAttribute:
    def test_of_a_leaf_it_can_be_set(self) -> None:
        x = mg.Tensor(X)
        x.requires_grad = True
        assert (x * 2.0).requires_grad
        x.requires_grad = False
        assert not (x * 2.0).requires_grad

    def test_of_a_result_it_follows_from_the_arguments(self) -> None:
        y = leaf() * 2.0
        y.requires_grad = True  # as it is
        with pytest.raises(GraphError, match=r"of a result, here of multiply.*detach\(\)"):
            y.requires_grad = False
        assert y.requires_grad

    def test_what_cannot_be_differentiated_cannot_require_it(self) -> None:
        t = mg.Tensor([1, 2])
        with pytest.raises(ArgumentTypeError, match="float32 or float64 to require a gradient"):
            t.requires_grad = True
        with pytest.raises(ArgumentTypeError, match="requires_grad must be True or False, got 'no'"):
            t.requires_grad = "no"  # type: ignore[assignment]
        assert t.requires_grad is False

    def test_set_after_it_was_used_is_noticed(self) -> None:
        c, x = mg.Tensor(X), leaf()
        J = mg.sum(x * c * (c * c))
        c.requires_grad = True
        with pytest.raises(GraphError, match="began to require a gradient: compute the output anew"):
            mg.grad(J, c)


class TestNamesOfOtherLibraries:
    def test_an_error_says_what_to_write(self) -> None:
        with pytest.raises(AttributeError, match=r"no attribute 'clone': mg.copy\(t\)$"):
            leaf().clone()
        with pytest.raises(AttributeError, match=r"no attribute 'cat': mg.concatenate"):
            mg.cat  # noqa: B018
        with pytest.raises(AttributeError, match="no attribute 'other'$"):
            leaf().other  # noqa: B018
        assert not hasattr(leaf(), "clone")

    def test_only_names_that_are_not_ours_have_advice_and_it_is_right(self) -> None:
        assert not any(hasattr(mg.Tensor, name) for name in other_names.TENSOR)
        assert not any(name in vars(mg) for name in other_names.PACKAGE)
        told = " ".join([*other_names.TENSOR.values(), *other_names.PACKAGE.values()])
        for name in re.findall(r"\bmg\.(\w+)", told):
            assert hasattr(mg, name), name
        for name in re.findall(r"\bt\.(\w+)", told):
            assert hasattr(mg.Tensor, name), name


class TestGradAttribute:
    def test_a_computed_tensor_has_none_and_says_so(self) -> None:
        y = leaf() * 2.0
        with pytest.raises(GraphError, match=r"only a leaf has a grad.*multiply.*mg.grad\(output, tensor\)"):
            y.grad  # noqa: B018
        assert (leaf().detach() * 2.0).grad is None

    @pytest.mark.parametrize(
        "given",
        [mg.Tensor(X), X.tolist(), 1.0, X[0], X > 0, X.T],
        ids=lambda g: f"{type(g).__name__}"[:9],
    )
    def test_it_fits_or_is_refused(self, given: Any) -> None:
        x = leaf()
        x.grad = X.copy()
        before = x.grad
        with pytest.raises((TypeError, ValueError), match="grad must"):
            x.grad = given
        assert x.grad is before

    @pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "ipow", "imatmul"])
    def test_a_leaf_is_not_rebound_without_a_word(self, name: str) -> None:
        with pytest.raises(GraphError, match="leaf that requires a gradient is not changed by"):
            getattr(operator, name)(leaf(), X if name != "imatmul" else X.T)
        with mg.no_grad(), pytest.raises(GraphError):
            getattr(operator, name)(leaf(), X)
        computed = getattr(operator, name)(leaf() * 1.0, X if name != "imatmul" else X.T)
        assert computed.requires_grad


class TestCopies:
    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
    def test_a_leaf_is_itself_again(self, again: Any) -> None:
        for t in (leaf(), mg.Tensor(X), mg.Parameter(X.astype(np.float32)), mg.Tensor([1, 2])):
            if t.requires_grad:
                t.grad = np.ones_like(t.data)
            other = again(t)
            assert type(other) is type(t)
            assert (other.requires_grad, other.dtype, other.is_leaf) == (t.requires_grad, t.dtype, True)
            np.testing.assert_array_equal(other.data, t.data)
            assert (other.grad is None) == (t.grad is None)
            if t.requires_grad:
                mg.sum(other * other).backward()
                np.testing.assert_allclose(other.grad, 1 + 2 * X, rtol=1e-6)

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_a_computed_tensor_is_refused(self, again: Any) -> None:
        y = mg.exp(leaf())
        for _ in range(3000):
            y = y * 1.0
        with pytest.raises(GraphError, match="result of multiply, cannot be copied or pickled"):
            again(y)
        mg.sum(y).backward()

    def test_a_subclass_keeps_its_own(self) -> None:
        class Named(mg.Tensor):
            pass

        t = Named(X)
        t.name = "x"
        assert copy.deepcopy(t).name == "x"

    @pytest.mark.parametrize("name", sorted({o.public_name for o in OPERATIONS if o.name[0] != "_"}))
    def test_an_operation_is_one_object(self, name: str) -> None:
        operation = getattr(mg, name)
        assert copy.deepcopy(operation) is operation
        assert pickle.loads(pickle.dumps(operation)) is operation


@given(st.integers(-2, 2), st.sampled_from(["add", "multiply", "maximum"]))
def test_scalars_of_numpy_meet_tensors(n: int, name: str) -> None:
    for scalar in (np.float64(n), np.float32(n), np.int32(n)):
        t = mg.Tensor(X.astype(np.float32), requires_grad=True)
        assert getattr(np, name)(scalar, t).dtype == np.float32


def test_where_of_a_condition_alone() -> None:
    with pytest.raises(ArgumentTypeError, match="must have condition, x and y"):
        np.where(leaf())


def test_a_grad_is_not_given_to_a_computed_tensor() -> None:
    y = leaf() * 2.0
    with pytest.raises(GraphError, match="only a leaf has a grad"):
        y.grad = X


def test_numpys_dot_of_lists() -> None:
    t = leaf([3.0, 4.0])
    assert np.dot([1.0, 2.0], t).item() == 11.0
    assert np.dot(t, [[1.0, 2.0], [3.0, 4.0]]).numpy().tolist() == [15.0, 22.0]
    assert np.dot(2.0, t).numpy().tolist() == [6.0, 8.0]


def test_without_a_gradient_numpy_does_what_it_does() -> None:
    t, array = mg.Tensor(X), np.zeros((2, 3))
    np.testing.assert_array_equal(np.sort(t), np.sort(X))
    assert np.linalg.norm(t) == np.linalg.norm(X)
    assert np.vstack([t, t]).shape == (4, 3)
    assert np.add.reduce(t).shape == (3,)
    array += t
    np.testing.assert_array_equal(array, X)
    np.testing.assert_almost_equal(mg.sum(t), X.sum())
    assert np.reshape(leaf(), (3, 2), "C").requires_grad


def test_grads_of_other_real_dtypes_are_converted() -> None:
    p = mg.Parameter(np.float32([1.0, 2.0]))
    p.grad = np.array([1.0, 2.0]) * np.float64(0.5)
    assert p.grad.dtype == np.float32
    b = mg.Parameter(np.array(1.0))
    (b * 2.0).backward()
    b.grad = b.grad * 0.5
    assert b.grad.tolist() == 1.0
    b.data = b.data - 0.1
    b.changed_in_place()
    assert isinstance(b.data, np.ndarray)
    assert not hasattr(leaf() * 2.0, "grad")


def test_a_subclass_keeps_its_slots() -> None:
    class Tagged(mg.Parameter):
        __slots__ = ("tag",)

    p = Tagged(X)
    p.tag = "x"
    assert copy.deepcopy(p).tag == "x"


def test_numpy_writes_into_no_tensor() -> None:
    for t in (mg.Tensor(X.copy()), leaf(X.copy())):
        for write in (
            lambda t=t: np.copyto(t, 0.0),
            lambda t=t: np.add(X, X, out=t),
            lambda t=t: np.cumsum(X, 0, out=t),
            lambda t=t: np.put(t, 0, 1.0),
            lambda t=t: np.fill_diagonal(t, 0.0),
            lambda t=t: np.add.at(t, 0, 1.0),
        ):
            with pytest.raises((ArgumentTypeError, TypeError)):
                write()
        np.testing.assert_array_equal(t.numpy(), X)


def test_numpy_writes_into_no_tensor_that_stands_where_out_does() -> None:
    tried = 0
    for module in (np, np.linalg, np.fft):
        for name in module.__all__:
            try:
                parameters = inspect.signature(getattr(module, name)).parameters
            except (TypeError, ValueError):
                continue
            if "out" not in parameters or isinstance(getattr(module, name), np.ufunc):
                continue
            before = list(parameters.values())[: list(parameters).index("out")]
            given = [X.copy() if p.default is p.empty else p.default for p in before]
            t = mg.Tensor(np.full((2, 3), 7.0))
            with pytest.raises((ArgumentTypeError, TypeError, ValueError, IndexError)):
                getattr(module, name)(*given, t)
            np.testing.assert_array_equal(t.numpy(), 7.0, err_msg=name)
            tried += 1
    assert tried > 20


def test_numpy_overwrites_no_tensor_that_an_option_allows_it_to() -> None:
    t = mg.Tensor(np.array([3.0, np.nan, 2.0]))
    for write in (
        lambda: np.median(t, overwrite_input=True),
        lambda: np.percentile(t, 50, None, None, True),
        lambda: np.nan_to_num(t, copy=False),
        lambda: np.nan_to_num(t, False),
    ):
        with pytest.raises(ArgumentTypeError):
            write()
    np.testing.assert_array_equal(t.numpy(), [3.0, np.nan, 2.0])
    assert np.nan_to_num(t).tolist() == [3.0, 0.0, 2.0]


def test_an_option_that_requires_a_gradient() -> None:
    assert np.full_like(mg.Tensor(X), 5.0).shape == X.shape
    with pytest.raises(ArgumentTypeError, match=r"np\.full_like does not take Tensors"):
        np.full_like(mg.Tensor(X), leaf(np.float64(5.0)))


@pytest.mark.parametrize(
    "use",
    [
        lambda x, masked: x * [masked, masked],
        lambda x, masked: mg.sum([masked, masked]),
        lambda x, masked: mg.Tensor([masked, masked]),
        lambda x, masked: x[masked > 1],
        lambda x, masked: mg.grad(mg.sum(x), x, gradient=np.ma.array(1.0)),
    ],
)
def test_masks_are_not_dropped(use: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="got a masked array: fill it first"):
        use(leaf(np.ones(3)), np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.linalg.norm(t, 1, axis=0),
        lambda t: np.linalg.norm(t, "nuc"),
        lambda t: np.pad(t, 1, "edge"),
        lambda t: np.var(t, correction=1),
        lambda t: np.sum(t, dtype=np.float32),
    ],
)
def test_what_minigrad_s_function_has_not_is_numpy_s_where_no_gradient_is_lost(call: Any) -> None:
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(call(mg.Tensor(array)), call(array))
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        call(mg.Tensor(array, requires_grad=True))
