"""The deep Boltzmann machine: its inference against the exact posterior of tiny machines, which is summed up
over all states, and the cost that it is trained by."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.generators import mask_generator
from minigrad.testing import check_gradients
from models import DeepBoltzmannMachine, Inferred

PIXELS, FIRST, SECOND, CLASSES = 3, 2, 2, 3
STATES = itertools.product(*[range(2)] * (PIXELS + FIRST + SECOND), range(CLASSES))
*BITS, LABEL = np.array(list(STATES)).T
V, H1, H2 = np.split(np.array(BITS).T, [PIXELS, PIXELS + FIRST], axis=1)
Y = np.eye(CLASSES)[LABEL]

# Which pixels and whether the label are shown, of one example.
SHOWN = {
    "all pixels": ([1, 1, 1], 0),
    "all pixels and the label": ([1, 1, 1], 1),
    "some pixels": ([1, 0, 1], 0),
    "a pixel and the label": ([0, 0, 1], 1),
    "nothing": ([0, 0, 0], 0),
}


def machine(seed: int, size: float, iterations: int = 5) -> DeepBoltzmannMachine:
    """A machine in float64 whose weights are drawn from N(0, size²)."""
    model = DeepBoltzmannMachine(PIXELS, CLASSES, units=(FIRST, SECOND), iterations=iterations, seed=seed)
    model.to(dtype=np.float64)
    draw = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data = draw.normal(0.0, size, parameter.shape)
    return model


def posterior(model: Any, x: Any, label: int, shown: Any) -> np.ndarray:
    """The exact probability of each state, given what is shown. A shown grey pixel enters the energy with its
    value, in place of a 0 or a 1."""
    W1, W2, W3 = model.W1.numpy(), model.W2.numpy(), model.W3.numpy()
    pixels, label_shown = np.array(shown[0]), shown[1]
    v = np.where(pixels, x, V)
    energy = -(np.einsum("si,ij,sj->s", v, W1, H1) + np.einsum("si,ij,sj->s", H1, W2, H2)
               + np.einsum("si,ij,sj->s", H2, W3, Y) + v @ model.a.numpy() + H1 @ model.b1.numpy()
               + H2 @ model.b2.numpy() + Y @ model.c.numpy())  # fmt: skip
    possible = (V[:, pixels == 1] == 1).all(1)  # of states that differ in a shown pixel alone, one counts
    if label_shown:
        possible &= label == LABEL
    p = np.where(possible, np.exp(-energy), 0.0)
    return p / p.sum()


def mean_field(z: Any, label: int, shown: Any) -> np.ndarray:
    """The probability that independent units with these arguments give to each state."""
    pixels, label_shown = np.array(shown[0]), shown[1]

    def of_bits(arguments: Any, bits: np.ndarray) -> np.ndarray:
        on = 1 / (1 + np.exp(-arguments))
        return np.where(bits == 1, on, 1 - on)

    v = np.where(pixels, V == 1, of_bits(z.v, V))
    classes = np.exp(z.y - np.max(z.y))
    y = (label == LABEL) if label_shown else (classes / classes.sum())[LABEL]
    return v.prod(1) * of_bits(z.h1, H1).prod(1) * of_bits(z.h2, H2).prod(1) * y


def inferred(model: Any, x: Any, label: int, shown: Any) -> Any:
    """What the machine infers of one example, as arrays without the axis of examples."""
    with mg.no_grad():
        z = model.infer(x[None], [label], pixels_shown=shown[0], labels_shown=[shown[1]])
    return Inferred(*(part.numpy()[0] for part in z))


def divergence(q: np.ndarray, p: np.ndarray) -> float:
    """KL(q ‖ p) = Σ q ln(q / p)."""
    some = q > 0
    return float((q[some] * np.log(q[some] / p[some])).sum())


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
class TestInference:
    @given(seed=st.integers(0, 10_000), size=st.floats(0.0, 2.0))
    def test_no_round_leads_away_from_the_exact_posterior(self, shown: Any, seed: int, size: float) -> None:
        model, x, label = machine(seed, size), np.random.default_rng(seed).random(PIXELS), seed % CLASSES
        exact = posterior(model, x, label, shown)
        distances = []
        for iterations in (1, 2, 3, 5, 8):
            model.iterations = iterations
            z = inferred(model, x, label, shown)
            q = mean_field(z, label, shown)
            assert q.sum() == pytest.approx(1.0)
            distances.append(divergence(q, exact))
        assert min(distances) >= -1e-12
        assert all(later <= before + 1e-12 for before, later in itertools.pairwise(distances))

    @pytest.mark.parametrize("seed", range(5))
    def test_it_settles_where_no_belief_can_be_better(self, shown: Any, seed: int) -> None:
        """A fixed point: more rounds change nothing, and any change of one argument leads away from the
        exact posterior."""
        model, x = machine(seed, 0.8, iterations=500), np.random.default_rng(seed).random(PIXELS)
        exact, z = posterior(model, x, 0, shown), inferred(model, x, 0, shown)
        model.iterations += 1
        for before, after in zip(z, inferred(model, x, 0, shown), strict=True):
            np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)
        least = divergence(mean_field(z, 0, shown), exact)
        hidden = {
            "v": [i for i in range(PIXELS) if not shown[0][i]],
            "h1": range(FIRST),
            "h2": range(SECOND),
            "y": [] if shown[1] else range(CLASSES),
        }
        for part, places in hidden.items():
            for i, change in itertools.product(places, (-0.01, 0.01)):
                moved = getattr(z, part).copy()
                moved[i] += change
                assert divergence(mean_field(z._replace(**{part: moved}), 0, shown), exact) > least

    def test_it_is_exact_where_the_units_are_independent(self, shown: Any) -> None:
        """And nearly so where they hardly depend on one another: the distance falls with the square of the
        weights."""
        distances = []
        for size in (0.0, 0.1, 0.2):
            model, x = machine(3, 1.0, iterations=100), np.array([0.2, 1.0, 0.5])
            for weights in (model.W1, model.W2, model.W3):
                weights.data *= size
            exact = posterior(model, x, 2, shown)
            distances.append(divergence(mean_field(inferred(model, x, 2, shown), 2, shown), exact))
        assert distances[0] == pytest.approx(0.0, abs=1e-12)
        assert 0 < distances[1] < distances[2] / 3 < 0.02


class TestWhatIsShown:
    model = machine(4, 1.0)
    x = np.random.default_rng(4).random((5, PIXELS))
    y = np.array([0, 2, 1, 1, 0])

    def assert_same(self, a: Inferred, b: Inferred, parts: Sequence[str] = ("h1", "h2", "y")) -> None:
        for part in parts:
            np.testing.assert_array_equal(getattr(a, part).numpy(), getattr(b, part).numpy())

    def test_without_masks_all_pixels_are(self) -> None:
        z = self.model.infer(self.x)
        assert z.v is None
        self.assert_same(z, self.model.infer(self.x, pixels_shown=np.ones(PIXELS)))
        self.assert_same(z, self.model.infer(self.x, self.y, labels_shown=np.zeros(5)))
        np.testing.assert_array_equal(self.model(self.x).numpy(), z.y.numpy())

    def test_without_a_mask_all_labels_are(self) -> None:
        z = self.model.infer(self.x, self.y)
        assert z.v is None
        self.assert_same(z, self.model.infer(self.x, self.y, labels_shown=np.ones(5, bool)))
        assert (self.model.infer(self.x).h2.numpy() != z.h2.numpy()).any()

    @pytest.mark.parametrize("dtype", [bool, int, np.float32])
    def test_a_mask_of_one_example_is_for_all(self, dtype: Any) -> None:
        shown = np.array([1, 0, 1], dtype)
        z = self.model.infer(self.x, self.y, pixels_shown=shown, labels_shown=np.zeros(5, dtype))
        whole = self.model.infer(self.x, pixels_shown=np.tile(shown, (5, 1)).astype(bool))
        self.assert_same(z, whole, Inferred._fields)

    def test_what_is_hidden_is_not_looked_at(self) -> None:
        shown = np.array([True, False, True])
        x = self.x.copy()
        x[:, 1] = np.nan
        z, other = (self.model.infer(values, pixels_shown=shown) for values in (self.x, x))
        self.assert_same(z, other, Inferred._fields)
        image = mg.Tensor(x, requires_grad=True)
        (slope,) = mg.grad(mg.sum(self.model.infer(image, pixels_shown=shown).y[:, 0]), image)
        assert (slope.numpy()[:, 1] == 0.0).all()
        assert slope.numpy()[:, 0].all()

    def test_gradients_in_what_is_shown(self) -> None:
        def beliefs(x: mg.Tensor) -> mg.Tensor:
            z = self.model.infer(x, self.y, pixels_shown=[1, 0, 1], labels_shown=[1, 0, 1, 0, 0])
            assert z.v is not None
            return mg.concatenate([z.v, z.h1, z.h2, z.y], 1)

        check_gradients(beliefs, self.x, order=2, exact=True)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"pixels_shown": np.ones((5, 2))}, r"pixels_shown must have shape \(5, 3\) or \(3,\), got"),
            (
                {"pixels_shown": np.full(3, 0.5)},
                "pixels_shown must be booleans, or zeros and ones, got 3 other",
            ),
            ({"pixels_shown": np.ones(3, complex)}, "pixels_shown must hold real numbers"),
            ({"labels_shown": np.ones(5)}, "y must be given with labels_shown"),
            ({"y": np.zeros(5, int), "labels_shown": np.ones((5, 1))}, "labels_shown must have shape"),
            ({"y": np.zeros(5, int), "labels_shown": np.full(5, np.nan)}, "labels_shown must be booleans"),
            ({"y": np.eye(5)}, "y must be integers"),
            ({"y": np.full(5, CLASSES)}, "y must be classes"),
        ],
    )
    def test_what_does_not_fit(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^{message}"):
            self.model.infer(self.x, **arguments)


def test_a_pixel_that_nothing_speaks_for_is_as_bright_as_in_the_mean() -> None:
    means = np.array([0.25, 0.5, 1.0], np.float32)
    model = DeepBoltzmannMachine(PIXELS, CLASSES, units=(FIRST, SECOND), pixel_means=means)
    model.W1.data[...] = 0.0
    nothing = np.zeros((1, PIXELS), np.float32)
    z = model.infer(nothing, pixels_shown=nothing)
    assert z.v is not None
    np.testing.assert_allclose(mg.sigmoid(z.v).numpy()[0], [0.25, 0.5, 0.999], rtol=1e-5)


class TestPredictionCost:
    x = np.random.default_rng(0).random((6, PIXELS))
    y = np.array([0, 2, 1, 2, 1, 0])

    def cost(self, model: Any, x: Any, seed: int = 7) -> mg.Tensor:
        model.mask_generator = mask_generator(seed)  # what is hidden is the same at every call
        return model.prediction_cost(x, self.y)

    def test_gradients_in_x_and_in_every_parameter(self) -> None:
        model = machine(1, 0.5, iterations=3)
        check_gradients(lambda x: self.cost(model, x), self.x, order=2, exact=True)
        names = list(model.named_parameters())

        def of_parameters(*values: mg.Tensor) -> mg.Tensor:
            for name, value in zip(names, values, strict=True):
                setattr(model, name, value)
            return self.cost(model, self.x)

        check_gradients(of_parameters, *(p.numpy() for p in model.parameters()), order=2, exact=True)

    def test_it_is_the_mean_of_what_is_hidden(self) -> None:
        """−ln of the probabilities, written out, with the masks drawn once more."""
        model = machine(2, 0.7)
        found = self.cost(model, self.x).item()
        generator = mask_generator(7)
        hidden_pixels, hidden_labels = (
            mg.dropout(np.ones(shape), keep=0.5, scale=1.0, generator=generator).numpy()
            for shape in (self.x.shape, (6, 1))
        )
        assert 0 < hidden_pixels.mean() < 1
        assert 0 < hidden_labels.mean() < 1
        total = 0.0
        for i in range(6):
            z = inferred(model, self.x[i], self.y[i], (1 - hidden_pixels[i], 1 - hidden_labels[i, 0]))
            on = 1 / (1 + np.exp(-z.v))
            of_pixels = self.x[i] * np.log(on) + (1 - self.x[i]) * np.log(1 - on)
            of_classes = z.y - np.log(np.exp(z.y).sum())
            total -= (hidden_pixels[i] * of_pixels).sum() + hidden_labels[i, 0] * of_classes[self.y[i]]
        assert found == pytest.approx(total / 6)

    def test_a_hidden_label_counts_so_many_times(self) -> None:
        costs = {}
        for weight in (0.0, 1.0, 3.0):
            model = machine(2, 0.7)
            model.label_weight = weight
            costs[weight] = self.cost(model, self.x).item()
        assert costs[0.0] < costs[1.0]
        assert costs[3.0] - costs[0.0] == pytest.approx(3 * (costs[1.0] - costs[0.0]))

    def test_what_is_hidden_is_drawn_anew(self) -> None:
        model = machine(2, 0.7)
        costs = [self.cost(model, self.x, seed).item() for seed in (0, 1, 2, 0)]
        assert costs[3] == costs[0]
        assert len(set(costs)) == 3
        assert model.prediction_cost(self.x, self.y).item() != costs[0]

    def test_extreme_weights_leave_it_finite(self) -> None:
        model = machine(2, 300.0).to(dtype=np.float32)
        x = mg.Tensor(self.x.astype(np.float32), requires_grad=True)
        J = self.cost(model, x)
        (slope,) = mg.grad(J, x)
        assert np.isfinite(J.item())
        assert np.isfinite(slope.numpy()).all()

    @pytest.mark.parametrize("y", [np.zeros(5, int), np.full(6, CLASSES), np.full(6, -1), np.zeros(6)])
    def test_labels_that_do_not_fit(self, y: Any) -> None:
        with pytest.raises((ArgumentError, TypeError), match="^y must"):
            machine(0, 1.0).prediction_cost(self.x, y)

    def test_no_examples(self) -> None:
        with pytest.raises(ArgumentError, match="at least one example"):
            machine(0, 1.0).prediction_cost(self.x[:0], self.y[:0])


def test_a_machine_learns_to_fill_in_what_it_is_not_shown() -> None:
    """Two patterns, each with its label: after training half a pattern gives the rest and the label."""
    patterns = np.repeat(np.array([[1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 1]], np.float32), 20, axis=0)
    labels = np.repeat([0, 1], 20)
    model = DeepBoltzmannMachine(6, 2, units=(8, 8), iterations=4, seed=0)
    optimiser = mg.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        model.prediction_cost(patterns, labels).backward()
        optimiser.step()
    half = np.array([1, 1, 1, 0, 0, 0])
    z = model.infer(patterns, pixels_shown=half)
    assert z.v is not None
    np.testing.assert_array_equal(z.v.numpy()[:, 3:] > 0, patterns[:, 3:] > 0.5)
    np.testing.assert_array_equal(z.y.numpy().argmax(1), labels)
    np.testing.assert_array_equal(model.predict(patterns), labels)
