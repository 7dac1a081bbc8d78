"""The array library under the Tensors: NumPy, or CuPy when asked.

The arrays decide which library runs: an operation uses the library that its operands belong to.
What is chosen here is only where *new* arrays are made, by `use("cupy")` or by the environment
variable MINIGRAD_BACKEND, and how arrays move from one library to the other.

CuPy is imported when the first CuPy array, or the cupy backend, is asked for, and not before.

On a GPU, reading a value on the host (`item()`, `numpy()`, `repr`) waits for the device; nothing
else in this project does. That is why checks of *values* (labels in range, no NaN) look at host
arrays alone: check data before uploading it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.checks import check_choice, check_count
from minigrad.errors import ArgumentError, BackendError


class Backend:
    """An array library: its module `xp`, its array type, and what the libraries do differently.

    kernels   its fused kernels (see `minigrad.kernels`), or None: then the plain forms run
    captures  whether there is a device whose work can be captured as a graph
    """

    captures = False

    def __init__(self, name: str, xp: Any, array_type: type[Any], kernels: Any = None) -> None:
        self.name = name
        self.xp = xp
        self.array_type = array_type
        self.kernels = kernels

    def __repr__(self) -> str:
        return f"<minigrad backend {self.name!r}>"

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        """`data` (array of either library, number, nested list) as an array of this library."""
        if type(data) is self.array_type:
            return data if dtype is None else data.astype(dtype, copy=False)
        return self.xp.asarray(to_numpy(data), dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        """An array of this library as a NumPy array: itself, or a copy from the device."""
        return np.asarray(array)

    def capture(self, function: Callable[[], Any]) -> Callable[[], None]:
        """What `function()` launches on the device, as one graph: calling the result launches it all again,
        on the same memory. `function` may have run once, or not at all. BackendError, with the reason,
        where that cannot be.
        """
        raise BackendError(f"{self.name} has no device whose work could be captured")


class CupyBackend(Backend):
    """CuPy, found and checked when it is first asked for."""

    captures = True

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise BackendError(
                "the cupy backend needs CuPy, which is not installed: "
                "pip install 'minigrad-adversarial[cuda12]' (or [cuda13] for CUDA 13)"
            ) from error
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise BackendError(
                f"CuPy is installed, but CUDA does not answer ({error}): install an NVIDIA driver "
                "that fits the extra in use, cuda12 or cuda13"
            ) from error
        if devices == 0:
            raise BackendError("CuPy is installed, but CUDA finds no GPU on this machine")
        from minigrad.kernels import Kernels

        super().__init__("cupy", cupy, cupy.ndarray, Kernels(cupy))

    def to_numpy(self, array: Any) -> np.ndarray:
        return self.xp.asnumpy(array)

    def capture(self, function: Callable[[], Any]) -> Callable[[], None]:
        cupy, refused = self.xp, ""
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


NUMPY = Backend("numpy", np, np.ndarray)

_by_name: dict[str, Backend] = {"numpy": NUMPY}
_by_type: dict[type, Backend] = {np.ndarray: NUMPY}


def register(backend: Backend) -> None:
    """Make `backend` known by its name and by its array type."""
    _by_name[backend.name] = backend
    _by_type[backend.array_type] = backend


def get(name: str, argument: str = "backend") -> Backend:
    """The backend of that name: "numpy" or "cupy". Errors call it `argument`.

    Raises ArgumentError for an unknown name, BackendError where CuPy or a GPU is missing.
    """
    check_choice(argument, name, tuple({**_by_name, "cupy": None}))
    if name not in _by_name:
        register(CupyBackend())
    return _by_name[name]


def find(array: Any) -> Backend | None:
    """The backend that `array` belongs to; None for anything that is no array."""
    backend = _by_type.get(type(array))
    if backend is None and isinstance(array, np.ndarray):
        return NUMPY
    if backend is None and type(array).__module__.partition(".")[0] == "cupy":
        return get("cupy")
    return backend


def of(array: Any) -> Backend:
    """The backend that `array` belongs to, or ArgumentError."""
    backend = find(array)
    if backend is None:
        raise ArgumentError(f"expected an array, got {type(array).__name__}")
    return backend


def kernels_for(array: Any) -> Any:
    """The fused kernels for a float32 or float64 array; None where the plain form is to run."""
    if type(array) is np.ndarray or array.dtype.char not in "fd":
        return None
    return of(array).kernels


def to_numpy(data: Any) -> np.ndarray:
    """`data` as a NumPy array, copied from the device where it lies on one."""
    backend = find(data)
    return np.asarray(data) if backend is None else backend.to_numpy(data)


class _Thread(threading.local):
    chosen: Backend | None = None


_thread = _Thread()


def current() -> Backend:
    """Where this thread makes new arrays: the backend last chosen, else MINIGRAD_BACKEND's."""
    return _thread.chosen or get(os.environ.get("MINIGRAD_BACKEND") or "numpy", "MINIGRAD_BACKEND")


class use:
    """Make new arrays with the backend `name` from here on, in this thread.

    As a plain call it holds until the next one; in a `with` statement, until the block ends:

        mg.backend.use("cupy")
        with mg.backend.use("numpy"):
            ...
    """

    def __init__(self, name: str) -> None:
        chosen = get(name)
        self._previous = _thread.chosen
        _thread.chosen = chosen

    def __enter__(self) -> Backend:
        return current()

    def __exit__(self, *exception: object) -> None:
        _thread.chosen = self._previous


def random_generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """A random generator on the *host*.

    Initial weights are drawn from it and then uploaded, so that a seed gives the same numbers on
    every backend.
    """
    if not isinstance(seed, np.random.SeedSequence):
        check_count("seed", seed, low=0)
    return np.random.default_rng(seed)


def mask_generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """A counter-based generator, for `dropout`: each of its numbers follows from a key and the number's
    place in the sequence, so that a kernel on the device finds the numbers that the host would draw."""
    if not isinstance(seed, np.random.SeedSequence):
        check_count("seed", seed, low=0)
    return np.random.Generator(np.random.Philox(seed))
