"""How long a run will take, and how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
    """What a run has to do. Its measure is the recipes' effort: an epoch of plain maxout is 1."""

    workspace: Workspace
    trainings: Sequence[Piece]
    measurements: Sequence[Piece]

    def epochs(self, name: str) -> int:
        """The most that a model's training can have."""
        settings = self.workspace.settings
        return RECIPES[name].epochs(settings.scale, settings.epochs)

    def epochs_done(self) -> dict[Piece, tuple[int, bool]]:
        """How many epochs each model has behind it, and whether it is finished."""
        return {piece: self.workspace.epochs_done(*piece) for piece in self.trainings}

    def trained(self, done: dict[Piece, tuple[int, bool]]) -> float:
        """The effort behind these epochs; a finished training counts whole, even if it ended early."""
        return sum(
            RECIPES[name].effort * (self.epochs(name) if end else min(count, self.epochs(name)))
            for (name, _), (count, end) in done.items()
        )

    def effort(self, name: str) -> float:
        """That of a model's training."""
        return RECIPES[name].effort * self.epochs(name)

    def measuring(self, name: str) -> float:
        """The effort of a measurement: reckoned as an epoch of each of its models, or of one."""
        return sum(RECIPES[model].effort for model in EXPERIMENTS[name].USES) or 1.0

    def seconds(self, at_once: int) -> float | None:
        """About how long all of it takes, `at_once` pieces at the same time, from a few timed updates of the
        model with the longest epochs. None if there is none to time: CIFAR-10 takes minutes to prepare."""
        timed = max(
            (name for name, _ in self.trainings if DATA[name] == "digits"),
            key=lambda name: RECIPES[name].effort, default=None,
        )  # fmt: skip
        if timed is None:
            return None
        measuring = [self.measuring(name) for name, _ in self.measurements]
        whole = [self.effort(name) for name, _ in self.trainings]
        left = sum(whole) - self.trained(self.epochs_done())
        # No training is shared out, so the longest is the least that all take.
        effort = max(left / at_once, min(left, max(whole)))
        effort += max(sum(measuring) / at_once, max(measuring, default=0.0))
        return effort * self.workspace.seconds_an_epoch(timed) / RECIPES[timed].effort

    def may_end_early(self) -> bool:
        """Whether a training may end before its last epoch."""
        scale = self.workspace.settings.scale
        stages = [stage for name, _ in self.trainings for stage in RECIPES[name].stages[scale]]
        return any(stage.patience or stage.until_cost or stage.epochs is None for stage in stages)

    def announced(self) -> str:
        """A sentence on what there is to do."""
        rows = len({name for name, _ in self.measurements})
        seeds = len({seed for _, seed in (*self.trainings, *self.measurements)})
        counts = ((rows, "experiment"), (seeds, "seed"), (len(self.trainings), "model"))
        words = "{}, {}: {} to train".format(*(f"{n} {what}{'s' * (n != 1)}" for n, what in counts))
        return f"{words}. Ctrl-C is safe: the same command goes on."

    def estimated(self, at_once: int) -> str:
        """A sentence on how long it takes here; nothing if that cannot be told."""
        if not (seconds := self.seconds(at_once)):
            return ""
        about = "At most about" if self.may_end_early() else "About"
        return (
            f"{about} {in_words(seconds + START)} with {at_once} at the same time on a machine like this, by "
            "a few updates that were timed."
        )


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
    if not quiet and work.trainings:
        console.print(work.announced(), soft_wrap=True)
        console.print(work.estimated(at_once), soft_wrap=True)
    total = sum(work.effort(name) for name, _ in work.trainings)
    total += sum(work.measuring(name) for name, _ in work.measurements)
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        task = bar.add_task("epochs", total=total)
        measured: list[Piece] = []
        said = ""

        def look() -> None:
            nonlocal said
            done = work.epochs_done()
            words = f"{sum(end for _, end in done.values())} of {len(done)} models trained, "
            words += f"{len(measured)} of {len(work.measurements)} experiments measured"
            completed = work.trained(done) + sum(work.measuring(name) for name, _ in measured)
            bar.update(task, completed=completed, description=words)
            if off and words != said:
                console.print(f"{time.monotonic() - began:.0f} s: {words}", soft_wrap=True)
            said = words

        def watch() -> None:
            while not stopped.wait(1.0):
                look()

        watcher = threading.Thread(target=watch, daemon=True)
        quiet = quiet or not (work.trainings or work.measurements)
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
