"""What a captured step works with, and how it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from operator import is_
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import GraphError
from minigrad.fast.optimisers import put_side_by_side
from minigrad.fast.recording import Memory, Recorded, Tape
from minigrad.modes import in_force
from minigrad.modules import Module
from minigrad.optim.optimiser import Optimiser
from minigrad.tensor import Tensor, raw


class Members:
    """Modules, Tensors, optimisers and generators: what holds something from one step to the next."""

    def __init__(self, of: Any) -> None:
        members = list(of) if isinstance(of, (list, tuple)) else [of]
        tops = [member for member in members if isinstance(member, Module)]
        self.modules = [module for top in tops for _, module in top.named_modules()]
        self._ids = frozenset(map(id, self.modules))
        self.optimisers = [member for member in members if isinstance(member, Optimiser)]
        tensors = [member for member in members if isinstance(member, Tensor)]
        tensors += [parameter for top in tops for parameter in top.parameters()]
        tensors += [parameter for optimiser in self.optimisers for parameter in optimiser.parameters]
        self.tensors = list(dict.fromkeys(tensors))
        attributes = [(vars(m), name, value) for m in self.modules for name, value in vars(m).items()]
        self.generators = [member for member in members if isinstance(member, np.random.Generator)]
        self.generators += [value for *_, value in attributes if isinstance(value, np.random.Generator)]
        held = (Module, Tensor, np.random.Generator, list, tuple, dict)
        self._held = [own for own in attributes if isinstance(own[2], held)]
        self._lists = [(own, list(own)) for *_, own in attributes if isinstance(own, list)]
        self.arrays()  # what optimisers remember is made at its first use
        for optimiser in self.optimisers:
            put_side_by_side(optimiser)
        self._data = [(tensor, tensor.data) for tensor in self.tensors]
        self._required = [(tensor, tensor._requires_grad) for tensor in self.tensors]
        self._training = [(module, module._training) for module in self.modules]
        self._modes = self._now()
        self._memory = [(o._memory, name, [*own]) for o in self.optimisers for name, own in o._memory.items()]

    def arrays(self) -> list[Any]:
        """The Tensors' data, and what optimisers remember."""
        places = [(o, i) for o in self.optimisers for i in range(len(o.parameters))]
        return [*(t.data for t in self.tensors), *(array for o, i in places for array in o._remembered(i))]

    def refuse_changes(self) -> None:
        """GraphError if something was changed that a record would not see. Each replay asks first, and lists
        take half the time that `all` takes of a generator."""
        replaced = [tensor for tensor, data in self._data if tensor.data is not data]
        moved = [name for memory, name, own in self._memory if not all(map(is_, memory[name], own))]
        if replaced or moved:
            raise GraphError("an array of a Tensor or an optimiser was replaced: capture the step anew")
        others = [name for values, name, value in self._held if values.get(name) is not value]
        edited = [now for now, own in self._lists if len(now) != len(own) or not all(map(is_, now, own))]
        if others or edited:
            raise GraphError("an attribute of a Module was replaced: capture the step anew")
        if [tensor for tensor, required in self._required if tensor._requires_grad is not required]:
            raise GraphError("the requires_grad of a Tensor was changed: capture the step anew")
        switched = [module for module, training in self._training if module._training is not training]
        if switched or self._now() != self._modes:
            raise GraphError(
                "a Module is in another mode, training or evaluation, or no_grad holds as it did not at the "
                "capture: capture the step anew"
            )

    def _now(self) -> tuple[Any, ...]:
        now = in_force.get()
        return now.evaluated & self._ids, now.recording

    def snapshot(self) -> tuple[list[Any], ...]:
        """All that a step may change: arrays, and copies of them; grads, attributes, generators' states."""
        states = [generator.bit_generator.state for generator in self.generators]
        attributes = [dict(vars(owner)) for owner in (*self.modules, *self.optimisers)]
        counts = [optimiser._counts() for optimiser in self.optimisers]
        memory = [[*arrays] for o in self.optimisers for arrays in o._memory.values()]
        data, grads = [t.data for t in self.tensors], [t._grad for t in self.tensors]
        return data, [array.copy() for array in self.arrays()], grads, attributes, counts, memory, states

    def put_back(self, snapshot: tuple[list[Any], ...]) -> None:
        data, copies, grads, attributes, counts, memory, states = snapshot
        for owner, values in zip((*self.modules, *self.optimisers), attributes, strict=True):
            vars(owner).clear()
            vars(owner).update(values)
        for optimiser, numbers in zip(self.optimisers, counts, strict=True):
            optimiser._set_counts(numbers)
        places = [(o._memory, name) for o in self.optimisers for name in o._memory]
        for (owner, name), arrays in zip(places, memory, strict=True):
            owner[name][:] = arrays
        for tensor, array, grad in zip(self.tensors, data, grads, strict=True):
            tensor.data, tensor._grad = array, grad
        for array, before in zip(self.arrays(), copies, strict=True):
            if getattr(array.flags, "writeable", True):
                array[...] = before
        for generator, state in zip(self.generators, states, strict=True):
            generator.bit_generator.state = state

    def bits(self, returned: list[Any]) -> list[Any]:
        """All that a step has changed, and what it returned, to be compared."""
        grads, counts = [t._grad for t in self.tensors], [o._counts() for o in self.optimisers]
        found = [*map(raw, returned), *self.arrays(), *grads]
        arrays = [None if array is None else backend.to_numpy(array) for array in found]
        drawn_next = [deepcopy(generator).random() for generator in self.generators]
        return [*(a if a is None else (a.shape, a.dtype, a.tobytes()) for a in arrays), counts, drawn_next]

    @contextmanager
    def recorded(self, tape: Tape) -> Iterator[dict[Tensor, Recorded]]:
        """A block in which all arrays are recorded ones. What it gives are the grads that Tensors have at its
        beginning, of which nobody may read."""
        data = [(tensor, tensor.data) for tensor in self.tensors]
        grads = {tensor: Recorded(tape, array, Memory(array, varies=True)) for tensor, array in data}
        try:
            for tensor, array in data:
                tensor.data, tensor._grad = tape.variable(array), grads[tensor]
            for memory, name, own in self._memory:
                memory[name] = list(map(tape.variable, own))
            yield grads
        finally:
            for tensor, array in data:
                tensor.data, tensor._grad = array, None
            for memory, name, own in self._memory:
                memory[name] = own[:]
