"""The memory that one training step needs beside parameters and batch, and how often it asks for it.
Needs memray (extra `memory`; Linux and macOS)."""

from __future__ import annotations

import argparse
import gc
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

import minigrad as mg
from benchmarks.output import check_writable_directory, terminal
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.floor import step
from benchmarks.speed.plots import bars
from minigrad import lanes
from minigrad.errors import ArgumentError

LARGE = 16_384  # bytes: the memory of an array, not of an object

WORKS = {
    "adversarial step, 240 units, batch 100": lambda: step(100, 240),
    "the same with dropout and max-norm": lambda: step(100, 240, published=True),
    "adversarial step, 1600 units, batch 500": lambda: step(500, 1600),
}


def measured(function: Callable[[], Any]) -> dict[str, int]:
    """Of one call, after some to make what is made once, such as velocities: the greatest number of
    bytes that it held beyond those held before, and how many large blocks it asked for."""
    import memray

    for _ in range(3):
        function()
    forget_gradients()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "trace"
        with memray.Tracker(file):
            function()
        reader = memray.FileReader(file)
        frees = (memray.AllocatorType.FREE, memray.AllocatorType.MUNMAP)
        sizes = [r.size for r in reader.get_allocation_records() if r.allocator not in frees]
        peak = sum(r.size for r in reader.get_high_watermark_allocation_records(merge_threads=True))
    return {
        "peak_bytes": peak,
        "large_blocks": sum(size >= LARGE for size in sizes),
        "bytes_asked_for": sum(sizes),
    }


def peak_bytes(function: Callable[[], Any]) -> int:
    """The greatest number of bytes that a call holds beyond those held before: NumPy's arrays and all else
    that Python allocates."""
    function()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def forget_gradients() -> None:
    """Free every gradient and the memory kept for the next, so that a step's own are counted."""
    for parameter in gc.get_objects():
        if isinstance(parameter, mg.Parameter):
            parameter.grad = None
    if not lanes.PLAIN:
        mg.fast.memory.spare.forget()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="results/memory", metavar="DIR",
                        help="where memory.json and .png go (default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Measure a step of each size, print and write."""
    try:
        import memray  # noqa: F401
    except ModuleNotFoundError as error:
        raise ArgumentError("memory needs memray: pip install -e '.[memory]'") from error
    directory = check_writable_directory("--out", options.out)
    conditions = Conditions()
    found = {what: measured(make()) for what, make in WORKS.items()}
    megabytes = {what: entry["peak_bytes"] / 1e6 for what, entry in found.items()}
    groups = {what: {"peak": (peak, peak, peak)} for what, peak in megabytes.items()}
    figure = bars(groups, "peak beside parameters, velocities and batch [MB]")
    table = Table(title="Memory of one step beside parameters, velocities and batch")
    table.add_column("work")
    for heading in ("peak, MB", "asked for in all, MB", f"blocks of {LARGE // 1024} kB or more"):
        table.add_column(heading, justify="right")
    for what, entry in found.items():
        table.add_row(what, f"{entry['peak_bytes'] / 1e6:.1f}", f"{entry['bytes_asked_for'] / 1e6:.1f}",
                      str(entry["large_blocks"]))  # fmt: skip
    publish(directory, "memory", {"works": found}, figure, [table], conditions, terminal(110))
