"""The training loop: epoch by epoch, each from its own random numbers, each followed by a checkpoint,
so that a training killed at any moment goes on from its last epoch and ends with the same bits."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.examples import Examples
from benchmarks.recipe import Recipe, Stage, Together
from benchmarks.task import BATCH, batches, measure, measure_fgsm, measure_pgd
from minigrad import backend
from minigrad.checkpoint import load_some
from minigrad.checks import check_result
from minigrad.errors import DataError, NonFiniteError
from minigrad.generators import mask_generator, random_generator
from minigrad.modules import check_state
from minigrad.steps import CaptureWarning

WATCHED_BY_FGSM = 1000
WATCHED_BY_PGD = 250
ORDER = 60_000  # keeps an epoch's random numbers apart from those of the initial weights

History = dict[str, list[float]]  # a figure an epoch


@dataclass(frozen=True)
class Origin:
    """What a file is made with, such as {"epochs": 3, "source": …}: the file carries it.

    sources  other states of the code whose files the run goes on from
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[str] = ()

    def check(self, path: Path, found: Mapping[str, Any]) -> None:
        """DataError, which names what differs, unless a file with these facts is one of the run's own."""
        for name, fact in self.facts.items():
            other = found.get(name)
            if other != fact and not (name == "source" and other in self.sources):
                raise DataError(
                    f"{path} must be made with {name} {fact!r}, got {other!r}: it is of another run; "
                    "delete it to make it anew"
                )


class Training:
    """A model and all that its training has to remember between two epochs.

    epochs  of every stage, instead of the recipe's own; at the paper scale at most so many
    """

    def __init__(self, recipe: Recipe, scale: str, seed: int, train: Examples, epochs: int | None) -> None:
        self.recipe = recipe
        self.scale = scale
        self.stages = recipe.stages[scale]
        self.seed = recipe.seed(seed)
        self.examples = recipe.pick(train)
        self.most_epochs = epochs
        self.history: History = {}
        self.target_cost = float("inf")
        self.generator = random_generator(0)  # an epoch starts it anew
        self.model = self._new_model()
        self._begin(0, epochs=0)

    def _new_model(self) -> Any:
        return self.recipe.build(self.scale, self.seed, self.examples)

    def _begin(self, number: int, epochs: int) -> None:
        """Prepare stage `number`, their count if all are done; `epochs` if it does not say its own."""
        self.number, self.done = number, 0
        self.best_epoch, self.best_score = 0, float("inf")
        self.best: dict[str, np.ndarray] = {}
        self._step: Any = None
        if self.finished:
            return
        stage = self.stage
        kept = len(self.examples) - stage.held_out
        self.updates = kept // BATCH
        self.training_examples = self.examples[:kept]
        self.watched_examples = self.examples[-stage.watched :]
        self.epochs = epochs if stage.epochs is None else stage.epochs
        if self.most_epochs is not None:
            quick = self.scale == "quick"
            self.epochs = self.most_epochs if quick else min(self.epochs, self.most_epochs)
        if stage.new_model:
            self.model = self._new_model()
        self.optimiser = stage.optimiser(self.model.parameters(), self.updates, self.epochs)

    @property
    def stage(self) -> Stage:
        return self.stages[self.number]

    @property
    def finished(self) -> bool:
        return self.number == len(self.stages)

    def go_on(self, path: Path, origin: Origin = Origin(), seconds: float = float("inf")) -> None:
        """Train on from the checkpoint at `path` if there is one, leaving one there after every epoch: to the
        end, or to that of the epoch in which so many seconds are over.

        DataError if the file is no checkpoint of this recipe, or of another origin.
        """
        self.resume(path, origin)
        began = time.monotonic()
        while not self.finished:
            self.epoch()
            self.save(path, origin)
            if time.monotonic() - began >= seconds:
                break

    # ---- an epoch

    def epoch(self) -> None:
        """Go once over the training examples in shuffled batches, measure, and end the stage if due.

        NonFiniteError, with epoch and update, if the training diverges.
        """
        x, y = self.training_examples.x, self.training_examples.y
        # Whatever the epoch draws, the order, masks, noise, follows from its number alone.
        seed = np.random.SeedSequence((self.seed, ORDER, self.number, self.done))
        start_as(self.generator, random_generator(seed))
        if hasattr(self.model, "mask_generator"):
            start_as(self.model.mask_generator, mask_generator(seed.spawn(1)[0]))
        order = self.generator.permutation(len(y))[: self.updates * BATCH].reshape(self.updates, BATCH)
        order = backend.of(x).asarray(order)
        costs = backend.of(x).xp.empty(self.updates, np.float64)  # on the device until the epoch ends
        self.model.train()
        self._step = self._step or self._captured(x[order[0]], y[order[0]])
        for step in range(self.updates):
            chosen = order[step]
            try:
                costs[step] = self._step(x[chosen], y[chosen]).data
            except NonFiniteError as error:
                raise self._diverged(step, str(error)) from error
        self.model.eval()
        costs = backend.to_numpy(costs)
        if bad := np.flatnonzero(~np.isfinite(costs)).tolist():
            raise self._diverged(bad[0], f"the cost is {costs[bad[0]]}")
        try:
            watched = self._watch()
        except NonFiniteError as error:
            raise self._diverged(self.updates - 1, str(error)) from error
        self.done += 1
        record = {"stage": self.number + 1, "training_cost": float(costs.mean()), **watched}
        for name, value in record.items():
            self.history.setdefault(name, []).append(float(value))
        self._judge(record)

    def seconds_an_epoch(self, steps: int = 4) -> float:
        """About how long an epoch takes, from a few updates and a look at the errors. Nothing is taken back:
        this Training is to be forgotten then."""
        x, y = self.training_examples.x[:BATCH], self.training_examples.y[:BATCH]
        step = self._captured(x, y)
        step(x, y)
        began = time.perf_counter()
        for _ in range(steps):
            J = step(x, y)
        J.item()  # waits for a GPU
        updating = self.updates * (time.perf_counter() - began) / steps
        began = time.perf_counter()
        self.model.eval()
        self._watch()
        return updating + time.perf_counter() - began

    def _update(self, x: Any, y: Any) -> mg.Tensor:
        self.optimiser.zero_grad()
        J = self.recipe.cost(self.model, x, y, self.generator)
        J.backward()
        self.optimiser.step()
        return J

    def _captured(self, x: Any, y: Any) -> Any:
        """The update, recorded and replayed if that can be: its bits are the same either way. On a GPU, where
        that was never measured, as it is."""
        if backend.of(x) is not backend.NUMPY:
            return self._update
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CaptureWarning)
            own = self.optimiser
            optimisers = own.optimisers if isinstance(own, Together) else [own]
            return mg.capture(self._update, x, y, of=[self.model, *optimisers, self.generator])

    def _diverged(self, step: int, how: str) -> NonFiniteError:
        return NonFiniteError(
            f"the training of {self.recipe.what} diverged in stage {self.number + 1}, epoch {self.done + 1}, "
            f"update {step + 1} of {self.updates}: {how}; lower its learning rate"
        )

    def _watch(self) -> dict[str, float]:
        """Error in percent on the last examples: clean, under FGSM, and under ten steps of PGD."""
        examples, epsilon = self.watched_examples, self.recipe.epsilon
        many = len(examples) if self.stage.score == "fgsm_error" else WATCHED_BY_FGSM
        return {
            "clean_error": measure(self.model, examples.x, examples.y).error,
            "fgsm_error": measure_fgsm(self.model, examples[:many], variants=False, epsilon=epsilon).error,
            "pgd_error": measure_pgd(
                self.model, examples[:WATCHED_BY_PGD], clip_too=False, epsilon=epsilon
            ).error,
        }

    def _judge(self, record: dict[str, float]) -> None:
        stage = self.stage
        if stage.score is not None and record[stage.score] < self.best_score:
            self.best_score, self.best_epoch = record[stage.score], self.done
            self.best = self.model.state_dict()
        waited = self.done - self.best_epoch
        impatient = stage.score is not None and stage.patience is not None and waited >= stage.patience
        reached = stage.until_cost and mean_cost(self.model, self.watched_examples) <= self.target_cost
        if self.done >= self.epochs or impatient or reached:
            if stage.score is not None:
                self.model.load_state_dict(self.best)
                self.target_cost = mean_cost(self.model, self.training_examples)
            self._begin(self.number + 1, self.best_epoch)

    # ---- checkpoints

    def save(self, path: Path, origin: Origin = Origin()) -> None:
        """Write all of it to `path`, in one atomic step; of a finished training the model alone.

        NonFiniteError, and nothing is written, if a weight is NaN or infinite.
        """
        state: dict[str, Any] = {f"model.{name}": p for name, p in self.model.state_dict().items()}
        state |= {f"history.{name}": np.array(values) for name, values in self.history.items()}
        state["progress"] = np.array(
            [self.number, self.done, self.best_epoch, self.best_score, self.target_cost], np.float64
        )
        if not self.finished:
            state["epochs"] = np.array(self.epochs)
            state |= {f"optimiser.{name}": v for name, v in self.optimiser.state_dict().items()}
            state |= {f"best.{name}": p for name, p in self.best.items()}
        for name, array in state.items():
            if name != "progress":  # where infinity says that there is no score yet
                check_result(
                    f"{name} of {self.recipe.what}, after {len(self.history['stage'])} epochs,", array
                )
        mg.save(path, {**state, "origin": np.array(json.dumps(origin.facts))})

    def resume(self, path: Path, origin: Origin = Origin()) -> None:
        """Go on from what `save` wrote; does nothing if there is no file. DataError if the file is no
        checkpoint of this recipe, or of another origin."""
        if not path.exists():
            return
        state = _loaded(path, lambda name: True)
        origin.check(path, _facts(state))
        try:
            self._go_on_from(state)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(
                f"{path} must hold a checkpoint of {self.recipe.what}: {why}; delete it to train anew"
            ) from error

    def _go_on_from(self, state: dict[str, np.ndarray]) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {n[len(prefix) :]: a for n, a in state.items() if n.startswith(prefix)}

        *counts, best_score, target_cost = state["progress"].tolist()
        if len(counts) != 3 or not all(float(n).is_integer() for n in counts) or not best_score >= 0:
            raise ValueError(f"progress is {state['progress']}")
        number, done, best_epoch = map(int, counts)
        if not 0 <= number <= len(self.stages) or (number < len(self.stages)) != ("epochs" in state):
            raise ValueError(f"it is in stage {number + 1} of {len(self.stages)}")
        if not 0 <= best_epoch <= done or int(state.get("epochs", 1)) < 1:
            raise ValueError(f"its best epoch is {best_epoch} of {done} that are done")
        history = part("history.")
        if not _is_history(history) or np.count_nonzero(history["stage"] == number + 1) != done:
            raise ValueError(f"its history is not that of {done} epochs in stage {number + 1}")
        for name, array in state.items():
            if name not in ("progress", "origin"):
                check_result(name, array)
        self.target_cost = target_cost
        self._begin(number, epochs=int(state.get("epochs", 0)))
        self.done, self.best_epoch, self.best_score = done, best_epoch, best_score
        self.best = part("best.")
        if self.best:
            check_state(self.best, self.model.state_dict())
        self.history = {name: values.tolist() for name, values in history.items()}
        self.model.load_state_dict(part("model."))
        if not self.finished:
            self.optimiser.load_state_dict(part("optimiser."))


def start_as(generator: np.random.Generator, other: np.random.Generator) -> None:
    """Have a generator draw what another will, from here on."""
    generator.bit_generator.state = other.bit_generator.state


def _loaded(path: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    try:
        return load_some(path, wanted)
    except DataError as error:
        raise DataError(f"{error}; delete it to train anew") from error


def origin_of(path: Path) -> dict[str, Any]:
    """What a checkpoint says that it was made with; reads no more of it."""
    return _facts(_loaded(path, lambda name: name == "origin"))


def _facts(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the file that held this state says that it was made with."""
    try:
        return dict(json.loads(str(state.get("origin"))))
    except (TypeError, ValueError, RecursionError):
        return {}


def epochs_done(path: Path) -> tuple[int, bool]:
    """How many epochs a checkpoint has behind it, and whether it is finished; reads no more of it."""
    try:
        stages = load_some(path, lambda name: name in ("history.stage", "epochs"))
        return len(stages["history.stage"]), "epochs" not in stages
    except (OSError, KeyError, TypeError, DataError):  # none, or none that is whole
        return 0, False


def history(path: Path, origin: Origin = Origin()) -> History:
    """The history in a checkpoint; reads no more of it. DataError if there is none, or of another origin."""
    state = _loaded(path, lambda name: name.startswith("history.") or name == "origin")
    origin.check(path, _facts(state))
    found = {name.removeprefix("history."): v for name, v in state.items() if name != "origin"}
    if not _is_history(found):
        raise DataError(f"{path} must hold the history of a training; delete it to train anew")
    return {name: values.tolist() for name, values in found.items()}


def _is_history(found: Mapping[str, np.ndarray]) -> bool:
    """Whether these are finite figures, one an epoch."""
    shapes = {values.shape for values in found.values()}
    figures = all(v.ndim == 1 and v.dtype.kind in "fiu" and np.isfinite(v).all() for v in found.values())
    return {"stage", "training_cost"} <= found.keys() and figures and len(shapes) == 1 and (0,) not in shapes


def mean_cost(model: Any, examples: Examples) -> float:
    """J over the examples, without dropout."""
    total = 0.0
    with model.evaluating(), mg.no_grad():
        for part in batches(examples):
            total += model.cost(part.x, part.y, reduction="sum").item()
    return total / len(examples)
