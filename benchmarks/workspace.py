"""What a run has done so far, in its output directory, so that it can be killed and go on.

settings.json         what every figure depends on; a run with others does not go on from here
models/NAME-SEED.npz  a model, or the checkpoint of one in training
measured/NAME-SEED.json  what an experiment found
run.lock, owner.json  held while a run lives, and whose it is

Every file carries the settings that it was made with, and one that does not fit is named.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock, Timeout
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from threadpoolctl import threadpool_limits

from benchmarks import cifar, mnist
from benchmarks.examples import fingerprint
from benchmarks.experiments import DATA, EXPERIMENTS, RECIPES
from benchmarks.output import write_json
from benchmarks.task import Measurement, Task
from benchmarks.training import (
    History,
    Origin,
    Training,
    epochs_done,
    history,
    origin_of,
)
from minigrad import backend
from minigrad.checkpoint import remove_leftovers
from minigrad.errors import ArgumentError, DataError

# What the files NAME-SEED in each are named after, and how their names end.
FOLDERS = {"models": (RECIPES, ".npz"), "measured": (EXPERIMENTS, ".json")}


Piece = tuple[str, int]  # a model or an experiment, and its seed

Count = Annotated[int, Field(ge=1, le=10**6)]


@dataclass(frozen=True)
class Settings:
    """What every figure depends on, beside the seed."""

    scale: str
    epochs: Count | None
    backend: str
    dataset: str  # the fingerprint of its digits
    threads: Count  # of each process: they decide the order in which products are summed
    source: str  # fingerprint of the code


@dataclass(frozen=True)
class Source:
    """Where data are, and the fingerprint of what was found there.

    data  "digits" or "cifar", the names of `benchmarks.experiments.DATA`
    """

    data: str
    directory: str
    fingerprint: str


@dataclass(frozen=True)
class Change:
    """Of the code during a run: what it was, and how far the run was when it was left.

    epochs    of each model, by NAME-SEED
    measured  NAME-SEED of each experiment
    """

    source: str
    epochs: dict[str, int]
    measured: list[str]


@dataclass(frozen=True)
class Begun:
    """settings.json."""

    settings: Settings
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """What an experiment found with one seed, and how long it took."""

    measured: dict[str, Measurement]
    data: dict[str, Any]
    seconds: FiniteFloat
    origin: dict[str, Any] = field(default_factory=dict)
    checksum: str = ""  # of the others, as they stand in the file


class Workspace:
    """An output directory and the settings of its run. Small enough to send to another process."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        settings: Settings,
        data: str | os.PathLike[str],
        cifar: Source | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.settings = settings
        self.changes: list[Change] = []
        self.data_directory = os.fspath(data)
        self.cifar = cifar  # None if no row of this command needs it
        self.owner = socket.gethostname(), os.getpid()

    def moved(self, directory: str | os.PathLike[str], data: Path) -> Workspace:
        """The same run in another directory, and this process's; its data are in folders of `data`."""
        cifar = self.cifar and replace(self.cifar, directory=str(data / "cifar"))
        other = Workspace(directory, self.settings, data / "digits", cifar)
        other.changes = self.changes
        for folder in FOLDERS:
            (other.directory / folder).mkdir(parents=True, exist_ok=True)
        return other

    # ---- beginning

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Have the directory for this process alone; ArgumentError if a run that lives has it. The lock is
        the system's, and ends with the process however that ends."""
        owner = self.directory / "owner.json"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            with FileLock(self.directory / "run.lock", blocking=False):
                write_json(owner, {"host": self.owner[0], "process": self.owner[1], "since": now})
                yield
        except Timeout as error:
            who = "that does not say which it is"
            with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
                told = json.loads(owner.read_text(encoding="utf-8"))
                who = f"process {told['process']!r} on {told['host']!r}, since {told['since']!r}"
            raise ArgumentError(
                f"--out must be another directory, or wait: a run writes into {self.directory} ({who})"
            ) from error

    def check(self, resume: bool | None) -> Begun | None:
        """What is to be gone on from (resume None or True); None if the run begins here, or anew (False).

        ArgumentError if what is there is no run, or has other settings: hours of work are not to be lost to a
        mistyped command. With resume True it goes on although the code was changed.
        """
        self._refuse_others()
        there = None if resume is False or not self._has_work() else self._begun()
        if there is None:
            if resume is True:
                raise ArgumentError(f"--resume needs a run to go on from, got {self.directory} without one")
            return None
        # The threads stay those that the run began with, whatever --jobs is now.
        own = replace(self.settings, threads=there.settings.threads)
        for name, fact in asdict(own).items():
            other = getattr(there.settings, name)
            if other == fact or (name == "source" and resume is True):
                continue
            if name == "dataset":
                other, fact = mnist.name_of(other), mnist.name_of(fact)
            other, fact = ("none" if value is None else value for value in (other, fact))
            changed = " (the code was changed since, and --resume goes on with it as it is now)"
            raise ArgumentError(
                f"--out must be another directory, or --no-resume given to begin anew: the run in "
                f"{self.directory} was begun with {name} {other}, and this command has {fact}"
                f"{changed if name == 'source' else ''}"
            )
        return there

    def _refuse_others(self) -> None:
        """ArgumentError if the directory holds files of somebody's that a run would write over or delete."""
        settings = self.directory / "settings.json"
        mine = not _is_foreign(settings) if settings.is_file() else self._begun() is not None
        # The locks, and folders with nothing in them, are all that a run leaves that is killed at once.
        files = {"owner.json": True, "run.lock": True}
        files |= dict.fromkeys(("settings.json", "paper.json", "report.html"), mine)
        for name, own in files.items():
            path = self.directory / name
            if path.exists() and not (own and path.is_file()):
                raise ArgumentError(f"--out must be another directory: {path} is not of such a run")
        for name in (*FOLDERS, "figures"):
            path = self.directory / name
            if path.exists() and not (path.is_dir() and (mine or not any(path.iterdir()))):
                raise ArgumentError(f"--out must be another directory: {path} is not of such a run")

    def begin(self, resume: bool | None) -> None:
        """Go on from what `check` finds, or clear what is there."""
        there = self.check(resume)
        if there is not None:
            self.settings = replace(self.settings, threads=there.settings.threads)
            self.changes = there.changes
            if there.settings.source != self.settings.source:
                self.changes = [*there.changes, self._left_at(there.settings.source)]
        else:
            reports = [self.directory / "paper.json", self.directory / "report.html"]
            for path in (*reports, *(p for folder in FOLDERS for p in self._files(folder))):
                path.unlink(missing_ok=True)
        for folder in ("", *FOLDERS, "figures"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.directory / folder)
        write_json(self.directory / "settings.json", asdict(Begun(self.settings, self.changes)))

    def _has_work(self) -> bool:
        """Whether a run has left anything here that took time."""
        files = (path for folder in FOLDERS for path in self._files(folder))
        return (self.directory / "paper.json").exists() or any(True for _ in files)

    def _begun(self) -> Begun | None:
        """The run in this directory; None if there is none. Without settings.json, what a file carries."""
        path = self.directory / "settings.json"
        if path.is_file():
            return _read(Begun, path, "delete it, and it is made anew from the other files")
        for file in (*self._files("measured"), *self._files("models")):
            with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
                facts = json.loads(file.read_bytes())["origin"] if file.suffix == ".json" else origin_of(file)
                return Begun(TypeAdapter(Settings).validate_python(facts))
        return None

    def _left_at(self, source: str) -> Change:
        """The change from this state of the code, now."""
        epochs = {path.stem: epochs_done(path)[0] for path in self._files("models")}
        return Change(source, epochs, [path.stem for path in self._files("measured")])

    def _files(self, folder: str) -> Iterator[Path]:
        """The files that runs write into a folder."""
        names, ending = FOLDERS[folder]
        for name in names:
            for path in sorted((self.directory / folder).glob(f"{name}-*{ending}")):
                if path.stem.removeprefix(f"{name}-").isdecimal():
                    yield path

    def origin(self, name: str, seed: int) -> Origin:
        """What a file of this name and seed is made with."""
        facts = {"name": name, "seed": seed, **asdict(self.settings)}
        if self.cifar is not None and DATA[name] == "cifar":
            facts["cifar"] = self.cifar.fingerprint
        return Origin(facts, [change.source for change in self.changes])

    # ---- models

    def model_path(self, name: str, seed: int) -> Path:
        return self.directory / "models" / f"{name}-{seed}.npz"

    def epochs_done(self, name: str, seed: int) -> tuple[int, bool]:
        return epochs_done(self.model_path(name, seed))

    def model(self, name: str, seed: int) -> tuple[Any, History]:
        """The trained model of this name, and its history; trains it if that is not done."""
        with self._computing():
            training = self._trained(name, seed)
            return training.model.eval(), training.history

    def _trained(self, name: str, seed: int, seconds: float = float("inf")) -> Training:
        """A model's training, gone on with for so many seconds."""
        training = self._training(name, seed)
        training.go_on(self.model_path(name, seed), self.origin(name, seed), seconds)
        return training

    def _training(self, name: str, seed: int) -> Training:
        settings, examples = self.settings, self.examples(DATA[name])[0]
        return Training(RECIPES[name], settings.scale, seed, examples, settings.epochs)

    def history(self, name: str, seed: int) -> History | None:
        """The history of a model, without the model; None if it is not finished. DataError if the file is
        none that a training leaves."""
        path = self.model_path(name, seed)
        epochs, finished = epochs_done(path)
        if not path.exists() or (epochs and not finished):
            return None
        return history(path, self.origin(name, seed))

    def train(self, name: str, seed: int) -> tuple[str, int]:
        """Train a model, and leave it in its file; returns what was trained."""
        self.model(name, seed)
        return name, seed

    def train_for(self, name: str, seed: int, seconds: float) -> bool:
        """Go on with a model's training for so many seconds; returns whether it is finished."""
        with self._computing():
            return self._trained(name, seed, seconds).finished

    def seconds_an_epoch(self, name: str) -> float:
        """About how long an epoch of a model takes here, from a few updates that are then forgotten."""
        with self._computing():
            return self._training(name, seed=0).seconds_an_epoch()

    # ---- measurements

    def measured_path(self, name: str, seed: int) -> Path:
        return self.directory / "measured" / f"{name}-{seed}.json"

    def measure(self, name: str, seed: int) -> tuple[str, int]:
        """Run an experiment, and leave what it finds in its file; returns which it was."""
        with self._computing():
            began = time.perf_counter()
            train, test = self.examples(DATA[name])
            models = functools.cache(lambda model: self.model(model, seed)[0])
            task = Task(train, test, self.settings.scale, seed, models)
            measured = EXPERIMENTS[name].run(task)
            content = {
                "measured": {key: asdict(measurement) for key, measurement in measured.items()},
                "data": task.data,
                "seconds": time.perf_counter() - began,
                "origin": self.origin(name, seed).facts,
            }
            write_json(self.measured_path(name, seed), {**content, "checksum": _checksum(content)})
        return name, seed

    def found(self, name: str, seed: int) -> Found | None:
        """What the experiment found; None if it has not run."""
        path = self.measured_path(name, seed)
        if not path.exists():
            return None
        found = _read(Found, path, "delete it to measure anew")
        self.origin(name, seed).check(path, found.origin)
        if missing := [row.key for row in EXPERIMENTS[name].ROWS if row.key not in found.measured]:
            raise DataError(f"{path} must have all rows of {name}, but lacks {missing[0]}; delete it")
        content = json.loads(path.read_bytes())
        if content.pop("checksum", None) != _checksum(content):
            raise DataError(f"{path} must be as a run left it, but was changed; delete it to measure anew")
        return found

    def seeds_found(self, name: str) -> list[int]:
        """The seeds with which an experiment has run."""
        found = (path.stem.rpartition("-") for path in self._files("measured"))
        return sorted(int(seed) for own, _, seed in found if own == name)

    # ---- what computing needs

    def digits(self) -> tuple[Any, Any]:
        """(training set, test set), as `examples`."""
        return self.examples("digits")

    def examples(self, data: str) -> tuple[Any, Any]:
        """(training set, test set) of what DATA names; who looks at photos gets the digits beside.

        ArgumentError without a directory of CIFAR-10's files, DataError if the files are no longer those that
        the run began with.
        """
        source = Source("digits", self.data_directory, self.settings.dataset)
        if data == "cifar":
            if self.cifar is None:
                raise ArgumentError("--cifar must be the directory of CIFAR-10's files for this, got none")
            source = self.cifar
        return _examples(source, self.settings.backend)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """The run's array library, and this process's share of the threads for matrix products.

        DataError if this process has other code than the run began with: it was started later.
        """
        if source_fingerprint() != self.settings.source:
            raise DataError(
                "the code must stay as it is while a run goes on, but it was changed: the same command with "
                "--resume goes on with it as it is now"
            )
        with (
            only_while(*self.owner),
            backend.use(self.settings.backend),
            threadpool_limits(self.settings.threads),
        ):
            yield


@contextmanager
def only_while(host: str, process: int) -> Iterator[None]:
    """End this process if it does this block for one that is gone, on the same machine: a cluster's worker,
    whose parent is another."""
    through = threading.Event()

    def watch() -> None:
        while not through.wait(0.5):
            try:
                os.kill(process, 0)  # sends nothing
            except ProcessLookupError:
                os._exit(1)
            except PermissionError:  # it is there, and of another user
                pass

    if os.name == "posix" and host == socket.gethostname() and process not in (os.getpid(), os.getppid()):
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        through.set()


@functools.lru_cache(maxsize=2)
def _examples(source: Source, library: str) -> tuple[Any, Any]:
    load, option = (cifar.load_pixels, "--cifar") if source.data == "cifar" else (mnist.load, "--data")
    sets = load(source.directory)
    if fingerprint(*sets) != source.fingerprint:
        raise DataError(
            f"{option} must stay as it is while a run goes on, but {source.directory} holds other data now"
        )
    if source.data == "cifar":
        sets = cifar.prepare(*sets)
    return tuple(part.to(library) for part in sets)


def _read(kind: Any, path: Path, hint: str) -> Any:
    """The file as a `kind`, or a DataError that says what in it does not fit."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(map(str, first["loc"]))
        raise DataError(
            f"{path} must be JSON as a run leaves it: {where}{': ' * bool(where)}{first['msg']}; {hint}"
        ) from error


def _is_foreign(settings: Path) -> bool:
    """Whether a settings.json is JSON, but not of a run. (A run's may be damaged.)"""
    try:
        content = json.loads(settings.read_bytes())
    except (ValueError, RecursionError):
        return False
    return not (isinstance(content, dict) and "settings" in content)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def source_fingerprint() -> str:
    """Tells one state of the code that the figures come from from another: this process's."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in ("minigrad", "models", "attacks", "benchmarks/experiments"):
        for path in sorted((root / package).rglob("[!.]*.py")):
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                digest.update(path.read_bytes())
    for name in ("recipe", "task", "training", "cifar", "examples", "mnist", "photos"):
        digest.update((root / "benchmarks" / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]
