"""Say whether the answer to an exercise of the tour is right, and what is wrong with it if it is not:

    python -m docs.check 4 mine.py

mine.py defines a function of the name that the exercise asks for (`python -m docs.check --help` lists them).
It is run on many inputs, beside the right answer, and beside the mistakes that are often made. It must leave
what it is given as it is, as a rule must.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg


@dataclass(frozen=True)
class Exercise:
    """What is asked, inputs to try, the right answer, and mistakes, each with a sentence that names it.

    close  what counts as equal: the relative and the absolute tolerance
    also   what else must hold of a right answer: "" or what is wrong with it
    """

    name: str
    asks: str
    inputs: Callable[[np.random.Generator], Iterator[tuple[Any, ...]]]
    right: Callable[..., Any]
    mistakes: dict[str, Callable[..., Any]]
    close: tuple[float, float] = (1e-6, 1e-9)
    also: Callable[[Callable[..., Any]], str] = lambda answer: ""


# ---- chapter 1


@dataclass(frozen=True)
class Cubic:
    """The function a + b x + c x² + d x³."""

    a: float
    b: float
    c: float
    d: float

    def __call__(self, x: float) -> float:
        return float(self.a + self.b * x + self.c * x**2 + self.d * x**3)


def cubics(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Of which central differences are exact, but for rounding."""
    for _ in range(4):
        a, b, c, d = random.normal(size=4)

        yield Cubic(a, b, c, d), float(random.normal()), float(random.uniform(0.05, 0.2))


# ---- chapters 2 and 3


def computations(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Results of some of four leaves, and of numbers."""
    for length in (1, 2, 3, 5, 8, 12):
        for _ in range(3):
            values = [mg.Tensor(value, requires_grad=True) for value in (0.5, 0.5, 1.0, 1.5)]
            for _ in range(length):
                a, b = (values[random.integers(len(values))] for _ in range(2))
                kinds = (a * b, a + b, mg.tanh(a), 2.0 * a, a + 1.0)
                values.append(kinds[random.integers(len(kinds))])
            yield (values[-1],)


def members(J: Any) -> list[Any]:
    """J and the Tensors that it was computed from, each once for each way there."""
    return [J, *(m for t in J.arguments if isinstance(t, mg.Tensor) for m in members(t))]


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
        t = max(waiting, key=lambda result: result.age)
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


def sure_logits(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for margin in (0.0, 5.0, 21.0, 80.0):
        z = random.normal(size=5).astype(np.float32)
        label = int(random.integers(5))
        z[label] += np.float32(margin)
        yield z, label
    yield np.float32([200.0, 199.0, 0.0]), 1
    yield np.float32([1000.0, 0.0, 990.0]), 0


def exact_slope(z: Any, label: int) -> Any:
    e = np.exp(np.float64(z) - z.max())
    p = e / e.sum()
    p[label] = -np.delete(p, label).sum()
    return p


def unshifted(z: Any, label: int) -> Any:
    e = np.exp(z)
    return e / e.sum() - one_hot(label, len(z)).astype(np.float32)


def pictures(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for shape, epsilon, step in (((1,), 0.1, 0.07), ((40,), 0.2, 0.14), ((3, 20), 0.1, 0.15)):
        start = random.random(shape)
        x = np.clip(start + random.uniform(-epsilon, epsilon, shape), 0.0, 1.0)
        gradient = random.normal(size=shape)
        gradient[..., -1] = 0.0
        yield x, start, gradient, epsilon, step


def moved(x: Any, gradient: Any, step: float) -> Any:
    return x + step * np.sign(gradient)


def curved(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for factor in (0.5, 1.0, 2.0):
        yield (lambda t, factor=factor: mg.exp(factor * t) + t * t - 2.0 * t), float(random.normal())
    yield (lambda t: mg.cos(t) + 0.1 * t), 0.3  # where it bends downwards


def derivatives(f: Any, t: float) -> tuple[float, float, float]:
    leaf = mg.Tensor(t, requires_grad=True)
    value = f(leaf)
    (first,) = mg.grad(value, leaf, create_graph=True)
    return value.item(), first.item(), mg.grad(first, leaf)[0].item()


def newton(f: Any, t: float) -> float:
    _, first, second = derivatives(f, t)
    return t - first / second


def some_shares(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for count, shape in ((1, (3,)), (2, (2, 2)), (6, (4,))):
        yield ([random.normal(size=shape) for _ in range(count)],)


def one_new_array(answer: Callable[..., Any]) -> str:
    """Whether `total` holds no more than one array beside the shares, and none of theirs."""
    alone = np.ones(3)
    shares = [np.ones(10_000) for _ in range(5)]  # so few that NumPy does not reuse their memory by itself
    tracemalloc.start()
    try:
        answer(shares)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    most = peak / shares[0].nbytes
    if most > 1.5:
        return f"it holds {most:.0f} new arrays at once, where one is enough: add in place"
    if np.shares_memory(answer(shares), answer(shares)):
        return "two calls return the same memory: the second writes over the first one's sum"
    if np.shares_memory(answer([alone]), alone):
        return "of a list of one it returns that share's memory: who adds to it next would write there"
    return ""


def tapes(random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Lines that write to one name and read others; some names are written to several times."""
    for length in (1, 3, 6, 10, 15):
        for _ in range(4):
            written, tape = ["x", "w"], []
            for i in range(length):
                writes = f"t{i}" if random.random() < 0.7 else str(random.choice(written))
                tape.append((writes, [str(name) for name in random.choice(written[-5:], 2)]))
                written = list(dict.fromkeys([*written, writes]))
            yield tape, [tape[int(random.integers(length // 2, length))][0]]


def needed(
    tape: Any, kept: Any, backwards: bool = True, follows: bool = True, whole: bool = False
) -> list[int]:
    """The places of the lines whose results are read. By `whole` a write is of all that is there."""
    live, places = set(kept), []
    for place in range(len(tape))[:: -1 if backwards else 1]:
        writes, reads = tape[place]
        if writes in live:
            live = (live - {writes} if whole else live) | (set(reads) if follows else set())
            places.append(place)
    return sorted(places)


def read_by_anybody(tape: Any, kept: Any) -> list[int]:
    names = {*kept, *(name for _, reads in tape for name in reads)}
    return [place for place, (writes, _) in enumerate(tape) if writes in names]


EXERCISES = {
    1: Exercise(
        "curvature(f, x, h)", "the second derivative of f, a function of one number, from its values alone",
        cubics, lambda f, x, h: (f(x + h) - 2.0 * f(x) + f(x - h)) / h**2,
        {"divided by h, where h² is meant": lambda f, x, h: (f(x + h) - 2.0 * f(x) + f(x - h)) / h,
         "divided by 2h: that is for the first derivative": (
             lambda f, x, h: (f(x + h) - 2.0 * f(x) + f(x - h)) / (2.0 * h)),
         "divided by (2h)²: the two slopes are h apart, and each is over h": (
             lambda f, x, h: (f(x + h) - 2.0 * f(x) + f(x - h)) / (2.0 * h) ** 2),
         "the first derivative": lambda f, x, h: (f(x + h) - f(x - h)) / (2.0 * h),
         "f(x) once, where it is needed twice": lambda f, x, h: (f(x + h) - f(x) + f(x - h)) / h**2,
         "all of it on one side of x, so it is that at x + h": (
             lambda f, x, h: (f(x + 2.0 * h) - 2.0 * f(x + h) + f(x)) / h**2)},
    ),
    2: Exercise(
        "leaves(J)", "the number of different leaves that J was computed from", computations,
        lambda J: len({t for t in members(J) if t.made_by is None}),
        {"a leaf is counted once for each use": lambda J: sum(t.made_by is None for t in members(J)),
         "results are counted too": lambda J: len(set(members(J))),
         "J's own arguments alone: go on to theirs": (
             lambda J: len({t for t in J.arguments if isinstance(t, mg.Tensor) and t.made_by is None})),
         "results, where leaves are meant": (
             lambda J: len({t for t in members(J) if t.made_by is not None}))},
    ),
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
         "w itself, where its sign is meant": lambda w, epsilon: epsilon * w,
         "of length ε in the Euclidean norm": lambda w, epsilon: epsilon * w / np.linalg.norm(w),
         "the wrong sign": lambda w, epsilon: -epsilon * np.sign(w),
         "ε is missing": lambda w, epsilon: np.sign(w)},
    ),
    9: Exercise(
        "cost_slope(z, label)", "∂J/∂z of J = −ln softmax(z)[label] for float32 logits z of shape "
        "(classes,), with its digits", sure_logits, exact_slope,
        {"softmax(z) − [label] rounds to 0 where the network is sure": (
             lambda z, label: softmax(z) - one_hot(label, len(z)).astype(np.float32)),
         "softmax(z) − [label] in float64 rounds to 0 too, a little later": (
             lambda z, label: softmax(np.float64(z)) - one_hot(label, len(z))),
         "exp of large logits overflows: subtract the greatest first": unshifted,
         "the wrong sign": lambda z, label: -exact_slope(z, label),
         "the label is missing": lambda z, label: softmax(z)},
        close=(1e-4, 1e-40),
    ),
    10: Exercise(
        "pgd_step(x, start, gradient, epsilon, step)", "one step along the sign, back to within ε of start "
        "and to within [0, 1]", pictures,
        lambda x, start, gradient, epsilon, step: np.clip(
            np.clip(moved(x, gradient, step), start - epsilon, start + epsilon), 0.0, 1.0),
        {"not brought back to within ε of start": (
             lambda x, start, gradient, epsilon, step: np.clip(moved(x, gradient, step), 0.0, 1.0)),
         "not brought back to within [0, 1]": (
             lambda x, start, gradient, epsilon, step: np.clip(
                 moved(x, gradient, step), start - epsilon, start + epsilon)),
         "within ε of x, where start is meant: many steps could go any way": (
             lambda x, start, gradient, epsilon, step: np.clip(
                 np.clip(moved(x, gradient, step), x - epsilon, x + epsilon), 0.0, 1.0)),
         "against the gradient": (
             lambda x, start, gradient, epsilon, step: np.clip(
                 np.clip(moved(x, gradient, -step), start - epsilon, start + epsilon), 0.0, 1.0)),
         "a step of ε, where `step` is meant": (
             lambda x, start, gradient, epsilon, step: np.clip(
                 np.clip(moved(x, gradient, epsilon), start - epsilon, start + epsilon), 0.0, 1.0)),
         "along the gradient itself, where its sign is meant": (
             lambda x, start, gradient, epsilon, step: np.clip(
                 np.clip(x + step * gradient, start - epsilon, start + epsilon), 0.0, 1.0))},
    ),
    11: Exercise(
        "softsign_rule(g, y, x)", "the share of x in y = x / (1 + |x|)", softsign_points,
        lambda g, y, x: g / (1 + np.abs(x)) ** 2,
        {"|x| is missing: it is right for x > 0 alone": lambda g, y, x: g / (1 + x) ** 2,
         "the square is missing": lambda g, y, x: g / (1 + np.abs(x)),
         "g is missing: it is right where g is 1 alone": lambda g, y, x: 1 / (1 + np.abs(x)) ** 2},
    ),
    12: Exercise(
        "newton_step(f, t)", "one step of Newton's method towards a minimum of f, a function of one number",
        curved, newton,
        {"f / f′: that looks for a zero of f": (
             lambda f, t: t - derivatives(f, t)[0] / derivatives(f, t)[1]),
         "the wrong sign": lambda f, t: 2.0 * t - newton(f, t),
         "not divided by the second derivative": lambda f, t: t - derivatives(f, t)[1],
         "the step alone: subtract it from t": lambda f, t: t - newton(f, t)},
    ),
    13: Exercise(
        "total(shares)", "the sum of a list of arrays, with one new array and no share written to",
        some_shares,
        lambda shares: np.sum(shares, axis=0),
        {"the first share is missing": lambda shares: np.sum(shares, axis=0) - shares[0],
         "the last share alone": lambda shares: shares[-1] + 0.0,
         "the sum over everything": lambda shares: float(np.sum(shares))},
        also=one_new_array,
    ),
    14: Exercise(
        "needed(tape, kept)", "the places of the lines of a tape that must be replayed: a line is the name "
        "that it writes to and a list of those that it reads, and `kept` has what is read in the end",
        tapes, needed,
        {"what a needed line reads is needed too, and so on": (
             lambda tape, kept: needed(tape, kept, follows=False)),
         "from the first line to the last, one does not know yet who reads: begin at the last": (
             lambda tape, kept: needed(tape, kept, backwards=False)),
         "the last line that writes to a name alone: it may write to a part, the rest is older": (
             lambda tape, kept: needed(tape, kept, whole=True)),
         "all lines that somebody reads: that one may itself be dead": read_by_anybody,
         "in the order in which they were found: a replay goes from the first to the last": (
             lambda tape, kept: needed(tape, kept)[::-1]),
         "the lines that may be left out, where those that must stay are meant": (
             lambda tape, kept: sorted({*range(len(tape))} - {*needed(tape, kept)}))},
    ),
}  # fmt: skip


def as_numbers(found: Any) -> Any:
    """An answer as an array: numbers, an array, a Tensor, or what `mg.grad` returns for one. None if it is
    nothing of it."""
    if isinstance(found, tuple) and len(found) == 1:
        (found,) = found
    if found is None or isinstance(found, np.ma.MaskedArray):
        return None
    try:
        array = np.asarray(found.numpy() if isinstance(found, mg.Tensor) else found)
    except Exception:  # whatever an object does that is no array
        return None
    return array.astype(np.float64) if array.dtype.kind in "fiub" else None


def equal(found: Any, expected: Any, close: tuple[float, float]) -> bool:
    """Whether an answer is the expected array or number, to rounding, and of its shape."""
    relative, absolute = close
    return (
        found is not None
        and found.shape == np.shape(expected)
        and bool(np.allclose(found, expected, rtol=relative, atol=absolute, equal_nan=True))
    )


def verdict(exercise: Exercise, answer: Callable[..., Any]) -> str:
    """ "" if the answer is right, or what is wrong with it."""

    def inputs() -> list[tuple[Any, ...]]:  # new ones, for an answer may write into them or use a graph up
        return list(exercise.inputs(np.random.default_rng(0)))

    def all_equal(found: list[Any], other: Callable[..., Any]) -> bool:
        return all(equal(f, other(*given), exercise.close) for f, given in zip(found, inputs(), strict=True))

    names = exercise.name.partition("(")[2].rstrip(")").split(", ")
    with np.errstate(all="ignore"):
        returned, found, changed = [], [], set()
        for given, untouched in zip(inputs(), inputs(), strict=True):
            try:
                returned.append(answer(*given))
            except (Exception, SystemExit) as error:
                return f"{exercise.name} raises {type(error).__name__}: {error}"
            found.append(as_numbers(returned[-1]))
            pairs = zip(names, given, untouched, strict=True)
            changed |= {name for name, now, before in pairs if not _same(now, before)}
        expected = [exercise.right(*given) for given in inputs()]
        wrong = [i for i, e in enumerate(expected) if not equal(found[i], e, exercise.close)]
        if changed and not wrong:
            return (
                f"{exercise.name} returns the right numbers, but writes into {', '.join(sorted(changed))}, "
                f"which others still need: work on a copy"
            )
        if not wrong:
            try:
                also = exercise.also(answer)
            except (Exception, SystemExit) as error:
                return f"{exercise.name} raises {type(error).__name__} for other inputs: {error}"
            return also and f"{exercise.name} returns the right numbers, but {also}"
        for what, mistake in exercise.mistakes.items():
            if all_equal(found, mistake):
                return f"{exercise.name} is wrong. It is just what comes of this mistake: {what}"
    i = wrong[0]
    if found[i] is None:
        return f"{exercise.name} is wrong: it returns {returned[i]!r}, expected {expected[i]!r}"
    if found[i].shape != np.shape(expected[i]):
        shapes = f"it returns the shape {found[i].shape}, expected {np.shape(expected[i])}"
        return f"{exercise.name} is wrong: {shapes}"
    given = "\n".join(f"  {name} = {_shown(value)}" for name, value in zip(names, inputs()[i], strict=True))
    return (
        f"{exercise.name} is wrong for {len(wrong)} of {len(expected)} inputs. The first:\n{given}\n"
        f"  returned {found[i]}\n  expected {expected[i]}"
    )


def _shown(value: Any) -> str:
    """An input, as it is printed: of a result, the program that made it."""
    if isinstance(value, mg.Tensor) and value.made_by is not None:
        return "the result of\n    " + mg.graph(value).text().replace("\n", "\n    ")
    return str(value)


def _same(now: Any, before: Any) -> bool:
    """Whether an input is as it was: its numbers, if it has any."""
    if isinstance(now, list):
        return len(now) == len(before) and all(map(_same, now, before))
    return not isinstance(now, np.ndarray) or bool(np.array_equal(now, before))


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
    if not os.path.isfile(options.file):
        parser.error(f"FILE must be a file, got {options.file}")
    try:
        answer = runpy.run_path(options.file).get(name)
    except (Exception, SystemExit) as error:
        print(f"{options.file} does not run: {type(error).__name__}: {error}")
        return 1
    said = f"{options.file} must define {exercise.name}" if answer is None else verdict(exercise, answer)
    print(said or f"{exercise.name} is right")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
