"""This checkout's code and a run's data, on every worker of a Dask cluster, and the processes there that work
with them. This module is sent by value, for nobody there has the code yet: it imports Dask alone."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from distributed import WorkerPlugin, get_worker

PACKAGES = ("attacks", "benchmarks", "minigrad", "models")
NOT_SENT = ("benchmarks/results", "benchmarks/data/mnist")  # the digits are sent as the run's data
OWN = "minigrad-"  # what the names of these plugins begin with


def packed(data: Mapping[str, list[Path]]) -> bytes:
    """An archive of the packages as they are on the disk, and of the files of each data set in a folder of
    its name."""
    root, content = Path(__file__).parents[1], io.BytesIO()
    left_out = [root / name for name in NOT_SENT]
    with zipfile.ZipFile(content, "w", strict_timestamps=False) as archive:  # not compressed: the data are
        for package in PACKAGES:
            for path in sorted((root / package).rglob("*")):
                kept = "__pycache__" not in path.parts and not any(map(path.is_relative_to, left_out))
                if path.is_file() and kept:
                    archive.write(path, path.relative_to(root))
        for name, files in data.items():
            for path in files:
                archive.write(path, Path(name) / path.name)
    return content.getvalue()


class Checkout(WorkerPlugin):
    """Unpacks an archive of `packed` on every worker, also on those that come later. Each thread of a worker
    has a process of its own that works from there, and hears nothing of other runs."""

    def __init__(self, archive: bytes, name: str) -> None:
        self.archive, self.name = archive, name
        self.environment = {key: v for key, v in os.environ.items() if key.startswith("MINIGRAD_")}

    def setup(self, worker: Any) -> None:
        self.folder = os.path.join(worker.local_directory, self.name)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}  # by thread
        with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
            archive.extractall(self.folder)

    def teardown(self, worker: Any) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, piece: bytes) -> bytes:
        """The answer of this thread's process. EOFError if it dies over it."""
        process = self.processes.get(threading.get_ident())
        if process is None or process.poll() is not None:
            process = self.processes[threading.get_ident()] = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, piece)
        return receive(process.stdout)

    def _started(self) -> subprocess.Popen[bytes]:
        # The nanny's setting makes memory slow: without it minigrad has freed memory kept. And the code is to
        # be found where the process begins.
        unwanted = ("MALLOC_TRIM_THRESHOLD_", "PYTHONSAFEPATH")
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("MINIGRAD_") and key not in unwanted}  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.servant"], cwd=self.folder, env=environment | self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip


def send(pipe: BinaryIO, content: bytes) -> None:
    pipe.write(len(content).to_bytes(8, "big") + content)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes:
    """What `send` wrote; EOFError if the pipe ends before."""
    head = pipe.read(8)
    content = pipe.read(int.from_bytes(head, "big"))
    if len(head) < 8 or len(content) < int.from_bytes(head, "big"):
        raise EOFError("the process at work has ended")
    return content


# ---- what is asked of workers and scheduler


@dataclass(frozen=True)
class Call:
    """Reading a pickle of it calls the function: workers do, and the scheduler moves bytes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def answer(name: str, piece: bytes) -> bytes:
    """A worker's answer to a piece of the run of this name."""
    return get_worker().plugins[name].call(piece)


def forgotten(dask_scheduler: Any) -> list[str]:
    """The plugins of runs that ended without a word: their clients are gone."""
    names = [name for name in dask_scheduler.worker_plugins if name.startswith(OWN)]
    return [name for name in names if name.removeprefix(OWN) not in dask_scheduler.clients]
