"""A run on a Dask or Ray cluster: real ones, whose workers are processes of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cluster, mnist
from benchmarks.examples import fingerprint
from benchmarks.paper import CLUSTERS
from benchmarks.processes import on_ray
from benchmarks.workspace import Settings, Workspace, source_fingerprint
from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError, DataError
from tests.kills import state_of, write_few_digits

ROOT = Path(__file__).parents[1]
THERE = [name for name, library in CLUSTERS.items() if find_spec(library)]
if not THERE:
    pytest.skip("needs a cluster's library: pip install -e '.[dask,ray]'", allow_module_level=True)
# Sockets and subprocesses of the libraries' own that the garbage collector closes.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_few_digits(folder, others=3000)
    return folder


@contextmanager
def started(folder: Path, says: str, *command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A command of Dask's, until the block ends; yields (what it says at first after these words, itself)."""
    with subprocess.Popen(
        [sys.executable, "-m", "dask", *command, "--no-dashboard"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = next(line.partition(says)[2].strip() for line in process.stdout if says in line)
        reader = threading.Thread(target=process.stdout.read)  # so that who writes never waits
        reader.start()
        try:
            yield first, process
        finally:
            process.terminate()
            reader.join()


@contextmanager
def scheduler_and_workers(folder: Path, count: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(the scheduler's address, its process), with so many workers in a directory of their own."""
    pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
    with (
        started(folder, "Scheduler at:", "scheduler", "--host", "127.0.0.1", "--port", "0") as (
            found,
            process,
        ),
        started(folder, "Registered to:", "worker", found, "--nthreads", "1", "--nworkers", count),
    ):
        yield found, process


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scheduler_and_workers(tmp_path_factory.mktemp("cluster"), "2") as (found, _):
        yield found


@pytest.fixture
def workspace(digits: Path, tmp_path: Path) -> Callable[[str], Workspace]:
    """A run that has begun in a directory of this name."""

    def begun(name: str) -> Workspace:
        known = fingerprint(*mnist.load(digits))
        own = Workspace(
            tmp_path / name, Settings("quick", 3, "numpy", known, 1, source_fingerprint()), digits
        )
        own.begin(None)
        return own

    return begun


def arrays(workspace: Workspace) -> dict[str, bytes]:
    found = {}
    for path in sorted((workspace.directory / "models").iterdir()):
        with np.load(path) as file:
            found |= {f"{path.name}/{name}": file[name].tobytes() for name in file.files}
    return found


def run(digits: Path, out: Path, *options: str) -> str:
    """The paper command, cut down, in a process of its own; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "paper", "--rows", "softmax", "logistic", "--epochs", "2",
         "--data", str(digits), "--out", str(out), *options],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plain(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "run"
    run(digits, out)
    return out


@pytest.mark.parametrize("library", THERE)
def test_a_cluster_on_this_machine_gives_the_files_and_figures_of_the_plain_command(
    library: str, digits: Path, plain: Path, tmp_path: Path
) -> None:
    said = run(digits, tmp_path / "run", f"--{library}", "local")
    assert re.search(r"\d+ of 16 models trained", said)
    assert state_of(tmp_path / "run") == state_of(plain)


@pytest.mark.skipif("ray" not in THERE, reason="needs Ray: pip install -e '.[ray]'")
@pytest.mark.parametrize("given", ["127.0.0.1:9", "nowhere:5", "9", "127.0.0.1"])
def test_the_address_of_ray_is_that_of_a_cluster(given: str) -> None:
    with pytest.raises(ArgumentError, match=f"--ray must be local.* got '{given}'"), on_ray(given, 1):
        pass


def test_a_cluster_gives_the_files_and_figures_of_the_plain_command(
    address: str, digits: Path, plain: Path, tmp_path: Path
) -> None:
    said = run(digits, tmp_path / "run", "--dask", address)
    assert re.search(r"\d+ of 16 models trained", said)
    assert state_of(tmp_path / "run") == state_of(plain)


def test_what_a_killed_worker_did_is_taken_up_by_another(
    address: str, workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [("softmax", 0), ("softmax", 1), ("logistic", 0)]
    unbroken, killed = workspace("unbroken"), workspace("killed")
    for piece in pieces:
        unbroken.train(*piece)
    unbroken.measure("softmax", 0)
    made: list[Path] = []
    with cluster.connected(address, 2, killed) as workers:
        workers.seconds = 0.0  # an epoch a piece
        client = workers.client
        client.wait_for_workers(2)
        before = client.run(os.getpid)

        def write(path: Path) -> Any:
            made.append(path)
            if len(made) == 2:
                busy = next((name for name, keys in client.processing().items() if keys), min(before))
                os.kill(before[busy], signal.SIGKILL)
            return atomic_writer(path)

        monkeypatch.setattr(cluster, "atomic_writer", write)
        assert sorted(workers.train(pieces)) == sorted(pieces)
        assert list(workers.measure([("softmax", 0)])) == [("softmax", 0)]
        client.wait_for_workers(2)
        after = client.run(os.getpid)
    assert len(made) == 3 * len(pieces) + 1
    assert len(set(after.values()) - set(before.values())) == 1  # the killed one was replaced
    assert arrays(killed) == arrays(unbroken)
    one, other = (own.found("softmax", 0) for own in (killed, unbroken))
    assert one is not None
    assert other is not None
    assert one.measured == other.measured


def test_workers_import_the_code_that_they_are_sent_and_forget_it(
    address: str, workspace: Callable[[str], Workspace]
) -> None:
    def places() -> list[str]:
        return [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "minigrad"]

    with cluster.connected(address, 2, workspace("run")) as workers:
        assert list(workers.train([("softmax", 0), ("softmax", 1)]))
        found = [place for places in workers.client.run(places).values() for place in places]
        folders = set(workers.client.run(lambda dask_worker: dask_worker.local_directory).values())
    assert found
    assert all(any(place.startswith(folder) for folder in folders) for place in found)
    from distributed import Client

    with Client(address) as client:
        assert not any(client.run(places).values())


def test_an_error_of_a_worker_is_that_of_the_run(address: str, workspace: Callable[[str], Workspace]) -> None:
    own = workspace("run")
    with cluster.connected(address, 2, own) as workers:
        own.model_path("softmax", 0).write_bytes(b"no checkpoint")
        with pytest.raises(DataError, match="softmax-0.npz must be"):
            list(workers.train([("softmax", 0)]))


def test_a_scheduler_that_is_gone_ends_the_run(
    workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dask = pytest.importorskip("dask", reason="needs Dask: pip install -e '.[dask]'")
    monkeypatch.setattr(cluster, "PATIENCE", 5.0)
    own = workspace("run")
    with (
        pytest.raises(ConnectionError, match="the scheduler is gone; what is finished stays"),
        scheduler_and_workers(tmp_path, "1") as (found, scheduler),
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        cluster.connected(found, 1, own) as workers,
    ):
        workers.seconds = 0.0

        def write(path: Path) -> Any:
            scheduler.kill()
            return atomic_writer(path)

        monkeypatch.setattr(cluster, "atomic_writer", write)
        list(workers.train([("softmax", 0)]))
    assert own.epochs_done("softmax", 0) == (1, False)


def test_workers_have_one_thread_each(workspace: Callable[[str], Workspace]) -> None:
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False,
                                 dashboard_address="127.0.0.1:0") as own,
        pytest.raises(ArgumentError, match=r"--dask must have workers of one thread each .* got 1 with more"),
        cluster.connected(own.scheduler_address, 1, workspace("run")),
    ):  # fmt: skip
        pass


@pytest.mark.parametrize("given", ["tcp://127.0.0.1:9", "nowhere", "http://127.0.0.1:9"])
def test_the_address_is_that_of_a_scheduler(
    given: str, workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with (
        pytest.raises(ArgumentError, match=f"--dask must be local, or the address of a scheduler.*{given}"),
        cluster.connected(given, 1, workspace("run")),
    ):
        pass
