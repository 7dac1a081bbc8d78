"""A captured step does what the eager one does, or says why it is not captured and runs eagerly."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from attacks import adversarial_objective
from minigrad import backend, lanes
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError
from minigrad.optim import SGD, exponential_decay
from models import MaxoutNetwork
from tests import host_kernels
from tests.host_kernels import StrictWithKernels
from tests.strict import counter

if lanes.PLAIN:
    pytest.skip("the fast lane is off", allow_module_level=True)
CapturedStep, CaptureWarning = mg.fast.capture.CapturedStep, mg.fast.capture.CaptureWarning


@pytest.fixture(params=["plain", "fused"], autouse=True)
def library(request: pytest.FixtureRequest) -> Iterator[backend.Backend]:
    """The strict library, without kernels and with them."""
    plain = backend.get("strict")
    if request.param == "fused":
        if host_kernels.compiler is None:
            pytest.skip("no g++ to compile the kernels' text")
        backend.register(StrictWithKernels())
    try:
        with backend.use("strict") as found:
            yield found
    finally:
        backend.register(plain)


def batches(count: int = 4) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(5)
    library = backend.current()
    return [
        (library.asarray(rng.random((6, 5), dtype=np.float32)), library.asarray(rng.integers(0, 3, 6)))
        for _ in range(count)
    ]


def training(
    cost: Callable[[MaxoutNetwork], Any] = lambda model: lambda x, y: adversarial_objective(model, x, y),
    dropout: tuple[float, float] | None = None,
    **settings: Any,
) -> tuple[MaxoutNetwork, SGD, Any]:
    model = MaxoutNetwork(5, 3, units=(4, 4), pieces=2, dropout=dropout, seed=2)
    optimiser = SGD(model.parameters(), **{"lr": 0.5, "momentum": 0.5, "max_norm": 0.6, **settings})
    return model, optimiser, cost(model)


def eagerly(optimiser: SGD, cost: Any) -> list[float]:
    found = []
    for x, y in batches():
        optimiser.zero_grad()
        J = cost(x, y)
        J.backward()
        optimiser.step()
        found.append(J.item())
    return found


def captured(optimiser: SGD, cost: Any) -> tuple[CapturedStep, list[float]]:
    step = CapturedStep(optimiser, cost, *batches()[0])
    return step, [step(x, y).item() for x, y in batches()]


def assert_same_training(one: tuple[MaxoutNetwork, SGD, Any], other: tuple[MaxoutNetwork, SGD, Any]) -> None:
    for a, b in ((one[0], other[0]), (one[1], other[1])):
        for key, value in a.state_dict().items():
            np.testing.assert_array_equal(value, b.state_dict()[key])


COSTS = {
    "adversarial": lambda model: lambda x, y: adversarial_objective(model, x, y, alpha=0.4),
    "clean": lambda model: model.cost,
    "twice differentiated": lambda model: lambda x, y: slope_and_cost(model, x, y),
}


def slope_and_cost(model: MaxoutNetwork, x: Any, y: Any) -> mg.Tensor:
    leaf = mg.Tensor(x, requires_grad=True)
    J = model.cost(leaf, y)
    (slope,) = mg.grad(J, leaf, create_graph=True)
    return J + mg.sum(slope * slope)


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_replays_are_the_eager_steps(cost: Any) -> None:
    one, other = training(cost), training(cost)
    expected = eagerly(*one[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step, found = captured(*other[1:])
    assert step.captured
    assert found == expected
    assert_same_training(one, other)


def test_one_call_launches_nothing_but_the_graph() -> None:
    _, optimiser, cost = training()
    step = CapturedStep(optimiser, cost, *batches()[0])
    x, y = batches()[1]
    counter.reset()
    step(x, y)
    assert counter.launches == ["setitem", "setitem"]  # the batch, to where the graph reads it
    assert counter.uploads == counter.synchronisations == []


def test_a_graph_recorded_before_a_replay_is_not_differentiated() -> None:
    model, optimiser, cost = training()
    step = CapturedStep(optimiser, cost, *batches()[0])
    J = model.cost(*batches()[0])
    step(*batches()[1])
    with pytest.raises(GraphError, match="changed in place"):
        J.backward()


@pytest.mark.parametrize("replace", [
    lambda model, optimiser: model.load_state_dict(model.state_dict()),
    lambda model, optimiser: optimiser.load_state_dict(optimiser.state_dict()),
    lambda model, optimiser: model.to(dtype=np.float64),
])  # fmt: skip
def test_arrays_that_were_replaced(replace: Any) -> None:
    model, optimiser, cost = training()
    step = CapturedStep(optimiser, cost, *batches()[0])
    replace(model, optimiser)
    with pytest.raises(GraphError, match="replaced: make the CapturedStep anew"):
        step(*batches()[0])


@pytest.mark.parametrize("setting", ["lr", "momentum", "max_norm"])
def test_settings_that_were_changed(setting: str) -> None:
    _, optimiser, cost = training()
    step = CapturedStep(optimiser, cost, *batches()[0])
    setattr(optimiser, setting, 0.25)
    with pytest.raises(GraphError, match="lr, momentum, weight_decay, max_norm must be what they were"):
        step(*batches()[0])


def test_pixels_as_integers() -> None:
    def cost(model: MaxoutNetwork) -> Any:
        return lambda x, y: model.cost(x.astype(np.float32) / 255, y)

    x = backend.current().asarray(np.random.default_rng(0).integers(0, 256, (6, 5)).astype(np.uint8))
    _, optimiser, J = training(cost)
    y = batches()[0][1]
    expected = J(x, y).item()
    step = CapturedStep(optimiser, J, x, y)
    assert step.captured
    assert step(x, y).item() == expected


def test_making_it_changes_nothing() -> None:
    model, optimiser, cost = training()
    x, y = batches()[0]
    before = {**model.state_dict(), **optimiser.state_dict()}, x.get(), y.get()
    CapturedStep(optimiser, cost, x, y)
    for key, value in {**model.state_dict(), **optimiser.state_dict()}.items():
        np.testing.assert_array_equal(value, before[0][key])
    np.testing.assert_array_equal(x.get(), before[1])
    np.testing.assert_array_equal(y.get(), before[2])
    assert all(p.grad is None for p in model.parameters())


class WithLeaf:
    """A cost that uses a leaf outside the optimiser."""

    def __init__(self, model: MaxoutNetwork) -> None:
        self.model = model
        self.scale = mg.Tensor(backend.current().asarray(np.float32(2.0)), requires_grad=True)

    def __call__(self, x: Any, y: Any) -> mg.Tensor:
        return self.model.cost(x, y) * self.scale


@pytest.mark.parametrize("settings", [{}, {"lr": exponential_decay(0.5, 1.5)}], ids=["captured", "refused"])
def test_making_it_leaves_every_gradient(settings: Any) -> None:
    model, optimiser, cost = training(WithLeaf, **settings)
    library = backend.current()
    held = [library.asarray(np.full(t.shape, 5.0, np.float32)) for t in (*model.parameters(), cost.scale)]
    for leaf, gradient in zip((*model.parameters(), cost.scale), held, strict=True):
        leaf.grad = gradient
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        step = CapturedStep(optimiser, cost, *batches()[0])
    assert step.captured is not bool(settings)
    for leaf, gradient in zip((*model.parameters(), cost.scale), held, strict=True):
        assert leaf.grad is gradient
        assert (gradient.get() == 5.0).all()


def test_making_it_leaves_no_gradient_where_none_was_also_after_an_error() -> None:
    _, optimiser, cost = training(WithLeaf)
    CapturedStep(optimiser, cost, *batches()[0])
    assert cost.scale.grad is None
    runs = iter(range(9))

    def fails(x: Any, y: Any) -> mg.Tensor:
        return cost(x, y) * (1.0 if next(runs) < 2 else 1 / 0)

    with pytest.raises(ZeroDivisionError):
        CapturedStep(optimiser, fails, *batches()[0])
    assert cost.scale.grad is None
    assert all(p.grad is None for p in optimiser.parameters)


def freeze(tensor: mg.Tensor) -> None:
    tensor.requires_grad = False


def replace_data(tensor: mg.Tensor) -> None:
    tensor.data = tensor.data * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model, cost: freeze(cost.scale), "requires_grad was changed"),
        (lambda model, cost: freeze(model.hidden[0].W), "requires_grad was changed"),
        (lambda model, cost: replace_data(cost.scale), "data of a leaf was replaced"),
    ],
)
def test_leaves_that_were_changed(change: Any, message: str) -> None:
    model, optimiser, cost = training(WithLeaf)
    step = CapturedStep(optimiser, cost, *batches()[0])
    step(*batches()[0])
    change(model, cost)
    with pytest.raises(GraphError, match=f"{message}: make the CapturedStep anew"):
        step(*batches()[0])


def test_a_parameter_that_was_frozen_before_and_is_not_any_more() -> None:
    model, optimiser, cost = training()
    freeze(model.output.b)
    before = model.output.b.numpy()
    step = CapturedStep(optimiser, cost, *batches()[0])
    step(*batches()[0])
    np.testing.assert_array_equal(model.output.b.numpy(), before)
    model.output.b.requires_grad = True
    with pytest.raises(GraphError, match="requires_grad was changed"):
        step(*batches()[0])


class TestWhereItIsNotCaptured:
    def assert_runs_eagerly(self, why: str, *arguments: Any, **settings: Any) -> None:
        one, other = training(*arguments, **settings), training(*arguments, **settings)
        expected = eagerly(*one[1:])
        with pytest.warns(CaptureWarning, match=f"runs eagerly: .*{why}"):
            step, found = captured(*other[1:])
        assert not step.captured
        assert found == expected
        assert_same_training(one, other)

    def test_dropout_and_no_mask_is_lost(self) -> None:
        self.assert_runs_eagerly("dropout draws another mask", dropout=(0.8, 0.5))

    @pytest.mark.parametrize("setting", ["lr", "momentum"])
    def test_schedules(self, setting: str) -> None:
        self.assert_runs_eagerly("schedule", **{setting: exponential_decay(0.5, 1.5)})

    def test_a_cost_that_reads_a_value(self) -> None:
        def cost(model: MaxoutNetwork) -> Any:
            return lambda x, y: model.cost(x, y) * (1.0 if float(x.sum()) > 0 else 2.0)

        self.assert_runs_eagerly("not permitted when stream is capturing: float", cost)

    def test_a_cost_that_is_another_one_each_time(self) -> None:
        """What the host decides is frozen in a graph: the check against the eager step finds it."""

        def cost(model: MaxoutNetwork) -> Any:
            calls = iter(range(100))
            return lambda x, y: model.cost(x, y) * (1.0 + next(calls))

        with pytest.warns(CaptureWarning, match="differs from the eager one"):
            step, _ = captured(*training(cost)[1:])
        assert not step.captured

    def test_a_replay_that_does_not_read_the_batch(
        self, library: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, optimiser, cost = training()
        arrays = [p.data for p in model.parameters()] + optimiser.velocities()

        def capture(function: Any) -> Any:
            function()
            after = [array.copy() for array in arrays]

            def replay() -> None:
                for array, value in zip(arrays, after, strict=True):
                    array[...] = value

            return replay

        monkeypatch.setattr(library, "capture", capture)
        with pytest.warns(CaptureWarning, match="differs from the eager one"):
            CapturedStep(optimiser, cost, *batches()[0])

    def test_a_library_that_refuses(self, library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(function: Any) -> Any:
            raise BackendError("CuPy 14.2.0 does not capture it: calling cuBLAS is unsupported")

        monkeypatch.setattr(library, "capture", refuse)
        self.assert_runs_eagerly("calling cuBLAS is unsupported")

    def test_numpy(self) -> None:
        with backend.use("numpy"):
            self.assert_runs_eagerly("numpy has no device")

    def test_a_fault_of_the_cost_is_no_reason_to_go_on(self) -> None:
        _, optimiser, _ = training()
        with pytest.raises(ZeroDivisionError):
            CapturedStep(optimiser, lambda x, y: 1 / 0, *batches()[0])


def test_arguments() -> None:
    _, optimiser, cost = training()
    x, y = batches()[0]
    with pytest.raises(ArgumentTypeError, match="optimiser must be an SGD"):
        CapturedStep(cost, cost, x, y)
    with pytest.raises(ArgumentTypeError, match="cost must be a function"):
        CapturedStep(optimiser, None, x, y)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="x must be an array or a Tensor, got NoneType"):
        CapturedStep(optimiser, cost, None, y)
    with pytest.raises(ArgumentTypeError, match="cost must return a scalar Tensor, got 3"):
        CapturedStep(optimiser, lambda x, y: 3, x, y)  # type: ignore[arg-type, return-value]
    step = CapturedStep(optimiser, cost, x, y)
    with pytest.raises(ArgumentError, match=r"x must have shape \(6, 5\) and dtype float32, .* got \(3, 5\)"):
        step(x[:3], y[:3])
    with pytest.raises(ArgumentError, match="y must have shape"):
        step(x, x)
    with pytest.raises(ArgumentError, match="x must have .* dtype float32, .* got .* float64"):
        step(x.astype(np.float64), y)
    with pytest.raises(ArgumentTypeError, match="cannot be copied or pickled"):
        copy.deepcopy(step)


def test_batches_from_anywhere_are_copied() -> None:
    one, other = training(), training()
    x, y = batches()[0]
    first = x.get()
    step = CapturedStep(one[1], one[2], x, y)
    for made in (lambda x, y: (x.get(), y.get()), lambda x, y: (mg.Tensor(x), mg.Tensor(y))):
        for batch in batches()[1:]:
            step(*made(*batch))
    np.testing.assert_array_equal(x.get(), first)
    for _ in range(2):
        for x, y in batches()[1:]:
            other[1].zero_grad()
            other[2](x, y).backward()
            other[1].step()
    assert_same_training(one, other)
