"""What a captured step works with, and how it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from operator import attrgetter, is_
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import GraphError
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
        self.optimisers = [member for member in members if isinstance(member, Optimiser)]
        tensors = [member for member in members if isinstance(member, Tensor)]
        tensors += [parameter for top in tops for parameter in top.parameters()]
        tensors += [parameter for optimiser in self.optimisers for parameter in optimiser.parameters]
        self.tensors = list(dict.fromkeys(tensors))
        attributes = [(vars(m), name, value) for m in self.modules for name, value in vars(m).items()]
        self._own = [own for own in attributes if isinstance(own[2], np.random.Generator)]
        self.generators = [member for member in members if isinstance(member, np.random.Generator)]
        self.generators += [generator for *_, generator in self._own]
        self.arrays()  # what optimisers remember is made at its first use
        self._data = [tensor.data for tensor in self.tensors]
        self._required = [tensor._requires_grad for tensor in self.tensors]
        self._modes = [module._training for module in self.modules], in_force.get().evaluated
        self._memory = [(o._memory, name, [*own]) for o in self.optimisers for name, own in o._memory.items()]

    def arrays(self) -> list[Any]:
        """The Tensors' data, and what optimisers remember."""
        places = [(o, i) for o in self.optimisers for i in range(len(o.parameters))]
        return [*(t.data for t in self.tensors), *(array for o, i in places for array in o._remembered(i))]

    def refuse_changes(self) -> None:
        """GraphError if something was changed that a record would not see."""
        kept = all(map(is_, map(attrgetter("data"), self.tensors), self._data))
        if not kept or not all(all(map(is_, memory[name], own)) for memory, name, own in self._memory):
            raise GraphError("an array of a Tensor or an optimiser was replaced: capture the step anew")
        if any(values[name] is not generator for values, name, generator in self._own):
            raise GraphError("a generator of a Module was replaced: capture the step anew")
        if list(map(attrgetter("_requires_grad"), self.tensors)) != self._required:
            raise GraphError("the requires_grad of a Tensor was changed: capture the step anew")
        if (list(map(attrgetter("_training"), self.modules)), in_force.get().evaluated) != self._modes:
            raise GraphError("a Module is in another mode, training or evaluation: capture the step anew")

    def snapshot(self) -> tuple[list[Any], ...]:
        """All that a step may change."""
        states = [generator.bit_generator.state for generator in self.generators]
        grads, counts = [t._grad for t in self.tensors], [o._counts() for o in self.optimisers]
        return [array.copy() for array in self.arrays()], grads, counts, states

    def put_back(self, snapshot: tuple[list[Any], ...]) -> None:
        arrays, grads, counts, states = snapshot
        for array, before in zip(self.arrays(), arrays, strict=True):
            array[...] = before
        for tensor, grad in zip(self.tensors, grads, strict=True):
            tensor._grad = grad
        for optimiser, numbers in zip(self.optimisers, counts, strict=True):
            optimiser._set_counts(numbers)
        for generator, state in zip(self.generators, states, strict=True):
            generator.bit_generator.state = state

    def bits(self, returned: list[Any]) -> list[Any]:
        """All that a step has changed, and what it returned, to be compared."""
        arrays, grads, counts, _ = self.snapshot()
        found = [None if a is None else backend.to_numpy(a) for a in (*map(raw, returned), *arrays, *grads)]
        drawn_next = [deepcopy(generator).random() for generator in self.generators]
        return [*(None if a is None else a.tobytes() for a in found), counts, drawn_next]

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
