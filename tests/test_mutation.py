"""The tests themselves are tested: a broken derivative makes them fail."""

from __future__ import annotations

from tests.declarations import OPERATIONS
from tests.mutation import EQUIVALENT, OF_DERIVATIVES, survivors, try_examples


def test_nothing_fails_without_a_mutant() -> None:
    for operation in OPERATIONS:
        for holds in OF_DERIVATIVES:
            try_examples(operation, holds)


def test_every_broken_derivative_is_noticed() -> None:
    alive, total = survivors()
    assert set(alive) == set(EQUIVALENT), "a survivor that is not explained, or an explanation too many"
    assert total > 350
