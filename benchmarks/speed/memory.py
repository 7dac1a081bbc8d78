"""The memory that one training step needs beside parameters and batch, and how often it asks for it.
Needs memray (extra `memory`; Linux and macOS)."""

from __future__ import annotations

import argparse
import gc
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

import minigrad as mg
from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.floor import step
from benchmarks.speed.options import add_common_arguments
from benchmarks.speed.plots import bars, panels
from minigrad import lanes
from minigrad.errors import ArgumentError

LARGE = 16_384  # bytes: the memory of an array, not of an object

WORKS = {
    "adversarial step, 240 units, batch 100": lambda: step(100, 240),
    "adversarial step, 240 units, batch 100, dropout and max-norm": lambda: step(100, 240, published=True),
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
    takes = "Some seconds. There are no rounds: a step asks for the same memory every time."
    add_common_arguments(parser, "memory", takes)


def run(options: argparse.Namespace) -> None:
    """Measure a step of each size, print and write."""
    try:
        import memray  # noqa: F401
    except ModuleNotFoundError as error:
        raise ArgumentError("memory needs memray: pip install -e '.[memory]'") from error
    directory = check_writable_directory("--out", options.out)
    console, conditions = terminal(120), Conditions()
    found = {}
    with Steps(console, len(WORKS), options.quiet) as steps:
        for what, make in WORKS.items():
            steps.begin(what)
            found[what] = measured(make())
    publish(directory, "memory", {"works": found}, plot, [table(found)], conditions, console)


def plot(content: Mapping[str, Any]) -> Figure:
    peaks = {what: entry["peak_bytes"] / 1e6 for what, entry in content["works"].items()}
    figure, (ax,) = panels(1, 0.3 + 0.4 * len(peaks))
    bars(
        ax,
        {what: (peak, peak, peak) for what, peak in peaks.items()},
        {what: f"{significant(peak)} MB" for what, peak in peaks.items()},
        "peak of one step beside parameters, velocities and batch [MB]",
    )
    return figure


def table(found: dict[str, Any]) -> Table:
    result = Table(title="Memory of one step beside parameters, velocities and batch")
    result.add_column("work")
    for heading in ("peak, MB", "asked for in all, MB", f"blocks of {LARGE // 1024} kB or more"):
        result.add_column(heading, justify="right")
    for what, entry in found.items():
        result.add_row(what, f"{entry['peak_bytes'] / 1e6:.1f}", f"{entry['bytes_asked_for'] / 1e6:.1f}",
                       str(entry["large_blocks"]))  # fmt: skip
    return result
