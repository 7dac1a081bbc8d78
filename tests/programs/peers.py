"""The operations of a program in PyTorch, in float64."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.programs import LEAVES, OPERATIONS, Cotangents, Program, Ref, Results, _dropped


def tensor(value: Any) -> Any:
    return value if isinstance(value, torch.Tensor) else torch.tensor(np.asarray(value, float))


def _binary(function: Any) -> Any:
    return lambda x, y: function(tensor(x), tensor(y))


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def _reduced(function: Any) -> Any:
    def reduce(x: Any, axis: Any, keepdims: bool) -> Any:
        axes = _axes(x, axis)
        return function(x, axes, keepdims) if axes else function(x[None], (0,), False)

    return reduce


def _getitem(x: Any, index: Any) -> Any:
    places = np.arange(x.numel()).reshape(tuple(x.shape))[index]
    return x.reshape(-1)[torch.tensor(np.array(places))]


def _prod(x: Any, axes: Any, keepdims: bool) -> Any:
    axes = [a % x.ndim for a in axes]
    kept = [a for a in range(x.ndim) if a not in axes]
    count = math.prod(x.shape[a] for a in axes)
    product = x.permute(*kept, *axes).reshape(*(x.shape[a] for a in kept), count).prod(-1)
    return product.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else product


def _spread(function: Any) -> Any:
    def spread(x: Any, axis: Any, keepdims: bool, ddof: float) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of no degrees of freedom, where both give NaN
            return _reduced(lambda x, axes, keep: function(x, axes, correction=ddof, keepdim=keep))(
                x, axis, keepdims
            )

    return spread


def _squeeze(x: Any, axis: Any) -> Any:
    return x.squeeze() * 1 if axis is None else x.squeeze(axis) * 1


def _expand_dims(x: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = x.unsqueeze(a)
    return x


def _pad(x: Any, widths: Any, _mode: str, value: float) -> Any:
    pairs = np.broadcast_to(widths, (x.ndim, 2)).tolist()
    return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=value) if pairs else x * 1


def _conv2d(x: Any, W: Any, b: Any, stride: int, padding: Any) -> Any:
    # Contiguous, because PyTorch refuses the gradient of a kernel that is a view.
    x, W = x.permute(0, 3, 1, 2).contiguous(), W.permute(3, 2, 0, 1).contiguous()
    if padding == "same":
        missing = [
            max((-(-n // stride) - 1) * stride + k - n, 0)
            for n, k in zip(x.shape[2:], W.shape[2:], strict=True)
        ]
        x = F.pad(x, [n for m in reversed(missing) for n in (m // 2, m - m // 2)])
    border = padding if isinstance(padding, int) else 0
    return F.conv2d(x, W, b, stride, border).permute(0, 2, 3, 1)


def _pooled(function: Any) -> Any:
    return lambda x, size, stride: function(x.permute(0, 3, 1, 2), size, stride).permute(0, 2, 3, 1)


def _maxout(x: Any, pieces: int) -> Any:
    return x.reshape(*x.shape[:-1], pieces, x.shape[-1] // pieces).amax(-2)


def _dropout(x: Any, *options: Any) -> Any:
    return x * torch.tensor(_dropped(np.ones(tuple(x.shape)), *options).numpy())


def _reduce_costs(costs: Any, how: str) -> Any:
    return costs * 1 if how == "none" else costs.mean() if how == "mean" else costs.sum()


def _cross_entropy(x: Any, labels: Any, how: str) -> Any:
    rows = -torch.log_softmax(x, -1)
    places = torch.tensor(labels)[..., None]
    return _reduce_costs(torch.gather(rows, -1, places)[..., 0], how)


THEIRS: dict[str, Any] = {
    "add": _binary(torch.add), "subtract": _binary(torch.sub), "multiply": _binary(torch.mul),
    "divide": _binary(torch.div), "power": _binary(torch.pow), "negative": torch.neg,
    "square": lambda x: x * x, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log,
    "log1p": torch.log1p, "sqrt": torch.sqrt, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, threshold=300), "abs": torch.abs, "relu": torch.relu,
    "sign": torch.sign, "maximum": _binary(torch.maximum), "minimum": _binary(torch.minimum),
    "where": lambda c, x, y: torch.where(torch.tensor(c.astype(bool)), tensor(x), tensor(y)),
    "where_greater": lambda x, n, y, z: torch.where(x > n, tensor(y), tensor(z)),
    "clip": lambda x, low, high: x * 1 if low is high is None else torch.clamp(x, low, high),
    "clip_to_arrays": lambda x, low, high: (
        torch.maximum(x, low) if high is None else torch.minimum(torch.maximum(x, low), high)
    ),
    "copy": torch.clone, "sin": torch.sin, "cos": torch.cos, "logaddexp": _binary(torch.logaddexp),
    "cumsum": lambda x, axis: torch.cumsum(x.reshape(-1) if axis is None else x, axis or 0),
    "var": _spread(torch.var), "std": _spread(torch.std),
    "norm": _reduced(lambda x, a, k: (x * x).sum(a, k).sqrt()), "prod": _reduced(_prod),
    "squeeze": _squeeze, "expand_dims": _expand_dims, "pad": _pad,
    "split": lambda x, where, axis, which: torch.tensor_split(x, where, axis)[which] * 1,
    "einsum": lambda text, operands: torch.einsum(text, *operands),
    "sum": _reduced(lambda x, a, k: x.sum(a, k)), "mean": _reduced(lambda x, a, k: x.mean(a, k)),
    "max": _reduced(torch.amax), "min": _reduced(torch.amin), "logsumexp": _reduced(torch.logsumexp),
    "softmax": torch.softmax, "log_softmax": torch.log_softmax,
    "broadcast_to": lambda x, shape: x.expand(shape),
    "reshape": lambda x, shape: x.reshape(shape) * 1,
    "transpose": lambda x, axes: x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes),
    "concatenate": lambda parts, axis: torch.cat(parts, axis),
    "stack": lambda parts, axis: torch.stack(parts, axis),
    "getitem": _getitem, "matmul": torch.matmul, "linear": lambda x, W, b: x @ W + b,
    "conv2d": _conv2d, "max_pool2d": _pooled(F.max_pool2d), "avg_pool2d": _pooled(F.avg_pool2d),
    "maxout": _maxout, "dropout": _dropout, "softmax_cross_entropy": _cross_entropy,
    "logistic_cost": lambda z, y, how: _reduce_costs(F.softplus(-torch.tensor(y) * z, threshold=300), how),
}  # fmt: skip


def evaluate(program: Program) -> list[Any]:
    values: list[Any] = []
    for node in program.nodes:
        if node.operation in LEAVES:
            values.append(torch.tensor(node.arguments[0], requires_grad=node.operation != "constant"))
        else:
            values.append(
                THEIRS[OPERATIONS[node.operation].theirs](*(_given(a, values) for a in node.arguments))
            )
    return values


def _given(argument: Any, values: list[Any]) -> Any:
    if isinstance(argument, Ref):
        return values[argument.node]
    return [_given(part, values) for part in argument] if isinstance(argument, list) else argument


def run(program: Program, asked: list[int], order: int = 3) -> Results:
    """What `tests.programs.run` computes, in the nodes `asked`; without gradients if there are none."""
    values, outputs, cotangent = evaluate(program), program.outputs(), Cotangents(program.seed)
    results = [[values[i].detach().numpy() for i in outputs]]
    total = _combined([values[i] for i in outputs], cotangent)
    wanted = [values[i] for i in asked]
    leaves = [x for x in wanted if x.is_leaf]
    for number in range(order):
        wanted = leaves if number else wanted
        if total.requires_grad:
            found = torch.autograd.grad(
                total, wanted, create_graph=number + 1 < order, allow_unused=True, materialize_grads=True
            )
        else:
            found = tuple(torch.zeros_like(x) for x in wanted)
        # PyTorch 2.14 crashes on the NumPy array of a zero that has no memory yet; a sum has some.
        results.append([(g.detach() + 0).numpy() for g in found])
        if number + 1 < order:
            total = _combined(found[: len(leaves)], cotangent)
    return results


def _combined(tensors: Any, cotangent: Cotangents) -> Any:
    return sum((t * torch.tensor(cotangent(tuple(t.shape)))).sum() for t in tensors)
