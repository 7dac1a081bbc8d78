"""A network, a training loop, a penalty and a Hessian-vector product of one's own, on minigrad alone.

Passes `mypy --strict`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import minigrad as mg

Array = NDArray[np.float32]


class Network(mg.Module):
    """Two layers, and a sine between them."""

    def __init__(self, inputs: int, hidden: int, classes: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.first = mg.Linear(inputs, hidden, weights="glorot", seed=generator)
        self.second = mg.Linear(hidden, classes, seed=generator)

    def forward(self, x: mg.Tensor | Array) -> mg.Tensor:
        return self.second(mg.sin(self.first(x)))

    def cost(self, x: mg.Tensor | Array, y: NDArray[np.int64], reduction: str = "mean") -> mg.Tensor:
        return mg.softmax_cross_entropy(self(x), y, reduction)


def spirals(count: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Points on three arms of a spiral, and which arm each is on."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    radius = random.uniform(0.2, 1.0, count)
    angle = 4.0 * radius + 2.0 * np.pi / 3.0 * labels + random.normal(0.0, 0.1, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return points.astype(np.float32), labels


def penalty(model: Network, x: Array, y: NDArray[np.int64]) -> mg.Tensor:
    """The mean length of the input gradient: a model that is flat around its examples."""
    leaf = mg.Tensor(x, requires_grad=True)
    (slope,) = mg.grad(model.cost(leaf, y, "sum"), leaf, create_graph=True)
    return mg.mean(mg.norm(slope, axis=1))


def sharpness(model: Network, x: Array, y: NDArray[np.int64], steps: int = 20) -> float:
    """The greatest curvature of the cost in the last bias: the greatest eigenvalue, by power iteration."""
    bias = model.second.b

    def cost(b: mg.Tensor) -> mg.Tensor:
        return mg.softmax_cross_entropy(mg.linear(mg.sin(model.first(x)), model.second.W, b), y)

    direction: NDArray[np.floating] = np.arange(1, 1 + bias.size, dtype=np.float32)
    curvature = 0.0
    for _ in range(steps):
        product = mg.hvp(cost, bias.numpy(), direction).numpy()
        curvature = float(np.linalg.norm(product))
        direction = product / curvature
    return curvature


def main() -> None:
    x, y = spirals(600, seed=0)
    model = Network(2, 32, 3, seed=0)
    optimiser = mg.optim.Adam(model.named_parameters(), lr=0.02, weight_decay=1e-4)
    for _ in range(300):
        optimiser.zero_grad()
        cost = model.cost(x, y) + 0.01 * penalty(model, x, y)
        cost.backward()
        optimiser.step()
    right = float((model(x).numpy().argmax(1) == y).mean())
    print(model)
    print(f"{right:.0%} right, sharpness {sharpness(model, x, y):.3f}")
    assert right > 0.9


if __name__ == "__main__":
    main()
