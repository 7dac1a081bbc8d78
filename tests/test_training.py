"""Backends, modules, the optimiser and checkpoints."""

from __future__ import annotations

import sys
import threading
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend, lanes
from minigrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    BackendError,
    DataError,
    GraphError,
    NonFiniteError,
)
from minigrad.generators import random_generator
from minigrad.optim import SGD, exponential_decay, linear_ramp
from minigrad.optim.sgd import limit_columns, update
from models import MaxoutNetwork

BLOCK = 1 << 17 if lanes.PLAIN else mg.fast.forms.BLOCK


rng = np.random.default_rng(5)


class Pair(mg.Module):
    def __init__(self) -> None:
        self.W = mg.Parameter(np.arange(6.0, dtype=np.float32).reshape(2, 3))
        self.children = [Single(), Single()]
        self.child = Single()
        self.again = self.W


class Single(mg.Module):
    def __init__(self) -> None:
        self.b = mg.Parameter(np.zeros((), np.float32))


class TestBackend:
    def test_unknown_names(self) -> None:
        for call in (backend.get, backend.use, mg.Tensor(1.0).to):
            with pytest.raises(ArgumentError, match="name must be one of numpy, .*cupy, got 'torch'"):
                call("torch")

    def test_use_as_a_block_and_as_a_call(self, library: Any) -> None:
        with backend.use("numpy"):
            assert backend.current() is backend.NUMPY
            assert isinstance(mg.Tensor([1.0]).data, np.ndarray)
        assert backend.current() is library
        assert isinstance(mg.Tensor([1.0]).data, library.array_type)
        backend.use("numpy")
        assert backend.current() is backend.NUMPY

    def test_the_environment_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        def look() -> None:
            try:
                seen.append(backend.current().name)
            except (ArgumentError, BackendError) as error:
                seen.append(str(error))

        for value in ("numpy", "", "torch"):
            monkeypatch.setenv("MINIGRAD_BACKEND", value)
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        assert seen[:2] == ["numpy", "numpy"]
        assert "MINIGRAD_BACKEND must be one of numpy" in seen[2]

    def test_what_is_no_array(self) -> None:
        with pytest.raises(ArgumentError, match="list"):
            backend.of([1.0])

    def test_arrays_of_two_libraries_do_not_mix(self) -> None:
        class OtherArray:
            dtype, ndim, shape = np.dtype(np.float32), 1, (1,)

        known = dict(backend._by_type), dict(backend._by_name)
        backend.register(backend.Backend("other", np, OtherArray))
        try:
            with pytest.raises(BackendError, match=r'numpy array meets a other array.*\.to\("numpy"\)'):
                mg.add(np.ones(1), OtherArray())
        finally:
            backend._by_type.clear()
            backend._by_type.update(known[0])
            backend._by_name.clear()
            backend._by_name.update(known[1])

    @pytest.mark.gpu
    def test_the_real_libraries_do_not_mix_either(self) -> None:
        try:
            gpu = backend.get("cupy")
        except BackendError as error:
            pytest.skip(str(error))
        with pytest.raises(BackendError, match="numpy array meets a cupy array"):
            mg.add(np.ones(1), gpu.asarray(np.ones(1)))
        x = mg.Tensor(np.ones(2), requires_grad=True)
        mg.sum(x.to("cupy") * 2).backward()
        assert x.grad.tolist() == [2, 2]

    def test_one_seed_one_sequence(self) -> None:
        a, b = (random_generator(4).random(5) for _ in range(2))
        np.testing.assert_array_equal(a, b)


class TestModule:
    def test_names_in_order_and_a_shared_parameter_once(self) -> None:
        assert list(Pair().named_parameters()) == ["W", "children.0.b", "children.1.b", "child.b"]
        assert len(Pair().parameters()) == 4

    def test_modes(self) -> None:
        pair = Pair()
        assert pair.training
        pair.eval()
        assert not pair.children[1].training
        pair.child.train()
        with pytest.raises(KeyError), pair.evaluating():
            assert not pair.child.training
            raise KeyError
        assert [m.training for _, m in pair.named_modules()] == [False, False, False, True]

    def test_a_module_without_forward(self) -> None:
        with pytest.raises(TypeError, match="Pair does not define forward"):
            Pair()(1.0)

    def test_to_another_dtype(self) -> None:
        pair = Pair()
        W = pair.W
        W.grad = np.ones((2, 3), np.float32)
        pair.to("numpy", dtype=np.float64)
        assert pair.W is W
        assert W.dtype == W.grad.dtype == np.float64
        with pytest.raises(ArgumentTypeError, match="dtype"):
            pair.to(dtype=np.int32)

    def test_a_parameter_owns_its_data(self) -> None:
        data = np.asfortranarray(np.ones((2, 3), np.float32))
        parameter = mg.Parameter(data)
        assert not np.shares_memory(parameter.data, data)
        assert parameter.data.flags.c_contiguous
        assert parameter.requires_grad
        with pytest.raises(ArgumentTypeError):
            mg.Parameter(np.arange(3))

    def test_state_round_trip(self) -> None:
        one, other = Pair(), Pair()
        one.W.data += 1
        state = one.state_dict()
        other.load_state_dict(state)
        np.testing.assert_array_equal(other.W.data, one.W.data)
        state["W"][:] = -1
        assert one.W.data.min() >= 0
        assert other.W.data.min() >= 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"W": None}, "lacks W"),
            ({"extra": np.zeros(1)}, "extra"),
            ({"W": np.zeros((3, 2), np.float32)}, r"'W'.*\(2, 3\).*\(3, 2\)"),
            ({"child.b": np.zeros((), np.float64)}, "float32.*float64"),
        ],
    )
    def test_a_state_that_does_not_fit_changes_nothing(self, change: dict[str, Any], message: str) -> None:
        pair = Pair()
        before = pair.state_dict()
        state = {k: v + 1 for k, v in before.items()} | change
        state = {k: v for k, v in state.items() if v is not None}
        with pytest.raises(ArgumentError, match=message):
            pair.load_state_dict(state)
        for name, array in pair.state_dict().items():
            np.testing.assert_array_equal(array, before[name])

    def test_parameters_in_a_list(self) -> None:
        class Listed(mg.Module):
            def __init__(self) -> None:
                self.weights = [mg.Parameter(np.ones(1)), mg.Parameter(np.ones(2))]

        assert list(Listed().named_parameters()) == ["weights.0", "weights.1"]

    def test_zero_grad(self) -> None:
        pair = Pair()
        mg.sum(pair.W).backward()
        pair.zero_grad()
        assert pair.W.grad is None


class TestSGD:
    def test_classical_momentum(self, library: Any) -> None:
        p = mg.Parameter(np.array([1.0, 2.0]))
        optimiser = SGD([p], lr=0.1, momentum=0.5)
        expected, v = np.array([1.0, 2.0]), np.zeros(2)
        for g in ([1.0, -1.0], [0.5, 2.0], [0.0, 0.0]):
            p.grad = library.asarray(np.array(g))
            optimiser.step()
            v = 0.5 * v - 0.1 * np.array(g)
            expected = expected + v
            np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12)

    @pytest.mark.parametrize("size", [1, 1000, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
    def test_the_update_in_blocks_is_the_plain_one(self, size: int) -> None:
        p, v, g = (rng.normal(size=size).astype(np.float32) for _ in range(3))
        plain = p.copy(), v.copy()
        update(p, v, g, 0.1, 0.9)
        plain[1][:] = np.float32(0.9) * plain[1] - np.float32(0.1) * g
        np.testing.assert_array_equal(v, plain[1])
        np.testing.assert_array_equal(p, plain[0] + plain[1])

    def test_layouts_without_a_flat_view(self) -> None:
        p, v, g = (rng.normal(size=(4, 6)) for _ in range(3))
        expected = p + (0.9 * v - 0.1 * g)
        strided = np.asfortranarray(p)
        update(strided, v, g, 0.1, 0.9)
        np.testing.assert_allclose(strided, expected, rtol=1e-12)

    def test_a_gradient_of_another_shape(self) -> None:
        p = mg.Parameter(np.ones((2, 3)))
        with pytest.raises(ArgumentError, match=r"grad must have data's shape \(2, 3\) .* got \(3, 2\)"):
            p.grad = np.ones((3, 2))
        assert p.grad is None

    def test_a_parameter_without_gradient_stays(self) -> None:
        p, q = mg.Parameter(np.ones(1)), mg.Parameter(np.ones(1))
        optimiser = SGD([p, q], lr=1.0)
        mg.sum(p * 2).backward()
        optimiser.step()
        assert (p.item(), q.item()) == (-1.0, 1.0)
        optimiser.zero_grad()
        assert p.grad is None

    @given(st.floats(0.1, 3.0))
    def test_the_max_norm_constraint(self, limit: float) -> None:
        W = rng.normal(size=(5, 8)).astype(np.float32)
        before = W.copy()
        limit_columns(W, limit)
        norms, limited = np.linalg.norm(before, axis=0), np.linalg.norm(W, axis=0)
        np.testing.assert_allclose(limited, np.minimum(norms, limit), rtol=1e-5)
        np.testing.assert_array_equal(W[:, norms < 0.999 * limit], before[:, norms < 0.999 * limit])
        np.testing.assert_allclose(W / limited, before / norms, rtol=1e-4, atol=1e-6)

    def test_max_norm_holds_after_each_step_and_spares_biases(self) -> None:
        W, b = mg.Parameter(np.ones((3, 2), np.float32)), mg.Parameter(np.full(2, 9.0, np.float32))
        optimiser = SGD([W, b], lr=0.0, max_norm=1.0)
        mg.sum(W).backward()
        mg.sum(b).backward()
        optimiser.step()
        np.testing.assert_allclose(np.linalg.norm(W.data, axis=0), 1.0, rtol=1e-6)
        assert b.data.tolist() == [9, 9]

    def test_max_norm_holds_for_filters_and_spares_what_has_no_units(self) -> None:
        """A convolution's W has a unit for each place on its last axis; an array of three axes has none."""
        filters, other = mg.Parameter(np.ones((2, 2, 3, 5))), mg.Parameter(np.ones((4, 4, 4)))
        optimiser = SGD([filters, other], lr=0.0, max_norm=1.0)
        (mg.sum(filters) + mg.sum(other)).backward()
        optimiser.step()
        np.testing.assert_allclose(np.sqrt((filters.data**2).sum((0, 1, 2))), 1.0)
        assert (other.data == 1).all()

    def test_schedules(self) -> None:
        decay = exponential_decay(0.1, 1.000004, minimum=1e-6)
        assert decay(0) == 0.1
        assert decay(1000) == pytest.approx(0.1 / 1.000004**1000)
        assert decay(10**12) == 1e-6
        ramp = linear_ramp(0.5, 0.7, 100)
        assert [ramp(0), ramp(50), ramp(100), ramp(900)] == pytest.approx([0.5, 0.6, 0.7, 0.7])
        p = mg.Parameter(np.zeros(1))
        optimiser = SGD([p], lr=lambda t: [1.0, 10.0][t], momentum=lambda t: 0.0)
        for _ in range(2):
            p.grad = np.ones(1)
            optimiser.step()
        assert p.item() == -11.0

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"lr": -1.0}, "lr"),
            ({"lr": float("nan")}, "lr"),
            ({"lr": 0.1, "momentum": 1.0}, r"momentum must be a finite number in \[0.0, 1.0\)"),
            ({"lr": 0.1, "max_norm": 0.0}, "max_norm"),
            ({"lr": "0.1"}, "lr"),
        ],
    )
    def test_settings_that_make_no_sense(self, arguments: dict[str, Any], name: str) -> None:
        with pytest.raises(ArgumentTypeError, match=r"give model\.parameters"):
            SGD(Pair(), lr=0.1)  # type: ignore[arg-type]
        with pytest.raises((ArgumentError, ArgumentTypeError), match=name):
            SGD([mg.Parameter(np.ones(1))], **arguments)
        p = mg.Parameter(np.ones(1))
        for parameters in ([], [mg.Tensor([1.0])], [p, p]):
            with pytest.raises((ArgumentError, ArgumentTypeError), match="parameters"):
                SGD(parameters, lr=0.1)  # type: ignore[arg-type]

    def test_going_on_from_a_state(self) -> None:
        def steps(optimiser: SGD, parameter: mg.Parameter, count: int) -> None:
            for _ in range(count):
                parameter.grad = 2 * parameter.data
                optimiser.step()

        whole, part, rest = (mg.Parameter(np.ones(3)) for _ in range(3))
        settings = {"lr": linear_ramp(0.1, 0.0, 10), "momentum": 0.9}
        steps(SGD([whole], **settings), whole, 6)
        first = SGD([part], **settings)
        steps(first, part, 2)
        second = SGD([rest], **settings)
        rest.data[:] = part.data
        second.load_state_dict(first.state_dict())
        steps(second, rest, 4)
        np.testing.assert_array_equal(rest.data, whole.data)
        with pytest.raises(ArgumentError, match="lacks"):
            second.load_state_dict({})
        with pytest.raises(ArgumentError, match="updates"):
            second.load_state_dict({**first.state_dict(), "updates": np.array(-5)})

    def test_the_velocity_follows_the_model(self) -> None:
        pair = Pair()
        optimiser = SGD(pair.parameters(), lr=0.1, momentum=0.9)
        for dtype in (np.float32, np.float64):
            pair.to(dtype=dtype)
            optimiser.zero_grad()
            mg.sum(pair.W).backward()
            optimiser.step()
        assert pair.W.dtype == np.float64
        np.testing.assert_allclose(pair.W.data, np.arange(6.0).reshape(2, 3) - 0.1 - 0.19, rtol=1e-6)


def grads(parameters: Any, *values: Any) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.grad = value


class TestAdam:
    def test_its_steps_are_kingma_and_ba_s(self, library: Any) -> None:
        """Their algorithm 1, of each Parameter by its own count of updates."""
        random = np.random.default_rng(0)
        values = {name: random.normal(size=shape) for name, shape in (("W", (3, 2)), ("b", (2,)))}
        with backend.use(library.name):
            parameters = {name: mg.Parameter(value) for name, value in values.items()}
        optimiser = mg.optim.Adam(parameters, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2)
        means = {name: 0.0 * value for name, value in values.items()}
        squares, counts = dict(means), dict.fromkeys(values, 0)
        for step in range(7):
            optimiser.zero_grad()
            for name in ("W", "b") if step % 3 else ("W",):
                g = random.normal(size=values[name].shape)
                parameters[name].grad = library.asarray(g)
                g = g + 0.2 * values[name]
                counts[name] += 1
                means[name] = 0.8 * means[name] + 0.2 * g
                squares[name] = 0.95 * squares[name] + 0.05 * g**2
                m = means[name] / (1 - 0.8 ** counts[name])
                v = squares[name] / (1 - 0.95 ** counts[name])
                values[name] = values[name] - 0.1 * m / (np.sqrt(v) + 1e-3)
            optimiser.step()
            if step == 3:  # saved by name, and gone on with in another order
                state = optimiser.state_dict()
                parameters = dict(reversed(parameters.items()))
                optimiser = mg.optim.Adam(parameters, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2)
                optimiser.load_state_dict({name: state[name] for name in sorted(state)})
        for name, value in values.items():
            np.testing.assert_allclose(parameters[name].numpy(), value, rtol=1e-12)

    def test_without_memory_of_the_mean_the_present_gradient_counts(self) -> None:
        p = mg.Parameter(np.zeros(1, np.float32))
        optimiser = mg.optim.Adam([p], betas=(0.0, 0.0))
        for g in (1e4, 1e-4):
            p.grad = np.float32([g])
            optimiser.step()
            assert optimiser.state_dict()["mean.0"][0] == np.float32(g)

    def test_float32_stays(self) -> None:
        p = mg.Parameter(np.ones(3, np.float32))
        optimiser = mg.optim.Adam([p], lr=np.float64(0.1), weight_decay=np.float64(0.1))
        p.grad = np.ones(3, np.float32)
        optimiser.step()
        assert p.dtype == np.float32
        assert optimiser.state_dict()["mean.0"].dtype == np.float32

    def test_a_state_that_does_not_fit_changes_nothing(self) -> None:
        p = mg.Parameter(np.ones(3))
        optimiser = mg.optim.Adam({"p": p})
        p.grad = np.ones(3)
        optimiser.step()
        before = optimiser.state_dict()
        for name, bad in (("count.p", np.array(-1)), ("mean.p", np.ones(2)), ("updates", np.array(-1))):
            with pytest.raises(ArgumentError, match=name.split(".")[0]):
                optimiser.load_state_dict({**before, name: bad})
        for name in before:
            with pytest.raises(ArgumentError, match=f"state lacks {name}"):
                optimiser.load_state_dict({key: value for key, value in before.items() if key != name})
        for name, value in optimiser.state_dict().items():
            np.testing.assert_array_equal(value, before[name])

    def test_a_schedule(self) -> None:
        p = mg.Parameter(np.zeros(1))
        optimiser = mg.optim.Adam([p], lr=linear_ramp(1.0, 0.0, 2), eps=0.0)
        for _ in range(3):
            p.grad = np.ones(1)
            optimiser.step()
        assert p.numpy()[0] == pytest.approx(-1.5)


class TestAnOptimiserOfOnesOwn:
    class Descent(mg.optim.Optimiser):
        remembers = ("steps",)

        def settings(self) -> Any:
            return None

        def update_parameter(self, position: int, g: Any, memory: list[Any], settings: Any) -> None:
            self.parameters[position].data -= 0.1 * g
            memory[0] += g
            if self.updates == 1:
                raise ZeroDivisionError

    def test_one_that_raises_halfway_leaves_no_write_unseen(self) -> None:
        p = mg.Parameter([1.0])
        optimiser = self.Descent([p])
        p.grad = np.ones(1)
        optimiser.step()
        y = mg.sum(p * p)
        with pytest.raises(ZeroDivisionError):
            optimiser.step()
        with pytest.raises(GraphError):
            y.backward()

    def test_gradients_are_arrays_without_dimensions_too(self) -> None:
        p = mg.Parameter(1.0)
        optimiser = self.Descent([p], weight_decay=0.5)
        p.grad = np.array(1.0)
        optimiser.step()
        assert optimiser.state_dict()["steps.0"].item() == 1.5

    @pytest.mark.parametrize("remembers", ["steps", ("a", "a"), ["a"]])
    def test_what_it_remembers_has_different_names(self, remembers: Any) -> None:
        odd = type("Odd", (self.Descent,), {"remembers": remembers})
        with pytest.raises(ArgumentTypeError, match="^remembers must be a tuple of different names"):
            odd([mg.Parameter([1.0])])

    def test_settings_may_be_schedules_of_the_updates(self) -> None:
        p, q = mg.Parameter([1.0]), mg.Parameter([1.0])
        scheduled = SGD([p], lr=0.1, weight_decay=lambda t: 0.5 * t)
        plain = SGD([q], lr=0.1)
        for t in range(3):
            p.grad, q.grad = np.ones(1), np.ones(1)
            plain.weight_decay = 0.5 * t
            scheduled.step(), plain.step()
        assert p.item() == q.item()
        for no_schedule in (len, lambda: 1.0):
            with pytest.raises(ArgumentTypeError, match=r"^lr(\(0\))? must be a number or a function of"):
                SGD([p], lr=no_schedule)


@pytest.mark.parametrize("optimiser", [partial(SGD, lr=0.1, momentum=0.5), partial(mg.optim.Adam, lr=0.1)])
def test_weight_decay_is_the_gradient_of_a_penalty(optimiser: Any) -> None:
    start = np.array([1.0, -2.0, 3.0])
    decayed, penalised = mg.Parameter(start), mg.Parameter(start)
    optimisers = optimiser([decayed], weight_decay=0.3), optimiser([penalised])
    for _ in range(4):
        for one in optimisers:
            one.zero_grad()
        mg.sum(mg.exp(decayed)).backward()
        (mg.sum(mg.exp(penalised)) + 0.15 * mg.sum(penalised * penalised)).backward()
        for one in optimisers:
            one.step()
    np.testing.assert_allclose(decayed.numpy(), penalised.numpy(), rtol=1e-12)


class TestWhatDoesNotFit:
    """An error names the argument, and comes before anything was changed."""

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (
                lambda p: mg.Tensor(p.numpy()),
                r"\[1\]\.grad must be a numpy array.* got Tensor: give its data",
            ),
            (lambda p: p.numpy().tolist(), r"\[1\]\.grad must be a numpy array.* got list"),
            (lambda p: 1.0, r"\[1\]\.grad must be a numpy array.* got float"),
            (
                lambda p: backend.get("strict").asarray(p.numpy()),
                r"\[1\]\.grad must be a numpy array.* got Array",
            ),
            (lambda p: np.ones(p.shape, int), r"\[1\]\.grad must have dtype float64,.* got int64"),
            (lambda p: p.numpy().T, r"\[1\]\.grad must have shape \(2, 3\), got \(3, 2\)"),
            (lambda p: np.float64(1.0), r"\[1\]\.grad must"),
        ],
    )
    def test_a_gradient(self, wrong: Any, message: str) -> None:
        parameters = [mg.Parameter(np.ones(4)), mg.Parameter(np.ones((2, 3)))]
        optimiser = SGD(parameters, lr=0.1)
        try:
            grads(parameters, np.ones(4), wrong(parameters[1]))
        except (ArgumentError, ArgumentTypeError):
            return  # refused where it was set
        with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^parameters{message}"):
            optimiser.step()
        assert optimiser.updates == 0
        assert all((p.numpy() == 1.0).all() for p in parameters)

    def test_a_gradient_of_nan_while_they_are_looked_for(self) -> None:
        p = mg.Parameter(np.ones(2))
        optimiser = SGD({"W": p}, lr=0.1)
        p.grad = np.array([1.0, np.nan])
        with (
            mg.detect_nonfinite(),
            pytest.raises(NonFiniteError, match=r"^parameters\['W'\]\.grad holds a NaN"),
        ):
            optimiser.step()
        assert p.numpy().tolist() == [1, 1]

    def test_data_of_another_shape_than_the_velocity(self) -> None:
        p = mg.Parameter(np.ones(2))
        optimiser = SGD([p], lr=0.1)
        p.grad = np.ones(2)
        optimiser.step()
        p.data, p.grad = np.ones(3), np.ones(3)
        with pytest.raises(
            ArgumentError, match=r"the velocity of parameters\[0\] must have shape \(3,\), got"
        ):
            optimiser.step()

    @pytest.mark.parametrize(
        "wrong", [float("nan"), "0.1", -0.1, np.ones(2), None, True, [0.1], float("inf")]
    )
    @pytest.mark.parametrize("setting", ["lr", "momentum"])
    def test_a_schedule_and_a_number_set_later(self, setting: str, wrong: Any) -> None:
        p = mg.Parameter(np.ones(2))
        for value in (wrong, lambda t: 0.5 if t == 0 else wrong):
            optimiser = SGD([p], **{"lr": 0.1, setting: lambda t: 0.5})
            setattr(optimiser, setting, value)
            if callable(value):
                p.grad = np.zeros(2)
                optimiser.step()
            p.grad = np.ones(2)
            name = rf"{setting}\(1\)" if callable(value) else setting
            with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^{name} must be"):
                optimiser.step()
            assert p.numpy().tolist() == [1, 1]
            with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^{setting}.* must be"):
                SGD([p], **{"lr": 0.1, setting: wrong if not callable(value) else lambda t: wrong})

    @pytest.mark.parametrize("wrong", [0.0, -1.0, "1", float("nan"), 1e-200, 1e300, float("inf"), False])
    def test_max_norm(self, wrong: Any) -> None:
        p = mg.Parameter(np.ones((2, 2)))
        with pytest.raises((ArgumentError, ArgumentTypeError), match="^max_norm must be"):
            SGD([p], lr=0.1, max_norm=wrong)
        optimiser = SGD([p], lr=0.1)
        optimiser.max_norm = wrong
        p.grad = np.ones((2, 2))
        with pytest.raises((ArgumentError, ArgumentTypeError), match="^max_norm must be"):
            optimiser.step()
        assert (p.numpy() == 1).all()

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            (Pair().parameters, r"^parameters must be a list.* give model\.parameters\(\).* got method"),
            (Pair(), r"^parameters must be a list.* got Pair"),
            ("W", "^parameters must be a list.* got str"),
            (5, "^parameters must be a list.* got int"),
            (None, "^parameters must be a list.* got NoneType"),
            (set(Pair().parameters()), "^parameters must be a list.* got set"),
            (mg.Tensor([1.0]), "^parameters must be a list.* got Tensor"),
            ([mg.Tensor([1.0])], r"^parameters\[0\] must be a Parameter, got Tensor: make it one"),
            ({"W": np.ones(1)}, r"^parameters\['W'\] must be a Parameter, got ndarray"),
            ({3: Single().b}, "^parameters must have strings for names, got 3"),
            (Pair().named_parameters().items(), r"^parameters\[0\] must be a Parameter, got tuple"),
            ({}, "^parameters must hold at least one"),
        ],
    )
    def test_parameters(self, parameters: Any, message: str) -> None:
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            SGD(parameters, lr=0.1)

    @pytest.mark.parametrize("data", [[1, 2], True, "abc", None, [1j], 3])
    def test_data_of_a_parameter(self, data: Any) -> None:
        with pytest.raises(
            ArgumentTypeError,
            match=r"^data must be (floating-point.*numpy\.asarray\(data, numpy|real numbers, got)",
        ):
            mg.Parameter(data)

    @pytest.mark.parametrize("state", [None, 5, ["W"], Pair()])
    def test_a_state(self, state: Any) -> None:
        for owner in (Pair(), SGD(Pair().parameters(), lr=0.1)):
            with pytest.raises(ArgumentTypeError, match="^state must be a mapping of names to arrays"):
                owner.load_state_dict(state)


def test_read_only_data_is_found_before_anything_is_changed() -> None:
    p, q = mg.Parameter(np.ones(2)), mg.Parameter(np.ones(2))
    q.data.flags.writeable = False
    optimiser = SGD([p, q], lr=0.1)
    p.grad, q.grad = np.ones(2), np.ones(2)
    with pytest.raises(ArgumentError, match=r"parameters\[1\]\.data must be writable"):
        optimiser.step()
    assert p.numpy().tolist() == [1.0, 1.0]
    assert optimiser.updates == 0


class TestTheVelocitiesGoToTheirParameters:
    def optimiser(self, parameters: Any, steps: int = 0) -> SGD:
        made = SGD(parameters, lr=0.1, momentum=0.9)
        for _ in range(steps):
            for number, p in enumerate(made.parameters):
                p.grad = np.full(p.shape, number + 1.0)
            made.step()
        return made

    def test_of_a_list_in_another_order_they_are_refused(self) -> None:
        a, b = (mg.Parameter([float(n)]) for n in range(2))
        state = self.optimiser([a, b], 2).state_dict()
        other = self.optimiser([b, a], 1)
        before = other.state_dict()
        state["checksums"] = before["checksums"][::-1].copy()  # as if the model had been loaded
        with pytest.raises(ArgumentError, match=r"in the order \[1, 0\]: give SGD a mapping"):
            other.load_state_dict(state)
        for name, array in other.state_dict().items():
            np.testing.assert_array_equal(array, before[name])

    def test_of_a_mapping_they_go_by_name(self) -> None:
        a, b = (mg.Parameter([float(n)]) for n in range(2))
        state = self.optimiser({"a": a, "b": b}, 2).state_dict()
        assert list(state) == ["updates", "velocity.a", "velocity.b"]
        other = self.optimiser({"b": b, "a": a})
        other.load_state_dict(state)
        assert [v.item() for v in other.velocities()] == [
            state["velocity.b"].item(),
            state["velocity.a"].item(),
        ]
        with pytest.raises(ArgumentError, match=r"state lacks velocity\.0"):
            self.optimiser([a, b]).load_state_dict(state)

    def test_the_same_order_and_a_state_without_checksums(self) -> None:
        a, b = (mg.Parameter([float(n)]) for n in range(2))
        state = self.optimiser([a, b], 2).state_dict()
        without = {name: array for name, array in state.items() if name != "checksums"}
        for given_state in (state, without):
            other = self.optimiser([a, b])
            other.load_state_dict(given_state)
            assert other.updates == 2
            assert other.velocities()[1].item() == state["velocity.1"].item()
        with pytest.raises(ArgumentError, match="checksums"):
            self.optimiser([a]).load_state_dict({**self.optimiser([b]).state_dict(), "checksums": np.ones(3)})


class TestEdges:
    @pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1, 1)])
    @pytest.mark.parametrize(("lr", "momentum"), [(0.1, 0.9), (0.0, 0.9), (0.1, 0.0), (0, 0)])
    def test_shapes_and_zeros(self, library: Any, shape: Any, lr: float, momentum: float) -> None:
        p = mg.Parameter(np.ones(shape))
        optimiser = SGD([p], lr=lr, momentum=momentum, max_norm=5.0)
        expected, v = np.ones(shape), np.zeros(shape)
        for _ in range(2):
            p.grad = library.asarray(np.full(shape, 2.0))
            optimiser.step()
            v = momentum * v - lr * 2.0
            expected = expected + v
        np.testing.assert_array_equal(p.numpy(), expected)
        assert p.shape == shape
        assert p.data.flags.c_contiguous

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("max_norm", [1e-100, 1e-30, 1e-12, 1.0, 1e25, 1e100])
    def test_columns_of_every_length(self, library: Any, dtype: Any, max_norm: float) -> None:
        info = np.finfo(dtype)
        lengths = [
            x for x in (0.0, 1e-40, 1e-30, 1e-6, 1.0, 3e3, 1e20, 1e38, 1e150) if x < float(info.max) / 4
        ]
        host = (np.array([[3.0], [4.0]]) / 5 * lengths).astype(dtype)
        W = library.xp.array(library.asarray(host))
        limit_columns(W, max_norm)
        exact = host.astype(np.longdouble)
        norms = np.hypot(exact[0], exact[1])
        expected = exact * np.where(norms > max_norm, max_norm / np.maximum(norms, 1e-300), 1)
        found = backend.to_numpy(W)
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found, expected.astype(dtype), rtol=4 * info.eps, atol=4 * info.smallest_subnormal
        )
        np.testing.assert_array_equal(found[:, norms < max_norm * 0.9], host[:, norms < max_norm * 0.9])

    @pytest.mark.parametrize("turned", [False, True], ids=["whole", "a view"])
    def test_filters_are_limited_each_by_itself(self, library: Any, turned: bool) -> None:
        """A filter is what has one place on the last axis, whatever its rows, columns and channels."""
        lengths = np.arange(1.0, 7.0)
        host = (np.ones((3, 2, 4, 6)) * lengths / 24**0.5).astype(np.float32)
        W = library.xp.array(library.asarray(host))
        W = W.transpose(1, 0, 2, 3) if turned else W
        expected = library.xp.array(library.asarray(host.reshape(-1, 6)))
        limit_columns(W, 4.0)
        limit_columns(expected, 4.0)
        found = backend.to_numpy(W.transpose(1, 0, 2, 3) if turned else W).reshape(-1, 6)
        np.testing.assert_allclose(found, backend.to_numpy(expected), rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), np.minimum(lengths, 4.0), rtol=1e-5)

    @pytest.mark.filterwarnings("ignore:overflow")
    def test_columns_that_are_too_long_even_for_float64(self, library: Any) -> None:
        W = library.asarray(np.array([[1e200, 3.0, np.inf, np.nan], [0.0, 4.0, 1.0, 1.0]]))
        limit_columns(W, 1.0)
        found = backend.to_numpy(W)
        np.testing.assert_allclose(found[:, 1], [0.6, 0.8])
        assert np.isnan(found[:, [0, 2]]).all()
        assert np.isnan(found[0, 3])

    def test_many_rows(self, library: Any) -> None:
        """Added one by one in float32, the squares of so many would stop growing."""
        rows = 300_000
        W = library.asarray(np.full((rows, 2), [0.1, 0.001], np.float32))
        limit_columns(W, 1.0)
        norms = np.linalg.norm(backend.to_numpy(W).astype(np.float64), axis=0)
        np.testing.assert_allclose(norms, [1.0, 0.001 * rows**0.5], rtol=1e-5)


class TestThreads:
    def test_gradients_of_shared_parameters(self) -> None:
        """Each thread writes gradients into memory that another has let go of, and into no other."""
        model = MaxoutNetwork(20, 3, units=(16,), pieces=2)
        parameters = model.parameters()
        batches = [rng.normal(size=(8, 20)).astype(np.float32) for _ in range(4)]
        labels = np.zeros(8, int)
        expected = [[g.numpy().copy() for g in mg.grad(model.cost(x, labels), parameters)] for x in batches]
        wrong: list[int] = []

        def work(number: int) -> None:
            kept: list[Any] = []
            for _ in range(60):
                found = mg.grad(model.cost(batches[number], labels), parameters)
                kept = [*kept[-2:], found]
                for gradients in kept:
                    for g, right in zip(gradients, expected[number], strict=True):
                        if not np.array_equal(g.numpy(), right):
                            wrong.append(number)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert wrong == []


class TestCheckpoint:
    def test_round_trip(self, tmp_path: Path) -> None:
        one, other = Pair(), Pair()
        one.W.data *= 2
        path = tmp_path / "model.npz"
        mg.save(path, one)
        state = mg.load(path, other)
        np.testing.assert_array_equal(other.W.data, one.W.data)
        assert list(state) == list(one.named_parameters())
        mg.save(path, {"file": np.arange(3), "empty": np.zeros((0, 2))})
        assert mg.load(path)["file"].tolist() == [0, 1, 2]
        assert [f.name for f in tmp_path.iterdir()] == ["model.npz"]

    def test_a_failed_save_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.ones(2)})
        for wrong in (np.array([object()]), None, Single()):
            with pytest.raises(ArgumentTypeError, match=r"state\['b'\] must be an array of numbers"):
                mg.save(path, {"a": np.zeros(2), "b": wrong})
        assert mg.load(path)["a"].tolist() == [1, 1]
        assert [f.name for f in tmp_path.iterdir()] == ["model.npz"]

    @given(
        st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["a", "a.npy", "a.npy.npy", "", "/", "../a"]),
            st.integers(0, 9),
            max_size=9,
        )
    )
    @settings(max_examples=10)  # each writes a file to the disk
    def test_every_name_comes_back_or_is_refused(self, tmp_path: Path, values: dict[str, int]) -> None:
        path = tmp_path / "state.npz"
        state = {name: np.array([value]) for name, value in values.items()}
        try:
            mg.save(path, state)
        except ArgumentError:
            assert any(set(name) & {"\0", "\\"} for name in values)
            return
        assert {name: array.item() for name, array in mg.load(path).items()} == values

    @pytest.mark.parametrize("name", [1, None, ("a",), b"a"])
    def test_names_that_are_no_strings(self, tmp_path: Path, name: Any) -> None:
        with pytest.raises(ArgumentTypeError, match="^state must have strings for names, got"):
            mg.save(tmp_path / "state.npz", {name: np.ones(1)})

    @pytest.mark.parametrize(
        "name", ["a\0b", "\udc80", "a" * 70_000, "a\\b"], ids=["zero", "lone", "long", "back"]
    )
    def test_names_that_a_zip_file_does_not_hold(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ArgumentError, match="^state must have names that a zip file can hold"):
            mg.save(tmp_path / "state.npz", {name: np.ones(1)})
        assert list(tmp_path.iterdir()) == []

    def test_a_file_with_an_entry_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "state.npz"
        mg.save(path, {"a": np.ones(1)})
        content = zipfile.ZipFile(path).read("a.npy")
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", content)
        with pytest.raises(DataError, match="twice"):
            mg.load(path)

    def test_everything_loaded_is_c_ordered(self, tmp_path: Path, library: Any) -> None:
        pair = Pair()
        optimiser = SGD(pair.parameters(), lr=0.1)
        state = {name: np.array(array, order="F") for name, array in pair.state_dict().items()}
        velocities = {name: np.array(array, order="F") for name, array in optimiser.state_dict().items()}
        mg.save(tmp_path / "state.npz", state)
        for load in (lambda: pair.load_state_dict(state), lambda: mg.load(tmp_path / "state.npz", pair)):
            load()
            assert pair.W.data.flags.c_contiguous
            np.testing.assert_array_equal(pair.W.numpy(), state["W"])
        optimiser.load_state_dict(velocities)
        assert all(v.flags.c_contiguous for v in optimiser.velocities())
        pair.W.data = library.xp.array(library.asarray(np.ones((3, 2), np.float32))).T
        pair.to(dtype=np.float32)
        assert pair.W.data.flags.c_contiguous
        assert pair.child.b.shape == ()

    def test_no_pickles(self, tmp_path: Path) -> None:
        path = tmp_path / "evil.npz"
        np.savez(path, a=np.array([object()], dtype=object))
        with pytest.raises(DataError, match="evil.npz"):
            mg.load(path)

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty", "flipped"])
    def test_damaged_files(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.arange(1000.0)})
        content = path.read_bytes()
        path.write_bytes(
            {
                "truncated": content[:500],
                "text": b"<html>not found</html>",
                "empty": b"",
                "flipped": content[:3000] + b"\xff\xff\xff" + content[3003:],
            }[damage]
        )
        with pytest.raises(DataError, match="model.npz"):
            mg.load(path)

    def test_every_flipped_byte_is_noticed_or_harmless(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.arange(3.0)})
        content = path.read_bytes()
        for position in range(len(content)):
            path.write_bytes(content[:position] + bytes([content[position] ^ 0x11]) + content[position + 1 :])
            try:
                state = mg.load(path)
            except DataError:
                continue
            assert [a.tolist() for a in state.values()] in ([[0, 1, 2]], [])

    def test_an_entry_that_is_no_array(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("W", b"hello")
        with pytest.raises(DataError, match="plain arrays"):
            mg.load(path)

    def test_saving_over_a_directory_leaves_nothing_behind(self, tmp_path: Path) -> None:
        (tmp_path / "model.npz").mkdir()
        with pytest.raises(OSError, match=r"model\.npz"):
            mg.save(tmp_path / "model.npz", Single())
        assert [f.name for f in tmp_path.iterdir()] == ["model.npz"]

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            mg.load(tmp_path / "none.npz")
        with pytest.raises(FileNotFoundError):
            mg.save(tmp_path / "none" / "model.npz", {})
        for swapped in (lambda: mg.save(Single(), "model.npz"), lambda: mg.load(Single())):  # type: ignore
            with pytest.raises(ArgumentTypeError, match="path must come first"):
                swapped()
        with pytest.raises(ArgumentTypeError, match="state must be a Module"):
            mg.save(tmp_path / "model.npz", 5)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="into must be a Module"):
            mg.load(tmp_path / "model.npz", 5)  # type: ignore[arg-type]

    def test_a_state_of_another_model_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        pair = Pair()
        for state, message in (
            (Single(), "state has b, for which there is no place"),
            ({"W": pair.W.numpy()}, "state lacks child.b"),
            (
                {"W": np.zeros((2, 2)), "child.b": pair.child.b.numpy()},
                r"state\['W'\] must have shape \(2, 3\)",
            ),
        ):
            mg.save(path, state)
            with pytest.raises(ArgumentError, match=message):
                mg.load(path, pair)
        assert zipfile.is_zipfile(path)


def test_an_optimiser_and_a_schedule_show_their_settings() -> None:
    lr = mg.optim.exponential_decay(0.1, 1.5)
    assert repr(lr) == "exponential_decay(0.1, 1.5, 0.0)"
    assert repr(mg.optim.linear_ramp(0.5, 0.9, 100)) == "linear_ramp(0.5, 0.9, 100)"
    optimiser = SGD(mg.Linear(3, 20).parameters(), lr=lr, momentum=0.9)
    assert repr(optimiser) == (
        "SGD(weight_decay=0.0, lr=exponential_decay(0.1, 1.5, 0.0), momentum=0.9, max_norm=None)"
        "  # 2 Parameters of 80 numbers, 0 updates"
    )
    assert repr(mg.optim.Adam(mg.Linear(3, 20).parameters())).startswith(
        "Adam(weight_decay=0.0, lr=0.001, betas"
    )
