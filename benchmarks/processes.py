"""Pieces of work on several processes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.parallel import BACKENDS, get_active_backend

from benchmarks.signals import deaf_processes, end_with
from minigrad.errors import ArgumentError

LOCAL = "local"  # the address of a cluster on this machine


def parallel(
    jobs: int, function: Callable[..., Any], pieces: Sequence[tuple[Any, ...]], in_order: bool = False
) -> Iterator[Any]:
    """Yields function(*piece) for each piece, as they finish, or in the order of `pieces`.

    joblib's own switch (`joblib.parallel_config`) chooses what carries the processes: see `on_ray`.
    """
    if not pieces:
        return iter(())
    options: dict[str, Any] = {}
    carrier = get_active_backend()[0]
    if isinstance(carrier, BACKENDS["loky"]):  # processes of this machine
        options = {"initializer": end_with, "initargs": (os.getpid(),)}
    calls = (delayed(function)(*piece) for piece in pieces)
    order = "generator" if in_order else "generator_unordered"
    if not carrier.supports_return_generator:
        order = "list"  # all at the end
    run = Parallel(n_jobs=min(jobs, len(pieces)), return_as=order, **options)
    if order == "list":  # this returns when all is done, and Ctrl-C is to be heard until then
        return iter(run(calls))
    with deaf_processes():
        return iter(run(calls))


@contextmanager
def on_ray(address: str, jobs: int) -> Iterator[int]:
    """`parallel` in the block runs on the Ray cluster at this address; for "local" on one of `jobs` processes
    of this machine, which ends with the block. Yields how many pieces it works on at the same time.

    Its machines must see the code, the data and the run's directory under the same paths as this one.
    """
    import ray
    from ray.util.joblib import register_ray

    own = {"num_cpus": jobs, "include_dashboard": False} if address == LOCAL else {}
    try:
        if not own:  # Ray itself waits for minutes for one who does not answer
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=20.0).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise ArgumentError(
            f"--ray must be local, or the address of a Ray cluster, such as 10.0.0.1:6379, got {address!r}: "
            f"{error}"
        ) from error
    try:
        register_ray()
        with parallel_config(backend="ray"):
            yield int(ray.cluster_resources()["CPU"])
    finally:
        ray.shutdown()
