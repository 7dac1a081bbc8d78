"""Parameters, and Modules that own them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MemberDescriptorType, NoneType
from typing import Any, TypeVar

import numpy as np

from minigrad import backend
from minigrad.checks import check_dtype, check_fits, check_flag, check_names_known, shown, shown_names
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.modes import Setting, in_force
from minigrad.tensor import Tensor, raw

Self = TypeVar("Self", bound="Module")  # typing's own needs Python 3.11


class Parameter(Tensor):
    """A leaf Tensor that is trained: it owns a C-ordered copy of `data` and requires a gradient.

    Data of either library goes to the one that `minigrad.backend` has chosen. ArgumentTypeError unless it is
    float32 or float64.
    """

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        library = backend.current()
        array = backend.to_numpy(raw(data))
        if array.dtype.kind != "f":
            raise ArgumentTypeError(
                f"data must be floating-point to be trained, got dtype {array.dtype}: write 1.0 for 1, or "
                "give numpy.asarray(data, numpy.float32)"
            )
        super().__init__(library.xp.array(library.asarray(array), order="C"), True)


class Module:
    """Something with Parameters: its own attributes, and those of the Modules among its attributes.
    Either may also stand in a list, a tuple or a dict, nested in any way. Subclasses say in `forward` what
    calling one computes.

    Names are dotted: "W", "layers.0.W" of a list, "layers.first.W" of a dict. What is reached in several
    ways has the first name. Nothing is searched but Modules and these three: not other objects, nor arrays
    of objects. Where a Parameter or Module could not be told apart or would be shared unseen, asking for
    Parameters raises ArgumentError: in a set, which has no order; as an attribute of the class; two under
    one name; under a key that is neither a string nor an integer. So does a leaf Tensor that requires a
    gradient and is no Parameter, for it would not be trained. (A Module in a set, or under such a key, is an
    error for train, eval and evaluating too.)
    """

    _training = True
    _replaced: frozenset[str] = frozenset()  # the names of attributes that were a Parameter once

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "training" in vars(cls):
            raise ArgumentTypeError(
                f"training must be left to train() and eval(), got it as an attribute of {cls.__name__}"
            )

    def __call__(self, *arguments: Any, **options: Any) -> Tensor:
        return self.forward(*arguments, **options)

    def _forward(self, *arguments: Any, **options: Any) -> Tensor:
        """What calling the Module computes. Every subclass has its own."""
        raise TypeError(f"{type(self).__name__} does not define forward(self, x)")

    def __setattr__(self, name: str, value: Any) -> None:
        """What replaces a Parameter may be anything, for as long as nobody asks for Parameters."""
        held = getattr(self, name, None) if name in _slots(type(self)) else self.__dict__.get(name)
        if isinstance(held, Parameter):
            self._replaced = self._replaced | {name}
        super().__setattr__(name, value)

    forward: Callable[..., Tensor] = _forward  # so typed, subclasses may take whatever arguments they like

    def __repr__(self) -> str:
        """Its settings, name, shape and dtype of every Parameter, and how many numbers they have together.

        Settings are those attributes that are numbers, strings, or tuples of them."""
        name = type(self).__name__
        try:
            parameters = self.named_parameters()
        except ArgumentError as error:  # repr is for looking for faults too
            return f"{name}(whose Parameters cannot be listed: {error})"
        width = max(map(len, parameters), default=0)
        settings = [f"{key}={shown(value)}," for key, value in vars(self).items() if _is_setting(key, value)]
        lines = [f"{path:{width}}  {p.shape} {p.dtype}," for path, p in parameters.items()]
        inside = "".join(f"\n    {line}" for line in [" ".join(settings), *lines] if line)
        numbers = sum(p.size for p in parameters.values())
        return f"{name}({inside}\n)  # {numbers:,} numbers" if inside else f"{name}()"

    # ---- what it is made of

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, Module) of this one, named `prefix`, and of every Module within, each once."""
        return _search(self, prefix)

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by dotted name: a Module's own in the order of definition, then those of the Modules
        within. A shared one appears once."""
        parameters: dict[str, Parameter] = {}
        for name, found in _search(self, tensors=True):
            if isinstance(found, Parameter):
                parameters[name] = found
            elif isinstance(found, Module):
                found._check_replaced()
            elif isinstance(found, Tensor) and found.requires_grad and found.is_leaf:
                raise ArgumentError(
                    f"{name} must be a Parameter, or it would not be trained, got a Tensor that requires a "
                    "gradient: make it a Parameter, or detach() it"
                )
        return parameters

    def _check_replaced(self) -> None:
        for name in self._replaced:
            value = getattr(self, name, None)
            lost = isinstance(value, Tensor) or _kind(type(value)) is None
            if lost and not isinstance(value, (Parameter, NoneType)):
                raise ArgumentError(
                    f"{name} of {type(self).__name__} must be a Parameter, as it was, or it would not be "
                    f"trained nor saved, got {type(value).__name__}: write to its data ({name}.data -= …, "
                    f"and {name}.changed_in_place()), or assign an mg.Parameter"
                )

    def parameters(self) -> list[Parameter]:
        return list(self.named_parameters().values())

    def zero_grad(self) -> None:
        """Set every Parameter's grad to None."""
        for parameter in self.parameters():
            parameter.grad = None

    # ---- training and evaluation

    @property
    def training(self) -> bool:
        """Whether this Module is in training (dropout on); False inside `evaluating()`."""
        return self._training and id(self) not in in_force.get().evaluated

    @training.setter
    def training(self, mode: bool) -> None:
        self._training = check_flag("training", mode)

    def train(self: Self, mode: bool = True) -> Self:
        """Switch this Module and those within to training; returns itself."""
        check_flag("mode", mode)
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Switch this Module and those within to evaluation; returns itself."""
        return self.train(False)

    def evaluating(self) -> Setting:
        """Evaluation mode for a `with` block, in this thread and asyncio task alone: other threads that use
        the Module go on as they were. It holds for the Modules that are within now. train() and eval() called
        inside the block take effect when it ends."""
        modules = [module for _, module in self.named_modules()]
        return Setting(evaluated=frozenset(map(id, modules)), held=modules)

    # ---- moving and storing

    def to(self: Self, name: str | None = None, *, dtype: Any = None) -> Self:
        """Move every Parameter, and its grad, to the library `name`, or convert it to the float
        `dtype`, or both; the Parameter objects stay the same. Returns itself."""
        library = None if name is None else backend.get(name)
        if dtype is not None and check_dtype("dtype", dtype).char not in "fd":
            raise ArgumentTypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
        for parameter in self.parameters():
            target = library or backend.of(parameter.data)
            parameter.data = _in_c_order(target.asarray(parameter.data, dtype))
            if parameter.grad is not None:
                parameter.grad = target.asarray(parameter.grad, dtype)
            parameter.changed_in_place()
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """A NumPy copy of each Parameter's data, by name."""
        return {name: np.array(p.numpy()) for name, p in self.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set every Parameter from `state`. ArgumentError, and nothing changed, unless names,
        shapes and dtypes are exactly those of this Module."""
        parameters = self.named_parameters()
        arrays = check_state(state, {name: p.data for name, p in parameters.items()})
        for name, parameter in parameters.items():
            parameter.data = arrays[name]
            parameter.changed_in_place()


Found = tuple[str, Any, str]  # dotted name, object, why it must not be a Parameter or Module: "" if it may
WITHIN = {Module, list, tuple, dict, set, frozenset}  # what Modules and Parameters are looked for in


def _search(root: Module, prefix: str = "", tensors: bool = False) -> Iterator[tuple[str, Any]]:
    """(dotted name, Module) of every Module in `root`, each once, `root` itself first. With `tensors` a
    Module is followed by its Tensors; then the classes of the Modules are searched too."""
    kinds = {Tensor, *WITHIN} if tensors else WITHIN
    seen: set[int] = set()
    names: set[str] = set()
    modules: list[tuple[str, Any]] = [(prefix, root)]
    while modules:  # lists of what is to come, for a chain of Modules may be longer than Python can recurse
        path, module = modules.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield _only(path, names), module
        within = []
        found = _attributes(module, path, kinds)
        while found:
            path, value, problem = found.pop()
            kind = _kind(type(value))
            if problem and (kind is Module or isinstance(value, Parameter)):
                raise ArgumentError(
                    f"{path} must stand in an attribute of its own, a list or a dict: {problem}"
                )
            if kind is Module:
                within.append((path, value))
            elif id(value) not in seen:
                seen.add(id(value))
                if kind is Tensor:
                    yield _only(path, names), value
                else:
                    found += _items(f"{path}.", value, problem, kinds)
        modules += within[::-1]


def _kind_of(cls: Any) -> Any:
    """Tensor, Module, or the container that an object of this class is searched as; None if it is not."""
    return next((kind for kind in (Tensor, Module, *WITHIN) if issubclass(cls, kind)), None)


def _slots_of(cls: Any) -> tuple[str, ...]:
    members = {name: member for owner in cls.__mro__ for name, member in vars(owner).items()}
    return tuple(name for name, member in members.items() if isinstance(member, MemberDescriptorType))


_kind: Callable[[Any], Any] = lru_cache(256)(_kind_of)
_slots: Callable[[Any], tuple[str, ...]] = lru_cache(256)(_slots_of)


def _attributes(module: Module, path: str, kinds: set[Any]) -> list[Found]:
    """The attributes to be searched, the last first."""
    start, own = f"{path}." if path else "", vars(module)
    found = [(start + name, value, "") for name, value in own.items() if _kind(type(value)) in kinds]
    for name in _slots(type(module)):
        if _kind(type(value := getattr(module, name, None))) in kinds:
            found.append((start + name, value, ""))
    if Tensor in kinds:
        owners = [owner for owner in type(module).__mro__[::-1] if owner not in (Module, object)]
        shared = {name: (value, owner) for owner in owners for name, value in vars(owner).items()}
        for name, (value, owner) in shared.items():
            if _kind(type(value)) in kinds and name not in own:
                problem = f"all instances of the class {owner.__name__} share it, so set it in __init__"
                found.append((start + name, value, problem))
    found.reverse()
    if isinstance(module, (list, tuple, dict, set, frozenset)):  # a class of both
        found += _items(start, module, "", kinds)
    return found


def _items(start: str, container: Any, problem: str, kinds: set[Any]) -> list[Found]:
    """The items to be searched, the last first; their names begin with `start`."""
    pairs = container.items() if isinstance(container, dict) else enumerate(container)
    if isinstance(container, (set, frozenset)):
        problem = problem or "a set has no order"
    found = [
        (f"{start}{key}", item, problem or _problem(key)) for key, item in pairs if _kind(type(item)) in kinds
    ]
    found.reverse()
    return found


def _problem(key: Any) -> str:
    """Why an item of this key cannot have a name; "" if it can."""
    return "" if isinstance(key, (str, int)) else f"its key {key!r} is neither a string nor an integer"


def _is_setting(name: str, value: Any) -> bool:
    """Whether an attribute is a number or a string, or a tuple of them, and public."""
    parts = value if isinstance(value, tuple) else (value,)
    plain = parts and all(isinstance(part, (bool, int, float, str, np.generic)) for part in parts)
    return bool(plain) and not name.startswith("_")


def _only(name: str, names: set[str]) -> str:
    """`name`, if nothing else was found under it before."""
    if name in names:
        raise ArgumentError(f"{name} must be the name of one thing, but two have it here: rename one")
    names.add(name)
    return name


def _in_c_order(array: Any) -> Any:
    return array if array.flags.c_contiguous else backend.of(array).xp.array(array, order="C")


def check_state(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`state` as new C-ordered arrays, each of the library of its namesake in `own`; ArgumentError unless its
    names, shapes and dtypes are those of `own`."""
    if not isinstance(state, Mapping):
        raise ArgumentTypeError(
            f"state must be a mapping of names to arrays, such as a state_dict(), got {type(state).__name__}"
        )
    if missing := own.keys() - state.keys():
        raise ArgumentError(f"state lacks {shown_names(missing)}")
    check_names_known(state, own)
    arrays = {}
    for name, array in own.items():
        given, library = backend.to_numpy(raw(state[name])), backend.of(array)
        check_fits(f"state[{name!r}]", given.shape, given.dtype, array)
        arrays[name] = library.xp.array(library.asarray(given), order="C")
    return arrays
