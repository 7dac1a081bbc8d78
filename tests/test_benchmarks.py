"""MNIST's files, and the command `python -m benchmarks paper`."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import itertools
import json
import os
import re
import statistics
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import markupsafe
import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

import minigrad as mg
from attacks import fgsm
from benchmarks import figures, mnist, paper
from benchmarks.__main__ import main
from benchmarks.experiments import EXPERIMENTS, RECIPES, convolutional_maxout, deep_boltzmann_machine
from benchmarks.experiments.adversarially_trained_maxout import objective
from benchmarks.experiments.differentiable_adversaries import ANGLE, against, rotated
from benchmarks.experiments.ensemble_of_twelve import Ensemble
from benchmarks.experiments.hidden_perturbation import perturbed_at
from benchmarks.experiments.rubbish_classified import fooled, mean_of_classes
from benchmarks.figures import FIGURES, Drawing
from benchmarks.mnist import Digits
from benchmarks.photos import photos
from benchmarks.recipe import Recipe, Stage, Together, descent
from benchmarks.report import Judged, judge, over_seeds
from benchmarks.speed.conditions import commit, processor
from benchmarks.task import (
    STRENGTHS,
    Measurement,
    Row,
    error_against_epsilon,
    fgsm_from_rounded_gradient,
    measure,
    share,
)
from benchmarks.training import History, Training, epochs_done, history
from minigrad import lanes
from minigrad.errors import ArgumentError, DataError, NonFiniteError
from minigrad.optim import SGD
from minigrad.testing import check_gradients
from models import LogisticRegression, MaxoutNetwork, SoftmaxRegression
from tests.kills import write_few_digits
from tests.strict import counter
from tests.test_attacks import spoilt

FILES = {"train-images-idx3-ubyte": (60, 28, 28), "train-labels-idx1-ubyte": (60,),
         "t10k-images-idx3-ubyte": (20, 28, 28), "t10k-labels-idx1-ubyte": (20,)}  # fmt: skip


def trained(
    recipe: Any, scale: str, seed: int, train: Any, path: Path, epochs: int | None = None
) -> tuple[Any, History]:
    """The recipe's model in evaluation mode, gone on with from the checkpoint at `path`, and its history."""
    training = Training(recipe, scale, seed, train, epochs)
    training.go_on(path)
    return training.model.eval(), training.history


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Four small files of noise, half of them compressed."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for i, (name, shape) in enumerate(FILES.items()):
        content = idx(rng.integers(0, 10 if len(shape) == 1 else 256, shape).astype(np.uint8))
        if i % 2:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


class TestFiles:
    def test_the_copy_that_comes_with_the_repository_is_mnist(self) -> None:
        expected = {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        }
        for name, digest in expected.items():
            content = gzip.decompress((mnist.DIRECTORY / f"{name}.gz").read_bytes())
            assert hashlib.sha256(content).hexdigest() == digest

    def test_pixels_and_labels(self) -> None:
        train, test = mnist.load()
        assert (len(train), len(test)) == (60_000, 10_000)
        for digits in (train, test):
            assert digits.x.dtype == np.float32
            assert (digits.x.min(), digits.x.max()) == (0.0, 1.0)
            assert np.unique(digits.y).tolist() == list(range(10))
        pair = test.sevens_against_threes()
        assert len(pair) == (test.y == 3).sum() + (test.y == 7).sum() == 2038
        assert (pair.y == 1).sum() == (test.y == 7).sum()

    def test_compressed_or_not(self, directory: Path) -> None:
        train, test = mnist.load(directory)
        assert train.x.shape == (60, 784)
        assert test.y.shape == (20,)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda content: content[:-1], "must have .* bytes"),
            (lambda content: content + b"\0", "must have .* bytes"),
            (lambda content: b"\0\0\x0d" + content[3:], "magic number"),
            (lambda content: b"<html>", "magic number"),
            (lambda content: b"", "empty file"),
            (lambda content: content[:6], "ends before"),
            (lambda content: gzip.compress(content)[:-9], "whole gzip file"),
            (lambda content: gzip.compress(content)[:40] + b"\xff" * 30, "whole gzip file"),
            (lambda content: idx(np.zeros((3, 5), np.uint8)), "must hold"),
            (lambda content: idx(np.full(60, 10, np.uint8)), "must hold"),
        ],
    )
    def test_damage_is_named(self, directory: Path, name: str, damage: Any, message: str) -> None:
        path = next(directory.glob(f"{name}*"))
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        path.write_bytes(damage(content))
        with pytest.raises(DataError, match=message) as error:
            mnist.load(directory)
        assert name in str(error.value)

    @pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (0,)])
    def test_sizes_of_zero(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape))
        with pytest.raises(DataError, match="at least one element"):
            mnist.read_idx(path)

    def test_too_many_axes(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"\0\0\x08\xff" + b"\xff" * 2000)
        with pytest.raises(DataError, match="at most 3 axes"):
            mnist.read_idx(path)

    def test_a_missing_file(self, directory: Path) -> None:
        (directory / "train-images-idx3-ubyte").unlink()
        with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
            mnist.load(directory)


class Fixed:
    """Predicts what it is told."""

    def __init__(self, probabilities: Any, labels: Any) -> None:
        self.probabilities, self.labels = np.array(probabilities), np.array(labels)

    def predict_proba(self, x: Any) -> Any:
        return self.probabilities[x]

    def predict(self, x: Any) -> Any:
        return self.labels[x]


def test_error_and_confidence_on_the_mistakes() -> None:
    model = Fixed([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [0, 1, 0, 1])
    result = measure(model, np.arange(4), np.array([1, 1, 1, 1]), size=3)
    assert result.error == 50.0
    assert result.confidence == pytest.approx(75.0)
    assert measure(model, np.arange(4), np.array([0, 1, 0, 1])).confidence is None
    signs = Fixed([0.9, 0.2], [1, -1])
    assert measure(signs, np.arange(2), np.array([1, 1])).confidence == pytest.approx(80.0)


class Quadratic(mg.Module):
    """A model of one weight, for trainings that can be followed by hand."""

    def __init__(self) -> None:
        self.w = mg.Parameter(np.array([3.0], np.float32))

    def cost(self, x: Any, y: Any, reduction: str = "mean") -> mg.Tensor:
        costs = mg.sum((mg.Tensor(x) if isinstance(x, np.ndarray) else x) * 0.0, axis=1) + self.w * self.w
        return costs if reduction == "none" else (mg.mean if reduction == "mean" else mg.sum)(costs)

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x), np.int64)

    def predict_proba(self, x: Any) -> Any:
        return np.full((len(x), 2), 0.5)


def small_digits(n: int = 400) -> Digits:
    random = np.random.default_rng(3)
    return Digits(random.random((n, 784), dtype=np.float32), random.integers(0, 10, n))


def small_network(**stages: Any) -> Recipe:
    def build(scale: str, seed: int, digits: Digits) -> MaxoutNetwork:
        return MaxoutNetwork(784, 10, units=(8,), pieces=2, dropout=(0.8, 0.5), seed=seed)

    return Recipe("a small network", build, stages, objective)


TWO_STAGES = (
    Stage(descent(0.5, 0.5), 3, held_out=100, score="fgsm_error", patience=5),
    Stage(descent(0.2, 0.7), None, held_out=100, new_model=True),
    Stage(descent(0.1, 0.2), 2, held_out=100, until_cost=True),
)


@pytest.mark.filterwarnings("ignore::attacks.ZeroGradientWarning")
class TestTraining:
    def train(self, path: Path, epochs: int | None = None, recipe: Recipe | None = None) -> Any:
        recipe = recipe or small_network(paper=TWO_STAGES)
        return trained(recipe, "paper", 1, small_digits(), path, epochs)

    @pytest.mark.parametrize("killed_after", range(1, 8))
    def test_killed_after_any_epoch_it_ends_with_the_same_bits(
        self, killed_after: int, tmp_path: Path
    ) -> None:
        unbroken, history = self.train(tmp_path / "unbroken.npz")
        first = Training(small_network(paper=TWO_STAGES), "paper", 1, small_digits(), None)
        for _ in range(killed_after):
            if not first.finished:
                first.epoch()
                first.save(tmp_path / "killed.npz")
        model, resumed = self.train(tmp_path / "killed.npz")
        assert resumed == history
        for name, array in unbroken.state_dict().items():
            np.testing.assert_array_equal(model.state_dict()[name], array)
        assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "unbroken.npz").read_bytes()

    def test_parameters_of_which_each_has_an_optimiser_of_its_own(self, tmp_path: Path) -> None:
        """They take their steps together, are recorded together, and go on together after a kill."""

        def together(parameters: list[mg.Parameter], updates: int, epochs: int) -> Together:
            first, others = parameters[:2], parameters[2:]
            return Together(SGD(first, lr=0.0, momentum=0.5), SGD(others, lr=0.2, momentum=0.9, max_norm=0.1))

        recipe = small_network(paper=(Stage(together, 3, held_out=100),))
        start = recipe.build("paper", recipe.seed(1), small_digits())
        first = Training(recipe, "paper", 1, small_digits(), None)
        first.epoch()
        assert lanes.PLAIN or first._step.captured
        first.save(tmp_path / "killed.npz")
        model, _ = self.train(tmp_path / "killed.npz", recipe=recipe)
        self.train(tmp_path / "unbroken.npz", recipe=recipe)
        assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "unbroken.npz").read_bytes()
        with pytest.raises(ArgumentError, match=r"state has 2\.updates, velocity\.0, for which there is no"):
            first.optimiser.load_state_dict({"2.updates": np.array(1), "velocity.0": np.ones(1)})
        np.testing.assert_array_equal(model.hidden[0].W.data, start.hidden[0].W.data)
        assert (model.output.W.data != start.output.W.data).any()
        assert np.linalg.norm(model.output.W.data, axis=0).max() <= 0.1 * (1 + 1e-6)

    @pytest.mark.parametrize("name", ["convolutional", "boltzmann"])
    def test_the_recipes_beside_maxout_go_on_with_the_same_bits(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With what Adam remembers, say, and the masks of what a machine is not shown."""
        monkeypatch.setattr("benchmarks.training.WATCHED_BY_PGD", 10)
        (stage,) = RECIPES[name].stages["quick"]
        stages = {"quick": (dataclasses.replace(stage, held_out=100),)}
        recipe = dataclasses.replace(RECIPES[name], stages=stages)
        unbroken, killed = tmp_path / "unbroken.npz", tmp_path / "killed.npz"
        trained(recipe, "quick", 1, small_digits(200), unbroken, epochs=2)
        first = Training(recipe, "quick", 1, small_digits(200), 2)
        first.epoch()
        first.save(killed)
        trained(recipe, "quick", 1, small_digits(200), killed, epochs=2)
        assert killed.read_bytes() == unbroken.read_bytes()

    @pytest.mark.skipif(lanes.PLAIN, reason="the fast lane is off")
    def test_a_recorded_one_ends_with_the_bits_of_an_eager_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        training = Training(small_network(paper=TWO_STAGES), "paper", 1, small_digits(), None)
        training.epoch()
        assert training._step.captured
        self.train(tmp_path / "recorded.npz")
        monkeypatch.setattr(mg, "capture", eagerly)
        self.train(tmp_path / "eager.npz")
        assert (tmp_path / "recorded.npz").read_bytes() == (tmp_path / "eager.npz").read_bytes()

    def test_a_finished_one_is_read_not_trained(self, tmp_path: Path, monkeypatch: Any) -> None:
        first, history = self.train(tmp_path / "model.npz")
        monkeypatch.setattr(Training, "epoch", None)
        second, again = self.train(tmp_path / "model.npz")
        assert again == history
        for name, array in first.state_dict().items():
            np.testing.assert_array_equal(second.state_dict()[name], array)

    def test_what_a_checkpoint_tells_without_being_loaded(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        assert epochs_done(path) == (0, False)
        training = Training(small_network(paper=TWO_STAGES), "paper", 1, small_digits(), None)
        training.epoch()
        training.save(path)
        assert epochs_done(path) == (1, False)
        _, record = self.train(path)
        assert epochs_done(path) == (len(record["stage"]), True)
        assert history(path) == record

    def test_stages(self, tmp_path: Path) -> None:
        """Early stopping keeps the best; the next stage trains a new model for as many epochs."""
        _, record = self.train(tmp_path / "model.npz")
        stages = record["stage"]
        scores = [error for error, stage in zip(record["fgsm_error"], stages, strict=True) if stage == 1]
        assert len(scores) == 3
        assert stages.count(2) == int(np.argmin(scores)) + 1
        assert 1 <= stages.count(3) <= 2

    def test_patience_ends_a_stage(self, tmp_path: Path) -> None:
        recipe = Recipe(
            "a constant", lambda scale, seed, digits: Quadratic(),
            {"paper": (Stage(descent(0.0), 50, held_out=100, score="clean_error", patience=4),)},
        )  # fmt: skip
        _, record = self.train(tmp_path / "model.npz", recipe=recipe)
        assert len(record["stage"]) == 5  # the first is the best, and four do not improve on it

    def test_a_stage_ends_at_the_cost_of_the_one_before(self, tmp_path: Path) -> None:
        stages = (
            Stage(descent(0.0), 1, held_out=100, score="clean_error"),
            Stage(descent(0.001), 50, held_out=100, until_cost=True),
        )
        recipe = Recipe("w²", lambda scale, seed, digits: Quadratic(), {"paper": stages})
        _, record = self.train(tmp_path / "model.npz", recipe=recipe)
        assert record["stage"] == [1, 2]  # the first step already costs less than 9

    def test_epochs_instead_of_the_recipes(self, tmp_path: Path) -> None:
        quick = small_network(quick=(Stage(descent(0.1), 7, held_out=100),))
        _, record = trained(quick, "quick", 1, small_digits(), tmp_path / "quick.npz", 2)
        assert len(record["stage"]) == 2
        _, record = self.train(tmp_path / "paper.npz", epochs=1)
        assert record["stage"] == [1, 2, 3]

    def test_a_seed_is_a_training(self, tmp_path: Path) -> None:
        recipe = small_network(quick=(Stage(descent(0.1), 1, held_out=100),))
        weights = [
            trained(recipe, "quick", seed, small_digits(), tmp_path / f"{i}.npz")[0].output.W.data
            for i, seed in enumerate((1, 1, 2))
        ]
        np.testing.assert_array_equal(weights[0], weights[1])
        assert (weights[0] != weights[2]).any()

    def test_held_out_digits_are_not_trained_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mg, "capture", eagerly)
        seen = []

        def cost(model: Any, x: Any, y: Any, generator: Any) -> mg.Tensor:
            seen.append(x.sum(1))
            return model.cost(x, y)

        digits = small_digits()
        stages = (Stage(descent(0.1), 2, held_out=150),)
        recipe = Recipe("", lambda *_: Quadratic(), {"quick": stages}, cost)
        trained(recipe, "quick", 0, digits, tmp_path / "model.npz")
        assert len(np.concatenate(seen)) == 400
        assert not np.isin(digits.x[-150:].sum(1), np.concatenate(seen)).any()


def eagerly(function: Any, *example: Any, of: Any) -> Any:
    return function


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::attacks.ZeroGradientWarning")
class TestDivergence:
    """A training whose cost or weights are no numbers stops, and its checkpoint stays the last good one."""

    @pytest.fixture(autouse=True)
    def without_a_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In which a count of updates would be frozen."""
        monkeypatch.setattr(mg, "capture", eagerly)

    def recipe(self, cost: Any = None, lr: float = 0.1) -> Recipe:
        stages = {"quick": (Stage(descent(lr), 3, held_out=100),)}
        made = Recipe("a small network", lambda scale, seed, digits: SoftmaxRegression(784, 10), stages)
        return made if cost is None else dataclasses.replace(made, cost=cost)

    def spoilt_at(self, update: int, value: float, of_cost: bool = False) -> Any:
        """A cost whose value or whose gradient is spoilt at an update, counted over the epochs."""
        count = 0

        def cost(model: Any, x: Any, y: Any, generator: Any) -> mg.Tensor:
            nonlocal count
            count += 1
            if count != update:
                return model.cost(x, y)
            return model.cost(x, y) + (value if of_cost else mg.sum(spoilt(model.output.W, value=value)))

        return cost

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_cost(self, value: float, tmp_path: Path) -> None:
        recipe = self.recipe(self.spoilt_at(5, value, of_cost=True))  # three updates an epoch
        with pytest.raises(NonFiniteError, match="diverged in stage 1, epoch 2, update 2 of 3: the cost is"):
            trained(recipe, "quick", 1, small_digits(), tmp_path / "model.npz")
        assert epochs_done(tmp_path / "model.npz") == (1, False)
        assert all(
            np.isfinite(a).all()
            for n, a in mg.load(tmp_path / "model.npz").items()
            if n not in ("progress", "origin")
        )

    def test_weights_after_the_last_update(self, tmp_path: Path) -> None:
        recipe = self.recipe(self.spoilt_at(3, np.nan))
        with pytest.raises(NonFiniteError, match="epoch 1, update 3 of 3: .* must be finite, got"):
            trained(recipe, "quick", 1, small_digits(), tmp_path / "model.npz")
        assert not (tmp_path / "model.npz").exists()

    def test_an_input_gradient_on_the_way(self, tmp_path: Path) -> None:
        recipe = self.recipe(objective, lr=1e38)
        with pytest.raises(NonFiniteError, match=r"epoch 1, update \d of 3: .*must be finite|the cost is"):
            trained(recipe, "quick", 1, small_digits(), tmp_path / "model.npz")
        assert not (tmp_path / "model.npz").exists()

    def test_on_a_device_where_no_value_is_looked_at(self, tmp_path: Path) -> None:
        """The weights are seen when they are brought to the host for the checkpoint."""
        with mg.backend.use("strict"):
            digits = small_digits().to("strict")
            for update, value, message in (
                (2, np.nan, "update 3 of 3: the cost is nan"),
                (3, np.nan, "model."),
            ):
                recipe = self.recipe(self.spoilt_at(update, value))
                with pytest.raises(NonFiniteError, match=message):
                    trained(recipe, "quick", 1, digits, tmp_path / "model.npz")
        assert not (tmp_path / "model.npz").exists()

    def test_the_device_waits_once_an_epoch_for_the_costs(self) -> None:
        with mg.backend.use("strict"):
            digits = small_digits().to("strict")
            training = Training(self.recipe(), "quick", 1, digits, None)
            training._watch = lambda: {}  # type: ignore[method-assign]
            counter.reset()
            training.epoch()
        assert counter.synchronisations == ["get"]

    def test_the_command_ends_with_a_line(self, monkeypatch: Any, capsys: Any) -> None:
        def diverged(options: Any) -> None:
            raise NonFiniteError("the training of maxout diverged")

        monkeypatch.setattr(paper, "run", diverged)
        with pytest.raises(SystemExit, match="2"):
            main(["paper"])
        assert capsys.readouterr().err == "error: the training of maxout diverged\n"


class TestMeasuring:
    def test_the_rounded_gradient_is_the_exact_one_of_an_unsure_network(self) -> None:
        model = MaxoutNetwork(784, 10, units=(8,), pieces=2, seed=1)
        model.hidden[0].W.data *= 20
        digits = small_digits(50)
        exact = fgsm(model, digits.x, digits.y, epsilon=0.25)
        rounded = fgsm_from_rounded_gradient(model, digits.x, digits.y, epsilon=0.25)
        assert (exact == rounded).mean() > 0.999

    def test_and_lacks_the_label_of_a_sure_one(self) -> None:
        """Margin 30, float32: without the label's share the step goes along the other classes alone."""
        model = SoftmaxRegression(784, 10)
        model.output.W.data[:] = 0
        model.output.W.data[0, 0] = 30
        model.output.W.data[1, 1] = 1e-3
        x = np.zeros((1, 784), np.float32)
        x[0, 0] = 1
        exact = fgsm(model, x, [0], epsilon=0.25) - x
        rounded = fgsm_from_rounded_gradient(model, x, np.array([0]), epsilon=0.25) - x
        assert exact[0, :2].tolist() == [-0.25, 0.25]
        assert rounded[0, :2].tolist() == [0.0, 0.25]

    def test_shares(self) -> None:
        found = share(np.array([True, False, True, False]), np.array([0.9, 0.1, 0.7, 0.2]))
        assert (found.error, found.examples) == (50.0, 4)
        assert found.confidence == pytest.approx(80.0)
        assert share(np.array([False])).confidence is None
        assert share(np.array([], bool)) == Measurement(0.0, None, 0)

    def test_the_curve_is_fgsm_at_each_strength(self) -> None:
        model = SoftmaxRegression(784, 10)
        digits = small_digits(100)
        curve = error_against_epsilon(model, digits)
        at_quarter = measure(model, fgsm(model, digits.x, digits.y, epsilon=0.25), digits.y)
        assert curve[STRENGTHS.index(0.25)] == at_quarter.error


class TestExperiments:
    def test_every_row_is_measured_by_its_experiment(self) -> None:
        keys = [row.key for experiment in EXPERIMENTS.values() for row in experiment.ROWS]
        assert len(keys) == len(set(keys))
        for name, experiment in EXPERIMENTS.items():
            assert experiment.CHOICES
            assert experiment.__doc__
            assert set(experiment.USES) <= RECIPES.keys()
            assert set(experiment.MODELS) <= set(experiment.USES)
            assert all(row.key.startswith(f"{name}.") for row in experiment.ROWS)

    def test_a_claim_speaks_of_rows_that_there_are(self) -> None:
        keys = {row.key for experiment in EXPERIMENTS.values() for row in experiment.ROWS}
        figures = {key: Measurement(50.0, 50.0, 100) for key in keys}
        for experiment in EXPERIMENTS.values():
            for row in experiment.ROWS:
                assert (row.holds is None) == (row.claim == "")
                if row.holds is not None:
                    assert row.holds(figures) in (True, False)

    def test_every_claim_can_hold_and_can_fail(self) -> None:
        keys = [row.key for experiment in EXPERIMENTS.values() for row in experiment.ROWS]
        random = np.random.default_rng(0)
        outcomes: dict[str, set[bool]] = {}
        for _ in range(300):
            values = random.choice([0.0, 0.5, 3.0, 8.0, 20.0, 60.0, 99.0, 130.0], (len(keys), 2))
            figures = {key: Measurement(e, c, 100) for key, (e, c) in zip(keys, values, strict=True)}
            for experiment in EXPERIMENTS.values():
                for row in experiment.ROWS:
                    if row.holds is not None:
                        outcomes.setdefault(row.key, set()).add(bool(row.holds(figures)))
        assert all(outcome == {True, False} for outcome in outcomes.values())

    def test_classes_without_a_draw_to_count_are_left_out(self) -> None:
        """All draws are of class 0 before the step: nothing can become it."""
        model = SoftmaxRegression(784, 10)
        model.output.b.data[0] = 30.0
        found = fooled(model, np.random.default_rng(0).random((5, 784), dtype=np.float32))
        assert [each.examples for each in found] == [0, *[5] * 9]
        assert mean_of_classes(found).examples == 45
        means = {"a.b": over_seeds(statistics.fmean, [found[0], found[0]])}
        judged = judge(Row("a.b", "A", "what", 24.7), "rubbish", [found[0], found[0]], means)
        assert judged.figures() == "none to count"
        assert judged.difference is None
        counted = over_seeds(statistics.fmean, [found[0], Measurement(50.0, None, 8)])
        assert (counted.error, counted.examples) == (50.0, 8)

    def test_the_published_convolutional_network(self) -> None:
        """Its sides, 28 → 9 → 3 → 2, and whose norms are limited to what."""
        module = convolutional_maxout
        model = module.build("paper", 0, None)
        assert [p.shape for p in model.parameters() if p.ndim > 1] == [
            (8, 8, 1, 96), (8, 8, 48, 96), (5, 5, 48, 96), (2 * 2 * 24, 10)]  # fmt: skip
        assert model.eval()(np.zeros((1, 784), np.float32)).shape == (1, 10)
        assert 0.0045 < np.abs(model.convolutions[0].W.numpy()).max() <= 0.005
        optimiser = module.published(model.parameters(), updates=500, epochs=400)
        assert [own.settings() for own in optimiser.optimisers] == [(0.05, 0.5, 0.9), (0.05, 0.5, 1.9365)]
        assert [len(own.parameters) for own in optimiser.optimisers] == [2, 6]
        owned = [p for own in optimiser.optimisers for p in own.parameters]
        assert all(p is q for p, q in zip(owned, model.parameters(), strict=True))

    def test_the_published_boltzmann_machine(self) -> None:
        module = deep_boltzmann_machine
        model = module.build("paper", 0, small_digits(20))
        assert [p.shape for p in (model.W1, model.W2, model.W3)] == [(784, 2087), (2087, 3200), (3200, 10)]
        assert (model.b1.data == np.float32(-0.710467)).all()
        assert (model.iterations, model.label_weight) == (14, 1.0)
        optimiser = module.published(model.parameters(), updates=500, epochs=868)
        first, second, third, biases = optimiser.optimisers
        assert first.settings() == (15.146493 / 784, 0.5, 1.809978)
        for own, W in zip((first, second, third), (model.W1, model.W2, model.W3), strict=True):
            assert len(own.parameters) == 1
            assert own.parameters[0] is W
        assert biases.settings()[2] is None
        owned = {id(p) for own in optimiser.optimisers for p in own.parameters}
        assert owned == set(map(id, model.parameters()))

    def test_the_ensemble_is_the_mean_of_its_members(self) -> None:
        members = [MaxoutNetwork(784, 10, units=(4,), pieces=2, seed=i) for i in range(3)]
        for member in members:
            member.hidden[0].W.data *= 30
            member.output.W.data *= 300
        ensemble, digits = Ensemble(members), small_digits(20)
        p = np.mean([member.predict_proba(digits.x) for member in members], axis=0)
        np.testing.assert_allclose(ensemble.predict_proba(digits.x), p, rtol=1e-5)
        np.testing.assert_allclose(mg.softmax(ensemble(digits.x)).numpy(), p, rtol=1e-4)
        own = p[np.arange(20), digits.y]
        costs = ensemble.cost(digits.x, digits.y, reduction="none").numpy()
        np.testing.assert_allclose(costs, -np.log(own), rtol=1e-4, atol=1e-6)

    def test_rotation_keeps_the_norm_and_turns_by_the_angle(self) -> None:
        x, g = mg.Tensor(np.random.default_rng(0).normal(size=(5, 20))), mg.Tensor(np.ones((5, 20)))
        turned = rotated(x, g).numpy()
        lengths = np.linalg.norm(x.numpy(), axis=1)
        np.testing.assert_allclose(np.linalg.norm(turned, axis=1), lengths)
        np.testing.assert_allclose((turned * x.numpy()).sum(1) / lengths**2, np.cos(ANGLE))
        assert ((turned - x.numpy()) @ np.ones(20) > 0).all()

    def test_the_differentiable_objective_differentiates_the_adversary(self) -> None:
        """Its gradient is the numeric one, which it would not be with the perturbation as data."""
        model = MaxoutNetwork(6, 3, units=(4,), pieces=2, seed=1)
        model.to(dtype=np.float64)
        model.hidden[0].W.data *= 100
        random = np.random.default_rng(0)
        x, y = random.normal(size=(3, 6)), np.array([0, 1, 2])
        W = model.hidden[0].W

        def cost(weights: mg.Tensor) -> mg.Tensor:
            model.hidden[0].W = weights
            with mg.enable_grad():  # the numeric side records nothing of its own accord
                return against(rotated)(model, x, y, random)

        check_gradients(cost, W.numpy().copy(), exact=True)

    def test_a_step_at_a_hidden_layer_raises_the_cost_from_there(self) -> None:
        model = MaxoutNetwork(784, 10, units=(8, 8), pieces=2, seed=1)
        for parameter in model.parameters():
            parameter.data *= 30
        digits = small_digits(50)
        plain = model.cost(digits.x, digits.y).item()
        for layer in (1, 2):
            assert perturbed_at(layer)(model, digits.x, digits.y, np.random.default_rng()).item() > plain


ERRORS = {  # at each of STRENGTHS
    "maxout": [2, 34, 86, 98, 100, 100, 100, 100, 100, 100, 100],
    "adversarial": [2, 22, 35, 13, 4, 4, 5, 8, 14, 22, 30],
    "pgd": [4, 7, 12, 19, 26, 34, 45, 60, 76, 90, 95],
    "softmax": [12, 41, 81, 98, 100, 100, 100, 100, 100, 100, 100],
    "logistic": [2, 14, 63, 91, 99, 100, 100, 100, 100, 100, 100],
    "rotation": [2, 5, 5, 10, 25, 40, 50, 59, 66, 71, 74],
}


class TestFigures:
    @pytest.fixture(autouse=True)
    def style(self) -> Iterator[None]:
        with rc_context(figures.STYLE):
            yield

    DIGITS = Digits(np.random.default_rng(0).random((100, 784), np.float32), np.arange(100) % 10)

    def draw(self, name: str, histories: Any = None, model: Any = None, **data: Any) -> tuple[Any, str]:
        """A figure of made numbers, ready to be looked at, and its caption."""
        drawing = Drawing(self.DIGITS, lambda _: model, data, histories or {})
        figure, caption = FIGURES[name].draw(drawing)
        figure.canvas = FigureCanvasAgg(figure)
        figure.canvas.draw()
        return figure, caption

    def check(self, figure: Any) -> None:
        """No text covers another or leaves the figure, and no colour but grey stands for two lines."""
        width, height = figure.bbox.size
        boxes = []
        for ax in figure.axes:
            boxes += [text.get_window_extent() for text in ax.texts]
            lines = [
                line
                for line in ax.lines
                if line.get_transform() is ax.transData and line.get_linestyle() != "None"
            ]
            colours = [line.get_color() for line in lines if line.get_color() != figures.GREY]
            assert len(set(colours)) == len(colours)
        for box, other in itertools.combinations(boxes, 2):
            assert not box.overlaps(other)
        for box in boxes:
            assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= width, box.y1 <= height) == (True,) * 4

    def test_threes_and_sevens_are_framed_where_they_are_called_wrongly(self) -> None:
        model = LogisticRegression(784, seed=1)
        figure, _ = self.draw("figure2", model=model)
        pair = self.DIGITS.sevens_against_threes()[:6]
        adversarial = fgsm(model, pair.x, pair.y, epsilon=0.25)
        called = np.concatenate([model.predict(pair.x), model.predict(adversarial)])
        titles = [ax.get_title() for ax in figure.axes[2:]]
        assert titles == [f"called {7 if label == 1 else 3}" for label in called]
        framed = [to_hex(ax.spines["top"].get_edgecolor()).upper() for ax in figure.axes[2:]]
        wrong = called != np.tile(pair.y, 2)
        assert framed == [figures.VERMILLION if each else figures.GREY for each in wrong]

    @pytest.mark.parametrize(("at", "points"), [(10.0, True), (88.65, False), (90.0, False)])
    def test_a_dip_is_pointed_at_where_it_is_no_chance(self, at: float, points: bool) -> None:
        errors = [2.0, 50.0, 88.66, 40.0, 20.0, at, 30.0, 50.0, 60.0, 70.0, 80.0]
        _, caption = self.draw("error_against_epsilon", error_against_epsilon={"adversarial": errors})
        assert ("its gradient hides" in caption) == points

    def test_a_table_of_a_run_of_older_code_has_no_clean_row(self) -> None:
        table = {"models": ["maxout", "softmax"], "errors": [[99.0, 50.0], [60.0, 98.0]], "examples": 2000}
        old, _ = self.draw("transfer", transfer=table)
        new, _ = self.draw("transfer", transfer={**table, "clean": [1.0, 9.0]})
        assert [len(figure.axes[0].get_yticks()) for figure in (old, new)] == [2, 3]

    def test_the_strip_says_what_the_model_calls_each_image(self) -> None:
        model = SoftmaxRegression(784, 10, seed=0)
        model.output.W.data *= 5
        figure, caption = self.draw("figure4", model=model)
        self.check(figure)
        graph, strip = figure.axes
        called = [text.get_text() for text in strip.texts]
        assert len(strip.images) == len(called) == 11
        in_colour = {text.get_text() for text in strip.texts if text.get_color() != figures.GREY}
        assert in_colour == set(called)
        assert f"in colour: {called[0]}, then " in caption
        assert f" {called[-1]}; grey" in caption
        assert sorted(text.get_text()[0] for text in graph.texts) == list("0123456789")

    def test_rubbish_that_fools_is_counted(self) -> None:
        model = SoftmaxRegression(784, 10, seed=0)
        model.output.W.data *= 5
        figure, caption = self.draw("figure5", model=model)
        after = [float(ax.get_xlabel().split(" → ")[1]) for ax in figure.axes]
        framed = [ax.spines["top"].get_linewidth() == 5 for ax in figure.axes]
        assert 0 < sum(framed) < 10
        assert framed == [p > 0.5 for p in after]
        assert f"p > .5 in {sum(framed)} of 10 after the step" in caption

    @pytest.mark.parametrize(
        "names",
        [["softmax"], ["logistic"], ["softmax", "logistic"], ["maxout", "adversarial"], list(ERRORS)],
        ids="-".join,
    )
    def test_error_against_epsilon_with_whatever_was_measured(self, names: list[str]) -> None:
        figure, caption = self.draw(
            "error_against_epsilon", error_against_epsilon={name: ERRORS[name] for name in names}
        )
        self.check(figure)
        shown = {text.get_text() for text in figure.axes[0].texts}
        assert ("softmax regression" in shown) == ("softmax" in names)
        assert ("logistic regression" in shown) == ("logistic" in names[:2])
        assert ("2 other models" in shown) == (len(names) == len(ERRORS))
        assert ("trained here:\ngradient hides" in shown) == ("adversarial" in names)
        assert ("errs on 4% at the ε it is trained at, but on 35% at ε = 0.1" in caption) == (
            "adversarial" in names
        )

    def test_no_dip_is_pointed_at_where_there_is_none(self) -> None:
        figure, caption = self.draw(
            "error_against_epsilon", error_against_epsilon={"adversarial": ERRORS["pgd"]}
        )
        assert [text.get_text() for text in figure.axes[0].texts] == ["trained on FGSM"]
        assert "hides" not in caption

    @pytest.mark.parametrize("y", [0.0, 0.5, 1.0])
    def test_labels_of_lines_that_end_together_are_moved_apart(self, y: float) -> None:
        figure, ax = figures._figure(4.8, left=0.1, right=0.7, top=0.97, bottom=0.13)
        figures._label_ends(ax, [(1.0, y, f"line {i}\nof ten", {"color": "black"}) for i in range(10)])
        figure.canvas = FigureCanvasAgg(figure)
        self.check(figure)

    @pytest.mark.parametrize("names", [["maxout", "adversarial", "softmax"], ["maxout"] * 13])
    def test_transfer_has_a_row_for_clean_digits(self, names: list[str]) -> None:
        count = len(names)
        errors = (50.0 + np.arange(count**2).reshape(count, count) / 10).tolist()
        clean = [float(i) for i in range(count)]
        table = {"models": names, "errors": errors, "clean": clean, "examples": 1234}
        figure, caption = self.draw("transfer", transfer=table)
        self.check(figure)
        (ax,) = figure.axes
        assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["clean digits", "plain maxout"]
        assert [float(text.get_text()) for text in ax.texts[:count]] == clean
        assert "1,234 test digits" in caption

    def test_the_caption_of_the_attacks_says_the_least_and_the_greatest_error(self) -> None:
        table = {"models": ["maxout", "pgd"], "attacks": ["FGSM", "PGD"], "examples": 1000}
        figure, caption = self.draw("attacks", attacks={**table, "errors": [[100.0, 31.3], [92.1, 46.2]]})
        self.check(figure)
        assert "plain maxout 92 to 100%, trained on PGD 31 to 46%" in caption

    @pytest.mark.parametrize("stages", [[0, 0, 0], [0, 0, 1], [0]])
    def test_a_dotted_line_is_told_of_where_it_is_drawn(self, stages: list[int]) -> None:
        errors = np.linspace(3, 0, len(stages)).tolist()
        history = {"stage": stages, "clean_error": errors, "fgsm_error": errors, "pgd_error": errors}
        figure, caption = self.draw("training", {"maxout": history, "adversarial": history})
        self.check(figure)
        dotted = [line for ax in figure.axes for line in ax.lines if line.get_linestyle() == ":"]
        assert ("dotted" in caption) == bool(dotted) == (1 in stages)

    def test_penalties_are_compared_where_both_learn(self) -> None:
        worst = {"training": [1.1, 3.3, 9.5], "test": [1.7, 3.1, 8.3], "fgsm": [97.7, 37.9, 15.9]}
        decay = {"training": [1.4, 9.9, 49.5], "test": [1.9, 9.5, 49.6], "fgsm": [88.3, 15.3, 100.0]}
        table = {"coefficients": [0.01, 0.1, 0.25], "adversarial": worst, "L1 decay": decay}
        figure, caption = self.draw("penalties", penalties=table)
        self.check(figure)
        assert "At 0.1 of each" in caption
        assert (
            "an error of 3.1% and 37.9% on clean digits and on FGSM's, L1 decay one of 9.5% and 15.3%"
            in caption
        )
        assert "At λ = 0.25 the model guesses: 49.5% training error." in caption
        assert "At ε" not in caption
        shown = {text.get_text() for text in figure.axes[0].texts}
        assert {"λ=0.25: guesses", "ε=0.25", "λ=0.1", "ε=0.1"} <= shown

    def test_a_sheet_shows_each_filter_in_its_place(self) -> None:
        """Filter i is i, and its greatest number, 100, stands at pixel i."""
        filters = np.full((36, 784), np.arange(36)[:, None])
        filters[np.arange(36), np.arange(36)] = 100
        sheet = figures._sheet(filters.astype(float))
        assert np.isnan(sheet).sum() == 180**2 - filters.size
        for i in range(36):
            tile = sheet[30 * (i // 6) + 1 :, 30 * (i % 6) + 1 :][:28, :28]
            np.testing.assert_array_equal(tile.ravel(), filters[i])


class TestJudging:
    ROW = Row("a", "4", "a row", 50.0, spread=(40.0, 60.0), claim="high", holds=lambda f: f["a"].error > 45)

    def judge(self, *errors: float, **settings: Any) -> Judged:
        measured = [Measurement(error, None, 10_000, **settings) for error in errors]
        return judge(self.ROW, "experiment", measured, {"a": over_seeds(statistics.fmean, measured)})

    def test_direction_and_size(self) -> None:
        judged = self.judge(55.0, 57.0)
        assert judged.holds
        assert judged.in_spread
        assert judged.difference == 6.0
        assert judged.mean.error == 56.0
        assert judged.deviation is not None
        assert judged.deviation.error == pytest.approx(np.sqrt(2))
        assert (judged.off_by(), judged.size()) == ("+6.00", "in spread")
        assert judged.figures() == "56.00 ± 1.41"
        low = self.judge(30.0)
        assert (low.holds, low.in_spread, low.off_by(), low.size()) == (False, False, "−20.00", "OFF")
        assert low.direction() == "FAILS"
        assert low.deviation is None

    def test_chance_widens_the_spread(self) -> None:
        assert self.judge(60.9).in_spread  # one standard deviation of 10,000 draws is .49
        assert not self.judge(61.1).in_spread

    def test_the_rounded_figure_is_named_where_it_is_the_one_in_the_spread(self) -> None:
        assert self.judge(80.0, rounded=Measurement(50.0, None, 10_000)).size() == "OFF, rounded in spread"

    def test_the_spread_is_told_with_what_chance_adds(self) -> None:
        assert self.judge(50.0).spread() == "40 to 60, ± 1"

    def test_a_seed_that_found_nothing_to_count(self) -> None:
        """It has no deviation with one other, and a claim is not judged on nothing."""
        nothing, something = Measurement(0.0, None, 0), Measurement(5.0, 50.0, 10)
        assert over_seeds(statistics.stdev, [nothing, something]) is None
        means = {"a": over_seeds(statistics.fmean, [nothing, something])}
        judged = judge(self.ROW, "experiment", [nothing, something], means)
        assert judged.figures() == "5.00 / 50.0"
        judged = judge(self.ROW, "experiment", [nothing], {"a": nothing})
        assert (judged.figures(), judged.direction()) == ("none to count", "not judged")

    def test_a_claim_about_rows_that_were_not_measured_is_left_open(self) -> None:
        measured = Measurement(1.0, None, 10)
        row = Row("a", "4", "", claim="c", holds=lambda f: f["b"].error > 1)
        judged = judge(row, "experiment", [measured], {"a": measured})
        assert judged.holds is None
        assert judged.direction() == "not judged"


ROWS_OF_CORE = {row.key for name in ("softmax", "logistic") for row in EXPERIMENTS[name].ROWS}
LOGISTIC = ("--rows", "logistic", "--epochs", "1", "--jobs", "1", "--quiet")


def content(directory: Path) -> Any:
    return json.loads((directory / "paper.json").read_text())


def without_times(directory: Path) -> Any:
    report = content(directory)
    del report["timing"], report["command"]
    return report


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of MNIST's digits, enough for every experiment to take a few steps."""
    folder = tmp_path_factory.mktemp("few")
    write_few_digits(folder, others=100)
    return folder


Run = Callable[..., None]


@pytest.fixture
def run_few(few_digits: Path) -> Run:
    """The paper command on a few digits: for what does not depend on the numbers."""
    return lambda *arguments: main(["paper", *arguments, "--data", str(few_digits)])


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs that are looked at for something else: drawing takes the longest."""
    monkeypatch.setattr("benchmarks.report.draw_all", lambda *_: [])


class TestPaperCommand:
    def run(self, *arguments: str) -> None:
        main(["paper", *arguments])

    def test_table_json_figures_and_report(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.run("--rows", "softmax", "logistic", "--epochs", "1", "--seeds", "2", "--out", str(tmp_path))
        printed = capsys.readouterr().out
        assert "99.9 / 79.3" in printed
        first, second, third = printed.splitlines()[:3]
        assert first.startswith(
            "2 experiments, 2 seeds: 32 models to train, 4 measurements to make. Ctrl-C is safe"
        )
        assert re.match(r"About [\d.]+ (s|min) with \d+ at the same time ", second)
        assert re.fullmatch(r"\d+ s: 0 of 32 models trained, 0 of 4 measurements made", third)
        assert re.search(r"\n\d+ s: 32 of 32 models trained, 4 of 4 measurements made\n", printed)
        assert "2,038 × 2" in printed
        report = content(tmp_path)
        assert report["complete"]
        rows = {row["key"]: row for row in report["rows"]}
        assert set(rows) == ROWS_OF_CORE
        assert 95 < rows["softmax.fgsm"]["measured"]["error"] <= 100
        assert rows["softmax.fgsm"]["claim_holds"] is True
        assert rows["logistic.clean"]["measured"]["error"] < 4
        assert rows["logistic.clean"]["deviation"]["error"] >= 0
        assert [m["examples"] for m in rows["softmax.fgsm"]["by_seed"]] == [10_000, 10_000]
        assert set(report["histories"]["softmax"]["1"]) >= {"training_cost", "clean_error", "pgd_error"}
        assert report["environment"]["numpy"] == np.__version__
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        for row in rows.values():
            assert markupsafe.escape(row["what"]) in page
        loads_nothing = page.replace('<a href="https://arxiv.org/abs/1412.6572">', "")
        for outside in ("http:", "https:", 'src="/', "<script", "@import"):
            assert outside not in loads_nothing
        for target in re.findall(r'href="#([^"]*)"', page):
            assert f'id="{target}"' in page
        held = [row["claim_holds"] for row in rows.values() if row["claim_holds"] is not None]
        inside = [row["in_spread"] for row in rows.values() if row["in_spread"] is not None]
        assert f"{sum(held)} of {len(held)} claims hold, " in page
        assert f", {sum(inside)} of {len(inside)} figures lie in their spread" in page
        assert report["environment"]["processor"] == processor()
        assert report["environment"]["commit"] == commit()
        assert page.count("data:image/png;base64,") == len(list((tmp_path / "figures").iterdir())) == 3
        shown = re.sub("<span>|</span>", "", page)
        assert "--rows softmax --scale quick --epochs 1 --seeds 2 --backend numpy" in shown

    @pytest.mark.usefixtures("no_figures")
    def test_a_seed_gives_the_same_numbers_again_in_any_number_of_processes(
        self, run_few: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, jobs in (("a", "1"), ("b", "2")):
            monkeypatch.setattr("benchmarks.paper.cpu_count", lambda jobs=jobs: int(jobs))  # a thread each
            run_few("--rows", "softmax", "--epochs", "1", "--quiet", "--seeds", "2",
                     "--jobs", jobs, "--out", str(tmp_path / name))  # fmt: skip
        assert without_times(tmp_path / "a")["rows"] == without_times(tmp_path / "b")["rows"]

    def test_every_experiment_measures_its_rows_and_draws_its_figures(
        self, few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmarks.training.WATCHED_BY_PGD", 10)  # in this process: --jobs 1
        few_photos = dict(list(photos().items())[:2])
        monkeypatch.setattr("benchmarks.experiments.photo_renamed.photos", lambda: few_photos)
        monkeypatch.setattr("benchmarks.experiments.rubbish_classified.DRAWS", 500)
        command = ["--data", str(few_digits), "--rows", "all", "--epochs", "1", "--jobs", "1"]
        command += ["--quiet", "--out"]
        self.run(*command, str(tmp_path / "quick"))
        report = content(tmp_path / "quick")
        assert report["complete"]
        left_out = ("wide", "cifar")
        expected = {
            row.key for name, module in EXPERIMENTS.items() if name not in left_out for row in module.ROWS
        }
        assert {row["key"] for row in report["rows"]} == expected
        assert {path.stem for path in (tmp_path / "quick" / "figures").iterdir()} == set(FIGURES)
        assert "CIFAR-10" in (tmp_path / "quick" / "report.html").read_text(encoding="utf-8")
        reasons = {row["what"]: row["why"] for row in report["not_run"]}
        assert {row.what for name in left_out for row in EXPERIMENTS[name].ROWS} == reasons.keys()
        assert "--scale paper" in reasons[EXPERIMENTS["wide"].ROWS[0].what]
        assert "needs the data: --cifar DIR" in reasons[EXPERIMENTS["cifar"].ROWS[0].what]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--epochs", "0"], "--epochs must be at least 1, got 0"),
            (["--seeds", "0"], "--seeds must be at least 1"),
            (["--jobs", "0"], "--jobs must be at least 1"),
            (["--data", "nowhere"], "must be a directory, got nowhere"),
            (["--rows", "softmax", "--cifar", "nowhere"], "must be a directory, got nowhere (--cifar)"),
            (["--backend", "torch"], "invalid choice: 'torch'"),
            (["--rows", "imagenet"], "invalid choice: 'imagenet'"),
            (["--scale", "huge"], "invalid choice: 'huge'"),
            (["--rows", "wide"], "--rows wide needs --scale paper, got quick"),
            (["--resume"], "--resume needs a run to go on from"),
        ],
    )
    def test_bad_options_end_in_one_clear_error(
        self, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            self.run("--out", str(tmp_path), *arguments)
        assert end.value.code == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.usefixtures("no_figures")
    def test_what_was_finished_is_shown_and_kept_after_an_interruption(
        self,
        run_few: Run,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupted(task: Any) -> Any:
            raise KeyboardInterrupt

        command = ["--rows", "logistic", "softmax", "--epochs", "1", "--jobs", "1", "--out", str(tmp_path)]
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(EXPERIMENTS["softmax"], "run", interrupted)
            run_few(*command)
        assert end.value.code == 130
        printed = capsys.readouterr().out
        assert "NOT COMPLETE" in printed
        assert "The same command goes on from here: python -m benchmarks paper --rows logistic" in printed
        assert not content(tmp_path)["complete"]
        assert {row["key"].split(".")[0] for row in content(tmp_path)["rows"]} == {"logistic"}

        # The same command does only what is missing.
        monkeypatch.setattr(Training, "epoch", None)
        monkeypatch.setattr(EXPERIMENTS["logistic"], "run", None)
        run_few(*command)
        assert content(tmp_path)["complete"]
        assert {row["key"] for row in content(tmp_path)["rows"]} == ROWS_OF_CORE

    @pytest.mark.usefixtures("no_figures")
    def test_more_rows_and_seeds_join_what_is_there(
        self, run_few: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_few(*LOGISTIC, "--out", str(tmp_path))
        before = content(tmp_path)["rows"]
        monkeypatch.setattr(EXPERIMENTS["logistic"], "run", None)
        run_few("--rows", "logistic", "softmax", "--epochs", "1", "--jobs", "1", "--out", str(tmp_path))
        after = {row["key"]: row for row in content(tmp_path)["rows"]}
        assert [after[row["key"]] for row in before] == before
        assert "softmax.fgsm" in after

    @pytest.mark.usefixtures("no_figures")
    def test_a_run_with_other_settings_is_not_overwritten(
        self, run_few: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_few(*LOGISTIC, "--out", str(tmp_path))
        kept = (tmp_path / "paper.json").read_bytes()
        others = [*LOGISTIC[:2], "--epochs", "2", *LOGISTIC[4:]]
        with pytest.raises(SystemExit):
            run_few(*others, "--out", str(tmp_path))
        assert "was begun with epochs 1, and this command has 2" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            run_few("--rows", "logistic", "--out", str(tmp_path))
        assert "was begun with epochs 1, and this command has none" in capsys.readouterr().err
        assert (tmp_path / "paper.json").read_bytes() == kept
        run_few(*others, "--no-resume", "--out", str(tmp_path))
        assert content(tmp_path)["settings"]["epochs"] == 2

    @pytest.mark.parametrize(
        "name", ["models/mine.py", "figures/mine.png", "report.html", "paper.json", "settings.json"]
    )
    def test_what_is_not_of_a_run_is_never_deleted(
        self, name: str, run_few: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        mine = tmp_path / name
        mine.parent.mkdir(exist_ok=True)
        mine.write_text('{"precious": 1}')
        for more in ([], ["--no-resume"]):
            with pytest.raises(SystemExit):
                run_few(*LOGISTIC, "--out", str(tmp_path), *more)
            assert "--out must be another directory" in capsys.readouterr().err
        assert mine.read_text() == '{"precious": 1}'

    @pytest.mark.usefixtures("no_figures")
    def test_a_run_begun_anew_deletes_its_own_files_alone(self, run_few: Run, tmp_path: Path) -> None:
        run_few(*LOGISTIC, "--out", str(tmp_path))
        names = "mine.npz", "logistic-2014.txt", ".a.0123456789abcdef"
        mine = [tmp_path / "models" / name for name in names]
        for path in mine:
            path.write_text("precious")
        old = (tmp_path / "models" / "logistic-0.npz").stat().st_mtime_ns
        run_few(*LOGISTIC, "--no-resume", "--out", str(tmp_path))
        assert (tmp_path / "models" / "logistic-0.npz").stat().st_mtime_ns > old
        assert all(path.read_text() == "precious" for path in mine)

    @pytest.mark.usefixtures("no_figures")
    def test_other_code_is_another_run(
        self, run_few: Run, tmp_path: Path, capsys: Any, monkeypatch: Any
    ) -> None:
        run_few(*LOGISTIC, "--out", str(tmp_path))
        monkeypatch.setattr("benchmarks.paper.source_fingerprint", lambda: "other")
        with pytest.raises(SystemExit):
            run_few(*LOGISTIC, "--out", str(tmp_path))
        assert "was begun with source " in (said := capsys.readouterr().err)
        assert "this command has other (the code was changed since" in said

    @pytest.mark.usefixtures("no_figures")
    def test_a_run_keeps_its_number_of_threads(self, run_few: Run, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setattr("benchmarks.paper.cpu_count", lambda: 3)
        run_few(*LOGISTIC, "--out", str(tmp_path))
        assert content(tmp_path)["settings"]["threads"] == 3
        monkeypatch.setattr("benchmarks.paper.cpu_count", lambda: 1)
        run_few(*LOGISTIC, "--out", str(tmp_path))
        assert content(tmp_path)["settings"]["threads"] == 3

    @pytest.mark.usefixtures("no_figures")
    @pytest.mark.parametrize(
        ("damaged", "message"),
        [
            ("settings.json", "settings.json must be JSON"),
            ("measured/logistic-0.json", "logistic-0.json must be JSON"),
        ],
    )
    def test_damaged_files_are_named(
        self,
        run_few: Run,
        damaged: str,
        message: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run_few(*LOGISTIC, "--out", str(tmp_path))
        path = tmp_path / damaged
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(SystemExit):
            run_few(*LOGISTIC, "--out", str(tmp_path))
        assert message in capsys.readouterr().err

    def test_no_directory_is_made_for_a_run_that_cannot_start(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            self.run("--data", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
        assert list(tmp_path.iterdir()) == []

    def test_a_training_set_that_is_too_small(
        self, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            self.run("--data", str(directory), "--jobs", "1", "--out", str(tmp_path / "out"))
        assert end.value.code == 2
        assert (
            "the training set (--data) must have 1100 digits or more for softmax regression, got 60"
            in capsys.readouterr().err
        )

    def test_an_unwritable_output_directory(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(SystemExit) as end:
            self.run("--out", str(tmp_path / "file" / "results"))
        assert end.value.code == 2
        assert "--out must be a writable directory" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="a process asks for another's life by a POSIX signal")
def test_workers_end_with_the_process_that_they_work_for(tmp_path: Path) -> None:
    """Killed, it leaves nobody to work off the queue."""
    arguments = ["paper", "--rows", "logistic", "--epochs", "5000", "--jobs", "2", "--out", str(tmp_path)]
    run = subprocess.Popen([sys.executable, "-m", "benchmarks", *arguments], stdout=subprocess.PIPE)
    models = tmp_path / "models"
    while not (models.is_dir() and len(list(models.glob("*.npz"))) == 2):
        assert run.poll() is None
    run.kill()
    run.wait()
    # Its workers hold the other end of the pipe: it closes when the last of them is gone.
    assert run.stdout is not None
    with run.stdout as pipe:
        pipe.read()
    done = {path.name: epochs_done(path) for path in models.glob("*.npz")}
    assert len(done) == 2
    assert not any(finished for _, finished in done.values())
