"""The atlas of operations, a page of the site: each operation's source and that of its derivatives, their
derivation, and what they are at a small point. All but the derivations is made from the operations
themselves; an entry whose rules differ from differences is an error.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from docs.pictures import BLUE, ORANGE, panels, table
from minigrad.explain.sources import Rules

STEP = 1e-6  # of the differences


class Entry:
    """What is shown of an operation.

    call        an expression of NumPy's and minigrad's names, and of the inputs'
    derivation  how its rules are found
    inputs      the arrays that it is differentiated in
    plotted     the ends of the x for which it is drawn as a curve; None if its Jacobian is the picture
    """

    def __init__(
        self, call: str, derivation: str, *, plotted: tuple[float, float] | None = None, **inputs: Any
    ) -> None:
        self.call, self.derivation, self.plotted = call, derivation, plotted
        self.inputs = {name: np.array(value, float) for name, value in inputs.items()}

    def at(self, **inputs: Any) -> Any:
        """The result, a Tensor or several, for these inputs."""
        return eval(self.call, {"mg": mg, "np": np, **self.inputs, **inputs})

    def joined(self, **inputs: Any) -> Any:
        """The same as one Tensor without shape."""
        found = self.at(**inputs)
        parts = found if isinstance(found, list) else [found]
        return mg.concatenate([mg.reshape(part, (-1,)) for part in parts])

    def jacobian(self, name: str) -> np.ndarray:
        """(elements of the result, elements of the input), by the rules."""
        x = self.inputs[name]
        return mg.jacobian(lambda t: self.joined(**{name: t}))(x).numpy().reshape(-1, x.size)

    def by_differences(self, name: str) -> np.ndarray:
        x, columns = self.inputs[name], []
        for j in range(x.size):
            change = np.zeros(x.size)
            change[j] = STEP
            above, below = (
                self.joined(**{name: x + sign * change.reshape(x.shape)}).numpy() for sign in (1.0, -1.0)
            )
            columns.append((above - below) / (2 * STEP))
        return np.stack(columns, 1)


def unary(name: str, derivation: str, low: float = -3.0, high: float = 3.0) -> Entry:
    return Entry(f"mg.{name}(x)", derivation, plotted=(low, high), x=[0.5, 1.5])


def binary(name: str, derivation: str, low: float = -3.0, high: float = 3.0) -> Entry:
    return Entry(f"mg.{name}(x, y)", derivation, plotted=(low, high), x=[0.5, 1.5], y=[2.0, 0.75])


ROWS = [[1.0, 3.0, -2.0], [0.5, -1.0, 2.0]]
IMAGE = np.arange(9.0).reshape(1, 3, 3, 1) % 4

# ---- the derivations. g is the cotangent of the result, [i = j] is 1 if i is j, and else 0.

ENTRIES: dict[str, Entry] = {
    # elementwise
    "abs": unary(
        "abs",
        "|x| is x above 0 and −x below: the slope is the sign of x. At 0 there is none; 0 is taken.",
    ),
    "add": binary(
        "add",
        "If x grows by dx, so does x + y; and the same for y. Both slopes are 1.",
    ),
    "clip": Entry(
        "mg.clip(x, -1.0, 1.0)",
        "Inside the bounds the result is x, with slope 1; outside it is constant. At a bound the "
        "gradient passes. Bounds that are arrays make it minimum(maximum(x, low), high).",
        x=[-2.0, 0.5, 3.0],
    ),
    "copy": unary(
        "copy",
        "The same numbers: slope 1.",
    ),
    "cos": unary(
        "cos",
        "cos′ = −sin, from cos x = (eⁱˣ + e⁻ⁱˣ) / 2.",
        -6,
        6,
    ),
    "divide": binary(
        "divide",
        "x/y is x times 1/y, so the slope in x is 1/y. (1/y)′ = −1/y², so that in y is −x/y² = "
        "−z/y, with the result z.",
        -3,
        3,
    ),
    "exp": unary(
        "exp",
        "exp is the function that is its own derivative. So the rule uses the result.",
    ),
    "expm1": unary(
        "expm1",
        "The constant −1 has no slope: eˣ. The rule computes eˣ anew, for y + 1 rounds to 0 where "
        "eˣ is tiny.",
    ),
    "log": unary(
        "log",
        "y = ln x means x = e^y. Differentiate both sides: 1 = e^y dy/dx = x dy/dx.",
        0.1,
        4,
    ),
    "log1p": unary(
        "log1p",
        "The chain rule on ln(1 + x): 1/(1 + x) times 1.",
        -0.9,
        3,
    ),
    "logaddexp": binary(
        "logaddexp",
        "Of ln(eˣ + eʸ) the slope in x is eˣ/(eˣ + eʸ). Divided by eˣ above and below it is 1/(1 "
        "+ e^−(x−y)) = σ(x − y).",
    ),
    "maximum": binary(
        "maximum",
        "Where x is the greater the result is x, elsewhere y: the gradient goes to the one that "
        "was taken, and to x if both are equal.",
    ),
    "minimum": binary(
        "minimum",
        "As for maximum, with the lesser.",
    ),
    "multiply": binary(
        "multiply",
        "(x + dx) y − x y = y dx. The slope in x is y, and that in y is x.",
    ),
    "negative": unary(
        "negative",
        "Slope −1.",
    ),
    "power": Entry(
        "mg.power(x, n)",
        "In x it is n xⁿ⁻¹, as ever. For that in n, write xⁿ = e^(n ln x): xⁿ ln x, which goes to "
        "0 with x if n > 0.",
        x=[0.5, 1.5],
        n=[2.0, 3.0],
    ),
    "relu": unary(
        "relu",
        "max(0, x): slope 1 above 0, and 0 below. At 0 the constant counts as first: 0.",
    ),
    "sigmoid": unary(
        "sigmoid",
        "σ = 1/(1 + e⁻ˣ). So σ′ = e⁻ˣ/(1 + e⁻ˣ)², which is σ (1 − σ). The rule has it in a form "
        "that keeps its digits where σ rounds to 1.",
        -6,
        6,
    ),
    "sign": unary(
        "sign",
        "It is constant on both sides of 0: the derivative is 0 wherever there is one, and none is recorded.",
    ),
    "sin": unary(
        "sin",
        "sin′ = cos, from sin x = (eⁱˣ − e⁻ⁱˣ) / 2i.",
        -6,
        6,
    ),
    "softplus": unary(
        "softplus",
        "Of ln(1 + eˣ): eˣ/(1 + eˣ), which is σ(x).",
        -6,
        6,
    ),
    "sqrt": unary(
        "sqrt",
        "y² = x, so 2y dy = dx: the slope is 1/(2y).",
        0.05,
        4,
    ),
    "square": unary(
        "square",
        "(x + dx)² − x² = 2x dx, and dx² is left out.",
    ),
    "subtract": binary(
        "subtract",
        "Slope 1 in x, and −1 in y.",
    ),
    "tanh": unary(
        "tanh",
        "tanh = (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ). By the rule for quotients the slope is 1 − tanh² x. The "
        "rule computes it as 4e^(−2|x|)/(1 + e^(−2|x|))², which keeps its digits where tanh "
        "rounds to 1.",
    ),
    "where": Entry(
        "mg.where(np.array([True, False, True]), x, y)",
        "Each element of the result is one of x or one of y: slope 1 to the one that was taken, "
        "and 0 to the other. The condition is no number that could be changed a little.",
        x=[1.0, 2.0, 3.0],
        y=[4.0, 5.0, 6.0],
    ),
    "astype": Entry(
        "mg.astype(x, np.float32) * 1.0",
        "The same numbers, but for rounding: slope 1. A conversion to integers has no slope, and "
        "cuts the graph.",
        x=[0.5, 1.5],
    ),
    "to_backend": Entry(
        'mg.to_backend(x, "numpy")',
        "The same numbers in the memory of another library: slope 1. The cotangent travels back.",
        x=[0.5, 1.5],
    ),
    # reductions
    "sum": Entry(
        "mg.sum(x, axis=1)",
        "Every element has slope 1 in its sum: g is repeated over what was summed. The transpose "
        "of summing is repeating.",
        x=ROWS,
    ),
    "mean": Entry(
        "mg.mean(x, axis=1)",
        "A sum divided by n: g/n, repeated.",
        x=ROWS,
    ),
    "var": Entry(
        "mg.var(x, axis=1)",
        "Made of sum, square and mean, and differentiated through them. The slope is 2(xᵢ − m)/n: "
        "the way through the mean m is Σ 2(xⱼ − m)/n · (−1/n), and Σ (xⱼ − m) is 0.",
        x=ROWS,
    ),
    "std": Entry(
        "mg.std(x, axis=1)",
        "s = √var, so ds = d var/(2s): (xᵢ − m)/(n s). It is the norm of x − m, over √n.",
        x=ROWS,
    ),
    "norm": Entry(
        "mg.norm(x)",
        "y² = Σ xᵢ², so 2y dy = 2xᵢ dxᵢ: the slope is xᵢ/y.",
        x=[3.0, 4.0],
    ),
    "prod": Entry(
        "mg.prod(x)",
        "The slope in one factor is the product of the others. The library multiplies neighbours "
        "in pairs, so zeros need no division.",
        x=[2.0, 3.0, -1.0, 0.5],
    ),
    "cumsum": Entry(
        "mg.cumsum(x)",
        "yᵢ is the sum of x₀ … xᵢ, so ∂yᵢ/∂xⱼ is 1 for j ≤ i. xⱼ is in every sum from the j-th "
        "on: its share is the sum of g from the end down to j.",
        x=[1.0, 2.0, 3.0, 4.0],
    ),
    "max": Entry(
        "mg.max(x, axis=1)",
        "The result is one of the elements: slope 1 to that, the first if there are several, and "
        "0 to the others.",
        x=ROWS,
    ),
    "min": Entry(
        "mg.min(x, axis=1)",
        "−max(−x).",
        x=ROWS,
    ),
    "logsumexp": Entry(
        "mg.logsumexp(x)",
        "Of ln Σ eˣ the slope in xᵢ is e^xᵢ/Σ eˣ: the softmax.",
        x=[0.0, 1.0, 2.0],
    ),
    "softmax": Entry(
        "mg.softmax(x)",
        "yᵢ = e^xᵢ/S with S = Σ eˣ. ∂yᵢ/∂xⱼ = e^xᵢ [i = j]/S − e^xᵢ e^xⱼ/S² = yᵢ([i = j] − yⱼ). "
        "Then Σᵢ gᵢ ∂yᵢ/∂xⱼ = yⱼ (gⱼ − Σᵢ gᵢ yᵢ): no matrix is needed.",
        x=[0.0, 1.0, 2.0],
    ),
    "log_softmax": Entry(
        "mg.log_softmax(x)",
        "yᵢ = xᵢ − ln Σ eˣ, so ∂yᵢ/∂xⱼ = [i = j] − softmax(x)ⱼ. The share is gⱼ − softmax(x)ⱼ Σ g.",
        x=[0.0, 1.0, 2.0],
    ),
    "broadcast_to": Entry(
        "mg.broadcast_to(x, (2, 3))",
        "A change of an element changes all of its copies: the share is the sum of g over them. "
        "The transpose of repeating is summing.",
        x=[1.0, 2.0, 3.0],
    ),
    # products
    "matmul": Entry(
        "mg.matmul(x, y)",
        "zᵢₖ = Σⱼ xᵢⱼ yⱼₖ. So ∂zᵢₖ/∂xᵢⱼ is yⱼₖ, and the share of xᵢⱼ is Σₖ gᵢₖ yⱼₖ: g yᵀ. That of "
        "yⱼₖ is Σᵢ xᵢⱼ gᵢₖ: xᵀ g.",
        x=[[1.0, 2.0], [3.0, 4.0]],
        y=[[0.5, -1.0], [2.0, 1.0]],
    ),
    "linear": Entry(
        "mg.linear(x, W, b)",
        "A matrix product and a bias that is repeated for every row: g Wᵀ, xᵀ g, and the sum of g "
        "over the rows.",
        x=[[1.0, 2.0]],
        W=[[0.5, -1.0], [2.0, 1.0]],
        b=[0.0, 1.0],
    ),
    "einsum": Entry(
        'mg.einsum("ij,j->i", x, y)',
        "A sum of products is linear in each operand. So the share of one is the einsum of g with "
        "the others, whose output letters are that operand's.",
        x=[[1.0, 2.0], [3.0, 4.0]],
        y=[0.5, -1.0],
    ),
    # moving elements
    "reshape": Entry(
        "mg.reshape(x, (3, 2))",
        "Each element goes to one place: the Jacobian is a permutation, and its transpose moves back.",
        x=ROWS,
    ),
    "squeeze": Entry(
        "mg.squeeze(x)",
        "No element moves in memory; g gets the axes back.",
        x=[[1.0, 2.0]],
    ),
    "expand_dims": Entry(
        "mg.expand_dims(x, 0)",
        "No element moves in memory; g loses the axes.",
        x=[1.0, 2.0],
    ),
    "transpose": Entry(
        "mg.transpose(x)",
        "A permutation of elements; the transpose of g by the inverse order of axes.",
        x=ROWS,
    ),
    "getitem": Entry(
        "x[np.array([0, 2, 2])]",
        "The result's elements are some of x's. An element that is named twice gets both shares, "
        "one that is not named gets 0.",
        x=[1.0, 2.0, 3.0],
    ),
    "concatenate": Entry(
        "mg.concatenate([x, y])",
        "Each part of the result is one operand: g is cut in the same places.",
        x=[1.0, 2.0],
        y=[3.0],
    ),
    "stack": Entry(
        "mg.stack([x, y])",
        "g, at the operand's place along the new axis.",
        x=[1.0, 2.0],
        y=[3.0, 4.0],
    ),
    "split": Entry(
        "mg.split(x, 2)",
        "Each part is a slice: g is put into zeros, and what comes from the parts is added.",
        x=[1.0, 2.0, 3.0, 4.0],
    ),
    "pad": Entry(
        "mg.pad(x, 1)",
        "The border is constant; the inside is x: g without its border.",
        x=[1.0, 2.0],
    ),
    # images
    "conv2d": Entry(
        "mg.conv2d(x, W)",
        "zₚ = Σ window(p) · W is linear in x and in W. A pixel is in several windows, at another "
        "place of W in each: its share is the sum over them of g times that weight. A weight "
        "meets one pixel of each window: Σ window · g.",
        x=IMAGE,
        W=np.reshape([1.0, -1.0, 2.0, 0.5], (2, 2, 1, 1)),
    ),
    "max_pool2d": Entry(
        "mg.max_pool2d(x, 2, 1)",
        "As for max: g goes to the first greatest pixel of each window, and is added where windows overlap.",
        x=IMAGE + np.linspace(0.0, 0.1, 9).reshape(1, 3, 3, 1),
    ),
    "avg_pool2d": Entry(
        "mg.avg_pool2d(x, 2, 1)",
        "As for mean: g over the number of pixels, to each pixel of the window, added where windows overlap.",
        x=IMAGE,
    ),
    # for networks
    "maxout": Entry(
        "mg.maxout(z, 2)",
        "As for max, over the pieces of each unit: g goes to the first greatest.",
        z=[[1.0, 3.0, -1.0, -2.0]],
    ),
    "dropout": Entry(
        "mg.dropout(x, keep=0.5, generator=np.random.default_rng(1))",
        "The mask is drawn, and does not depend on x. So it is a product with a constant: g times "
        "the same mask, scaled alike.",
        x=[1.0, 2.0, 3.0, 4.0],
    ),
    "softmax_cross_entropy": Entry(
        "mg.softmax_cross_entropy(z, np.array([2, 0]))",
        "J = −z_label + ln Σ eᶻ, so ∂J/∂zᵢ = pᵢ − [i = label] with p = softmax(z). At the label p "
        "− 1 rounds; −Σ of the others is the same number, and does not ([chapter "
        "9](../tour/9-a-gradient-that-lies.md)).",
        z=[[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]],
    ),
    "logistic_cost": Entry(
        "mg.logistic_cost(z, np.array([1, -1]))",
        "J = ζ(−y z) with ζ′ = σ: the chain rule gives −y σ(−y z).",
        z=[0.5, 2.0],
    ),
}


def write_atlas(directory: Path) -> None:
    """operations.md in the directory, and a picture of each operation beside it."""
    (directory / "atlas").mkdir(exist_ok=True)
    lines = ["# Atlas of operations", ""]
    lines += [
        "Each operation as it stands in the source, with the rules of its derivatives, why they are what "
        "they are, and its Jacobian at a small point ([chapter 4](../tour/4-the-jacobian.md)): by the rules, "
        "and compared with differences when this page was made. g is the cotangent of the result. What has "
        "`_` before its name is private, and is shown below the operation that uses it.",
        "",
    ]
    for theme in themes():
        lines += [f"## {theme.__doc__.split('.')[0].split(':')[0]}", ""]
        for name in theme.__all__:
            lines += described(name, directory)
    (directory / "operations.md").write_text("\n".join(lines), encoding="utf-8")


def themes() -> list[Any]:
    """The files of operations, with the plain ones first."""
    ops = mg.operations
    return [ops.elementwise, ops.reductions, ops.products, ops.einsums, ops.shapes, ops.images,
            ops.maxout_units, ops.dropout_masks, ops.costs]  # fmt: skip


def described(name: str, directory: Path) -> list[str]:
    entry, operation = ENTRIES[name], getattr(mg, name)
    check(name, entry)
    drawn = curves(entry) if entry.plotted else maps(entry)
    drawn.savefig(directory / "atlas" / f"{name}.svg", metadata={"Date": None})
    values = ", ".join(f"{x} = {written(value)}" for x, value in entry.inputs.items())
    jacobian = [f"The Jacobian of `{entry.call}` at {values}:", ""]
    picture = [f"![{alternative(name, entry)}](atlas/{name}.svg)", ""]
    lines = [f"### {name}", "", entry.derivation, ""]
    if entry.plotted:
        return [*lines, *picture, *sources(mg.rules(operation), operation), *jacobian, *matrices(entry)]
    return [*lines, *jacobian, *picture, *sources(mg.rules(operation), operation)]


def alternative(name: str, entry: Entry) -> str:
    return f"{name} and its derivatives" if entry.plotted else f"the Jacobian of {entry.call}"


def check(name: str, entry: Entry) -> None:
    """ValueError if the rules are not what differences say."""
    for x in entry.inputs:
        rule, difference = entry.jacobian(x), entry.by_differences(x)
        close = 0.05 if name == "astype" else 1e-5  # float32 has too few digits for differences
        if not np.allclose(rule, difference, rtol=close, atol=close):
            raise ValueError(
                f"the Jacobian of {entry.call} in {x} is {rule}, and by differences {difference}"
            )


def sources(found: Rules, operation: Any = None) -> list[str]:
    """Forward, rules, and what they call; of an operation also which others it calls."""
    lines = code(f"`{found.name}`, `{found.forward.place}`", found.forward.text)
    for argument, source in found.derivatives:
        if source is None:
            lines += [f"`{argument}` has no derivative.", ""]
        else:
            lines += code(f"The share of `{argument}`, `{source.place}`", source.text)
    if inspect.isfunction(operation):
        made_of = [n for n in operation.__code__.co_names if n in ENTRIES and n != found.name]
        if made_of:
            lines += ["It calls " + ", ".join(f"[{n}](#{n})" for n in dict.fromkeys(made_of)) + ".", ""]
    for helper in found.helpers:
        if not helper.name.startswith("_check"):
            lines += sources(helper)
    return lines


def code(title: str, text: str) -> list[str]:
    return [f"{title}:", "", "```python", text, "```", ""]


def written(values: np.ndarray) -> str:
    if values.size > 6:
        return f"an array of shape {values.shape}"
    return np.array2string(values, separator=", ").replace("\n", "")


def matrices(entry: Entry) -> list[str]:
    """The Jacobians as text."""
    lines = []
    for x in entry.inputs:
        matrix = entry.jacobian(x) + 0.0
        rows = "\n".join("  ".join(f"{value:7.3f}" for value in row) for row in matrix)
        lines += [f"in {x}:", "", "```text", rows, "```", ""]
    return lines


def curves(entry: Entry) -> Figure:
    """The function and its derivatives along x, the other argument being 1."""
    assert entry.plotted
    low, high = entry.plotted
    x = np.linspace(low, high, 241)
    names = [*entry.inputs]
    others = {name: np.ones_like(x) for name in names[1:]}
    figure, (ax,) = panels(1, width=4.5, height=2.8)
    value = entry.at(x=x, **others).numpy()
    ax.plot(x, value, color="black", label=entry.call.removeprefix("mg.").replace("y", "1"))
    for name, colour, style in zip(names, (BLUE, ORANGE), ("--", ":"), strict=False):
        given = {n: mg.Tensor(v, requires_grad=True) for n, v in {"x": x, **others}.items()}
        result = entry.at(**given)
        slope = mg.grad(mg.sum(result), given[name])[0].numpy() if result.requires_grad else 0 * x
        ax.plot(x, slope, color=colour, linestyle=style, label=f"its derivative in {name}")
    ax.axhline(0, color="gray", lw=0.4)
    ax.axvline(0, color="gray", lw=0.4)
    ax.set(xlabel="x", ylim=np.clip([min(value.min(), -1.0) - 0.2, max(value.max(), 1.0) + 0.2], -4.0, 6.0))
    ax.legend(fontsize=7)
    return figure


def maps(entry: Entry) -> Figure:
    """The Jacobian in each input, as a table with colours."""
    found = {x: entry.jacobian(x) for x in entry.inputs}
    widths = [matrix.shape[1] for matrix in found.values()]
    rows = max(matrix.shape[0] for matrix in found.values())
    figure, axes = panels(
        len(found), width=max(0.42 * sum(widths) + 1.2, 2.6), height=0.42 * rows + 0.9, width_ratios=widths
    )
    for ax, (x, matrix) in zip(axes, found.items(), strict=True):
        table(ax, matrix + 0.0, "{:.3g}")
        ax.set_title(f"∂/∂{x}", fontsize=9)
    return figure
