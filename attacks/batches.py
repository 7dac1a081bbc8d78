"""An attack on a data set, batch by batch, in one thread or in several.

In several, every batch begins with a copy of the caller's context, so `no_grad`, `evaluating`, the chosen
library and NumPy's errstate hold in it as they do for the caller.
"""

from __future__ import annotations

import dis
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from random import Random
from threading import Lock
from typing import Any

import numpy as np

from attacks.foreign import Attack, as_it_was, checked_examples, examples_of, modes_of
from attacks.gradients import real_array
from attacks.options import options_by_name
from minigrad import backend
from minigrad.checks import check_count, check_finite
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array

Progress = bool | Callable[[Iterable[Any]], Iterable[Any]]
Work = Callable[[slice, Callable[[Any, Any], Any]], Any]  # work(batch, examples), with examples(x, y)


@options_by_name
def attack_in_batches(
    model: Any,
    x: Any,
    y: Any,
    attack: Attack,
    *,
    batch_size: int = 1000,
    threads: int = 1,
    progress: Progress = False,
) -> Any:
    """What the attack makes of x, a batch at a time: a new array of x's shape, dtype and library.

    y           labels, one for each example; with None the attack gets None, for which this package's attacks
                take the model's predictions
    attack      attack(model, x, y) → adversarial x: `functools.partial(fgsm, epsilon=.25)`, say. It gets
                copies of each batch, and its warnings come once a batch.
    batch_size  examples in a batch; the last one may have fewer
    threads     how many batches are made at the same time: at best one for each processor, with several
                batches for each. More than 1 needs threadpoolctl, and host arrays.
    progress    True for a bar on a terminal (needs rich), or a function that wraps
                the batches, such as tqdm.tqdm

    Several threads give the bits that one thread gives whose BLAS has one thread. While they work, BLAS has
    one thread in the whole process: products of other threads are slower meanwhile. (One that threadpoolctl
    does not know, such as Apple's, keeps its own.) The first error, in the order of the batches, is raised;
    batches that have not begun are dropped.

    Attack and model then run in several threads at once. minigrad's models and this package's attacks may.
    A model of yours must not write into itself in `cost` or `predict`, and an attack of yours must not write
    into the model: it is an ArgumentError if it changes modes (write `with model.evaluating():`), and what
    it finds in a `grad` is of all threads. Both are put back at the end. So is a random generator in an
    attack an ArgumentError, for batches would draw in the order in which threads come: a number as seed
    makes every batch begin alike, with one thread too. It is looked for in a partial's arguments, a
    function's closure, defaults and globals, and an object's attributes; one that lies deeper, as dropout's
    does, is not seen.

    NonFiniteError if what the attack returns holds NaN or infinities, on the host.
    """
    batch_size, threads = check_batching(attack, batch_size, threads, progress)
    x = real_array(x)
    check_on_host(x, threads)
    check_finite("x", x)
    if y is not None:
        y = as_array(y, "y")
        if y.shape[:1] != (len(x),):
            raise ArgumentError(f"y must hold {len(x)} labels, one an example, got shape {y.shape}")
    adversarial = backend.of(x).xp.empty(x.shape, x.dtype)

    def work(batch: slice, examples: Callable[[Any, Any], Any]) -> None:
        adversarial[batch] = examples(x[batch], None if y is None else y[batch])

    in_batches(work, len(x), model, attack, batch_size, threads, progress)
    return adversarial


def check_batching(attack: Any, batch_size: Any, threads: Any, progress: Any) -> tuple[int, int]:
    """Check what is said of the batches; returns batch_size and threads."""
    batch_size, threads = check_count("batch_size", batch_size), check_count("threads", threads)
    if not callable(attack):
        raise ArgumentTypeError(f"attack must be a function attack(model, x, y), got {attack!r}")
    if not isinstance(progress, (bool, np.bool_)) and not callable(progress):
        raise ArgumentTypeError(
            f"progress must be True, False or a function that wraps the batches, got {progress!r}"
        )
    if threads > 1:
        for name, value in carried(attack):
            if isinstance(value, DRAWN_FROM):
                raise ArgumentError(
                    f"attack must have no random generator for threads above 1, got one as {name}: batches "
                    "would draw in the order in which threads come. Give a number as seed, or threads=1"
                )
        _threadpoolctl(threads)
    return batch_size, threads


def check_on_host(x: Any, threads: int) -> None:
    """ArgumentError for several threads if x is not NumPy's: a GPU works on a whole batch at once, and its
    device and stream are chosen for each thread."""
    library = backend.of(x)
    if threads > 1 and library is not backend.NUMPY:
        raise ArgumentError(f"threads must be 1 unless x is a numpy array, got {threads} for {library.name}")


DRAWN_FROM = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, Random)


def carried(attack: Any) -> Iterator[tuple[str, Any]]:
    """What an attack brings with it, as (name, value), and what partials among it bring."""
    if isinstance(attack, partial):
        held = [*((f"argument {i + 1}", given) for i, given in enumerate(attack.args)),
                *attack.keywords.items()]  # fmt: skip
        yield from carried(attack.func)
    elif inspect.isfunction(attack):
        named, defaults = inspect.getclosurevars(attack), inspect.signature(attack).parameters
        # Its globals have those too that an attribute is called like.
        used = {step.argval for step in dis.get_instructions(attack) if step.opname == "LOAD_GLOBAL"}
        held = [*((name, value) for name, value in named.globals.items() if name in used),
                *named.nonlocals.items(),
                *((name, parameter.default) for name, parameter in defaults.items())]  # fmt: skip
    else:
        held = [*getattr(getattr(attack, "__self__", attack), "__dict__", {}).items()]
    for name, value in held:
        yield name, value
        if isinstance(value, partial):
            yield from carried(value)


def in_batches(
    work: Work, size: int, model: Any, attack: Attack, batch_size: int, threads: int, progress: Any
) -> list[Any]:
    """work(batch, examples) for each batch of so many examples, in their order. `examples(x, y)` is what the
    attack makes of arrays, checked; everything about the model is afterwards as it was."""
    batches = [slice(i, min(i + batch_size, size)) for i in range(0, size, batch_size)]
    wrapped = _wrapped(batches, progress)
    begin = _in_turn if threads == 1 else partial(_in_threads, min(threads, max(len(batches), 1)))
    with begin(work, batches, model, attack) as results:
        # Only how often `progress` goes on is used: what it gives back could be anything.
        found = [result for _, result in zip(wrapped, results, strict=False)]
    if len(found) < len(batches):
        raise ArgumentError(
            "progress must give back every batch, got those of "
            f"{len(found) and batches[len(found) - 1].stop} of {size} examples"
        )
    return found


@contextmanager
def _in_turn(work: Work, batches: list[slice], model: Any, attack: Attack) -> Iterator[Iterator[Any]]:
    yield (work(batch, partial(examples_of, attack, model)) for batch in batches)


@contextmanager
def _in_threads(
    threads: int, work: Work, batches: list[slice], model: Any, attack: Attack
) -> Iterator[Iterator[Any]]:
    """The end of the block waits for the batches that have begun, and drops the others."""
    modes = modes_of(model)

    def examples(x: Any, y: Any) -> Any:
        made = checked_examples(attack, model, x, y)
        if modes_of(model) != modes:
            raise ArgumentError(
                "attack must leave the modes of the model alone for threads above 1, got one that calls "
                "train or eval: write `with model.evaluating():` in it, or give threads=1"
            )
        return made

    with as_it_was(model), one_blas_thread:
        pool = ThreadPoolExecutor(threads, "attack", one_blas_thread.in_this_thread)
        futures: deque[Future[Any]] = deque()

        def results() -> Iterator[Any]:
            while futures:  # none is named here, or its error would refer to it
                yield futures.popleft().result()

        try:
            futures.extend(pool.submit(copy_context().run, work, batch, examples) for batch in batches)
            yield results()
        finally:
            pool.shutdown(cancel_futures=True)


class OneBlasThread:
    """A block in which BLAS has one thread in this process. Of blocks that overlap, in several threads, the
    first sets that, and the last puts back what was."""

    def __init__(self) -> None:
        self._lock, self._open = Lock(), 0
        self._pools: Any = None  # what threadpoolctl found when the first block began
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._open:
                self._pools = _threadpoolctl().ThreadpoolController()
                self._limit = self._pools.limit(limits=1, user_api="blas")
            self._open += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                self._limit.restore_original_limits()

    def in_this_thread(self) -> None:
        """For a new thread: a BLAS on OpenMP has a number of threads for each thread that calls it."""
        self._pools.limit(limits=1, user_api="blas")


one_blas_thread = OneBlasThread()


def _threadpoolctl(threads: int = 2) -> Any:
    try:
        import threadpoolctl
    except ModuleNotFoundError as error:
        raise ArgumentError(f"threads={threads} needs threadpoolctl: pip install threadpoolctl") from error
    return threadpoolctl


def _wrapped(batches: list[slice], progress: Any) -> Iterable[Any]:
    if callable(progress):
        wrapped = progress(batches)
        if not isinstance(wrapped, Iterable):
            raise ArgumentTypeError(f"progress must return what it wraps, got {type(wrapped).__name__}")
        return wrapped
    if not progress:
        return batches
    try:
        from rich.console import Console
        from rich.progress import track
    except ModuleNotFoundError as error:
        raise ArgumentError("progress=True needs rich: pip install rich") from error
    console = Console()
    return track(batches, "attacking", console=console, transient=True, disable=not console.is_terminal)
