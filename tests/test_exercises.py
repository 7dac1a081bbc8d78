"""The checker of the tour's exercises: it takes right answers, and names the mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from attacks.norms import INFINITY, steepest
from docs.check import EXERCISES, main, verdict


def share(function: Any, x: Any, g: Any) -> Any:
    """By the engine."""
    leaf = mg.Tensor(x, requires_grad=True)
    return mg.grad(function(leaf), leaf, gradient=g)[0].numpy()


def by_age(J: Any, x: Any) -> float:
    """The walk of chapter 3."""
    sums, waiting = {J: 1.0}, {J}
    while waiting:
        t = max(waiting, key=lambda waiting: waiting.age)
        waiting.remove(t)
        for position, argument in enumerate(t.arguments):
            part = t.made_by.vjps[position](sums[t], t.data, *t.arrays)
            sums[argument] = sums.get(argument, 0.0) + part
            if argument.made_by is not None:
                waiting.add(argument)
    return float(sums.get(x, 0.0))


# Answers that are made in another way than the checker's own.
ANSWERS: dict[int, Any] = {
    3: by_age,
    4: lambda g, p: share(mg.softmax, np.log(p), g),
    5: lambda g: share(
        lambda b: mg.linear(np.ones((len(g), 1)), np.zeros((1, g.shape[1])), b), np.zeros(g.shape[1]), g
    ),
    6: lambda g, y, x: share(lambda x: x**3, x, g),
    7: lambda p, label, W: (
        W @ share(lambda z: mg.softmax_cross_entropy(z, np.array([label]), "sum"), np.log(p)[None], 1.0)[0]
    ),
    8: lambda w, epsilon: epsilon * steepest(w[None], INFINITY)[0],
    11: lambda g, y, x: share(lambda x: x / (1.0 + abs(x)), x, g),
}


@pytest.mark.parametrize("number", EXERCISES)
def test_the_right_answer_is_right(number: int) -> None:
    assert verdict(EXERCISES[number], ANSWERS[number]) == ""


@pytest.mark.parametrize(
    ("number", "what"), [(number, what) for number, e in EXERCISES.items() for what in e.mistakes]
)
def test_a_mistake_is_named(number: int, what: str) -> None:
    exercise = EXERCISES[number]
    assert verdict(exercise, exercise.mistakes[what]).endswith(f"comes of this mistake: {what}")


def test_another_mistake_is_shown_with_its_input() -> None:
    said = verdict(EXERCISES[6], lambda g, y, x: g * 2.9 * x * x)
    assert "is wrong for 3 of 3 inputs" in said
    assert "expected" in said
    assert "returns the shape (), expected (1,)" in verdict(EXERCISES[5], lambda g: 7.0)
    assert "raises ZeroDivisionError" in verdict(EXERCISES[5], lambda g: 1 / 0)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("def bias_share(g):\n    return g.sum(axis=0)\n", 0, "bias_share(g) is right"),
        ("def bias_share(g):\n    return g\n", 1, "no un-broadcasting"),
        ("x = 1\n", 1, "must define bias_share(g)"),
        ("def bias_share(g) return g\n", 1, "does not run: SyntaxError"),
    ],
)
def test_by_command(
    text: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(text)
    assert main(["5", str(tmp_path / "mine.py")]) == code
    assert said in capsys.readouterr().out


def test_of_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["5", str(tmp_path / "none.py")])
    assert end.value.code == 2
    assert "none.py" in capsys.readouterr().err
