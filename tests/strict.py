"""A strict array library: NumPy that behaves as CuPy does where the two differ.

What runs on NumPy may still break on a GPU. So the suite runs over this library too, which

- refuses to become a NumPy array implicitly, and to meet one in an operation;
- has the functions and methods that CuPy has, by name, and no others;
- returns arrays without dimensions where NumPy returns scalars;
- refuses lists and tuples as operands;
- counts transfers to and from the "device", whatever would make the host wait for it, and about what
  would be a kernel launch: all but views and fresh memory.

`python -m tests.strict --write-names` writes the names anew from an installed CuPy.
"""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.backend import Backend

NAMES_FILE = Path(__file__).with_name("cupy_names.txt")


def _names() -> dict[str, set[str]]:
    sections: dict[str, set[str]] = {}
    for line in NAMES_FILE.read_text().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), set())
        elif not line.startswith("#"):
            current.add(line)
    return sections


CUPY, NDARRAY = _names()["cupy"], _names()["ndarray"]


class Counter:
    """What has crossed between host and device since the last `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.uploads: list[int] = []  # in bytes
        self.synchronisations: list[str] = []  # what the host waited for
        self.launches: list[str] = []  # about what CuPy would launch a kernel for


counter = Counter()


def launch(name: str, compute: Callable[[], Any], counted: bool = True) -> Any:
    """compute(), counted."""
    if counted and name not in VIEWS:
        counter.launches.append(name)
    result = compute()
    return np.asarray(result) if isinstance(result, np.generic) else result


class Array:
    """A "device" array. Its elements are reached by its own methods alone."""

    __slots__ = ("_host", "base", "__weakref__")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: Any, base: Any = None) -> None:
        self._host = np.asarray(host)
        self.base = base

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy's function of arrays of this library and of numbers alone, as CuPy's."""
        if not all(isinstance(x, (Array, np.ndarray, np.generic, int, float)) for x in inputs):
            return NotImplemented
        if ufunc in (UFUNCS[name] for name in COMPARISONS):  # to which NumPy gives scalars as arrays
            inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
        plain = [_operand(x) for x in inputs]
        return _device(launch(ufunc.__name__, lambda: getattr(ufunc, method)(*plain, **options)))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    # What is asked most, before the search by name below.
    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)

    def __getattr__(self, name: str) -> Any:
        if name not in NDARRAY:
            raise AttributeError(f"CuPy's ndarray has no {name!r}")
        value = getattr(self._host, name)
        return _device(value, self) if not callable(value) else _method(self, name)

    @property
    def data(self) -> object:
        """CuPy's is a pointer to device memory."""
        return object()

    def get(self) -> np.ndarray:
        _wait("get", None)
        return self._host.copy()

    def item(self) -> Any:
        return _wait("item", self._host.item())

    def tolist(self) -> Any:
        return _wait("tolist", self._host.tolist())

    def __bool__(self) -> bool:
        return _wait("bool", bool(self._host))

    def __int__(self) -> int:
        return _wait("int", int(self._host))

    def __float__(self) -> float:
        return _wait("float", float(self._host))

    def __index__(self) -> int:
        return _wait("index", operator.index(self._host))

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        plain = _index(index)
        found = self._host[plain]
        if isinstance(found, np.generic):  # an element is a view without dimensions, not a copy
            found = self._host[(*(plain if isinstance(plain, tuple) else (plain,)), ...)]
        if not np.may_share_memory(found, self._host):
            found = launch("getitem", lambda: self._host[plain])
        return _device(found, self)

    def __setitem__(self, index: Any, value: Any) -> None:
        launch("setitem", lambda: self._host.__setitem__(_index(index), _operand(value)))

    def __repr__(self) -> str:
        return f"strict.{self._host!r}"


def _wait(what: str, value: Any) -> Any:
    counter.synchronisations.append(what)
    return value


def _device(value: Any, source: Array | None = None) -> Any:
    """A result as CuPy would give it: an array, also where NumPy gives a scalar."""
    if isinstance(value, (np.ndarray, np.generic)):
        is_view = isinstance(value, np.ndarray) and value.base is not None
        return Array(
            value, base=source if is_view and source is not None else (value.base if is_view else None)
        )
    if isinstance(value, (tuple, list)):
        return type(value)(_device(item) for item in value)
    return value


def _operand(value: Any) -> Any:
    if isinstance(value, Array):
        return value._host
    if isinstance(value, (np.generic, bool, int, float, type(None))):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_index(part) for part in index)
    if isinstance(index, Array):
        if index._host.dtype == bool:
            _wait("boolean index", None)  # the result's shape depends on values
        return index._host
    if isinstance(index, (np.ndarray, list)):
        raise IndexError("arrays used as indices must be of this library")
    return index


def _option(value: Any) -> Any:
    """A keyword argument: an array of this library, or a setting such as a shape or a dtype."""
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value._host if isinstance(value, Array) else value


VIEWS = ("reshape", "transpose", "swapaxes", "squeeze", "view", "ravel", "broadcast_to", "expand_dims",
         "moveaxis", "empty", "empty_like", "ascontiguousarray")  # fmt: skip


def _method(self: Array, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        plain = [_option(argument) for argument in arguments]
        named = {key: _option(value) for key, value in options.items()}
        if name == "astype" and not named.get("copy", True) and self._host.dtype == plain[0]:
            return self
        return _device(launch(name, lambda: getattr(self._host, name)(*plain, **named)), self)

    return call


def _binary(name: str) -> None:
    function = getattr(operator, f"__{name}__")

    def forward(self: Array, other: Any) -> Any:
        if not isinstance(other, (Array, np.ndarray, np.generic)) and hasattr(other, "__array_ufunc__"):
            return UFUNCS[name](self, other)  # which asks all operands for their own, as in CuPy
        return _device(launch(name, lambda: function(self._host, _operand(other))))

    def reflected(self: Array, other: Any) -> Any:
        return _device(launch(name, lambda: function(_operand(other), self._host)))

    def in_place(self: Array, other: Any) -> Array:
        result = launch(name, lambda: getattr(self._host, f"__i{name}__")(_operand(other)))
        if result is NotImplemented:
            raise TypeError(f"unsupported in-place {name}")
        return self

    setattr(Array, f"__{name}__", forward)
    if name not in COMPARISONS:
        setattr(Array, f"__r{name}__", reflected)
        setattr(Array, f"__i{name}__", in_place)


UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
          "matmul": np.matmul, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
          "eq": np.equal, "ne": np.not_equal, "and": np.bitwise_and, "or": np.bitwise_or,
          "xor": np.bitwise_xor}  # fmt: skip
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
for _name in (*COMPARISONS, "add", "sub", "mul", "truediv", "pow", "matmul", "and", "or", "xor"):
    _binary(_name)


def _unary(name: str) -> None:
    function = getattr(operator, name)

    def forward(self: Array) -> Any:
        return _device(launch(name, lambda: function(self._host)))

    setattr(Array, f"__{name}__", forward)


for _name in ("neg", "invert", "abs"):
    _unary(_name)


# Functions whose positional arguments are not all operands: how many leading ones are.
OPERANDS = {"broadcast_to": 1, "reshape": 1, "transpose": 1, "zeros": 0, "ones": 0, "empty": 0, "full": 0,
            "arange": 0, "expand_dims": 1, "sum": 1, "moveaxis": 1, "einsum": 0, "pad": 1}  # fmt: skip
JOINS = ("concatenate", "stack")


class _At:
    """cupy.add: callable as any ufunc, and with `at`, which accumulates repeated indices."""

    def __call__(self, x: Any, y: Any) -> Any:
        return _device(launch("add", lambda: np.add(_operand(x), _operand(y))))

    def at(self, target: Array, index: Any, values: Any) -> None:
        launch("add.at", lambda: np.add.at(target._host, _index(index), _operand(values)))


class Library(types.ModuleType):
    """The module itself: NumPy's functions under CuPy's names, on device arrays."""

    ndarray = Array
    add = _At()
    __version__ = np.__version__

    def __getattr__(self, name: str) -> Any:
        if name not in CUPY:
            raise AttributeError(f"CuPy has no {name!r}")
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*arguments: Any, **options: Any) -> Any:
            out = options.get("out")
            count = OPERANDS.get(name, len(arguments))
            plain = (
                [_operand(a) for a in arguments[:count]]
                if name not in JOINS
                else [[_operand(array) for array in arguments[0]], *arguments[1:]]
            )
            plain += [_option(a) for a in arguments[len(plain) :]]
            named = {key: _option(value) for key, value in options.items()}
            result = launch(name, lambda: function(*plain, **named))
            return (
                out
                if out is not None
                else _device(result, next((a for a in arguments if isinstance(a, Array)), None))
            )

        call.__name__ = name
        return call

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        if isinstance(data, Array):
            return data if dtype is None or data.dtype == dtype else data.astype(dtype)
        host = np.array(data, dtype)
        counter.uploads.append(host.nbytes)
        return Array(host)

    def array(self, data: Any, dtype: Any = None, order: str = "K") -> Array:
        source = self.asarray(data, dtype)._host
        return _device(launch("array", lambda: np.array(source, order=order)))  # type: ignore[call-overload]

    def asnumpy(self, array: Array) -> np.ndarray:
        return array.get()

    def shares_memory(self, a: Array, b: Array) -> bool:
        return np.shares_memory(a._host, b._host)


class StrictBackend(Backend):
    """The strict library as one of minigrad's backends, under the name "strict"."""

    def __init__(self) -> None:
        super().__init__("strict", Library("strict"), Array)

    def to_numpy(self, array: Any) -> np.ndarray:
        return array.get() if isinstance(array, Array) else np.asarray(array)


def write_names() -> None:
    import cupy

    functions = [n for n in dir(cupy) if n[0] != "_" and not isinstance(getattr(cupy, n), types.ModuleType)]
    methods = [n for n in dir(cupy.ndarray) if n[0] != "_"]
    header = [line for line in NAMES_FILE.read_text().splitlines() if line.startswith("#")]
    NAMES_FILE.write_text("\n".join([*header, "[cupy]", *functions, "[ndarray]", *methods]) + "\n")


if __name__ == "__main__" and "--write-names" in sys.argv:
    write_names()
