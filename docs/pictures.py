"""The pictures of the tour: `python -m docs.pictures` (extras: benchmarks, test).

A chapter is run up to the place of each picture, and the picture is drawn from what it has computed by then.
So none can show anything else than the chapter says. They go to docs/tour/pictures, which is not in the
repository.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import minigrad as mg
from attacks import fgsm, pgd

TOUR = Path(__file__).parent / "tour"
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
TWO_SIGNS = "PuOr"  # colours of numbers below and above 0
Names = dict[str, Any]


# ---- one function for each picture: what the chapter has computed by then, to a figure or an SVG text


def differences(its: Names) -> Figure:
    figure, (left, right) = panels(2, width=8)
    pixels = np.array([1, 784])
    left.plot(pixels, 2 * pixels, color=ORANGE, label="differences: two for each pixel")
    left.plot(pixels, [1, 1], color=BLUE, label="reverse mode: one, and one way back")
    left.set(xlabel="pixels", ylabel="evaluations of J", ylim=(-60, None))
    left.legend(fontsize=8)
    steps = 10.0 ** -np.arange(0.5, 13.1, 0.5)
    right.loglog(steps, [its["off_by"](h) for h in steps], ".-", color=ORANGE)
    right.set(xlabel="h", ylabel="greatest error / greatest slope")
    right.text(2e-10, 1e-5, "∝ 1/h: rounding", fontsize=8)
    right.text(5e-4, 1e-8, "∝ h²: no parabola", fontsize=8)
    right.set_xlim(None, 1e3)
    return figure


def recorded_graph(its: Names) -> str:
    return mg.graph(its["J"], {name: its[name] for name in ("x", "w", "b", "J")}).svg()


def visit(its: Names) -> str:
    return mg.walkthrough(its["J"], {name: its[name] for name in ("x", "y", "J")}).svg(3)


def jacobian(its: Names) -> Figure:
    g = np.random.default_rng(0).normal(size=its["matrix"].shape[0])
    share = its["matrix"].T @ g
    figure, axes = panels(3, width=6, height=3.2, width_ratios=(6, 1.6, 1.6))
    for ax, values, title in zip(
        axes,
        (its["matrix"], g[:, None], share[:, None]),
        (f"∂y/∂x, {its['matrix'].size} numbers", "g", "the share"),
        strict=True,
    ):
        table(ax, values, "{:.2f}")
        ax.set_title(title, fontsize=9)
    axes[0].set(xlabel="elements of x, row by row", ylabel="elements of y, row by row")
    return figure


def broadcasting(its: Names) -> Figure:
    row, g = its["row"].numpy(), np.arange(12.0).reshape(4, 3)
    figure, axes = panels(4, width=8, height=2.4)
    shown = (
        ("row", row[None]), ("as it is used:\nonce for each row of the table", np.repeat(row[None], 4, 0)),
        ("a cotangent g of the result", g), ("the share of row:\ng, summed over its uses", g.sum(0)[None]),
    )  # fmt: skip
    for ax, (title, values) in zip(axes, shown, strict=True):
        table(ax, values, "{:g}", colours=False)
        ax.set_title(title, fontsize=9)
        ax.set_ylim(3.5, -0.5)
    return figure


def check(its: Names) -> Figure:
    x = mg.Tensor(np.linspace(-2.0, 2.0, 41), requires_grad=True)
    by_rule = mg.grad(mg.sum(its["cube"](x)), x)[0].numpy()
    points, h = x.numpy(), 1e-5
    by_differences = ((points + h) ** 3 - (points - h) ** 3) / (2 * h)
    figure, (ax,) = panels(1, width=4.5, height=3.6)
    ax.axline((0, 0), slope=1, color="black", linewidth=0.8, label="the same")
    ax.plot(by_differences, 3 * points * points, "o", color=BLUE, mfc="none", label="g · 3x²")
    ax.plot(by_differences, by_rule, "x", color=ORANGE, label="g · x², the factor forgotten")
    ax.set(xlabel="by differences", ylabel="by the rule")
    ax.legend(fontsize=8)
    return figure


def the_input_gradient(its: Names) -> Figure:
    digit, gradient = its["test"].x[0].reshape(28, 28), its["gradients"][0].reshape(28, 28)
    figure, axes = panels(3, width=7.5, height=2.7)
    picture(axes[0], digit, f"x, a {its['test'].y[0]}")
    most = np.abs(gradient).max()
    axes[1].imshow(gradient, TWO_SIGNS, vmin=-most, vmax=most)
    axes[1].set_title("∇ₓJ: ink raises J (violet) or lowers it", fontsize=9)
    axes[2].imshow(np.sign(gradient), TWO_SIGNS, vmin=-1, vmax=1)
    axes[2].set_title("sign(∇ₓJ)", fontsize=9)
    blank(axes)
    return figure


def fooled_digit(its: Names) -> Figure:
    (before, after), i = its["digits"], its["fooled"]
    figure, axes = panels(3, width=7.5, height=2.7)
    picture(axes[0], before, f"x: read as {its['before'][i]}")
    axes[1].imshow(after - before, TWO_SIGNS, vmin=-its["epsilon"], vmax=its["epsilon"])
    axes[1].set_title(f"x̃ − x: at most {its['epsilon']} up or down", fontsize=9)
    picture(axes[2], after, f"x̃: read as {its['after'][i]}")
    blank(axes)
    return figure


def growth(its: Names) -> Figure:
    figure, (left, right) = panels(2, width=8)
    sizes, x, y, model = np.linspace(0.0, 0.1, 11), its["x"], its["y"], its["model"]
    before = model.cost(x, y).item()
    along = [model.cost(fgsm(model, x, y, epsilon=e), y).item() for e in sizes]
    across = [model.cost(x + np.float32(e) * its["signs"], y).item() for e in sizes]
    left.plot(sizes, along, "o-", color=BLUE, ms=3, label="along the gradient's signs")
    left.plot(
        sizes,
        before + sizes * its["slope"] / len(x),
        "--",
        color="black",
        lw=1,
        label="its tangent, ε ‖∇ₓJ‖₁",
    )
    left.plot(sizes, across, "s-", color=ORANGE, ms=3, label="along random signs")
    left.set(xlabel="ε", ylabel="mean cost J of 1,000 digits")
    left.legend(fontsize=8)
    counts = np.array([10, 100, 1000, 10_000, 100_000])
    effects = np.array([its["effects"](n) for n in counts])
    right.loglog(counts, effects[:, 0], "o-", color=BLUE, ms=3, label="w's signs: grows with n")
    right.loglog(counts, effects[:, 1], "s-", color=ORANGE, ms=3, label="random signs: with √n")
    right.set(xlabel="elements n", ylabel="effect on wᵀx, of a step of .1")
    right.legend(fontsize=8)
    return figure


def rounding(its: Names) -> Figure:
    figure, axes = panels(2, width=8, height=3.6, sharey=True)
    some = np.random.default_rng(0).choice(its["true"].size, 3000, replace=False)
    true = its["true"].ravel()[some]
    most = np.quantile(np.abs(true), 0.99)
    for ax, name, title in ((axes[0], "ours", "this engine"), (axes[1], "rounded", "softmax(z) − [label]")):
        ax.axline((0, 0), slope=1, color="black", linewidth=0.8)
        ax.plot(true, its[name].ravel()[some], ".", ms=2, color=BLUE)
        ax.set(xlim=(-most, most), ylim=(-most, most), xlabel="∇ₓJ in float64")
        ax.set_title(
            f"{title}: {100 * its['wrong_signs'](its[name]):.1f}% of the signs are wrong", fontsize=9
        )
    axes[0].set_ylabel("in float32")
    return figure


def errors(its: Names) -> Figure:
    figure, (ax,) = panels(1, width=5, height=3.4)
    sizes, x, y = np.array([0.0, 0.025, 0.05, 0.075, 0.1, 0.15]), its["x"][:200], its["y"][:200]

    def error(model: Any, pictures: Any) -> float:
        return 100 * float((model.predict(pictures) != y).mean())

    for name, colour in (("plain", ORANGE), ("robust", BLUE)):
        model = its[name]
        one = [error(model, fgsm(model, x, y, epsilon=e)) for e in sizes]
        ten = [error(model, pgd(model, x, y, epsilon=e, steps=10) if e else x) for e in sizes]
        words = {"plain": "trained on J", "robust": "trained on J̃, ε = .1"}[name]
        ax.plot(sizes, one, "o-", color=colour, ms=3, label=f"{words}; FGSM")
        ax.plot(sizes, ten, "s--", color=colour, ms=3, label=f"{words}; ten steps")
    ax.set(xlabel="ε", ylabel="error [%] of 200 digits", ylim=(0, 102))
    ax.legend(fontsize=8)
    return figure


def cumprod(its: Names) -> Figure:
    x = mg.Tensor(np.array([2.0, 0.5, 3.0, -1.0, 0.5]), requires_grad=True)
    partial = np.cumprod(x.numpy())
    matrix = np.array(
        [[y / v if j <= i else 0.0 for j, v in enumerate(x.numpy())] for i, y in enumerate(partial)]
    )
    figure, (ax,) = panels(1, width=4, height=3.4)
    table(ax, matrix, "{:g}")
    ax.set_xticks(range(5), [f"x{'₀₁₂₃₄'[i]} = {v:g}" for i, v in enumerate(x.numpy())], fontsize=7)
    ax.set_yticks(range(5), [f"y{'₀₁₂₃₄'[i]} = {v:g}" for i, v in enumerate(partial)], fontsize=7)
    ax.set_title("∂yᵢ/∂xⱼ", fontsize=9)
    return figure


def whole_graph(its: Names) -> str:
    return mg.graph(its["J"], {"x": its["x"], "J": its["J"]}).svg()


def tape(its: Names) -> Figure:
    """Two rows of cells, a call in each."""
    names, is_kept = its["names"], its["is_kept"]
    figure, (ax,) = panels(1, width=9, height=3.4)
    length = (len(names) + 1) // 2
    for place, (name, stays) in enumerate(zip(names, is_kept, strict=True)):
        row, column = divmod(place, length)
        colour, ink = (BLUE, "white") if stays else ("0.85", "0.35")
        ax.add_patch(Rectangle((column + 0.04, -row), 0.92, 0.94, color=colour, lw=0))
        ax.text(column + 0.5, 0.47 - row, name, rotation=90, ha="center", va="center", fontsize=7, color=ink)
    ax.set(xlim=(0, length), ylim=(-1.02, 0.96))
    dead = len(names) - sum(is_kept)
    ax.set_title(f"{len(names)} calls; grey: the {dead} that are not replayed", fontsize=9)
    ax.axis("off")
    return figure


PICTURES: dict[str, Callable[[Names], Figure | str]] = {
    "1-differences": differences, "2-graph": recorded_graph, "3-visit": visit, "4-jacobian": jacobian,
    "5-broadcasting": broadcasting, "6-check": check, "7-input-gradient": the_input_gradient,
    "8-digit": fooled_digit, "8-growth": growth, "9-rounding": rounding, "10-errors": errors,
    "11-cumprod": cumprod, "12-graph": whole_graph, "14-tape": tape,
}  # fmt: skip


# ---- what they have in common


def panels(
    count: int, width: float, height: float = 3.0, width_ratios: Sequence[float] | None = None, **options: Any
) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False, width_ratios=width_ratios, **options)[0]


def blank(axes: Any) -> None:
    for ax in axes:
        ax.set(xticks=[], yticks=[])


def picture(ax: Any, pixels: np.ndarray, title: str) -> None:
    ax.imshow(pixels, "gray_r", vmin=0, vmax=1)
    ax.set_title(title, fontsize=9)


def table(ax: Any, values: np.ndarray, form: str, colours: bool = True) -> None:
    """Numbers in cells; coloured by sign and size, and zeros left out, if asked for."""
    most = np.abs(values).max() or 1.0
    ax.imshow(values if colours else np.zeros_like(values), TWO_SIGNS, vmin=-2 * most, vmax=2 * most)
    for (i, j), value in np.ndenumerate(values):
        if value or not colours:
            ax.text(j, i, form.format(value), ha="center", va="center", fontsize=7)
    blank([ax])
    for i in range(values.shape[0] + 1):
        ax.plot([-0.5, values.shape[1] - 0.5], [i - 0.5, i - 0.5], color="black", lw=0.4)
    for j in range(values.shape[1] + 1):
        ax.plot([j - 0.5, j - 0.5], [-0.5, values.shape[0] - 0.5], color="black", lw=0.4)


# ---- a chapter, with its pictures


def pictures(document: Document) -> Iterator[Region]:
    """The places of a chapter's pictures, as examples that draw them."""
    for match in re.finditer(r"\(pictures/(.+?)\.svg\)", document.text):
        yield Region(match.start(), match.end(), match[1], draw)


def draw(example: Example) -> None:
    name = example.parsed
    drawn = PICTURES[name](example.namespace)
    path = TOUR / "pictures" / f"{name}.svg"
    path.parent.mkdir(exist_ok=True)
    if isinstance(drawn, str):
        path.write_text(drawn, encoding="utf-8")
    else:
        drawn.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run every chapter that has pictures, and draw them."""
    sybil = Sybil(parsers=[PythonCodeBlockParser(), SkipParser(), pictures], pattern="*.md", path=str(TOUR))
    for page in sorted(TOUR.glob("[0-9]*.md")):
        if "(pictures/" in page.read_text(encoding="utf-8"):
            for example in sybil.parse(page).examples():
                example.evaluate()
            print(page.name, file=sys.stderr)


if __name__ == "__main__":
    main()
