"""Which memory was written to, and when.

A recorded operation keeps the arrays that its derivative needs. If one of them is written to later, the
derivative would be wrong. So every write is recorded here (`Tensor.changed_in_place`, which the optimiser
calls), and the backward pass compares: memory must not be younger than the result that used it.

The record belongs to the memory. A write through one Tensor or view is a write for all that look at the
same memory: slices, reshapes, transposes, `detach()`, `Tensor(t)`, arrays that share it. A write to a part
counts for the whole. Not seen is what nobody announces: `t.data[…] = …` without `changed_in_place()`,
NumPy writing to an array that a Tensor was made from, another process writing to shared memory, and memory
that two arrays got independently of each other (through ctypes or DLPack, from one file).
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from minigrad import backend
from minigrad.errors import GraphError
from minigrad.operators import raw

# Every result, and every write, gets a number: a greater one is younger.
next_age = itertools.count(1).__next__


class Writes:
    """The age of the last write to each piece of memory, while that lives."""

    def __init__(self) -> None:
        self.last = 0  # of all
        self._ages: dict[int, int] = {}
        self._owners: dict[int, weakref.ref[Any]] = {}

    def record(self, array: Any) -> int:
        """Remember that the memory of an array was written to just now; gives what stands for that memory."""
        owner = owner_of(array)
        key = id(owner)
        if key not in self._owners:
            self._owners[key] = weakref.ref(owner, lambda _: self._forget(key))
        self.last = self._ages[key] = next_age()
        return key

    def record_again(self, keys: list[int]) -> None:
        """The same for what `record` gave, of memory that lives, at once."""
        self.last = next_age()
        self._ages.update(dict.fromkeys(keys, self.last))

    def age_of(self, array: Any) -> int:
        """When the memory of an array was last written to; 0 if never."""
        return self._ages.get(id(owner_of(array)), 0)

    def _forget(self, key: int) -> None:
        self._owners.pop(key, None)
        self._ages.pop(key, None)


def owner_of(array: Any) -> Any:
    """What an array is a view of in the end, or itself. It can be referred to weakly, as bytes cannot."""
    base = _under(array)
    while base is not None and type(base).__weakrefoffset__:
        array, base = base, _under(base)
    return array


def _under(view: Any) -> Any:
    """What a view looks at: an array's base, a memoryview's object."""
    return view.obj if isinstance(view, memoryview) else getattr(view, "base", None)


writes = Writes()


# ---- what the backward pass asks


def refuse_written(results: list[Any]) -> None:
    """GraphError if memory that one of the results was computed from, or lies in, was written to since."""
    for y in results:
        options = [part for o in y.options.values() for part in (o if isinstance(o, tuple) else (o,))]
        used = [("an argument", array) for array in (*map(raw, y.arguments), *y.arrays, *options)]
        for what, array in (("the result", y.data), *used):
            if backend.find(array) is not None and writes.age_of(array) > y.age:
                raise GraphError(
                    f"{what} of {y.made_by.name} was changed in place after it was used (by an optimiser "
                    "step, say), or began to require a gradient: compute the output anew before "
                    "differentiating it"
                )


def refuse_replaced(results: list[Any]) -> None:
    """GraphError if an argument's data is another array than the one that a result was computed from: rules
    that run on Tensors would take the new one."""
    for y in results:
        for x, array in zip(y.arguments, y.arrays, strict=True):
            if hasattr(x, "made_by") and x.data is not array and not _converted(x, array):
                raise GraphError(
                    f"the data of an argument of {y.made_by.name} was replaced after it was used: compute "
                    "the output anew before differentiating it"
                )


def _converted(x: Any, array: Any) -> bool:
    """Whether x was computed with in another dtype, as integers and what has no dimensions may be."""
    return x.dtype != array.dtype and (x.ndim == 0 or x.dtype.kind != "f")
