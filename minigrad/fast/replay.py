"""`capture`: a step recorded once, checked beside the eager one, and replayed on each batch."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minigrad.checks import check_finite, shown
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError
from minigrad.fast.recording import Recorded, Tape
from minigrad.modules import Module, Parameter
from minigrad.optim import SGD
from minigrad.optim import sgd as sgd_module
from minigrad.optim.optimiser import Optimiser
from minigrad.tensor import Tensor, raw


class CaptureWarning(UserWarning):
    """A step was not captured, and runs eagerly instead."""


def capture(function: Callable[..., Any], *example: Any, of: Any) -> CapturedStep:
    """The function as a step that is replayed: see `CapturedStep`."""
    return CapturedStep(function, example, of)


class CapturedStep:
    """function(*batch), recorded once, and replayed on each batch.

        step = capture(train_on, x, y, of=[model, optimiser])
        for x, y in batches:
            J = step(x, y)

    function  computes what a training step or an attack computes, and returns an array, a Tensor, several in
              a tuple, or None. It may call `zero_grad`, `backward` and the optimiser's `step`
    example   a batch: arrays, or Tensors; every other has their shapes and dtypes
    of        Modules, Parameters and optimisers that it works with, one or a list

    Parameters, what optimisers remember, lr, momentum, weight_decay and max_norm, schedules too, are read anew at
    each call. Any other number of Python's is part of the record as it was. What is returned is new at each
    call. `grad` stays as it is.

    The constructor runs the step a few times, and leaves everything as it was. If the step cannot be recorded,
    or the record does not give the bits of the eager step on another batch, a CaptureWarning says why,
    `captured` is False, and calls run the function itself.
    """

    def __init__(self, function: Callable[..., Any], example: tuple[Any, ...], of: Any) -> None:
        if not callable(function):
            raise ArgumentTypeError(f"function must be a function of a batch, got {shown(function)}")
        self._function = function
        self._modules, self._parameters, self._optimisers = _members(of)
        self._inputs = [_input(f"example[{i}]", given) for i, given in enumerate(example)]
        self._busy = threading.Lock()
        self._tape: Tape | None = None
        self._outputs: Any = None
        try:
            self._record()
        except BackendError as error:
            self._tape = None
            text = f"the step is not captured, and runs eagerly: {error}"
            warnings.warn(text, CaptureWarning, stacklevel=3)

    @property
    def captured(self) -> bool:
        """Whether calls replay a record."""
        return self._tape is not None

    def __call__(self, *batch: Any) -> Any:
        if self._tape is None:
            return self._function(*batch)
        arrays = self._checked(batch)
        if not self._busy.acquire(blocking=False):
            raise GraphError("a captured step must not be called while it runs, in another thread, say")
        try:
            self._check_what_is_recorded()
            for own, given in zip(self._inputs, arrays, strict=True):
                own[...] = given
            self._read_settings()
            self._tape.replay()
            for optimiser in self._stepped:
                optimiser.updates += 1
            for parameter in self._parameters:
                parameter.changed_in_place()
            return _mapped(self._outputs, lambda output: output.host.copy())
        finally:
            self._busy.release()

    def _checked(self, batch: tuple[Any, ...]) -> list[np.ndarray]:
        if len(batch) != len(self._inputs):
            raise ArgumentError(f"batch must have {len(self._inputs)} arrays, as the example, got {len(batch)}")
        arrays = []
        for i, (given, own) in enumerate(zip(batch, self._inputs, strict=True)):
            array = raw(given)
            if not isinstance(array, np.ndarray):
                raise ArgumentTypeError(f"batch[{i}] must be an array or a Tensor, got {type(given).__name__}")
            if array.shape != own.shape or array.dtype != own.dtype:
                raise ArgumentError(
                    f"batch[{i}] must have shape {own.shape} and dtype {own.dtype}, as the example, got "
                    f"{array.shape} and {array.dtype}"
                )
            if array.dtype.kind == "f":
                check_finite(f"batch[{i}]", array)
            arrays.append(array)
        return arrays

    # ---- what a replay works with

    def _check_what_is_recorded(self) -> None:
        now = [p.data for p in self._parameters] + self._remembered()
        if any(a is not b for a, b in zip(now, self._arrays, strict=True)):
            raise GraphError("an array of a Parameter or an optimiser was replaced: capture the step anew")
        if [module._training for module in self._modules] != self._modes:
            raise GraphError("a Module is in another mode, of training or evaluation: capture the step anew")

    def _remembered(self) -> list[Any]:
        return [
            array
            for optimiser in self._optimisers
            for position in range(len(optimiser.parameters))
            for array in optimiser._remembered(position)
        ]

    def _read_settings(self) -> None:
        for optimiser, variables in self._settings.items():
            lr, momentum, _ = optimiser.settings()
            for (kind, _), variable in variables.items():
                variable.host[...] = {"lr": lr, "momentum": momentum}[kind]

    # ---- recording

    def _record(self) -> None:
        self._arrays = [p.data for p in self._parameters] + self._remembered()
        self._modes = [module._training for module in self._modules]
        if any(not isinstance(array, np.ndarray) for array in self._arrays):
            raise BackendError("recording is for NumPy's arrays")
        generators = [g for m in self._modules for g in vars(m).values() if isinstance(g, np.random.Generator)]
        with self._as_it_was(generators) as begin_again:
            tape = Tape()
            self._outputs = self._run_recorded(tape)
            if any(g not in generators for g in tape.generators):
                raise BackendError("a generator that the step draws from must be an attribute of a Module in `of`")
            begin_again()
            other = [_another(own) for own in self._inputs]
            expected = _mapped(self._function(*other), lambda output: np.array(raw(output)))
            after = [array.copy() for array in self._arrays]
            begin_again()
            for own, given in zip(self._inputs, other, strict=True):
                own[...] = given
            self._read_settings()
            tape.replay()
            found = _mapped(self._outputs, lambda output: output.host)
            pairs = [*zip(_flat(expected), _flat(found), strict=True), *zip(after, self._arrays, strict=True)]
            if not all(a.tobytes() == b.tobytes() for a, b in pairs):
                raise BackendError("the record does not give the bits of the eager step")
        self._tape = tape

    @contextmanager
    def _as_it_was(self, generators: list[np.random.Generator]) -> Iterator[Callable[[], None]]:
        """A block after which everything is as before; what it gives puts it back within."""
        arrays = [(array, array.copy()) for array in self._arrays]
        grads = [(p, p.grad) for p in self._parameters]
        updates = [(o, o._counts()) for o in self._optimisers]
        states = [(g.bit_generator, g.bit_generator.state) for g in generators]

        def begin_again() -> None:
            for array, before in arrays:
                array[...] = before
            for parameter, grad in grads:
                parameter._grad = grad
            for optimiser, counts in updates:
                optimiser._set_counts(counts)
            for bits, state in states:
                bits.state = state

        try:
            yield begin_again
        finally:
            begin_again()

    def _run_recorded(self, tape: Tape) -> Any:
        """The function over recorded arrays; its outputs."""
        self._settings: dict[Any, dict[Any, Recorded]] = {}
        self._stepped: list[Any] = []
        self._hosts = {id(p): p.data for p in self._parameters}
        self._memory_of = {
            o: [o._remembered(position) for position in range(len(o.parameters))] for o in self._optimisers
        }
        inputs = [tape.variable(array) for array in self._inputs]
        hosts = [p.data for p in self._parameters]
        try:
            for parameter in self._parameters:
                parameter.data = tape.variable(parameter.data)
            for optimiser in self._optimisers:
                optimiser.step = partial(self._recorded_step, tape, optimiser)
            with tape:
                return _mapped(self._function(*inputs), lambda output: _recorded(raw(output)))
        finally:
            for parameter, host in zip(self._parameters, hosts, strict=True):
                parameter.data = host
            for optimiser in self._optimisers:
                vars(optimiser).pop("step", None)

    def _recorded_step(self, tape: Tape, optimiser: Any) -> None:
        """In place of the optimiser's step: its update, written down."""
        trained = [
            (position, parameter)
            for position, parameter in enumerate(optimiser.parameters)
            if parameter.grad is not None and parameter.requires_grad
        ]
        self._stepped.append(optimiser)
        if type(optimiser) is not SGD or optimiser.weight_decay:
            gradients = {position: parameter.grad.host for position, parameter in trained}
            tape.calls.append(partial(_updated, optimiser, gradients, self._hosts))
            return
        lr, momentum, max_norm = optimiser.settings()
        variables = self._settings.setdefault(optimiser, {})
        hosts_of = [memory[0] for memory in self._memory_of[optimiser]]
        for position, parameter in trained:
            dtype = parameter.dtype
            for kind, value in (("lr", lr), ("momentum", momentum)):
                if (kind, dtype) not in variables:
                    variables[kind, dtype] = tape.variable(np.array(value, dtype))
            v = tape.variable(hosts_of[position])
            sgd_module.update.plain(
                parameter.data, v, parameter.grad, variables["lr", dtype], variables["momentum", dtype]
            )
            if max_norm is not None and parameter.ndim == 2:
                tape.calls.append(partial(_limited, optimiser, parameter.data.host))


def _updated(optimiser: Any, gradients: dict[int, np.ndarray], hosts: dict[int, np.ndarray]) -> None:
    """An optimiser's own step, on the gradients of a replay."""
    settings, weight_decay = optimiser.settings(), optimiser.setting("weight_decay", low=0.0)
    for position, g in gradients.items():
        data = hosts[id(optimiser.parameters[position])]
        if weight_decay:
            g = np.asarray(g + weight_decay * data)
        optimiser.update_parameter(position, g, optimiser._remembered(position), settings)


def _limited(optimiser: Any, W: np.ndarray) -> None:
    sgd_module.limit_columns(W, optimiser.settings()[2])


def _recorded(output: Any) -> Recorded:
    if not isinstance(output, Recorded):
        raise BackendError(f"function returns {shown(output)}, which is not computed from the batch")
    return output


def _members(of: Any) -> tuple[list[Module], list[Parameter], list[Any]]:
    members = list(of) if isinstance(of, Iterable) and not isinstance(of, (Module, Tensor)) else [of]
    modules = [m for member in members if isinstance(member, Module) for _, m in member.named_modules()]
    optimisers = [member for member in members if isinstance(member, Optimiser)]
    parameters: dict[int, Parameter] = {}
    for member in members:
        if isinstance(member, (Module, Optimiser)):
            own = member.parameters() if isinstance(member, Module) else member.parameters
        elif isinstance(member, Parameter):
            own = [member]
        else:
            raise ArgumentTypeError(
                f"of must be Modules, Parameters and optimisers, got {type(member).__name__}"
            )
        parameters |= {id(parameter): parameter for parameter in own}
    return modules, list(parameters.values()), optimisers


def _input(name: str, given: Any) -> np.ndarray:
    array = raw(given)
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(f"{name} must be a NumPy array or a Tensor of one, got {type(given).__name__}")
    return array.copy()


def _another(array: np.ndarray) -> np.ndarray:
    """An input of other numbers: of real ones half; of integers, which are labels, in the other order."""
    return array * array.dtype.type(0.5) if array.dtype.kind == "f" else array[::-1].copy()


def _mapped(outputs: Any, function: Callable[[Any], Any]) -> Any:
    if outputs is None:
        return None
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(function(output) for output in outputs)
    return function(outputs)


def _flat(outputs: Any) -> list[Any]:
    return [] if outputs is None else list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
