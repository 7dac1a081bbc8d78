"""One function at one place: its two derivatives, and their comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError
from minigrad.testing import diagnosis
from minigrad.testing.differences import (
    FEW_STEPS,
    STEP,
    STEPS,
    UNKNOWN,
    Line,
    Slope,
    find_break,
    norm,
    other_slopes,
    slope,
)
from minigrad.testing.failures import Element, GradientError, spelled
from minigrad.testing.subjects import ComplexError, Function, Leaf, as_array

__tracebackhide__ = True  # pytest then leaves this file out of a failure

# Of the difference, relative to the size that the compared numbers have on average over directions; by the
# bytes of the dtype.
TOLERANCE = {8: 1e-6, 4: 1e-4, 2: 3e-2}
EPSILON = {n: float(np.finfo(f"f{n}").eps) for n in TOLERANCE}
# An element smaller than this is moved as if it were this large: one that is 0 must move too.
LEAST_SIZE = 1e-2
# So many infinite elements are looked at one by one, drawn at random if there are more.
MOST_INFINITE = 512
SALT = 1412_6572  # the paper's number on arXiv


class Reverse:
    """A claimed gradient, as a claim about slopes."""

    what = "gradient"

    def __init__(self, gradient: np.ndarray) -> None:
        self.gradient = gradient

    def along(self, v: np.ndarray) -> tuple[float, float]:
        """(the slope along v, the size that it has on average over directions like v)."""
        terms = self.gradient * v
        return float(terms.sum()), norm(terms)


class Forward:
    """A claimed product of the Jacobian and a direction, as a claim about slopes."""

    what = "jvp"

    def __init__(self, jvp: Callable[[Any], np.ndarray], c: np.ndarray) -> None:
        self.jvp = jvp
        self.c = c

    def along(self, v: Any) -> tuple[float, float]:
        terms = self.c * self.jvp(v)
        return float(terms.sum()), norm(terms)


@dataclass
class View:
    """What the claim and the differences say of one direction."""

    v: np.ndarray
    line: Line | None = None  # None if nothing moves along v
    found: Slope = UNKNOWN
    claimed: float = 0.0
    allowed: float = np.inf  # the difference that tolerance and error explain
    judged: bool = False  # whether the differences have enough digits
    is_excused: bool = False  # whether they agree if the noise is taken for another (`other_slopes`)

    @property
    def difference(self) -> float:
        return abs(self.claimed - self.found.value)

    @property
    def disagrees(self) -> bool:
        return self.difference > self.allowed and not self.is_excused


class Check:
    """One function at one place, with one cotangent."""

    def __init__(
        self, subject: Function, name: str, tolerance: float | None, seed: int, strict: bool = False
    ) -> None:
        self.subject, self.name, self.seed, self.strict = subject, name, seed, strict
        self.leaves = subject.arguments.leaves
        self.checked = [position for position, leaf in enumerate(self.leaves) if leaf.checked]
        self.given = [leaf.array for leaf in self.leaves]
        # What the derivative sees, to the bit, in float64.
        self.points = [x.astype(np.float64, order="C") for x in self.given]
        self.sizes = [sizes_of(x) for x in self.points]
        self.random = np.random.default_rng([seed, SALT])  # not what a test drew from its seed
        self.tolerance = tolerance or max(TOLERANCE[self.given[i].dtype.itemsize] for i in self.checked)
        self.undecided: list[str] = []
        self.exact = False
        self.beyond = [np.zeros(x.shape, bool) for x in self.given]  # infinite gradients that are right
        outputs = self.unchanged(lambda: subject.value(self.given), "function")
        is_double = all(x.dtype == np.float64 for x in self.given)
        doubles = outputs if is_double else subject.value(self.points)
        self.middle = _flat(doubles)
        if not np.isfinite(self.middle).all():
            raise GradientError(
                f"{self.name} is not finite at the inputs, so there is nothing to check:\n\n{self.where()}"
            )
        self.epsilon = max(EPSILON.get(y.dtype.itemsize, EPSILON[8]) for y in doubles)
        with np.errstate(all="ignore"):
            c = np.split(self.cotangent(outputs), np.cumsum([y.size for y in outputs])[:-1])
        self.cotangents = [part.reshape(y.shape).astype(y.dtype) for part, y in zip(c, outputs, strict=True)]
        self.c = _flat(self.cotangents)  # as they came out of that
        self._gradients_nearby: list[list[np.ndarray]] | None = None

    # ---- the two sides

    def value(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return _flat(self.subject.value(arrays))

    def value_beside(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The same where the function need not be defined: then NaN."""
        try:
            value = self.value(arrays)
        except (ArithmeticError, ValueError, AssertionError, ComplexError):
            return np.full(self.middle.size, np.nan)
        if value.size != self.middle.size:
            raise ArgumentError(
                "function must return the same shapes for all values of its inputs, got "
                f"{value.size} elements beside {self.middle.size}"
            )
        return value

    def beside(self, share: float = 1e-3) -> list[np.ndarray]:
        """A place close by: each element moved by about that share of its size."""
        random = np.random.default_rng(self.seed)  # a fresh one: each share goes the same way
        return [
            x + share * random.choice([-1, 1], x.shape) * random.uniform(0.5, 1, x.shape) * sizes[0]
            for x, sizes in zip(self.points, self.sizes, strict=True)
        ]

    def cotangent(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Random numbers, of few digits so that each dtype has them.

        An output much larger than the usual one gets a smaller number, or its rounding would hide what the
        others do; and all get smaller ones if their products would overflow.
        """
        if self.subject.gradient is not None:
            if self.middle.size != 1:
                shapes = ", ".join(str(y.shape) for y in outputs)
                raise ArgumentError(
                    f"function must return one number if gradient is given, got shape {shapes}: give vjp "
                    "instead, from the cotangent of its output and the inputs"
                )
            return np.ones(1)
        c = np.round(self.random.normal(size=self.middle.size) * 64) / 64
        c[c == 0] = 1 / 64
        sizes = np.abs(self.middle)
        if sizes.max(initial=0.0) > 1e3 * sizes.min(initial=np.inf):
            far, *nearer = (
                np.abs(self.value_beside(self.beside(share)) - self.middle)
                for share in (1e-3, 4 * EPSILON[8], 16 * EPSILON[8])
            )
            near = np.maximum.reduce(nearer)
            # An output that is not finite there keeps its own size.
            far, near = (np.where(np.isfinite(change), change, 0.0) for change in (far, near))
            # An output that is 0 but for rounding (sin π) has the size of what it changes by.
            own = np.maximum(sizes, 1e3 * far)
            moving = np.sort(own[far > 0])
            usual = moving[(len(moving) - 1) // 2] if len(moving) else 1.0
            c *= power_of_two(usual, np.maximum(own, usual))
            # Of one that a rounding of the inputs changes as much as anything does (sin at 10⁶⁰, say) nothing
            # can be seen.
            unseen = (near > 0.01 * far) & (near > 1e3 * self.epsilon * sizes)
            if unseen.any():
                self.see_that_the_value_repeats()
            c[unseen] = 0.0
        for y in outputs:
            most = float(np.finfo(y.dtype).max) ** 0.4
            if (largest := sizes.max(initial=0.0)) > most:
                c *= power_of_two(most, largest)
                break
        return c

    def reverse(self) -> list[np.ndarray]:
        """The claimed gradient in every checked leaf, in float64, after a look at its shape and dtype."""
        subject = self.subject
        if type(subject) is Function:
            with np.errstate(all="ignore"):
                beside = self.beside()
                if np.isfinite(self.value_beside(beside)).all():
                    # One that keeps what it found at another place is then stale.
                    subject.reverse(self.like_given(beside), self.cotangents)
        found = self.unchanged(lambda: subject.reverse(self.given, self.cotangents), "derivative")
        return [self.sound(leaf, g) for leaf, g in zip(subject.arguments.checked, found, strict=True)]

    def like_given(self, points: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [p.astype(x.dtype) for p, x in zip(points, self.given, strict=True)]

    def sound(self, leaf: Leaf, gradient: Any) -> np.ndarray:
        x = leaf.array
        if gradient is None:
            raise GradientError(f"{self.name}: the gradient in {leaf.name} is None")
        array = as_array(gradient)
        if array.shape != x.shape:
            raise GradientError(
                f"{self.name}: the gradient in {leaf.name} has shape {array.shape}, {leaf.name} has {x.shape}"
            )
        is_number = isinstance(gradient, (int, float)) and not isinstance(gradient, np.generic)
        if array.dtype != x.dtype and not is_number:
            raise GradientError(
                f"{self.name}: the gradient in {leaf.name} has dtype {array.dtype}, {leaf.name} has {x.dtype}"
            )
        return array.astype(np.float64)

    def unchanged(self, call: Callable[[], Any], what: str) -> Any:
        """Call it, and see that the inputs are afterwards what they were."""
        before = [x.tobytes() for x in self.given]
        result = call()
        for leaf, old, new in zip(self.leaves, before, self.given, strict=True):
            if old != new.tobytes():
                raise GradientError(f"{self.name}: the {what} writes into its input {leaf.name}")
        return result

    def line(self, position: int, v: np.ndarray) -> Line:
        """f along v in one leaf."""
        arrays = list(self.points)

        def at(t: float) -> np.ndarray:
            arrays[position] = self.points[position] + t * v
            return self.value_beside(arrays)

        return Line(at, self.middle, self.c, self.epsilon)

    # ---- the comparisons

    def run(self, directions: int, exact: bool) -> None:
        subject, self.exact = self.subject, exact
        gradients = self.reverse() if subject.has_reverse else []
        with np.errstate(all="ignore"):  # beside the inputs the function may well be infinite
            if gradients and subject.jvp is not None:
                self.compare_with_each_other(gradients)
            for number, position in enumerate(self.checked):
                if gradients:
                    gradient = self.finite(position, gradients[number])
                    self.compare_leaf(position, Reverse(gradient), directions, exact)
                if subject.jvp is not None:
                    self.compare_leaf(position, self.forward(position), directions, exact)
        self.see_that_the_inputs_are_the_same()

    def compare_with_each_other(self, gradients: Sequence[np.ndarray]) -> None:
        """⟨c, J v⟩ = ⟨Jᵀ c, v⟩, which holds whatever the function does."""
        x = [self.points[position] for position in self.checked]
        v = [self.random.normal(size=a.shape) * np.maximum(np.abs(a), LEAST_SIZE) for a in x]
        reverse = [Reverse(g).along(u) for g, u in zip(gradients, v, strict=True)]
        forward, size = Forward(self.changes, self.c).along(v)
        total = sum(value for value, _ in reverse)
        usual = max(size, norm([one for _, one in reverse]))
        if np.isfinite(total) and abs(forward - total) > self.tolerance * usual:
            raise GradientError(
                f"vjp and jvp of {self.name} are not each other's transpose: with random c and v,\n"
                f"  ⟨vjp(c), v⟩ = {total:.10g}, ⟨c, jvp(v)⟩ = {forward:.10g}\n\n{self.where()}"
            )

    def see_that_the_inputs_are_the_same(self) -> None:
        """See that what was shared by all evaluations was not written into."""
        for leaf, x, point in zip(self.leaves, self.given, self.points, strict=True):
            if not np.array_equal(x.astype(np.float64), point, equal_nan=True):
                raise GradientError(f"{self.name}: the function writes into its input {leaf.name}")

    def compare_leaf(self, position: int, claim: Any, directions: int, exact: bool) -> None:
        x = self.points[position]
        if x.size == 0 or self.c.size == 0:
            return
        judged = True
        if exact:
            everywhere = self.sizes[position][0]
            least = 1e-6 * max(
                (claim.along(one_element(x, index) * everywhere)[1] for index in np.ndindex(x.shape)),
                default=0.0,
            )
            for index in np.ndindex(x.shape):
                if not self.beyond[position][index]:
                    judged &= self.compare(position, claim, one_element(x, index), least)
        else:
            for _ in range(directions):
                judged &= self.compare_at_random(position, claim, ~self.beyond[position])
            small = self.sizes[position][0] < 1e-3 * self.sizes[position][0].max()
            if small.any():  # beside large ones they do not show
                judged &= self.compare_at_random(position, claim, small & ~self.beyond[position])
        if not judged:
            self.undecided.append(self.leaves[position].name)

    def compare_at_random(self, position: int, claim: Any, able: np.ndarray) -> bool:
        """Compare along a random direction of these elements."""
        z = np.where(able, self.random.normal(size=able.shape), 0.0)
        return not z.any() or self.compare(position, claim, z / norm(z), 0.0)

    def compare(self, position: int, claim: Any, z: np.ndarray, least: float) -> bool:
        """Compare along z, stretched to the elements' sizes; returns whether the claim could be judged.

        Two evaluations settle most; a few steps more, if rounding is too large; else all steps. The claim
        is taken to be of the size `least` at least, so that an element of 0 is not held to a relative error.
        """
        v = z * self.sizes[position][0]
        claimed, usual = claim.along(v)
        usual = max(usual, least)
        line = self.line(position, v)
        found, rounding = line.quick(STEP)
        if abs(claimed - found) <= self.allowed(usual, found) + rounding:
            if rounding <= self.tolerance * max(usual, abs(found)):
                return True
            if claimed == found == line.quick(STEPS[-1])[0] == 0:  # nothing moves, near or far
                return True
            views = []
            for size in self.sizes[position]:
                views.append(self.view(position, claim, z, size, least, FEW_STEPS))
                if views[-1].disagrees or views[0].judged:
                    break
            judged = one_way([view.judged for view in views])
            if not views[-1].disagrees and (judged or not self.strict):
                return judged
        return self.compare_with_care(position, claim, z, least)

    def allowed(self, usual: float, found: float) -> float:
        return self.tolerance * max(usual, min(abs(found), 10 * usual))

    def view(
        self,
        position: int,
        claim: Any,
        z: np.ndarray,
        size: np.ndarray,
        least: float,
        steps: Sequence[float] = STEPS,
    ) -> View:
        """What the claim and the differences say of the direction z, stretched by size."""
        v = z * size
        if not v.any():
            return View(v, judged=True)
        claimed, usual = claim.along(v)
        usual = max(usual, least)
        line = self.line(position, v)
        samples = line.samples(steps)
        found = slope(samples)
        # A function may stand still because it was not moved enough: ln cosh at 10⁻⁷⁰.
        is_still = not any(sample.moved for sample in samples) and ((size > 0) & (size < LEAST_SIZE)).any()
        if not (np.isfinite(found.error) and np.isfinite(claimed)) or is_still:
            return View(v, line, UNKNOWN, claimed)
        # A claimed element below the normal numbers has no full digits.
        least_element = float(np.finfo(self.given[position].dtype).smallest_subnormal)
        tiny = 4 * least_element * norm(v)
        allowed = self.allowed(usual, found.value) + found.error + tiny
        # Only all steps tell noise from fine structure. One that says little excuses nothing, nor one that
        # takes in what was found: that is the same slope, seen less sharply.
        others = other_slopes(samples) if steps is STEPS and abs(claimed - found.value) > allowed else []
        is_excused = any(
            abs(claimed - other.value) <= self.allowed(usual, other.value) + other.error + tiny
            for other in others
            if other.error < 0.5 * max(usual, abs(other.value))
            and abs(other.value - found.value) + found.error > other.error
        )
        # If the claim is that nothing moves, by so little against the size of the function itself.
        enough = samples[-1].size * 1e-9 if claimed == 0 else 0.0
        judged = found.error <= max(enough, self.tolerance * max(usual, abs(found.value)))
        return View(v, line, found, claimed, allowed, judged and not is_excused, is_excused)

    def compare_with_care(self, position: int, claim: Any, z: np.ndarray, least: float) -> bool:
        self.see_that_the_value_repeats()
        sizes = self.sizes[position]
        views = [self.view(position, claim, z, size, least) for size in sizes]
        # Tiny elements are moved too far if all are moved together: hypot at 10⁻¹⁷⁰ has a kink from there.
        is_too_far = is_tiny(self.points[position]) and views[1].judged and not views[1].disagrees
        for view, size in list(zip(views, sizes, strict=True))[1 if is_too_far else 0 :]:
            here = None if view.line is None else find_break(view.line)
            if here is not None and (
                not here.is_kink or (view.disagrees and here.allows(view.claimed, view.allowed))
            ):
                diagnosis.refuse_break(self, position, view.v, size, here)
            if view.disagrees and not self.is_rounding(position, claim, view, least):
                diagnosis.refuse(self, position, claim, size, view)
        if not one_way([view.line is None or len(view.line.samples()) > 2 for view in views]):
            diagnosis.refuse_border(self, position)
        return one_way([view.judged for view in views])

    def is_rounding(self, position: int, claim: Any, view: View, least: float) -> bool:
        """Whether the claim differs by its own roundings only.

        In a shorter dtype: if the same formula is right in float64. In float64: if it moves as far when the
        inputs move by a few roundings.
        """
        if not isinstance(claim, Reverse):
            return False
        self.see_that_the_gradient_repeats()
        if self.given[position].dtype != np.float64 and (doubles := self.in_double()) is not None:
            exact = Reverse(doubles[self.checked.index(position)])
            return not self.view(position, exact, view.v, np.ones(view.v.shape), least).disagrees
        return view.difference <= view.allowed + self.own_noise(position, view.v)

    def in_double(self) -> list[np.ndarray] | None:
        """The claimed gradients at the same place in float64, if they can be had."""
        doubles = [c.astype(np.float64) for c in self.cotangents]
        found = [as_array(g) for g in self.subject.reverse(self.points, doubles)]
        is_double = all(np.asarray(g).dtype == np.float64 for g in found)
        return found if is_double and all(np.isfinite(g).all() for g in found) else None

    def own_noise(self, position: int, v: np.ndarray) -> float:
        """How far the claimed slope moves when the inputs move by a few roundings."""
        if self._gradients_nearby is None:
            self._gradients_nearby = []
            for _ in range(5):
                moved = [
                    x * (1 + np.finfo(x.dtype).eps * self.random.integers(-8, 9, x.shape)).astype(x.dtype)
                    for x in self.given
                ]
                found = self.subject.reverse(moved, self.cotangents)
                self._gradients_nearby.append([as_array(g).astype(np.float64) for g in found])
        nearby = [found[self.checked.index(position)] for found in self._gradients_nearby]
        slopes = sorted(Reverse(np.where(np.isfinite(g), g, 0.0)).along(v)[0] for g in nearby)
        # Among each other, without the outermost: if they agree, and the one in question differs, that is
        # no rounding but a rule of its own for this place.
        return 3 * (slopes[-2] - slopes[1])

    def see_that_the_value_repeats(self) -> None:
        if not np.array_equal(self.value(self.points), self.middle):
            raise GradientError(
                f"{self.name} gives another value for the same inputs: fix its seed\n\n{self.where()}"
            )

    def see_that_the_gradient_repeats(self) -> None:
        first, second = (
            [as_array(g).astype(np.float64) for g in self.subject.reverse(self.given, self.cotangents)]
            for _ in range(2)
        )
        for leaf, g, again in zip(self.subject.arguments.checked, first, second, strict=True):
            if norm(g - again) > self.tolerance * norm(g):
                raise GradientError(
                    f"{self.name}: the gradient in {leaf.name} is another one when it is asked for "
                    f"again: it depends on earlier calls, or on chance\n\n{self.where()}"
                )

    def changes(self, tangents: Sequence[np.ndarray]) -> np.ndarray:
        """What jvp claims, as one flat array."""
        given = [
            v.astype(self.given[position].dtype) for v, position in zip(tangents, self.checked, strict=True)
        ]
        outputs = self.unchanged(lambda: self.subject.forward(self.given, given), "jvp")
        shapes, expected = [y.shape for y in outputs], [c.shape for c in self.cotangents]
        if shapes != expected:
            raise GradientError(f"{self.name}: jvp returned shapes {shapes}, the function {expected}")
        changes = _flat(outputs)
        if not np.isfinite(changes).all():
            raise GradientError(
                f"{self.name}: jvp returned {changes[~np.isfinite(changes)][0]}\n\n{self.where()}"
            )
        return changes

    def forward(self, position: int) -> Forward:
        """The claimed jvp in one leaf: the other leaves stand still."""
        still = {other: np.zeros(self.points[other].shape) for other in self.checked}
        return Forward(lambda v: self.changes(list({**still, position: v}.values())), self.c)

    def finite(self, position: int, gradient: np.ndarray) -> np.ndarray:
        """The gradient, with 0 for infinite elements that are right, because the true ones are beyond the
        range of their dtype. Those are `beyond`, and not looked at again."""
        leaf, x = self.leaves[position], self.points[position]
        if np.isfinite(gradient).all():
            return gradient
        infinite = np.argwhere(np.isinf(gradient))
        suspects = [*np.argwhere(np.isnan(gradient))[:1], *self.random.permutation(infinite)[:MOST_INFINITE]]
        if len(infinite) > MOST_INFINITE:
            self.undecided.append(leaf.name)
        for index in (tuple(int(i) for i in suspect) for suspect in suspects):
            size = np.abs(x[index]) or LEAST_SIZE
            found = slope(self.line(position, one_element(x, index) * size).samples())
            if not np.isfinite(found.value):
                diagnosis.refuse_border(self, position)
            value = np.float64(found.value / size).astype(leaf.array.dtype)
            if not (np.isinf(value) and value == gradient[index]):
                element = Element(index, float(gradient[index]), found.value / size)
                diagnosis.refuse_claim(self, position, "gradient", [element])
        self.beyond[position] = ~np.isfinite(gradient)
        return np.where(self.beyond[position], 0.0, gradient)

    def see_that_it_is_smooth(self, directions: int) -> None:
        """Raise KinkError unless there is a derivative."""
        with np.errstate(all="ignore"):
            self._see_that_it_is_smooth(directions)

    def _see_that_it_is_smooth(self, directions: int) -> None:
        for position, leaf in enumerate(self.leaves):
            x = self.points[position]
            for _ in range(directions if leaf.checked and x.size and self.c.size else 0):
                z = self.random.normal(size=x.shape)
                finite = []
                for size in self.sizes[position][1 if is_tiny(x) else 0 :]:
                    v = z / norm(z) * size
                    line = self.line(position, v)
                    finite.append(len(line.samples()) > 2 or not v.any())
                    here = find_break(line)
                    if here is not None:
                        diagnosis.refuse_break(self, position, v, size, here)
                if not (all(finite) if is_tiny(x) else one_way(finite)):
                    diagnosis.refuse_border(self, position)

    def where(self) -> str:
        """What is needed to see it again."""
        lines = [f"  {spelled(leaf.name, leaf.array, leaf.given)}" for leaf in self.leaves]
        return "\n".join([*lines, f"  seed={self.seed}"])


def sizes_of(x: np.ndarray) -> list[np.ndarray]:
    """By how much the elements are moved, one way after the other.

    All by their size or the least one; each by its own size, however small, so that tiny elements are not
    moved out of their neighbourhood; and those that are 0 alone.
    """
    own = np.where(x == 0, 0.0, np.maximum(np.abs(x), 1e-300))  # not so small that steps are rounded
    if (own >= LEAST_SIZE).all():
        return [own]
    together = np.maximum(own, LEAST_SIZE)
    if not own.any():
        return [together]
    zeros = np.where(own == 0, LEAST_SIZE, 0.0)
    return [together, own, zeros] if zeros.any() else [together, own]


def is_tiny(x: np.ndarray) -> bool:
    """Whether some elements are so small that even the smallest step of the least size is a large one."""
    return bool(((x != 0) & (np.abs(x) < 1e-12)).any())


def one_way(held: Sequence[bool]) -> bool:
    """Whether it held for the first of `sizes_of`, all elements together, or for all the others."""
    return held[0] or (len(held) > 1 and all(held[1:]))


def one_element(x: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """Zeros like x, with 1 at one element."""
    unit = np.zeros(x.shape)
    unit[index] = 1.0
    return unit


def _flat(outputs: Sequence[np.ndarray]) -> np.ndarray:
    if len(outputs) == 1:
        return np.array(outputs[0], np.float64).reshape(-1)  # a copy: some write each output into the last
    return np.concatenate([np.zeros(0), *(np.asarray(y, np.float64).reshape(-1) for y in outputs)])


def power_of_two(numerator: Any, denominator: Any) -> Any:
    """About numerator / denominator, both positive: exact to multiply by."""
    return np.exp2(np.floor(np.log2(numerator) - np.log2(denominator)))
