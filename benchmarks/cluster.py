"""A run on a Dask cluster, whose machines need share nothing with this one.

Code and data are sent to every worker. A piece of work is some seconds of a training, or a measurement: it is
given the files that it begins from, and returns the one that it makes. So the run's directory is here alone,
and always holds what is done; and a worker that is killed loses one piece, which another takes up. A training
that goes on from a file has the bits of an unbroken one, so the figures are those of this machine alone.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import cifar, mnist
from benchmarks.experiments import EXPERIMENTS
from benchmarks.processes import LOCAL
from benchmarks.workspace import Piece, Workspace
from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError

if TYPE_CHECKING:
    from distributed import Client

# As processes of the plain command: none is ended for its memory, nobody else is served, none talks, and none
# hears the Ctrl-C that a terminal sends to all.
ALIKE: dict[str, Any] = {
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "memory_limit": 0,
    "silence_logs": logging.CRITICAL,
    "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
}
# A piece carries the files that it begins from; and whoever starts the workers of `local` keeps their threads
# and memory as they are, also for what this process starts later.
SET: dict[str, Any] = {
    "distributed.admin.large-graph-warning-threshold": "1 TB",
    "distributed.nanny.pre-spawn-environ": {},
}
SECONDS = 10.0  # of a training in one piece: what a killed worker loses
PATIENCE = 20.0  # seconds to wait for a scheduler, and for its first worker
RETRIES = 3  # of a piece over which a process of a worker died

Made = tuple[bytes, bool]  # the content of the file that was made, and whether that is the end
Files = dict[str, bytes]  # by name in the run's directory


# ---- on a worker, in a process with this run's code


def train(workspace: Workspace, name: str, seed: int, files: Files, seconds: float) -> Made:
    """Some epochs of a training, at least one."""
    with _unpacked(workspace, files) as own:
        finished = own.train_for(name, seed, seconds)
        return own.model_path(name, seed).read_bytes(), finished


def measure(workspace: Workspace, name: str, seed: int, files: Files, seconds: float) -> Made:
    """An experiment, however long it takes."""
    with _unpacked(workspace, files) as own:
        own.measure(name, seed)
        return own.measured_path(name, seed).read_bytes(), True


@contextmanager
def _unpacked(workspace: Workspace, files: Files) -> Iterator[Workspace]:
    """The run with these files alone, in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        own = workspace.moved(folder, Path(__file__).parents[1])
        for name, content in files.items():
            (own.directory / name).write_bytes(content)
        yield own


# ---- here


class Cluster:
    """The workers of a scheduler, with this run's code and data under a name."""

    def __init__(self, client: Client, name: str, workspace: Workspace, seconds: float = SECONDS) -> None:
        self.client = client
        self.name = name
        self.workspace = workspace
        self.seconds = seconds

    def places(self) -> int:
        """How many pieces are worked on at the same time; one that waits, while no worker is there."""
        return max(1, sum(self.client.nthreads().values()))

    def train(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yields each model that is trained, as they finish."""
        path = self.workspace.model_path
        return self._work_off(train, pieces, path, lambda name, seed: [path(name, seed)])

    def measure(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yields each experiment that is measured, as they finish."""

        def models(name: str, seed: int) -> list[Path]:
            return [self.workspace.model_path(model, seed) for model in EXPERIMENTS[name].USES]

        return self._work_off(measure, pieces, self.workspace.measured_path, models)

    def _work_off(
        self,
        work: Callable[..., Made],
        pieces: Iterable[Piece],
        makes: Callable[[str, int], Path],
        begins_from: Callable[[str, int], list[Path]],
    ) -> Iterator[Piece]:
        from distributed import TimeoutError as NotYet  # the built-in one since Python 3.11
        from distributed import wait

        waiting, running = deque(pieces), {}
        while waiting or running:
            while waiting and len(running) < self.places():
                piece = waiting.popleft()
                running[self._submitted(work, piece, begins_from(*piece))] = piece
            try:
                done = wait([*running], timeout=PATIENCE, return_when="FIRST_COMPLETED").done
            except NotYet:
                if not self.client.nthreads():
                    print("the cluster has no worker; waiting for one (Ctrl-C is safe)", file=sys.stderr)
                continue
            for future in done:
                piece = running.pop(future)
                content, finished = self._made(future, piece)
                with atomic_writer(makes(*piece)) as file:
                    file.write(content)
                if finished:
                    yield piece
                else:
                    waiting.appendleft(piece)

    def _submitted(self, work: Callable[..., Made], piece: Piece, paths: Iterable[Path]) -> Any:
        """The future of a piece that begins from those of the files that there are."""
        import cloudpickle

        from benchmarks import checkout

        directory = self.workspace.directory
        files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths if path.exists()}
        call = checkout.Call(work, (self.workspace, *piece, files, self.seconds))
        asked = cloudpickle.dumps(checkout.Call(checkout.answer, (self.name, pickle.dumps(call))))
        return self.client.submit(pickle.loads, asked, pure=False, retries=RETRIES)

    def _made(self, future: Any, piece: Piece) -> Made:
        """What came of a piece; the error that it ended with, in this process."""
        from distributed import KilledWorker

        try:
            found = pickle.loads(future.result())
        except (KilledWorker, EOFError) as error:
            raise ChildProcessError(
                f"processes at work on {piece[0]}, seed {piece[1]}, were killed again and again, perhaps for "
                "want of memory; what is finished stays"
            ) from error
        if isinstance(found, ModuleNotFoundError):
            raise ArgumentError(
                f"--dask must have workers with this project's needs (pip install -e '.[benchmarks,dask]'), "
                f"but one has no {found.name}"
            ) from found
        if isinstance(found, Exception):
            raise found
        return found


@contextmanager
def connected(address: str, jobs: int, workspace: Workspace) -> Iterator[Cluster]:
    """The cluster of the scheduler at this address; for "local" one of `jobs` processes of this machine,
    which ends with the block.

    ArgumentError if no scheduler answers there, or it has no worker. ConnectionError if it is gone later.
    """
    import cloudpickle
    import dask
    from distributed import CancelledError, Client, LocalCluster

    from benchmarks import checkout

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it says is said here
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SET))
        # This module is sent by value.
        cloudpickle.register_pickle_by_value(checkout)
        stack.callback(cloudpickle.unregister_pickle_by_value, checkout)
        if address == LOCAL:
            address = stack.enter_context(LocalCluster(n_workers=jobs, **ALIKE)).scheduler_address
        try:
            check_scheduler(address)
            client = stack.enter_context(Client(address, timeout=PATIENCE))
            client.wait_for_workers(1, timeout=PATIENCE)
        except Exception as error:  # whatever is said by one who is no scheduler
            timeouts = (TimeoutError, asyncio.TimeoutError)  # one and the same since Python 3.11
            late = f"nothing answered within {PATIENCE:g} s"
            raise ArgumentError(
                f"--dask must be local, or the address of a scheduler with a worker, such as "
                f"tcp://10.0.0.1:8786, got {address!r}: "
                f"{str(error) or (late if isinstance(error, timeouts) else type(error).__name__)}"
            ) from error
        try:
            for name in client.run_on_scheduler(checkout.forgotten):
                client.unregister_worker_plugin(name)
            name = checkout.OWN + client.id
            data = {"digits": mnist.files(workspace.data_directory)}
            if workspace.cifar is not None:
                data["cifar"] = cifar.files(workspace.cifar.directory)
            client.register_plugin(checkout.Checkout(checkout.packed(data), name), name)
            yield Cluster(client, name, workspace)
        except BaseException as error:
            lost = isinstance(error, OSError) and not _answers(address)
            if lost or isinstance(error, CancelledError):
                raise ConnectionError(
                    "the scheduler is gone, or was restarted; what is finished stays"
                ) from error
            client.unregister_worker_plugin(name)
            raise
        client.unregister_worker_plugin(name)


def check_scheduler(address: str) -> None:
    """An error, whichever it is, within PATIENCE unless a scheduler answers at this address."""
    from distributed import rpc

    async def asked() -> Any:
        async with rpc(address) as other:
            return await other.identity()

    kind = asyncio.run(asyncio.wait_for(asked(), PATIENCE))["type"]
    if kind != "Scheduler":
        raise ValueError(f"a {kind} answers there")


def _answers(address: str) -> bool:
    try:
        check_scheduler(address)
    except Exception:  # of whatever kind: there is none
        return False
    return True
