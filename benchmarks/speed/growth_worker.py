"""Run by `python -m benchmarks growth` in a process of its own, which has one contender: its argument, a
framework or "products". A line "make BATCH UNITS PIECES" has it make its step, in place of the one before;
"time CALLS" asks for the seconds of a call, the mean of so many; "pools" for the threads of its libraries.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from benchmarks.speed.conditions import thread_pools
from benchmarks.speed.floor import products
from benchmarks.speed.frameworks import step


def seconds(function: Callable[[], None], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - began) / calls


def make(name: str, batch: int, units: int, pieces: int) -> Callable[[], None]:
    if name == "products":
        return products(batch, units, adversarial=True, pieces=pieces)
    return step(name, batch, units, pieces=pieces)


if __name__ == "__main__":
    made: Callable[[], None] | None = None
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "make":
            made = None  # so that the memory of two is never held
            made = make(sys.argv[1], *map(int, numbers))
            print("done", flush=True)
        elif what == "time":
            assert made is not None
            print(seconds(made, int(numbers[0])), flush=True)
        else:
            print(json.dumps(thread_pools()), flush=True)
