"""Gradient checkers compared on the catalogue: `python -m tests.checkers [NAME …]`.

Each checker has its defaults, and the same functions, gradients and inputs; the function and its gradient
become what a user of that library would write. A checker *catches* a wrong gradient if it raises anything,
and raises a *false alarm* if it does so for a right one. Those that are not installed are left out (extra:
peers). Every name of a wrong gradient that was missed, and of a right one that was refused, is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from minigrad.testing import check_gradients
from tests.checkers.catalogue import RIGHT, WRONG, Entry

Check = Callable[[Any, Any, tuple[np.ndarray, ...]], None]  # (function, vjp, inputs); raises or not


class CannotCheckError(Exception):
    """The checker cannot take this function at all, right or wrong."""


def minigrad(function: Any, vjp: Any, inputs: tuple[np.ndarray, ...]) -> None:
    check_gradients(function, *inputs, vjp=vjp)


def torch(function: Any, vjp: Any, inputs: tuple[np.ndarray, ...]) -> None:
    import torch

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *x: Any) -> Any:
            ctx.save_for_backward(*x)
            return torch.tensor(np.asarray(function(*(t.detach().numpy() for t in x))))

        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            gradients = vjp(g[0].numpy().copy(), *(t.detach().numpy() for t in ctx.saved_tensors))
            return tuple(torch.tensor(np.asarray(d)) for d in several(gradients))

    torch.manual_seed(0)
    leaves = [torch.tensor(np.array(x), requires_grad=True) for x in inputs]
    torch.autograd.gradcheck(Wrapped.apply, leaves)


def jax(function: Any, vjp: Any, inputs: tuple[np.ndarray, ...]) -> None:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)

    def arrays(x: Any) -> list[np.ndarray]:
        return [np.array(a) for a in x]

    def call(*x: Any) -> Any:
        y = np.asarray(function(*inputs))
        return jax.pure_callback(
            lambda *a: np.asarray(function(*arrays(a))), jax.ShapeDtypeStruct(y.shape, y.dtype), *x
        )

    def backward(x: Any, g: Any) -> Any:
        shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in x)
        return jax.pure_callback(
            lambda g, *a: tuple(np.asarray(d) for d in several(vjp(np.array(g), *arrays(a)))), shapes, g, *x
        )

    wrapped = jax.custom_vjp(call)
    wrapped.defvjp(lambda *x: (call(*x), x), backward)
    check_grads(wrapped, inputs, order=1, modes=["rev"])


def autograd(function: Any, vjp: Any, inputs: tuple[np.ndarray, ...]) -> None:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    wrapped = primitive(function)

    def rule(position: int) -> Any:
        return lambda ans, *x: lambda g: several(vjp(np.array(g), *x))[position]

    defvjp(wrapped, *(rule(position) for position in range(len(inputs))))
    arguments = tuple(range(len(inputs))) if len(inputs) > 1 else 0
    check_grads(wrapped, arguments, modes=["rev"], order=1)(*inputs)


def mygrad(function: Any, vjp: Any, inputs: tuple[np.ndarray, ...]) -> None:
    """What MyGrad's own tests do, written anew, because its package has no checker: complex steps, one
    element after the other, with a cotangent from 1 to 10, compared by assert_allclose."""
    try:
        y = np.asarray(function(*(x.astype(complex) for x in inputs)))
    except Exception as error:
        raise CannotCheckError(str(error)) from error
    if y.dtype.kind != "c":
        raise CannotCheckError("the function drops imaginary parts")
    g = np.random.default_rng(0).uniform(1, 10, y.shape)
    claimed = several(vjp(g.copy(), *(np.array(x) for x in inputs)))
    for position, x in enumerate(inputs):
        found = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            moved = [np.array(a, complex) for a in inputs]
            moved[position][index] += 1e-20j
            found[index] = np.sum(g * np.imag(function(*moved))) / 1e-20
        np.testing.assert_allclose(claimed[position], found)


def scipy(function: Any, vjp: Any, inputs: tuple[np.ndarray, ...]) -> None:
    """check_grad of the product with a random cotangent, in all inputs end to end. It returns the norm of
    the difference; more than 10⁻⁵ of the gradient's norm, or 10⁻⁵ if that is more, is taken for an error."""
    from scipy.optimize import check_grad

    ends = np.cumsum([x.size for x in inputs])[:-1]
    g = np.random.default_rng(0).normal(size=np.shape(function(*inputs)))

    def parts(flat: np.ndarray) -> list[np.ndarray]:
        pieces = np.split(flat, ends)
        return [p.reshape(x.shape).astype(x.dtype) for p, x in zip(pieces, inputs, strict=True)]

    def gradient(flat: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ravel(d) for d in several(vjp(g.copy(), *parts(flat)))])

    start = np.concatenate([np.ravel(x) for x in inputs]).astype(float)
    error = check_grad(lambda flat: float(np.sum(g * function(*parts(flat)))), gradient, start)
    assert error <= 1e-5 * max(1.0, float(np.linalg.norm(gradient(start)))), error


def several(gradients: Any) -> tuple[Any, ...]:
    return gradients if isinstance(gradients, tuple) else (gradients,)


CHECKERS: dict[str, Check] = {
    "minigrad": minigrad, "torch": torch, "jax": jax, "autograd": autograd, "mygrad": mygrad, "scipy": scipy,
}  # fmt: skip
CALLS = {
    "minigrad": "minigrad.testing.check_gradients", "torch": "torch.autograd.gradcheck",
    "jax": "jax.test_util.check_grads", "autograd": "autograd.test_util.check_grads",
    "mygrad": "the way of MyGrad's tests", "scipy": "scipy.optimize.check_grad",
}  # fmt: skip


@dataclass
class Result:
    """What one checker did on the catalogue."""

    missed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def caught(self) -> int:
        return len(WRONG) - len(self.missed)


def compare(check: Check, progress: Callable[[list[Entry]], Any] = iter) -> Result:
    result = Result()
    start = time.perf_counter()
    for entry in progress([*WRONG, *RIGHT]):
        function, vjp = entry.fresh()
        is_wrong = entry in WRONG
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check(function, vjp, entry.arrays())
            except CannotCheckError:
                result.cannot.append(entry.name)
                if is_wrong:
                    result.missed.append(entry.name)
            except Exception:
                if not is_wrong:
                    result.alarms.append(entry.name)
            else:
                if is_wrong:
                    result.missed.append(entry.name)
    result.seconds = time.perf_counter() - start
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.checkers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(CHECKERS)} (default: all)")
    names = parser.parse_args().names or list(CHECKERS)
    if unknown := [name for name in names if name not in CHECKERS]:
        parser.error(f"NAME must be one of {', '.join(CHECKERS)}, got {unknown[0]}")
    console = Console()
    table = Table(title=f"{len(WRONG)} wrong and {len(RIGHT)} right gradients")
    for column in ("checker", "version", "caught", "false alarms", "cannot check", "s"):
        table.add_column(column, justify="left" if column in ("checker", "version") else "right")
    for name in names:
        if importlib.util.find_spec(name) is None:
            console.print(f"{name} is not installed (extra: peers)")
            continue
        result = compare(CHECKERS[name], lambda entries, name=name: track(entries, name, transient=True))
        console.print(f"[bold]{CALLS[name]}[/] missed: {'; '.join(result.missed) or 'none'}", highlight=False)
        console.print(f"  false alarms: {'; '.join(result.alarms) or 'none'}", highlight=False)
        release = version("minigrad-adversarial" if name == "minigrad" else name)
        table.add_row(CALLS[name], release, str(result.caught), str(len(result.alarms)),
                      str(len(result.cannot)), f"{result.seconds:.1f}")  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
