"""Kill a run again and again: `python -m tests.kills --count 100`.

A small run of the paper command is ended at random moments, of starting, training, saving, measuring and
reporting, by SIGKILL, SIGTERM or Ctrl-C to its main process, and the same command is typed again until it
comes through. Then its figures must be those of an unbroken run, and its directory must hold the same files.
Whatever ends it, its processes must be gone soon: the pipe that they write to closes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import mnist

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
GONE = 30.0  # seconds, on a machine that does other work too


def hear_interrupts() -> None:
    """Let processes that are started from here be ended by SIGINT and SIGHUP: a shell that starts one in the
    background has it, and all that it starts, ignore the first, and nohup the second."""
    for sent, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(sent) is signal.SIG_IGN:
            signal.signal(sent, handler)


def write_few_digits(folder: Path, train: int = 6000, test: int = 120, others: int = 6000) -> None:
    """MNIST's first digits; of 6,000 some 1,200 are threes and sevens, which are all kept. Of the other
    training digits the first `others`."""
    for part, count in (("train", train), ("t10k", test)):
        labels = mnist.read_idx(mnist.DIRECTORY / f"{part}-labels-idx1-ubyte.gz")[:count]
        pairs = np.isin(labels, (3, 7))
        kept = pairs | (np.cumsum(~pairs) <= others)
        for what in ("images-idx3", "labels-idx1"):
            array = mnist.read_idx(mnist.DIRECTORY / f"{part}-{what}-ubyte.gz")[:count][kept]
            sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
            (folder / f"{part}-{what}-ubyte").write_bytes(content)


def state_of(directory: Path) -> tuple[list[str], Any]:
    """(the names of a run's files, its figures without the times)."""
    report = json.loads((directory / "paper.json").read_text())
    del report["timing"], report["command"]
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*")), report


def start(digits: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks", "paper", "--rows", "logistic", "softmax",
               "--epochs", "12", "--jobs", "2", "--data", str(digits), "--out", str(out)]  # fmt: skip
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def run_to_the_end(digits: Path, out: Path) -> None:
    run = start(digits, out)
    said, _ = run.communicate()
    assert run.returncode == 0, said.decode()


def is_killed(digits: Path, out: Path, moment: float, sent: signal.Signals) -> bool:
    """Send the signal to a run at this moment, in seconds; False if the run ends first."""
    run = start(digits, out)
    try:
        said, _ = run.communicate(timeout=moment)
        assert run.returncode == 0, said.decode()
    except subprocess.TimeoutExpired:
        run.send_signal(sent)
        try:
            run.communicate(timeout=GONE)  # until the last of its processes has ended
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"{sent.name} after {moment:.1f} s: {GONE:.0f} s later a process of it still lives; "
                f"it said {(error.stdout or b'').decode()!r}"
            ) from error
    return run.returncode != 0


def kill_runs(count: int, digits: Path, folder: Path, seed: int = 0) -> tuple[Counter[str], int]:
    """Kill runs `count` times in all; (how often by which signal, how many runs that took). AssertionError
    if one does not end as an unbroken run."""
    hear_interrupts()
    random = np.random.default_rng(seed)
    began = time.perf_counter()
    run_to_the_end(digits, folder / "unbroken")
    whole = time.perf_counter() - began
    expected = state_of(folder / "unbroken")
    kills: Counter[str] = Counter()
    runs = 0
    while kills.total() < count:
        out = folder / f"killed-{runs}"
        while kills.total() < count:
            sent = SIGNALS[random.integers(len(SIGNALS))]
            if not is_killed(digits, out, random.uniform(0.05, 0.95) * whole, sent):
                break
            kills[sent.name] += 1
        run_to_the_end(digits, out)
        assert state_of(out) == expected
        runs += 1
    return kills, runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="kills (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        digits = Path(folder, "digits")
        digits.mkdir()
        write_few_digits(digits)
        began = time.perf_counter()
        kills, runs = kill_runs(options.count, digits, Path(folder), options.seed)
    signals = ", ".join(f"{kills[sent.name]} {sent.name}" for sent in SIGNALS)
    print(f"{signals}: {runs} runs ended as the unbroken one, in {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
