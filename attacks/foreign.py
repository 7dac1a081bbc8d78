"""What comes from users' functions is checked here: the examples of an attack, the labels and
probabilities of a model. What an attack changes on the side, modes and grads, is put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import check_result, check_unmasked
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array
from minigrad.tensor import raw

Attack = Callable[[Any, Any, Any], Any]  # attack(model, x, y) → adversarial x


def examples_of(attack: Attack, model: Any, x: Any, y: Any) -> Any:
    """attack(model, x, y), an array of x's shape and library, brought to x's dtype, or an error.

    The attack gets copies of the arrays x and y, and may write into them. Modes and grads of the model are
    afterwards as they were.
    """
    with as_it_was(model):
        return checked_examples(attack, model, x, y)


def checked_examples(attack: Attack, model: Any, x: Any, y: Any) -> Any:
    """`examples_of`, without putting anything back: several threads are not to do that to one model."""
    made = raw(attack(model, x.copy(), None if y is None else y.copy()))
    check_unmasked("what the attack returns", made)
    library = backend.of(x)
    if backend.find(made) is not library:
        raise ArgumentTypeError(f"attack must return a {library.name} array, as x is, got {_kind(made)}")
    if made.shape != x.shape or made.dtype.kind != "f":
        raise ArgumentError(
            f"attack must return real numbers of x's shape {x.shape}, got {made.shape} and dtype {made.dtype}"
        )
    made = made.astype(x.dtype, copy=False)
    check_result("what the attack returns", made)
    return made


@contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Puts back the modes, the grads and what requires one in a Module, for those who call train, eval,
    backward or requires_grad_.

    Blocks of several threads may overlap. The one that began later found what the other had made of the
    model: if it goes on, what is to be put back is left to it.
    """
    if not isinstance(model, mg.Module):
        yield
        return
    with _lock:
        found = _Found(model)
        blocks = _open.setdefault(id(model), [])
        blocks.append(found)
        for parameter, _, _ in found.leaves:
            parameter.grad = None  # so that none is written into
    try:
        yield
    finally:
        with _lock:
            place = blocks.index(found)
            del blocks[place]
            if not blocks:
                del _open[id(model)]
            if place < len(blocks):
                blocks[place].modes, blocks[place].leaves = found.modes, found.leaves
            else:
                found.put_back()


class _Found:
    """What a block found in a Module."""

    def __init__(self, model: mg.Module) -> None:
        self.modes = [(module, module._training) for _, module in model.named_modules()]
        self.leaves = [(p, p.grad, p.requires_grad) for p in model.parameters()]

    def put_back(self) -> None:
        for module, training in self.modes:
            if module._training is not training:  # `training` itself says False inside evaluating()
                module.training = training
        for parameter, grad, required in self.leaves:
            parameter.grad, parameter._requires_grad = grad, required  # as it was: no change


_lock = Lock()
_open: dict[
    int, list[_Found]
] = {}  # the open blocks of each Module, by its id, in the order in which they began


def modes_of(model: Any) -> list[bool]:
    """Whether each of the Modules in a model is in training; none if it is no Module."""
    return [module._training for _, module in model.named_modules()] if isinstance(model, mg.Module) else []


def predicted_labels(model: Any, x: Any) -> Any:
    """model.predict(x), one integer an example, or an error."""
    labels = as_array(model.predict(x), "model.predict's labels")
    if labels.shape != (len(x),):
        raise ArgumentError(f"model.predict must return labels of shape ({len(x)},), got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ArgumentTypeError(f"model.predict must return integer labels, got dtype {labels.dtype}")
    return labels


def predicted_probabilities(model: Any, x: Any) -> np.ndarray:
    """model.predict_proba(x) on the host, one row an example, or an error. A model of two classes may give
    P(y = 1) alone, and gets two columns."""
    p = backend.to_numpy(as_array(model.predict_proba(x), "model.predict_proba's probabilities"))
    if p.ndim not in (1, 2) or len(p) != len(x) or p.size == 0 or p.dtype.kind != "f":
        raise ArgumentError(
            f"model.predict_proba must return real numbers of shape ({len(x)}, classes) or ({len(x)},), "
            f"got dtype {p.dtype} and shape {p.shape}"
        )
    check_result("what model.predict_proba returns", p)
    if p.min() < -SLACK or p.max() > 1 + SLACK:
        raise ArgumentError(
            f"model.predict_proba must return numbers from 0 to 1, got {p.min()} to {p.max()}"
        )
    return p if p.ndim == 2 else np.stack([1.0 - p, p], axis=1)


SLACK = 1e-3  # probabilities may be rounded


def _kind(made: Any) -> str:
    own = backend.find(made)
    return type(made).__name__ if own is None else f"a {own.name} array"
