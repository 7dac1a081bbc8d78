"""The same network, step, attack and chain in other frameworks, each written as its users write it.

They compute what minigrad's `adversarial_objective`, `fgsm` and SGD compute: `benchmarks.speed.peers`
checks that before it times them. Each module is imported when its class is made.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.speed.floor import CLASSES, FEATURES, PIECES, layers
from benchmarks.speed.overhead import chain
from minigrad import lanes
from minigrad.errors import ArgumentError
from minigrad.steps import CaptureWarning, Step

ALPHA, EPSILON, LR, MOMENTUM = 0.5, 0.25, 0.01, 0.5

Weights = list[np.ndarray]  # W, b of each layer, input side first


def weights(units: int, features: int = FEATURES, pieces: int = PIECES) -> Weights:
    """The same for all: U(−.05, .05), which makes the classes differ and the gradients matter."""
    random = np.random.default_rng(2)
    found = []
    for shape in layers(units, features, pieces):
        found.append(random.uniform(-0.05, 0.05, shape).astype(np.float32))
        found.append(np.zeros(shape[1], np.float32))
    return found


def examples(number: int, features: int = FEATURES) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((number, features), dtype=np.float32), random.integers(0, CLASSES, number)


def captured_step(function: Callable[..., Any], *example: Any, of: Any) -> Step:
    """`mg.capture`, and an ArgumentError that says why if the function was not captured."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CaptureWarning)
        step = mg.capture(function, *example, of=of)
    if not step.captured:
        raise ArgumentError(str(said[-1].message) if said else "the fast lane is off (MINIGRAD_PLAIN)")
    return step


class Framework:
    """What all have: a step, an attack, parameters and a chain, and a batch in arrays that they take."""

    def batch(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        """Made once, before anything is timed."""
        return x, y


class Minigrad(Framework):
    """This project."""

    def __init__(self, weights: Weights) -> None:
        from minigrad.optim import SGD
        from models import MaxoutNetwork

        self.model = MaxoutNetwork(
            len(weights[0]), len(weights[-1]), units=_units(weights), pieces=_pieces(weights)
        )
        for parameter, array in zip(self.model.parameters(), weights, strict=True):
            parameter.data = array.copy()
            parameter.changed_in_place()
        self.optimiser = SGD(self.model.parameters(), lr=LR, momentum=MOMENTUM)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        from attacks import adversarial_objective

        self.optimiser.zero_grad()
        adversarial_objective(self.model, x, y, alpha=ALPHA, epsilon=EPSILON).backward()
        self.optimiser.step()

    def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        from attacks import fgsm

        return fgsm(self.model, x, y, epsilon=EPSILON)

    def parameters(self) -> Weights:
        return [parameter.numpy() for parameter in self.model.parameters()]

    def chain(self, arrays: tuple[np.ndarray, ...]) -> Callable[[], list[np.ndarray]] | None:
        x, factor, summand = (mg.Tensor(array, requires_grad=True) for array in arrays)

        def run() -> list[np.ndarray]:
            gradients = mg.grad(mg.sum(chain(x, factor, summand)), (x, factor, summand))
            return [gradient.data for gradient in gradients]

        return run


class Captured(Minigrad):
    """This project, step and attack recorded by `mg.capture` at the first call with a shape of batch. The
    step returns nothing, as JAX's compiled one returns no cost."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self._steps: dict[tuple[int, ...], Step] = {}
        self._attacks: dict[tuple[int, ...], Step] = {}

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        if x.shape not in self._steps:
            self._steps[x.shape] = captured_step(super().step, x, y, of=[self.model, self.optimiser])
        self._steps[x.shape](x, y)

    def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.shape not in self._attacks:
            self._attacks[x.shape] = captured_step(super().fgsm, x, y, of=self.model)
        return self._attacks[x.shape](x, y)

    def chain(self, arrays: tuple[np.ndarray, ...]) -> None:
        """It tells what an operation costs that is recorded for a backward pass: here none is."""
        return


class Torch(Framework):
    """PyTorch, eager."""

    def __init__(self, weights: Weights) -> None:
        import torch

        self.torch = torch
        self.pieces = _pieces(weights)
        self.weights = [torch.tensor(array, requires_grad=True) for array in weights]
        self.optimiser = torch.optim.SGD(self.weights, lr=LR, momentum=MOMENTUM)

    def logits(self, x: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = self.weights
        for W, b in ((W1, b1), (W2, b2)):
            z = self.torch.addmm(b, x, W)
            x = z.view(len(z), self.pieces, -1).max(1).values
        return self.torch.addmm(b3, x, W3)

    def cost(self, x: Any, y: Any, reduction: str = "mean") -> Any:
        return self.torch.nn.functional.cross_entropy(self.logits(x), y, reduction=reduction)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        torch = self.torch
        clean = torch.from_numpy(x).requires_grad_()
        labels = torch.from_numpy(y)
        self.optimiser.zero_grad()
        J = self.cost(clean, labels)
        (gradient,) = torch.autograd.grad(J, clean, retain_graph=True)
        adversarial = clean.detach() + EPSILON * gradient.sign()
        (ALPHA * J + (1 - ALPHA) * self.cost(adversarial, labels)).backward(inputs=self.weights)
        self.optimiser.step()

    def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        torch = self.torch
        leaf = torch.from_numpy(x).requires_grad_()
        (gradient,) = torch.autograd.grad(self.cost(leaf, torch.from_numpy(y), "sum"), leaf)
        return (leaf.detach() + EPSILON * gradient.sign()).numpy()

    def parameters(self) -> Weights:
        return [weight.detach().numpy() for weight in self.weights]

    def chain(self, arrays: tuple[np.ndarray, ...]) -> Callable[[], list[np.ndarray]]:
        x, factor, summand = (self.torch.tensor(array, requires_grad=True) for array in arrays)

        def run() -> list[np.ndarray]:
            total = chain(x, factor, summand).sum()
            return [g.numpy() for g in self.torch.autograd.grad(total, (x, factor, summand))]

        return run


class Jax(Framework):
    """JAX, compiled."""

    def __init__(self, weights: Weights) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp = jax, jnp
        pieces = _pieces(weights)
        self.weights = [jnp.asarray(array) for array in weights]
        self.velocities = [jnp.zeros_like(weight) for weight in self.weights]

        def logits(weights: Any, x: Any) -> Any:
            W1, b1, W2, b2, W3, b3 = weights
            for W, b in ((W1, b1), (W2, b2)):
                z = x @ W + b
                x = z.reshape(len(z), pieces, -1).max(1)
            return x @ W3 + b3

        def cost(weights: Any, x: Any, y: Any) -> Any:
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], 1)
            return -chosen.mean()

        def step(weights: Any, velocities: Any, x: Any, y: Any) -> Any:
            by_weights, by_x = jax.grad(cost, (0, 1))(weights, x, y)
            adversarial = jax.lax.stop_gradient(x + EPSILON * jnp.sign(by_x))
            others = jax.grad(cost)(weights, adversarial, y)
            velocities = [
                MOMENTUM * v - LR * (ALPHA * g + (1 - ALPHA) * h)
                for v, g, h in zip(velocities, by_weights, others, strict=True)
            ]
            return [w + v for w, v in zip(weights, velocities, strict=True)], velocities

        self._step = jax.jit(step, donate_argnums=(0, 1))
        self._fgsm = jax.jit(lambda w, x, y: x + EPSILON * jnp.sign(jax.grad(cost, 1)(w, x, y)))

    def batch(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        """In arrays of its own: it would copy NumPy's at every call."""
        return self.jnp.asarray(x), self.jnp.asarray(y)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        self.weights, self.velocities = self._step(self.weights, self.velocities, x, y)
        self.jax.block_until_ready(self.weights)

    def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(self._fgsm(self.weights, x, y))

    def parameters(self) -> Weights:
        return [np.asarray(weight) for weight in self.weights]

    def chain(self, arrays: tuple[np.ndarray, ...]) -> None:
        """Compiled, there is no operation left to have an overhead."""
        return


class Autograd(Framework):
    """HIPS autograd."""

    def __init__(self, weights: Weights) -> None:
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.special import logsumexp

        self.autograd = autograd
        pieces = _pieces(weights)
        self.weights = [array.copy() for array in weights]
        self.velocities = [np.zeros_like(array) for array in weights]

        def cost(weights: Any, x: Any, y: Any) -> Any:
            W1, b1, W2, b2, W3, b3 = weights
            for W, b in ((W1, b1), (W2, b2)):
                z = anp.dot(x, W) + b
                x = anp.max(anp.reshape(z, (len(z), pieces, -1)), axis=1)
            logits = anp.dot(x, W3) + b3
            return anp.sum(logsumexp(logits, axis=1) - logits[np.arange(len(y)), y])

        self._by_weights = autograd.grad(cost, 0)
        self._by_x = autograd.grad(cost, 1)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        adversarial = self.fgsm(x, y)
        clean, other = self._by_weights(self.weights, x, y), self._by_weights(self.weights, adversarial, y)
        for i, (g, h) in enumerate(zip(clean, other, strict=True)):
            gradient = (np.float32(ALPHA) * g + np.float32(1 - ALPHA) * h) / np.float32(len(y))
            self.velocities[i] = np.float32(MOMENTUM) * self.velocities[i] - np.float32(LR) * gradient
            self.weights[i] = self.weights[i] + self.velocities[i]

    def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x + np.float32(EPSILON) * np.sign(self._by_x(self.weights, x, y))

    def parameters(self) -> Weights:
        return self.weights

    def chain(self, arrays: tuple[np.ndarray, ...]) -> Callable[[], list[np.ndarray]]:
        import autograd.numpy as anp

        gradient = self.autograd.grad(lambda args: anp.sum(chain(*args)))
        return lambda: gradient(list(arrays))


class MyGrad(Framework):
    """MyGrad."""

    def __init__(self, weights: Weights) -> None:
        import mygrad

        self.mygrad = mygrad
        self.pieces = _pieces(weights)
        self.weights = [mygrad.tensor(array) for array in weights]
        self.velocities = [np.zeros_like(array) for array in weights]

    def cost(self, x: Any, y: np.ndarray) -> Any:
        from mygrad.nnet.losses import softmax_crossentropy

        W1, b1, W2, b2, W3, b3 = self.weights
        for W, b in ((W1, b1), (W2, b2)):
            z = self.mygrad.matmul(x, W) + b
            x = self.mygrad.max(z.reshape(len(z), self.pieces, -1), axis=1)
        return softmax_crossentropy(self.mygrad.matmul(x, W3) + b3, y)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        leaf = self.mygrad.tensor(x)
        self.cost(leaf, y).backward()
        clean = [weight.grad for weight in self.weights]
        adversarial = x + np.float32(EPSILON) * np.sign(leaf.grad)
        self.cost(adversarial, y).backward()
        for i, (weight, g) in enumerate(zip(self.weights, clean, strict=True)):
            gradient = np.float32(ALPHA) * g + np.float32(1 - ALPHA) * weight.grad
            self.velocities[i] = np.float32(MOMENTUM) * self.velocities[i] - np.float32(LR) * gradient
            self.weights[i] = self.mygrad.tensor(weight.data + self.velocities[i])

    def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        leaf = self.mygrad.tensor(x)
        self.cost(leaf, y).backward()
        return x + np.float32(EPSILON) * np.sign(leaf.grad)

    def parameters(self) -> Weights:
        return [weight.data for weight in self.weights]

    def chain(self, arrays: tuple[np.ndarray, ...]) -> Callable[[], list[np.ndarray]]:
        x, factor, summand = (self.mygrad.tensor(array) for array in arrays)

        def run() -> list[np.ndarray]:
            chain(x, factor, summand).sum().backward()
            return [x.grad, factor.grad, summand.grad]

        return run


def _pieces(weights: Weights) -> int:
    """Columns of a hidden layer for each of its units, which are what the next layer takes."""
    return weights[0].shape[1] // len(weights[2])


def _units(weights: Weights) -> tuple[int, ...]:
    return tuple(array.shape[1] // _pieces(weights) for array in weights[:-2:2])


FRAMEWORKS = {"minigrad": Minigrad, "captured": Captured, "torch": Torch, "jax": Jax, "autograd": Autograd,
              "mygrad": MyGrad}  # fmt: skip


def label(name: str) -> str:
    """What results call it."""
    return "minigrad, captured" if name == "captured" else name


def module(name: str) -> str:
    """The package that it needs."""
    return "minigrad" if name == "captured" else name


def installed(name: str) -> bool:
    return importlib.util.find_spec(module(name)) is not None


def chosen(names: Iterable[str] | None) -> list[str]:
    """Those that are asked for, or all that can run here; minigrad in any case. ArgumentError, naming the
    option, for one that cannot."""
    if names is None:
        names = [name for name in FRAMEWORKS if installed(name) and not (name == "captured" and lanes.PLAIN)]
    if missing := [name for name in names if not installed(name)]:
        raise ArgumentError(f"--frameworks must be installed, {missing[0]} is not: pip install -e '.[peers]'")
    if "captured" in names and lanes.PLAIN:
        raise ArgumentError("--frameworks captured needs the fast lane: it is off (MINIGRAD_PLAIN)")
    return list(dict.fromkeys(["minigrad", *names]))


def left_out(names: Iterable[str], of: Iterable[str] = FRAMEWORKS) -> str:
    """A sentence on those that are not installed, and how to get them; nothing if there is none."""
    absent = [name for name in of if not installed(name)]
    if not absent:
        return ""
    alone = all(module(name) == "minigrad" for name in names)
    return (
        f"Not installed, and left out: {', '.join(absent)}: pip install -e '.[peers]'"
        f"{'. minigrad is beside itself and the bare products alone' if alone else ''}"
    )


def packages(names: Iterable[str]) -> list[str]:
    """What they need beside minigrad."""
    return [name for name in names if module(name) != "minigrad"]


def step(
    name: str, batch: int, units: int, features: int = FEATURES, pieces: int = PIECES
) -> Callable[[], None]:
    """One adversarial step of a framework, as a call."""
    one = FRAMEWORKS[name](weights(units, features, pieces))
    return partial(one.step, *one.batch(*examples(batch, features)))
