"""How long a run is said to take, and how far it is shown to be."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.experiments import EXPERIMENTS, RECIPES
from benchmarks.watching import START, Work, in_words, watching
from benchmarks.workspace import Piece, Settings

MODELS = sorted(RECIPES)
PIECES = st.lists(st.tuples(st.sampled_from(MODELS), st.integers(0, 2)), max_size=8, unique=True)
MEASURED = st.lists(
    st.tuples(st.sampled_from(sorted(EXPERIMENTS)), st.integers(0, 2)), max_size=8, unique=True
)


@dataclass
class Run:
    """A workspace in which an epoch of plain maxout takes 10 s."""

    settings: Settings = field(default_factory=lambda: Settings("quick", None, "numpy", "", 1, ""))
    done: dict[Piece, tuple[int, bool]] = field(default_factory=dict)
    measured: list[Piece] = field(default_factory=list)

    def found(self, *piece: Any) -> Piece | None:
        return piece if piece in self.measured else None

    def epochs_done(self, name: str, seed: int) -> tuple[int, bool]:
        return self.done.get((name, seed), (0, False))

    def seconds_an_epoch(self, name: str) -> float:
        self.timed = name
        return 10.0 * RECIPES[name].effort


def work(trainings: list[Piece], measurements: list[Piece], **run: Any) -> Work:
    return Work(Run(**run), trainings, measurements)  # type: ignore[arg-type]


def test_trainings_are_worked_on_at_the_same_time_and_none_is_shared_out() -> None:
    epochs = RECIPES["maxout"].epochs("quick", None)
    assert work([("maxout", 0)], []).seconds(1) == 10 * epochs
    assert work([("maxout", 0)], []).seconds(8) == 10 * epochs
    four = [("maxout", seed) for seed in range(4)]
    assert work(four, []).seconds(1) == 40 * epochs
    assert work(four, []).seconds(2) == 20 * epochs


def test_what_is_done_is_not_counted_again() -> None:
    epochs = RECIPES["maxout"].epochs("quick", None)
    two = [("maxout", 0), ("maxout", 1)]
    assert work(two, [], done={("maxout", 0): (3, False)}).seconds(1) == 10 * (2 * epochs - 3)
    nearly = [("maxout", seed) for seed in range(4)]
    assert work(nearly, [], done=dict.fromkeys(nearly, (epochs - 1, False))).seconds(4) == 10
    # One that went on for longer than was known beforehand is not below nothing.
    assert work(two[:1], [], done={("maxout", 0): (epochs + 5, False)}).seconds(1) == 0


def test_a_measurement_counts_as_an_epoch_of_each_of_its_models() -> None:
    assert set(EXPERIMENTS["maxout"].USES) == {"maxout"}
    with_one = work([("maxout", 0)], [("maxout", 0)]).seconds(1)
    assert with_one == 10 * (RECIPES["maxout"].epochs("quick", None) + 1)
    two = work([("maxout", 0)], [("maxout", 0), ("maxout", 1)])
    assert two.seconds(1) - with_one == 10
    assert two.seconds(2) == with_one
    said = work([("maxout", 0)], []).estimated(1)
    assert said.startswith(
        f"About {in_words(10 * RECIPES['maxout'].epochs('quick', None) + START)} with 1 at "
    )


def test_the_longest_updates_are_those_that_are_timed() -> None:
    both = work([("softmax", 0), ("maxout", 0)], [])
    both.seconds(1)
    assert both.workspace.timed == "maxout"  # type: ignore[attr-defined]


def test_the_bar_is_full_when_all_is_done() -> None:
    written = io.StringIO()
    console = Console(file=written, width=120, force_terminal=True)
    with watching(console, False, work([], [("photo", 0), ("maxout", 0)]), 1) as done:
        done(("photo", 0))
        done(("maxout", 0))
    shares = re.findall(r"(\d+)%", written.getvalue())
    assert (shares[0], shares[-1]) == ("0", "100")


def test_without_a_model_to_time_nothing_is_said_of_the_time() -> None:
    for pieces in ([], [("cifar", 0)]):
        assert work(pieces, [("photo", 0)]).estimated(2) == ""
    said = work(pieces, [("photo", 0)]).announced()
    assert said == (
        "1 experiment, 1 seed: 1 model to train, 1 measurement to make. "
        "Ctrl-C is safe: the same command goes on."
    )


def test_a_training_that_may_end_early_takes_so_long_at_most() -> None:
    paper = Settings("paper", None, "numpy", "", 1, "")
    pieces = [("maxout", seed) for seed in range(5)]
    said = work(pieces, [("maxout", seed) for seed in range(5)], settings=paper)
    assert said.announced().startswith("1 experiment, 5 seeds: 5 models to train, 5 measurements to make. ")
    assert said.estimated(2).startswith("At most about ")
    assert work(pieces, []).estimated(2).startswith("About ")
    done = {pieces[0]: (300, True)}
    assert (
        work([*pieces[:1], ("softmax", 0)], [], settings=paper, done=done).estimated(2).startswith("About ")
    )


@given(PIECES, MEASURED, st.integers(1, 9), st.data())
def test_the_bar_begins_at_what_is_done_and_ends_full(
    trainings: list[Piece], measurements: list[Piece], at_once: int, data: st.DataObject
) -> None:
    known = Settings("quick", 3, "numpy", "", 1, "")
    run = Run(known, {piece: (data.draw(st.integers(0, 5)), False) for piece in trainings})
    own = Work(run, trainings, measurements)  # type: ignore[arg-type]
    total = sum(own.effort(name) for name, _ in trainings)
    before = own.trained(own.epochs_done())
    assert 0 <= before <= total * (1 + 1e-12)
    seconds = own.seconds(at_once)
    assert seconds is None or seconds >= 0
    run.done = dict.fromkeys(trainings, (1, True))  # all ended, however early
    assert own.trained(own.epochs_done()) == pytest.approx(total)


def test_off_a_terminal_there_is_a_line_for_what_changed() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80)
    with watching(console, False, work([], [("photo", 0), ("photo", 1)]), 1) as done:
        done(("photo", 0))
        done(("photo", 1))
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("1 experiment, 2 seeds: 0 models to train, 2 measurements to make. ")
    assert lines[1].endswith(" s: 0 of 0 models trained, 0 of 2 measurements made")
    assert lines[-1].endswith(" s: 0 of 0 models trained, 2 of 2 measurements made")
    with watching(console, True, work([("maxout", 0)], []), 1):
        pass
    assert written.getvalue().splitlines() == lines  # quiet
    done_before = {"done": {("maxout", 0): (8, True)}, "measured": [("maxout", 0)]}
    with watching(console, False, work([("maxout", 0)], [("maxout", 0)], **done_before), 1):
        pass
    assert written.getvalue().splitlines() == [*lines, "All of it is there from before."]


def test_what_is_there_is_told_when_a_run_is_gone_on_with() -> None:
    two = [("maxout", 0), ("maxout", 1)]
    own = work(two, two, done={("maxout", 0): (8, True)}, measured=two[:1])
    said = "1 model to train (1 is there), 1 measurement to make (1 is there). "
    assert said in own.announced()
    assert own.state() == "1 of 2 models trained, 1 of 2 measurements made"
    rest = work(two[1:], two[1:])
    assert own.seconds(1) == rest.seconds(1)
    assert own.total() - own.completed(own.epochs_done(), own.measured()) == pytest.approx(rest.total())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (99, "99 s"), (119, "119 s"), (120, "2.0 min"), (600, "10 min"), (7199, "120 min"),
     (9000, "2.5 h"), (360_000, "4.2 days"), (8_640_000, "100 days")],
)  # fmt: skip
def test_a_time_has_the_unit_that_suits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
