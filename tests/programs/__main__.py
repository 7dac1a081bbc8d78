"""Random programs in large numbers: `python -m tests.programs --count 100000 --jobs 2`.

Each is run on NumPy and on the strict library, in the fast lane and in plain forms, and in PyTorch where
that is installed (extra: peers), with its gradients to third order, and all must agree. One that does not
is made smaller and printed; `--first 17 --count 1` runs the program 17 alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.programs.blocks import BLOCK, block, start


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many programs (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first one's number (default: 0)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="processes (default: one a processor)"
    )
    options = parser.parse_args()
    against = ["strict", "plain"] + ["torch"] * (importlib.util.find_spec("torch") is not None)
    console = Console()
    if "torch" not in against:
        console.print("PyTorch is not installed (extra: peers): the libraries and lanes alone")
    end = options.first + options.count
    work = [(i, min(i + BLOCK, end), against) for i in range(options.first, end, BLOCK)]
    counts: Counter[str] = Counter()
    failures: list[str] = []
    begun = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    # Not a multiprocessing.Pool, which waits for ever for a process that crashed.
    with ProcessPoolExecutor(options.jobs, spawn, start) as pool:
        found = as_completed([pool.submit(block, part) for part in work])
        for done in track(found, "programs", len(work), console=console, transient=True):
            part, printed = done.result()
            counts.update(part)
            failures += printed
    seconds = time.perf_counter() - begun
    for failure in failures:
        console.print(failure, highlight=False, markup=False)
    table = Table(title=f"programs {options.first} to {end - 1}, gradients to third order")
    table.add_column("what")
    table.add_column("number", justify="right")
    rows = {
        "programs compared": counts["programs"], "their steps": counts["steps"],
        **{f"arrays compared with {what}": counts[what] for what in against},
        **{name: number for name, number in sorted(counts.items()) if ":" in name},
        "mismatches": counts["mismatches"],
    }  # fmt: skip
    for name, number in rows.items():
        table.add_row(name, f"{number:,}")
    table.add_row("seconds", f"{seconds:,.0f}")
    console.print(table)
    return int(counts["mismatches"] > 0)


if __name__ == "__main__":
    sys.exit(main())
