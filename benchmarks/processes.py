"""Pieces of work on several processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from joblib import Parallel, delayed
from joblib.parallel import BACKENDS, get_active_backend

from benchmarks.signals import deaf_processes


def parallel(
    jobs: int, function: Callable[..., Any], pieces: Sequence[tuple[Any, ...]], in_order: bool = False
) -> Iterator[Any]:
    """Yields function(*piece) for each piece, as they finish, or in the order of `pieces`.

    joblib's own switches (`joblib.parallel_config`) choose what carries the processes: this machine, a Dask
    cluster, a Ray cluster.
    """
    if not pieces:
        return iter(())
    options: dict[str, Any] = {}
    if isinstance(get_active_backend()[0], BACKENDS["loky"]):  # processes of this machine
        options = {"initializer": end_with, "initargs": (os.getpid(),)}
    calls = (delayed(function)(*piece) for piece in pieces)
    order = "generator" if in_order else "generator_unordered"
    run = Parallel(n_jobs=min(jobs, len(pieces)), return_as=order, **options)
    with deaf_processes():
        return iter(run(calls))


def end_with(parent: int) -> None:
    """End this process within a second after its parent ends, even if that was killed. Otherwise it would
    work off all that is queued, beside the run that goes on from here, or hold what the parent wrote to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.name == "posix":
        threading.Thread(target=watch, daemon=True).start()
