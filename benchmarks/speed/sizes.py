"""Batch by width: the sizes that `cpu_vs_gpu` and `growth` go through."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.speed.floor import CLASSES, FEATURES
from minigrad.checks import check_count
from minigrad.errors import ArgumentError

BATCHES = (1, 10, 100, 1_000, 10_000, 60_000)
PIECES = 2


@dataclass(frozen=True)
class Size:
    """A batch, and the columns of each of two hidden layers (units × 2 pieces)."""

    batch: int
    width: int

    def flop(self, operation: str) -> float:
        """Floating-point operations of the matrix products."""
        units = self.width // PIECES
        first, rest = FEATURES * self.width, units * self.width + units * CLASSES
        layers = {
            "forward": first + rest,
            "input gradient": 2 * (first + rest),
            "training step": 2 * first + 3 * rest,  # no gradient of the input
            "FGSM": 2 * (first + rest),
            "adversarial step": 5 * first + 6 * rest,
        }
        return 2.0 * self.batch * layers[operation]

    def bytes(self) -> float:
        """About what a training step holds: parameters, velocities, gradients; values and cotangents."""
        units = self.width // PIECES
        parameters = FEATURES * self.width + units * self.width
        return 4.0 * (4 * parameters + self.batch * (FEATURES + 8 * self.width))


def add_size_arguments(parser: argparse.ArgumentParser, widths: Iterable[int]) -> None:
    parser.add_argument("--batches", nargs="+", type=int, default=[*BATCHES], metavar="N",
                        help="examples at a time (default: %(default)s)")  # fmt: skip
    parser.add_argument("--widths", nargs="+", type=int, default=[*widths], metavar="N",
                        help="columns of the hidden layers, even (default: %(default)s)")  # fmt: skip


def check_sizes(batches: Iterable[int], widths: Iterable[int]) -> None:
    """ArgumentError, naming the option, unless all are such that a network can have them."""
    for name, values in (("--batches", batches), ("--widths", widths)):
        for value in values:
            check_count(name, value)
            if name == "--widths" and value % PIECES:
                raise ArgumentError(f"--widths must be multiples of {PIECES}, the pieces, got {value}")


def usable_memory() -> float:
    """Half of this machine's bytes."""
    return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4e9
