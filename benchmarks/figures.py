"""The figures of the report. Colours are Okabe and Ito's, which the colour-blind tell apart; lines differ in
dash and marker too, so that they can be read in grey."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

import minigrad as mg
from attacks import fgsm, input_gradient
from benchmarks import photo
from benchmarks.experiments import RECIPES
from benchmarks.mnist import Digits
from benchmarks.output import save_figure
from benchmarks.photo_study import signs, strength, take_step
from benchmarks.photos import CAUTION, most_probable, network, photos, read_photo
from benchmarks.task import EPSILON, STRENGTHS
from benchmarks.training import History
from benchmarks.workspace import Found, Workspace

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#8A8A8A")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "x", "+", "*", "P", "<")


@dataclass(frozen=True)
class Drawing:
    """What figures are drawn from, all with the first seed that was measured.

    data       what the experiments kept, of all of them together
    histories  by model
    """

    test: Digits
    model: Callable[[str], Any]
    data: Mapping[str, Any]
    histories: Mapping[str, History]


Drawn = Callable[[Drawing], Figure]


def draw_all(
    workspace: Workspace, found: dict[str, dict[int, Found]], histories: dict[str, dict[int, History]]
) -> list[tuple[str, str, Path]]:
    """Draw every figure whose experiments have run; returns (title, caption, file) of each."""
    data: dict[str, Any] = {}
    for runs in found.values():
        for key, value in next(iter(runs.values())).data.items():
            data[key] = {**data[key], **value} if isinstance(value, dict) and key in data else value
    seeds = [seed for runs in found.values() for seed in runs]
    drawing = Drawing(
        _on_host(workspace.digits()[1]),
        lambda name: workspace.model(name, min(seeds))[0].to("numpy"),
        data,
        {name: next(iter(runs.values())) for name, runs in histories.items() if runs},
    )
    directory = workspace.directory / "figures"
    directory.mkdir(exist_ok=True)
    drawn = []
    for name, (needs, kept, draw, title, caption) in FIGURES.items():
        path = directory / f"{name}.png"
        if needs <= found.keys() and kept <= data.keys():
            save_figure(draw(drawing), path)
            drawn.append((title, caption, path))
        else:
            path.unlink(missing_ok=True)  # of the run that --no-resume cleared
    return drawn


def _on_host(digits: Digits) -> Digits:
    return digits.to("numpy") if not isinstance(digits.x, np.ndarray) else digits


def _tiles(rows: int, columns: int, size: float = 0.62) -> tuple[Figure, Any]:
    figure = Figure(figsize=(columns * size + 0.3, rows * size + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    return figure, axes


def _show(ax: Any, pixels: Any, symmetric: bool = False) -> None:
    pixels = np.asarray(pixels).reshape(28, 28)
    limit = float(np.abs(pixels).max()) or 1.0
    low, high = (-limit, limit) if symmetric else (float(min(pixels.min(), 0)), float(max(pixels.max(), 1)))
    ax.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")


def _frame(ax: Any, colour: str, width: float = 2.5) -> None:
    for spine in ax.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(width)


# ---- the paper's figures


def figure_1(_: Drawing) -> Figure:
    model, panda = network(), read_photo(photos()["panda"])
    with threadpool_limits(1):  # as the photo command does
        clean = model.predict_proba(panda.x)[0]
        own = np.array([clean.argmax()])
        sign, rounded = signs(model, panda.x, own)
        step = take_step(model, panda.x, own, sign, rounded, strength("1/255"), np.random.default_rng(0))
    return photo.figure_1(panda, most_probable(clean), step, sign[0])


def figure_2(drawing: Drawing) -> Figure:
    model, pair = drawing.model("logistic"), drawing.test.sevens_against_threes()
    some = pair[:10]
    adversarial = fgsm(model, some.x, some.y, epsilon=EPSILON)
    figure, axes = _tiles(3, 10, 0.8)
    for ax in axes[0, 2:]:
        ax.axis("off")
    weights = model.w.numpy()
    _show(axes[0, 0], weights, symmetric=True)
    axes[0, 0].set_title("weights w", fontsize=8)
    _show(axes[0, 1], np.sign(weights), symmetric=True)
    axes[0, 1].set_title("sign(w)", fontsize=8)
    for row, x in ((1, some.x), (2, adversarial)):
        right = model.predict(x) == some.y
        for column, ax in enumerate(axes[row]):
            _show(ax, x[column])
            _frame(ax, COLOURS[0] if right[column] else COLOURS[1], 2.5 if right[column] else 1.0)
    axes[1, 0].set_ylabel("clean", fontsize=8)
    axes[2, 0].set_ylabel("ε = .25", fontsize=8)
    return figure


def figure_3(drawing: Drawing) -> Figure:
    figure = Figure(figsize=(10, 5.3), layout="constrained")
    parts = figure.subfigures(1, 2, wspace=0.04)
    for part, (name, title) in zip(
        parts, (("maxout", "plain"), ("adversarial", "adversarially trained")), strict=True
    ):
        part.suptitle(title, fontsize=10)
        filters = drawing.model(name).hidden[0].W.numpy().T
        ax = part.subplots()
        ax.imshow(
            _sheet(filters[:: len(filters) // 100][:100]),
            cmap="gray",
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        ax.axis("off")
    return figure


def _sheet(filters: Any) -> Any:
    """A hundred filters in one image, ten in a row, each within [−1, 1] and with 3 pixels of NaN around it,
    which are drawn as nothing. (A hundred axes would be slow to lay out.)"""
    largest = np.abs(filters).max(1, keepdims=True)
    tiles = (filters / np.where(largest, largest, 1.0)).reshape(-1, 28, 28)
    tiles = np.pad(tiles, ((0, 0), (3, 3), (3, 3)), constant_values=np.nan)
    return tiles.reshape(10, 10, 34, 34).swapaxes(1, 2).reshape(340, 340)


def figure_4(drawing: Drawing) -> Figure:
    model, test = drawing.model("maxout"), drawing.test
    shown = 4 if (test.y == 4).any() else int(test.y[0])
    own_class = test[test.y == shown]
    right = own_class[model.predict(own_class.x) == shown]
    x, y = (right if len(right) else own_class)[:1].x, own_class.y[:1]
    direction = np.sign(input_gradient(model, x, y))
    epsilons = np.linspace(-1.0, 1.0, 401, dtype=np.float32)
    with mg.no_grad():
        z = model(x + epsilons[:, None] * direction).numpy()
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, strip = figure.subfigures(1, 2, width_ratios=(1.35, 1))
    ax = left.subplots()
    for label in range(10):
        own = label == shown
        ax.plot(epsilons, z[:, label], color=COLOURS[label % len(COLOURS)],
                linestyle="-" if own else DASHES[label % len(DASHES)], linewidth=3 if own else 1.2,
                marker=MARKERS[label % len(MARKERS)], markevery=(7 * label, 80), markersize=5,
                label=f"{label}, the digit's class" if own else str(label))  # fmt: skip
    ax.set_xlabel("ε along sign(∇ₓJ) [pixel values]")
    ax.set_ylabel("argument of the softmax")
    ax.legend(fontsize=7, ncols=2)
    steps = np.linspace(-1.0, 1.0, 36, dtype=np.float32)
    images = x + steps[:, None] * direction
    predicted = model.predict(images)
    for ax, image, step, label in zip(strip.subplots(6, 6).flat, images, steps, predicted, strict=True):
        ax.set_xticks([])
        ax.set_yticks([])
        _show(ax, np.clip(image, 0, 1))
        ax.set_title(f"{step:+.2f}: {label}", fontsize=6, pad=2)
        _frame(ax, COLOURS[5] if label == shown else "#FFFFFF", 3)
    return figure


def figure_5(drawing: Drawing) -> Figure:
    model = drawing.model("maxout")
    noise = np.random.default_rng(2014).standard_normal((10, 784)).astype(np.float32)
    targets = np.arange(10)
    made = fgsm(model, noise, targets, epsilon=EPSILON, targeted=True)
    figure, axes = _tiles(2, 10, 0.95)
    for row, x in ((0, noise), (1, made)):
        p = model.predict_proba(x)
        for column, ax in enumerate(axes[row]):
            _show(ax, x[column])
            label = int(p[column].argmax())
            ax.set_title(f"{label}, {100 * p[column, label]:.0f}%", fontsize=7, pad=2)
            reached = p[column, targets[column]] > 0.5
            _frame(ax, COLOURS[5] if reached and row else "#FFFFFF", 2.5)
    axes[0, 0].set_ylabel("noise", fontsize=8)
    axes[1, 0].set_ylabel("one step", fontsize=8)
    return figure


# ---- and the report's own


def error_against_epsilon(drawing: Drawing) -> Figure:
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    ax = figure.subplots()
    for i, (name, errors) in enumerate(drawing.data["error_against_epsilon"].items()):
        what = RECIPES[name].what if name in RECIPES else f"{name} of maxout networks"
        _line(ax, i, STRENGTHS, errors, what)
    ax.axvline(EPSILON, color="#B0B0B0", linewidth=1, zorder=0)
    ax.set_xlabel("ε of FGSM, unclipped [pixel values]")
    ax.set_ylabel("error [%]")
    ax.set_ylim(-2, 102)
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _line(ax: Any, i: int, x: Any, y: Any, label: str, **style: Any) -> None:
    ax.plot(x, y, color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)], markersize=4, linewidth=1.5, label=label, **style)  # fmt: skip


def transfer(drawing: Drawing) -> Figure:
    table = drawing.data.get("transfer_all") or drawing.data["transfer"]
    names = [RECIPES[name].what for name in table["models"]]
    return _heat(np.array(table["errors"]), names, names, "made on", "tried on")


def under_every_attack(drawing: Drawing) -> Figure:
    table = drawing.data["attacks"]
    models = [RECIPES[name].what for name in table["models"]]
    return _heat(np.array(table["errors"]), table["attacks"], models, "attack", "model")


def _heat(errors: Any, rows: list[str], columns: list[str], down: str, across: str) -> Figure:
    width = min(2.8 + 1.5 * len(columns), 16)
    figure = Figure(figsize=(width, 1.6 + 0.5 * len(rows)), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(errors, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(errors.shape):
        dark = errors[i, j] < 55
        ax.text(j, i, f"{errors[i, j]:.1f}", ha="center", va="center", color="white" if dark else "black")
    many = {"rotation": 40, "ha": "right"} if len(columns) > 5 else {}
    ax.set_xticks(range(len(columns)), [textwrap.fill(c, 18) for c in columns], fontsize=7, **many)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.set_xlabel(across)
    ax.set_ylabel(down)
    figure.colorbar(image, label="error [%]")
    return figure


def training_curves(drawing: Drawing) -> Figure:
    names = [name for name in ("maxout", "adversarial", "pgd") if name in drawing.histories]
    figure = Figure(figsize=(4 * len(names) + 1, 3.6), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        history = drawing.histories[name]
        epochs = np.arange(1, len(history["stage"]) + 1)
        for i, (key, label) in enumerate(
            (("clean_error", "clean"), ("fgsm_error", "FGSM"), ("pgd_error", "PGD, 10 steps"))
        ):
            _line(ax, i, epochs, history[key], label, markevery=max(1, len(epochs) // 12))
        for stage in np.flatnonzero(np.diff(history["stage"])):
            ax.axvline(stage + 1.5, color="#8A8A8A", linestyle=":", linewidth=1)
        ax.set_yscale("log")
        ax.set_title(RECIPES[name].what, fontsize=9)
        ax.set_xlabel("epoch")
    figure.axes[0].set_ylabel("error on held-out digits [%]")
    figure.axes[0].legend(fontsize=8)
    return figure


def penalties(drawing: Drawing) -> Figure:
    data = drawing.data["penalties"]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for ax, (key, what) in zip(
        figure.subplots(1, 3),
        (("training", "training, clean"), ("test", "test, clean"), ("fgsm", "test, FGSM ε = .25")),
        strict=True,
    ):
        for i, kind in enumerate(("adversarial", "L1 decay")):
            _line(ax, i, data["coefficients"], data[kind][key], kind)
        ax.set_xscale("log")
        ax.set_title(what, fontsize=9)
        ax.set_xlabel("coefficient: ε [pixel values], or λ")
    figure.axes[0].set_ylabel("error [%]")
    figure.axes[0].legend(fontsize=8)
    return figure


# name: (the experiments it needs, what they must have kept, what draws it, title, caption)
FIGURES: dict[str, tuple[set[str], set[str], Drawn, str, str]] = {
    "figure1": (
        {"photo"}, set(), figure_1, "Figure 1: one grey level",
        "A photo, a step along the sign of the gradient (shown from −1, black, to 1), and the photo after "
        "it, with what SqueezeNet says of them. " + CAUTION,
    ),
    "figure2": (
        {"logistic"}, set(), figure_2, "Figure 2: logistic regression, 3 against 7",
        "Weights and their sign; test digits; the same after a step of ε = .25. Blue thick frames: "
        "classified correctly; orange thin ones: not.",
    ),
    "figure3": (
        {"maxout", "adversarial"}, set(), figure_3, "Figure 3: first-layer filters",
        "A hundred of each network's 1,200, each scaled to its own greatest weight.",
    ),
    "figure4": (
        {"maxout"}, set(), figure_4, "Figure 4: the arguments of the softmax along ε",
        "One digit of class 4 and plain maxout: piecewise linear. Right: the inputs on the way, clipped for "
        "display, with ε and the predicted class; yellow frames: still a 4.",
    ),
    "figure5": (
        {"maxout"}, set(), figure_5, "Figure 5: rubbish that fools",
        "Draws of N(0, I), and the same after one step of ε = .25 towards class 0 to 9, with plain "
        "maxout's class and confidence; yellow frames: the chosen class has p > .5.",
    ),
    "error_against_epsilon": (
        set(), {"error_against_epsilon"}, error_against_epsilon, "Error against ε",
        "FGSM made on each model itself, unclipped, 2,000 test digits. The line is at the paper's ε = .25.",
    ),
    "transfer": (
        set(), {"transfer"}, transfer, "Transfer between models",
        "Error of each model on the examples made on each; FGSM ε = .25, unclipped, 2,000 test digits.",
    ),
    "training": (
        {"maxout", "adversarial"}, set(), training_curves, "Training curves",
        "Clean, FGSM and PGD error after every epoch on the last training images, at ε = .25. No step sees "
        "them in the first stage; after a dotted line, the second stage trains on all 60,000.",
    ),
    "penalties": (
        set(), {"penalties"}, penalties, "Adversarial training against L1 weight decay",
        "Logistic regression, 3 against 7: the worst case at ε, and L1 decay of the same coefficient.",
    ),
    "attacks": (
        set(), {"attacks"}, under_every_attack, "Every attack on three networks",
        "Error in percent on 1,000 test digits.",
    ),
}  # fmt: skip
