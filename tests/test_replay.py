"""A captured step gives the bits of the eager one, and says why where it cannot."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from attacks import adversarial_objective, fgsm, pgd
from minigrad import lanes
from minigrad.errors import ArgumentError, ArgumentTypeError, GraphError

if lanes.PLAIN:
    pytest.skip("the fast lane is off", allow_module_level=True)
from minigrad.fast.replay import CaptureWarning, capture  # noqa: E402
from models import LogisticRegression, MaxoutNetwork, RBFNetwork, SoftmaxRegression  # noqa: E402

F, B = 12, 8
random = np.random.default_rng(0)
DIGITS = [(random.random((B, F), dtype=np.float32), random.integers(0, 4, B)) for _ in range(20)]
PAIRS = [(x, np.where(y < 2, -1, 1)) for x, y in DIGITS]


def maxout(**options: Any) -> MaxoutNetwork:
    return MaxoutNetwork(F, 4, units=(6, 5), pieces=3, seed=0, **options)


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "maxout": (maxout, DIGITS),
    "dropout": (lambda: maxout(dropout=(0.8, 0.5)), DIGITS),
    "softmax": (lambda: SoftmaxRegression(F, 4, seed=0), DIGITS),
    "logistic": (lambda: LogisticRegression(F, seed=0), PAIRS),
    "rbf": (lambda: RBFNetwork(F, 4, seed=0), DIGITS),
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
    captured = capture(
        training(models[1], optimisers[1], **options),
        batches[0][0].astype(dtype), batches[0][1], of=[models[1], optimisers[1]],
    )  # fmt: skip
    assert captured.captured
    for x, y in batches:
        J, again = eager(x.astype(dtype), y), captured(x.astype(dtype), y)
        assert J.data.tobytes() == again.tobytes()
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

            steps.append(step if model is models[0] else capture(step, x, y, of=[model, optimiser]))
        for model in models:
            model.hidden[0].W.data[0, 0] = np.nan
        for step in steps:
            step(x, y)
        for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())

    def test_of_an_attack(self) -> None:
        model = maxout()
        attack = capture(lambda x, y: fgsm(model, x, y, epsilon=0.1), *DIGITS[0], of=model)
        for x, y in DIGITS:
            assert attack(x, y).tobytes() == fgsm(model, x, y, epsilon=0.1).tobytes()

    def test_of_several_results(self) -> None:
        def both(x: Any) -> tuple[Any, Any]:
            t = mg.Tensor(x, requires_grad=True)
            y = mg.sum(mg.exp(t) * t)
            return y, mg.grad(y, t)[0]

        captured = capture(both, np.ones(3), of=[])
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
        self.step = capture(
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
        with pytest.raises(ArgumentError, match="batch must have 2 arrays"):
            self.step(x)
        with pytest.raises(ArgumentTypeError, match=r"batch\[0\] must be an array"):
            self.step(x.tolist(), y)
        with pytest.raises(ArgumentError, match=r"batch\[0\] must be finite"):
            self.step(np.full_like(x, np.nan), y)

    def test_a_call_within_a_call_is_refused(self) -> None:
        self.step._busy.acquire()
        with pytest.raises(GraphError, match="must not be called while it runs"):
            self.step(*DIGITS[0])
        self.step._busy.release()

    def test_nothing_grows(self) -> None:
        import tracemalloc

        for x, y in DIGITS:
            self.step(x, y)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            for x, y in DIGITS:
                self.step(x, y)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
        tracemalloc.stop()


class TestWhatIsNotCaptured:
    def refused(self, function: Any, *example: Any, of: Any = (), why: str) -> Any:
        with pytest.warns(CaptureWarning, match=why):
            step = capture(function, *example, of=of)
        assert not step.captured
        return step

    def test_a_look_at_a_value(self) -> None:
        def branches(x: Any) -> Any:
            return mg.sum(x) if mg.sum(x).item() > 0 else -mg.sum(x)

        step = self.refused(branches, np.ones(3), why="looks at the values")
        assert step(-np.ones(3)).item() == 3.0  # it runs eagerly

    def test_an_array_from_outside(self) -> None:
        noise = np.random.default_rng(0)
        self.refused(
            lambda x: mg.sum(x * noise.normal(size=3)), np.ones(3), why="made outside of the step"
        )

    def test_a_parameter_that_was_not_named(self) -> None:
        model = maxout()
        self.refused(lambda x, y: model.cost(x, y), *DIGITS[0], of=(), why="a recording array meets a numpy array")

    def test_random_starts(self) -> None:
        model = maxout()
        self.refused(lambda x, y: pgd(model, x, y, epsilon=0.1), *DIGITS[0], of=model, why="")

    def test_what_is_no_function_or_no_batch(self) -> None:
        with pytest.raises(ArgumentTypeError, match="function must be a function"):
            capture(3, np.ones(2), of=())  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match=r"example\[0\] must be a NumPy array"):
            capture(lambda x: x, [1.0], of=())
        with pytest.raises(ArgumentTypeError, match="of must be Modules, Parameters and optimisers, got int"):
            capture(lambda x: x, np.ones(2), of=[3])


def test_eight_threads_with_steps_of_their_own_give_the_bits_of_one() -> None:
    def trained(_: int) -> bytes:
        model = maxout()
        optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        step = capture(training(model, optimiser), *DIGITS[0], of=[model, optimiser])
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
