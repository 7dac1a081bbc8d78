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
        t = max(waiting, key=lambda result: result.age)
        waiting.remove(t)
        for position, argument in enumerate(t.arguments):
            part = t.made_by.vjps[position](sums[t], t.data, *t.arrays)
            sums[argument] = sums.get(argument, 0.0) + part
            if argument.made_by is not None:
                waiting.add(argument)
    return float(sums.get(x, 0.0))


def by_projection(x: Any, start: Any, gradient: Any, epsilon: float, step: float) -> Any:
    there = x + step * np.sign(gradient)
    return np.minimum(np.maximum(there, np.maximum(start - epsilon, 0.0)), np.minimum(start + epsilon, 1.0))


def in_place(shares: Any) -> Any:
    total = shares[0].copy()
    for part in shares[1:]:
        total += part
    return total


def by_readers(tape: Any, kept: Any) -> list[int]:
    """Each line asks those after it, in place of a walk from the end."""

    def is_needed(place: int) -> bool:
        writes = tape[place][0]
        return writes in kept or any(
            writes in tape[later][1] and is_needed(later) for later in range(place + 1, len(tape))
        )

    return [place for place in range(len(tape)) if is_needed(place)]


# Answers that are made in another way than the checker's own.
ANSWERS: dict[int, Any] = {
    1: lambda f, x, h: ((f(x + h) - f(x)) / h - (f(x) - f(x - h)) / h) / h,
    2: lambda J: sum(node.kind == "leaf" for node in mg.graph(J).nodes),
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
    9: lambda z, label: share(lambda z: mg.softmax_cross_entropy(z[None], np.array([label]), "sum"), z, 1.0),
    10: by_projection,
    11: lambda g, y, x: share(lambda x: x / (1.0 + abs(x)), x, g),
    12: lambda f, t: t - mg.grad(f(leaf := mg.Tensor(t, True)), leaf)[0].item() / mg.hessian(f)(t).item(),
    13: in_place,
    14: by_readers,
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
    assert "\n  g = " in said
    assert "expected" in said
    assert "returns the shape (), expected (1,)" in verdict(EXERCISES[5], lambda g: 7.0)
    assert "raises ZeroDivisionError" in verdict(EXERCISES[5], lambda g: 1 / 0)
    assert "it returns None, expected array(" in verdict(EXERCISES[5], lambda g: None)


def test_an_answer_may_be_what_the_engine_returns() -> None:
    assert verdict(EXERCISES[3], mg.grad) == ""  # it uses the graph up


def test_what_is_given_is_left_as_it_is() -> None:
    def writes(p: Any, label: int, W: Any) -> Any:
        p[label] -= 1.0
        return W @ p

    assert "the right numbers, but writes into p, which" in verdict(EXERCISES[7], writes)

    def adds(shares: Any) -> Any:
        for part in shares[1:]:
            shares[0] += part
        return shares[0]

    assert "the right numbers, but writes into shares, which" in verdict(EXERCISES[13], adds)


def test_what_else_a_sum_must_hold_to() -> None:
    def anew(shares: Any) -> Any:
        total = np.zeros_like(shares[0])
        for part in shares:
            total = total + part
        return total

    assert "it holds 2 new arrays at once" in verdict(EXERCISES[13], anew)
    assert "it holds 6 new arrays" in verdict(EXERCISES[13], lambda shares: np.stack(shares).sum(0))

    def hands_on(shares: Any) -> Any:
        return shares[0] if len(shares) == 1 else in_place(shares)

    assert "of a list of one it returns that share's memory" in verdict(EXERCISES[13], hands_on)
    memory: dict[Any, Any] = {}

    def same_memory(shares: Any) -> Any:
        kept = memory.setdefault(shares[0].shape, np.empty_like(shares[0]))
        kept[...] = 0.0
        for part in shares:
            kept += part
        return kept

    assert "two calls return the same memory" in verdict(EXERCISES[13], same_memory)


def unshifted_in_float64(z: Any, label: int) -> Any:
    e = np.exp(np.float64(z))
    return e / e.sum() - np.eye(len(z))[label]


def with_an_epsilon_of_its_own(x: Any, start: Any, gradient: Any, epsilon: float, step: float) -> Any:
    return np.clip(np.clip(x + step * np.sign(gradient), start - 0.1, start + 0.1), 0.0, 1.0)


@pytest.mark.parametrize(
    ("number", "answer", "said"),
    [
        (4, lambda g, p: exit(0), "raises SystemExit: 0"),
        (4, lambda g, p: p * (g - np.sum(g * p)) + 5j, "it returns array"),
        (5, lambda g: np.ma.masked_all(g.shape[1:]), "it returns masked_array"),
        (2, lambda J: [J], "it returns [Tensor"),
        (9, unshifted_in_float64, "is wrong"),
        (10, with_an_epsilon_of_its_own, "is wrong"),
        (12, lambda f, t: t - mg.jacobian(f)(t).item() / abs(mg.hessian(f)(t).item()), "is wrong"),
    ],
)  # fmt: skip
def test_answers_that_look_right(number: int, answer: Any, said: str) -> None:
    with np.errstate(all="ignore"):
        assert said in verdict(EXERCISES[number], answer)


def test_every_chapter_has_an_exercise() -> None:
    chapters = Path(__file__).parent.parent.glob("docs/tour/[0-9]*.md")
    for number, text in ((int(c.name.partition("-")[0]), c.read_text(encoding="utf-8")) for c in chapters):
        assert f"python -m docs.check {number} mine.py" in text
        assert EXERCISES[number].name.partition("(")[0] in text


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
