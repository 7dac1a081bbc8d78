"""Timing contenders side by side: warm-up, interleaved rounds, medians, ratios round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed.conditions import Conditions
from minigrad import backend

Contender = Callable[[], Any]


SETTLE = 0.2  # seconds that threads of another's pool stay awake: .05 had a step of 31 ms take 55


def time_in_turn(
    contenders: Mapping[str, Contender],
    rounds: int,
    warm_up: int = 3,
    library: backend.Backend = backend.NUMPY,
    settle: float = 0.0,
    conditions: Conditions | None = None,
    here: bool = True,
    clock: Callable[[Contender], float] | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each contender in each round. All run once a round, in an order that moves on by one
    each time, so that whatever else the machine does meets them alike.

    settle  seconds for which a contender runs untimed before it is timed. Threads of another library's
            pool stay awake for a while after their work, and take the processor from the next one's.
    conditions  is told of every time, to say whether the machine was quiet
    here    whether this process does the work, so that its processor time tells something
    clock   runs a contender and tells its seconds, for one that is timed elsewhere
    progress  is told after each round how many there were, of 1
    """
    clock = clock or (_gpu_seconds(library.xp) if library.name == "cupy" else _seconds)
    names = list(contenders)
    for _ in range(warm_up):
        for name in names:
            clock(contenders[name])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            until = time.perf_counter() + settle
            while time.perf_counter() < until:
                contenders[name]()
            processor = time.process_time()
            seconds[name].append(clock(contenders[name]))
            if conditions and here and library.name == "numpy":
                conditions.add_time(seconds[name][-1], time.process_time() - processor)
        if progress:
            progress((number + 1) / rounds)
    if conditions:
        conditions.add_rounds(seconds)
    return seconds


def _seconds(function: Contender) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _gpu_seconds(cupy: Any) -> Callable[[Contender], float]:
    """Time between two events on the stream: what the device took, or waited for its launches."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()

    def clock(function: Contender) -> float:
        begin.record()
        function()
        end.record()
        end.synchronize()
        return cupy.cuda.get_elapsed_time(begin, end) / 1e3

    return clock


def ratio(seconds: Mapping[str, list[float]], name: str, to: str) -> dict[str, float]:
    """The median of name/to over the rounds, with the quartiles."""
    return spread([a / b for a, b in zip(seconds[name], seconds[to], strict=True)])


def spread(values: list[float]) -> dict[str, float]:
    """The median, with the quartiles, which lie between the least and the greatest however few there are."""
    if len(values) > 1:
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    else:
        low, median, high = values * 3
    return {"median": median, "lower_quartile": low, "upper_quartile": high}
