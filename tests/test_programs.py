"""Random programs, and random sequences of what a user may do, against simple models of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import minigrad as mg
from minigrad.errors import GraphError
from minigrad.testing import check_gradients, networks, seeds
from tests import programs

# Each with its NumPy twin, smooth, and bounded, so that thirty in a row stay ordinary numbers.
STEPS: list[tuple[Any, Any]] = [
    (lambda a, b: mg.tanh(a + b), lambda a, b: np.tanh(a + b)),
    (lambda a, b: a * mg.sigmoid(b), lambda a, b: a / (1 + np.exp(-b))),
    (lambda a, b: mg.tanh(a) - 0.5 * b, lambda a, b: np.tanh(a) - 0.5 * b),
    (lambda a, b: mg.tanh(a @ b.T @ b), lambda a, b: np.tanh(a @ b.T @ b)),
    (lambda a, b: a / (1.0 + b * b), lambda a, b: a / (1 + b * b)),
    (lambda a, b: mg.softmax(a) * b, lambda a, b: _softmax(a) * b),
    (lambda a, b: mg.sum(a, 0) + 0.1 * b, lambda a, b: a.sum(0) + 0.1 * b),
    (lambda a, b: mg.tanh(mg.mean(a, 1, True) - b), lambda a, b: np.tanh(a.mean(1, keepdims=True) - b)),
    (lambda a, b: mg.tanh(mg.logsumexp(a)) * b, lambda a, b: np.tanh(np.log(np.exp(a).sum())) * b),
    (lambda a, b: mg.concatenate([a[1:], b[:1]]), lambda a, b: np.concatenate([a[1:], b[:1]])),
    (lambda a, b: a[[0, 0, 1]][:2] * b, lambda a, b: a[[0, 0, 1]][:2] * b),
    (lambda a, b: mg.stack([a, b])[:, 0, :], lambda a, b: np.stack([a, b])[:, 0, :]),
    (lambda a, b: mg.sqrt(1.0 + a * a) * 0.5, lambda a, b: np.sqrt(1 + a * a) * 0.5),
    (lambda a, b: mg.log(1.5 + mg.tanh(a)) + b, lambda a, b: np.log(1.5 + np.tanh(a)) + b),
]


def _softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a)
    return e / e.sum(-1, keepdims=True)


program = st.lists(
    st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=30
)


def run(steps: list[tuple[int, int, int]], side: int, x: Any, y: Any) -> Any:
    """Each step reads two of the values so far, so that graphs share nodes and fan out."""
    values = [x, y]
    for step, left, right in steps:
        result = STEPS[step][side](values[-1 - left % len(values)], values[-1 - right % len(values)])
        values.append(mg.tanh(result) if side == 0 else np.tanh(result))
    return values[-1] * values[len(values) // 2]


@given(steps=program, seed=seeds())
def test_programs_of_smooth_steps_against_numpy_and_differences(
    library: Any, steps: list[tuple[int, int, int]], seed: int
) -> None:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, 2)), random.normal(size=(2, 2))
    result = run(steps, 0, *(mg.Tensor(library.asarray(a)) for a in (x, y)))
    np.testing.assert_allclose(result.numpy(), run(steps, 1, x, y), rtol=1e-9, atol=1e-12)
    check_gradients(lambda a, b: run(steps, 0, a, b), x, y, order=2)


# ---- programs of all operations (see tests/programs)

NUMBERS = 240  # the programs 0 to 239; `python -m tests.programs` runs as many as you like
AGAINST = ["strict", "plain"]
BLOCKS = 4


@pytest.mark.parametrize("first", range(BLOCKS))
def test_programs_give_the_same_in_both_libraries_and_both_lanes(first: int) -> None:
    agree(range(first, NUMBERS, BLOCKS), AGAINST)


@pytest.mark.parametrize("first", range(BLOCKS))
def test_programs_give_the_same_as_pytorch(first: int) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[peers]'")
    agree(range(first, NUMBERS, BLOCKS), ["torch"])


def agree(seeds: Any, against: list[str]) -> None:
    for seed in seeds:
        program = programs.draw(seed)
        try:
            programs.compared(program, against)
        except Exception as error:
            small = programs.shrink(program, programs.fails(against))
            raise AssertionError(f"program {seed} differs; as small as it gets:\n{small}") from error


def test_programs_use_every_operation() -> None:
    used = {node.operation for seed in range(NUMBERS) for node in programs.draw(seed).nodes}
    assert used == {*programs.OPERATIONS, *programs.LEAVES}
    unused = set(mg.operations.__all__) - programs.OPERATIONS.keys()
    assert not unused, f"let random programs use {unused}: tests/programs/__init__.py, and peers.py beside it"


def test_one_number_is_one_program() -> None:
    assert str(programs.draw(5)) == str(programs.draw(5)) != str(programs.draw(6))


def test_a_program_that_fails_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = mg.primitive(lambda xp, x: xp.tanh(x))
    wrong.set_vjps(lambda g, y, x: g * (1.0 - y * y) if isinstance(g, mg.Tensor) else g)
    monkeypatch.setitem(programs.OURS, "tanh", wrong)
    found = (programs.draw(seed) for seed in range(NUMBERS))
    failing = (p for p in found if p.steps() > 3 and programs.fails([])(p))
    for program in [next(failing), next(failing)]:
        small = programs.shrink(program, programs.fails([]))
        assert [node.operation for node in small.nodes] in (["leaf", "tanh"], ["parameter", "tanh"])


@given(drawn=networks())
def test_random_networks(library: Any, drawn: Any) -> None:
    network, inputs = drawn
    labels = np.zeros(len(inputs[0]), int)
    check_gradients(lambda *a: mg.softmax_cross_entropy(network(*a), labels), *inputs, order=2)


class Training(RuleBasedStateMachine):
    """One cost f(w, x) = Σ (w x)², differentiated in every way; the model is four numbers and flags."""

    @initialize(w=st.integers(1, 3), x=st.integers(1, 3))
    def start(self, w: int, x: int) -> None:
        self.w, self.x = mg.Parameter(np.array([float(w)])), mg.Tensor([float(x)], requires_grad=True)
        self.optimiser = mg.optim.SGD([self.w], lr=0.125)
        self.w_value, self.x_value = float(w), float(x)
        self.w_grad: float | None = None
        self.x_grad: float | None = None
        self.cost: mg.Tensor | None = None

    @rule(recording=st.booleans(), detached=st.booleans())
    def forward(self, recording: bool, detached: bool) -> None:
        w = self.w.detach() if detached else self.w
        with mg.enable_grad() if recording else mg.no_grad():
            self.cost = mg.sum((w * self.x) ** 2)
        self.recorded, self.detached = recording, detached
        self.used_up = self.stale = False
        self.slope_w = 0.0 if detached else 2 * self.w_value * self.x_value**2
        self.slope_x = 2 * self.w_value**2 * self.x_value
        assert self.cost.item() == (self.w_value * self.x_value) ** 2

    def usable(self) -> bool:
        return self.recorded and not self.used_up and not self.stale

    @precondition(lambda self: self.cost is not None)
    @rule(retain=st.booleans())
    def backward(self, retain: bool) -> None:
        if not self.usable():
            with pytest.raises(GraphError):
                self.cost.backward(retain_graph=retain)
            return
        self.cost.backward(retain_graph=retain)
        self.used_up = not retain
        self.x_grad = (self.x_grad or 0.0) + self.slope_x
        if not self.detached:
            self.w_grad = (self.w_grad or 0.0) + self.slope_w

    @precondition(lambda self: self.cost is not None)
    @rule(create=st.booleans(), of_w=st.booleans())
    def gradient(self, create: bool, of_w: bool) -> None:
        leaf = self.w if of_w else self.x
        if not self.usable():
            with pytest.raises(GraphError):
                mg.grad(self.cost, leaf, create_graph=create)
            return
        (found,) = mg.grad(self.cost, leaf, create_graph=create)
        assert found.item() == (self.slope_w if of_w else self.slope_x)
        nothing_on_the_way = self.detached and of_w
        self.used_up = not create and not nothing_on_the_way
        if create and not nothing_on_the_way:
            with mg.no_grad():
                (second,) = mg.grad(found, leaf, retain_graph=True)
            assert second.item() == 2 * (self.x_value**2 if of_w else self.w_value**2)

    @rule()
    def step(self) -> None:
        self.optimiser.step()
        if self.w_grad is not None:
            self.w_value -= 0.125 * self.w_grad
            # What was recorded from w itself no longer fits; a detached copy is not looked after.
            if self.cost is not None:
                self.stale = True
                if self.detached:
                    self.cost = None

    @rule()
    def zero_grad(self) -> None:
        self.optimiser.zero_grad()
        self.w_grad = None

    @invariant()
    def grads_and_data_are_the_models(self) -> None:
        if not hasattr(self, "w"):
            return
        assert self.w.item() == self.w_value
        assert (None if self.w.grad is None else self.w.grad[0]) == self.w_grad
        assert (None if self.x.grad is None else self.x.grad[0]) == self.x_grad


TestTraining = Training.TestCase
TestTraining.settings = settings(stateful_step_count=15)
