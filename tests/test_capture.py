"""A captured step gives the bits of the eager one, and says why where it cannot."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from attacks import adversarial_objective, fgsm, input_gradient, pgd
from minigrad import backend, lanes
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError, NonFiniteError
from minigrad.generators import mask_generator
from minigrad.steps import CaptureWarning
from minigrad.tensor import raw
from models import (
    ConvolutionalMaxout,
    DeepBoltzmannMachine,
    LogisticRegression,
    MaxoutConvolution,
    MaxoutNetwork,
    RBFNetwork,
    SoftmaxRegression,
)
from tests import host_kernels
from tests.host_kernels import StrictWithKernels
from tests.strict import counter

if lanes.PLAIN:
    pytest.skip("the fast lane is off", allow_module_level=True)
from minigrad.fast import recording, replay
from minigrad.fast.forms import first_greatest
from minigrad.fast.lines import name_of

F, B = 12, 8
random = np.random.default_rng(0)
DIGITS = [(random.random((B, F), dtype=np.float32), random.integers(0, 4, B)) for _ in range(20)]
PAIRS = [(x, np.where(y < 2, -1, 1)) for x, y in DIGITS]


LAYERS = (MaxoutConvolution(2, pieces=2, window=2, padding=1), MaxoutConvolution(3, 2, window=1, pool=1))


def maxout(**options: Any) -> MaxoutNetwork:
    return MaxoutNetwork(F, 4, units=(6, 5), pieces=3, seed=0, **options)


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "maxout": (maxout, DIGITS),
    "dropout": (lambda: maxout(dropout=(0.8, 0.5)), DIGITS),
    "softmax": (lambda: SoftmaxRegression(F, 4, seed=0), DIGITS),
    "logistic": (lambda: LogisticRegression(F, seed=0), PAIRS),
    "rbf": (lambda: RBFNetwork(F, 4, seed=0), DIGITS),
    "convolutional": (
        lambda: ConvolutionalMaxout((3, 4, 1), 4, layers=LAYERS, dropout=(0.8, 0.5), seed=0),
        DIGITS,
    ),
    "boltzmann": (lambda: DeepBoltzmannMachine(F, 4, units=(5, 6), iterations=2, seed=0), DIGITS),
}
OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: mg.optim.SGD(p, lr=0.1),
    "momentum": lambda p: mg.optim.SGD(p, lr=0.1, momentum=0.9),
    "schedules": lambda p: mg.optim.SGD(p, lr=lambda n: 0.1 / (1 + n), momentum=lambda n: min(0.9, 0.1 * n)),
    "decay": lambda p: mg.optim.SGD(p, lr=0.1, momentum=0.5, weight_decay=0.1),
    "max_norm": lambda p: mg.optim.SGD(p, lr=0.5, momentum=0.5, max_norm=0.4),
    "adam": lambda p: mg.optim.Adam(p, lr=0.01),
}


def training(model: Any, optimiser: Any, **options: Any) -> Callable[[Any, Any], Any]:
    def step(x: Any, y: Any) -> Any:
        optimiser.zero_grad()
        J = adversarial_objective(model, x, y, **options)
        J.backward()
        optimiser.step()
        return J

    return step


def arrays_of(model: Any, optimiser: Any) -> list[np.ndarray]:
    return [*model.state_dict().values(), *optimiser.state_dict().values()]


def same_bits(make: Any, make_optimiser: Any, batches: Any, dtype: Any = np.float32, **options: Any) -> None:
    models = [make().to(dtype=dtype), make().to(dtype=dtype)]
    optimisers = [make_optimiser(model.named_parameters()) for model in models]
    eager = training(models[0], optimisers[0], **options)
    captured = mg.capture(
        training(models[1], optimisers[1], **options),
        batches[0][0].astype(dtype), batches[0][1], of=[models[1], optimisers[1]],
    )  # fmt: skip
    assert captured.captured
    for x, y in batches:
        J, again = eager(x.astype(dtype), y), captured(x.astype(dtype), y)
        assert J.data.tobytes() == again.data.tobytes()
        for ours, theirs in zip(
            arrays_of(models[0], optimisers[0]), arrays_of(models[1], optimisers[1]), strict=True
        ):
            assert ours.tobytes() == theirs.tobytes()


class TestBits:
    @pytest.mark.parametrize("optimiser", OPTIMISERS)
    @pytest.mark.parametrize("model", MODELS)
    def test_of_every_model_and_optimiser(self, model: str, optimiser: str) -> None:
        make, batches = MODELS[model]
        same_bits(make, OPTIMISERS[optimiser], batches)

    @pytest.mark.parametrize("model", MODELS)
    def test_in_float64(self, model: str) -> None:
        make, batches = MODELS[model]
        same_bits(make, OPTIMISERS["momentum"], batches, np.float64)

    @pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
    def test_of_other_weights_of_the_clean_cost(self, alpha: float) -> None:
        same_bits(maxout, OPTIMISERS["sgd"], DIGITS, alpha=alpha)

    def test_of_what_a_machine_is_not_shown(self) -> None:
        """What is hidden is drawn anew at each replay, as it is at each call."""
        models = [DeepBoltzmannMachine(F, 4, units=(5, 6), iterations=3, seed=0) for _ in range(2)]
        optimisers = [mg.optim.Adam(model.parameters(), lr=0.01) for model in models]

        def step(i: int, x: Any, y: Any) -> Any:
            optimisers[i].zero_grad()
            J = models[i].prediction_cost(x, y)
            J.backward()
            optimisers[i].step()
            return J

        captured = mg.capture(partial(step, 1), *DIGITS[0], of=[models[1], optimisers[1]])
        assert captured.captured
        for x, y in DIGITS:
            assert step(0, x, y).data.tobytes() == captured(x, y).data.tobytes()
        for ours, theirs in zip(*map(arrays_of, models, optimisers), strict=True):
            assert ours.tobytes() == theirs.tobytes()

    def test_of_what_a_machine_infers(self) -> None:
        """Masks are given to each replay, and checked there."""
        model = DeepBoltzmannMachine(F, 4, units=(5, 6), iterations=3, seed=0)

        def filled(x: Any, y: Any, pixels: Any, labels: Any) -> Any:
            z = model.infer(x, y, pixels_shown=pixels, labels_shown=labels)
            assert z.v is not None
            return mg.sigmoid(z.v)

        draw, (x, y) = np.random.default_rng(0), DIGITS[0]
        pixels, labels = draw.random(x.shape) < 0.5, draw.integers(0, 2, len(x)).astype(np.float32)
        captured = mg.capture(filled, x, y, pixels, labels, of=[model])
        assert captured.captured
        for x, y in DIGITS:
            given = x, y, draw.random(x.shape) < 0.5, draw.integers(0, 2, len(x)).astype(np.float32)
            assert filled(*given).data.tobytes() == captured(*given).data.tobytes()
        with pytest.raises(ArgumentError, match="^labels_shown must be booleans, or zeros and ones"):
            captured(x, y, pixels, labels + 1)

    def test_where_all_units_are_tied(self) -> None:
        def zeros() -> MaxoutNetwork:
            model = maxout()
            for p in model.parameters():
                p.data[...] = 0.0
            return model

        same_bits(zeros, OPTIMISERS["momentum"], DIGITS)

    def test_with_nan_in_a_weight(self) -> None:
        models = [maxout(), maxout()]
        x, y = DIGITS[0]
        steps = []
        for model in models:
            optimiser = mg.optim.SGD(model.parameters(), lr=0.1)

            def step(x: Any, y: Any, model: Any = model, optimiser: Any = optimiser) -> Any:
                optimiser.zero_grad()
                J = model.cost(x, y)
                J.backward()
                optimiser.step()
                return J

            steps.append(step if model is models[0] else mg.capture(step, x, y, of=[model, optimiser]))
        for model in models:
            model.hidden[0].W.data[0, 0] = np.nan
        for step in steps:
            step(x, y)
        for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())

    def test_of_an_attack(self) -> None:
        model = maxout()
        attack = mg.capture(lambda x, y: fgsm(model, x, y, epsilon=0.1), *DIGITS[0], of=model)
        for x, y in DIGITS:
            assert attack(x, y).tobytes() == fgsm(model, x, y, epsilon=0.1).tobytes()

    def test_of_several_results(self) -> None:
        def both(x: Any) -> tuple[Any, Any]:
            t = mg.Tensor(x, requires_grad=True)
            y = mg.sum(mg.exp(t) * t)
            return y, mg.grad(y, t)[0]

        captured = mg.capture(both, np.ones(3), of=[])
        value, gradient = captured(np.array([1.0, 2.0, 3.0]))
        expected = both(np.array([1.0, 2.0, 3.0]))
        assert value == expected[0].item()
        np.testing.assert_array_equal(gradient, expected[1].numpy())
        again, _ = captured(np.zeros(3))
        assert value == expected[0].item() != again  # what was returned before is the caller's


class TestWhatChanges:
    def setup_method(self) -> None:
        self.model = maxout()
        self.optimiser = mg.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.5)
        self.step = mg.capture(
            training(self.model, self.optimiser), *DIGITS[0], of=[self.model, self.optimiser]
        )

    def test_capturing_changes_nothing(self) -> None:
        for ours, fresh in zip(self.model.parameters(), maxout().parameters(), strict=True):
            np.testing.assert_array_equal(ours.numpy(), fresh.numpy())
            assert ours.grad is None
        assert self.optimiser.updates == 0

    def test_weights_that_are_written_to_are_read(self) -> None:
        other, optimiser = maxout(), None
        other.load_state_dict(self.model.state_dict())
        optimiser = mg.optim.SGD(other.parameters(), lr=0.1, momentum=0.5)
        for model in (self.model, other):
            model.output.b.data[...] = 1.0
            model.output.b.changed_in_place()
        self.step(*DIGITS[1])
        training(other, optimiser)(*DIGITS[1])
        for ours, theirs in zip(self.model.parameters(), other.parameters(), strict=True):
            assert ours.numpy().tobytes() == theirs.numpy().tobytes()

    def test_lr_that_is_set_anew_is_read(self) -> None:
        before = self.model.output.b.numpy().copy()
        self.optimiser.lr = 0.0
        self.step(*DIGITS[1])
        np.testing.assert_array_equal(self.model.output.b.numpy(), before)
        with pytest.raises(ArgumentError, match="lr"):
            self.optimiser.lr = -1.0
            self.step(*DIGITS[1])

    def test_arrays_that_are_replaced_are_refused(self) -> None:
        self.model.load_state_dict(maxout().state_dict())
        with pytest.raises(GraphError, match="was replaced: capture the step anew"):
            self.step(*DIGITS[1])

    def test_another_mode_is_refused(self) -> None:
        self.model.eval()
        with pytest.raises(GraphError, match="another mode"):
            self.step(*DIGITS[1])

    def test_graphs_that_used_the_old_weights_notice(self) -> None:
        J = self.model.cost(*DIGITS[0])
        self.step(*DIGITS[1])
        with pytest.raises(GraphError, match="changed in place"):
            J.backward()

    def test_batches_that_do_not_fit(self) -> None:
        x, y = DIGITS[0]
        with pytest.raises(ArgumentError, match=r"batch\[0\] must have shape \(8, 12\)"):
            self.step(x[:3], y[:3])
        with pytest.raises(ArgumentError, match="dtype"):
            self.step(x.astype(np.float64), y)
        with pytest.raises(ArgumentError, match="batch must be 2 arrays"):
            self.step(x)
        with pytest.raises(ArgumentError, match="x must be finite"):
            self.step(np.full_like(x, np.nan), y)

    def test_a_call_within_a_call_is_refused(self) -> None:
        self.step._busy.acquire()
        with pytest.raises(GraphError, match="must not be called while it runs"):
            self.step(*DIGITS[0])
        self.step._busy.release()

    def test_weight_decay_or_max_norm_that_is_switched_on(self) -> None:
        for setting in ("weight_decay", "max_norm"):
            before = self.model.output.b.numpy().copy()
            old = getattr(self.optimiser, setting)
            setattr(self.optimiser, setting, 0.5)
            with pytest.raises(GraphError, match="weight_decay and max_norm must be what they were"):
                self.step(*DIGITS[1])
            setattr(self.optimiser, setting, old)
            np.testing.assert_array_equal(self.model.output.b.numpy(), before)
            assert self.optimiser.updates == 0

    def test_a_generator_of_a_module_that_was_replaced(self) -> None:
        model = maxout(dropout=(0.8, 0.5))
        step = mg.capture(lambda x, y: model.cost(x, y), *DIGITS[0], of=model)
        model.mask_generator = mask_generator(1)
        with pytest.raises(GraphError, match="an attribute of a Module was replaced"):
            step(*DIGITS[1])

    @pytest.mark.parametrize("change", [
        lambda model: setattr(model, "output", mg.Linear(5, 4, seed=5)),
        lambda model: setattr(model.output, "W", mg.Parameter(np.ones((5, 4), np.float32))),
        lambda model: model.hidden.append(model.hidden[0]),
    ])  # fmt: skip
    def test_a_layer_or_parameter_that_was_replaced(self, change: Any) -> None:
        change(self.model)
        with pytest.raises(GraphError, match="an attribute of a Module was replaced"):
            self.step(*DIGITS[1])

    def test_no_grad_that_did_not_hold_at_the_capture(self) -> None:
        with mg.no_grad(), pytest.raises(GraphError, match="no_grad holds as it did not"):
            self.step(*DIGITS[1])
        with MaxoutNetwork(3, 2).evaluating():  # of another model
            self.step(*DIGITS[1])

    def test_every_part_of_the_labels_is_checked(self) -> None:
        model = maxout()
        step = mg.capture(
            lambda x, y: model.cost(x[:4], y[:4]) + model.cost(x[4:], y[4:]), *DIGITS[0], of=model
        )
        x, y = DIGITS[1]
        for i in range(B):
            wrong = y.copy()
            wrong[i] = 4
            with pytest.raises(ArgumentError, match="y must be classes 0 to 3"):
                step(x, wrong)

    def test_a_check_after_a_write_stays_after_it(self) -> None:
        x = np.full((B, F), 0.25, np.float32)
        captured = mg.capture(
            lambda x, y: fgsm(self.model, x * 2, y, epsilon=0.1, bounds=(0, 1)),
            x,
            DIGITS[0][1],
            of=self.model,
        )
        with pytest.raises(ArgumentError, match="x must lie within bounds"):
            captured(np.full((B, F), 0.75, np.float32), DIGITS[0][1])

    def test_a_constant_grad_may_be_written_to(self) -> None:
        p = mg.Parameter(np.zeros(2))

        def step(x: Any) -> None:
            p.grad = None
            mg.sum(p * 1.0).backward()

        captured = mg.capture(step, np.ones(2), of=p)
        for _ in range(2):
            captured(np.ones(2))
            np.testing.assert_array_equal(p.grad, [1.0, 1.0])
            p.grad *= 0.5

    def test_a_tensor_that_is_written_to_is_announced(self) -> None:
        mean, q = mg.Tensor(np.zeros(3)), mg.Tensor(np.ones(3), requires_grad=True)

        def step(x: Any) -> Any:
            mean.data[...] = mean.data * 0.5 + x.mean(axis=0) * 0.5
            mean.changed_in_place()
            return mg.sum(mean * 1.0)

        captured = mg.capture(step, np.ones((2, 3)), of=mean)
        J = mg.sum(q * mean)
        captured(np.full((2, 3), 4.0))
        np.testing.assert_array_equal(mean.numpy(), 2.0)
        with pytest.raises(GraphError, match="changed in place"):
            J.backward()

    def test_requires_grad_that_was_changed(self) -> None:
        self.model.output.b.requires_grad = False
        with pytest.raises(GraphError, match="requires_grad of a Tensor was changed"):
            self.step(*DIGITS[1])

    def test_what_an_optimiser_remembers_that_was_replaced(self) -> None:
        self.optimiser.load_state_dict(self.optimiser.state_dict())
        with pytest.raises(GraphError, match="of a Tensor or an optimiser was replaced"):
            self.step(*DIGITS[1])

    def test_evaluation_in_a_block(self) -> None:
        with self.model.evaluating(), pytest.raises(GraphError, match="another mode"):
            self.step(*DIGITS[1])

    def test_labels_out_of_range_come_before_any_work(self) -> None:
        x, y = DIGITS[1]
        before = [p.numpy().copy() for p in self.model.parameters()]
        for label in (-1, 4):
            wrong = y.copy()
            wrong[3] = label
            with pytest.raises(ArgumentError, match="y must be classes 0 to 3"):
                self.step(x, wrong)
        for p, was in zip(self.model.parameters(), before, strict=True):
            np.testing.assert_array_equal(p.numpy(), was)
        self.step(x, y)

    def test_an_error_within_a_replay_is_the_eager_one_and_changes_nothing(self) -> None:
        self.model.hidden[0].W.data[0, 0] = np.nan
        before = [p.numpy().copy() for p in self.model.parameters()]
        for run in (training(self.model, self.optimiser), self.step):
            with pytest.raises(NonFiniteError, match="the input gradient of MaxoutNetwork must be finite"):
                run(*DIGITS[1])
        for p, was in zip(self.model.parameters(), before, strict=True):
            np.testing.assert_array_equal(p.numpy(), was)
        assert self.optimiser.updates == 0

    def test_it_runs_eagerly_where_numbers_are_looked_at(self) -> None:
        step = mg.capture(lambda x: mg.exp(x), np.ones((2, 2)), of=[])
        assert np.isinf(step(np.full((2, 2), 1e3)).numpy()).all()
        with mg.detect_nonfinite(), np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="exp"):
            step(np.full((2, 2), 1e3))

    def test_the_grads_are_those_of_the_step(self) -> None:
        other = maxout()
        optimiser = mg.optim.SGD(other.parameters(), lr=0.1, momentum=0.5)
        self.step(*DIGITS[1])
        training(other, optimiser)(*DIGITS[1])
        for ours, theirs in zip(self.model.parameters(), other.parameters(), strict=True):
            assert ours.grad.tobytes() == theirs.grad.tobytes()

    def test_a_step_that_only_finds_gradients(self) -> None:
        """The optimiser outside is given them as if the step had run eagerly."""

        def find(x: Any, y: Any) -> None:
            self.model.zero_grad()
            self.model.cost(x, y).backward()

        step = mg.capture(find, *DIGITS[0], of=self.model)
        before = self.model.output.b.numpy().copy()
        step(*DIGITS[1])
        self.optimiser.step()
        assert (self.model.output.b.numpy() != before).any()

    def test_copies_are_refused(self) -> None:
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(ArgumentTypeError, match="cannot be copied or pickled: capture it anew"):
                make(self.step)

    def test_batches_from_anywhere(self) -> None:
        x, y = DIGITS[1]
        J = self.step(mg.Tensor(x), mg.Tensor(y))
        assert isinstance(J, mg.Tensor)
        assert not J.requires_grad
        strict = backend.get("strict")
        self.step(strict.asarray(x), y.tolist())

    def test_nothing_grows_over_ten_thousand_replays(self) -> None:
        small = MaxoutNetwork(3, 2, units=(2,), pieces=2, seed=0)
        optimiser = mg.optim.SGD(small.parameters(), lr=0.01, momentum=0.5)
        x, y = np.ones((2, 3), np.float32), np.array([0, 1])
        step = mg.capture(training(small, optimiser), x, y, of=[small, optimiser])
        for _ in range(10):
            step(x, y)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            step(x, y)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
        tracemalloc.stop()


def replays(step: Any, x: Any, y: Any) -> list[bytes]:
    """What a step returns and what it makes of the weights, from where they are; which is put back."""
    before = step._members.snapshot()
    try:
        return step._members.bits(replay.flat(step(x, y)))
    except NonFiniteError as error:  # of memory that nobody wrote to
        return [str(error).encode()]
    finally:
        step._members.put_back(before)


def flat_outputs(outputs: Any) -> list[np.ndarray]:
    return [raw(output) for output in replay.flat(outputs)]


class TestVelocitiesOfASmallNetwork:
    """They lie in one array from the capture on, and are changed at once."""

    def calls(self, step: Any) -> int:
        return sum(function is np.multiply for function, _ in step._lines)

    def test_steps_of_two_shapes_share_them(self) -> None:
        (x, y), (last_x, last_y) = DIGITS[0], (DIGITS[1][0][:3], DIGITS[1][1][:3])
        models = [maxout(), maxout()]
        optimisers = [mg.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, max_norm=0.5) for m in models]
        eager, captured = map(training, models, optimisers)
        captured(x, y), eager(x, y)  # they have moved before
        whole, last = (
            mg.capture(captured, *example, of=[models[1], optimisers[1]])
            for example in ((x, y), (last_x, last_y))
        )
        for _ in range(3):
            eager(x, y), eager(last_x, last_y), eager(x, y)
            whole(x, y), last(last_x, last_y), captured(x, y)  # between replays it may run by itself
            for ours, theirs in zip(*map(arrays_of, models, optimisers), strict=True):
                assert ours.tobytes() == theirs.tobytes()

    def steps(self, make: Callable[[], tuple[list[Any], Callable[[Any], Any], Any]], *batches: Any) -> None:
        """The same bits, of the Parameters and of what is returned, whatever the first batch was like."""
        (parameters, eager, _), (others, function, optimiser) = make(), make()
        captured = mg.capture(function, batches[0], of=[optimiser])
        assert captured.captured
        for x in batches:
            for ours, theirs in zip(flat_outputs(eager(x)), flat_outputs(captured(x)), strict=True):
                assert ours.tobytes() == theirs.tobytes()
            for p, q in zip(parameters, others, strict=True):
                assert p.numpy().tobytes() == q.numpy().tobytes()

    @pytest.mark.parametrize("clip", ["a copy", "the gradients", "the first join"])
    def test_gradients_that_are_joined_and_clipped(self, clip: str) -> None:
        """Clipping that does nothing on the example does something later."""

        def make() -> Any:
            W, b = mg.Parameter(np.full((3, 2), 0.1, np.float32)), mg.Parameter(np.zeros(2, np.float32))
            optimiser = mg.optim.SGD([W, b], lr=0.1, momentum=0.9)

            def step(x: Any) -> Any:
                optimiser.zero_grad()
                mg.mean(mg.linear(x, W, b) ** 2).backward()
                joined = mg.concatenate([mg.Tensor(p.grad).reshape(-1) for p in (W, b)])
                if clip == "a copy":
                    joined.data[...] = mg.minimum(joined, 1.0).data
                if clip == "the first join":
                    again = mg.concatenate([mg.Tensor(p.grad).reshape(-1) for p in (W, b)])
                    joined.data[...] = mg.minimum(joined, 1.0).data
                    return joined, again
                if clip == "the gradients":
                    factor = mg.minimum(1.0, 5.0 / mg.sqrt(mg.sum(joined * joined))).data
                    for p in (W, b):
                        p.grad *= factor
                optimiser.step()
                return joined

            return [W, b], step, optimiser

        x = np.ones((4, 3), np.float32)
        self.steps(make, x, 100 * x, x)

    def test_parameters_that_share_memory(self) -> None:
        def make(lr: float = 0.1) -> Any:
            W = mg.Parameter(np.arange(9, dtype=np.float32).reshape(3, 3) / 9)
            V = mg.Parameter(np.zeros((3, 3)))
            V.data = W.data.T
            optimiser = mg.optim.SGD([W, V], lr=lr, momentum=0.5, weight_decay=0.1)

            def step(x: Any) -> None:
                optimiser.zero_grad()
                mg.sum(mg.tanh(mg.Tensor(x) @ W) @ V).backward()
                optimiser.step()

            return [W, V], step, optimiser

        self.steps(make, np.ones((2, 3), np.float32), np.full((2, 3), 0.5, np.float32))

    def test_gradients_that_are_constant(self) -> None:
        def make() -> Any:
            W, b = mg.Parameter(np.ones((3, 2))), mg.Parameter(np.ones(2))
            optimiser = mg.optim.SGD([W, b], lr=0.1, momentum=0.5)

            def step(x: Any) -> None:
                optimiser.zero_grad()
                (mg.sum(W) + 2.0 * mg.sum(b) + mg.sum(x)).backward()
                optimiser.step()

            return [W, b], step, optimiser

        self.steps(make, np.ones(3), np.zeros(3))

    @pytest.mark.parametrize("order", [">", "<"])
    def test_any_byte_order(self, order: str) -> None:
        def make() -> Any:
            W = mg.Parameter(np.ones((3, 2)).astype(f"{order}f4"))
            optimiser = mg.optim.SGD([W], lr=0.1, momentum=0.5)

            def step(x: Any) -> None:
                optimiser.zero_grad()
                mg.sum(mg.square(mg.Tensor(x) @ W)).backward()
                optimiser.step()

            return [W], step, optimiser

        self.steps(make, np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))

    def test_an_update_of_ones_own_stays(self) -> None:
        model = maxout()
        optimiser: Any = mg.optim.SGD(model.parameters(), lr=0.1)
        seen: list[int] = []
        eager = optimiser.update_parameter

        def counted(position: int, *rest: Any) -> None:
            seen.append(position)
            eager(position, *rest)

        optimiser.update_parameter = counted
        step = mg.capture(training(model, optimiser), *DIGITS[0], of=[model, optimiser])
        assert optimiser.update_parameter is counted
        seen.clear()
        step(*DIGITS[1])
        assert seen == [0, 1, 2, 3, 4, 5]

    def test_fewer_calls_than_parameters(self) -> None:
        """Two products for all Parameters; of a large network, two for each block of each."""
        small, large = maxout(), MaxoutNetwork(F, 4, units=(2000, 5), pieces=5, seed=0)
        counts = []
        for model in (small, large):
            optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

            def gradients(x: Any, y: Any, model: Any = model) -> Any:
                model.zero_grad()
                J = adversarial_objective(model, x, y)
                J.backward()
                return J

            found = mg.capture(gradients, *DIGITS[0], of=model)
            step = mg.capture(training(model, optimiser), *DIGITS[0], of=[model, optimiser])
            counts.append(self.calls(step) - self.calls(found))
        assert counts == [2, 12]

    def test_one_that_is_frozen_or_empty(self) -> None:
        x = np.ones((2, 3))
        for frozen in (False, True):
            models = [mg.Linear(3, 2, seed=0), mg.Linear(3, 2, seed=0)]
            steps, optimisers = [], []
            for model in models:
                empty = mg.Parameter(np.zeros((0, 2), np.float32))
                model.b.requires_grad = not frozen
                optimiser = mg.optim.SGD([model.W, empty, model.b], lr=0.1, momentum=0.9)

                def step(x: Any, model: Any = model, empty: Any = empty, optimiser: Any = optimiser) -> Any:
                    optimiser.zero_grad()
                    J = mg.sum(mg.square(model(x))) + mg.sum(empty)
                    J.backward()
                    optimiser.step()
                    return J

                steps.append(step)
                optimisers.append(optimiser)
            captured = [mg.capture(steps[1], x, of=[models[1], optimisers[1]]) for _ in range(2)]
            assert all(one.captured for one in captured)
            for one in captured:  # the second capture left the first as it was
                assert one(x).item() == steps[0](x).item()
                for ours, theirs in zip(*map(arrays_of, models, optimisers), strict=True):
                    assert ours.tobytes() == theirs.tobytes()


class TestAMutatedTape:
    """The comparison with the eager step finds what is wrong with a record."""

    def captured(self) -> Any:
        model = MaxoutNetwork(F, 4, units=(20, 20), pieces=3, seed=0)
        for p in model.parameters():
            p.data *= 30.0  # so that examples differ by more than rounding
        optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        return mg.capture(training(model, optimiser), *DIGITS[0], of=[model, optimiser])

    def test_every_call_that_is_dropped_is_missed(self) -> None:
        step = self.captured()
        step(*DIGITS[2])
        lines, missed = step._lines, []
        expected = replays(step, *DIGITS[1])
        for i, (function, _) in enumerate(lines):
            replays(step, *DIGITS[3])  # other numbers lie in all memory
            step._lines = lines[:i] + lines[i + 1 :]
            if replays(step, *DIGITS[1]) == expected:
                missed.append(name_of(function))
            step._lines = lines
        # Checks of values, parts that lie side by side, lr and momentum that stay; and the greatest
        # logit, which is taken out of a sum and put back.
        assert set(missed) <= {"check_result", "bool", "set_numbers", "reduce"}
        assert missed.count("reduce") <= 2

    def test_memory_that_is_shared_too_early(self) -> None:
        """Two results of one shape in the same memory, the second before the first was read."""
        step = self.captured()
        expected = replays(step, *DIGITS[1])
        lines, caught, tried = step._lines, 0, 0
        written_last = np.add, np.multiply, np.dot, np.exp, first_greatest
        outs = [(i, a[-1]) for i, (f, a) in enumerate(lines) if f in written_last]
        for (_, first), (later, second) in itertools.combinations(outs, 2):
            if first.shape != second.shape or first.dtype != second.dtype or np.shares_memory(first, second):
                continue
            read = [a for _, arguments in lines[later + 1 :] for a in arguments if isinstance(a, np.ndarray)]
            if not any(np.shares_memory(a, first) for a in read):
                continue
            tried += 1
            step._lines = [
                (f, tuple(first if a is second else a for a in arguments)) for f, arguments in lines
            ]
            caught += replays(step, *DIGITS[1]) != expected
            step._lines = lines
        assert tried >= 10
        assert caught == tried

    @pytest.mark.parametrize("dropped", [3, 20, 60, 90])
    def test_such_a_record_is_not_used(self, dropped: int, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = recording.Tape.needed

        def mutated(self: Any, kept: Any) -> Any:
            lines = whole(self, kept)
            return lines[:dropped] + lines[dropped + 1 :]

        monkeypatch.setattr(recording.Tape, "needed", mutated)
        with pytest.warns(CaptureWarning, match="does not give the bits of the eager step"):
            assert not self.captured().captured


class TestWhatIsNotCaptured:
    def refused(self, function: Any, *example: Any, of: Any = (), why: str) -> Any:
        with pytest.warns(CaptureWarning, match=why):
            step = mg.capture(function, *example, of=of)
        assert not step.captured
        return step

    def test_a_look_at_a_value(self) -> None:
        def branches(x: Any) -> Any:
            return mg.sum(x) if mg.sum(x).item() > 0 else -mg.sum(x)

        step = self.refused(branches, np.ones(3), why="looks at the values")
        assert step(-np.ones(3)).item() == 3.0  # it runs eagerly

    def test_an_array_from_outside(self) -> None:
        noise = np.random.default_rng(0)
        self.refused(lambda x: mg.sum(x * noise.normal(size=3)), np.ones(3), why="made outside of the step")

    def test_a_parameter_that_was_not_named(self) -> None:
        model = maxout()
        self.refused(
            lambda x, y: model.cost(x, y), *DIGITS[0], of=(), why="a recording array meets a numpy array"
        )

    def test_random_starts(self) -> None:
        model = maxout()
        self.refused(lambda x, y: pgd(model, x, y, epsilon=0.1), *DIGITS[0], of=model, why="")

    def test_a_number_that_is_another_at_each_run(self) -> None:
        random = np.random.default_rng(0)
        self.refused(
            lambda x: mg.sum(x * random.random()), np.ones((2, 3)), why="two runs of it differ: multiply"
        )
        # Also where it changes no bit of this batch.
        zeros = np.zeros((2, 3))
        self.refused(lambda x: mg.sum(x * random.random()), zeros, why="two runs of it differ: multiply")

    def test_a_cost_that_is_another_one_each_time(self) -> None:
        calls = iter(range(100))
        self.refused(lambda x: mg.sum(x) * (1.0 + next(calls)), np.ones((2, 3)), why="two runs of it differ")

    def test_a_host_array_that_could_change(self) -> None:
        for temperature in (np.array(2.0), np.array([2.0]), np.ones((2, 3))):
            self.refused(partial(self.scaled, temperature), np.ones((2, 3)), why="was made outside|meets")

    @staticmethod
    def scaled(temperature: Any, x: Any) -> Any:
        return mg.sum(x * temperature)

    def test_an_optimiser_that_was_not_named(self) -> None:
        for make in OPTIMISERS.values():
            model = maxout()
            optimiser = make(model.named_parameters())
            step = self.refused(
                training(model, optimiser), *DIGITS[0], of=model, why="optimiser that is not named"
            )
            step(*DIGITS[1])
            assert optimiser.updates == 1
            assert all(type(a) is np.ndarray for memory in optimiser._memory.values() for a in memory)

    def test_a_generator_that_was_not_named(self) -> None:
        generator = mask_generator(0)
        x = np.ones((4, 5), np.float32)
        self.refused(
            lambda x: mg.dropout(x, keep=0.5, generator=generator),
            x,
            why="draws from a generator that is not",
        )
        assert mg.capture(lambda x: mg.dropout(x, keep=0.5, generator=generator), x, of=generator).captured

    def test_grads_that_are_added_to(self) -> None:
        model = maxout()

        def accumulate(x: Any, y: Any) -> None:
            model.cost(x, y).backward()

        self.refused(accumulate, *DIGITS[0], of=model, why=r"call zero_grad\(\) in it")

    @pytest.mark.parametrize(("function", "why"), [
        (lambda x: x[x > 0] * 2, "looks at the values"),
        (lambda x: np.nonzero(x), "nonzero"),
        (lambda x: np.nan_to_num(x, copy=False) * 2, "writes into"),
        (lambda x: np.emath.sqrt(x), "sqrt"),
        (lambda x: (x.__imul__(2), mg.sum(x))[1], "writes into its batch"),
        (lambda x: {"sum": mg.sum(x)}, "returns dict"),
        (lambda x: (mg.sum(x), (mg.sum(x),)), "returns tuple"),
    ])  # fmt: skip
    def test_what_a_record_cannot_hold(self, function: Any, why: str) -> None:
        self.refused(function, np.array([[1.0, -1.0, 2.0]]), why=why)

    def test_a_result_of_another_shape_is_an_error(self) -> None:
        step = mg.capture(lambda x: np.unique(x) * 2, np.array([1.0, 2.0, 3.0]), of=[])
        with pytest.raises(GraphError, match="unique gives another shape or dtype than at the capture"):
            step(np.array([1.0, 1.0, 2.0]))

    def test_state_that_a_model_makes_at_its_first_use_is_left_unmade(self) -> None:
        class Lazy(mg.Module):
            scale: Any = None

            def __call__(self, x: Any) -> Any:
                if self.scale is None:
                    self.scale = 1.0 / (mg.max(mg.abs(mg.Tensor(x))).detach() + 1.0)
                return mg.sum(x * self.scale)

        model = Lazy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CaptureWarning)
            step = mg.capture(model, np.ones((2, 3)), of=model)
        assert model.scale is None
        assert step(np.ones((2, 3))).item() == 3.0

    def test_a_functions_own_checks_of_numbers_that_nobody_gave(self) -> None:
        model = maxout()
        x, y = np.full((B, F), 0.7, np.float32), DIGITS[0][1]
        step = mg.capture(lambda x, y: fgsm(model, x, y, epsilon=0.1, bounds=(0.5, 1.0)), x, y, of=model)
        assert step.captured

    def test_what_is_returned_must_be_computed(self) -> None:
        self.refused(lambda x: 3.0, np.ones(3), why="returns 3.0")

    def test_an_attribute_that_recorded_arrays_have_not(self) -> None:
        self.refused(lambda x: mg.sum(mg.Tensor(x.byteswap())), np.ones(3), why="has no byteswap")

    def test_a_fault_of_the_function_is_no_reason_to_go_on(self) -> None:
        with pytest.raises(ZeroDivisionError):
            mg.capture(lambda x: 1 / 0, np.ones(3), of=[])

    def test_an_array_of_a_recording_that_was_kept(self) -> None:
        kept: list[Any] = []

        def step(x: Any) -> Any:
            kept.append(x)
            return mg.sum(x)

        mg.capture(step, np.ones(3), of=[])
        with pytest.raises(BackendError, match="an array of a recording is used after it"):
            kept[0] + 1.0

    def test_what_is_no_function_or_no_batch(self) -> None:
        with pytest.raises(ArgumentTypeError, match="function must be a function"):
            mg.capture(3, np.ones(2), of=())  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match=r"example\[0\] must be an array"):
            mg.capture(lambda x: x, [1.0], of=())
        with pytest.raises(ArgumentTypeError, match="of must be Modules, Tensors, .* got 3"):
            mg.capture(lambda x: x, np.ones(2), of=[3])


class TestWhatARecordMustGetRight:
    """Programs that a careless record gets wrong, each replayed on other numbers, twice."""

    @pytest.mark.parametrize("name", [
        "a_constant_read_and_then_written_to", "fresh_memory_written_in_parts",
        "parts_that_change_after_a_join",
        "one_part_joined_twice", "joined_in_two_orders", "parts_of_two_dtypes", "the_input_itself", "views",
        "negative_indices", "numpy_functions", "several_reductions", "no_elements",
        "of_second_order", "scattered_back", "no_dimensions", "a_constant_written_after_it_was_read",
        "a_joined_result_that_is_written_to", "results_after_a_join", "products_with_one",
        "filled_with_a_value", "of_images",
    ])  # fmt: skip
    def test_gives_the_bits(self, name: str) -> None:
        function = PROGRAMS[name]
        random = np.random.default_rng(0)
        batches = [random.standard_normal((4, 3)) for _ in range(4)]
        batches.append(np.where(batches[0] > 0, np.inf, batches[0]))
        step = mg.capture(function, batches[0].copy(), of=[])
        assert step.captured
        for x in batches:
            with np.errstate(all="ignore"):
                expected = function(x.copy())
            found = step(x)
            pairs = zip(replay.flat(expected), replay.flat(found), strict=True)
            assert all(np.asarray(raw(a)).tobytes() == np.asarray(raw(b)).tobytes() for a, b in pairs)


def a_constant_read_and_then_written_to(x: Any) -> Any:
    c = backend.of(x).xp.zeros((4, 3))
    first = x + c
    c += x
    return first, c + x


def fresh_memory_written_in_parts(x: Any) -> Any:
    e = backend.of(x).xp.empty((4, 3))
    e[0] = 1.0
    e[1:] = x[1:]
    first = e + x
    e[0] = x[0]
    return first, e * 2.0


def parts_that_change_after_a_join(x: Any) -> Any:
    a, b = x + 1.0, x * 2.0
    joined = backend.of(x).xp.concatenate([a, b])
    a += 5.0
    return joined, a


def one_part_joined_twice(x: Any) -> Any:
    a = x + 1.0
    return backend.of(x).xp.concatenate([a, a]) * 2.0


def joined_in_two_orders(x: Any) -> Any:
    a, b = x + 1.0, x * 2.0
    xp = backend.of(x).xp
    return xp.concatenate([a, b]) * 2.0, xp.concatenate([b, a]) * 2.0, xp.concatenate([a, b]) * 3.0


def parts_of_two_dtypes(x: Any) -> Any:
    return backend.of(x).xp.concatenate([x.astype(np.float32), x * 2.0]) * 1.0


def the_input_itself(x: Any) -> Any:
    return x


def views(x: Any) -> Any:
    return x.T[1:].reshape(-1), x.reshape(2, 6), x[::-1, None]


def negative_indices(x: Any) -> Any:
    return x.reshape(-1)[-3], x[backend.of(x).xp.arange(-4, 0)]


def numpy_functions(x: Any) -> Any:
    return np.sum(np.exp(x) * np.abs(x), axis=0), np.where(x > 0, x, -1.0), np.maximum(x, 0.5)


def several_reductions(x: Any) -> Any:
    return x.sum(), x.max(axis=1), x.min(), x.mean(axis=0), x.argmax(axis=1), (x > 0).any(axis=0), x.cumsum(1)


def a_constant_written_after_it_was_read(x: Any) -> Any:
    c = backend.of(x).xp.zeros((4, 3))
    first = x * c
    c[...] = 1.0
    return first, x * c


def a_joined_result_that_is_written_to(x: Any) -> Any:
    a, b = x * 2.0, x * 3.0
    joined = backend.of(x).xp.concatenate([a, b])
    joined *= 2.0
    return joined, a * 1.0


def results_after_a_join(x: Any) -> Any:
    a, b = x * 2.0, x * 3.0
    xp = backend.of(x).xp
    first = xp.concatenate([a, b])
    c, d, row = x * 4.0, x * 5.0, x.mean(axis=0) * 1.0
    return first, xp.concatenate([c, d]), row.sum()


def products_with_one(x: Any) -> Any:
    xp = backend.of(x).xp
    return xp.matmul(x[:, :1], x[:1, :1] * 0.0), xp.matmul(x[:, ::-1], x.T), xp.matmul(x[:, ::2], x[:2])


def filled_with_a_value(x: Any) -> Any:
    return x + np.full_like(x, x[0, 0])


def of_images(x: Any) -> Any:
    image, W = mg.Tensor(x.reshape(1, 3, 4, 1)), mg.Tensor(x[:3, :1].reshape(3, 1, 1, 1), requires_grad=True)
    y = mg.conv2d(image, W, padding="same")
    return y, mg.grad(mg.sum(y * y), W)[0], mg.max_pool2d(y, 2)


def no_elements(x: Any) -> Any:
    return x[:0] + 1.0, x[:0].sum(axis=0)


def of_second_order(x: Any) -> Any:
    t = mg.Tensor(x, requires_grad=True)
    (slope,) = mg.grad(mg.sum(mg.exp(t) * mg.sin(t)), t, create_graph=True)
    return mg.grad(mg.sum(slope * slope), t)[0]


def scattered_back(x: Any) -> Any:
    t = mg.Tensor(x, requires_grad=True)
    return mg.grad(mg.sum(t[1:] ** 3 + t[:3]), t)[0]


def no_dimensions(x: Any) -> Any:
    total = x.sum()
    total += 1.0
    return total / 2.0, total


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    name: value for name, value in list(globals().items()) if callable(value) and not name[:1].isupper()
}


class TestOverOtherLibraries:
    """The record is of the library's own calls: over the strict library, with kernels and without."""

    @pytest.fixture(params=["plain", "fused"], autouse=True)
    def library(self, request: pytest.FixtureRequest) -> Iterator[backend.Backend]:
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

    @pytest.mark.parametrize("dropout", [None, (0.8, 0.5)])
    @pytest.mark.parametrize("optimiser", OPTIMISERS)
    def test_steps(self, library: backend.Backend, optimiser: str, dropout: Any) -> None:
        models = [maxout(dropout=dropout), maxout(dropout=dropout)]
        optimisers = [OPTIMISERS[optimiser](model.named_parameters()) for model in models]
        batches = [(library.asarray(x), library.asarray(y)) for x, y in DIGITS[:4]]
        eager = training(models[0], optimisers[0])
        step = mg.capture(training(models[1], optimisers[1]), *batches[0], of=[models[1], optimisers[1]])
        assert step.captured
        for x, y in batches:
            assert step(x, y).item() == eager(x, y).item()
        for ours, theirs in zip(
            *(arrays_of(m, o) for m, o in zip(models, optimisers, strict=True)), strict=True
        ):
            assert ours.tobytes() == theirs.tobytes()

    def test_a_replay_does_not_wait_for_the_device(self, library: backend.Backend) -> None:
        model = maxout()
        optimiser = OPTIMISERS["momentum"](model.named_parameters())
        batches = [(library.asarray(x), library.asarray(y)) for x, y in DIGITS[:2]]
        step = mg.capture(training(model, optimiser), *batches[0], of=[model, optimiser])
        counter.reset()
        step(*batches[1])
        assert counter.uploads == counter.synchronisations == []

    def test_arrays_of_two_libraries(self) -> None:
        model = maxout()
        with pytest.raises(BackendError, match="meets a"):
            mg.capture(lambda x, y: input_gradient(model, x, y), *DIGITS[0], of=model)(*DIGITS[0])


def test_eight_threads_with_steps_of_their_own_give_the_bits_of_one() -> None:
    def trained(_: int) -> bytes:
        model = maxout()
        optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        step = mg.capture(training(model, optimiser), *DIGITS[0], of=[model, optimiser])
        for x, y in DIGITS:
            step(x, y)
        return b"".join(p.numpy().tobytes() for p in model.parameters())

    expected, found = trained(0), []
    threads = [threading.Thread(target=lambda i=i: found.append(trained(i))) for i in range(8)]
    with warnings.catch_warnings():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [expected] * 8
