"""Fuzz what reads files from elsewhere: `python -m tests.fuzz --count 10000000` (extra: fuzz, on Linux).

atheris (libFuzzer) changes the bytes, steered by the lines of code that they reach. `mg.load` must give
arrays or raise DataError (with a model, ArgumentError too), and so must `read_idx`. An input that breaks
one is kept in the directory that is printed: make it a test of test_files.py.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

MEMORY = 1024  # MiB: what a hostile file may at most make the process grow to
READS = {"npz": 2, "npy": 2, "idx": 3, "gz": 3}  # how often a target calls its reader with one input


def seeds() -> dict[str, list[bytes]]:
    """Files as they should be, from which the changes start, by reader."""
    arrays = {"W": np.ones((2, 3), np.float32), "b": np.zeros(3), "count": np.array(7)}
    npz = []
    for write in (np.savez, np.savez_compressed):
        memory = io.BytesIO()
        write(memory, **arrays)
        npz.append(memory.getvalue())
    entries = []
    for array in (*arrays.values(), np.asfortranarray(np.ones((3, 2))), np.array(["a", "bc"])):
        memory = io.BytesIO()
        np.lib.format.write_array(memory, array)
        entries.append(memory.getvalue())
    images = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 28, 28)) + bytes(2 * 784)
    labels = b"\0\0\x08\x01" + (5).to_bytes(4, "big") + bytes(5)
    idx = [images, labels, gzip.compress(images), gzip.compress(labels)]
    return {"npz": npz, "npy": entries, "idx": idx, "gz": [images, labels]}


def targets() -> dict[str, Callable[[str, bytes], None]]:
    """What reads the bytes, by name: the whole file, or what stands in a sound wrapping of right checksums.
    Each gets the path of a file to write into."""
    import minigrad as mg
    from benchmarks import mnist
    from minigrad.errors import ArgumentError, DataError

    class Weights(mg.Module):
        def __init__(self) -> None:
            self.W = mg.Parameter(np.zeros((2, 3), np.float32))
            self.b = mg.Parameter(np.zeros(3))

    model = Weights()

    def npz(path: str, content: bytes) -> None:
        Path(path).write_bytes(content)
        with suppress(DataError):
            for name, array in mg.load(path).items():
                assert isinstance(name, str)
                assert not array.dtype.hasobject
        with suppress(DataError, ArgumentError):
            mg.load(path, model)

    def npy(path: str, content: bytes) -> None:
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            archive.writestr("W.npy", content)
        npz(path, memory.getvalue())

    def idx(path: str, content: bytes) -> None:
        Path(path).write_bytes(content)
        for item in (None, (), (28, 28)):
            with suppress(DataError):
                assert mnist.read_idx(path, item).size > 0

    def gz(path: str, content: bytes) -> None:
        idx(path, gzip.compress(content, 1))

    return {"npz": npz, "npy": npy, "idx": idx, "gz": gz}


def fuzz(name: str, count: int, seed: int, found: str) -> None:
    """Run one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["minigrad.checkpoint", "benchmarks.mnist", "zipfile", "gzip"]):
        read = targets()[name]
    path = f"/proc/self/fd/{os.memfd_create('input')}"
    atheris.Setup(
        [sys.argv[0], f"-runs={count}", f"-seed={seed + 1}", f"-rss_limit_mb={MEMORY}", "-max_len=4096",
         f"-artifact_prefix={found}/{name}-", "-verbosity=1", "-print_final_stats=1",
         os.path.join(found, f"{name}-{seed}")],
        lambda content: read(path, content),
    )  # fmt: skip
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="executions of each reader, in all")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="processes (default: one a processor)"
    )
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)  # name, count, seed, directory: a child
    options = parser.parse_args()
    if options.one:
        name, count, seed, found = options.one
        fuzz(name, int(count), int(seed), found)
    if importlib.util.find_spec("atheris") is None:
        parser.exit(2, "error: fuzzing needs atheris: pip install -e '.[fuzz]'\n")
    console = Console(markup=False, highlight=False)
    found = tempfile.mkdtemp(prefix="fuzz-")
    table = Table("target", "executions", "broke it", "seconds", title="fuzzed readers")
    failed = False
    for name, files in seeds().items():
        began = time.perf_counter()
        children = []
        for seed in range(options.jobs):
            corpus = Path(found, f"{name}-{seed}")
            corpus.mkdir()
            for i, content in enumerate(files):
                (corpus / str(i)).write_bytes(content)
            share = options.count // 2 // READS[name] // options.jobs  # two targets a reader
            command = [sys.executable, "-m", "tests.fuzz", "--one", name, str(share), str(seed), found]
            children.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        logs = [child.communicate()[1] for child in children]
        done = sum(int(n) for log in logs for n in re.findall(r"number_of_executed_units: (\d+)", log))
        broken = sum(child.returncode != 0 for child in children)
        if broken:
            console.print("\n".join(log[-3000:] for log in logs))
        table.add_row(name, f"{done * READS[name]:,}", str(broken), f"{time.perf_counter() - began:,.0f}")
        failed = failed or bool(broken)
    console.print(table)
    console.print(f"inputs that were found: {found}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
