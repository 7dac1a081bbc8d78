"""A run on a Dask or Ray cluster: real ones, whose workers are processes of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
def scheduler_and_workers(
    folder: Path, count: str, threads: str = "1"
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(the scheduler's address, its process), with so many workers, of so many threads each, in a directory
    of their own."""
    pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
    with (
        started(folder, "Scheduler at:", "scheduler", "--host", "127.0.0.1", "--port", "0") as (
            found,
            process,
        ),
        started(folder, "Registered to:", "worker", found, "--nthreads", threads, "--nworkers", count),
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


def start(digits: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """The paper command, cut down, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "paper", "--rows", "softmax", "logistic", "--epochs", "2",
         "--data", str(digits), "--out", str(out), *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run(digits: Path, out: Path, *options: str) -> str:
    """What the command says, when it has come to its end."""
    going = start(digits, out, *options)
    said, _ = going.communicate()
    assert going.returncode == 0, said
    return said


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


def test_a_cluster_on_this_machine_sets_no_threads_and_no_memory_of_later_processes(
    workspace: Callable[[str], Workspace],
) -> None:
    def found() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if re.search("THREAD|MALLOC", name)}

    pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
    before = found()
    with cluster.connected("local", 1, workspace("run")) as workers:
        assert workers.places() == 1
    assert found() == before


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


def test_a_run_leaves_nothing_on_the_workers(
    address: str, workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(dask_worker: Any) -> tuple[list[str], list[str], list[str]]:
        own = [name for name in sys.modules if name.partition(".")[0] in ("minigrad", "benchmarks")]
        folders = [name for name in os.listdir(dask_worker.local_directory) if name.startswith("minigrad")]
        return own, folders, [name for name in os.environ if name.startswith("MINIGRAD")]

    monkeypatch.setenv("MINIGRAD_OF_A_TEST", "1")
    with cluster.connected(address, 2, workspace("run")) as workers:
        assert list(workers.train([("softmax", 0), ("softmax", 1)]))
        during = [*workers.client.run(found).values()]
    assert [(own, len(folders), set_there) for own, folders, set_there in during] == 2 * [([], 1, [])]
    from distributed import Client

    with Client(address) as client:
        assert [*client.run(found).values()] == 2 * [([], [], [])]


def test_two_runs_at_the_same_time_have_their_own_code_and_data(
    address: str, digits: Path, plain: Path, tmp_path: Path
) -> None:
    others = tmp_path / "digits"
    others.mkdir()
    write_few_digits(others, others=2000)
    runs = [
        start(digits, tmp_path / "one", "--dask", address),
        start(others, tmp_path / "two", "--dask", address),
    ]
    for going in runs:
        said, _ = going.communicate()
        assert going.returncode == 0, said
    assert state_of(tmp_path / "one") == state_of(plain)
    run(others, tmp_path / "alone")
    assert state_of(tmp_path / "two") == state_of(tmp_path / "alone")


def test_a_process_that_dies_at_work_is_replaced(
    address: str, workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(dask_worker: Any) -> None:
        for plugin in dask_worker.plugins.values():
            for process in getattr(plugin, "processes", {}).values():
                process.kill()

    own, killed = workspace("run"), []
    with cluster.connected(address, 2, own) as workers:
        workers.seconds = 0.0

        def write(path: Path) -> Any:
            if not killed:
                killed.append(path)
                workers.client.run(kill)
            return atomic_writer(path)

        monkeypatch.setattr(cluster, "atomic_writer", write)
        assert list(workers.train([("softmax", 0)])) == [("softmax", 0)]
    unbroken = workspace("unbroken")
    unbroken.train("softmax", 0)
    assert arrays(own) == arrays(unbroken)


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
        pytest.raises(
            ConnectionError, match="the scheduler is gone, or was restarted; what is finished stays"
        ),
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


def test_each_thread_of_a_worker_works_by_itself(
    workspace: Callable[[str], Workspace], tmp_path: Path
) -> None:
    pieces = [("softmax", seed) for seed in range(3)]
    own, unbroken = workspace("run"), workspace("unbroken")
    with (
        scheduler_and_workers(tmp_path, "1", "2") as (found, _),
        cluster.connected(found, 1, own) as workers,
    ):
        assert workers.places() == 2
        assert sorted(workers.train(pieces)) == pieces
    for piece in pieces:
        unbroken.train(*piece)
    assert arrays(own) == arrays(unbroken)


@pytest.mark.parametrize("what", ["a server of something else", "one that says nothing", "a worker"])
def test_who_answers_is_a_scheduler(
    what: str, workspace: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[dask]'")
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if what == "a worker":
            from distributed import Client

            with Client(request.getfixturevalue("address")) as client:
                given = next(iter(client.nthreads()))
        elif what == "a server of something else":
            threading.Thread(target=answer_http, args=[server], daemon=True).start()
        monkeypatch.setattr(cluster, "PATIENCE", 1.0)
        with (
            pytest.raises(ArgumentError, match=f"--dask must be local, or the address .*{given}"),
            cluster.connected(given, 1, workspace("run")),
        ):
            pass


def answer_http(server: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.0 400 Bad request\r\n\r\n")
        connection.close()


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
