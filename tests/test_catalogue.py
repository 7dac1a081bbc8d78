"""The catalogue of gradients says what it says: its right ones are right and its wrong ones wrong.

The reference is central differences, one element after the other, in the 80-bit floats where the function
knows them; no checker of ours or of others takes part.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.checkers import catalogue
from tests.checkers.catalogue import RIGHT, WRONG, Entry

OPERATIONS = """
add subtract multiply divide negative power exp expm1 log log1p sqrt tanh sigmoid softplus where sign abs
absolute relu maximum minimum clip copy astype sum mean max min logsumexp softmax log_softmax broadcast_to
matmul linear reshape transpose getitem concatenate stack maxout dropout softmax_cross_entropy logistic_cost
"""
KINDS = {
    "sign",
    "factor",
    "axis",
    "missing transpose",
    "un-broadcasting",
    "off by one tap",
    "wrong branch at a kink",
    "stale value",
    "wrong dtype",
    "NaN at 0",
    "one element of many",
    "precision",
    "large or small only",
    "one of several inputs",
    "wrong cotangent",
    "overwrites its input",
    "mean for sum",
    "missing term",
    "detached part",
}

# The flaws that show at once, without a look at the numbers. Where the fault is of such a kind, they must.
PLAIN = {
    "wrong dtype": {"dtype"},
    "un-broadcasting": {"shape"},
    "NaN at 0": {"not finite"},
    "overwrites its input": {"writes"},
}


def gradients(vjp: Any, g: Any, inputs: Any) -> tuple[Any, ...]:
    out = vjp(g, *inputs)
    return out if isinstance(out, tuple) else (out,)


def cotangent(output: Any, seed: int = 0) -> Any:
    g = np.random.default_rng(seed).uniform(0.5, 1.5, np.shape(output))
    g *= np.random.default_rng(seed + 1).choice([-1, 1], np.shape(output))
    return g.astype(output.dtype if isinstance(output, np.ndarray | np.generic) else float)


def moved(function: Any, inputs: Any, which: int, index: int, step: Any) -> Any:
    """The output where one element is moved, in the step's float type."""
    inputs = [np.array(x, type(step), order="C") for x in inputs]
    inputs[which].reshape(-1)[index] += step
    return np.asarray(function(*inputs)).astype(type(step))


def slope(f: Callable[[Any], Any], h: Any, g: Any) -> tuple[Any, Any]:
    """Of the sum of g f, by differences of sixth order, with its rounding."""
    total, size = 0, 0
    for step, factor in ((1, 45), (2, -9), (3, 1)):
        high, low = f(step * h), f(-step * h)
        total += factor * np.sum((high - low) * g)
        size = max(size, np.sum(np.abs(high * g)))
    return total / (60 * h), 4 * np.finfo(type(h)).eps * size / h


def reference(function: Any, inputs: Any, which: int, index: int, g: Any) -> tuple[Any, Any, Any]:
    """The derivative with its uncertainty, and the largest slope that it can have if it is flat there.

    Of two steps in sequence, those that agree best with each other, against the slope's size.
    """
    best, ratio, flat = (np.nan, np.inf), np.inf, np.inf
    x = np.ascontiguousarray(inputs[which]).reshape(-1)[index]
    for kind in (np.longdouble, np.float64):
        scales = list(dict.fromkeys([abs(kind(x)) or kind(1), kind(1)]))
        try:
            output, *others = (
                moved(function, inputs, which, index, kind(h)) for h in (0, 0.1 * scales[0], 1)
            )
        except TypeError:  # numpy.linalg knows no 80-bit floats
            continue
        weights = np.where(sum(output != other for other in others), g, 0).astype(kind)
        # Small steps first, and the large ones only where those fail.
        for scale, powers in [(scale, powers) for powers in (range(2, 15), range(-9, 3)) for scale in scales]:
            before = (np.nan, np.nan)
            for power in powers:
                h = scale * kind(10) ** -power
                h = (kind(x) + h) - kind(x) or h  # so that the steps are what they are called
                now = slope(partial(moved, function, inputs, which, index), h, weights)
                uncertainty = abs(now[0] - before[0]) + now[1] + before[1]
                if scale == scales[0] and power > 3:
                    flat = np.fmin(flat, abs(now[0]) + uncertainty)
                if uncertainty / abs(now[0]) < ratio:  # never so for NaN
                    best, ratio = (now[0], uncertainty), uncertainty / abs(now[0])
                if ratio <= 1e-9:
                    return *best, flat
                before = now
    return *best, flat


def judge(claimed: Any, exact: Any, uncertainty: Any, flat: Any) -> bool | None:
    """Whether the claimed derivative is right. None where the reference does not settle it."""
    info = np.finfo(claimed.dtype)
    size = max(abs(exact), abs(np.longdouble(claimed)))
    away = abs(exact - np.longdouble(claimed))
    if flat <= 1e-8 and claimed == 0:
        return True
    if not uncertainty <= 1e-4 * size:
        return False if flat <= 1e-8 else None
    tolerance = (1e-7 if info.bits == 64 else 3e-6) * size + 4 * info.smallest_subnormal
    if away <= tolerance + uncertainty:
        return True
    return False if away > tolerance + 10 * uncertainty else None


def flaws(entry: Entry, elements: int) -> set[str]:
    function, vjp = entry.fresh()
    inputs = entry.arrays()
    kept = [x.copy() for x in inputs]
    output = function(*inputs)
    found = set()
    if any(not np.array_equal(a, b) for a, b in zip(inputs, kept, strict=True)):
        found.add("writes")
    inputs = entry.arrays()
    g = cotangent(output)
    given = g.copy()
    claimed = tuple(np.array(d) for d in gradients(vjp, g, inputs))
    if any(not np.array_equal(a, b) for a, b in zip((*inputs, g), (*kept, given), strict=True)):
        found.add("writes")
    assert len(claimed) == len(inputs)
    for d, x in zip(claimed, kept, strict=True):
        if d.shape != x.shape:
            found.add("shape")
        if d.dtype != x.dtype:
            found.add("dtype")
        if not np.all(np.isfinite(d)):
            found.add("not finite")
    if found:
        return found
    other = cotangent(output, 7)
    for second in (given, other):  # again, and in a fresh pair with another g
        later = gradients(vjp, second.copy(), entry.arrays())
        anew = gradients(entry.fresh()[1], second.copy(), entry.arrays())
        if any(not np.allclose(a, b, rtol=1e-12, atol=0) for a, b in zip(later, anew, strict=True)):
            found.add("changes from call to call")
    for which, (d, x) in enumerate(zip(claimed, kept, strict=True)):
        order = np.random.default_rng(1).permutation(x.size) if x.size > 50 else np.arange(x.size)
        for index in order[:elements]:
            with np.errstate(all="ignore"):
                exact = reference(function, entry.arrays(), which, index, given)
                verdict = judge(d.reshape(-1)[index], *exact)
            assert verdict is not None, (which, index, exact)
            if not verdict:
                return found | {"value"}
    return found


def test_there_are_100_of_each() -> None:
    assert len(WRONG) == len(RIGHT) == 100
    for entries in (WRONG, RIGHT):
        assert len({entry.name for entry in entries}) == 100
    assert sum(entry.fault == "ordinary" for entry in RIGHT) == 50


def test_there_are_reports() -> None:
    reports = [entry.report for entry in WRONG if entry.report]
    assert len(reports) == len(set(reports)) == catalogue.WRONG_REPORTS
    assert len(reports) >= 30
    assert sum(bool(entry.report) for entry in RIGHT) == catalogue.RIGHT_REPORTS <= 30
    assert all(entry.report.startswith("https://") for entry in WRONG + RIGHT if entry.report)


def test_every_kind_of_mistake_comes_four_times() -> None:
    count = Counter(entry.fault for entry in WRONG)
    assert min(count.values()) >= 4
    assert set(count) == KINDS


def test_no_wrong_one_is_of_an_operation_of_ours() -> None:
    names = re.findall(r"\w+", OPERATIONS)
    assert len(names) > 40
    assert not {entry.function.__name__ for entry in WRONG} & set(names)


def test_the_inputs_are_float_arrays() -> None:
    for entry in WRONG + RIGHT:
        assert entry.inputs
        assert all(x.dtype in (np.float64, np.float32) for x in entry.inputs)


@pytest.mark.parametrize("entry", RIGHT, ids=lambda entry: entry.name)
def test_right(entry: Entry) -> None:
    assert not flaws(entry, 50)


@pytest.mark.parametrize("entry", WRONG, ids=lambda entry: entry.name)
def test_wrong(entry: Entry) -> None:
    found = flaws(entry, 1000)
    assert found
    assert PLAIN.get(entry.fault, set()) <= found
