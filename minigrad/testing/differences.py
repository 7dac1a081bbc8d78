"""The slope of a function along a line, found by differences, with a bound on its own error.

φ(t) = ⟨c, f(x + t v)⟩ is sampled at t = ±h. The central difference

    (φ(h) − φ(−h)) / 2h

is off by two things. *Truncation* grows with h, as h² if φ is smooth. *Rounding* grows as 1/h, because
nearly equal numbers are subtracted. Which h is best depends on the function, so `slope` tries steps from a
quarter down to 10⁻¹⁴, measures the rounding where it dominates, and takes the step whose bound is least.

A large step may step over what the function does near x. So a step counts only if its interval (slope ±
bound) meets those of all smaller steps: they see less sharply, but nearer (Lepski, "On a Problem of
Adaptive Estimation in Gaussian White Noise", 1990, chooses a bandwidth so).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

STEP = 6e-6  # balances rounding and truncation of an ordinary function in float64
STEPS = [0.25 * 4.0**-k for k in range(22, -1, -1)]  # 1.4e-14 to 0.25, the nearest first
FEW_STEPS = STEPS[1::3]  # the largest among them
# A result is taken to be off by so many roundings; what cancels inside a function is measured instead.
ROUNDINGS = 8
EPSILON = float(np.finfo(np.float64).eps)
SUBNORMAL = float(np.finfo(np.float64).smallest_subnormal)
VISIBLE = 10  # a bend counts if it is so many times what rounding explains


@dataclass(frozen=True)
class Sample:
    """What is seen at t = ±h."""

    step: float
    slope: float  # (φ(h) − φ(−h)) / 2h
    bend: float  # φ(h) − 2 φ(0) + φ(−h)
    size: float  # of the numbers that are subtracted
    rounding: float  # what φ(h) may be off by, if no more than that is lost
    moved: int  # how many of the outputs changed at all


@dataclass(frozen=True)
class Slope:
    """A slope, and what it may be off by; `error` is infinite if nothing is known."""

    value: float
    error: float
    step: float


UNKNOWN = Slope(np.nan, np.inf, STEP)


@dataclass(frozen=True)
class Break:
    """A kink, with the slopes on its two sides; a jump; or an infinite slope, then from −∞ to ∞."""

    left: float
    right: float
    jump: bool

    @property
    def is_kink(self) -> bool:
        """Whether it has a slope on either side."""
        return math.isfinite(self.left)

    def allows(self, slope: float, error: float) -> bool:
        """Whether somebody might call this the slope here: at a kink what lies between the two sides'."""
        return min(self.left, self.right) - error <= slope <= max(self.left, self.right) + error


class Line:
    """φ near t = 0.

    at       t ↦ f(x + t v), flat
    middle   at(0)
    c        the cotangent of f
    epsilon  the spacing of floating-point numbers near 1, in the dtype in which f computes
    """

    def __init__(
        self, at: Callable[[float], np.ndarray], middle: np.ndarray, c: np.ndarray, epsilon: float
    ) -> None:
        self.at = at
        self.middle = middle
        self.c = c
        self.epsilon = epsilon
        self._samples: dict[float, Sample | None] = {}

    def quick(self, h: float) -> tuple[float, float]:
        """(the slope from one step, what rounding may have added to it); not finite if f is not."""
        right, left = self.at(h), self.at(-h)
        changes = self.c * (right - left)
        spacings = self.epsilon * norm(self.c * right) + EPSILON * norm(changes) / (2 * h)  # as in _sample
        return float(changes.sum()) / (2 * h), ROUNDINGS * (spacings + SUBNORMAL) / h

    def sample(self, h: float) -> Sample | None:
        """The function at ±h, evaluated once; None if it is not finite there."""
        if h not in self._samples:
            self._samples[h] = self._sample(h)
        return self._samples[h]

    def _sample(self, h: float) -> Sample | None:
        right, left, middle = self.at(h), self.at(-h), self.middle
        if not (np.isfinite(right).all() and np.isfinite(left).all()):
            return None
        # Outputs are subtracted one by one, before they are added: what does not change cancels exactly.
        rises, falls = right - middle, left - middle
        largest = np.maximum(np.abs(right), np.abs(left))
        slopes = self.c * (right - left) / (2 * h)
        size = norm(self.c * largest)
        # x + h v is rounded too, by a share of x: times the slope on its side, that is a share of φ.
        steepest = norm(self.c * np.maximum(np.abs(rises), np.abs(falls))) / h
        spacings = self.epsilon * size + EPSILON * steepest
        return Sample(
            step=h,
            slope=float(slopes.sum()),
            bend=float(self.c @ (rises + falls)),
            size=size,
            rounding=ROUNDINGS * (spacings + SUBNORMAL),
            moved=int(np.count_nonzero((rises != 0) | (falls != 0))),
        )

    def samples(self, steps: Sequence[float] = STEPS) -> list[Sample]:
        """All that are finite, the smallest step first."""
        return [sample for h in steps if (sample := self.sample(h)) is not None]

    def is_rough(self, steps: Sequence[float], size: float) -> bool:
        """Whether φ jumps beside 0 as it does at 0, where all of `steps` see a jump or peak of one size. Then
        that is a rounding inside of f, which need not show in its values: near 0 ln(eˣ + e⁻ˣ) − ln 2 moves in
        steps of 10⁻¹⁶. A jump of f's own is at 0 alone.
        """
        if not steps:
            return False
        grid = np.linspace(0.0, steps[len(steps) // 2], 34)[1:-1]  # so near that a smooth part is straight
        sides = [[self.c @ (self.at(sign * t) - self.middle) for t in grid] for sign in (-1.0, 1.0)]
        # One edge on each side, such as that of a guard, is in two differences of each.
        return int(np.count_nonzero(np.abs(np.diff(sides, 2)) > size / 4)) > 4


def slope(samples: list[Sample]) -> Slope:
    """The slope, and what it may be off by."""
    samples, stairs = without_stairs(samples)
    return sharpest(samples, max(stairs, measured_noise(samples)))


def other_slopes(samples: list[Sample]) -> list[Slope]:
    """What the slope is if the noise is another than `slope` takes it for.

    In x (1 − cos x) at 10⁻⁴ one factor moves in stairs and the other smoothly: small steps see a slope that
    looks exact and is that of one factor alone. In sin x at 10¹¹ it is the large steps that see nothing. The
    two cannot be told apart from outside.
    """
    found, stairs = without_stairs(samples)
    noise = max(stairs, measured_noise(found))
    least = min((sample.rounding for sample in found), default=0.0)
    return [
        sharpest(found, other)
        for other in (noise_beyond(found), *([] if stairs else [0.0]))
        if max(other, least) > 10 * noise or 10 * max(other, least) < noise
    ]


def sharpest(samples: list[Sample], noise: float) -> Slope:
    """The slope with the least bound on its error among those that no smaller step contradicts."""
    best = UNKNOWN
    low, high = -np.inf, np.inf
    for fine, coarse, coarser in zip(samples, samples[1:], [*samples[2:], None], strict=False):
        ratio = coarse.step / fine.step
        change = fine.slope - coarse.slope
        value, error = fine.slope, abs(change) / (ratio - 1)  # if the error goes as h
        if coarser is not None and is_quadratic(change, coarse.slope - coarser.slope, ratio):
            value, error = value + change / (ratio**2 - 1), abs(change) / (ratio**2 - 1)
        error += max(noise, fine.rounding, coarse.rounding) / fine.step
        low, high = max(low, value - error), min(high, value + error)
        if low > high:
            break
        if 3 * error < best.error:
            best = Slope(value, 3 * error, fine.step)  # it may just miss all the others
    return best


def is_quadratic(change: float, next_change: float, ratio: float) -> bool:
    """Whether the slope changes as h² from step to step, as it does if φ is smooth: then that can be removed.
    (It goes as h at 0 in x |x|, say.)"""
    return ratio**2 / 2 < next_change / change < ratio**2 * 2 if change else False


def measured_noise(samples: list[Sample]) -> float:
    """What φ is off by, seen where steps are so small that a smooth function would show nothing.

    It is more than `Sample.rounding` if large numbers cancel inside the function. It is infinite if φ changes
    as much under the smallest step as under any, and not by rounding of the result: sin at 10⁶⁰, say.
    """
    if len(samples) < 3:
        return np.inf
    # The median, because a kink close by shows in one or two of them.
    noise = 8 * float(np.median([misfit(fine, coarse) for fine, coarse in pairwise(samples[:6])]))
    widest = max(movement(sample) for sample in samples)
    return np.inf if noise > max(0.15 * widest, 1e-3 * samples[0].size) else noise


def noise_beyond(samples: list[Sample]) -> float:
    """Noise that appears only under larger steps; 0 if there is none.

    Where the slope begins to change by much more than before, and by more than rounding explains, it and the
    bend then stay of one size for some steps. Truncation would grow, and so would the bend of a kink that was
    stepped over.
    """
    pairs = list(pairwise(samples))
    gaps = [abs(fine.slope - coarse.slope) * fine.step for fine, coarse in pairs]
    for k in range(len(pairs) - 5):
        if gaps[k] > max(100 * pairs[k][0].rounding, 3 * max(gaps[:k], default=0.0)):
            bends = [abs(fine.bend) / 2 for fine, _ in pairs[k : k + 6]]
            largest = max(*gaps[k : k + 6], *bends)
            if largest < 20 * gaps[k]:
                return 3 * largest
    return 0.0


def without_stairs(samples: list[Sample]) -> tuple[list[Sample], float]:
    """(the samples in which most of the outputs move that ever do, the noise that this shows).

    Under smaller steps a function stands still that moves in stairs, because some part of it computes in a
    shorter dtype, or large numbers cancel. It may also be flat here and begin to move somewhere beside. Then
    it moves on one side only, and that it stands still is the truth.
    """
    most = max((sample.moved for sample in samples), default=0)
    start = next((k for k, sample in enumerate(samples) if 2 * sample.moved >= most), 0)
    beyond = samples[start : start + 4]
    if start == 0 or len(beyond) < 2 or all(is_one_sided(sample) for sample in beyond):
        return samples, 0.0
    return samples[start:], 4 * max(misfit(fine, coarse) for fine, coarse in pairwise(beyond))


def is_one_sided(sample: Sample) -> bool:
    """Whether φ moves on one side of 0 alone: what it rises by is then both its slope and its bend."""
    rise = 2 * abs(sample.slope) * sample.step
    return abs(abs(sample.bend) - rise) < 0.1 * rise


def misfit(fine: Sample, coarse: Sample) -> float:
    """By how much two steps' values of φ are not on one line."""
    return max(abs(fine.slope - coarse.slope) * fine.step, abs(fine.bend) / 2)


def movement(sample: Sample) -> float:
    """By how much φ moves within the step."""
    return abs(sample.slope) * 2 * sample.step + abs(sample.bend)


def find_break(line: Line) -> Break | None:
    """A kink or a jump exactly at t = 0.

    As h shrinks, the bend of a smooth function vanishes as h², that of a kink as h; a jump stays. If a slope
    or a bend/h grows without end, by a power of h, a side's slope is infinite. What looks like it because of
    rounding inside of f is none.
    """
    samples = line.samples()
    if len(samples) < 5:
        return None
    seen = [s for s in samples if abs(s.slope) * 2 * s.step > VISIBLE * s.rounding]
    rises = [s.slope * 2 * s.step for s in seen]
    run = run_of_equals(rises)
    is_jump = run >= 12 and seen[0].step < 1e-11
    looks_broken = is_jump or grows(seen, [s.slope for s in seen])
    if looks_broken and not line.is_rough([s.step for s in seen[:run]], abs(rises[0])):
        return Break(np.nan, np.nan, jump=True) if is_jump else Break(-np.inf, np.inf, jump=False)
    seen = [s for s in samples if abs(s.bend) > VISIBLE * s.rounding]
    if run := run_of_equals([s.bend / s.step for s in seen]):
        clearest = seen[run // 2]  # less rounding than at its beginning, less curvature than at its end
        middle, half = clearest.slope, clearest.bend / clearest.step / 2
        return Break(middle - half, middle + half, jump=False)
    run = run_of_equals([s.bend for s in seen])
    looks_broken = grows(seen, [s.bend / s.step for s in seen])
    if looks_broken and not line.is_rough([s.step for s in seen[:run]], abs(seen[0].bend)):
        return Break(-np.inf, np.inf, jump=False)
    return None


def grows(seen: list[Sample], numbers: list[float]) -> bool:
    """Whether numbers of the smallest samples grow by a power of h as it shrinks."""
    if len(seen) < 6 or seen[0].step > 1e-10:
        return False
    ratios = [fine / coarse if coarse else 0.0 for fine, coarse in pairwise(numbers[:6])]
    return min(ratios) > 1.1 and bool(run_of_equals(ratios))


def run_of_equals(numbers: list[float]) -> int:
    """How many of the first numbers are the same, but for what rounding may do to a visible bend; 0 if they
    are fewer than five."""
    same = [abs(number - numbers[0]) < 0.15 * abs(numbers[0]) for number in numbers]
    run = [*same, False].index(False)
    return run if run >= 5 else 0


def norm(array: Any) -> float:
    """The Euclidean norm, of numbers of any size."""
    flat = np.ravel(array)
    result = math.sqrt(flat @ flat)
    if 1e-150 < result < np.inf:
        return result
    # Their squares are too small or too large.
    largest = float(np.abs(array).max(initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    return largest * float(np.linalg.norm(np.ravel(array) / largest))
