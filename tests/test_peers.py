"""The same numbers from PyTorch, in float64, from the same weights. Needs the `peers` extra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from attacks import adversarial_objective, fgsm, input_gradient
from models import LogisticRegression, MaxoutNetwork, SoftmaxRegression
from tests.test_models import randomised

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[peers]'")
F = torch.nn.functional

rng = np.random.default_rng(21)
X = rng.normal(size=(8, 6))
CLASSES = rng.integers(0, 3, 8)
SIGNS = rng.choice([-1, 1], 8)


def softmax_cost(parameters: list[Any], x: Any, y: Any, reduction: str) -> Any:
    return F.cross_entropy(x @ parameters[0] + parameters[1], y, reduction=reduction)


def logistic_cost(parameters: list[Any], x: Any, y: Any, reduction: str) -> Any:
    costs = F.softplus(-y * (x @ parameters[0] + parameters[1]), threshold=100)
    return costs.mean() if reduction == "mean" else costs.sum()


def maxout_cost(parameters: list[Any], x: Any, y: Any, reduction: str) -> Any:
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        z = x @ W + b
        x = z.reshape(len(z), 2, -1).amax(1)
    return F.cross_entropy(x @ parameters[-2] + parameters[-1], y, reduction=reduction)


MODELS = {
    "logistic": (lambda: LogisticRegression(6), SIGNS, logistic_cost),
    "softmax": (lambda: SoftmaxRegression(6, 3), CLASSES, softmax_cost),
    "maxout": (lambda: MaxoutNetwork(6, 3, units=(5, 4), pieces=2), CLASSES, maxout_cost),
}


def twins(name: str) -> tuple[Any, list[Any], Any, Any]:
    """(our model, PyTorch's copies of its parameters, the labels, PyTorch's cost)."""
    make, y, cost = MODELS[name]
    model = randomised(make())
    copies = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in model.parameters()]
    return model, copies, y, cost


def agree(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
class TestAgainstPyTorch:
    def test_costs_and_gradients(self, name: str) -> None:
        model, copies, y, cost = twins(name)
        x = torch.tensor(X, requires_grad=True)
        theirs = cost(copies, x, torch.tensor(y), "mean")
        theirs.backward()
        leaf = mg.Tensor(X, requires_grad=True)
        ours = model.cost(leaf, y)
        ours.backward()
        agree(ours.item(), theirs)
        agree(leaf.grad, x.grad)
        for p, q in zip(model.parameters(), copies, strict=True):
            agree(p.grad, q.grad)

    def test_gradients_of_gradients(self, name: str) -> None:
        model, copies, y, cost = twins(name)
        u = rng.normal(size=copies[0].shape)
        theirs = torch.autograd.grad(
            cost(copies, torch.tensor(X), torch.tensor(y), "mean"), copies[0], create_graph=True
        )[0]
        expected = torch.autograd.grad((theirs * torch.tensor(u)).sum(), copies, allow_unused=True)
        parameters = model.parameters()
        (ours,) = mg.grad(model.cost(X, y), parameters[0], create_graph=True)
        for g, h in zip(mg.grad(mg.sum(ours * u), parameters), expected, strict=True):
            if h is None:
                assert not g.numpy().any()
            else:
                agree(g.numpy(), h)

    def test_fgsm(self, name: str) -> None:
        model, copies, y, cost = twins(name)
        x = torch.tensor(X, requires_grad=True)
        cost(copies, x, torch.tensor(y), "sum").backward()
        agree(input_gradient(model, X, y), x.grad)
        agree(fgsm(model, X, y, epsilon=0.25), x + 0.25 * x.grad.sign())

    def test_fifty_steps_of_adversarial_training(self, name: str) -> None:
        model, copies, y, cost = twins(name)
        optimiser = mg.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
        velocities = [torch.zeros_like(q) for q in copies]
        labels = torch.tensor(y)
        for _ in range(50):
            optimiser.zero_grad()
            adversarial_objective(model, X, y, alpha=0.5, epsilon=0.1).backward()
            optimiser.step()
            x = torch.tensor(X, requires_grad=True)
            (g,) = torch.autograd.grad(cost(copies, x, labels, "mean"), x)
            moved = (x + 0.1 * g.sign()).detach()
            J = 0.5 * cost(copies, torch.tensor(X), labels, "mean") + 0.5 * cost(
                copies, moved, labels, "mean"
            )
            gradients = torch.autograd.grad(J, copies)
            with torch.no_grad():
                for q, v, gradient in zip(copies, velocities, gradients, strict=True):
                    v.mul_(0.5).sub_(0.02 * gradient)
                    q.add_(v)
        for p, q in zip(model.parameters(), copies, strict=True):
            agree(p.numpy(), q)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (mg.optim.Adam, torch.optim.Adam, {}),
        (mg.optim.Adam, torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-4}),
        (mg.optim.SGD, torch.optim.SGD, {"momentum": 0.9}),
    ],
)
def test_optimisers(ours: Any, theirs: Any, options: Any, weight_decay: float) -> None:
    """One Parameter has no gradient in every third step."""
    model, copies, y, cost = twins("softmax")
    options = {**options, "lr": 0.05, "weight_decay": weight_decay}
    optimiser, other = ours(model.parameters(), **options), theirs(copies, **options)
    for step in range(20):
        optimiser.zero_grad()
        other.zero_grad()
        model.cost(X, y).backward()
        cost(copies, torch.tensor(X), torch.tensor(y), "mean").backward()
        if step % 3 == 1:
            model.parameters()[1].grad = copies[1].grad = None
        optimiser.step()
        other.step()
    for p, q in zip(model.parameters(), copies, strict=True):
        agree(p.numpy(), q)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (mg.sin, torch.sin),
        (mg.cos, torch.cos),
        (lambda x: mg.logaddexp(x, 0.5), lambda x: torch.logaddexp(x, torch.tensor(0.5))),
        (lambda x: mg.var(x, 1, ddof=1), lambda x: torch.var(x, 1)),
        (lambda x: mg.std(x, 0, ddof=1), lambda x: torch.std(x, 0)),
        (lambda x: mg.norm(x, axis=1), lambda x: torch.linalg.norm(x, dim=1)),
        (lambda x: mg.prod(x, 1), lambda x: torch.prod(x, 1)),
        (lambda x: mg.cumsum(x, 1), lambda x: torch.cumsum(x, 1)),
        (lambda x: mg.einsum("ij,kj->ik", x, x), lambda x: torch.einsum("ij,kj->ik", x, x)),
        (lambda x: mg.pad(x, ((1, 0), (0, 2))), lambda x: torch.nn.functional.pad(x, (0, 2, 1, 0))),
        (mg.exp, torch.exp),
        (mg.tanh, torch.tanh),
        (mg.sigmoid, torch.sigmoid),
        (mg.softplus, lambda x: F.softplus(x, threshold=100)),
        (mg.relu, torch.relu),
        (mg.abs, torch.abs),
        (mg.softmax, lambda x: torch.softmax(x, -1)),
        (mg.log_softmax, lambda x: torch.log_softmax(x, -1)),
        (lambda x: mg.logsumexp(x, 0), lambda x: torch.logsumexp(x, 0)),
        (lambda x: mg.max(x, 1), lambda x: torch.amax(x, 1)),
        (lambda x: mg.clip(x, -0.5, 0.5), lambda x: torch.clamp(x, -0.5, 0.5)),
        (lambda x: x @ mg.transpose(x), lambda x: x @ x.T),
        (lambda x: x[[0, 0, 3], 1:], lambda x: x[[0, 0, 3], 1:]),
        (lambda x: mg.concatenate([x, x * x], 1), lambda x: torch.cat([x, x * x], 1)),
    ],
)
def test_operations(ours: Any, theirs: Any) -> None:
    x, t = mg.Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    y, s = ours(x), theirs(t)
    agree(y.numpy(), s)
    g = rng.normal(size=y.shape)
    s.backward(torch.tensor(g))
    agree(mg.grad(y, x, gradient=g)[0].numpy(), t.grad)
