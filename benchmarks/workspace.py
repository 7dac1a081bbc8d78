"""What a run has done so far, in its output directory, so that it can be killed and go on.

settings.json         what every figure depends on; a run with others does not go on from here
models/NAME-SEED.npz  a model, or the checkpoint of one in training
measured/NAME-SEED.json  what an experiment found
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import minigrad as mg
from benchmarks import mnist
from benchmarks.experiments import EXPERIMENTS, RECIPES
from benchmarks.mnist import Digits
from benchmarks.task import Measurement, Task
from benchmarks.training import History, epochs_done, history, trained
from minigrad import backend
from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError


@dataclass(frozen=True)
class Settings:
    """What every figure depends on, beside the seed."""

    scale: str
    epochs: int | None
    backend: str
    digits: str  # fingerprint of the data
    version: str = mg.__version__


@dataclass(frozen=True)
class Found:
    """What an experiment found with one seed, and how long it took."""

    measured: dict[str, Measurement]
    data: dict[str, Any]
    seconds: float


class Workspace:
    """An output directory and the settings of its run. Small enough to send to another process."""

    def __init__(
        self, directory: str | os.PathLike[str], settings: Settings, data: str | os.PathLike[str]
    ) -> None:
        self.directory = Path(directory)
        self.settings = settings
        self.data = os.fspath(data)
        self.owner = socket.gethostname(), os.getpid()

    # ---- beginning

    def begin(self, resume: bool | None) -> None:
        """Go on from what is there (resume None or True), or clear it (False).

        ArgumentError where what is there has other settings: hours of work are not to be lost to a
        mistyped command.
        """
        file = self.directory / "settings.json"
        if resume is False:
            for name in ("models", "measured"):
                shutil.rmtree(self.directory / name, ignore_errors=True)
        elif file.exists():
            there = json.loads(file.read_text())
            if differing := [name for name, own in asdict(self.settings).items() if there.get(name) != own]:
                raise ArgumentError(
                    f"--out must be another directory, or --no-resume given to begin anew: "
                    f"{self.directory} holds a run with "
                    + ", ".join(f"{name} {there.get(name)!r}" for name in differing)
                )
        elif resume is True:
            raise ArgumentError(f"--resume needs a run to go on from, got {self.directory} without one")
        for name in ("models", "measured"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.write("settings.json", asdict(self.settings))

    def write(self, name: str, content: Any) -> None:
        with atomic_writer(self.directory / name) as file:
            file.write(json.dumps(content, indent=1).encode())

    def leave_if_orphaned(self) -> None:
        """End this process where it works for one on this machine that is gone, killed perhaps: or else
        it would work off all that is queued, beside the run that goes on from here."""
        host, process = self.owner
        if os.name == "posix" and process != os.getpid() and host == socket.gethostname():
            try:
                os.kill(process, 0)  # sends nothing
            except ProcessLookupError:
                os._exit(1)

    # ---- models

    def model_path(self, name: str, seed: int) -> Path:
        return self.directory / "models" / f"{name}-{seed}.npz"

    def epochs_done(self, name: str, seed: int) -> tuple[int, bool]:
        return epochs_done(self.model_path(name, seed))

    def model(self, name: str, seed: int, threads: int | None = None) -> tuple[Any, History]:
        """The trained model of this name, and its history; trains it where that is not done."""
        with self._computing(threads):
            path, settings = self.model_path(name, seed), self.settings
            return trained(
                RECIPES[name], settings.scale, seed, self.digits()[0], path, settings.epochs,
                after_step=self.leave_if_orphaned,
            )  # fmt: skip

    def history(self, name: str, seed: int) -> History:
        """The history of a finished model, without the model."""
        return history(self.model_path(name, seed))

    def train(self, name: str, seed: int, threads: int) -> tuple[str, int]:
        """Train a model, and leave it in its file; returns what was trained."""
        self.model(name, seed, threads)
        return name, seed

    # ---- measurements

    def measured_path(self, name: str, seed: int) -> Path:
        return self.directory / "measured" / f"{name}-{seed}.json"

    def measure(self, name: str, seed: int, threads: int) -> tuple[str, int]:
        """Run an experiment, and leave what it finds in its file; returns which it was."""
        self.leave_if_orphaned()
        with self._computing(threads):
            began = time.perf_counter()
            train, test = self.digits()
            models = functools.cache(lambda model: self.model(model, seed)[0])
            task = Task(train, test, self.settings.scale, seed, models)
            measured = EXPERIMENTS[name].run(task)
            content = {
                "measured": {key: asdict(measurement) for key, measurement in measured.items()},
                "data": task.data,
                "seconds": time.perf_counter() - began,
            }
            self.write(f"measured/{name}-{seed}.json", content)
        return name, seed

    def found(self, name: str, seed: int) -> Found | None:
        """What the experiment found; None where it has not run."""
        path = self.measured_path(name, seed)
        if not path.exists():
            return None
        content = json.loads(path.read_text())
        measured = {key: _measurement(fields) for key, fields in content["measured"].items()}
        return Found(measured, content["data"], content["seconds"])

    # ---- what computing needs

    def digits(self) -> tuple[Digits, Digits]:
        return _digits(self.data, self.settings.backend)

    @contextmanager
    def _computing(self, threads: int | None) -> Iterator[None]:
        """The run's array library, and a share of the threads for NumPy's matrix products."""
        share = nullcontext() if threads is None else threadpool_limits(threads)
        with backend.use(self.settings.backend), share:
            yield


@functools.lru_cache(maxsize=1)
def _digits(data: str, library: str) -> tuple[Digits, Digits]:
    train, test = mnist.load(data)
    return train.to(library), test.to(library)


def _measurement(fields: dict[str, Any]) -> Measurement:
    for variant in ("clipped", "rounded"):
        if fields[variant] is not None:
            fields[variant] = _measurement(fields[variant])
    return Measurement(**fields)
