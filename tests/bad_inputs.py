"""What every public function must refuse: one good call each, and the kind of each of its parameters.

tests/test_messages.py crosses CALLS with the bad values of KINDS, and fails where a public function or a
parameter has no declaration. To add a function, give it a line in CALLS; to add a bad value, put it under
its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import attacks
import minigrad as mg
import minigrad.testing
import models
from minigrad import backend, errors, generators, modes

Bad = dict[str, Callable[[], Any]]  # a name for the case, and what makes the value anew


class Hostile:
    """An object that claims to be an array and is none."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("hostile")


def _generator() -> Any:
    yield 1.0


def ragged() -> Any:
    return [[1.0, 2.0], [3.0]]


def strict(data: Any) -> Any:
    return backend.get("strict").asarray(data)


NO_NUMBER: Bad = {
    "text": lambda: "1.0",
    "list": lambda: [1.0],
    "array": lambda: np.ones(2),
    "complex": lambda: 1j,
    "set": lambda: {1},
    "object": object,
    "NaN": lambda: np.nan,
    "infinity": lambda: np.inf,
    "huge integer": lambda: 10**400,
    "flag": lambda: True,
    "hostile": Hostile,
}
NO_COUNT: Bad = {
    "text": lambda: "3",
    "fraction": lambda: 1.5,
    "float": lambda: 3.0,
    "NaN": lambda: np.nan,
    "list": lambda: [3],
    "flag": lambda: True,
    "negative": lambda: -1,
    "huge negative": lambda: -(10**400),
    "array": lambda: np.array([3, 3]),
}
NO_ARRAY: Bad = {
    "nothing": lambda: None,
    "text": lambda: "abc",
    "complex": lambda: np.ones((2, 3), complex),
    "objects": lambda: np.full((2, 3), None),
    "texts": lambda: np.full((2, 3), "a"),
    "ragged": ragged,
    "set": lambda: {1.0, 2.0},
    "dict": lambda: {"a": 1.0},
    "generator": _generator,
    "hostile": Hostile,
    "object": object,
    "dates": lambda: np.zeros((2, 3), "datetime64[s]"),
}
NO_REAL: Bad = {
    **NO_ARRAY,
    "integers": lambda: np.ones((2, 3), int),
    "booleans": lambda: np.ones((2, 3), bool),
    "masked": lambda: np.ma.masked_array(np.ones((2, 3)), mask=np.eye(2, 3)),
}
NO_LABELS: Bad = {
    "text": lambda: "ab",
    "too few": lambda: [0],
    "too many": lambda: [0, 1, 0],
    "fractions": lambda: [0.5, 1.5],
    "out of range": lambda: [0, 9],
    "negative": lambda: [0, -7],
    "two axes": lambda: [[0, 1]],
    "texts": lambda: ["a", "b"],
    "complex": lambda: [1j, 0],
    "NaN": lambda: [np.nan, 1.0],
    "number": lambda: 1,
    "hostile": Hostile,
    "dict": lambda: {0: 1},
    "ragged": ragged,
    "objects": lambda: np.full(2, None),
    "flags": lambda: [True, False],
}

KINDS: dict[str, Bad] = {
    "number": NO_NUMBER,
    "number from 0": {**NO_NUMBER, "negative": lambda: -0.5},
    "number above 0": {**NO_NUMBER, "negative": lambda: -0.5, "zero": lambda: 0.0},
    "number in [0, 1]": {**NO_NUMBER, "negative": lambda: -0.5, "above": lambda: 1.5},
    "number in [0, 1)": {**NO_NUMBER, "negative": lambda: -0.5, "one": lambda: 1.0},
    "number in (0, 1]": {**NO_NUMBER, "zero": lambda: 0.0, "above": lambda: 1.5},
    "number from 1": {**NO_NUMBER, "below": lambda: 0.5},
    "count": {**NO_COUNT, "zero": lambda: 0},
    "seed": NO_COUNT,
    "flag": {
        "text": lambda: "yes",
        "one": lambda: 1,
        "number": lambda: 0.5,
        "nothing": lambda: None,
        "list": lambda: [True],
        "array": lambda: np.array([True, False]),
    },
    "operand": NO_ARRAY,
    "real operand": {k: v for k, v in NO_REAL.items() if k != "masked"},
    "operand beside another": NO_ARRAY,  # integers and booleans take the dtype of the other
    "second operand": {
        **NO_ARRAY,
        "another library": lambda: strict(np.ones((2, 3))),
        "does not broadcast": lambda: np.ones(5),
    },
    "examples": {
        **NO_REAL,
        "one axis": lambda: np.ones(2),
        "three axes": lambda: np.ones((2, 3, 1)),
        "other features": lambda: np.ones((2, 5)),
        "number": lambda: 1.0,
        "NaN": lambda: np.full((2, 3), np.nan),
        "infinity": lambda: np.full((2, 3), np.inf),
    },
    "batch": {
        **{k: v for k, v in NO_REAL.items() if k != "masked"},
        "one axis": lambda: np.ones(3),
        "other features": lambda: np.ones((2, 5)),
        "number": lambda: 1.0,
    },
    "batch beside another": {
        **NO_ARRAY,
        "one axis": lambda: np.ones(3),
        "other features": lambda: np.ones((2, 5)),
        "number": lambda: 1.0,
    },
    "bound": {
        **{k: v for k, v in NO_NUMBER.items() if k not in ("list", "array")},
        "does not broadcast": lambda: np.ones(5),
        "texts": lambda: np.full((2, 3), "a"),
        "complex array": lambda: np.ones((2, 3), complex),
        "masked": lambda: np.ma.masked_array(np.ones((2, 3)), mask=np.eye(2, 3)),
        "ragged": ragged,
        "another library": lambda: strict(np.ones((2, 3))),
    },
    "widths": {
        "negative": lambda: -1,
        "fraction": lambda: 1.5,
        "text": lambda: "1",
        "nothing": lambda: None,
        "three": lambda: (1, 2, 3),
        "for another number of axes": lambda: [(1, 1)] * 5,
        "ragged": lambda: [(1, 2), (1,)],
        "huge": lambda: 10**400,
        "objects": lambda: np.full(2, None),
    },
    "sections": {
        "does not divide": lambda: 4,
        "zero": lambda: 0,
        "fraction": lambda: 1.5,
        "fractions": lambda: [0.5],
        "text": lambda: "a",
        "nothing": lambda: None,
        "huge": lambda: 10**400,
        "object": object,
    },
    "subscripts": {
        "number": lambda: 3,
        "nothing": lambda: None,
        "too few": lambda: "ij",
        "too many": lambda: "ij,jk,kl->il",
        "other dimensions": lambda: "ijk,jk->i",
        "unknown in the result": lambda: "ij,jk->ix",
        "twice in the result": lambda: "ij,jk->ii",
        "other lengths": lambda: "ij,ik->k",
        "no letters": lambda: "i$,$k->ik",
        "two arrows": lambda: "ij,jk->i->k",
        "bytes": lambda: b"ij,jk->ik",
        "list": lambda: ["ij", "jk"],
    },
    "image": {
        **NO_REAL,
        "three axes": lambda: np.ones((5, 5, 2)),
        "other channels": lambda: np.ones((1, 5, 5, 3)),
    },
    "filters": {
        **NO_ARRAY,
        "three axes": lambda: np.ones((3, 3, 2)),
        "other channels": lambda: np.ones((3, 3, 5, 4)),
        "no rows": lambda: np.ones((0, 3, 2, 4)),
        "larger than the image": lambda: np.ones((9, 3, 2, 4)),
    },
    "biases": {**{k: v for k, v in NO_ARRAY.items() if k != "nothing"}, "too many": lambda: np.ones(5)},
    "padding": {
        "unknown": lambda: "full",
        "nothing": lambda: None,
        "negative": lambda: -1,
        "fraction": lambda: 0.5,
        "flag": lambda: True,
        "pair": lambda: (1, 1),
    },
    "window": {**NO_COUNT, "zero": lambda: 0, "three": lambda: (2, 2, 2), "larger than the image": lambda: 9},
    "ord": {
        "1": lambda: 1,
        "infinite": lambda: np.inf,
        "text": lambda: "nuc",
        "flag": lambda: True,
        "list": lambda: [2],
        "2, of a matrix": lambda: 2,
    },
    "argument number": {
        "fraction": lambda: 0.5,
        "text": lambda: "0",
        "nothing": lambda: None,
        "flag": lambda: True,
        "array": lambda: np.ones(2),
        "out of range": lambda: 3,
    },
    "direction": {
        "other shape": lambda: np.ones(5),
        "text": lambda: "a",
        "nothing": lambda: None,
        "complex": lambda: np.ones(3, complex),
        "hostile": Hostile,
        "another library": lambda: strict(np.ones(3)),
    },
    "betas": {
        "one": lambda: (0.9,),
        "number": lambda: 0.9,
        "too great": lambda: (0.9, 1.0),
        "negative": lambda: (-0.1, 0.9),
        "NaN": lambda: (np.nan, 0.9),
        "texts": lambda: ("a", "b"),
        "nothing": lambda: None,
        "set": lambda: {0.9, 0.99},
    },
    "weights": {
        "unknown": lambda: "other",
        "number": lambda: 3,
        "nothing": lambda: None,
        "array": lambda: np.ones((3, 2)),
        "function of another shape": lambda: lambda shape, generator: np.ones(5),
        "function of texts": lambda: lambda shape, generator: np.full(shape, "a"),
    },
    "labels": NO_LABELS,
    "signs": {k: v for k, v in NO_LABELS.items() if k != "flags"},
    "bounds": {
        "reversed": lambda: (1.0, 0.0),
        "equal": lambda: (0.5, 0.5),
        "one": lambda: (0.0,),
        "number": lambda: 1.0,
        "three": lambda: (0.0, 1.0, 2.0),
        "text": lambda: "ab",
        "NaN": lambda: (np.nan, 1.0),
        "infinite": lambda: (0.0, np.inf),
        "nothing in it": lambda: (None, 1.0),
        "around nothing": lambda: (5.0, 6.0),
        "huge": lambda: (0, 10**400),
        "set": lambda: {0.0, 1.0},
    },
    "norm": {
        "three": lambda: 3,
        "text": lambda: "inf",
        "nothing": lambda: None,
        "NaN": lambda: np.nan,
        "flag": lambda: True,
        "list": lambda: [2],
        "array": lambda: np.array([2, 2]),
        "complex": lambda: 2j,
        "huge": lambda: 10**400,
    },
    "choice": {
        "unknown": lambda: "other",
        "nothing": lambda: None,
        "number": lambda: 3,
        "list": lambda: ["mean"],
        "array": lambda: np.array(["mean", "sum"]),
        "bytes": lambda: b"mean",
    },
    "axis": {
        "too great": lambda: 5,
        "too small": lambda: -5,
        "float": lambda: 1.0,
        "text": lambda: "0",
        "twice": lambda: (0, 0),
        "twice, from the end": lambda: (0, -2),
        "one too great": lambda: (0, 5),
        "array": lambda: np.array([0, 1]),
        "huge": lambda: 10**400,
    },
    "one axis": {
        "too great": lambda: 5,
        "too small": lambda: -5,
        "float": lambda: 1.0,
        "text": lambda: "0",
        "nothing": lambda: None,
        "several": lambda: (0, 1),
        "huge": lambda: 10**400,
    },
    "axes": {
        "twice": lambda: (0, 0),
        "too few": lambda: (0,),
        "too many": lambda: (0, 1, 2),
        "float": lambda: (0.0, 1.0),
        "text": lambda: "01",
        "number": lambda: 5,
        "out of range": lambda: (0, 7),
    },
    "shape": {
        "other size": lambda: (7,),
        "two unknown": lambda: (-1, -1),
        "negative": lambda: (-6, -1),
        "text": lambda: "23",
        "float": lambda: 6.0,
        "floats": lambda: (2.0, 3.0),
        "nothing": lambda: None,
        "huge": lambda: (10**400,),
    },
    "counts": {
        "number": lambda: 3,
        "nothing": lambda: None,
        "text": lambda: "23",
        "set": lambda: {2, 3},
        "zero": lambda: (0, 2, 2),
        "negative": lambda: (2, -1, 2),
        "fraction": lambda: (2, 1.5),
        "huge": lambda: (10**400, 2, 2),
        "one": lambda: (3,),
    },
    "layers": {
        "none": lambda: [],
        "nothing": lambda: None,
        "number": lambda: 3,
        "one that is not in a list": lambda: models.MaxoutConvolution(1, 1, window=1, pool=1),
        "numbers": lambda: [(2, 2, 3)],
        "larger than the image": lambda: [models.MaxoutConvolution(1, 1, window=9)],
    },
    "means": {
        **{k: v for k, v in NO_ARRAY.items() if k != "nothing"},
        "number": lambda: 1.0,
        "others": lambda: np.ones(5),
        "two axes": lambda: np.ones((1, 3)),
        "NaN": lambda: np.full(3, np.nan),
        "infinity": lambda: np.full(3, np.inf),
    },
    "mask": {
        "number": lambda: 0.5,
        "others": lambda: np.full(3, 2),
        "NaN": lambda: np.full(3, np.nan),
        "text": lambda: "ab",
        "another shape": lambda: np.ones((3, 2)),
        "complex": lambda: np.ones(3, complex),
        "objects": lambda: np.full((2, 3), None),
        "set": lambda: {1},
    },
    "index": {
        "out of range": lambda: 5,
        "below": lambda: -5,
        "float": lambda: 1.5,
        "text": lambda: "a",
        "too many": lambda: (0, 0, 0),
        "floats": lambda: [0.5],
        "list out of range": lambda: [0, 7],
        "mask of another length": lambda: np.ones(5, bool),
        "dict": lambda: {},
        "object": object,
        "huge": lambda: 10**400,
        "texts": lambda: ["a"],
        "ragged": ragged,
    },
    "function": {"number": lambda: 3, "text": lambda: "f", "array": lambda: np.ones(2)},
    "array or Tensor": {
        "number": lambda: 3,
        "text": lambda: "x",
        "list": lambda: [1.0],
        "set": lambda: {1.0},
    },
    "members": {
        "number": lambda: 3,
        "nothing": lambda: None,
        "array": lambda: np.ones(2),
        "in it": lambda: [3],
    },
    "generator": {
        "nothing": lambda: None,
        "number": lambda: 3,
        "text": lambda: "g",
        "module": lambda: np.random,
        "old kind": lambda: np.random.RandomState(0),
        "class": lambda: np.random.Generator,
    },
    "path": {
        "number": lambda: 3,
        "nothing": lambda: None,
        "no such directory": lambda: Path("/none/such/file.npz"),
        "list": lambda: ["a"],
        "state": lambda: {"w": np.ones(2)},
    },
    "tensors": {
        "nothing": lambda: None,
        "number": lambda: 3,
        "numbers": lambda: [3],
        "array": lambda: np.ones(3),
        "without gradient": lambda: mg.Tensor(np.ones(3)),
        "text": lambda: "ab",
        "object": object,
        "mixed": lambda: [mg.Tensor(np.ones(3), requires_grad=True), None],
    },
    "names of Tensors": {
        "list": lambda: ["x"],
        "number": lambda: 3,
        "of numbers": lambda: {"x": 3.0},
        "of arrays": lambda: {"x": np.ones(2)},
        "Tensor": lambda: leaf(2),
    },
    "most results": {**NO_COUNT, "one": lambda: 1},
    "operation": {
        "nothing": lambda: None,
        "text": lambda: "tanh",
        "Tensor": lambda: leaf(2),
        "array": lambda: np.ones(2),
        "class": lambda: int,
        "NumPy's": lambda: np.tanh,
    },
    "output": {
        "nothing": lambda: None,
        "number": lambda: 3.0,
        "array": lambda: np.ones(3),
        "object": object,
        "without graph": lambda: mg.Tensor(1.0),
        "list": lambda: [mg.Tensor(1.0)],
    },
    "cotangent": {
        "text": lambda: "a",
        "other shape": lambda: np.ones(5),
        "complex": lambda: np.array(1j),
        "list": lambda: [1.0],
        "objects": lambda: np.array(None),
        "hostile": Hostile,
        "another library": lambda: strict(np.ones(())),
        "booleans": lambda: np.array(True),
        "dict": lambda: {},
    },
    "model": {"nothing": lambda: None, "number": lambda: 3, "object": object, "text": lambda: "model"},
    "parameters": {
        "nothing": lambda: None,
        "number": lambda: 3,
        "none": list,
        "numbers": lambda: [3],
        "text": lambda: "ab",
        "Tensors": lambda: [mg.Tensor(np.ones(2), requires_grad=True)],
        "array": lambda: np.ones(2),
        "twice": lambda: [mg.Parameter(np.ones(2))] * 2,
        "a Module": lambda: models.SoftmaxRegression(3, 2),
    },
    "schedule": {
        **{k: v for k, v in NO_NUMBER.items() if k != "object"},
        "negative": lambda: -0.5,
        "nothing": lambda: None,
    },
    "dtype": {
        "text": lambda: "nonsense",
        "number": lambda: 5,
        "complex": lambda: complex,
        "objects": lambda: object,
        "texts": lambda: str,
    },
    "state": {
        "nothing": lambda: None,
        "number": lambda: 3,
        "list": lambda: [1],
        "text": lambda: "a",
        "empty": dict,
        "unknown": lambda: {"other": np.ones(2)},
    },
    "arrays": {
        "nothing": lambda: None,
        "number": lambda: 3,
        "none": list,
        "texts": lambda: ["a", "b"],
        "objects": lambda: [np.ones((2, 3)), None],
        "another library": lambda: [np.ones((2, 3)), strict(np.ones((2, 3)))],
        "does not fit": lambda: [np.ones((2, 3)), np.ones(4)],
        "complex": lambda: [np.ones((2, 3), complex)],
    },
    "backend": {
        "unknown": lambda: "jax",
        "nothing": lambda: None,
        "number": lambda: 3,
        "list": lambda: ["numpy"],
        "array": lambda: np.array(["numpy", "numpy"]),
    },
    "anything": {},
}


@dataclass(frozen=True)
class Call:
    """A public function, the kinds of its parameters, and a good call."""

    name: str
    function: Callable[..., Any]
    kinds: Mapping[str, str]
    good: Callable[[], dict[str, Any]]
    signature_of: Any = None  # whose parameters must all be declared; the function itself if None
    allowed: frozenset[str] = field(default_factory=frozenset)  # bad values of a kind that are good here

    @property
    def parameters_of(self) -> Any:
        return self.signature_of or self.function


def leaf(*shape: int) -> mg.Tensor:
    return mg.Tensor(np.linspace(0.2, 0.8, int(np.prod(shape))).reshape(shape), requires_grad=True)


def array(*shape: int) -> np.ndarray:
    return np.linspace(0.2, 0.8, int(np.prod(shape))).reshape(shape)


def model() -> Any:
    return models.SoftmaxRegression(3, 2).to(dtype=np.float64)


def linear_model() -> Any:
    return models.LogisticRegression(3).to(dtype=np.float64)


def machine() -> Any:
    return models.DeepBoltzmannMachine(3, 2, units=(2, 2), iterations=1).to(dtype=np.float64)


def sgd() -> Any:
    parameter = mg.Parameter(np.ones(3))
    parameter.grad = np.ones(3)
    return mg.optim.SGD([parameter], lr=0.1)


def adam() -> Any:
    return mg.optim.Adam(sgd().parameters)


def cost() -> dict[str, Any]:
    x = leaf(3)
    return {"output": mg.sum(x * x), "inputs": [x]}


CALLS: list[Call] = []


def call(
    name: str,
    function: Any,
    kinds: Mapping[str, str],
    good: Callable[[], dict[str, Any]],
    *,
    of: Any = None,
    allowed: str = "",
) -> None:
    CALLS.append(Call(name, function, kinds, good, of, frozenset(filter(None, allowed.split("; ")))))


for _name in (
    "abs",
    "cos",
    "exp",
    "expm1",
    "log",
    "log1p",
    "negative",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "tanh",
):
    call(_name, getattr(mg, _name), {"x": "real operand"}, lambda: {"x": leaf(2, 3)})
call("sign", mg.sign, {"x": "operand"}, lambda: {"x": leaf(2, 3)})
call("copy", mg.copy, {"x": "operand"}, lambda: {"x": leaf(2, 3)})
for _name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp"):
    call(
        _name,
        getattr(mg, _name),
        {"x": "operand beside another", "y": "second operand"},
        lambda: {"x": leaf(2, 3), "y": array(2, 3)},
    )
call(
    "power",
    mg.power,
    {"x": "operand beside another", "n": "second operand"},
    lambda: {"x": leaf(2, 3), "n": array(2, 3)},
)
call("astype", mg.astype, {"x": "operand", "dtype": "dtype"}, lambda: {"x": leaf(2, 3), "dtype": np.float32})
call(
    "clip",
    mg.clip,
    {"x": "real operand", "low": "bound", "high": "bound"},
    lambda: {"x": leaf(2, 3), "low": 0.0, "high": 1.0},
)
call(
    "to_backend",
    mg.to_backend,
    {"x": "operand", "name": "backend"},
    lambda: {"x": leaf(2, 3), "name": "numpy"},
)
call(
    "where",
    mg.where,
    {"condition": "operand", "x": "operand beside another", "y": "second operand"},
    lambda: {"condition": array(2, 3) > 0.5, "x": leaf(2, 3), "y": array(2, 3)},
)
call(
    "conv2d",
    mg.conv2d,
    {"x": "image", "W": "filters", "b": "biases", "stride": "count", "padding": "padding"},
    lambda: {
        "x": leaf(1, 5, 5, 2),
        "W": leaf(3, 3, 2, 4),
        "b": leaf(4),
        "stride": 2,
        "padding": "valid",
    },
    allowed="integers; booleans",
)
for _name in ("max_pool2d", "avg_pool2d"):
    call(
        _name,
        getattr(mg, _name),
        {"x": "image", "size": "window", "stride": "count"},
        lambda: {"x": leaf(1, 5, 5, 2), "size": 2, "stride": 1},
        allowed="other channels",
    )
call("maxout", mg.maxout, {"z": "real operand", "pieces": "count"}, lambda: {"z": leaf(2, 4), "pieces": 2})
call(
    "linear",
    mg.linear,
    {"x": "batch beside another", "W": "second operand", "b": "second operand"},
    lambda: {"x": leaf(2, 3), "W": array(3, 2), "b": array(2)},
)
call(
    "matmul",
    mg.matmul,
    {"x": "operand beside another", "y": "second operand"},
    lambda: {"x": leaf(2, 3), "y": array(3, 2)},
)
call(
    "broadcast_to",
    mg.broadcast_to,
    {"x": "operand", "shape": "shape"},
    lambda: {"x": leaf(3), "shape": (2, 3)},
)
call("reshape", mg.reshape, {"x": "operand", "shape": "shape"}, lambda: {"x": leaf(2, 3), "shape": (3, 2)})
call("transpose", mg.transpose, {"x": "operand", "axes": "axes"}, lambda: {"x": leaf(2, 3), "axes": (1, 0)})
for _name in ("sum", "mean", "max", "min", "logsumexp", "prod"):
    call(
        _name,
        getattr(mg, _name),
        {"x": "real operand", "axis": "axis", "keepdims": "flag"},
        lambda: {"x": leaf(2, 3), "axis": 0, "keepdims": True},
    )
for _name in ("var", "std"):
    call(
        _name,
        getattr(mg, _name),
        {"x": "real operand", "axis": "axis", "keepdims": "flag", "ddof": "number"},
        lambda: {"x": leaf(2, 3), "axis": 0, "keepdims": True, "ddof": 0},
    )
call(
    "norm",
    mg.norm,
    {"x": "real operand", "ord": "ord", "axis": "axis", "keepdims": "flag"},
    lambda: {"x": leaf(2, 3), "ord": None, "axis": (0, 1), "keepdims": True},
)
call("cumsum", mg.cumsum, {"x": "real operand", "axis": "one axis"}, lambda: {"x": leaf(2, 3), "axis": 0},
     allowed="nothing")  # fmt: skip
call("squeeze", mg.squeeze, {"x": "operand", "axis": "axis"}, lambda: {"x": leaf(1, 3), "axis": 0},
     allowed="array")  # fmt: skip
call("expand_dims", mg.expand_dims, {"x": "operand", "axis": "axis"}, lambda: {"x": leaf(2, 3), "axis": 0},
     allowed="twice, from the end")  # fmt: skip
call(
    "pad",
    mg.pad,
    {"x": "operand", "pad_width": "widths", "mode": "choice", "constant_values": "number"},
    lambda: {"x": leaf(2, 3), "pad_width": 1, "mode": "constant", "constant_values": 0},
    allowed="NaN; infinity; flag",
)
call(
    "split",
    mg.split,
    {"x": "operand", "indices_or_sections": "sections", "axis": "one axis"},
    lambda: {"x": leaf(6, 2), "indices_or_sections": 2, "axis": 0},
)
call(
    "einsum",
    lambda subscripts, operands: mg.einsum(subscripts, operands, array(3, 2)),
    {"subscripts": "subscripts", "operands": "operand beside another"},
    lambda: {"subscripts": "ij,jk->ik", "operands": leaf(2, 3)},
)
for _name in ("softmax", "log_softmax"):
    call(
        _name,
        getattr(mg, _name),
        {"x": "real operand", "axis": "axis"},
        lambda: {"x": leaf(2, 3), "axis": 0},
    )
for _name in ("concatenate", "stack"):
    call(
        _name,
        getattr(mg, _name),
        {"arrays": "arrays", "axis": "one axis"},
        lambda: {"arrays": [leaf(2, 3), array(2, 3)], "axis": 0},
    )
call("getitem", mg.getitem, {"x": "operand", "index": "index"}, lambda: {"x": leaf(2, 3), "index": (0, 1)})
call(
    "dropout",
    mg.dropout,
    {"x": "real operand", "keep": "number in (0, 1]", "generator": "generator", "scale": "number"},
    lambda: {"x": leaf(2, 3), "keep": 0.5, "generator": generators.mask_generator(0), "scale": 1.0},
)
call(
    "softmax_cross_entropy",
    mg.softmax_cross_entropy,
    {"logits": "real operand", "labels": "labels", "reduction": "choice"},
    lambda: {"logits": leaf(2, 3), "labels": [0, 1], "reduction": "mean"},
)
call(
    "logistic_cost",
    mg.logistic_cost,
    {"logits": "real operand", "labels": "signs", "reduction": "choice"},
    lambda: {"logits": leaf(2), "labels": [1, -1], "reduction": "mean"},
)
# ---- the engine
_graph_flags = {"gradient": "cotangent", "retain_graph": "flag", "create_graph": "flag"}
call(
    "grad",
    mg.grad,
    {"output": "output", "inputs": "tensors", **_graph_flags},
    lambda: {**cost(), "gradient": 1.0, "retain_graph": False, "create_graph": False},
    allowed="list",
)
call(
    "graph",
    mg.graph,
    {"output": "output", "names": "names of Tensors", "most": "most results"},
    lambda: {"output": cost()["output"], "names": {}, "most": 2},
)
call(
    "walkthrough",
    mg.walkthrough,
    {"output": "output", "names": "names of Tensors", "gradient": "cotangent"},
    lambda: {"output": cost()["output"], "names": {}, "gradient": 1.0},
)
call("rules", mg.rules, {"operation": "operation"}, lambda: {"operation": mg.tanh})
call(
    "grad_and_remainder",
    mg.grad_and_remainder,
    {"output": "output", "x": "tensors"},
    lambda: (lambda c: {"output": c["output"], "x": c["inputs"][0]})(cost()),
)
call(
    "capture",
    lambda function, example, of: mg.capture(function, example, of=of),
    {"function": "function", "example": "array or Tensor", "of": "members"},
    lambda: {"function": lambda x: mg.sum(x * x), "example": array(2, 3), "of": []},
)
call(
    "Tensor",
    mg.Tensor,
    {"data": "operand", "requires_grad": "flag", "dtype": "dtype"},
    lambda: {"data": array(2, 3), "requires_grad": True, "dtype": np.float64},
)
call("Parameter", mg.Parameter, {"data": "real operand"}, lambda: {"data": array(2, 3)})


def _at_a_point(transform: Any, function: Any, argnums: Any) -> Any:
    return transform(function, argnums)(array(3))


for _name in ("value_and_grad", "jacobian", "hessian"):
    call(
        _name,
        partial(_at_a_point, getattr(mg, _name)),
        {"function": "function", "argnums": "argument number"},
        lambda: {"function": lambda x: mg.sum(x * x), "argnums": 0},
        of=getattr(mg, _name),
    )
for _name in ("hvp", "jvp"):
    call(
        _name,
        getattr(mg, _name),
        {"function": "function", "x": "real operand", "v": "direction"},
        lambda: {"function": lambda x: mg.sum(x * x), "x": leaf(3), "v": array(3)},
    )
call(
    "Linear",
    mg.Linear,
    {"inputs": "count", "outputs": "count", "weights": "weights", "seed": "seed"},
    lambda: {"inputs": 3, "outputs": 2, "weights": "he", "seed": 0},
)
call(
    "Conv2d",
    mg.Conv2d,
    {
        "channels": "count",
        "filters": "count",
        "window": "window",
        "stride": "count",
        "padding": "padding",
        "weights": "weights",
        "seed": "seed",
    },
    lambda: {
        "channels": 3,
        "filters": 2,
        "window": 2,
        "stride": 1,
        "padding": 1,
        "weights": "he",
        "seed": 0,
    },
    allowed="larger than the image",
)
call("primitive", mg.primitive, {"forward": "function"}, lambda: {"forward": lambda xp, x: x})
call(
    "Tensor.backward",
    lambda self, **o: self.backward(**o),
    {"self": "anything", "gradient": "cotangent", "retain_graph": "flag"},
    lambda: {"self": cost()["output"], "gradient": 1.0, "retain_graph": False},
    of=mg.Tensor.backward,
)
call(
    "Tensor.astype",
    mg.Tensor.astype,
    {"self": "anything", "dtype": "dtype"},
    lambda: {"self": leaf(2), "dtype": np.float32},
)
call(
    "Tensor.to",
    mg.Tensor.to,
    {"self": "anything", "name": "backend"},
    lambda: {"self": leaf(2), "name": "numpy"},
)
call(
    "save",
    mg.save,
    {"path": "path", "state": "state"},
    lambda: {"path": "/dev/null/x", "state": model()},
    allowed="empty; unknown",
)
call(
    "load",
    mg.load,
    {"path": "path", "into": "model"},
    lambda: {"path": "/dev/null", "into": model()},
    allowed="nothing",
)
call(
    "Module.train",
    mg.Module.train,
    {"self": "anything", "mode": "flag"},
    lambda: {"self": model(), "mode": True},
)
call(
    "Module.to",
    mg.Module.to,
    {"self": "anything", "name": "backend", "dtype": "dtype"},
    lambda: {"self": model(), "name": "numpy", "dtype": np.float32},
    allowed="nothing",
)
call(
    "Module.load_state_dict",
    mg.Module.load_state_dict,
    {"self": "anything", "state": "state"},
    lambda: (lambda m: {"self": m, "state": m.state_dict()})(model()),
)
call(
    "SGD",
    mg.optim.SGD,
    {
        "parameters": "parameters",
        "lr": "schedule",
        "momentum": "schedule",
        "weight_decay": "number from 0",
        "max_norm": "number above 0",
    },
    lambda: {
        "parameters": [mg.Parameter(array(2, 3))],
        "lr": 0.1,
        "momentum": 0.5,
        "weight_decay": 0.1,
        "max_norm": 1.0,
    },
)
call(
    "Adam",
    mg.optim.Adam,
    {
        "parameters": "parameters",
        "lr": "schedule",
        "betas": "betas",
        "eps": "number from 0",
        "weight_decay": "number from 0",
    },
    lambda: {
        "parameters": [mg.Parameter(array(2, 3))],
        "lr": 0.1,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.1,
    },
)
call(
    "Adam.load_state_dict",
    mg.optim.Adam.load_state_dict,
    {"self": "anything", "state": "state"},
    lambda: (lambda s: {"self": s, "state": s.state_dict()})(adam()),
)
call(
    "SGD.load_state_dict",
    mg.optim.SGD.load_state_dict,
    {"self": "anything", "state": "state"},
    lambda: (lambda s: {"self": s, "state": s.state_dict()})(sgd()),
)
call(
    "exponential_decay",
    mg.optim.exponential_decay,
    {"start": "number from 0", "divisor": "number from 1", "minimum": "number from 0"},
    lambda: {"start": 1.0, "divisor": 2.0, "minimum": 0.0},
)
call(
    "linear_ramp",
    mg.optim.linear_ramp,
    {"start": "number", "end": "number", "updates": "count"},
    lambda: {"start": 0.0, "end": 1.0, "updates": 10},
)
call("backend.use", backend.use, {"name": "backend"}, lambda: {"name": "numpy"})
call(
    "backend.get",
    lambda name: backend.get(name),
    {"name": "backend", "argument": "anything"},
    lambda: {"name": "numpy"},
    of=backend.get,
)
call("random_generator", generators.random_generator, {"seed": "seed"}, lambda: {"seed": 0})
call("mask_generator", generators.mask_generator, {"seed": "seed"}, lambda: {"seed": 0})
# ---- the models
call(
    "LogisticRegression",
    models.LogisticRegression,
    {"n_features": "count", "seed": "seed"},
    lambda: {"n_features": 3, "seed": 0},
)
call(
    "SoftmaxRegression",
    models.SoftmaxRegression,
    {"n_features": "count", "n_classes": "count", "seed": "seed"},
    lambda: {"n_features": 3, "n_classes": 2, "seed": 0},
)
call(
    "SqueezeNet",
    models.SqueezeNet,
    {"n_classes": "count", "seed": "seed"},
    lambda: {"n_classes": 2, "seed": 0},
)
call(
    "RBFNetwork",
    models.RBFNetwork,
    {
        "n_features": "count",
        "n_classes": "count",
        "centres": "examples",
        "width": "number above 0",
        "seed": "seed",
    },
    lambda: {"n_features": 3, "n_classes": 2, "centres": array(2, 3), "width": 1.0, "seed": 0},
    allowed="nothing; integers; booleans",
)
call(
    "MaxoutNetwork",
    models.MaxoutNetwork,
    {
        "n_features": "count",
        "n_classes": "count",
        "units": "shape",
        "pieces": "count",
        "dropout": "bounds",
        "outputs": "choice",
        "weights": "weights",
        "seed": "seed",
    },
    lambda: {
        "n_features": 3,
        "n_classes": 2,
        "units": (4, 4),
        "pieces": 2,
        "dropout": (0.5, 0.5),
        "outputs": "softmax",
        "weights": "he",
        "seed": 0,
    },
    allowed="other size; equal; reversed",
)
call(
    "MaxoutConvolution",
    models.MaxoutConvolution,
    {
        "units": "count",
        "pieces": "count",
        "window": "count",
        "padding": "padding",
        "pool": "count",
        "pool_stride": "count",
    },
    lambda: {"units": 2, "pieces": 2, "window": 2, "padding": 1, "pool": 1, "pool_stride": 1},
    allowed="nothing",
)
call(
    "ConvolutionalMaxout",
    models.ConvolutionalMaxout,
    {
        "image": "counts",
        "n_classes": "count",
        "layers": "layers",
        "units": "counts",
        "pieces": "count",
        "dropout": "bounds",
        "outputs": "choice",
        "weights": "weights",
        "seed": "seed",
    },
    lambda: {
        "image": (3, 3, 1),
        "n_classes": 2,
        "layers": [models.MaxoutConvolution(2, 2, window=2)],
        "units": (4, 4, 4),
        "pieces": 2,
        "dropout": (0.5, 0.5),
        "outputs": "softmax",
        "weights": "he",
        "seed": 0,
    },
    allowed="equal; reversed; one",
)
call(
    "DeepBoltzmannMachine",
    models.DeepBoltzmannMachine,
    {
        "n_features": "count",
        "n_classes": "count",
        "units": "counts",
        "iterations": "count",
        "label_weight": "number from 0",
        "pixel_means": "means",
        "seed": "seed",
    },
    lambda: {
        "n_features": 3,
        "n_classes": 2,
        "units": (4, 4),
        "iterations": 2,
        "label_weight": 1.0,
        "pixel_means": np.ones(3),
        "seed": 0,
    },
)
call(
    "DeepBoltzmannMachine.infer",
    models.DeepBoltzmannMachine.infer,
    {"self": "anything", "x": "batch", "y": "labels", "pixels_shown": "mask", "labels_shown": "mask"},
    lambda: {
        "self": machine(),
        "x": array(2, 3),
        "y": np.array([0, 1]),
        "pixels_shown": np.ones((2, 3)),
        "labels_shown": np.zeros(2),
    },
)
call(
    "DeepBoltzmannMachine.prediction_cost",
    models.DeepBoltzmannMachine.prediction_cost,
    {"self": "anything", "x": "batch", "y": "labels"},
    lambda: {"self": machine(), "x": array(2, 3), "y": [0, 1]},
)
call(
    "Classifier.cost",
    lambda self, **o: self.cost(**o),
    {"self": "anything", "x": "batch", "y": "labels", "reduction": "choice"},
    lambda: {"self": model(), "x": array(2, 3), "y": [0, 1], "reduction": "mean"},
    of=models.SoftmaxRegression.cost,
)
call(
    "Classifier.predict",
    models.SoftmaxRegression.predict,
    {"self": "anything", "x": "batch"},
    lambda: {"self": model(), "x": array(2, 3)},
)
call(
    "Classifier.predict_proba",
    models.SoftmaxRegression.predict_proba,
    {"self": "anything", "x": "batch"},
    lambda: {"self": model(), "x": array(2, 3)},
)
call(
    "LogisticRegression.adversarial_cost",
    models.LogisticRegression.adversarial_cost,
    {"self": "anything", "x": "batch", "y": "signs", "epsilon": "number from 0", "reduction": "choice"},
    lambda: {"self": linear_model(), "x": array(2, 3), "y": [1, -1], "epsilon": 0.1, "reduction": "mean"},
)
# ---- the attacks
_attack = {
    "model": "model",
    "x": "examples",
    "y": "labels",
    "epsilon": "number from 0",
    "bounds": "bounds",
    "targeted": "flag",
    "warn_above": "number in [0, 1]",
}


def attacked(**more: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {
        "model": model(),
        "x": array(2, 3),
        "y": np.array([0, 1]),
        "epsilon": 0.1,
        "bounds": (0.0, 1.0),
        "targeted": False,
        "warn_above": 0.5,
        **more,
    }


call("fgsm", attacks.fgsm, _attack, attacked())
call("fast_gradient", attacks.fast_gradient, {**_attack, "norm": "norm"}, attacked(norm=2))
_iterative = {**_attack, "step": "number from 0", "steps": "count", "norm": "norm"}
call("basic_iterative", attacks.basic_iterative, _iterative, attacked(step=0.1, steps=2, norm=2))
call(
    "pgd",
    attacks.pgd,
    {**_iterative, "random_start": "flag", "restarts": "count", "seed": "seed"},
    attacked(step=0.1, steps=2, norm=2, random_start=True, restarts=1, seed=0),
)
call(
    "momentum_iterative",
    attacks.momentum_iterative,
    {**_iterative, "decay": "number from 0"},
    attacked(step=0.1, steps=2, norm=2, decay=1.0),
)
call(
    "fgsm_random_start",
    attacks.fgsm_random_start,
    {**_attack, "step": "number from 0", "seed": "seed"},
    attacked(step=0.1, seed=0),
)
call(
    "input_gradient",
    attacks.input_gradient,
    {"model": "model", "x": "examples", "y": "labels"},
    lambda: {"model": model(), "x": array(2, 3), "y": [0, 1]},
)
call(
    "linear_worst_case",
    attacks.linear_worst_case,
    {
        "model": "model",
        "x": "examples",
        "y": "labels",
        "epsilon": "number from 0",
        "norm": "norm",
        "bounds": "bounds",
    },
    lambda: {
        "model": model(),
        "x": array(2, 3),
        "y": np.array([0, 1]),
        "epsilon": 0.1,
        "norm": np.inf,
        "bounds": (0.0, 1.0),
    },
)
call(
    "adversarial_objective",
    attacks.adversarial_objective,
    {
        "model": "model",
        "x": "examples",
        "y": "labels",
        "alpha": "number in [0, 1]",
        "epsilon": "number from 0",
        "attack": "function",
    },
    lambda: {"model": model(), "x": array(2, 3), "y": [0, 1], "alpha": 0.5, "epsilon": 0.1, "attack": None},
)
call(
    "evaluate",
    attacks.evaluate,
    {
        "model": "model",
        "x": "examples",
        "y": "labels",
        "attack": "function",
        "batch_size": "count",
        "warn_above": "number in [0, 1]",
        "threads": "count",
        "progress": "function",
    },
    lambda: {
        "model": model(),
        "x": array(2, 3),
        "y": np.array([0, 1]),
        "attack": lambda m, x, y: x,
        "batch_size": 1,
        "warn_above": 0.5,
        "threads": 2,
        "progress": False,
    },
)
call(
    "attack_in_batches",
    attacks.attack_in_batches,
    {
        "model": "model",
        "x": "examples",
        "y": "labels",
        "attack": "function",
        "batch_size": "count",
        "threads": "count",
        "progress": "function",
    },
    lambda: {
        "model": model(),
        "x": array(2, 3),
        "y": np.array([0, 1]),
        "attack": partial(attacks.fgsm, epsilon=0.1),
        "batch_size": 2,
        "threads": 2,
        "progress": False,
    },
)
call(
    "zero_gradient_share",
    attacks.zero_gradient_share,
    {"gradient": "operand"},
    lambda: {"gradient": array(2, 3)},
)
# ---- the checks
call(
    "check_gradients",
    lambda function, inputs, **o: mg.testing.check_gradients(function, inputs, **o),
    {
        "function": "function",
        "inputs": "anything",
        "gradient": "function",
        "vjp": "function",
        "jvp": "function",
        "keywords": "state",
        "with_respect_to": "index",
        "order": "count",
        "dtype": "dtype",
        "directions": "count",
        "exact": "flag",
        "strict": "flag",
        "tolerance": "number above 0",
        "seed": "seed",
        "name": "anything",
    },
    lambda: {"function": mg.tanh, "inputs": array(2, 3)},
    of=mg.testing.check_gradients,
    allowed="nothing; empty; dict",
)
call(
    "check_differentiable",
    lambda function, inputs, **o: mg.testing.check_differentiable(function, inputs, **o),
    {
        "function": "function",
        "inputs": "anything",
        "keywords": "state",
        "with_respect_to": "index",
        "directions": "count",
        "seed": "seed",
        "name": "anything",
    },
    lambda: {"function": np.tanh, "inputs": array(2, 3)},
    of=mg.testing.check_differentiable,
    allowed="nothing; empty; dict",
)

# Public names that take nothing that could be bad, or that are no functions; and why.
NOT_CALLED = {
    "Module": "takes nothing",
    "Primitive": "made by `primitive`",
    "detect_nonfinite": "takes nothing",
    "enable_grad": "takes nothing",
    "no_grad": "takes nothing",
    "Evaluation": "a record, made by evaluate",
    "Inferred": "a record, made by infer",
    "ZeroGradientWarning": "a warning",
    "CaptureWarning": "a warning",
    "GradientError": "an exception",
    "KinkError": "an exception",
    "UndecidedError": "an exception",
    "seeds": "takes nothing",
    **dict.fromkeys(
        (
            "array_from_seed",
            "arrays",
            "away_from",
            "broadcastable_arrays",
            "class_labels",
            "distinct_arrays",
            "networks",
            "one_hot",
            "sign_labels",
        ),
        "a strategy: hypothesis looks at its arguments when it draws",
    ),
}

DOCUMENTED: tuple[type[Exception], ...] = (
    errors.ArgumentError,
    errors.ArgumentTypeError,
    errors.GraphError,
    errors.BackendError,
    errors.DataError,
)
ALSO: dict[str, tuple[type[Exception], ...]] = {
    "index": (IndexError,),
    "path": (FileNotFoundError, NotADirectoryError),
}


@dataclass(frozen=True)
class Case:
    call: Call
    parameter: str
    bad: str

    def __str__(self) -> str:
        return f"{self.call.name}: {self.parameter}: {self.bad}"

    @property
    def kind(self) -> str:
        return self.call.kinds[self.parameter]


CASES = [
    Case(c, parameter, bad)
    for c in CALLS
    for parameter, kind in c.kinds.items()
    for bad in KINDS[kind]
    if bad not in c.allowed
]


def state_of(value: Any, seen: set[int] | None = None) -> Any:
    """Everything about a value that a refused call must leave as it was."""
    seen = set() if seen is None else seen
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes() if value.dtype.kind != "O" else value.tolist()
    if isinstance(value, mg.Tensor):
        grad = None if value._grad is None else state_of(value._grad)
        return (
            state_of(backend.to_numpy(value.data)),
            grad,
            value.age,
            value.requires_grad,
            value.arguments is None,
        )
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, (list, tuple)):
        return [state_of(item, seen) for item in value]
    if isinstance(value, dict):
        return {key: state_of(item, seen) for key, item in value.items()}
    if isinstance(value, (mg.Module, mg.optim.Optimiser)) and id(value) not in seen:
        seen.add(id(value))
        left_out = ("_memory", "training")  # zeros made early; a class's attribute until it is set
        own = {key: state_of(item, seen) for key, item in vars(value).items() if key not in left_out}
        return own, getattr(value, "training", None), getattr(value, "state_dict", dict)().keys()
    return id(value)


def surroundings() -> Any:
    return modes.in_force.get(), backend.current()


def fault_of(case: Case) -> str | None:
    """What is wrong with how the call refuses that value; None if nothing is."""
    given = case.call.good()
    given[case.parameter] = KINDS[case.kind][case.bad]()
    before, around = state_of(given), surroundings()
    try:
        with np.errstate(all="ignore"):
            case.call.function(**given)
    except DOCUMENTED + ALSO.get(case.kind, ()) as error:
        fault = fault_of_message(case, error)
    except Exception as error:
        fault = f"raises {type(error).__name__}"
    else:
        return "is taken, and must be refused, or declared in tests/bad_inputs.py as what may be given"
    if state_of(given) != before:
        return "changes what it was given"
    if surroundings() != around:
        return "changes the modes or the backend"
    return fault


def fault_of_message(case: Case, error: Exception) -> str | None:
    if isinstance(error, ALSO.get(case.kind, ())) and not isinstance(error, DOCUMENTED):
        return None if str(error) else "says nothing"
    message, position = str(error), list(case.call.kinds).index(case.parameter) + 1
    # `argument 2 of add`, or for an array that is named by its place: arrays[1] is argument 2.
    by_place = rf"argument {position if case.kind != 'arrays' else '[0-9]+'}\b"
    if not re.search(rf"(?<!\w){re.escape(case.parameter)}\b|{by_place}", message):
        return "does not name the argument"
    if not re.search(r"must|needs|does not|cannot|has no|lacks|do not|meets|have", message):
        return "does not say what was expected"
    if not re.search(r"got|meets|lacks|has |does not|, here", message):
        return "does not say what came"
    return None
