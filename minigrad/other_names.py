"""What is looked for under a name of another library, most of them PyTorch's: errors say what to write."""

from __future__ import annotations

TENSOR = {
    "argmax": "np.argmax(t, axis)",
    "clamp": "mg.clip(t, low, high)",
    "clone": "mg.copy(t)",
    "cpu": 't.to("numpy")',
    "cuda": 't.to("cupy")',
    "device": "mg.backend.of(t.data).name",
    "double": "mg.astype(t, np.float64)",
    "flatten": "t.reshape(-1)",
    "float": "mg.astype(t, np.float32)",
    "grad_fn": "t.made_by, the primitive, and t.arguments",
    "next_functions": "t.arguments",
    "norm": "mg.norm(t)",
    "permute": "t.transpose(axes)",
    "pow": "t ** n",
    "register_hook": "there are no hooks: mg.grad(J, t) gives the gradient of a computed Tensor",
    "requires_grad_": "t.requires_grad = True, before anything is computed from it",
    "retain_grad": "mg.grad(J, t), which gives the gradient of a computed Tensor",
    "t": "t.T",
    "tolist": "t.numpy().tolist()",
    "unsqueeze": "mg.expand_dims(t, axis)",
    "view": "t.reshape(shape)",
}
PACKAGE = {
    "cat": "mg.concatenate",
    "clamp": "mg.clip",
    "cross_entropy": "mg.softmax_cross_entropy",
    "Dropout": "mg.dropout in a Module's forward, if self.training",
    "from_numpy": "mg.Tensor(array), which shares the array's memory",
    "jacrev": "mg.jacobian",
    "manual_seed": "a seed is an argument: of models, of np.random.default_rng",
    "permute": "mg.transpose",
    "Sequential": "a Module with a list of layers",
    "vjp": "mg.grad(y, x, gradient=g)",
    "vmap": "operations take whole batches; there is no vmap",
    "zeros": "mg.Tensor(np.zeros(shape))",
}
LIBRARIES = {"cuda": "cupy", "gpu": "cupy", "cpu": "numpy"}


class Elsewhere:
    """An attribute that another library's arrays have: to ask for it is an AttributeError with advice, so
    that it is not there for `hasattr` either."""

    def __init__(self, name: str, advice: str) -> None:
        self.name, self.advice = name, advice

    def __get__(self, instance: object, owner: type) -> None:
        raise AttributeError(f"'{owner.__name__}' object has no attribute {self.name!r}: {self.advice}")
