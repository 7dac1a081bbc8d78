"""The models: gradients, predictions, and what they do with wrong input."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from attacks import fgsm
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.testing import check_gradients
from models import (
    ConvolutionalMaxout,
    DeepBoltzmannMachine,
    LogisticRegression,
    MaxoutConvolution,
    MaxoutNetwork,
    RBFNetwork,
    SoftmaxRegression,
)

rng = np.random.default_rng(11)
X = rng.normal(size=(4, 6))
CLASSES = np.array([0, 2, 1, 2])
SIGNS = np.array([1, -1, -1, 1])


def randomised(model: Any) -> Any:
    """The model in float64 with weights large enough for the gradients to say something."""
    model.to(dtype=np.float64)
    for parameter in model.parameters():
        parameter.data = backend.of(parameter.data).asarray(rng.normal(size=parameter.shape))
    return model


LAYER = MaxoutConvolution(2, pieces=2, window=2, padding=1, pool=2, pool_stride=1)
MODELS = {
    "logistic": (lambda seed=0: LogisticRegression(6, seed=seed), SIGNS),
    "softmax": (lambda seed=0: SoftmaxRegression(6, 3, seed=seed), CLASSES),
    "maxout": (lambda seed=0: MaxoutNetwork(6, 3, units=(4, 3), pieces=2, seed=seed), CLASSES),
    "sigmoid": (
        lambda seed=0: MaxoutNetwork(6, 3, units=(4,), pieces=2, outputs="sigmoid", seed=seed),
        CLASSES,
    ),
    "rbf": (lambda seed=0: RBFNetwork(6, 3, seed=seed), CLASSES),
    "convolutional": (
        lambda seed=0: ConvolutionalMaxout((3, 2, 1), 3, layers=[LAYER], units=(2,), pieces=2, seed=seed),
        CLASSES,
    ),
    "boltzmann": (lambda seed=0: DeepBoltzmannMachine(6, 3, units=(3, 2), iterations=2, seed=seed), CLASSES),
}


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_gradients_in_x_and_in_every_parameter(self, name: str, library: Any) -> None:
        """To 1e-6 of float64 central differences, and the gradient of the gradient too."""
        make, y = MODELS[name]
        model = randomised(make())
        check_gradients(lambda x: model.cost(x, y), X, order=2, exact=True)
        parameters = model.parameters()
        owners = [
            (module, attribute)
            for _, module in model.named_modules()
            for attribute, value in vars(module).items()
            if isinstance(value, mg.Parameter)
        ]
        x = library.asarray(X)

        def cost(*values: mg.Tensor) -> mg.Tensor:
            for (module, attribute), value in zip(owners, values, strict=True):
                setattr(module, attribute, value)
            return model.cost(x, y)

        assert len(owners) == len(parameters)
        check_gradients(cost, *(p.numpy() for p in parameters), order=2, exact=True)

    def test_predictions_follow_from_the_logits(self, name: str, library: Any) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        x = library.asarray(X)
        logits, labels, probabilities = model(x), model.predict(x), model.predict_proba(x)
        assert isinstance(logits, mg.Tensor)
        assert isinstance(labels, library.array_type)
        assert isinstance(probabilities, library.array_type)
        assert labels.shape == (4,)
        assert labels.dtype.kind == "i"
        z, p = logits.numpy(), mg.Tensor(probabilities).numpy()
        if name not in ("logistic", "sigmoid", "rbf"):
            np.testing.assert_allclose(p.sum(1), 1.0)
        else:
            np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)))
        expected = np.where(z > 0, 1, -1) if name == "logistic" else z.argmax(1)
        np.testing.assert_array_equal(mg.Tensor(labels).numpy(), expected)

    def test_cost_by_every_reduction(self, name: str) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        costs = model.cost(X, y, reduction="none").numpy()
        assert costs.shape == (4,)
        assert model.cost(X, y).item() == pytest.approx(costs.mean())
        assert model.cost(X, y, reduction="sum").item() == pytest.approx(costs.sum())
        assert model.cost(X[:0], y[:0], reduction="sum").item() == 0.0

    def test_a_seed_makes_one_model_in_float32(self, name: str, library: Any) -> None:
        make, _ = MODELS[name]
        one, same, other = make(1), make(1), make(2)
        for p, q in zip(one.parameters(), same.parameters(), strict=True):
            assert p.dtype == np.float32
            assert isinstance(p.data, library.array_type)
            np.testing.assert_array_equal(p.numpy(), q.numpy())
        assert any(
            (p.numpy() != q.numpy()).any() for p, q in zip(one.parameters(), other.parameters(), strict=True)
        )

    def test_a_saved_model_predicts_as_before(self, name: str, tmp_path: Path) -> None:
        make, _ = MODELS[name]
        model, other = make(1), make(2)
        mg.save(tmp_path / "model.npz", model)
        mg.load(tmp_path / "model.npz", other)
        np.testing.assert_array_equal(model(X).numpy(), other(X).numpy())

    def test_input_that_does_not_fit(self, name: str) -> None:
        make, y = MODELS[name]
        model = make()
        for x in (X[:, :5], X[0], X[None]):
            with pytest.raises(ArgumentError, match=r"x must have shape \(examples, 6\), got"):
                model(x)
        with pytest.raises(ArgumentTypeError, match="x must be floating-point.*uint8"):
            model(np.zeros((2, 6), np.uint8))
        for labels in (y[:3], y[:, None], y + 5, y * 7 - 1):
            with pytest.raises(ArgumentError, match="^y must"):
                model.cost(X, labels)
        with pytest.raises(ArgumentTypeError, match="^y must"):
            model.cost(X, np.array(["a", "b", "c", "d"]))

    def test_two_hundred_steps_leave_the_number_of_tensors_flat(self, name: str) -> None:
        import gc

        from attacks import adversarial_objective
        from tests.test_engine import live_tensors

        make, y = MODELS[name]
        model = make()
        optimiser = mg.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
        x = X.astype(np.float32)
        gc.collect()
        gc.disable()
        try:
            counts = []
            for step in range(1, 201):
                optimiser.zero_grad()
                J = adversarial_objective(model, x, y)
                J.backward()
                optimiser.step()
                if step in (1, 2, 10, 100, 200):
                    counts.append(live_tensors())
        finally:
            gc.enable()
        assert len(set(counts)) == 1


class TestLogisticRegression:
    @given(st.integers(0, 10_000), st.floats(0.0, 2.0), st.booleans())
    def test_adversarial_cost_is_the_maximum_over_all_corners(
        self, seed: int, epsilon: float, positive: bool
    ) -> None:
        random = np.random.default_rng(seed)
        model = randomised(LogisticRegression(5))
        x, y = random.normal(size=(1, 5)), [1 if positive else -1]
        corners = [
            model.cost(x + epsilon * np.array(signs), y).item()
            for signs in itertools.product([-1, 1], repeat=5)
        ]
        assert model.adversarial_cost(x, y, epsilon).item() == pytest.approx(max(corners), rel=1e-9)
        attacked = fgsm(model, x, y, epsilon=epsilon)
        assert model.cost(attacked, y).item() == pytest.approx(max(corners), rel=1e-9)

    def test_gradients_of_the_adversarial_cost(self) -> None:
        model = randomised(LogisticRegression(6))

        def cost(x: mg.Tensor, w: mg.Tensor, b: mg.Tensor) -> mg.Tensor:
            model.w, model.b = w, b
            return model.adversarial_cost(x, SIGNS, 0.3)

        check_gradients(cost, X, rng.normal(size=6), rng.normal(size=()), order=2)

    def test_epsilon_zero_is_the_plain_cost(self) -> None:
        model = randomised(LogisticRegression(6))
        assert model.adversarial_cost(X, SIGNS, 0.0).item() == pytest.approx(model.cost(X, SIGNS).item())

    @pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf")])
    def test_impossible_epsilons(self, epsilon: float) -> None:
        with pytest.raises(ArgumentError, match="epsilon"):
            LogisticRegression(6).adversarial_cost(X, SIGNS, epsilon)


class TestSigmoidOutputs:
    def test_the_cost_is_that_of_each_class_against_the_rest(self) -> None:
        model = randomised(MODELS["sigmoid"][0]())
        p = model.predict_proba(X)
        own = np.arange(3) == CLASSES[:, None]
        expected = -np.where(own, np.log(p), np.log(1 - p)).sum(1)
        np.testing.assert_allclose(model.cost(X, CLASSES, reduction="none").numpy(), expected)

    def test_it_can_refuse_every_class(self) -> None:
        model = MODELS["sigmoid"][0]()
        model.output.b.data[:] = -5
        assert model.predict_proba(X.astype(np.float32)).max() < 0.01

    def test_other_outputs(self) -> None:
        with pytest.raises(ArgumentError, match="outputs must be one of softmax, sigmoid, got 'tanh'"):
            MaxoutNetwork(6, 3, outputs="tanh")


class TestRBFNetwork:
    def test_its_probabilities_are_the_definition(self) -> None:
        model = randomised(MODELS["rbf"][0]())
        for c in range(3):
            beta = -np.diag(model.w.data[c] ** 2)
            d = X - model.mu.data[c]
            np.testing.assert_allclose(
                model.predict_proba(X)[:, c], np.exp(np.einsum("ni,ij,nj->n", d, beta, d)), rtol=1e-4
            )

    def test_it_is_sure_at_a_centre_and_nowhere_far_from_all(self) -> None:
        model = RBFNetwork(6, 3, centres=np.eye(3, 6), width=0.5)
        np.testing.assert_allclose(np.diag(model.predict_proba(np.eye(3, 6, dtype=np.float32))), 1, atol=1e-5)
        assert model.predict_proba(np.full((1, 6), 30.0, np.float32)).max() == 0

    @pytest.mark.parametrize("distance", [0.0, 1e-6, 1.0, 1e3])
    def test_cost_and_gradient_are_finite_at_every_distance(self, distance: float) -> None:
        model = RBFNetwork(6, 3, centres=np.zeros((3, 6)), width=1.0)
        x = np.full((1, 6), distance, np.float32)
        assert np.isfinite(model.cost(x, [0]).item())
        gradients = mg.grad(model.cost(x, [0]), model.parameters())
        assert all(np.isfinite(g.numpy()).all() for g in gradients)
        if distance >= 1:
            assert (gradients[0].numpy()[0] != 0).all()

    def test_the_width_is_where_p_is_one_over_e(self) -> None:
        model = RBFNetwork(6, 3, centres=np.zeros((3, 6)), width=2.5)
        x = np.zeros((1, 6), np.float32)
        x[0, 3] = 2.5
        np.testing.assert_allclose(model.predict_proba(x), np.exp(-1), rtol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"width": 0.0}, "width"),
            ({"centres": np.zeros((3, 5))}, r"centres must have shape \(3, 6\), got \(3, 5\)"),
            ({"centres": np.full((3, 6), np.nan)}, "centres must be finite"),
            ({"centres": np.full((3, 6), 1e300)}, "centres must be finite, got 18"),
            ({"width": 1e-300}, "1 / width must be finite"),
            ({"n_classes": 1}, "n_classes"),
        ],
    )
    def test_settings_that_make_no_sense(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ArgumentError, match=message):
            RBFNetwork(**{"n_features": 6, "n_classes": 3, **arguments})


class TestMaxoutNetwork:
    def test_the_logits_above_a_layer_continue_from_it(self) -> None:
        model = randomised(MODELS["maxout"][0]())
        h = mg.Tensor(X)
        for layer in range(3):
            np.testing.assert_array_equal(model.logits_above(layer, h).numpy(), model(X).numpy())
            if layer < 2:
                h = model.hidden_values(layer + 1, h)

    def test_its_logits_are_the_definition(self) -> None:
        model = randomised(MODELS["maxout"][0]())
        h = X
        for layer in model.hidden:
            z = h @ layer.W.data + layer.b.data
            h = np.maximum(*np.split(z, 2, axis=1))
        np.testing.assert_allclose(model(X).numpy(), h @ model.output.W.data + model.output.b.data)

    def test_initial_weights_are_those_of_the_maxout_paper(self) -> None:
        model = MaxoutNetwork(50, 10, units=(30,), pieces=4)
        assert [p.shape for p in model.parameters()] == [(50, 120), (120,), (30, 10), (10,)]
        assert 0.0045 < np.abs(model.hidden[0].W.data).max() <= 0.005
        assert not model.hidden[0].b.data.any()

    def test_dropout_only_in_training(self) -> None:
        model = MaxoutNetwork(6, 3, units=(50,), pieces=2, dropout=(0.8, 0.5))
        x = X.astype(np.float32)
        model.hidden[0].W.data *= 100
        first, second = model(x).numpy(), model(x).numpy()
        assert (first != second).any()
        model.predict(x)
        assert model.training
        model.eval()
        np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())

    def test_dropout_does_not_rescale_its_input_but_its_hidden_values(self) -> None:
        model = MaxoutNetwork(1, 2, units=(1,), pieces=1, dropout=(0.5, 0.5))
        for parameter in model.parameters():
            parameter.data[...] = 1.0
        model.output.b.data[...] = 0.0
        seen = {model(np.ones((1, 1), np.float32)).numpy()[0, 0] for _ in range(100)}
        assert seen == {0.0, 2.0, 4.0}  # dropped; input dropped, bias doubled; both kept

    def test_masks_follow_the_seed(self) -> None:
        def outputs() -> np.ndarray:
            model = MaxoutNetwork(6, 3, units=(5,), dropout=(0.8, 0.5), seed=3)
            return np.stack([model(X).numpy() for _ in range(3)])

        np.testing.assert_array_equal(outputs(), outputs())

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"units": ()}, "units must have at least one layer"),
            ({"units": (0,)}, r"units\[0\]"),
            ({"pieces": 0}, "pieces"),
            ({"dropout": 0.5}, "dropout"),
            ({"dropout": (0.8, 0.0)}, r"dropout\[1\]"),
            ({"n_classes": 1}, "n_classes"),
            ({"n_features": 2.5}, "n_features"),
        ],
    )
    def test_settings_that_make_no_sense(self, arguments: dict[str, Any], name: str) -> None:
        with pytest.raises((ArgumentError, ArgumentTypeError), match=name):
            MaxoutNetwork(**{"n_features": 6, "n_classes": 3, **arguments})


class TestConvolutionalMaxout:
    def test_its_logits_are_the_definition(self) -> None:
        """Every unit written out, place by place, of two layers and a dense one."""
        layers = [MaxoutConvolution(2, 3, window=2, padding=1, pool=2, pool_stride=1), LAYER]
        model = randomised(ConvolutionalMaxout((4, 3, 2), 3, layers=layers, units=(5,), pieces=2))
        x = rng.normal(size=(2, 24))
        values = x.reshape(2, 4, 3, 2)
        for convolution, layer in zip(model.convolutions, layers, strict=True):
            values = np.pad(values, [(0, 0), (layer.padding,) * 2, (layer.padding,) * 2, (0, 0)])
            rows, columns = values.shape[1] - layer.window + 1, values.shape[2] - layer.window + 1
            maps = np.empty((2, rows, columns, layer.units))
            for n, i, j, unit in np.ndindex(maps.shape):
                seen = values[n, i : i + layer.window, j : j + layer.window]
                maps[n, i, j, unit] = max(
                    (seen * convolution.W.data[..., piece * layer.units + unit]).sum()
                    + convolution.b.data[piece * layer.units + unit]
                    for piece in range(layer.pieces)
                )
            values = np.empty((2, rows - layer.pool + 1, columns - layer.pool + 1, layer.units))
            for n, i, j, unit in np.ndindex(values.shape):
                values[n, i, j, unit] = maps[n, i : i + layer.pool, j : j + layer.pool, unit].max()
        z = values.reshape(2, -1) @ model.hidden[0].W.data + model.hidden[0].b.data
        h = np.maximum(*np.split(z, 2, axis=1))
        np.testing.assert_allclose(model(x).numpy(), h @ model.output.W.data + model.output.b.data)

    def test_dropout_of_its_input_is_not_rescaled_and_that_of_pooled_values_is(self) -> None:
        """With weights that hand on what they are given, the logits show what is kept."""
        layer = MaxoutConvolution(1, 1, window=1, pool=1, pool_stride=1)
        model = ConvolutionalMaxout((2, 2, 1), 4, layers=[layer], dropout=(0.5, 1.0))
        for parameter in model.parameters():
            parameter.data[...] = 0.0
        model.convolutions[0].W.data[...] = 1.0
        model.output.W.data[...] = np.eye(4)
        x = np.ones((50, 4), np.float32)
        assert set(model(x).numpy().ravel()) == {0.0, 1.0}
        model.dropout = (1.0, 0.5)
        assert set(model(x).numpy().ravel()) == {0.0, 2.0}
        model.eval()
        np.testing.assert_array_equal(model(x).numpy(), x)

    def test_what_is_dropped_was_pooled(self) -> None:
        """Half of the values; of windows whose four places were dropped one by one, it would be a 16th."""
        layer = MaxoutConvolution(2, 1, window=1)
        model = ConvolutionalMaxout((2, 2, 1), 2, layers=[layer], dropout=(1.0, 0.5))
        for parameter in model.parameters():
            parameter.data[...] = 0.0
        model.convolutions[0].b.data[...] = 1.0
        model.output.W.data[...] = np.eye(2)
        z = model(np.zeros((400, 4), np.float32)).numpy()
        assert set(z.ravel()) == {0.0, 2.0}
        assert 0.4 < (z == 0.0).mean() < 0.6

    def test_a_shape_moved_within_a_window_of_pooling_gives_the_same(self) -> None:
        """What convolution and pooling are for: wherever it is there, the same units are greatest."""
        layer = MaxoutConvolution(3, 2, window=3, padding=0, pool=8, pool_stride=8)
        model = randomised(ConvolutionalMaxout((10, 10, 1), 3, layers=[layer]))
        x = np.zeros((1, 10, 10))
        x[0, 3:5, 4:7] = rng.random((2, 3))
        moved = np.roll(x, (1, -1), axis=(1, 2))
        np.testing.assert_allclose(
            model(x.reshape(1, -1)).numpy(), model(moved.reshape(1, -1)).numpy(), rtol=1e-12
        )

    def test_padding_by_name_and_pooling_without_overlap(self) -> None:
        layer = MaxoutConvolution(2, 1, window=4, padding="same", pool=3)
        assert layer.output_side(7) == replace(layer, pool_stride=3).output_side(7) == 2
        assert replace(layer, pool=1).output_side(7) == 7
        assert MaxoutConvolution(2, 1, window=4, padding="valid") == MaxoutConvolution(2, 1, window=4)
        model = ConvolutionalMaxout((7, 6, 1), 2, layers=[layer])
        assert model.output.W.shape == (2 * 2 * 2, 2)
        assert model(np.zeros((3, 42), np.float32)).shape == (3, 2)

    @pytest.mark.parametrize("stride", [1, 2])
    def test_pooling_of_single_places(self, stride: int) -> None:
        layer = MaxoutConvolution(2, 1, window=1, pool=1, pool_stride=stride)
        values = mg.Tensor(rng.normal(size=(1, 3, 3, 2)))
        np.testing.assert_array_equal(layer.pooled(values).numpy(), values.numpy()[:, ::stride, ::stride])

    def test_it_learns_without_further_settings(self) -> None:
        """Which of four places is bright, from some noisy images of it."""
        draw = np.random.default_rng(0)
        y = np.arange(80) % 4
        x = 0.3 * draw.random((80, 8, 8), np.float32)
        x[np.arange(80), 4 * (y // 2) + 1, 4 * (y % 2) + 1] += 1.0
        layers = [MaxoutConvolution(4, 2, window=3, padding="same") for _ in range(2)]
        model = ConvolutionalMaxout((8, 8, 1), 4, layers=layers)
        optimiser = mg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(30):
            optimiser.zero_grad()
            model.cost(x.reshape(80, -1), y).backward()
            optimiser.step()
        assert (model.predict(x.reshape(80, -1)) == y).mean() > 0.9

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"layers": []}, "layers must be one or more"),
            ({"layers": [(2, 2, 3)]}, r"layers\[0\] must be a MaxoutConvolution, got tuple"),
            ({"layers": [LAYER, MaxoutConvolution(1, 1, window=4)]}, r"layers\[1\] must leave at least one"),
            ({"layers": [MaxoutConvolution(10**19, 1, window=1)]}, "weights must fit in memory"),
            ({"image": (3, 2)}, "image must be"),
            ({"image": (3, 0, 1)}, r"image\[1\]"),
            ({"units": (0,)}, r"units\[0\]"),
            ({"pieces": 0}, "pieces"),
            ({"dropout": 0.5}, "dropout"),
            ({"n_classes": 1}, "n_classes"),
        ],
    )
    def test_settings_that_make_no_sense(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            ConvolutionalMaxout(**{"image": (3, 2, 1), "n_classes": 3, "layers": [LAYER], **arguments})

    def test_small_integers_of_numpy_do_not_overflow(self) -> None:
        layer = MaxoutConvolution(np.uint8(20), np.uint8(20), window=2, padding=np.int8(100))  # type: ignore[arg-type]
        model = ConvolutionalMaxout((2, 2, 1), 2, layers=[layer])
        assert model.convolutions[0].W.shape == (2, 2, 1, 400)
        assert model(np.zeros((1, 4), np.float32)).shape == (1, 2)

    @pytest.mark.parametrize("wrong", [{"units": 0}, {"window": 2.5}, {"padding": -1}, {"pool_stride": 0}])
    def test_layers_that_make_no_sense(self, wrong: dict[str, Any]) -> None:
        (name,) = wrong
        with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^{name} must"):
            MaxoutConvolution(**{"units": 1, "pieces": 1, "window": 1, **wrong})


def test_a_classifier_without_logits() -> None:
    from models.classifier import Classifier

    with pytest.raises(TypeError, match="logits"):
        Classifier(6, 3)(X)


def test_small_deep_networks_learn_from_weights_of_their_own_size() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)

    def cost_after_training(**weights: Any) -> float:
        model = MaxoutNetwork(4, 2, units=(16, 16, 16), pieces=2, **weights)
        optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(100):
            optimiser.zero_grad()
            model.cost(x, y).backward()
            optimiser.step()
        return model.cost(x, y).item()

    assert cost_after_training(weights="he") < 0.1
    assert cost_after_training() > 0.68  # the maxout paper's, for wide layers
