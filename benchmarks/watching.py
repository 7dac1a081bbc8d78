"""How long a run will take, and how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from benchmarks.experiments import DATA, EXPERIMENTS, RECIPES
from benchmarks.workspace import Piece, Workspace

START = 10.0  # seconds for processes to start, and for the figures
UNITS = ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class Work:
    """What a command has to do, or has done before. Its measure is the recipes' effort: an epoch of plain
    maxout is 1."""

    workspace: Workspace
    trainings: Sequence[Piece]
    measurements: Sequence[Piece]

    def measured(self) -> list[Piece]:
        """The measurements that are there."""
        return [piece for piece in self.measurements if self.workspace.found(*piece) is not None]

    def epochs(self, name: str) -> int:
        """The most that a model's training can have."""
        settings = self.workspace.settings
        return RECIPES[name].epochs(settings.scale, settings.epochs)

    def epochs_done(self) -> dict[Piece, tuple[int, bool]]:
        """How many epochs each model has behind it, and whether it is finished."""
        return {piece: self.workspace.epochs_done(*piece) for piece in self.trainings}

    def trained(self, done: dict[Piece, tuple[int, bool]]) -> float:
        """The effort behind these epochs; a finished training counts whole, even if it ended early."""
        return sum(self.effort(piece[0]) - self.left(piece, done) for piece in done)

    def left(self, piece: Piece, done: dict[Piece, tuple[int, bool]]) -> float:
        """The effort of the rest of a training."""
        (name, _), (count, end) = piece, done[piece]
        return 0.0 if end else RECIPES[name].effort * max(self.epochs(name) - count, 0)

    def effort(self, name: str) -> float:
        """That of a model's training."""
        return RECIPES[name].effort * self.epochs(name)

    def measuring(self, name: str) -> float:
        """The effort of a measurement: reckoned as an epoch of each of its models, or of one."""
        return sum(RECIPES[model].effort for model in EXPERIMENTS[name].USES) or 1.0

    def total(self) -> float:
        """The effort of all of it."""
        return sum(map(self.effort, _names(self.trainings))) + sum(
            map(self.measuring, _names(self.measurements))
        )

    def completed(self, done: dict[Piece, tuple[int, bool]], measured: Sequence[Piece]) -> float:
        """That of what is done."""
        return self.trained(done) + sum(map(self.measuring, _names(measured)))

    def seconds(self, at_once: int) -> float | None:
        """About how long all of it takes, `at_once` pieces at the same time, from a few timed updates of the
        model with the longest epochs. None if there is none to time: CIFAR-10 takes minutes to prepare."""
        done, measured = self.epochs_done(), self.measured()
        digits = [name for name, seed in self.trainings if DATA[name] == "digits" and not done[name, seed][1]]
        timed = max(digits, key=lambda name: RECIPES[name].effort, default=None)
        if timed is None:
            return None
        training = [self.left(piece, done) for piece in self.trainings]
        measuring = [self.measuring(name) for name, seed in self.measurements if (name, seed) not in measured]
        # No piece is shared out, so the longest is the least that all take.
        effort = sum(
            max(sum(efforts) / at_once, max(efforts, default=0.0)) for efforts in (training, measuring)
        )
        return effort * self.workspace.seconds_an_epoch(timed) / RECIPES[timed].effort

    def may_end_early(self) -> bool:
        """Whether a training may end before its last epoch."""
        scale = self.workspace.settings.scale
        done = self.epochs_done()
        names = [piece[0] for piece in self.trainings if not done[piece][1]]
        stages = [stage for name in names for stage in RECIPES[name].stages[scale]]
        return any(stage.patience or stage.until_cost or stage.epochs is None for stage in stages)

    def announced(self) -> str:
        """A sentence on what there is to do."""
        trained, measured = sum(end for _, end in self.epochs_done().values()), len(self.measured())
        models, measurements = len(self.trainings), len(self.measurements)
        if (trained, measured) == (models, measurements):
            return "All of it is there from before."
        rows = len(set(_names(self.measurements)))
        seeds = len({seed for _, seed in (*self.trainings, *self.measurements)})
        what_for = f"{_counted(rows, 'experiment')}, {_counted(seeds, 'seed')}"
        to_train = f"{_counted(models - trained, 'model')} to train{_there(trained)}"
        to_make = f"{_counted(measurements - measured, 'measurement')} to make{_there(measured)}"
        return f"{what_for}: {to_train}, {to_make}. Ctrl-C is safe: the same command goes on."

    def state(self) -> str:
        """How far it is."""
        return self.stated(self.epochs_done(), self.measured())

    def stated(self, done: dict[Piece, tuple[int, bool]], measured: Sequence[Piece]) -> str:
        """How far it is with this done."""
        trained = f"{sum(end for _, end in done.values())} of {len(done)} models trained"
        return f"{trained}, {len(measured)} of {len(self.measurements)} measurements made"

    def estimated(self, at_once: int) -> str:
        """A sentence on how long it takes here; nothing if that cannot be told."""
        if not (seconds := self.seconds(at_once)):
            return ""
        about = "At most about" if self.may_end_early() else "About"
        return (
            f"{about} {in_words(seconds + START)} with {at_once} at the same time on a machine like this, by "
            "a few updates that were timed."
        )


def _names(pieces: Iterable[Piece]) -> list[str]:
    return [name for name, _ in pieces]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _there(number: int) -> str:
    return f" ({number} {'is' if number == 1 else 'are'} there)" if number else ""


def in_words(seconds: float) -> str:
    """Two digits of it, in the unit that suits."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= 2 * size), UNITS[-1])
    amount = seconds / size
    return f"{amount:.0f} {unit}" if amount >= 10 or unit == "s" else f"{amount:.1f} {unit}"


@contextmanager
def watching(console: Console, quiet: bool, work: Work, at_once: int) -> Iterator[Callable[[Piece], None]]:
    """What is to do and how long that takes, then one bar over all of it; off a terminal a line for each
    model and measurement; nothing if quiet. Yields what to call with each measurement that is done. Epochs
    are read from the checkpoints, for other processes or machines may train them."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    began, stopped = time.monotonic(), threading.Event()
    off = quiet or not console.is_terminal
    measured = work.measured()
    nothing_left = len(measured) == len(work.measurements) and all(
        end for _, end in work.epochs_done().values()
    )
    if not quiet:
        console.print(work.announced(), soft_wrap=True)
        if estimated := work.estimated(at_once):
            console.print(estimated, soft_wrap=True)
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        task = bar.add_task("", total=work.total(), completed=work.completed(work.epochs_done(), measured))
        said = ""

        def look() -> None:
            nonlocal said
            done = work.epochs_done()
            words = work.stated(done, measured)
            bar.update(task, completed=work.completed(done, measured), description=words)
            if off and words != said:
                console.print(f"{time.monotonic() - began:.0f} s: {words}", soft_wrap=True)
            said = words

        def watch() -> None:
            while not stopped.wait(1.0):
                look()

        watcher = threading.Thread(target=watch, daemon=True)
        quiet = quiet or nothing_left
        if not quiet:
            look()
            watcher.start()
        try:
            yield measured.append
        finally:
            stopped.set()
            if not quiet:
                watcher.join()
                look()
