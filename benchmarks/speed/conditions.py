"""What a time depends on beside the code: machine, versions, threads, and whether the machine was quiet."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_info

import minigrad as mg
from benchmarks.output import save_figure, write_json
from benchmarks.speed import plots
from minigrad import lanes

# A machine is called quiet up to these.
MOST_LOAD_BEFORE = 0.5  # processes that ran or waited, on average over the minute before
MOST_LOAD_BESIDE = 1.0  # the same afterwards, beyond this process's own threads
LEAST_PROCESSOR_SHARE = 0.95  # processor time over elapsed time, while something was timed
LEAST_ROUNDS = 4  # to speak of a spread
LEAST_RATIO = 0.98  # of a time to that of a part of it
MOST_SPREAD = 0.15  # between the quartiles of a contender's rounds, of their median


class Conditions:
    """Watches the machine from its making to `found`: make it before anything is timed."""

    def __init__(self) -> None:
        self.load_before = load()
        self._processor_seconds = self._seconds = 0.0
        self._spreads: list[float] = []
        self._too_few = False
        self._impossible: list[str] = []
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def add_time(self, seconds: float, processor_seconds: float) -> None:
        """Something was timed: it took so long, and the threads of this process so much processor time."""
        self._seconds += seconds
        self._processor_seconds += processor_seconds

    def add_rounds(self, seconds: Mapping[str, list[float]]) -> None:
        """All rounds of some contenders."""
        for values in seconds.values():
            if len(values) < LEAST_ROUNDS:
                self._too_few = True
            else:
                low, median, high = statistics.quantiles(values, n=4, method="inclusive")
                self._spreads.append((high - low) / median)

    def add_impossible(self, what: str) -> None:
        """Something was measured that cannot be, in words."""
        self._impossible.append(what)

    def check_floor(self, what: str, ratio: Mapping[str, float]) -> None:
        """Nothing takes less time than its own matrix products: if it did, something was in their way."""
        if ratio["median"] < LEAST_RATIO:
            self.add_impossible(f"{what}, took {ratio['median']:.3f} of the time of its own products")

    def found(self) -> dict[str, Any]:
        """The figures, and under "disturbances" what was not quiet, in words."""
        share = self._processor_seconds / self._seconds if self._seconds else None
        spread = statistics.median(self._spreads) if self._spreads else None
        before, after = self.load_before, load()
        threads = max([pool["num_threads"] for pool in threadpool_info()], default=1)
        disturbances = []
        if before is not None and before > MOST_LOAD_BEFORE:
            disturbances.append(f"load {before:.1f} before the command began")
        if after is not None and after > threads + MOST_LOAD_BESIDE:
            disturbances.append(f"load {after:.1f} at its end, at most {threads} of it by its own threads")
        if share is not None and share < LEAST_PROCESSOR_SHARE:
            disturbances.append(f"the command had a processor for {share:.1%} of the time only")
        if spread is not None and spread > MOST_SPREAD:
            disturbances.append(f"the quartiles of its rounds lie {spread:.0%} of the median apart")
        if self._too_few:
            disturbances.append(f"fewer than {LEAST_ROUNDS} rounds tell nothing of a spread")
        if self._impossible:
            more = f", and {len(self._impossible) - 1} more" if len(self._impossible) > 1 else ""
            disturbances.append(f"{self._impossible[0]}, which should not be possible{more}")
        return {
            "load_before": before,
            "load_after": after,
            "processor_share": share,
            "spread": spread,
            "disturbances": disturbances,
        }


def load() -> float | None:
    """Average number of processes that ran or waited in the last minute; None if nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def remark(conditions: Mapping[str, Any]) -> str:
    """A sentence if the machine was not quiet; nothing if it was."""
    disturbances = "; ".join(conditions["disturbances"])
    return f"The machine was perhaps not quiet: {disturbances}." if disturbances else ""


def publish(
    directory: str,
    name: str,
    content: Mapping[str, Any],
    plot: Callable[[Mapping[str, Any]], Figure],
    tables: Iterable[Table],
    conditions: Conditions,
    console: Console,
    packages: Iterable[str] = (),
) -> None:
    """Write NAME.json, draw NAME.png from what is in it, and print the tables, then a remark if the
    machine was not quiet. `packages` are those whose versions matter beside minigrad's and NumPy's."""
    found = conditions.found()
    content = {**content, "environment": environment(*packages), "conditions": found}
    path = Path(directory) / name
    write_json(path.with_suffix(".json"), content)
    save_figure(drawn(content, plot), path.with_suffix(".png"), plots.DPI)
    for table in tables:
        console.print(table)
    if said := remark(found):
        console.print(Text(said, plots.WARNING), soft_wrap=True)
    console.print(f"{conditions.seconds():.0f} s: {path}.json, {path}.png", soft_wrap=True)


def drawn(content: Mapping[str, Any], plot: Callable[[Mapping[str, Any]], Figure]) -> Figure:
    """The plot of what a JSON file of `publish` holds, signed."""
    figure = plot(content)
    plots.sign(figure, content, remark(content["conditions"]))
    return figure


def environment(*packages: str) -> dict[str, Any]:
    """Date, commit, machine, versions and threads."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **code_and_machine(),
        **{package: version(package) for package in packages},
        "plain": lanes.PLAIN,
        "usable_processors": usable_processors(),
        "thread_pools": thread_pools(),
    }


def code_and_machine() -> dict[str, Any]:
    """What is the same for all that one checkout does on one machine."""
    return {
        "commit": commit(),
        "minigrad": mg.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor(),
        "processors": os.cpu_count(),
    }


def thread_pools() -> list[dict[str, Any]]:
    """Those of this process that can be seen: JAX's cannot."""
    told = ("internal_api", "version", "num_threads", "architecture")
    return [{key: pool.get(key) for key in told} for pool in threadpool_info()]


def commit(directory: Path = Path(__file__).parent) -> str | None:
    """The commit of the checkout at `directory`, with "+" if files differ from it; None outside of git."""
    git = ["git", "-C", str(directory)]
    try:
        run = {"capture_output": True, "text": True, "check": True}
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **run).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], **run).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed.strip() else "")


def usable_processors() -> int | None:
    """How many processors this process may use; None if nobody says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def processor() -> str:
    """What the machine's processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
