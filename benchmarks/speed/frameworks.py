"""The same network, step, attack and chain in other frameworks, each written as its users write it.

They compute what minigrad's `adversarial_objective`, `fgsm` and SGD compute: `benchmarks.speed.peers`
checks that before it times them. Each module is imported when its class is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed.overhead import chain

ALPHA, EPSILON, LR, MOMENTUM, PIECES = 0.5, 0.25, 0.01, 0.5, 5

Weights = list[np.ndarray]  # W, b of each layer, input side first


class Minigrad:
    """This project."""

    def __init__(self, weights: Weights) -> None:
        from minigrad.optim import SGD
        from models import MaxoutNetwork

        self.model = MaxoutNetwork(len(weights[0]), len(weights[-1]), units=_units(weights), pieces=PIECES)
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

    def chain(self, arrays: tuple[np.ndarray, ...]) -> Callable[[], list[np.ndarray]]:
        import minigrad as mg

        x, factor, summand = (mg.Tensor(array, requires_grad=True) for array in arrays)

        def run() -> list[np.ndarray]:
            gradients = mg.grad(mg.sum(chain(x, factor, summand)), (x, factor, summand))
            return [gradient.data for gradient in gradients]

        return run


class Torch:
    """PyTorch, eager."""

    def __init__(self, weights: Weights) -> None:
        import torch

        self.torch = torch
        self.weights = [torch.tensor(array, requires_grad=True) for array in weights]
        self.optimiser = torch.optim.SGD(self.weights, lr=LR, momentum=MOMENTUM)

    def logits(self, x: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = self.weights
        for W, b in ((W1, b1), (W2, b2)):
            z = self.torch.addmm(b, x, W)
            x = z.view(len(z), PIECES, -1).max(1).values
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


class Jax:
    """JAX, compiled."""

    def __init__(self, weights: Weights) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp = jax, jnp
        self.weights = [jnp.asarray(array) for array in weights]
        self.velocities = [jnp.zeros_like(weight) for weight in self.weights]

        def logits(weights: Any, x: Any) -> Any:
            W1, b1, W2, b2, W3, b3 = weights
            for W, b in ((W1, b1), (W2, b2)):
                z = x @ W + b
                x = z.reshape(len(z), PIECES, -1).max(1)
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


class Autograd:
    """HIPS autograd."""

    def __init__(self, weights: Weights) -> None:
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.special import logsumexp

        self.autograd = autograd
        self.weights = [array.copy() for array in weights]
        self.velocities = [np.zeros_like(array) for array in weights]

        def cost(weights: Any, x: Any, y: Any) -> Any:
            W1, b1, W2, b2, W3, b3 = weights
            for W, b in ((W1, b1), (W2, b2)):
                z = anp.dot(x, W) + b
                x = anp.max(anp.reshape(z, (len(z), PIECES, -1)), axis=1)
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


class MyGrad:
    """MyGrad."""

    def __init__(self, weights: Weights) -> None:
        import mygrad

        self.mygrad = mygrad
        self.weights = [mygrad.tensor(array) for array in weights]
        self.velocities = [np.zeros_like(array) for array in weights]

    def cost(self, x: Any, y: np.ndarray) -> Any:
        from mygrad.nnet.losses import softmax_crossentropy

        W1, b1, W2, b2, W3, b3 = self.weights
        for W, b in ((W1, b1), (W2, b2)):
            z = self.mygrad.matmul(x, W) + b
            x = self.mygrad.max(z.reshape(len(z), PIECES, -1), axis=1)
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


def _units(weights: Weights) -> tuple[int, ...]:
    return tuple(array.shape[1] // PIECES for array in weights[:-2:2])


FRAMEWORKS = {"minigrad": Minigrad, "torch": Torch, "jax": Jax, "autograd": Autograd, "mygrad": MyGrad}
