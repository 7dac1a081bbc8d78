"""What one process of the command does."""

from __future__ import annotations

import importlib.util
import warnings
from collections import Counter
from collections.abc import Sequence

from minigrad import backend
from tests.programs import compared, draw, fails, shrink
from tests.strict import StrictBackend

MOST_FAILURES = 10  # of one block are printed
BLOCK = 200


def block(work: tuple[int, int, Sequence[str]]) -> tuple[Counter[str], list[str]]:
    """The programs from one number to another: what was counted, and the failures."""
    first, end, against = work
    counts: Counter[str] = Counter()
    failures: list[str] = []
    warnings.simplefilter("ignore")
    for seed in range(first, end):
        redrawn: Counter[str] = Counter()
        program = draw(seed, redrawn)
        counts.update({f"redrawn: {reason}": number for reason, number in redrawn.items()})
        try:
            counts.update(compared(program, against))
        except Exception as error:
            counts["mismatches"] += 1
            if len(failures) < MOST_FAILURES:
                small = shrink(program, fails(against))
                failures.append(f"{small}\n{type(error).__name__}: {error}")
    return counts, failures


def start() -> None:
    """What a process begins with."""
    backend.register(StrictBackend())
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
