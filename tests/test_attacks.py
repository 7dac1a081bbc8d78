"""FGSM, its closed forms, what it leaves alone, and training on its examples."""

from __future__ import annotations

import copy
import inspect
import warnings
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attacks
import minigrad as mg
from attacks import (
    ZeroGradientWarning,
    adversarial_objective,
    basic_iterative,
    evaluate,
    fast_gradient,
    fgsm,
    fgsm_random_start,
    input_gradient,
    linear_worst_case,
    momentum_iterative,
    pgd,
    zero_gradient_share,
)
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from minigrad.testing import check_gradients
from models import LogisticRegression, MaxoutNetwork, SoftmaxRegression
from tests.strict import counter
from tests.test_engine import count_products
from tests.test_models import CLASSES, MODELS, SIGNS, X, randomised

rng = np.random.default_rng(13)


INFINITY_NORM = {
    "fgsm": fgsm,
    "basic": partial(basic_iterative, step=0.3, steps=3),
    "pgd": partial(pgd, step=0.3, steps=3),
    "pgd_restarted": partial(pgd, step=0.3, steps=2, restarts=3),
    "momentum": partial(momentum_iterative, step=0.3, steps=3),
    "random_start": fgsm_random_start,
}
ATTACKS = {
    **INFINITY_NORM,
    "l2": partial(fast_gradient, norm=2),
    "l1": partial(fast_gradient, norm=1),
    "pgd_l2": partial(pgd, step=0.1, steps=3, norm=2),
}


class TestClosedForms:
    @pytest.mark.parametrize("name", MODELS)
    def test_the_step_gains_epsilon_times_the_l1_norm(self, name: str, library: Any) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        x = library.asarray(X)
        g = mg.Tensor(input_gradient(model, x, y)).numpy()
        eta = mg.Tensor(fgsm(model, x, y, epsilon=0.25)).numpy() - X
        np.testing.assert_allclose((eta * g).sum(), 0.25 * np.abs(g).sum())
        np.testing.assert_allclose(np.abs(eta[g != 0]), 0.25)
        np.testing.assert_array_equal(eta[g == 0], 0.0)

    @pytest.mark.parametrize("name", MODELS)
    def test_the_input_gradient_is_the_numeric_one(self, name: str) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        check_gradients(lambda x: model.cost(x, y, reduction="sum"), X, exact=True)
        x = mg.Tensor(X, requires_grad=True)
        (expected,) = mg.grad(model.cost(x, y, reduction="sum"), x)
        np.testing.assert_array_equal(input_gradient(model, X, y), expected.numpy())

    def test_logistic_regression(self) -> None:
        model = randomised(LogisticRegression(6))
        expected = X - 0.25 * SIGNS[:, None] * np.sign(model.w.data)
        np.testing.assert_allclose(fgsm(model, X, SIGNS, epsilon=0.25), expected)
        attacked = model.cost(fgsm(model, X, SIGNS, epsilon=0.25), SIGNS).item()
        assert attacked == pytest.approx(model.adversarial_cost(X, SIGNS, 0.25).item())

    def test_softmax_regression(self) -> None:
        model = randomised(SoftmaxRegression(6, 3))
        p = model.predict_proba(X)
        gradient = (p - np.eye(3)[CLASSES]) @ model.output.W.data.T
        np.testing.assert_allclose(input_gradient(model, X, CLASSES), gradient)
        np.testing.assert_allclose(fgsm(model, X, CLASSES, epsilon=0.1), X + 0.1 * np.sign(gradient))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
class TestContract:
    def model(self) -> Any:
        return MaxoutNetwork(6, 3, units=(5,), pieces=2, dropout=(0.8, 0.5), seed=1)

    def test_nothing_of_the_callers_is_changed(self, attack: Any) -> None:
        model = self.model()
        model.output.eval()  # a mixture of modes
        x, y = X.astype(np.float32), CLASSES.copy()
        grads = [
            None if i % 2 else rng.normal(size=p.shape).astype(p.dtype)
            for i, p in enumerate(model.parameters())
        ]
        for parameter, g in zip(model.parameters(), grads, strict=True):
            parameter.grad = g
        before = x.tobytes(), y.tobytes(), [None if g is None else g.tobytes() for g in grads]
        modes = [m.training for _, m in model.named_modules()]
        for epsilon in (0.0, 0.25):
            adversarial = attack(model, x, y, epsilon=epsilon)
            assert not np.shares_memory(adversarial, x)
        after = [p.grad for p in model.parameters()]
        assert all(new is old for new, old in zip(after, grads, strict=True))
        assert before == (x.tobytes(), y.tobytes(), [None if g is None else g.tobytes() for g in after])
        assert modes == [m.training for _, m in model.named_modules()]
        assert modes == [True, True, False]

    def test_the_mode_comes_back_after_an_exception(self, attack: Any) -> None:
        model = self.model()
        with pytest.raises(ArgumentError):
            attack(model, X, CLASSES + 7, epsilon=0.1)
        assert model.training

    def test_it_works_inside_no_grad_and_without_dropout(self, attack: Any) -> None:
        model = self.model()
        model.hidden[0].W.data *= 100
        with mg.no_grad():
            inside = attack(model, X, CLASSES, epsilon=0.1)
        np.testing.assert_array_equal(inside, attack(model, X, CLASSES, epsilon=0.1))
        model.eval()
        np.testing.assert_array_equal(inside, attack(model, X, CLASSES, epsilon=0.1))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_shape_dtype_and_library_are_those_of_x(self, attack: Any, dtype: Any, library: Any) -> None:
        x = library.asarray(X, dtype)
        for given_x in (x, mg.Tensor(x)):
            adversarial = attack(self.model(), given_x, CLASSES, epsilon=0.25)
            assert isinstance(adversarial, library.array_type)
            assert adversarial.shape == x.shape
            assert adversarial.dtype == dtype
            assert float(abs(adversarial - x).max()) <= 0.25 + 1e-6

    def test_both_bounds_reach_the_output(self, attack: Any) -> None:
        if attack not in INFINITY_NORM.values():
            pytest.skip("a step of another norm need not reach them")
        x = rng.uniform(0.2, 0.8, size=(40, 6))
        adversarial = attack(self.model(), x, np.zeros(40, int), epsilon=0.9, bounds=(0.2, 0.8))
        assert adversarial.min() == 0.2
        assert adversarial.max() == 0.8

    def test_what_was_clipped_lies_within_the_bounds_again(self, attack: Any) -> None:
        x = rng.uniform(0.0, 0.3, size=(40, 6)).astype(np.float32)  # float32(.3) is above .3
        for _ in range(2):
            x = attack(self.model(), x, np.zeros(40, int), epsilon=0.5, bounds=(0.0, 0.3))

    def test_without_labels_the_predictions_are_used(self, attack: Any) -> None:
        model = randomised(self.model())
        predictions = model.predict(X)
        np.testing.assert_array_equal(
            attack(model, X, epsilon=0.1), attack(model, X, predictions, epsilon=0.1)
        )

    def test_a_targeted_attack_descends(self, attack: Any) -> None:
        model = randomised(self.model()).eval()
        target = (model.predict(X) + 1) % 3
        reached = attack(model, X, target, epsilon=0.05, targeted=True)
        assert model.cost(reached, target).item() < model.cost(X, target).item()
        with pytest.raises(ArgumentError, match="y must be given"):
            attack(model, X, epsilon=0.3, targeted=True)

    def test_an_example_does_not_depend_on_its_batch(self, attack: Any) -> None:
        if attack in (ATTACKS["pgd_restarted"], ATTACKS["pgd_l2"]):
            pytest.skip("what it draws for an example depends on how many there are")
        model = randomised(self.model())
        whole = attack(model, X, CLASSES, epsilon=0.2)
        single = attack(model, X[:1], CLASSES[:1], epsilon=0.2)
        if attack is fgsm:
            np.testing.assert_array_equal(whole[:1], single)
        else:  # with a random start too: the first example draws the first numbers
            np.testing.assert_allclose(whole[:1], single, rtol=1e-12)

    def test_no_examples(self, attack: Any) -> None:
        assert attack(self.model(), X[:0], CLASSES[:0], epsilon=0.1).shape == (0, 6)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"epsilon": -0.1}, ArgumentError, "epsilon must be a finite number .* got -0.1"),
            ({"epsilon": float("nan")}, ArgumentError, "epsilon"),
            ({"epsilon": float("inf")}, ArgumentError, "epsilon"),
            ({"epsilon": "0.1"}, ArgumentTypeError, "epsilon"),
            ({"bounds": (1.0, 0.0)}, ArgumentError, "bounds must be .*low < high"),
            ({"bounds": 1.0}, ArgumentError, "bounds must be a pair"),
            ({"bounds": (0.0, float("nan"))}, ArgumentError, "bounds"),
            ({"bounds": (0.0, 1.0)}, ArgumentError, "x must lie within bounds"),
            ({"x": np.full((4, 6), np.nan)}, ArgumentError, "x must be finite, got 24 NaN"),
            ({"x": np.full((4, 6), np.inf)}, ArgumentError, "x must be finite"),
            ({"x": np.zeros((4, 5))}, ArgumentError, "x must have shape"),
            (
                {"x": np.zeros((4, 6), np.uint8)},
                ArgumentTypeError,
                r"x must be floating-point \(float32 or float64\), got dtype uint8",
            ),
            ({"y": CLASSES[:3]}, ArgumentError, "y must have shape"),
            ({"y": CLASSES + 2}, ArgumentError, "y must be classes 0 to 2"),
            ({"y": CLASSES.astype(float)}, ArgumentTypeError, "y must be integers"),
        ],
    )
    def test_bad_input(
        self, attack: Any, change: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        settings = {"x": X, "y": CLASSES, "epsilon": 0.1, **change}
        model = self.model()
        with pytest.raises(error, match=message):
            attack(model, settings.pop("x"), settings.pop("y"), **settings)
        assert model.training


class TestZeroGradients:
    class Flat:
        """A cost that does not depend on x where x is positive."""

        def cost(self, x: mg.Tensor, y: Any, reduction: str = "mean") -> mg.Tensor:
            return mg.sum(mg.minimum(x, 0.0))

    def test_their_share_is_told(self) -> None:
        x = np.array([[1.0, 2.0], [-1.0, 1.0], [1.0, -1.0], [3.0, 4.0]])
        assert zero_gradient_share(input_gradient(self.Flat(), x, None)) == 0.5
        assert zero_gradient_share(np.zeros((0, 3))) == 0.0
        assert zero_gradient_share(np.ones((2, 3))) == 0.0
        assert zero_gradient_share([[0.0], [1.0]]) == 0.5
        assert zero_gradient_share(np.zeros((3, 0))) == 0.0
        with pytest.raises(ArgumentError, match="gradient must be finite, got 1 NaN or infinite values of 4"):
            zero_gradient_share(np.array([[0.0, np.nan], [0.0, 0.0]]))
        with pytest.raises(ArgumentError, match="gradient must have a first axis"):
            zero_gradient_share(0.0)

    @given(st.integers(0, 1000))
    def test_the_share_is_the_plain_count(self, seed: int) -> None:
        g = np.random.default_rng(seed).integers(-1, 2, size=(20, 3)).astype(float)
        assert zero_gradient_share(g) == (g == 0).all(axis=1).mean()

    def test_a_warning_above_the_threshold(self) -> None:
        x = np.array([[1.0, 2.0], [-1.0, 1.0]])
        with pytest.warns(ZeroGradientWarning, match="50.0% of 2 examples"):
            adversarial = fgsm(self.Flat(), x, [0, 0], epsilon=0.5)
        np.testing.assert_array_equal(adversarial[0], x[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fgsm(self.Flat(), x, [0, 0], epsilon=0.5, warn_above=0.5)

    def test_a_confident_network_still_has_a_gradient(self) -> None:
        """In float32, at a margin of 50, where softmax − 1 would be 0."""
        model = SoftmaxRegression(6, 3)
        model.output.W.data[:] = 0
        model.output.W.data[0, 0] = 50
        x = np.zeros((1, 6), np.float32)
        x[0, 0] = 1
        assert fgsm(model, x, [0], epsilon=0.25)[0, 0] == 0.75


class TestOtherModels:
    def test_any_object_with_a_cost_will_do(self) -> None:
        class Quadratic:
            def cost(self, x: mg.Tensor, y: Any, reduction: str) -> mg.Tensor:
                costs = mg.sum((mg.Tensor(x) if isinstance(x, np.ndarray) else x) ** 2, axis=1)
                return mg.mean(costs) if reduction == "mean" else mg.sum(costs)

        expected = X + 0.1 * np.sign(X)
        np.testing.assert_allclose(fgsm(Quadratic(), X, CLASSES, epsilon=0.1), expected)
        J = adversarial_objective(Quadratic(), X, CLASSES, alpha=0.0, epsilon=0.1)
        assert J.item() == pytest.approx((expected**2).sum(1).mean())

    @pytest.mark.parametrize("cost", [None, lambda *_, **__: 1.0, lambda x, *_, **__: x])
    def test_what_is_no_model(self, cost: Any) -> None:
        class Other:
            pass

        if cost is not None:
            Other.cost = staticmethod(cost)  # type: ignore[attr-defined]
        with pytest.raises(ArgumentTypeError, match=r"^model"):
            fgsm(Other(), X, CLASSES, epsilon=0.1)
        with pytest.raises(ArgumentTypeError, match=r"^model"):
            adversarial_objective(Other(), X, CLASSES)


class TestWithoutPredict:
    def test_labels_must_be_given(self) -> None:
        with pytest.raises(ArgumentError, match="y must be given: Flat has no predict"):
            fgsm(TestZeroGradients.Flat(), X, epsilon=0.1)

    def test_the_input_gradient_checks_its_input(self) -> None:
        with pytest.raises(ArgumentError, match="x must be finite"):
            input_gradient(TestZeroGradients.Flat(), np.full((1, 2), np.nan), [0])


def lengths(eta: Any, norm: float) -> np.ndarray:
    return np.linalg.norm(eta.reshape(len(eta), -1), ord=norm, axis=1)


class TestNorms:
    @pytest.mark.parametrize("norm", [np.inf, 2, 1])
    def test_no_step_of_its_length_gains_more(self, norm: float, library: Any) -> None:
        """To first order: ⟨η, g⟩ is ε times the dual norm of g."""
        model = randomised(MODELS["maxout"][0]())
        x = library.asarray(X)
        g = mg.Tensor(input_gradient(model, x, CLASSES)).numpy()
        eta = mg.Tensor(fast_gradient(model, x, CLASSES, epsilon=0.3, norm=norm)).numpy() - X
        dual = {np.inf: 1, 2: 2, 1: np.inf}[norm]
        np.testing.assert_allclose((eta * g).sum(1), 0.3 * lengths(g, dual))
        np.testing.assert_allclose(lengths(eta, norm), 0.3)

    def test_norm_infinity_is_fgsm(self) -> None:
        model = randomised(MODELS["softmax"][0]())
        np.testing.assert_array_equal(
            fast_gradient(model, X, CLASSES, epsilon=0.3, norm=float("inf")),
            fgsm(model, X, CLASSES, epsilon=0.3),
        )

    def test_equal_slopes_give_the_step_to_the_first(self) -> None:
        model = SoftmaxRegression(6, 3)
        model.output.W.data[:] = 0
        model.output.W.data[2:4, 0] = 1
        eta = fast_gradient(model, np.zeros((1, 6), np.float32), [0], epsilon=1, norm=1)
        np.testing.assert_array_equal(eta, [[0, 0, -1, 0, 0, 0]])

    @pytest.mark.parametrize("norm", [2, 1])
    @pytest.mark.parametrize("size", [1e-30, 1e30])
    def test_gradients_whose_squares_leave_float32(self, norm: float, size: float) -> None:
        direction = attacks.norms.steepest(np.array([[3.0, -4.0], [0.0, 0.0]], np.float32) * size, norm)
        assert direction.dtype == np.float32
        np.testing.assert_allclose(
            direction, [[0.6, -0.8], [0, 0]] if norm == 2 else [[0, -1], [0, 0]], rtol=1e-6
        )

    @pytest.mark.parametrize("norm", [np.inf, 2])
    @given(seed=st.integers(0, 100))
    def test_a_random_start_lies_in_the_ball(self, norm: float, seed: int) -> None:
        generator = np.random.default_rng(seed)
        point = attacks.norms.random_in_ball(np.zeros((50, 3, 2), np.float32), norm, 0.4, generator)
        assert point.dtype == np.float32
        assert lengths(point, norm).max() <= 0.4 * (1 + 1e-6)
        assert lengths(point, norm).max() > 0.3

    @pytest.mark.parametrize("norm", [np.inf, 2])
    def test_the_way_back_is_the_nearest_point(self, norm: float) -> None:
        centre = rng.normal(size=(30, 5))
        x = centre + rng.normal(size=(30, 5))
        back = attacks.norms.into_ball(x, centre, norm, 0.7)
        length = lengths(back - centre, norm)
        assert length.max() <= 0.7 + 1e-12
        inside = lengths(x - centre, norm) <= 0.7
        np.testing.assert_allclose(back[inside], x[inside])
        # No other point of the ball is nearer.
        others = centre[:, None] + attacks.norms.random_in_ball(np.zeros((900, 5)), norm, 0.7, rng).reshape(
            30, 30, 5
        )
        distance = np.linalg.norm(x - back, axis=1)
        assert (np.linalg.norm(others - x[:, None], axis=2) >= distance[:, None] - 1e-12).all()

    def test_unknown_norms(self) -> None:
        model = MODELS["softmax"][0]()
        with pytest.raises(ArgumentError, match="norm must be inf or 2 or 1, got 3"):
            fast_gradient(model, X, CLASSES, epsilon=0.1, norm=3)
        with pytest.raises(ArgumentError, match="norm must be inf or 2, got 1"):
            pgd(model, X, CLASSES, epsilon=0.1, step=0.1, steps=1, norm=1)
        with pytest.raises(ArgumentError, match="norm must be .* got '2'"):
            fast_gradient(model, X, CLASSES, epsilon=0.1, norm="2")  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="norm must be .* got True"):
            fast_gradient(model, X, CLASSES, epsilon=0.1, norm=True)
        fast_gradient(model, X, CLASSES, epsilon=0.1, norm=np.int64(2))


class TestIterative:
    def test_it_finds_at_least_what_fgsm_finds_in_a_linear_model(self) -> None:
        model = randomised(SoftmaxRegression(6, 3))
        one = model.cost(fgsm(model, X, CLASSES, epsilon=0.3), CLASSES).item()
        many = basic_iterative(model, X, CLASSES, epsilon=0.3, step=0.1, steps=10)
        assert model.cost(many, CLASSES).item() >= one - 1e-9

    @pytest.mark.parametrize("norm", [np.inf, 2])
    def test_one_full_step_from_x_is_the_fast_gradient(self, norm: float) -> None:
        model = randomised(MODELS["maxout"][0]())
        settings = {"epsilon": 0.3, "step": 0.3, "steps": 1, "norm": norm}
        expected = fast_gradient(model, X, CLASSES, epsilon=0.3, norm=norm)
        for one in (
            basic_iterative(model, X, CLASSES, **settings),
            momentum_iterative(model, X, CLASSES, **settings),
            pgd(model, X, CLASSES, random_start=False, **settings),
        ):
            np.testing.assert_allclose(one, expected)

    def test_momentum_without_memory_is_basic(self) -> None:
        model = randomised(MODELS["maxout"][0]())
        settings = {"epsilon": 0.3, "step": 0.1, "steps": 5}
        basic = basic_iterative(model, X, CLASSES, **settings)
        np.testing.assert_array_equal(momentum_iterative(model, X, CLASSES, decay=0.0, **settings), basic)

    def test_momentum_sums_the_normalised_gradients(self) -> None:
        """By hand, for two steps that no ball holds back."""
        model = randomised(MODELS["maxout"][0]())
        gathered, x = 0.0, X
        for _ in range(3):
            g = input_gradient(model, x, CLASSES)
            gathered = 0.7 * gathered + g / np.abs(g).sum(1, keepdims=True)
            x = x + 0.1 * np.sign(gathered)
        found = momentum_iterative(model, X, CLASSES, epsilon=9, step=0.1, steps=3, decay=0.7)
        np.testing.assert_allclose(found, x)

    @pytest.mark.parametrize("norm", [np.inf, 2])
    @pytest.mark.parametrize("bounds", [None, (-4.0, 4.0)])
    def test_it_stays_in_the_ball(self, norm: float, bounds: Any, library: Any) -> None:
        model = randomised(MODELS["maxout"][0]())
        x = library.asarray(X.astype(np.float32))
        far = pgd(model, x, CLASSES, epsilon=0.3, step=0.5, steps=4, norm=norm, bounds=bounds)
        eta = mg.Tensor(far).numpy() - X.astype(np.float32)
        assert lengths(eta, norm).max() <= 0.3 + 1e-6
        assert lengths(eta, norm).min() > 0.2

    def test_restarts_keep_the_worst_of_each_example(self) -> None:
        model = randomised(MODELS["maxout"][0]())
        settings = {"epsilon": 0.4, "step": 0.05, "steps": 3}
        generator = np.random.default_rng(5)
        runs = []
        for _ in range(4):  # what one call with four starts draws, one after the other
            start = X + generator.uniform(-0.4, 0.4, X.shape)
            x = start
            for _ in range(3):
                x = np.clip(x + 0.05 * np.sign(input_gradient(model, x, CLASSES)), X - 0.4, X + 0.4)
            runs.append(x)
        costs = np.array([model.cost(x, CLASSES, reduction="none").numpy() for x in runs])
        expected = np.array([runs[run][i] for i, run in enumerate(costs.argmax(axis=0))])
        np.testing.assert_allclose(pgd(model, X, CLASSES, restarts=4, seed=5, **settings), expected)
        fewer = pgd(model, X, CLASSES, seed=5, targeted=True, **settings)
        more = pgd(model, X, CLASSES, restarts=4, seed=5, targeted=True, **settings)
        least = model.cost(fewer, CLASSES, reduction="none").numpy()
        assert (model.cost(more, CLASSES, reduction="none").numpy() <= least + 1e-12).all()

    def test_the_start_follows_the_seed(self) -> None:
        model = randomised(MODELS["maxout"][0]())
        a, b, c = (pgd(model, X, CLASSES, epsilon=0.3, step=0.01, steps=1, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()

    def test_a_generator_goes_on_from_call_to_call(self) -> None:
        model = randomised(MODELS["maxout"][0]())
        generator = np.random.default_rng(3)
        first, second = (fgsm_random_start(model, X, CLASSES, epsilon=0.2, seed=generator) for _ in "ab")
        assert (first != second).any()
        alike = fgsm_random_start(model, X, CLASSES, epsilon=0.2, seed=3)
        np.testing.assert_array_equal(first, alike)

    def test_a_warning_names_the_caller(self) -> None:
        x = np.array([[1.0, 2.0], [5.0, 1.0]])
        for attack in ATTACKS.values():
            if attack is ATTACKS["pgd_restarted"]:
                continue  # needs the examples' own costs, which this model does not have
            with pytest.warns(ZeroGradientWarning, match="100.0% of 2 examples") as caught:
                attack(TestZeroGradients.Flat(), x, [0, 0], epsilon=0.1)
            assert caught[0].filename == __file__

    def test_settings_that_make_no_sense(self) -> None:
        model = MODELS["maxout"][0]()
        settings = {"epsilon": 0.3, "step": 0.1, "steps": 1}
        for change, message in (
            ({"steps": 0}, "steps"),
            ({"step": -0.1}, "step "),
            ({"restarts": 0}, "restarts must be at least 1"),
            ({"restarts": 2, "random_start": False}, "restarts must be 1 without a random start, got 2"),
        ):
            with pytest.raises(ArgumentError, match=message):
                pgd(model, X, CLASSES, **{**settings, **change})
        with pytest.raises(ArgumentError, match="decay"):
            momentum_iterative(model, X, CLASSES, decay=-1.0, **settings)


class TestLinearWorstCase:
    def brute_force(self, model: Any, x: Any, y: Any, corners: np.ndarray) -> np.ndarray:
        """The smallest lead of y over its best rival among all the corners, example by example."""
        leads = []
        for eta in corners:
            z = model(x + eta).numpy()
            if z.ndim == 1:
                leads.append(y * z)
            else:
                own = np.take_along_axis(z, y[:, None], 1)[:, 0]
                rivals = np.where(np.arange(z.shape[1]) == y[:, None], -np.inf, z)
                leads.append(own - rivals.max(1))
        return np.min(leads, axis=0)

    @pytest.mark.parametrize("name", ["logistic", "softmax"])
    @pytest.mark.parametrize("norm", [np.inf, 1, 2])
    def test_no_corner_of_the_ball_is_worse(self, name: str, norm: float) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        if norm == np.inf:
            corners = 0.3 * (2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1) - 1)
        elif norm == 1:
            corners = 0.3 * np.concatenate([np.eye(6), -np.eye(6)])
        else:
            corners = rng.normal(size=(3000, 6))
            corners *= 0.3 / np.linalg.norm(corners, axis=1, keepdims=True)
        worst = linear_worst_case(model, X, y, epsilon=0.3, norm=norm)
        np.testing.assert_allclose(lengths(worst - X, norm), 0.3)
        found = self.brute_force(model, worst, y, np.zeros((1, 6)))
        expected = self.brute_force(model, X, y, corners)
        if norm == 2:
            assert (found <= expected + 1e-12).all()
        else:
            np.testing.assert_allclose(found, expected)

    def test_bounds_are_a_smaller_box(self) -> None:
        model = randomised(SoftmaxRegression(6, 3))
        x = rng.uniform(0, 1, size=(4, 6))
        worst = linear_worst_case(model, x, CLASSES, epsilon=0.4, bounds=(0.0, 1.0))
        signs = 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1) - 1
        corners = np.clip(x[None] + 0.4 * signs[:, None], 0, 1) - x
        np.testing.assert_allclose(
            self.brute_force(model, worst, CLASSES, np.zeros((1, 6))),
            self.brute_force(model, x, CLASSES, corners),
        )

    def test_logistic_regression_is_the_printed_cost(self, library: Any) -> None:
        model = randomised(LogisticRegression(6))
        x = library.asarray(X)
        worst = linear_worst_case(model, x, SIGNS, epsilon=0.25)
        assert model.cost(worst, SIGNS).item() == pytest.approx(model.adversarial_cost(x, SIGNS, 0.25).item())
        np.testing.assert_array_equal(
            mg.Tensor(worst).numpy(), mg.Tensor(fgsm(model, x, SIGNS, epsilon=0.25)).numpy()
        )

    def test_a_model_that_is_not_linear_however_small_its_logits(self) -> None:
        model = MaxoutNetwork(20, 3, units=(8, 8), pieces=5, seed=1)
        x = np.random.default_rng(0).uniform(size=(50, 20)).astype(np.float32)
        for epsilon in (1e-4, 0.5):
            with pytest.raises(ArgumentError, match="model must have logits linear in x"):
                linear_worst_case(model, x, np.zeros(50, int), epsilon=epsilon)

    def test_dropout_and_the_mode_are_left_alone(self) -> None:
        model = MaxoutNetwork(6, 3, units=(8,), pieces=1, dropout=(0.8, 0.5))  # one piece: linear
        twin = copy.deepcopy(model.mask_generator)
        linear_worst_case(model, X, CLASSES, epsilon=0.1)
        assert model.training
        assert model.mask_generator.random() == twin.random()

    @pytest.mark.parametrize("labels", [np.zeros(4, int), np.full(4, 3), SIGNS[:1]])
    def test_labels_are_checked(self, labels: Any) -> None:
        with pytest.raises(ArgumentError, match="y must"):
            linear_worst_case(LogisticRegression(6), X, labels, epsilon=0.1)
        with pytest.raises(ArgumentError, match="y must"):
            linear_worst_case(SoftmaxRegression(6, 3), X, np.where(labels == 0, -1, labels), epsilon=0.1)

    def test_a_model_that_is_not_linear(self) -> None:
        with pytest.raises(ArgumentError, match="model must have logits linear in x, got MaxoutNetwork"):
            linear_worst_case(randomised(MODELS["maxout"][0]()), X, CLASSES, epsilon=0.5)

    def test_bad_input(self) -> None:
        model = SoftmaxRegression(6, 3)
        with pytest.raises(ArgumentError, match="bounds must be None unless norm is inf, got norm 2"):
            linear_worst_case(model, X.clip(0, 1), CLASSES, epsilon=0.5, norm=2, bounds=(0, 1))
        with pytest.raises(ArgumentError, match="epsilon"):
            linear_worst_case(model, X, CLASSES, epsilon=-1)
        with pytest.raises(ArgumentError, match=r"x must have shape \(examples, features\), got \(2, 2, 6\)"):
            linear_worst_case(model, np.zeros((2, 2, 6)), CLASSES[:2], epsilon=1)
        assert linear_worst_case(model, X[:0], CLASSES[:0], epsilon=1).shape == (0, 6)


class TestEvaluate:
    def test_every_share_has_its_denominator(self, library: Any) -> None:
        model = randomised(SoftmaxRegression(6, 3))
        x = library.asarray(rng.normal(size=(70, 6)))
        y = rng.integers(0, 3, 70)
        attack = partial(fgsm, epsilon=0.5)
        found = evaluate(model, x, y, attack, batch_size=32)
        adversarial = attack(model, x, y)
        before = mg.Tensor(model.predict(x)).numpy() == y
        after = mg.Tensor(model.predict(adversarial)).numpy() == y
        sure = mg.Tensor(model.predict_proba(adversarial)).numpy().max(1)
        assert found.examples == 70
        assert found.clean_accuracy == pytest.approx(before.mean())
        assert found.adversarial_accuracy == pytest.approx(after.mean())
        assert found.initially_correct == before.sum()
        assert found.success_rate == pytest.approx((before & ~after).sum() / before.sum())
        assert found.adversarial_confidence == pytest.approx(sure[~after].mean())
        assert found.zero_gradient_share == 0.0

    def test_shares_are_exact_quotients(self) -> None:
        model = SoftmaxRegression(2, 2)
        model.output.W.data[...] = 0.0  # then no example has a gradient, and all are called 0
        x, y = np.zeros((500, 2)), (np.arange(500) >= 113).astype(int)
        found = evaluate(model, x, y, partial(fgsm, epsilon=0.5), batch_size=47, warn_above=1.0)
        assert found.clean_accuracy == found.adversarial_accuracy == 0.226
        assert "zero_gradient_share=1.0)" in repr(found)

    def test_two_classes(self) -> None:
        model = randomised(LogisticRegression(6))
        found = evaluate(model, X, model.predict(X), partial(fgsm, epsilon=9.0))
        assert (found.clean_accuracy, found.adversarial_accuracy, found.success_rate) == (1.0, 0.0, 1.0)
        assert found.clean_confidence is None
        assert found.adversarial_confidence is not None
        assert found.adversarial_confidence > 0.5
        none_right = evaluate(model, X, -model.predict(X), partial(fgsm, epsilon=0.0))
        assert none_right.success_rate is None

    def test_zero_gradients_are_told_once(self) -> None:
        model = SoftmaxRegression(6, 3)
        model.output.W.data[:] = 0
        with pytest.warns(ZeroGradientWarning, match="100.0% of 4 examples") as caught:
            found = evaluate(model, X.astype(np.float32), CLASSES, partial(fgsm, epsilon=0.1), batch_size=1)
        assert len(caught) == 1
        assert found.zero_gradient_share == 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            quiet = evaluate(model, X, CLASSES, partial(fgsm, epsilon=0.1), warn_above=None)
        assert quiet.zero_gradient_share is None

    def test_progress(self) -> None:
        model = randomised(SoftmaxRegression(6, 3))
        batches = []

        def watch(parts: Any) -> Any:
            for part in parts:
                batches.append(part)
                yield part

        attack = partial(fgsm, epsilon=0.1)
        found = evaluate(model, X, CLASSES, attack, batch_size=3, progress=watch)
        assert len(batches) == 2
        assert found == evaluate(model, X, CLASSES, attack, batch_size=3, progress=True)

    def test_bad_input(self) -> None:
        model, attack = SoftmaxRegression(6, 3), partial(fgsm, epsilon=0.1)
        with pytest.raises(ArgumentTypeError, match="attack must be a function"):
            evaluate(model, X, CLASSES, "fgsm")  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match=r"model must have a method predict\(x\), got Flat"):
            evaluate(TestZeroGradients.Flat(), X, CLASSES, attack)
        with pytest.raises(ArgumentError, match="y must be given"):
            evaluate(model, X, None, attack)
        with pytest.raises(ArgumentError, match="at least one example"):
            evaluate(model, X[:0], CLASSES[:0], attack)
        with pytest.raises(ArgumentError, match="batch_size"):
            evaluate(model, X, CLASSES, attack, batch_size=0)
        with pytest.raises(ArgumentError, match=r"y must hold 4 labels, one an example, got shape \(5,\)"):
            evaluate(model, X, np.zeros(5, int), attack)

    def test_labels_may_lie_on_the_device(self, library: Any) -> None:
        model = randomised(SoftmaxRegression(6, 3))
        x, attack = library.asarray(X), partial(fgsm, epsilon=0.5)
        expected = evaluate(model, x, CLASSES, attack)
        assert evaluate(model, x, library.asarray(CLASSES), attack) == expected
        assert evaluate(model, x, mg.Tensor(library.asarray(CLASSES)), attack) == expected
        assert evaluate(model, x, CLASSES.tolist(), attack) == expected


class Untouched:
    """Whoever asks it for anything was too early."""

    training = False

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for before the arguments were checked")


def attack_options() -> list[tuple[Any, str, Any]]:
    """(attack, option, its default) for every option of every attack."""
    functions = (fgsm, fast_gradient, basic_iterative, pgd, momentum_iterative, fgsm_random_start,
                 linear_worst_case, adversarial_objective)  # fmt: skip
    return [
        (function, name, parameter.default)
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


REQUIRED = {"epsilon": 0.1, "step": 0.1, "steps": 2, "norm": 2}


class TestOptions:
    """Every option of every attack: refused with its name, before the model is touched."""

    def refused(self, attack: Any, name: str, value: Any, error: Any) -> None:
        needed = {n for n, p in inspect.signature(attack).parameters.items() if p.default is p.empty}
        settings = {n: v for n, v in REQUIRED.items() if n in needed} | {name: value}
        with pytest.raises(error, match=rf"^{name}") as caught:
            attack(Untouched(), X, CLASSES, **settings)
        assert len(str(caught.value)) < 250

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: fgsm(1, X, CLASSES, 0.25), r"by name, got 0.25 at place 4: write .*, epsilon=0.25\)"),
            (lambda: fgsm(1, X, CLASSES), r"^epsilon must be given.* fgsm\(model, x, y, epsilon=0.25\)"),
            (lambda: fgsm(1, X, CLASSES, eps=0.25), "among epsilon, bounds, .*got 'eps': write epsilon"),
            (lambda: pgd(1, X, epsilon=0.2, alpha=0.1), "got 'alpha': write step"),
            (lambda: fgsm(1, X, epsilon=0.2, alpha=0.1), "got 'alpha'$"),
            (lambda: adversarial_objective(1, X, CLASSES, 0.5), "got 0.5 at place 4: .*alpha=0.5"),
            (lambda: adversarial_objective(1, X, CLASSES, eps=0.1), "got 'eps': write epsilon$"),
            (
                lambda: evaluate(1, X, CLASSES, fgsm, epsilon=0.2),
                r"the attack brings its own, .*partial\(fgsm",
            ),
            (
                lambda: evaluate(randomised(SoftmaxRegression(6, 3)), X, CLASSES, fgsm),
                r"^epsilon must be given.*partial\(fgsm, epsilon=0.25\)",
            ),
        ],
    )
    def test_errors_say_how_they_are_given(self, call: Any, message: str) -> None:
        with pytest.raises(ArgumentTypeError, match=message):
            call()

    @pytest.mark.parametrize("value", ["no", 1, 0, None, np.array(True)], ids=repr)
    def test_flags(self, value: Any) -> None:
        found = [(attack, name) for attack, name, default in attack_options() if isinstance(default, bool)]
        assert {name for _, name in found} == {"targeted", "random_start"}
        for attack, name in found:
            self.refused(attack, name, value, ArgumentTypeError)

    def test_a_flag_of_numpy_is_one(self) -> None:
        model = randomised(MODELS["softmax"][0]())
        for flag in (True, False):
            np.testing.assert_array_equal(
                fgsm(model, X, CLASSES, epsilon=0.1, targeted=np.bool_(flag)),  # type: ignore[arg-type]
                fgsm(model, X, CLASSES, epsilon=0.1, targeted=flag),
            )

    @pytest.mark.parametrize("value", ["1", True, 1j, np.array(0.1), Decimal("0.1"), [0.1]], ids=repr)
    def test_no_numbers(self, value: Any) -> None:
        for attack, name, _ in attack_options():
            if name in ("epsilon", "step", "alpha", "decay", "warn_above", "steps", "restarts"):
                self.refused(attack, name, value, ArgumentTypeError)
            elif name == "norm":
                self.refused(attack, name, value, ArgumentError)

    @pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), np.float32("inf")], ids=type)
    def test_numbers_that_do_not_fit(self, value: Any) -> None:
        for attack, name, _ in attack_options():
            if name in ("epsilon", "step", "alpha", "decay", "warn_above") or (
                name == "norm" and value != np.inf
            ):
                self.refused(attack, name, value, ArgumentError)

    def test_a_scalar_of_numpy_is_the_number(self) -> None:
        model, epsilon = randomised(MODELS["maxout"][0]()).to(dtype=np.float32), 0.125
        x = X.astype(np.float32)
        for attack in ATTACKS.values():
            expected = attack(model, x, CLASSES, epsilon=epsilon)
            for kind in (np.float32, np.float64, np.longdouble):
                np.testing.assert_array_equal(attack(model, x, CLASSES, epsilon=kind(epsilon)), expected)


@mg.primitive
def spoilt(xp: Any, x: Any, value: Any = None) -> Any:
    return x + 0.0


@spoilt.set_vjps
def _(g: Any, z: Any, x: Any, value: Any) -> Any:
    share = g + 0.0
    share.reshape(-1)[1:4] = value
    return share


class Spoilt(SoftmaxRegression):
    """Its cost and its logits are fine, and three elements of its input gradient are not."""

    def __init__(self, value: float) -> None:
        super().__init__(6, 3)
        self.value = value

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return super().logits(spoilt(x, value=self.value))


class TestNonFinite:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_an_input_gradient(self, value: float) -> None:
        model = Spoilt(value)
        uses: dict[str, Any] = {
            **{name: partial(attack, epsilon=0.1) for name, attack in ATTACKS.items()},
            "input_gradient": input_gradient,
            "objective": adversarial_objective,
            "linear": partial(linear_worst_case, epsilon=0.1),
            "evaluate": partial(evaluate, attack=lambda model, x, y: x),
        }
        assert np.isfinite(model.cost(X, CLASSES).item())
        for use in uses.values():
            with pytest.raises(
                NonFiniteError, match=r"gradient of Spoilt must be finite, got \d+ NaN or inf"
            ):
                use(model, X, CLASSES)
        with pytest.raises(NonFiniteError, match="got 3 NaN or infinite values of 24"):
            fgsm(model, X, CLASSES, epsilon=0.1)

    def test_evaluate_sees_those_of_a_device_that_it_counts(self) -> None:
        strict = mg.backend.get("strict")
        with mg.backend.use("strict"):
            model, x = Spoilt(np.nan), strict.asarray(X.astype(np.float32))
            fgsm(model, x, CLASSES, epsilon=0.1)
            with pytest.raises(NonFiniteError, match="got 3 NaN or infinite values of 24"):
                evaluate(model, x, CLASSES, lambda model, x, y: x)

    def test_a_great_gradient_is_none_of_these(self) -> None:
        """Its squares overflow, it does not."""
        model = Spoilt(1e30)
        x = X.astype(np.float32)
        np.testing.assert_allclose(abs(fgsm(model, x, CLASSES, epsilon=0.1) - x), 0.1, rtol=1e-4)
        adversarial_objective(model, x, CLASSES)

    @pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
    def test_a_result_that_leaves_the_dtype(self, attack: Any) -> None:
        x = np.full((2, 6), 3e38, np.float32)
        x[:, ::2] *= -1

        class Outward:
            """Its cost grows with the size of every element, so every step leads away from 0."""

            def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
                costs = mg.sum(mg.abs(x) * np.float32(1e-30), -1)
                return costs if reduction == "none" else mg.sum(costs)

        with np.errstate(all="ignore"), pytest.raises((NonFiniteError, ArgumentError)):
            attack(Outward(), x, [0, 1], epsilon=1e38, **({"step": 1e38} if attack in STEPS else {}))

    @pytest.mark.parametrize("name", MODELS)
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_logits(self, name: str, value: float) -> None:
        make, y = MODELS[name]
        model = make()
        model.parameters()[-1].data[...] = value
        for use in (model.predict, model.predict_proba, lambda x: evaluate(model, x, y, lambda m, x, y: x)):
            with (
                np.errstate(all="ignore"),
                pytest.raises(NonFiniteError, match="the logits of .* NaN or inf"),
            ):
                use(X)

    def test_the_costs_that_restarts_are_compared_by(self) -> None:
        class Unsure(SoftmaxRegression):
            def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
                cost = super().cost(x, y, reduction)
                return cost * np.array([1, np.nan, 1, 1]) if reduction == "none" else cost

        with pytest.raises(NonFiniteError, match="examples' costs must be finite, got 1 NaN"):
            pgd(Unsure(6, 3), X, CLASSES, epsilon=0.1, step=0.1, steps=1, restarts=2)

    def test_nothing_of_a_device_is_looked_at(self) -> None:
        strict = mg.backend.get("strict")
        with mg.backend.use("strict"):
            model = SoftmaxRegression(6, 3)
            x = strict.asarray(X.astype(np.float32))
            counter.reset()
            model.predict(x)
            model.predict_proba(x)
            adversarial_objective(model, x, CLASSES).backward()
            for attack in ATTACKS.values():
                attack(model, x, CLASSES, epsilon=0.1, bounds=(-9.0, 9.0))
        assert counter.synchronisations == []


STEPS = [ATTACKS["pgd_l2"], *(INFINITY_NORM[name] for name in ("basic", "pgd", "pgd_restarted", "momentum"))]


class TestForeignFunctions:
    """What an attack or a model of the user's returns is checked, and what it does on the side undone."""

    def model(self) -> Any:
        return randomised(MaxoutNetwork(6, 3, units=(5,), pieces=2, dropout=(0.8, 0.5), seed=1))

    def in_place(self, model: Any, x: Any, y: Any) -> Any:
        g = input_gradient(model, x, y)
        y[:] = 0
        x += 0.5 * np.sign(g)
        return x

    def test_an_attack_that_works_in_place(self) -> None:
        model, x, y = self.model(), X.copy(), CLASSES.copy()
        attack = partial(fgsm, epsilon=0.5)
        assert evaluate(model, x, y, self.in_place) == evaluate(model, x, y, attack)
        model.eval()
        J = adversarial_objective(model, x, y, attack=self.in_place)
        assert J.item() == adversarial_objective(model, x, y, attack=attack).item()
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, CLASSES)

    def test_an_attack_that_leaves_modes_and_gradients_changed(self) -> None:
        def careless(model: Any, x: Any, y: Any) -> Any:
            (model.eval if model.training else model.train)()
            leaf = mg.Tensor(x, requires_grad=True)
            model.cost(leaf, y).backward()
            return x + 0.1 * np.sign(leaf.grad)

        for training in (True, False):
            model = self.model().train(training)
            model.output.eval()
            grads = [np.ones(p.shape) for p in model.parameters()]
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter.grad = grad
            evaluate(model, X, CLASSES, careless)
            adversarial_objective(model, X, CLASSES, attack=careless)
            assert [m.training for _, m in model.named_modules()] == [training, training, False]
            assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))
            assert all((grad == 1).all() for grad in grads)

    def test_the_modes_come_back_after_an_exception(self) -> None:
        def broken(model: Any, x: Any, y: Any) -> Any:
            model.eval()
            raise ZeroDivisionError

        model = self.model()
        for use in (evaluate, lambda *given: adversarial_objective(*given[:3], attack=given[3])):
            with pytest.raises(ZeroDivisionError):
                use(model, X, CLASSES, broken)
            assert model.training

    def test_no_gradient_flows_through_what_it_returns(self) -> None:
        model = self.model().eval()
        fixed = fgsm(model, X, CLASSES, epsilon=0.2)
        W = model.parameters()[0]
        attached = lambda model, x, y: mg.Tensor(fixed) + 0.0 * mg.sum(W * W)  # noqa: E731
        found = mg.grad(adversarial_objective(model, X, CLASSES, attack=attached), W)[0].numpy()
        expected = mg.grad(0.5 * model.cost(X, CLASSES) + 0.5 * model.cost(fixed, CLASSES), W)[0].numpy()
        np.testing.assert_allclose(found, expected)

    @pytest.mark.parametrize(
        ("made", "error", "message"),
        [
            (lambda x: None, ArgumentTypeError, "attack must return a numpy array, as x is, got NoneType"),
            (lambda x: x.tolist(), ArgumentTypeError, "attack must return .* got list"),
            (lambda x: mg.backend.get("strict").asarray(x), ArgumentTypeError, "got a strict array"),
            (lambda x: x[:, :5], ArgumentError, r"attack must return .* x's shape \(4, 6\).*\(4, 5\)"),
            (lambda x: x[:1], ArgumentError, "attack must return real numbers of x's shape"),
            (lambda x: x > 0, ArgumentError, "attack must return real numbers.* dtype bool"),
            (lambda x: x * np.nan, NonFiniteError, "what the attack returns must be finite, got 24 NaN"),
        ],
    )
    def test_what_an_attack_returns(self, made: Any, error: Any, message: str) -> None:
        model = self.model()

        def attack(model: Any, x: Any, y: Any) -> Any:
            return made(x)

        with pytest.raises(error, match=message):
            evaluate(model, X, CLASSES, attack)
        with pytest.raises(error, match=message):
            adversarial_objective(model, X, CLASSES, attack=attack)

    @pytest.mark.parametrize(
        ("method", "result", "error", "message"),
        [
            ("predict", np.zeros((4, 3)), ArgumentError, r"predict must return labels of shape \(4,\), got"),
            (
                "predict",
                np.zeros(4),
                ArgumentTypeError,
                "predict must return integer labels, got dtype float",
            ),
            ("predict", np.zeros(4, bool), ArgumentTypeError, "integer labels, got dtype bool"),
            ("predict", 1, ArgumentError, "predict must return labels"),
            ("predict", None, ArgumentTypeError, "model.predict's labels must be real numbers"),
            ("predict_proba", np.zeros((4, 3), int), ArgumentError, "predict_proba must return real numbers"),
            ("predict_proba", np.zeros((2, 2, 2)), ArgumentError, "predict_proba must return real numbers"),
            ("predict_proba", np.zeros((9, 3)), ArgumentError, "predict_proba must return .*shape"),
            ("predict_proba", None, ArgumentTypeError, "predict_proba's probabilities must be real"),
            ("predict_proba", np.full((4, 3), 7.0), ArgumentError, "numbers from 0 to 1, got 7.0 to 7.0"),
            ("predict_proba", np.full((4, 3), np.nan), NonFiniteError, "what model.predict_proba returns"),
        ],
    )
    def test_what_a_model_returns(self, method: str, result: Any, error: Any, message: str) -> None:
        """It is refused before the attack has run."""
        model = self.model()
        attack = Untouched()
        attack.__class__ = type("Attack", (Untouched,), {"__call__": lambda *_: pytest.fail("it ran")})
        scaled = result[:1] if isinstance(result, np.ndarray) and len(result) == 4 else result
        setattr(model, method, lambda x: result if len(x) == 4 else scaled)
        with pytest.raises(error, match=message):
            evaluate(model, X, CLASSES, attack)
        if method == "predict":
            with pytest.raises(error, match=message):
                fgsm(model, X, epsilon=0.1)

    def test_restarts_need_each_examples_cost_before_the_first_run(self) -> None:
        class Together(SoftmaxRegression):
            def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
                assert not mg.Tensor(x).requires_grad, "a run began"
                return super().cost(x, y, "sum")

        with pytest.raises(ArgumentTypeError, match=r"reduction='none' must be a Tensor of shape \(4,\)"):
            pgd(Together(6, 3), X, CLASSES, epsilon=0.1, step=0.1, steps=1, restarts=2)

    def test_progress_that_is_none(self) -> None:
        model, attack = self.model(), partial(fgsm, epsilon=0.1)
        for progress in (5, "yes", None, np.array(True)):
            with pytest.raises(ArgumentTypeError, match="progress must be True, False or a function"):
                evaluate(Untouched(), X, CLASSES, attack, progress=progress)
        with pytest.raises(ArgumentTypeError, match="progress must return what it wraps, got NoneType"):
            evaluate(model, X, CLASSES, attack, progress=lambda batches: None)  # type: ignore[arg-type, return-value]
        with pytest.raises(ArgumentError, match="progress must give back every batch, got those of 2 of 4"):
            evaluate(model, X, CLASSES, attack, batch_size=2, progress=lambda batches: list(batches)[:1])
        expected = evaluate(model, X, CLASSES, attack, batch_size=2)
        for progress in (lambda batches: batches[::-1], lambda batches: map(str, batches)):
            assert evaluate(model, X, CLASSES, attack, batch_size=2, progress=progress) == expected

    @pytest.mark.parametrize("method", ["predict", "predict_proba", "cost"])
    def test_what_a_model_lacks(self, method: str) -> None:
        class Lacking:
            def __getattr__(self, name: str) -> Any:
                if name == method:
                    raise AttributeError(name)
                return lambda *_, **__: pytest.fail("it was used")

        with pytest.raises(ArgumentTypeError, match=rf"model must have a method {method}\(x"):
            evaluate(Lacking(), X, CLASSES, partial(fgsm, epsilon=0.1))

    def test_inputs_that_cannot_be_evaluated(self) -> None:
        model, attack = self.model(), partial(fgsm, epsilon=0.1)
        for use in (lambda x: evaluate(model, x, [0], attack), lambda x: attack(model, x, [0]),
                    lambda x: linear_worst_case(model, x, [0], epsilon=0.1),
                    lambda x: input_gradient(model, x, [0])):  # fmt: skip
            with pytest.raises(
                ArgumentError, match=r"x must have a first axis, of the examples, got shape \(\)"
            ):
                use(np.float64(0.5))
        for y, message in (
            (np.array(["a", "b", "c", "d"]), "y must hold real numbers, got dtype <U1"),
            (np.eye(4), r"y must hold 4 labels, one an example, got shape \(4, 4\)"),
            (np.array([0, np.nan, 1, 2]), "y must be finite"),
        ):
            with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
                evaluate(model, X, y, attack)

    def test_attacks_are_not_warned_of_zero_gradients_and_warnings_stay_on(self) -> None:
        model = SoftmaxRegression(6, 3)
        model.output.W.data[:] = 0
        filters = []

        def attack(model: Any, x: Any, y: Any) -> Any:
            filters.append(list(warnings.filters))
            with pytest.warns(UserWarning, match="of the user's"):
                warnings.warn("of the user's", UserWarning, stacklevel=1)
            return fgsm(model, x, y, epsilon=0.1)

        evaluate(model, X, CLASSES, attack, warn_above=1.0, batch_size=2)
        assert filters == [list(warnings.filters)] * 2
        with pytest.warns(ZeroGradientWarning):
            fgsm(model, X, CLASSES, epsilon=0.1)


@pytest.mark.parametrize(
    "does",
    [
        lambda p: p.requires_grad and setattr(p, "requires_grad", False),
        lambda p: setattr(p, "grad", np.zeros(p.shape, p.dtype)),
        lambda p: p.grad is not None and p.grad.fill(0.0),
    ],
)
def test_what_an_attack_does_to_the_parameters_is_put_back(does: Any) -> None:
    model = SoftmaxRegression(4, 3)
    x, y = np.ones((2, 4), np.float32), np.array([0, 1])
    model.cost(x, y).backward()
    before = [(p.grad, p.grad.copy()) for p in model.parameters()]

    def attack(model: Any, x: Any, y: Any) -> Any:
        for p in model.parameters():
            does(p)
        return x

    adversarial_objective(model, x, y, attack=attack)
    for p, (grad, values) in zip(model.parameters(), before, strict=True):
        assert p.requires_grad
        assert p.grad is grad
        np.testing.assert_array_equal(grad, values)


def test_a_model_whose_cost_cuts_the_graph_and_a_class() -> None:
    class Cut(mg.Module):
        def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
            return mg.sum(mg.Tensor(x.numpy()) ** 2)

    x, y = np.ones((2, 4), np.float32), np.array([0, 1])
    with pytest.raises(ArgumentError, match=r"model\.cost must be computed from x .* Cut has no graph"):
        fgsm(Cut(), x, y, epsilon=0.1)
    for call in (fgsm, pgd):
        with pytest.raises(ArgumentTypeError, match="model must be an object, got the class Cut: make one"):
            call(Cut, x, y, epsilon=0.1)
    with pytest.raises(ArgumentTypeError, match="model must have a method cost.*the class SoftmaxRegression"):
        adversarial_objective(SoftmaxRegression, x, y, alpha=0.5, epsilon=0.1)


def test_a_cost_that_takes_no_reduction() -> None:
    class Plain:
        def cost(self, x: Any, y: Any) -> Any:
            return mg.sum(x * x)

    class Typo(Plain):
        def cost(self, x: Any, y: Any, reduction: str = "mean") -> Any:
            return mg.sum(x, "not an axis")

    with pytest.raises(ArgumentTypeError, match=r"the cost of Plain must take x, y and reduction"):
        fgsm(Plain(), np.ones((1, 2)), [0], epsilon=0.1)
    with pytest.raises(TypeError, match="axis"):  # an error of its own is told as it is
        fgsm(Typo(), np.ones((1, 2)), [0], epsilon=0.1)


@pytest.mark.parametrize(("attack", "step"), [(pgd, 0.5), (basic_iterative, 0.5), (momentum_iterative, 0.2)])
def test_steps_that_nobody_chose(attack: Any, step: float) -> None:
    """2.5 ε / steps of Madry et al.; ε / steps of Dong et al. Ten steps if none are given."""
    model = SoftmaxRegression(6, 3, seed=0).to(dtype=np.float64)
    x, y = X[:, :6], CLASSES
    by_default = attack(model, x, y, epsilon=1.0, steps=5)
    np.testing.assert_array_equal(by_default, attack(model, x, y, epsilon=1.0, steps=5, step=step))
    np.testing.assert_array_equal(
        attack(model, x, y, epsilon=1.0), attack(model, x, y, epsilon=1.0, steps=10)
    )


class TestScale:
    """The geometry does not depend on the unit: what is done to x · 2ᵏ is 2ᵏ times what is done to x."""

    @given(
        seed=st.integers(0, 1000), k=st.integers(-110, 110), dtype=st.sampled_from([np.float32, np.float64])
    )
    def test_norms(self, seed: int, k: int, dtype: Any) -> None:
        k = k if dtype == np.float32 else 8 * k
        random = np.random.default_rng(seed)
        x, centre = random.normal(size=(2, 5, 3, 2)).astype(dtype)
        x[0] = centre[0]
        factor = dtype(2.0) ** dtype(k)
        for norm in (np.inf, 2):
            for epsilon in (0.0, 0.1, 2.0):
                back = attacks.norms.into_ball(x, centre, norm, epsilon)
                scaled = attacks.norms.into_ball(x * factor, centre * factor, norm, epsilon * float(factor))
                np.testing.assert_array_equal(scaled, back * factor)
                assert scaled.dtype == dtype
            points = [
                attacks.norms.random_in_ball(x, norm, epsilon, np.random.default_rng(seed))
                for epsilon in (0.5, 0.5 * float(factor))
            ]
            np.testing.assert_array_equal(points[1], points[0] * factor)
        for norm in (np.inf, 2, 1):
            np.testing.assert_array_equal(
                attacks.norms.steepest(x * factor, norm), attacks.norms.steepest(x, norm)
            )
        shares = attacks.norms.l1_shares(x)
        np.testing.assert_array_equal(attacks.norms.l1_shares(x * factor), shares)
        np.testing.assert_allclose(np.abs(shares).sum((1, 2)), 1, rtol=1e-6)

    @pytest.mark.parametrize("size", [1e-44, 1e-40, 1e-30, 1e30, 3e38])
    def test_the_ends_of_float32(self, size: float) -> None:
        """Subnormal numbers, and those whose length and sum overflow."""
        x = np.full((2, 9), size, np.float32)
        x[1] = 0
        for norm in (np.inf, 2, 1):
            direction = attacks.norms.steepest(x, norm)
            np.testing.assert_allclose(lengths(direction, norm), [1, 0], rtol=1e-6)
        np.testing.assert_allclose(attacks.norms.l1_shares(x), [[1 / 9] * 9, [0] * 9], rtol=1e-6)
        back = attacks.norms.into_ball(x, np.zeros_like(x), 2, size / 2)
        np.testing.assert_allclose(back[0], size / 6, rtol=1e-5, atol=2e-45)
        np.testing.assert_array_equal(
            attacks.norms.into_ball(x[:, :1], np.zeros((2, 1), np.float32), 2, 1.1 * size), x[:, :1]
        )

    def test_examples_without_elements(self) -> None:
        none = np.zeros((3, 0), np.float32)
        for norm in (np.inf, 2):
            assert attacks.norms.random_in_ball(none, norm, 0.1, rng).shape == (3, 0)
            assert attacks.norms.into_ball(none, none, norm, 0.1).shape == (3, 0)
            assert attacks.norms.steepest(none, norm).shape == (3, 0)
        assert attacks.norms.l1_shares(none).shape == (3, 0)

    @given(
        seed=st.integers(0, 100),
        of_x=st.integers(-148, -130) | st.integers(-148, 40),
        of_W=st.integers(-10, 0) | st.integers(-140, 40),
    )
    def test_a_linear_model_is_one_at_every_scale(self, seed: int, of_x: int, of_W: int) -> None:
        random = np.random.default_rng(seed)
        model = SoftmaxRegression(30, 3)
        with np.errstate(all="ignore"):
            model.output.W.data = (random.normal(size=(30, 3)) * 2.0**of_W).astype(np.float32)
            x = (random.normal(size=(9, 30)) * 2.0**of_x).astype(np.float32)
            for epsilon in (0.0, 0.5 * 2.0**of_x, 0.25):
                linear_worst_case(model, x, random.integers(0, 3, 9), epsilon=epsilon)

    @pytest.mark.parametrize("size", [1e-8, 1e-3, 1.0, 1e8])
    def test_and_another_is_refused_at_every_scale(self, size: float) -> None:
        model = MaxoutNetwork(20, 3, units=(8, 8), pieces=5, seed=1)
        x = (size * np.random.default_rng(0).uniform(-1, 1, size=(50, 20))).astype(np.float32)
        with pytest.raises(ArgumentError, match="model must have logits linear in x"):
            linear_worst_case(model, x, np.zeros(50, int), epsilon=0.5 * size)

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (object(), "model must be a function from x to logits, a Tensor, got object"),
            (
                lambda x: 1.0,
                r"model must return logits, a Tensor of shape \(4, classes\) or \(4,\), got float",
            ),
            (lambda x: mg.sum(x), r"got a Tensor of shape \(\)"),
            (lambda x: mg.reshape(x, (4, 2, 3)), r"got a Tensor of shape \(4, 2, 3\)"),
            (lambda x: x[:2], r"got a Tensor of shape \(2, 6\)"),
        ],
    )
    def test_what_has_no_logits(self, model: Any, message: str) -> None:
        with pytest.raises(ArgumentTypeError, match=message):
            linear_worst_case(model, X, CLASSES, epsilon=0.1)


@pytest.mark.parametrize("name", MODELS)
class TestObjective:
    def test_it_is_the_weighted_sum(self, name: str, library: Any) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        x = library.asarray(X)
        adversarial = fgsm(model, x, y, epsilon=0.25)
        for alpha in (0.0, 1e-40, 0.3, 0.5, 1.0):
            J = adversarial_objective(model, x, y, alpha=alpha)
            expected = alpha * model.cost(x, y).item() + (1 - alpha) * model.cost(adversarial, y).item()
            assert J.item() == pytest.approx(expected)

    def test_its_gradient_takes_the_example_as_data(self, name: str, library: Any) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        x = library.asarray(X)
        parameters = model.parameters()
        fixed = fgsm(model, x, y, epsilon=0.25)
        for alpha in (0.0, 1e-40, 0.3, 1.0):
            expected = mg.grad(alpha * model.cost(x, y) + (1 - alpha) * model.cost(fixed, y), parameters)
            model.zero_grad()
            adversarial_objective(model, x, y, alpha=alpha).backward()
            for parameter, gradient in zip(parameters, expected, strict=True):
                # One that the cost does not reach, as the biases of pixels that are shown, gets none.
                found = (
                    np.zeros(gradient.shape) if parameter.grad is None else mg.Tensor(parameter.grad).numpy()
                )
                np.testing.assert_allclose(found, gradient.numpy(), rtol=1e-9, atol=1e-14)

    def test_another_attack_may_make_the_example(self, name: str) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        attack = partial(basic_iterative, epsilon=0.2, step=0.1, steps=3)
        J = adversarial_objective(model, X, y, alpha=0.3, attack=attack)
        fixed = attack(model, X, y)
        parameters = model.parameters()
        found = mg.grad(J, parameters)
        expected = mg.grad(0.3 * model.cost(X, y) + 0.7 * model.cost(fixed, y), parameters)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-9, atol=1e-14)
        with pytest.raises(ArgumentTypeError, match="attack must be a function .* or None"):
            adversarial_objective(model, X, y, attack="pgd")  # type: ignore[arg-type]

    def test_its_gradient_has_a_gradient(self, name: str) -> None:
        make, y = MODELS[name]
        model = randomised(make())
        W = model.parameters()[0]
        fixed = fgsm(model, X, y, epsilon=0.25)

        def curvature(J: mg.Tensor) -> np.ndarray:
            (slope,) = mg.grad(J, W, create_graph=True)
            return mg.grad(mg.sum(slope * slope), W)[0].numpy()

        expected = curvature(0.5 * model.cost(X, y) + 0.5 * model.cost(fixed, y))
        np.testing.assert_allclose(curvature(adversarial_objective(model, X, y)), expected, rtol=1e-9)

    def test_x_y_and_mode_are_left_alone(self, name: str) -> None:
        make, y = MODELS[name]
        model = make()
        x = X.copy()
        for training in (True, False):
            model.train(training)
            adversarial_objective(model, x, y).backward()
            assert model.training is training
        np.testing.assert_array_equal(x, X)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"alpha": -0.1}, "alpha"),
            ({"alpha": 1.1}, r"alpha must be a finite number in \[0.0, 1.0\], got 1.1"),
            ({"alpha": float("nan")}, "alpha"),
            ({"epsilon": -1.0}, "epsilon"),
            (
                {"epsilon": 0.1, "attack": partial(fgsm, epsilon=0.2)},
                r"epsilon must be None beside an attack, .* got 0.1: write attack=.*partial\(.*epsilon=0.1",
            ),
            ({"x": np.full((4, 6), np.nan)}, "x must be finite"),
            ({"y": None}, "y must be given"),
            ({"x": X[:0], "y": CLASSES[:0]}, "at least one example"),
        ],
    )
    def test_bad_input(self, name: str, change: dict[str, Any], message: str) -> None:
        make, y = MODELS[name]
        settings = {"x": X, "y": y, **change}
        with pytest.raises(ArgumentError, match=message):
            adversarial_objective(make(), settings.pop("x"), settings.pop("y"), **settings)


class TestCostOfAStep:
    """Floating-point operations of the matrix products, counted."""

    BATCH, INPUTS, UNITS, PIECES, CLASSES = 10, 20, (8, 6), 3, 4

    def forward_products(self) -> list[int]:
        widths = [(self.INPUTS, self.UNITS[0] * self.PIECES), (self.UNITS[0], self.UNITS[1] * self.PIECES),
                  (self.UNITS[1], self.CLASSES)]  # fmt: skip
        return [2 * self.BATCH * inputs * outputs for inputs, outputs in widths]

    def setup_model(self) -> tuple[Any, np.ndarray, np.ndarray]:
        model = MaxoutNetwork(self.INPUTS, self.CLASSES, units=self.UNITS, pieces=self.PIECES)
        return model, rng.normal(size=(self.BATCH, self.INPUTS)), rng.integers(0, self.CLASSES, self.BATCH)

    def test_a_training_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, x, y = self.setup_model()
        flops = count_products(monkeypatch)
        model.cost(x, y).backward()
        first, second, third = self.forward_products()
        # forward; the weights' gradients; back through all layers but the first
        assert sum(flops) == (first + second + third) + (first + second + third) + (second + third)

    def test_an_input_gradient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, x, y = self.setup_model()
        flops = count_products(monkeypatch)
        fgsm(model, x, y, epsilon=0.1)
        assert sum(flops) == 2 * sum(self.forward_products())

    @pytest.mark.fast_lane
    def test_an_adversarial_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two forward passes, two backward passes, and the one product for the input gradient."""
        model, x, y = self.setup_model()
        flops = count_products(monkeypatch)
        adversarial_objective(model, x, y).backward()
        first, second, third = self.forward_products()
        forward, backward = first + second + third, (first + second + third) + (second + third)
        assert sum(flops) == 2 * forward + 2 * backward + first
