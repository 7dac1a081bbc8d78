"""`capture`: a step that is recorded, compared with the eager one, and replayed on each batch."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np

from minigrad import backend, steps
from minigrad.checks import check_fits, shown
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError
from minigrad.fast.members import Members
from minigrad.fast.recording import RECORDING, Recorded, Tape
from minigrad.lanes import replace
from minigrad.modes import Setting, in_force
from minigrad.tensor import Tensor, new_tensor, raw
from minigrad.writes import writes

capturing = threading.Lock()  # Tensors, which threads may share, hold recorded arrays meanwhile


class CapturedStep(steps.Step):
    """A step that is recorded and replayed: see `minigrad.steps.capture`."""

    def __init__(self, function: Callable[..., Any], example: tuple[Any, ...], of: Any) -> None:
        super().__init__(function, example, of)
        self._inputs = [backend.of(raw(given)).xp.array(raw(given)) for given in example]
        self._members = Members(of)
        self._busy = threading.Lock()
        batches = [list(map(other, self._inputs)), [x.copy() for x in self._inputs]]
        with capturing:
            before = self._members.snapshot()
            try:
                problem = self._capture(before, batches)
            finally:
                self._members.put_back(before)
        self.captured = not problem
        if problem:
            text = f"the step is not captured, and runs eagerly: {problem}"
            warnings.warn(text, steps.CaptureWarning, stacklevel=4)

    def __call__(self, *batch: Any) -> Any:
        if not self.captured or in_force.get().detecting_nonfinite:
            return super().__call__(*batch)
        arrays = self._checked(batch)
        if not self._busy.acquire(blocking=False):
            raise GraphError("a captured step must not be called while it runs: each thread needs its own")
        try:
            self._members.refuse_changes()
            return self._replay(arrays)
        finally:
            self._busy.release()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ArgumentTypeError("a captured step cannot be copied or pickled: capture it anew")

    def _checked(self, batch: tuple[Any, ...]) -> list[Any]:
        """The batch as arrays of the step's library, or an error."""
        if len(batch) != len(self._inputs):
            raise ArgumentError(f"batch must be {len(self._inputs)} arrays, as the example, got {len(batch)}")
        arrays: list[Any] = []
        for own, x in zip(self._inputs, batch, strict=True):
            array = x if type(x) is type(own) else backend.of(own).asarray(raw(x))
            if array.shape != own.shape or array.dtype != own.dtype:
                check_fits(f"batch[{len(arrays)}]", array.shape, array.dtype, own)
            arrays.append(array)
        return arrays

    @np.errstate(all="ignore")
    def _replay(self, batch: list[Any]) -> Any:
        for own, given in zip(self._inputs, batch, strict=True):
            own[...] = given
        for check in self._checks:
            check()
        try:
            for function, arguments in self._lines:
                function(*arguments)
        finally:
            writes.record_again(self._written)
        for tensor, grad, varies in self._grads:
            tensor._grad = grad if varies or grad is None else grad.copy()  # the caller may write to it
        return mapped(self._outputs, returned)

    def _capture(self, before: Any, batches: list[list[Any]]) -> str:
        """Two recordings, which must be the same, and two replays, which must do what eager steps do. Why it
        is not captured; "" if it is."""
        members = self._members
        try:
            first = self._record({})
            members.put_back(before)
            tape = self._record(first.found_homes())
        except BackendError as error:
            return str(error)
        except Exception as error:
            members.put_back(before)
            self.function(*batches[-1])  # raises it too if it is the function's own
            return f"{type(error).__name__}: {error}"
        for then, now in zip_longest(first.said, tape.said):
            if then != now:
                return f"two runs of it differ: {then}, and then {now}"
        self._lines, self._checks = tape.needed(self._kept), list(tape.checks.values())
        members.put_back(before)

        def eagerly(batch: list[Any]) -> list[Any]:
            return members.bits(flat(self.function(*(x.copy() for x in batch))))

        try:
            eager = list(map(eagerly, batches))
        except Exception:  # of numbers that nobody gave; if it is of the example too, it is the function's
            members.put_back(before)
            batches = batches[1:]
            eager = list(map(eagerly, batches))
        members.put_back(before)
        try:
            replayed = [members.bits(flat(self._replay(batch))) for batch in batches]
        except Exception as error:
            return f"a replay raises {type(error).__name__}: {error}"
        return "" if replayed == eager else "the record does not give the bits of the eager step"

    def _record(self, homes: dict[Any, Any]) -> Tape:
        """The tape of the function over recorded arrays. What the step works with, inputs, outputs and grads,
        is this tape's from here on."""
        members = self._members
        tape = Tape(backend.for_new(*self._inputs, *members.arrays()), homes)
        inputs = [tape.placed(x, varies=True) for x in self._inputs]
        self._inputs, tape.given = [x.array for x in inputs], {x.memory for x in inputs}
        with members.recorded(tape) as before, tape, Setting(library=RECORDING):
            self._outputs = mapped(self.function(*inputs), without_graph)
            grads = {t: t._grad for t in members.tensors if t._grad is not before[t]}
        if any(marker.memory in call.reads for call in tape.calls for marker in before.values()):
            raise BackendError("it adds to a grad that was there before: call zero_grad() in it")
        if not {*tape.generators} <= {*members.generators}:
            raise BackendError("it draws from a generator that is not named in `of`")
        written = {call.writes for call in tape.calls}
        if any(x.memory in written for x in inputs):
            raise BackendError("it writes into its batch")
        changed = [t for t in members.tensors if tape.variable(t.data).memory in written]
        self._written = [writes.record(tensor.data) for tensor in changed]
        self._grads = [(t, getattr(g, "array", None), g is None or g.memory.varies) for t, g in grads.items()]
        results = [*flat(self._outputs), *(grad for grad in grads.values() if grad is not None)]
        self._kept = [raw(result).memory for result in results]
        return tape


def other(x: Any) -> Any:
    """An input of other numbers: half of each; of what may be labels, backwards."""
    if x.dtype.kind == "f" and x.ndim != 1:
        return x * x.dtype.type(0.5)
    return x[::-1].copy() if x.ndim else x.copy()


def mapped(outputs: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(outputs, (tuple, list)):
        return type(outputs)([function(output) for output in outputs])
    return None if outputs is None else function(outputs)


def flat(outputs: Any) -> list[Any]:
    return [] if outputs is None else list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def without_graph(output: Any) -> Any:
    array = raw(output)
    if not isinstance(array, Recorded):
        kind = type(output).__name__ if isinstance(output, (dict, list, tuple)) else shown(output)
        raise BackendError(f"it returns {kind}, which is no array that it computed")
    return new_tensor(array) if isinstance(output, Tensor) else array


def returned(output: Any) -> Any:
    array = raw(output).array.copy()
    return new_tensor(array) if isinstance(output, Tensor) else array


replace(steps.capture, lambda function, *example, of: CapturedStep(function, example, of))
