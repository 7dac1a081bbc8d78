"""Twice as many of something cost about twice as much, in calls and in what they are given; no clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from attacks import evaluate
from minigrad.testing import check_gradients
from models import SoftmaxRegression

SMALL = 30
MOST = 2.5  # the growth from 2n to 4n by that from n to 2n: 2 if linear, 4 if quadratic


def work(function: Callable[[], Any]) -> int:
    """Calls, of Python and of C, and the lengths of the tuples and lists that Python's are given."""
    total = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal total
        if event == "c_call":
            total += 1
        elif event == "call":
            code = frame.f_code
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)]
            values = (frame.f_locals.get(name) for name in names)
            total += 1 + sum(len(v) for v in values if type(v) in (tuple, list))

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return total


def growth(prepare: Callable[[int], Callable[[], Any]]) -> float:
    prepare(SMALL)()  # what is done once, at the first call, is not counted
    first, second, third = (work(prepare(n)) for n in (SMALL, 2 * SMALL, 4 * SMALL))
    return (third - second) / max(second - first, 1)


def leaves(n: int) -> list[mg.Tensor]:
    return [mg.Tensor(np.ones(2), requires_grad=True) for _ in range(n)]


class Many(mg.Module):
    def __init__(self, n: int) -> None:
        self.layers = [mg.Parameter(np.ones(2)) for _ in range(n)]


def _joined(join: Any) -> Callable[[int], Any]:
    def prepare(n: int) -> Any:
        total = mg.sum(join(leaves(n)))
        return total.backward

    return prepare


def _chain(n: int) -> Any:
    (x,) = leaves(1)
    for _ in range(n):
        x = mg.tanh(x)
    return mg.sum(x).backward


def _wide(n: int) -> Any:
    (x,) = leaves(1)
    total = x
    for _ in range(n):
        total = total + x * x
    return mg.sum(total).backward


def _grad_of_many(n: int) -> Any:
    inputs = leaves(n)
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return lambda: mg.grad(mg.sum(total), inputs)


def _grad_of_unused(n: int) -> Any:
    inputs = leaves(n)
    return lambda: mg.grad(mg.sum(inputs[0] * 2.0), inputs)


def _remainder(n: int) -> Any:
    x, *weights = leaves(n + 1)
    total = x
    for w in weights:
        total = total * w
    return lambda: mg.grad_and_remainder(mg.sum(total), x)[1].backward()


def _second(n: int) -> Any:
    (x,) = leaves(1)
    y = x
    for _ in range(n):
        y = mg.tanh(y)

    def twice() -> None:
        (g,) = mg.grad(mg.sum(y), x, create_graph=True)
        mg.grad(mg.sum(g), x)

    return twice


def _step(n: int, make: Any = mg.optim.SGD) -> Any:
    optimiser = make(Many(n).parameters(), lr=0.1)
    for parameter in optimiser.parameters:
        parameter.grad = np.ones(2)
    return optimiser.step


def _optimiser_state(n: int, make: Any = mg.optim.SGD) -> Any:
    optimiser = make(Many(n).parameters(), lr=0.1)
    return lambda: optimiser.load_state_dict(optimiser.state_dict())


def _module(use: Any) -> Callable[[int], Any]:
    def prepare(n: int) -> Any:
        module = Many(n)
        return lambda: use(module)

    return prepare


def _evaluation(n: int) -> Any:
    model = SoftmaxRegression(2, 2)
    x, y = np.ones((n, 2), np.float32), np.zeros(n, int)
    return lambda: evaluate(model, x, y, lambda m, a, b: a, batch_size=1, warn_above=None)


def _mean_of_window(n: int) -> Any:
    x = mg.Tensor(np.ones((1, n, n, 1)), requires_grad=True)
    return mg.sum(mg.avg_pool2d(x, n)).backward


def _image_step(examples: int, rows: int) -> Any:
    x, W = (mg.Tensor(np.ones(shape), requires_grad=True) for shape in ((examples, rows, 3, 1), (2, 2, 1, 1)))
    return mg.sum(mg.max_pool2d(mg.conv2d(x, W), (1, 2), 1)).backward


def _check(n: int) -> Any:
    inputs = [np.ones(2) for _ in range(n)]

    def total(*x: Any) -> Any:
        result = x[0]
        for a in x[1:]:
            result = result + a
        return mg.sum(result)

    return lambda: check_gradients(total, *inputs, with_respect_to=0)


CASES: dict[str, Callable[[int], Callable[[], Any]]] = {
    "concatenate": lambda n: lambda: mg.concatenate(leaves(n)),
    "stack": lambda n: lambda: mg.stack(leaves(n)),
    "backward through concatenate": _joined(mg.concatenate),
    "backward through stack": _joined(mg.stack),
    "backward through a chain": _chain,
    "backward through a wide sum": _wide,
    "second order through a chain": _second,
    "grad of many inputs": _grad_of_many,
    "grad of many inputs that are not used": _grad_of_unused,
    "grad_and_remainder": _remainder,
    "split": lambda n: lambda: mg.split(mg.Tensor(np.ones(n)), n),
    "prod": lambda n: lambda: mg.prod(mg.Tensor(np.ones(2 ** n.bit_length()), requires_grad=True)).backward(),
    "jacobian": lambda n: lambda: mg.jacobian(lambda x: x * 2.0)(np.ones(n)),
    "Adam.step": lambda n: _step(n, mg.optim.Adam),
    "Adam's state": lambda n: _optimiser_state(n, mg.optim.Adam),
    "convolution over examples": lambda n: _image_step(n, 3),
    "the mean of a larger window": _mean_of_window,
    "convolution over pixels": lambda n: _image_step(1, n),
    "repr of a Module": _module(repr),
    "getitem with many indices": lambda n: lambda: mg.sum(leaves(1)[0][[0] * n]).backward(),
    "Tensor of a list": lambda n: lambda: mg.Tensor([1.0] * n),
    "iterating": lambda n: lambda: list(mg.Tensor(np.ones(n), requires_grad=True)),
    "parameters": _module(lambda module: module.parameters()),
    "Module.zero_grad": _module(lambda module: module.zero_grad()),
    "Module.to": _module(lambda module: module.to(dtype=np.float32)),
    "Module.train": _module(lambda module: module.train()),
    "state_dict": _module(lambda module: module.load_state_dict(module.state_dict())),
    "SGD": lambda n: lambda: mg.optim.SGD(Many(n).parameters(), lr=0.1),
    "SGD.step": _step,
    "SGD's state": _optimiser_state,
    "evaluate": _evaluation,
    "check_gradients": _check,
}


@pytest.mark.parametrize("name", CASES)
def test_twice_as_many_cost_about_twice_as_much(name: str) -> None:
    assert growth(CASES[name]) <= MOST


def test_saving_and_loading(tmp_path: Path) -> None:
    def prepare(n: int) -> Any:
        def there_and_back() -> None:
            mg.save(tmp_path / "state.npz", Many(n))
            mg.load(tmp_path / "state.npz", Many(n))

        return there_and_back

    assert growth(prepare) <= MOST


def test_what_grows_with_the_square_is_found() -> None:
    def pairs(n: int) -> Any:
        return lambda: [any(a is b for b in range(a)) for a in range(n)]

    def copies(n: int) -> Any:
        def take(some: tuple[int, ...]) -> None: ...

        return lambda: [take(tuple(range(i))) for i in range(n)]

    assert growth(pairs) > 3.5
    assert growth(copies) > 3.5
