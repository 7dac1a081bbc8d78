"""The checker of the tour's exercises: it takes right answers, and names the mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.check import EXERCISES, main, verdict


@pytest.mark.parametrize("number", EXERCISES)
def test_the_right_answer_is_right(number: int) -> None:
    assert verdict(EXERCISES[number], EXERCISES[number].right) == ""


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
