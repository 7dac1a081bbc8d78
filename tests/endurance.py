"""Many training steps: `python -m tests.endurance --steps 100000`.

Adversarial steps of a small network with dropout, and now and then an attack, a checkpoint and a second-order
gradient. Memory, open files and the number of Tensors must not grow; the time of a step is shown.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import minigrad as mg
from attacks import adversarial_objective, pgd
from minigrad.checks import check_count
from models import MaxoutNetwork

PARTS = 10
GROWTH = 2.0  # MiB that the allocator may keep, between the second part and the last


def resident() -> float:
    """MiB of memory that the process has now; 0 where nobody tells."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if path.exists() else 0.0


def open_files() -> int:
    path = Path("/proc/self/fd")
    return len(list(path.iterdir())) if path.exists() else 0


def tensors() -> int:
    gc.collect()
    return sum(isinstance(thing, mg.Tensor) for thing in gc.get_objects())


def train(steps: int) -> list[tuple[int, float, int, int, float]]:
    """(steps, MiB, open files, Tensors, microseconds of a step) after each tenth of the steps."""
    random = np.random.default_rng(0)
    x, y = random.random((64, 20), dtype=np.float32), random.integers(0, 3, 64)
    model = MaxoutNetwork(20, 3, units=(8,), pieces=2, dropout=(0.8, 0.5), seed=0)
    optimiser = mg.optim.SGD(model.named_parameters(), lr=0.01, momentum=0.5, max_norm=2.0)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        for part in range(PARTS):
            times = []
            for step in range(steps // PARTS):
                begun = time.perf_counter()
                batch = slice(8 * (step % 8), 8 * (step % 8) + 8)
                optimiser.zero_grad()
                adversarial_objective(model, x[batch], y[batch], alpha=0.5, epsilon=0.1).backward()
                optimiser.step()
                times.append(time.perf_counter() - begun)
                if step % 500 == 0:
                    mg.save(path, model)
                    mg.load(path, model)
                    pgd(model, x, y, epsilon=0.1, step=0.05, steps=3)
                    leaf = mg.Tensor(x, requires_grad=True)
                    (slope,) = mg.grad(model.cost(leaf, y), leaf, create_graph=True)
                    mg.sum(slope * slope).backward()
            found.append(
                (
                    (part + 1) * (steps // PARTS),
                    resident(),
                    open_files(),
                    tensors(),
                    statistics.median(times) * 1e6,
                )
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000, help="training steps (default: 20000)")
    found = train(check_count("--steps", parser.parse_args().steps, low=PARTS))
    table = Table("steps", "memory, MiB", "open files", "Tensors", "a step, µs", title="many training steps")
    for steps, memory, files, alive, microseconds in found:
        table.add_row(f"{steps:,}", f"{memory:.1f}", str(files), str(alive), f"{microseconds:.0f}")
    Console(markup=False).print(table)
    (_, before, *kept_before, _), (_, after, *kept_after, _) = found[1], found[-1]
    grown = after - before > GROWTH or kept_before != kept_after
    if grown:
        print(f"grown: {after - before:.1f} MiB, from {kept_before} to {kept_after} open files and Tensors")
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
