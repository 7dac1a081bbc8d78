"""What a run has done so far, in its output directory, so that it can be killed and go on.

settings.json         what every figure depends on; a run with others does not go on from here
models/NAME-SEED.npz  a model, or the checkpoint of one in training
measured/NAME-SEED.json  what an experiment found
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import mnist
from benchmarks.experiments import EXPERIMENTS, RECIPES
from benchmarks.mnist import Digits
from benchmarks.task import Measurement, Task
from benchmarks.training import History, epochs_done, history, trained
from minigrad import backend
from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError, DataError

FOLDERS = {"models": RECIPES, "measured": EXPERIMENTS}  # and what their files are named after


@dataclass(frozen=True)
class Settings:
    """What every figure depends on, beside the seed."""

    scale: str
    epochs: int | None
    backend: str
    digits: str  # fingerprint of the data
    threads: int  # of each process: they decide the order in which products are summed
    source: str  # fingerprint of the code


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

        ArgumentError if what is there has other settings: hours of work are not to be lost to a
        mistyped command.
        """
        there = self.settings_there()
        if there is None:
            if resume is True:
                raise ArgumentError(f"--resume needs a run to go on from, got {self.directory} without one")
            if occupied := [name for name in FOLDERS if (self.directory / name).exists()]:
                raise ArgumentError(
                    f"--out must be another directory: {self.directory / occupied[0]} is not of such a run"
                )
        elif resume is False:
            for folder, names in FOLDERS.items():
                for path in self._files(folder, names):
                    path.unlink()
        else:
            # The threads stay those that the run began with, whatever --jobs is now.
            self.settings = replace(self.settings, threads=there.get("threads", self.settings.threads))
            if differing := [name for name, own in asdict(self.settings).items() if there.get(name) != own]:
                raise ArgumentError(
                    f"--out must be another directory, or --no-resume given to begin anew: "
                    f"{self.directory} holds a run with another {differing[0]}"
                    f"{' (the code was changed since)' if differing[0] == 'source' else ''}, "
                    f"{there.get(differing[0])!r} and not {getattr(self.settings, differing[0])!r}"
                )
        for name in FOLDERS:
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.write("settings.json", asdict(self.settings))

    def settings_there(self) -> dict[str, Any] | None:
        """The settings of the run in this directory; None if there is none."""
        path = self.directory / "settings.json"
        return _read_json(path) if path.exists() else None

    def _files(self, folder: str, names: Iterable[str]) -> Iterator[Path]:
        """The files NAME-SEED.* of the folder."""
        for name in names:
            for path in (self.directory / folder).glob(f"{name}-*.*"):
                if path.stem.removeprefix(f"{name}-").isdigit():
                    yield path

    def write(self, name: str, content: Any) -> None:
        with atomic_writer(self.directory / name) as file:
            file.write(json.dumps(content, indent=1).encode())

    def leave_if_orphaned(self) -> None:
        """End this process if it works for one on this machine that is gone, killed perhaps: or else
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

    def model(self, name: str, seed: int) -> tuple[Any, History]:
        """The trained model of this name, and its history; trains it if that is not done."""
        with self._computing():
            path, settings = self.model_path(name, seed), self.settings
            return trained(
                RECIPES[name], settings.scale, seed, self.digits()[0], path, settings.epochs,
                after_step=self.leave_if_orphaned,
            )  # fmt: skip

    def history(self, name: str, seed: int) -> History:
        """The history of a finished model, without the model."""
        return history(self.model_path(name, seed))

    def train(self, name: str, seed: int) -> tuple[str, int]:
        """Train a model, and leave it in its file; returns what was trained."""
        self.model(name, seed)
        return name, seed

    # ---- measurements

    def measured_path(self, name: str, seed: int) -> Path:
        return self.directory / "measured" / f"{name}-{seed}.json"

    def measure(self, name: str, seed: int) -> tuple[str, int]:
        """Run an experiment, and leave what it finds in its file; returns which it was."""
        self.leave_if_orphaned()
        with self._computing():
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
        """What the experiment found; None if it has not run."""
        path = self.measured_path(name, seed)
        if not path.exists():
            return None
        content = _read_json(path)
        measured = {key: _measurement(fields) for key, fields in content["measured"].items()}
        return Found(measured, content["data"], content["seconds"])

    def seeds_found(self, name: str) -> list[int]:
        """The seeds with which an experiment has run."""
        return sorted(int(path.stem.rpartition("-")[2]) for path in self._files("measured", [name]))

    # ---- what computing needs

    def digits(self) -> tuple[Digits, Digits]:
        return _digits(self.data, self.settings.backend)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """The run's array library, and this process's share of the threads for matrix products."""
        with backend.use(self.settings.backend), threadpool_limits(self.settings.threads):
            yield


@functools.lru_cache(maxsize=1)
def _digits(data: str, library: str) -> tuple[Digits, Digits]:
    train, test = mnist.load(data)
    return train.to(library), test.to(library)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} must be JSON, as a run leaves it: {error}; delete it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must be a JSON object, as a run leaves it; delete it")
    return content


def source_fingerprint() -> str:
    """Tells one state of the code that the figures come from from another."""
    found = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in ("minigrad", "models", "attacks", "benchmarks/experiments"):
        for path in sorted((root / package).rglob("*.py")):
            found.update(path.read_bytes())
    for name in ("recipe", "task", "training", "mnist"):
        found.update((root / "benchmarks" / f"{name}.py").read_bytes())
    return found.hexdigest()[:16]


def _measurement(fields: dict[str, Any]) -> Measurement:
    for variant in ("clipped", "rounded"):
        if fields[variant] is not None:
            fields[variant] = _measurement(fields[variant])
    return Measurement(**fields)
