"""The tour is held to the engine: a chapter fails if what it explains is broken. (That it passes if nothing
is, `python -m pytest docs` sees.)"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sybil import Sybil
from sybil.example import SybilFailure
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import minigrad as mg
from attacks.fast_gradient import step_along
from docs import atlas
from minigrad import engine, lanes, primitives
from minigrad.operations import costs, elementwise, products, reductions
from minigrad.primitives import Primitive
from minigrad.steps import CaptureWarning
from minigrad.tensor import raw
from tests.mutation import dropped_factor, forgets_the_cotangent, replaced, wrong_sign

DOCS = Path(__file__).parent.parent / "docs"


def run(name: str) -> None:
    """All blocks of a chapter, in order."""
    sybil = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], pattern="*.md", path=str(DOCS / "tour"))
    for example in sybil.parse(DOCS / "tour" / name).examples():
        example.evaluate()


def of_rule(primitive: Primitive[Any], position: int, mutation: Any) -> Callable[[], Any]:
    def apply() -> Any:
        rules = list(primitive.vjps)
        rules[position] = mutation(rules[position])
        return replaced(primitive, "vjps", tuple(rules))

    return apply


class Forgetful(engine.Sums):
    """Keeps the last share alone."""

    def add(self, x: mg.Tensor, share: Any) -> None:
        self.sums[x] = share


def forgetful() -> Any:
    return replaced(engine.new_sums, "forward", Forgetful)


def rounded_slope() -> Any:
    """softmax(z) − [label], as it is often written."""

    def slope(xp: Any, z: Any, labels: Any) -> Any:
        p = xp.exp(z - z.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True) - (labels[..., None] == xp.arange(z.shape[-1])).astype(z.dtype)

    return replaced(costs._cross_entropy_slope, "forward", slope)


def backwards() -> Any:
    plain = step_along.plain
    return replaced(step_along, "forward", lambda x, g, *others: plain(x, -g, *others))


def of_the_recorder(module: str, owner: str, attribute: str, mutation: Any) -> Callable[[], Any]:
    """`mutation` of a function of a module of the fast lane, which is imported when it is asked for, if at
    all."""

    def apply() -> Any:
        place = importlib.import_module(f"minigrad.fast.{module}")
        place = getattr(place, owner) if owner else place
        return replaced(place, attribute, mutation(getattr(place, attribute)))

    return apply


def writes_unnoticed(write: Any) -> Any:
    """What is written into memory that is there, made while recording and never again."""

    def mutated(tape: Any, target: Any, line: Any, operands: Any) -> None:
        before = len(tape.calls)
        write(tape, target, line, operands)
        del tape.calls[before:]

    return mutated


def without_the_last(needed: Any) -> Any:
    return lambda tape, kept: needed(tape, kept)[:-1]


def dead_code_too(_: Any) -> Any:
    return lambda tape, kept: [call.line for call in tape.restored + tape.calls]


def all_varies(constant: Any) -> Any:
    def mutated(*arguments: Any, **options: Any) -> Any:
        recorded = constant(*arguments, **options)
        recorded.memory.varies = True
        return recorded

    return mutated


def takes_any_array(array_of: Any) -> Any:
    return lambda operand: operand if isinstance(operand, np.ndarray) else array_of(operand)


def equal_whatever_it_does(_: Any) -> Any:
    return lambda members, returned: []


FIRST, THIRD, FOURTH = "1-differences.md", "3-the-walk.md", "4-the-jacobian.md"
NINTH, ELEVENTH = "9-a-gradient-that-lies.md", "11-add-an-operation.md"
FOURTEENTH = "14-how-a-tracing-compiler-works.md"
FIFTH, SEVENTH, EIGHTH = "5-broadcasting.md", "7-what-the-network-wants.md", "8-why-it-breaks.md"
BROKEN = {
    "tanh's rule without its cotangent": (of_rule(elementwise.tanh, 0, forgets_the_cotangent), FIRST),
    "power's rule with half of its factor": (of_rule(elementwise.power, 0, dropped_factor), FIRST),
    "a product's rule with the wrong sign": (of_rule(elementwise.multiply, 1, wrong_sign), THIRD),
    "sums that forget": (forgetful, THIRD),
    "matmul's rule with the wrong sign": (of_rule(products._matmul, 0, wrong_sign), FOURTH),
    "operands that are not transposed": (
        lambda: replaced(products, "swap_last", lambda x: mg.operations.copy(x)), FOURTH
    ),
    "no un-broadcasting": (lambda: replaced(primitives, "unbroadcast", lambda g, shape: g), FIFTH),
    "the cost's rule without its cotangent": (
        of_rule(costs._cross_entropy, 0, forgets_the_cotangent), SEVENTH
    ),
    "a step against the gradient": (backwards, EIGHTH),
    "a cost's slope that rounds": (rounded_slope, NINTH),
    "cumsum's rule with the wrong sign": (of_rule(reductions._cumsum, 0, wrong_sign), ELEVENTH),
}  # fmt: skip
TRACER: dict[str, Any] = {
    "a recorder that forgets writes": ("recording", "Tape", "write", writes_unnoticed),
    "a tape without its last line": ("recording", "Tape", "needed", without_the_last),
    "dead code that is replayed": ("recording", "Tape", "needed", dead_code_too),
    "constants that are computed at each replay": ("recording", "Tape", "constant", all_varies),
    "a look at a value that is let through": (
        "recording", "Recorded", "__bool__", lambda _: lambda self: bool(self.array)
    ),
    "an array from outside that is let through": ("recording", "", "array_of", takes_any_array),
    "a result that is not copied": ("replay", "", "returned", lambda _: lambda output: raw(output).array),
    "a record that is not compared": ("members", "Members", "bits", equal_whatever_it_does),
    "arrays that were replaced unnoticed": (
        "members", "Members", "refuse_changes", lambda _: lambda members: None
    ),
}  # fmt: skip
if not lanes.PLAIN:
    BROKEN |= {name: (of_the_recorder(*broken), FOURTEENTH) for name, broken in TRACER.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_chapter_fails_where_what_it_explains_is_broken(name: str) -> None:
    apply, chapter = BROKEN[name]
    failures = SybilFailure, AssertionError, ValueError, ArithmeticError, CaptureWarning
    with apply(), pytest.raises(failures):
        run(chapter)


def test_the_atlas_has_every_operation() -> None:
    missing = set(mg.operations.__all__) - atlas.ENTRIES.keys()
    assert not missing, f"give {missing} an entry in docs/atlas.py"
    assert not atlas.ENTRIES.keys() - set(mg.operations.__all__)


@pytest.mark.parametrize("name", atlas.ENTRIES)
def test_the_jacobians_of_the_atlas_are_those_of_differences(name: str) -> None:
    atlas.check(name, atlas.ENTRIES[name])


def test_the_atlas_refuses_a_wrong_rule() -> None:
    with of_rule(reductions._cumsum, 0, wrong_sign)(), pytest.raises(ValueError, match="by differences"):
        atlas.check("cumsum", atlas.ENTRIES["cumsum"])


def test_the_atlas_shows_rules_of_functions_that_are_made_of_primitives(tmp_path: Path) -> None:
    (tmp_path / "atlas").mkdir()
    text = "\n".join(atlas.described("var", tmp_path) + atlas.described("maxout", tmp_path))
    assert "It calls " in text
    assert "[square](#square)" in text
    assert "`_maxout`, `minigrad/operations/maxout_units.py:" in text
    assert (tmp_path / "atlas" / "maxout.svg").read_text().startswith("<?xml")
