"""A run on a Dask cluster, whose machines need share nothing with this one.

Code and data are sent to every worker. A piece of work is some seconds of a training, or a measurement: it is
given the files that it begins from, and returns the one that it makes. So the run's directory is here alone,
and always holds what is done; and a worker that is killed loses one piece, which another takes up. A training
that goes on from a file has the bits of an unbroken one, so the figures are those of this machine alone.
"""

from __future__ import annotations

import logging
import pickle
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import cifar, mnist
from benchmarks.experiments import EXPERIMENTS
from benchmarks.signals import deaf_processes
from benchmarks.workspace import Piece, Workspace
from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
# As processes of the plain command: none is ended for its memory, nobody else is served, and none talks.
ALIKE: dict[str, Any] = {
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "memory_limit": 0,
    "silence_logs": logging.CRITICAL,
}
SECONDS = 10.0  # of a training in one piece: what a killed worker loses
PATIENCE = 20.0  # seconds to wait for a scheduler, and for its first worker

Made = tuple[str, bytes, bool]  # a file's name in the run's directory, its content, whether that is the end
Files = dict[str, bytes]  # by name in the run's directory

ALONE = threading.Lock()  # limits of BLAS's threads are those of a process, so it does one piece at a time


# ---- on a worker


def train(workspace: Workspace, name: str, seed: int, files: Files, seconds: float) -> Made:
    """Some epochs of a training, at least one."""
    with _unpacked(workspace, files) as own:
        finished = own.train_for(name, seed, seconds)
        return _made(own, own.model_path(name, seed), finished)


def measure(workspace: Workspace, name: str, seed: int, files: Files, seconds: float) -> Made:
    """An experiment, however long it takes."""
    with _unpacked(workspace, files) as own:
        own.measure(name, seed)
        return _made(own, own.measured_path(name, seed), True)


@contextmanager
def _unpacked(workspace: Workspace, files: Files) -> Iterator[Workspace]:
    """The run with these files alone, in a directory that is gone afterwards."""
    with ALONE, tempfile.TemporaryDirectory() as folder:
        own = workspace.moved(folder, Path(__file__).parents[1])
        for name, content in files.items():
            path = own.directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        yield own


def _made(workspace: Workspace, path: Path, finished: bool) -> Made:
    return path.relative_to(workspace.directory).as_posix(), path.read_bytes(), finished


# ---- here


@dataclass(frozen=True)
class Call:
    """Reading a pickle of it calls the function: workers do, and the scheduler, which lacks this code, moves
    bytes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


class Cluster:
    """The workers of a scheduler, with this run's code and data."""

    def __init__(self, client: Client, workspace: Workspace, seconds: float = SECONDS) -> None:
        self.client = client
        self.workspace = workspace
        self.seconds = seconds
        self.gone = False  # the scheduler

    @contextmanager
    def asking(self) -> Iterator[None]:
        """What fails in the block fails because the scheduler is gone."""
        from distributed import CancelledError

        try:
            yield
        except (CancelledError, OSError) as error:
            self.gone = True
            raise ConnectionError("the scheduler is gone; what is finished stays") from error

    def places(self) -> int:
        """How many pieces are worked on at the same time; one that waits, while no worker is there."""
        with self.asking():
            return max(1, len(self.client.nthreads()))

    def train(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yields each model that is trained, as they finish."""

        def checkpoint(name: str, seed: int) -> list[Path]:
            return [self.workspace.model_path(name, seed)]

        return self._work_off(train, pieces, checkpoint)

    def measure(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yields each experiment that is measured, as they finish."""

        def models(name: str, seed: int) -> list[Path]:
            return [self.workspace.model_path(model, seed) for model in EXPERIMENTS[name].USES]

        return self._work_off(measure, pieces, models)

    def _work_off(
        self,
        work: Callable[..., Made],
        pieces: Iterable[Piece],
        begins_from: Callable[[str, int], list[Path]],
    ) -> Iterator[Piece]:
        from distributed import KilledWorker, as_completed

        directory = self.workspace.directory
        waiting, running, futures = deque(pieces), {}, as_completed()
        while waiting or running:
            places = self.places()
            while waiting and len(running) < places:
                piece = waiting.popleft()
                paths = [path for path in begins_from(*piece) if path.exists()]
                files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
                call = pickle.dumps(Call(work, (self.workspace, *piece, files, self.seconds)))
                with self.asking():
                    future = self.client.submit(pickle.loads, call, pure=False)
                    futures.add(future)
                running[future.key] = piece
            with self.asking():
                future = next(futures)
                failed = future.exception()
            piece = running.pop(future.key)
            if isinstance(failed, KilledWorker):
                raise ChildProcessError(
                    f"{failed.allowed_failures + 1} workers were killed at {piece[0]}, seed {piece[1]}, "
                    "perhaps for want of memory; what is finished stays"
                )
            made, content, finished = future.result()  # or the worker's own error
            with atomic_writer(directory / made) as file:
                file.write(content)
            if finished:
                yield piece
            else:
                waiting.appendleft(piece)


@contextmanager
def connected(address: str, jobs: int, workspace: Workspace) -> Iterator[Cluster]:
    """The cluster of the scheduler at this address; for "local" one of `jobs` processes of this machine,
    which ends with the block.

    ArgumentError if nobody answers there, there is no worker, or one has several threads.
    """
    import cloudpickle
    import dask
    from distributed import Client, LocalCluster

    from benchmarks import checkout

    with ExitStack() as stack:
        # A piece carries the files that it begins from.
        stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}))
        if address == LOCAL:
            with deaf_processes():
                own = stack.enter_context(LocalCluster(n_workers=jobs, threads_per_worker=1, **ALIKE))
            address = own.scheduler_address
        try:
            client = stack.enter_context(Client(address, timeout=PATIENCE))
            client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise ArgumentError(
                f"--dask must be local, or the address of a scheduler with a worker, such as "
                f"tcp://10.0.0.1:8786, got {address!r}: {error}"
            ) from error
        if many := [name for name, threads in client.nthreads().items() if threads != 1]:
            raise ArgumentError(
                f"--dask must have workers of one thread each (dask worker {address} --nworkers N "
                f"--nthreads 1), got {len(many)} with more, such as {many[0]}"
            )
        data = {"digits": mnist.files(workspace.data_directory)}
        if workspace.cifar is not None:
            data["cifar"] = cifar.files(workspace.cifar.directory)
        name = f"minigrad-{workspace.settings.source}-{workspace.owner[1]}"
        cloudpickle.register_pickle_by_value(checkout)
        try:
            client.register_plugin(checkout.Checkout(checkout.packed(data), name), name)
        finally:
            cloudpickle.unregister_pickle_by_value(checkout)
        workers = Cluster(client, workspace)
        try:
            yield workers
        finally:
            if not workers.gone:
                client.unregister_worker_plugin(name)
