"""Why the two derivatives differ: what a failed check says, and where it looks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.testing.differences import STEP, Break, find_break, movement, slope
from minigrad.testing.failures import Element, GradientError, KinkError, at_index, table

if TYPE_CHECKING:
    from minigrad.testing.comparison import Check, View

__tracebackhide__ = True

# Elements are looked at one by one if there are so many at most; in halves if there are more.
MOST_SINGLY = 512
WORST = 3


def refuse(check: Check, position: int, claim: Any, size: np.ndarray, view: View) -> None:
    """Raise GradientError, with the elements that differ most.

    view     a direction in the leaf at `position` along which the claim is wrong
    size     by which its elements were stretched
    """
    v, found = view.v, view.found

    def difference(u: np.ndarray) -> float:
        sample = check.line(position, u).sample(found.step)
        return np.nan if sample is None else claim.along(u)[0] - sample.slope

    elements, breaks = [], []
    for index in worst(difference, v, size):
        u, stretch = np.zeros(v.shape), float(size[index])
        u[index] = stretch
        line = check.line(position, u)
        claimed, by_differences = claim.along(u)[0], slope(line.samples())
        here = find_break(line)
        if here is not None and here.allows(claimed, by_differences.error):
            breaks.append(here)
        elements.append(Element(index, claimed / stretch, by_differences.value / stretch))
    if breaks and len(breaks) == len(elements):  # of several kinks each allows its claim; their sum need not
        refuse_break(check, position, v, size, breaks[0])
    direction = f"{view.claimed:.10g}, by differences {found.value:.10g} ± {view.allowed:.1g}"
    refuse_claim(check, position, claim.what, elements, "" if check.exact else direction)


def refuse_claim(
    check: Check, position: int, what: str, elements: Sequence[Element], direction: str = ""
) -> None:
    name, size = check.leaves[position].name, check.points[position].size
    lines = [f"the {what} of {check.name} in {name} is wrong\n"]
    if elements:
        some = f"the {WORST} worst of " if len(elements) == WORST and size > WORST else "of "
        hint = "" if check.exact or size == 1 else "; exact=True compares every one"
        lines += [table(name, elements), f"  ({some}{size} elements{hint})"]
    if direction:
        lines.append(f"  along a random direction: given {direction}")
    raise GradientError("\n".join(lines) + f"\n\n{check.where()}")


def refuse_break(check: Check, position: int, v: np.ndarray, size: np.ndarray, what: Break) -> None:
    """Raise KinkError, with the elements at which the function breaks along v."""
    name, x = check.leaves[position].name, check.points[position]

    def bend(u: np.ndarray) -> float:
        sample = check.line(position, u).sample(STEP)
        if sample is None:
            return 0.0
        return sample.bend / STEP if what.is_kink else movement(sample)

    kind = "a jump" if what.jump else "a kink or a tie" if what.is_kink else "an infinite slope"
    lines = [f"{check.name} has {kind} at the inputs, so it has no derivative in {name} there"]
    for index in worst(bend, v, size):
        u, stretch = np.zeros(v.shape), float(size[index])
        u[index] = stretch
        line = check.line(position, u)
        line.c = np.ones_like(check.c)  # the slopes of the plain sum of the outputs are shown
        here = find_break(line)
        value = f"  {at_index(name, index)} = {float(x[index])!r}"
        if here is not None and here.jump:
            lines.append(f"{value}: a jump")
        elif here is not None:
            below, above = here.left / stretch, here.right / stretch
            sides = f"slope {below:.6g} below, {above:.6g} above"
            lines.append(f"{value}: {sides if here.is_kink else 'an infinite slope'}")
    raise KinkError(
        "\n".join(lines) + "\n  draw the inputs away from there (minigrad.testing.away_from, "
        "distinct_arrays),\n  and test what you chose at such points by exact numbers"
        f"\n\n{check.where()}"
    )


def refuse_border(check: Check, position: int) -> None:
    raise KinkError(
        f"{check.name} is not finite beside the inputs, so it has no derivative in "
        f"{check.leaves[position].name} there\n  draw the inputs away from the border "
        f"(minigrad.testing.away_from, low=, high=)\n\n{check.where()}"
    )


def worst(error: Callable[[np.ndarray], float], v: np.ndarray, size: np.ndarray) -> list[tuple[int, ...]]:
    """The elements along which `error` is greatest, three at most, the worst first.

    Of many elements the greater half is halved again and again: a few evaluations a doubling.
    """
    signed = (np.where(v < 0, -1.0, 1.0) * size).reshape(-1)
    able = np.flatnonzero(size)

    def of(chosen: np.ndarray) -> float:
        u = np.zeros(v.size)
        u[chosen] = signed[chosen]
        found = abs(error(u.reshape(v.shape)))
        return found if np.isfinite(found) else 0.0  # not known

    if len(able) <= MOST_SINGLY:
        errors = np.array([of(able[i : i + 1]) for i in range(len(able))])
        order = np.argsort(-errors, kind="stable")[:WORST]
        found, errors = able[order], errors[order]
    else:
        found, errors = np.empty(0, np.intp), np.empty(0)
        for _ in range(WORST):
            rest = np.setdiff1d(able, found)
            while len(rest) > 1:
                left, right = np.array_split(rest, 2)
                rest = left if of(left) >= of(right) else right
            found, errors = np.append(found, rest), np.append(errors, of(rest))
        order = np.argsort(-errors, kind="stable")
        found, errors = found[order], errors[order]
    return [
        tuple(int(n) for n in np.unravel_index(flat, v.shape))
        for flat, one in zip(found, errors, strict=True)
        if one > 0 and one >= 1e-3 * errors[0]
    ]
