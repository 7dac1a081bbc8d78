"""The tests themselves are tested: a broken derivative makes them fail."""

from __future__ import annotations

from tests.mutation import EQUIVALENT, survivors


def test_every_broken_derivative_is_noticed() -> None:
    alive, total = survivors()
    assert set(alive) == set(EQUIVALENT), "a survivor that is not explained, or an explanation too many"
    assert total > 350
