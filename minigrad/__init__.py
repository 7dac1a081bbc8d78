"""minigrad: reverse-mode automatic differentiation on NumPy or CuPy, with hand-written gradients.

    import minigrad as mg

    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = mg.sum(mg.exp(x) * x)
    y.backward()        # x.grad is (1 + x)·eˣ

Start reading at `minigrad.engine`; what a primitive is, is in `minigrad.primitives`, and all of them
with their derivatives are in `minigrad.operations`.
"""
# ruff: noqa: F403

from typing import TYPE_CHECKING, Any

from minigrad import backend, errors, generators, lanes, operations, optim, other_names
from minigrad.checkpoint import load, save
from minigrad.engine import grad
from minigrad.functional import hessian, hvp, jacobian, jvp, value_and_grad
from minigrad.layers import Conv2d, Linear
from minigrad.modes import detect_nonfinite, enable_grad, no_grad
from minigrad.modules import Module, Parameter
from minigrad.operations.costs import *
from minigrad.operations.dropout_masks import *
from minigrad.operations.einsums import *
from minigrad.operations.elementwise import *
from minigrad.operations.images import *
from minigrad.operations.maxout_units import *
from minigrad.operations.products import *
from minigrad.operations.reductions import *
from minigrad.operations.shapes import *
from minigrad.primitives import Primitive, primitive
from minigrad.remainder import grad_and_remainder
from minigrad.steps import CaptureWarning, capture
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.explain import graph, rules, walkthrough

if not lanes.PLAIN:
    from minigrad import fast as fast  # the fast lane, switched on

__version__ = "0.1.0"

__all__ = [
    "CaptureWarning", "Conv2d", "Linear", "Module", "Parameter", "Primitive", "Tensor", "backend", "capture",
    "detect_nonfinite", "enable_grad", "errors", "generators", "grad", "grad_and_remainder", "graph",
    "hessian", "hvp", "jacobian", "jvp", "load", "no_grad", "operations", "optim", "primitive", "rules",
    "save", "value_and_grad", "walkthrough",
]  # fmt: skip
__all__ += operations.__all__


def __getattr__(name: str) -> Any:
    """What is imported at its first use, because training does not need it."""
    if name in ("graph", "rules", "walkthrough"):
        from minigrad import explain

        return getattr(explain, name)
    advice = f": {other_names.PACKAGE[name]}" if name in other_names.PACKAGE else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{advice}")


def __dir__() -> list[str]:
    """What users use: for completion."""
    return [*__all__, "__version__"]
