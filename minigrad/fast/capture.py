"""A whole training step as one CUDA graph: opt-in, checked against the eager step."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from minigrad import backend
from minigrad.checks import shown
from minigrad.engine import order
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError
from minigrad.optim import SGD
from minigrad.tensor import Tensor, raw

Capture = Callable[[Callable[[], Any]], Callable[[], None]]


class _Thread(threading.local):
    capturing = False


_thread = _Thread()


def is_capturing() -> bool:
    """Whether this thread captures a step: what is random now would be the same for ever."""
    return _thread.capturing


class CaptureWarning(UserWarning):
    """A step was not captured, and runs eagerly instead."""


class _Leaf:
    """A leaf, and how it was before the trial runs. One that the cost made for itself may be gone."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = weakref.ref(tensor)
        self._data, self._requires_grad, self._grad = tensor.data, tensor.requires_grad, tensor.grad

    def put_back(self) -> None:
        tensor = self._tensor()
        if tensor is None:
            self._data = None
        else:
            tensor.grad, self._grad = self._grad, None

    def changed(self) -> str:
        """What is no longer so; "" for nothing."""
        tensor = self._tensor()
        if tensor is None:
            return ""
        if tensor.data is not self._data:
            return "the data of a leaf was replaced"
        return "requires_grad was changed" if tensor.requires_grad != self._requires_grad else ""


class CapturedStep:
    """zero_grad, J = cost(x, y), backward, update: captured once, and replayed on each batch.

        step = CapturedStep(optimiser, lambda x, y: adversarial_objective(model, x, y), x, y)
        for x, y in batches:
            J = step(x, y)

    On a GPU a small step is mostly the time that the host takes to launch its kernels one by one. A
    graph of them is launched at once.

    optimiser  an SGD with constant settings: their values are part of the graph
    cost       of a batch, a scalar Tensor. All that the host decides in it is part of the graph as it was
               at the capture: α, ε, the model's mode, what a random generator of the host drew. Dropout is
               refused. It is run up to four times here, and such a generator goes on by as many draws.
    x, y       a batch on the device of the parameters: every other has its shapes and dtypes. Batches are
               copied to the device before the cost sees them, so their values are not checked.

    Calling it returns J before the update, an array without dimensions that the next call overwrites.
    Gradients are the graph's own: a replay leaves every leaf's `grad` as it is. GraphError if a parameter, a
    velocity or a leaf that the cost differentiates is no longer the array that it was (`load_state_dict`,
    `Module.to`), its `requires_grad` was changed, or a setting of the optimiser is another number: the graph
    would go on with the old ones.

    The constructor replays the graph once beside an eager step, on other values than it was captured
    with, and leaves parameters, velocities and every leaf's `grad` as it found them. If the library
    cannot capture the step (NumPy has no graphs; CuPy so far refuses matrix products there,
    cupy/cupy#6290), or the two differ, `captured` is False, a CaptureWarning says why, and calls run the
    step eagerly.
    """

    def __init__(self, optimiser: SGD, cost: Callable[[Any, Any], Tensor], x: Any, y: Any) -> None:
        if not isinstance(optimiser, SGD):
            raise ArgumentTypeError(f"optimiser must be an SGD, got {type(optimiser).__name__}")
        if not callable(cost):
            raise ArgumentTypeError(f"cost must be a function of x and y, got {shown(cost)}")
        library = backend.of(optimiser.parameters[0].data)
        for name, batch in (("x", x), ("y", y)):
            if backend.find(raw(batch)) is None:
                raise ArgumentTypeError(f"{name} must be an array or a Tensor, got {type(batch).__name__}")
        self._optimiser, self._cost = optimiser, cost
        # Memory of the graph's own, which every batch is copied to.
        self._x, self._y = (library.xp.array(library.asarray(raw(batch))) for batch in (x, y))
        self._J: Any = None
        self._written = self._arrays()
        self._leaves: dict[int, _Leaf] = {}
        self._captured_settings = self._settings()
        self._replay: Callable[[], None] | None = None
        try:
            self._replay = self._captured(library)
        except BackendError as error:
            warnings.warn(
                f"the step is not captured, and runs eagerly: {error}", CaptureWarning, stacklevel=2
            )

    @property
    def captured(self) -> bool:
        """Whether calls replay a graph."""
        return self._replay is not None

    def __call__(self, x: Any, y: Any) -> Any:
        """One step on a batch; ArgumentError if it is not shaped as the first."""
        library = backend.of(self._x)
        batch = library.asarray(raw(x)), library.asarray(raw(y))
        for name, given, own in zip("xy", batch, (self._x, self._y), strict=True):
            if given.shape != own.shape or given.dtype != own.dtype:
                raise ArgumentError(
                    f"{name} must have shape {own.shape} and dtype {own.dtype}, as the batch that the step "
                    f"was made with, got {given.shape} and {given.dtype}"
                )
        if self._replay is not None:
            self._check_what_is_captured()
        self._x[...], self._y[...] = batch
        if self._replay is None:
            self._run()
            return self._J
        self._replay()
        self._optimiser.updates += 1
        for parameter in self._optimiser.parameters:
            parameter.changed_in_place()
        return self._J

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ArgumentTypeError("a CapturedStep cannot be copied or pickled: make one for the copy")

    def _check_what_is_captured(self) -> None:
        if any(now is not then for now, then in zip(self._arrays(), self._written, strict=True)):
            raise GraphError("parameters or velocities were replaced: make the CapturedStep anew")
        for leaf in self._leaves.values():
            if problem := leaf.changed():
                raise GraphError(f"{problem}: make the CapturedStep anew")
        if self._settings() != self._captured_settings:
            raise GraphError(
                "lr, momentum, weight_decay, max_norm must be what they were at the capture, "
                f"{self._captured_settings}, got {self._settings()}: make the CapturedStep anew"
            )

    def _settings(self) -> tuple[Any, ...]:
        optimiser = self._optimiser
        return optimiser.lr, optimiser.momentum, optimiser.weight_decay, optimiser.max_norm

    def _arrays(self) -> list[Any]:
        """What a step writes to."""
        return [p.data for p in self._optimiser.parameters] + self._optimiser.velocities()

    def _run(self) -> None:
        """The step itself, on the batch that lies in the graph's memory."""
        self._optimiser.zero_grad()
        J = self._cost(self._x, self._y)
        if not isinstance(J, Tensor) or J.size != 1:
            raise ArgumentTypeError(f"cost must return a scalar Tensor, got {J!r}")
        if _thread.capturing:
            self._remember(x for y in order(J) for x in y.arguments if isinstance(x, Tensor) and x.is_leaf)
        J.backward()
        self._optimiser.step()
        self._J = J.data

    def _remember(self, leaves: Iterable[Tensor]) -> None:
        """How leaves are before a trial run differentiates in them."""
        for x in leaves:
            if id(x) not in self._leaves:
                self._leaves[id(x)] = _Leaf(x)

    def _captured(self, library: backend.Backend) -> Callable[[], None]:
        """The replay, once it has done what the eager step does."""
        optimiser = self._optimiser
        if library.name not in CAPTURES:
            raise BackendError(f"{library.name} has no device whose work could be captured")
        if any(map(callable, self._settings())):
            raise BackendError("a schedule has another value at every step")
        arrays = self._written
        before, updates = [array.copy() for array in arrays], optimiser.updates
        self._remember(optimiser.parameters)

        def begin_again() -> None:
            for array, value in zip(arrays, before, strict=True):
                array[...] = value
            optimiser.updates = updates

        _thread.capturing = True
        try:
            self._run()
            begin_again()
            replay = CAPTURES[library.name](self._run)
            captured_J = self._J
            begin_again()
            self._x[...] = (self._x * 0.5).astype(self._x.dtype)
            self._run()
            expected = [*(array.copy() for array in arrays), self._J]
            begin_again()
            self._J = captured_J
            replay()
            found = [*arrays, self._J]
            for was, eager, replayed in zip([*before, 0.0], expected, found, strict=True):
                # To rounding, beside what the step has changed.
                if eager.size and not bool(abs(eager - replayed).max() <= 1e-3 * abs(eager - was).max()):
                    raise BackendError("the replayed step differs from the eager one, or is NaN")
        finally:
            _thread.capturing = False
            begin_again()
            for leaf in self._leaves.values():
                leaf.put_back()
        return replay


def capture_with_cupy(function: Callable[[], Any]) -> Callable[[], None]:
    """What `function()` launches on the device, as one graph: calling the result launches it all again,
    on the same memory. `function` may have run once, or not at all. BackendError, with the reason, if
    CuPy refuses.
    """
    cupy, refused = backend.get("cupy").xp, ""
    pool = cupy.cuda.MemoryPool()  # of its own: nobody else is given memory that the graph writes to
    stream = cupy.cuda.Stream(non_blocking=True)  # the default stream cannot be captured
    cupy.cuda.get_current_stream().synchronize()
    with stream, cupy.cuda.using_allocator(pool.malloc):
        try:
            function()  # what must not happen during capture: compiling, creating handles
            stream.synchronize()
            stream.begin_capture()
            try:
                function()
            finally:
                graph = stream.end_capture()  # raises too where the capture has failed
        except Exception as error:  # CuPy's own, CUDA's, a value that was asked for
            refused = f"CuPy {cupy.__version__} does not capture it: {error.__context__ or error}"
    if refused:
        raise BackendError(refused)

    def replay(graph: Any = graph, memory: Any = pool) -> None:
        graph.launch()

    return replay


# What captures the work of a device, by the name of its library.
CAPTURES: dict[str, Capture] = {"cupy": capture_with_cupy}
