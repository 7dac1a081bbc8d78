"""Say whether the answer to an exercise of the tour is right, and what is wrong with it if it is not:

    python -m docs.check 4 mine.py

mine.py defines a function of the name that the exercise asks for (`python -m docs.check --help` lists them).
It is run on many inputs, beside the right answer, and beside the mistakes that are often made.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg


@dataclass(frozen=True)
class Exercise:
    """What is asked, inputs to try, the right answer, and mistakes, each with a sentence that names it."""

    name: str
    asks: str
    inputs: Callable[[np.random.Generator], Iterator[tuple[Any, ...]]]
    right: Callable[..., Any]
    mistakes: dict[str, Callable[..., Any]]


# ---- chapter 3


def programs(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Random programs of sums and products of one leaf."""
    for length in (1, 2, 3, 5, 8, 12):
        for _ in range(3):
            values = [mg.Tensor(float(random.uniform(0.5, 1.5)), requires_grad=True)]
            for _ in range(length):
                a, b = (values[random.integers(max(len(values) - 3, 0), len(values))] for _ in range(2))
                values.append(a * b if random.random() < 0.5 else a + b)
            if values[-1].made_by is not None:
                yield values[-1], values[0]


def by_walk(J: Any, x: Any) -> Any:
    return mg.grad(J, x, retain_graph=True)[0].item()


def by_recursion(J: Any, x: Any) -> Any:
    sums: dict[Any, Any] = {}

    def recurse(t: Any, share: Any) -> None:
        sums[t] = sums.get(t, 0.0) + share
        if t.made_by is not None:
            for position, argument in enumerate(t.arguments):
                recurse(argument, t.made_by.vjps[position](sums[t], t.data, *t.arrays))

    recurse(J, 1.0)
    return float(sums.get(x, 0.0))


def by_last_use(J: Any, x: Any) -> Any:
    sums, waiting = {J: 1.0}, {J}
    while waiting:
        t = max(waiting, key=lambda waiting: waiting.age)
        waiting.remove(t)
        for position, argument in enumerate(t.arguments):
            sums[argument] = t.made_by.vjps[position](sums[t], t.data, *t.arrays)
            if argument.made_by is not None:
                waiting.add(argument)
    return float(sums.get(x, 0.0))


# ---- the others


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_inputs(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for n in (1, 2, 5, 9):
        yield random.normal(size=n), softmax(random.normal(size=n))


def tables(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for shape in ((1, 1), (4, 3), (7, 2)):
        yield (random.normal(size=shape),)


def points(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for shape in ((), (3,), (2, 4)):
        x = random.normal(size=shape)
        yield random.normal(size=shape), x**3, x


def softsign_points(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for g, _, x in points(random):
        yield g, x / (1 + np.abs(x)), x


def digits(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for features, classes in ((3, 2), (6, 4), (5, 10)):
        p = softmax(random.normal(size=classes))
        yield p, int(random.integers(classes)), random.normal(size=(features, classes))


def one_hot(label: int, classes: int) -> Any:
    return (np.arange(classes) == label).astype(float)


def weights(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for n in (1, 4, 20):
        yield random.normal(size=n), float(random.uniform(0.01, 1.0))


EXERCISES = {
    3: Exercise(
        "gradient(J, x)", "∂J/∂x as a number, by a walk of your own through J.made_by and J.arguments",
        programs, by_walk,
        {"a result hands on its whole sum at each use: visit it when all of its uses have been": by_recursion,
         "the last share alone is kept: shares add up": by_last_use},
    ),
    4: Exercise(
        "softmax_rule(g, p)", "the share of x in p = softmax(x)", softmax_inputs,
        lambda g, p: p * (g - np.sum(g * p)),
        {"the derivative of pᵢ in xᵢ alone: every pᵢ changes with every xⱼ": lambda g, p: g * p * (1 - p),
         "the factor p is missing": lambda g, p: g - np.sum(g * p),
         "the wrong sign": lambda g, p: -p * (g - np.sum(g * p)),
         "Σ g where Σ g p is meant": lambda g, p: p * (g - np.sum(g))},
    ),
    5: Exercise(
        "bias_share(g)", "the share of b in x W + b, for g of shape (examples, outputs)", tables,
        lambda g: g.sum(0),
        {"no un-broadcasting: b has the shape (outputs,)": lambda g: g,
         "the mean over the examples, where the sum is meant": lambda g: g.mean(0),
         "the sum along the wrong axis": lambda g: g.sum(1),
         "the sum over everything": lambda g: g.sum()},
    ),
    6: Exercise(
        "cube_rule(g, y, x)", "the share of x in y = x³", points, lambda g, y, x: g * 3 * x * x,
        {"the factor 3 is missing": lambda g, y, x: g * x * x,
         "g is missing: it is right where g is 1 alone": lambda g, y, x: 3 * x * x,
         "the wrong sign": lambda g, y, x: -3 * g * x * x,
         "y where x² is meant": lambda g, y, x: g * 3 * y},
    ),
    7: Exercise(
        "picture_gradient(p, label, W)", "the input gradient of a softmax regression for one picture: p are "
        "the probabilities, W is (features, classes)", digits,
        lambda p, label, W: W @ (p - one_hot(label, len(p))),
        {"the wrong sign: this lowers the cost": lambda p, label, W: W @ (one_hot(label, len(p)) - p),
         "the label is missing: ∂J/∂z is p − [label]": lambda p, label, W: W @ p,
         "the label's column alone": lambda p, label, W: -W[:, label]},
    ),
    8: Exercise(
        "worst_step(w, epsilon)", "the step of elements at most ε along which wᵀx grows most", weights,
        lambda w, epsilon: epsilon * np.sign(w),
        {"along w itself: others could be larger": lambda w, epsilon: epsilon * w / np.abs(w).max(),
         "of length ε in the Euclidean norm": lambda w, epsilon: epsilon * w / np.linalg.norm(w),
         "the wrong sign": lambda w, epsilon: -epsilon * np.sign(w),
         "ε is missing": lambda w, epsilon: np.sign(w)},
    ),
    11: Exercise(
        "softsign_rule(g, y, x)", "the share of x in y = x / (1 + |x|)", softsign_points,
        lambda g, y, x: g / (1 + np.abs(x)) ** 2,
        {"|x| is missing: it is right for x > 0 alone": lambda g, y, x: g / (1 + x) ** 2,
         "the square is missing": lambda g, y, x: g / (1 + np.abs(x)),
         "g is missing: it is right where g is 1 alone": lambda g, y, x: 1 / (1 + np.abs(x)) ** 2},
    ),
}  # fmt: skip


def equal(found: Any, expected: Any) -> bool:
    """Whether an answer is the expected array or number, to rounding, and of its shape."""
    try:
        found = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        return False
    return found.shape == np.shape(expected) and bool(np.allclose(found, expected, rtol=1e-6, atol=1e-9))


def verdict(exercise: Exercise, answer: Callable[..., Any]) -> str:
    """ "" if the answer is right, or what is wrong with it."""
    inputs = list(exercise.inputs(np.random.default_rng(0)))
    with np.errstate(all="ignore"):
        found = []
        for given in inputs:
            try:
                found.append(answer(*given))
            except Exception as error:
                return f"{exercise.name} raises {type(error).__name__}: {error}"
        wrong = [i for i, given in enumerate(inputs) if not equal(found[i], exercise.right(*given))]
        if not wrong:
            return ""
        for what, mistake in exercise.mistakes.items():
            if all(equal(found[i], mistake(*given)) for i, given in enumerate(inputs)):
                return f"{exercise.name} is wrong. It is just what comes of this mistake: {what}"
    i = wrong[0]
    expected = exercise.right(*inputs[i])
    shape = np.shape(found[i])
    if shape != np.shape(expected):
        return f"{exercise.name} is wrong: it returns the shape {shape}, expected {np.shape(expected)}"
    return (
        f"{exercise.name} is wrong for {len(wrong)} of {len(inputs)} inputs. The first:\n"
        f"  given     {', '.join(map(str, inputs[i]))}\n  returned  {found[i]}\n  expected  {expected}"
    )


def main(arguments: list[str] | None = None) -> int:
    known = "\n".join(f"  {number:>2}  {e.name}: {e.asks}" for number, e in EXERCISES.items())
    parser = argparse.ArgumentParser(
        prog="python -m docs.check", description=f"{__doc__}\nchapter, and the function to define:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("chapter", type=int, choices=EXERCISES, metavar="CHAPTER")
    parser.add_argument("file", metavar="FILE", help="a Python file with your answer")
    options = parser.parse_args(arguments)
    exercise = EXERCISES[options.chapter]
    name = exercise.name.partition("(")[0]
    try:
        answer = runpy.run_path(options.file).get(name)
    except OSError as error:
        parser.error(str(error))
    except Exception as error:
        print(f"{options.file} does not run: {type(error).__name__}: {error}")
        return 1
    said = f"{options.file} must define {exercise.name}" if answer is None else verdict(exercise, answer)
    print(said or f"{exercise.name} is right")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
