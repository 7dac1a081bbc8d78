"""The tests themselves are tested: a broken derivative makes them fail.

`python -m tests.mutation` breaks every rule of every primitive, as a step of .ci/run. Here each way of
breaking one is tried on a few primitives, and each line around the rules is broken.
"""

from __future__ import annotations

from tests.mutation import MUTATIONS, mutants, structural_mutants, survivors

FEW = ("multiply,", "sum,", "concatenate:")


def test_every_way_to_break_a_rule_is_noticed() -> None:
    few = [m for m in mutants() if m.name.startswith(FEW)]
    assert {m.name.split(": ")[1] for m in few} == {mutation.__name__ for mutation in MUTATIONS}
    assert survivors(few)[0] == []


def test_every_broken_line_around_the_rules_is_noticed() -> None:
    alive, total = survivors(structural_mutants())
    assert alive == []
    assert total >= 13
