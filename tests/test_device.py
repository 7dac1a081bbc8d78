"""The strict library keeps CuPy's rules, and the work on it stays on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

import minigrad as mg
from attacks import adversarial_objective, fgsm
from minigrad import backend
from minigrad.errors import ArgumentError, BackendError
from minigrad.optim import SGD, exponential_decay
from models import (
    ConvolutionalMaxout,
    DeepBoltzmannMachine,
    LogisticRegression,
    MaxoutConvolution,
    MaxoutNetwork,
    SoftmaxRegression,
)
from tests.strict import Array, counter


@pytest.fixture(autouse=True)
def strict() -> Iterator[Any]:
    with backend.use("strict") as library:
        yield library.xp


class TestTheLibrary:
    def test_no_implicit_conversion_and_no_mixing(self, strict: Any) -> None:
        x = strict.ones(3)
        for attempt in (
            lambda: np.asarray(x),
            lambda: x + np.ones(3),
            lambda: np.ones(3) + x,
            lambda: strict.exp(np.ones(3)),
            lambda: strict.concatenate([x, np.ones(3)]),
            lambda: strict.where(np.ones(3, bool), x, x),
            lambda: x.sum(axis=np.array(0)),
        ):
            with pytest.raises(TypeError):
                attempt()
        with pytest.raises(IndexError):
            x[np.array([0])]

    def test_no_lists_or_tuples_as_operands(self, strict: Any) -> None:
        for attempt in (lambda: strict.exp([1.0]), lambda: strict.ones(2) * (1.0, 2.0)):
            with pytest.raises(TypeError):
                attempt()

    def test_only_what_cupy_has(self, strict: Any) -> None:
        for name in ("put_along_axis_", "float128", "memmap"):
            with pytest.raises(AttributeError):
                getattr(strict, name)
        with pytest.raises(AttributeError):
            strict.ones(2).ctypes  # noqa: B018

    def test_no_scalars(self, strict: Any) -> None:
        x = strict.ones((2, 3))
        for result in (x.sum(), x[0, 0], x.max(axis=(0, 1)), strict.exp(x[1, 1]), x[0, 0] * 2.0):
            assert isinstance(result, Array)
            assert result.shape == ()

    def test_views_know_their_base(self, strict: Any) -> None:
        x = strict.ones((2, 3))
        assert x.base is None
        assert (x + 1).base is None
        for view in (x[0], x.T, x.reshape(3, 2), strict.broadcast_to(x, (4, 2, 3))):
            assert view.base is not None

    def test_what_is_counted(self, strict: Any) -> None:
        counter.reset()
        x = strict.asarray(np.ones(4, np.float32))
        assert counter.uploads == [16]
        float(x.sum())
        bool(x[0] > 0)
        x[x > 0]
        x.sum().item()
        strict.asnumpy(x)
        assert counter.synchronisations == ["float", "bool", "boolean index", "item", "get"]


LAYER = MaxoutConvolution(2, pieces=2, window=2, padding=1, pool=2, pool_stride=1)
MODELS = {
    "logistic": lambda: LogisticRegression(6),
    "softmax": lambda: SoftmaxRegression(6, 3),
    "maxout": lambda: MaxoutNetwork(6, 3, units=(4, 4), pieces=2),
    "convolutional": lambda: ConvolutionalMaxout((3, 2, 1), 3, layers=[LAYER], units=(4,), pieces=2),
    "boltzmann": lambda: DeepBoltzmannMachine(6, 3, units=(4, 5), iterations=2),
}


@pytest.mark.parametrize("name", MODELS)
class TestStaysOnTheDevice:
    def model(self, name: str) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(0)
        y = np.array([1, -1, 1, 1]) if name == "logistic" else np.array([0, 1, 2, 1])
        library = backend.current()
        return MODELS[name](), library.asarray(rng.normal(size=(4, 6)).astype(np.float32)), library.asarray(y)

    def test_a_training_step(self, name: str) -> None:
        model, x, y = self.model(name)
        optimiser = SGD(model.parameters(), lr=exponential_decay(0.1, 1.01), momentum=0.5, max_norm=1.0)
        for cost in (model.cost, lambda x, y: adversarial_objective(model, x, y)):
            counter.reset()
            optimiser.zero_grad()
            cost(x, y).backward()
            optimiser.step()
            assert counter.synchronisations == []
            assert counter.uploads == []

    def test_an_attack(self, name: str) -> None:
        model, x, y = self.model(name)
        counter.reset()
        assert isinstance(fgsm(model, x, y, epsilon=0.25, bounds=(-9.0, 9.0)), Array)
        assert isinstance(fgsm(model, x, epsilon=0.25), Array)
        assert isinstance(model.predict(x), Array)
        assert counter.synchronisations == []
        assert counter.uploads == []

    def test_labels_on_the_host_are_the_only_transfer(self, name: str) -> None:
        model, x, y = self.model(name)
        labels = y.get()
        counter.reset()
        model.cost(x, labels).backward()
        assert counter.synchronisations == []
        assert len(counter.uploads) == 1

    def test_labels_on_the_device_of_examples_on_the_host(self, name: str) -> None:
        """They would be copied unseen, and unchecked."""
        model, x, y = self.model(name)
        with pytest.raises(BackendError, match="^y must be a NumPy array, as x is, got one of strict"):
            model.cost(x.get(), y)


def test_what_a_machine_is_not_shown_is_drawn_without_stopping_the_device() -> None:
    model, library = DeepBoltzmannMachine(6, 3, units=(4, 5), iterations=2), backend.current()
    x = library.asarray(np.random.default_rng(0).random((4, 6), dtype=np.float32))
    y = library.asarray(np.array([0, 1, 2, 1]))
    counter.reset()
    model.prediction_cost(x, y).backward()
    assert counter.synchronisations == []
    assert len(counter.uploads) == 2  # the masks of pixels and labels; a kernel draws them on CuPy
    assert all(isinstance(p.grad, Array) for p in model.parameters())


class TestWhatAMachineIsShown:
    model = staticmethod(lambda: DeepBoltzmannMachine(6, 3, units=(4, 5), iterations=2))
    x = np.random.default_rng(0).random((4, 6), dtype=np.float32)
    y = np.array([0, 1, 2, 1])
    masks: ClassVar = {"pixels_shown": np.array([1, 1, 0, 0, 1, 0]), "labels_shown": np.array([1, 0, 0, 1])}

    def test_it_stays_on_the_device(self) -> None:
        library, model = backend.current(), self.model()
        x, y = library.asarray(self.x), library.asarray(self.y)
        masks = {name: library.asarray(mask) for name, mask in self.masks.items()}
        counter.reset()
        inferred = [model.infer(x), model.infer(x, y), model.infer(x, y, **masks)]
        assert counter.synchronisations == []
        assert counter.uploads == []
        host = self.model().to("numpy")
        expected = [host.infer(self.x), host.infer(self.x, self.y), host.infer(self.x, self.y, **self.masks)]
        for found, parts in zip(inferred, expected, strict=True):
            for part, other in zip(found, parts, strict=True):
                if part is None or other is None:
                    assert part is other
                else:
                    np.testing.assert_allclose(part.numpy(), other.numpy(), rtol=1e-6)

    def test_masks_on_the_host_are_checked_and_moved(self) -> None:
        library, model = backend.current(), self.model()
        x, y = library.asarray(self.x), library.asarray(self.y)
        counter.reset()
        model.infer(x, y, **self.masks)
        assert len(counter.uploads) == 2
        for name in self.masks:
            with pytest.raises(ArgumentError, match=f"^{name} must be booleans, or zeros and ones"):
                model.infer(x, y, **{**self.masks, name: self.masks[name] / 2})

    def test_labels_and_masks_on_the_device_of_pixels_on_the_host(self) -> None:
        library, model = backend.current(), self.model().to("numpy")
        for name, array in {"y": self.y, **self.masks}.items():
            with pytest.raises(BackendError, match=f"^{name} must be a NumPy array, as x is"):
                model.infer(self.x, **{"y": self.y, **self.masks, name: library.asarray(array)})


class TestMoving:
    def test_tensors_and_models_move_and_gradients_come_back(self) -> None:
        x = mg.Tensor(np.array([1.0, 2.0]), requires_grad=True)
        y = x.to("strict")
        assert isinstance(y.data, Array)
        mg.sum(y * y).backward()
        assert isinstance(x.grad, np.ndarray)
        assert x.grad.tolist() == [2, 4]
        model = SoftmaxRegression(6, 3)
        values = model.output.W.numpy()
        model.to("numpy")
        np.testing.assert_array_equal(model.output.W.data, values)
        model.predict(np.zeros((1, 6), np.float32))
        model.to("strict")
        with pytest.raises(BackendError, match="numpy array meets a strict array"):
            model.predict(np.zeros((1, 6), np.float32))

    def test_a_host_tensor_is_not_converted_silently(self) -> None:
        with pytest.raises(BackendError, match=r"\.numpy\(\)"):
            np.asarray(mg.Tensor([1.0]))
        assert "backend='strict'" in repr(mg.Tensor([1.0]))

    def test_cotangents_and_labels_of_another_library(self) -> None:
        x = mg.Tensor([1.0, 2.0], requires_grad=True)
        with pytest.raises(BackendError, match="gradient must be a strict array"):
            (x * x).backward(np.ones(2))
        (x * x).backward([1.0, 1.0])
        with backend.use("numpy"), pytest.raises(BackendError, match="labels"):
            mg.softmax_cross_entropy(np.zeros((1, 2)), backend.get("strict").asarray(np.zeros(1, int)))

    def test_a_seed_is_one_model_everywhere(self) -> None:
        models = []
        for name in ("numpy", "strict"):
            with backend.use(name):
                models.append(MaxoutNetwork(6, 3, units=(4,), pieces=2, seed=3, dropout=(0.8, 0.5)))
        x = np.ones((2, 6), np.float32)
        outputs = [models[0](x).numpy(), models[1](backend.get("strict").asarray(x)).numpy()]
        np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-6)

    def test_a_checkpoint_is_read_on_either(self, tmp_path: Any) -> None:
        model = SoftmaxRegression(6, 3, seed=1)
        optimiser = SGD(model.parameters(), lr=0.1, momentum=0.5)
        mg.sum(model.output.W).backward()
        optimiser.step()
        mg.save(tmp_path / "model.npz", model)
        mg.save(tmp_path / "optimiser.npz", optimiser)
        with backend.use("numpy"):
            host = SoftmaxRegression(6, 3)
            mg.load(tmp_path / "model.npz", host)
            mg.load(tmp_path / "optimiser.npz", SGD(host.parameters(), lr=0.1, momentum=0.5))
        np.testing.assert_array_equal(host.output.W.data, model.output.W.numpy())


def test_what_the_library_refuses_is_named(strict: Any) -> None:
    for call in (lambda: mg.add(strict.ones(2), strict.ones(3)), lambda: mg.sum(strict.ones(2), 5),
                 lambda: mg.concatenate([strict.ones(2), strict.ones((2, 2))])):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"must fit together, got argument 1 of shape \(2,\)"):
            call()


@pytest.mark.parametrize("name", ["logistic", "softmax", "maxout", "sigmoid", "rbf"])
def test_the_arrays_decide_where_a_model_runs(name: str) -> None:
    from tests.test_models import MODELS, randomised

    make, y = MODELS[name]
    x = np.random.default_rng(0).random((len(y), 6), np.float32)
    with backend.use("numpy"):
        model = randomised(make()).to(dtype=np.float32)
    with backend.use("strict"):
        optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        adversarial_objective(model, x, y).backward()
        optimiser.step()
        mg.mean(model(x)).backward()
        found = [fgsm(model, x, y, epsilon=0.1), model.predict(x), *(p.grad for p in model.parameters())]
    assert all(type(array) is np.ndarray for array in found)
