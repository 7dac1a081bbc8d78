"""The figures of the report, each eight inches wide with letters that can be read on a phone. Colours are
Okabe and Ito's, which the colour-blind tell apart, and none stands for two things in one figure; lines differ
in dash and marker too, so that they can be read in grey."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
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

BLUE, VERMILLION, GREEN, PURPLE, BLACK, ORANGE, SKY = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9",
)  # fmt: skip
GREY = "#9A9A9A"  # for what is only there to compare with
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 8.0  # inches
SIZE, SMALL = 12, 11  # of letters, in points
STYLE = {
    "font.size": SIZE, "axes.titlesize": SIZE, "xtick.labelsize": SMALL, "ytick.labelsize": SMALL,
    "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 2,
}  # fmt: skip

# Short names, where what the recipes say of themselves is too long.
NAMES = {
    "adversarial": "trained on FGSM", "pgd": "trained on PGD", "sigmoid": "sigmoid outputs",
    "noise_sign": "sign noise", "noise_uniform": "uniform noise", "rotation": "rotation",
    "scaling": "scaled gradient", "hidden_first": "hidden layer 1", "hidden_last": "hidden layer 2",
    "refusing": "refuses noise", "maxout": "plain maxout", "ensemble": "ensemble of maxouts",
}  # fmt: skip


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


@dataclass(frozen=True)
class Planned:
    """A figure that the report has as soon as there is something to draw it from.

    draw         returns it and its caption, whose numbers are those of the figure
    experiments  those that must have been measured for it
    kept         what one of them must have kept for it
    of_a_seed    whether it shows networks of that seed, which the caption then names
    """

    title: str
    draw: Callable[[Drawing], tuple[Figure, str]]
    experiments: tuple[str, ...] = ()
    kept: str | None = None
    of_a_seed: bool = True


def draw_all(
    workspace: Workspace, found: dict[str, dict[int, Found]], histories: dict[str, dict[int, History]]
) -> list[tuple[str, str, Path]]:
    """Draw every figure whose experiments have run; returns (title, caption, file) of each."""
    seed = min((seed for runs in found.values() for seed in runs), default=0)
    own = {name: runs[seed] for name, runs in found.items() if seed in runs}
    data: dict[str, Any] = {}
    for run in own.values():
        for key, value in run.data.items():
            data[key] = {**data[key], **value} if isinstance(value, dict) and key in data else value
    drawing = Drawing(
        _on_host(workspace.digits()[1]),
        lambda name: workspace.model(name, seed)[0].to("numpy"),
        data,
        {name: runs[seed] for name, runs in histories.items() if seed in runs},
    )
    directory = workspace.directory / "figures"
    directory.mkdir(exist_ok=True)
    drawn = []
    for name, planned in FIGURES.items():
        path = directory / f"{name}.png"
        if own.keys() >= set(planned.experiments) and (planned.kept is None or planned.kept in data):
            with rc_context(STYLE):
                figure, caption = planned.draw(drawing)
                save_figure(figure, path)
            drawn.append((planned.title, f"{caption} Seed {seed}." if planned.of_a_seed else caption, path))
        else:
            path.unlink(missing_ok=True)  # of the run that --no-resume cleared
    return drawn


def _on_host(digits: Digits) -> Digits:
    return digits.to("numpy") if not isinstance(digits.x, np.ndarray) else digits


# ---- what figures are made of


def _name(model: str) -> str:
    return NAMES.get(model) or RECIPES[model].what


def _figure(height: float, **layout: Any) -> tuple[Figure, Any]:
    """One graph; `layout` are its edges, as shares of the figure."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(gridspec_kw=layout)


def _line(ax: Any, i: int, x: Any, y: Any, colour: str | None = None, **more: Any) -> dict[str, Any]:
    """Draw the i-th line; returns its colour, dash and marker."""
    style = {"color": colour or COLOURS[i], "linestyle": DASHES[i], "marker": MARKERS[i]}
    ax.plot(x, y, clip_on=False, **style, **more)
    return style


def _note(figure: Figure, text: str, x: float = 0.5) -> None:
    """A line below what is drawn: how its greys are to be read."""
    figure.text(x, 0.03, text, ha="center", fontsize=SMALL)


def _text(number: float) -> str:
    return f"{number:g}".replace("-", "−")


def _label_ends(ax: Any, ends: Iterable[tuple[float, float, str, dict[str, Any]]]) -> None:
    """Write a label for each (x, y, label, style of the line) right of the graph, and lead the line to it.

    The labels are in the order of y, moved apart so far that none covers another. The limits and scales of
    `ax` must be set.
    """
    width, height = ax.get_position().size * ax.figure.get_size_inches()
    line = 1.25 * SMALL / (72 * height)  # of text, as a share of the graph's height
    lead = 1 + 0.18 / width
    to_axes = ax.transScale + ax.transLimits
    points = sorted(((*to_axes.transform(end[:2]), *end[2:]) for end in ends), key=lambda end: -end[1])
    heights = [line * (1 + label.count("\n")) for _, _, label, _ in points]
    middles: list[float] = []
    lowest = 1 + line / 2  # of the labels above: half a line may stand out
    for (_, y, _, _), own in zip(points, heights, strict=True):
        middles.append(min(y, lowest - own / 2))
        lowest = middles[-1] - own / 2
    highest = -line / 2  # of the labels below
    for i in reversed(range(len(points))):
        middles[i] = max(middles[i], highest + heights[i] / 2)
        highest = middles[i] + heights[i] / 2
    for (x, y, label, style), middle in zip(points, middles, strict=True):
        ax.plot([x, lead], [y, middle], transform=ax.transAxes, clip_on=False,
                **{**style, "linewidth": 1, "markersize": 5, "markevery": [1]})  # fmt: skip
        ax.text(lead + 0.1 / width, middle, label, transform=ax.transAxes, va="center", fontsize=SMALL)


def _show(ax: Any, pixels: Any, low: float, high: float) -> None:
    """An image of 28 × 28; what lies outside [low, high] is clipped for display."""
    ax.imshow(np.asarray(pixels).reshape(28, 28), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_edgecolor(GREY)


def _frame(ax: Any, colour: str, width: float = 4) -> None:
    for spine in ax.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(width)


# ---- the paper's figures


def figure_1(_: Drawing) -> tuple[Figure, str]:
    model, panda = network(), read_photo(photos()["panda"])
    with threadpool_limits(1):  # as the photo command does
        clean = model.predict_proba(panda.x)[0]
        own = np.array([clean.argmax()])
        sign, rounded = signs(model, panda.x, own)
        step = take_step(model, panda.x, own, sign, rounded, strength("1/255"), np.random.default_rng(0))
    return photo.figure_1(panda, most_probable(clean), step, sign[0]), (
        "A photo, a step along the sign of the gradient (shown from −1, black, to 1), and the photo after "
        f"it, with what SqueezeNet says of them. {CAUTION}"
    )


def figure_2(drawing: Drawing) -> tuple[Figure, str]:
    model, some = drawing.model("logistic"), drawing.test.sevens_against_threes()[:6]
    rows = {"clean": some.x, f"ε = {EPSILON:g}": fgsm(model, some.x, some.y, epsilon=EPSILON)}
    figure = Figure(figsize=(WIDTH, 3.3))
    grid = figure.add_gridspec(2, 8, left=0.01, right=0.99, top=0.92, bottom=0.14, hspace=0.25, wspace=0.06,
                               width_ratios=(1, 0.35, 1, 1, 1, 1, 1, 1))  # fmt: skip
    weights = model.w.numpy()
    for row, (title, shown) in enumerate({"weights w": weights, "sign(w)": np.sign(weights)}.items()):
        ax = figure.add_subplot(grid[row, 0])
        limit = float(np.abs(shown).max()) or 1.0
        _show(ax, shown, -limit, limit)
        ax.set_title(title, pad=4)
    ax.set_xlabel("white +: 7\nblack −: 3", fontsize=11)
    for row, (title, x) in enumerate(rows.items()):
        for column, (image, label, called) in enumerate(zip(x, some.y, model.predict(x), strict=True)):
            ax = figure.add_subplot(grid[row, column + 2])
            _show(ax, image, -EPSILON, 1 + EPSILON)
            ax.set_title(f"called {7 if called == 1 else 3}", pad=4, fontsize=11)
            if called != label:
                _frame(ax, VERMILLION)
            if not column:
                ax.set_ylabel(title)
    _note(figure, f"black {_text(-EPSILON)}, white {1 + EPSILON:g}: no pixel is clipped", 0.58)
    return figure, (
        "The weights (white: more of a 7, black: more of a 3) and their sign, by which every pixel moves; "
        f"test digits; and the same after a step of ε = {EPSILON:g}. Thick frames: called wrongly."
    )


FILTERS = 36  # of a layer that are shown


def figure_3(drawing: Drawing) -> tuple[Figure, str]:
    models = ("maxout", "adversarial")
    filters = {name: drawing.model(name).hidden[0].W.numpy().T for name in models}
    norms = {name: np.linalg.norm(own, axis=1) for name, own in filters.items()}
    limit = float(np.quantile(np.abs(np.stack(list(filters.values()))), 0.99)) or 1.0
    figure = Figure(figsize=(WIDTH, 4.5))
    edges = {"left": 0, "right": 1, "top": 0.92, "bottom": 0.09, "wspace": 0}
    axes = figure.subplots(1, 2, gridspec_kw=edges)
    for ax, name in zip(axes, models, strict=True):
        by_norm = filters[name][np.argsort(-norms[name], kind="stable")]
        evenly = np.linspace(0, len(by_norm) - 1, FILTERS).round().astype(int)
        ax.imshow(_sheet(by_norm[evenly]), cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_title(f"{_name(name)}, median norm {np.median(norms[name]):.2f}")
        ax.axis("off")
    _note(figure, f"black −{limit:.2g}, white {limit:.2g} in both; greatest norm first")
    return figure, (
        f"{FILTERS} of each network's {len(filters['maxout']):,} filters, from the greatest norm to the "
        "least, in one scale of grey; what is beyond it is clipped for display. The median is of all filters."
    )


def _sheet(filters: Any) -> Any:
    """A square number of filters in one image, with a pixel of NaN around each, which are drawn as nothing.
    (An axis for each would be slow to draw.)"""
    side = int(len(filters) ** 0.5)
    tiles = np.pad(filters.reshape(-1, 28, 28), ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return tiles.reshape(side, side, 30, 30).swapaxes(1, 2).reshape(30 * side, 30 * side)


def figure_4(drawing: Drawing) -> tuple[Figure, str]:
    model, test = drawing.model("maxout"), drawing.test
    shown = 4 if (test.y == 4).any() else int(test.y[0])
    own_class = test[test.y == shown]
    right = own_class[model.predict(own_class.x) == shown]
    x, y = (right if len(right) else own_class)[:1].x, own_class.y[:1]
    direction = np.sign(input_gradient(model, x, y))
    epsilons = np.linspace(-0.5, 0.5, 401, dtype=np.float32)
    steps = np.linspace(-0.5, 0.5, 11, dtype=np.float32)
    with mg.no_grad():
        z = model(x + epsilons[:, None] * direction).numpy()
    leads = z.argmax(1)
    order = [str(label) for label in leads[np.diff(leads, prepend=-1) != 0]]
    winners = list(dict.fromkeys(leads))[: len(COLOURS)]
    figure, ax = _figure(5.2, left=0.1, right=0.86, top=0.98, bottom=0.31)
    ax.set_xlim(-0.55, 0.55)
    ax.set_ylim(z.min() - 2, z.max() + 2)
    ends = []
    for label in range(10):
        if label in winners:
            style = _line(ax, winners.index(label), epsilons, z[:, label], linewidth=2.5, markevery=(20, 60))
        else:
            style = {"color": GREY, "linestyle": "-"}
            ax.plot(epsilons, z[:, label], linewidth=1, **style)
        ends.append((0.5, z[-1, label], f"{label} (true)" if label == shown else f"{label}", style))
    _label_ends(ax, ends)
    ax.axvline(0, color=GREY, linewidth=1, zorder=0)
    ax.set_xticks(steps, [_text(round(float(step), 1)) for step in steps])
    ax.set_ylabel("argument of the softmax")
    colours = {label: COLOURS[i] for i, label in enumerate(winners)}
    images = x + steps[:, None] * direction
    _strip(ax, steps, images, model.predict(images), colours)
    return figure, (
        f"A digit {shown}, moved along the sign of its gradient: plain maxout's arguments of the softmax are "
        f"piecewise linear in ε, of many short pieces. In the lead, and in colour: {', then '.join(order)}; "
        "grey: classes that never lead."
    )


def _strip(ax: Any, at: Any, images: Any, labels: Any, colours: Mapping[int, str]) -> None:
    """Below a graph, an image at each mark of its axis, and what it is called."""
    box, (left, right), tile = ax.get_position(), ax.get_xlim(), 0.92 * (at[1] - at[0])
    width, height = ax.figure.get_size_inches()
    side = tile / (right - left) * box.width * width / height  # as high as wide
    strip = ax.figure.add_axes((box.x0, 0.145, box.width, side))
    strip.axis("off")
    for x, image, label in zip(at, images, labels, strict=True):
        edges = (x - tile / 2, x + tile / 2, 0, 1)
        strip.imshow(image.reshape(28, 28), cmap="gray", vmin=0, vmax=1, extent=edges, aspect="auto",
                     interpolation="nearest")  # fmt: skip
        colour = colours.get(label, GREY)
        strip.add_patch(Rectangle(edges[::2], tile, 1, fill=False, edgecolor=colour, lw=3, clip_on=False))
        strip.text(x, -0.12, f"{label}", ha="center", va="top", color=colour, weight="bold", fontsize=14)
    strip.set_xlim(left, right)
    strip.set_ylim(0, 1)
    middle = box.x0 + box.width / 2
    _note(ax.figure, "ε along sign(∇ₓJ), the images (clipped to [0, 1]), what they are called", middle)


def figure_5(drawing: Drawing) -> tuple[Figure, str]:
    model, targets = drawing.model("maxout"), np.arange(10)
    noise = np.random.default_rng(2014).standard_normal((10, 784)).astype(np.float32)
    made = fgsm(model, noise, targets, epsilon=EPSILON, targeted=True)
    before, after = (model.predict_proba(x)[targets, targets] for x in (noise, made))
    figure = Figure(figsize=(WIDTH, 4.6))
    edges = {"left": 0.01, "right": 0.99, "top": 0.93, "bottom": 0.16, "hspace": 0.42, "wspace": 0.08}
    axes = figure.subplots(2, 5, gridspec_kw=edges)
    for target, ax in enumerate(axes.flat):
        _show(ax, made[target], -3, 3)
        ax.set_title(f"toward {target}", pad=6)
        ax.set_xlabel(f"p = {before[target]:.2f} → {after[target]:.2f}")
        if after[target] > 0.5:
            _frame(ax, ORANGE, 5)
    _note(figure, "black −3 or less, white 3 or more; framed: p > .5 after the step")
    return figure, (
        f"What is no digit is called one: draws of N(0, I) after one step of ε = {EPSILON:g} toward class 0 "
        "to 9, and plain maxout's probability p of that class before and after it. p > .5 in "
        f"{(after > 0.5).sum()} of 10 after the step, in {(before > 0.5).sum()} before. (The paper's figure "
        "5 is of a convolutional network on CIFAR-10; this is maxout on digits.)"
    )


# ---- and the report's own

IN_COLOUR = ("maxout", "adversarial", "pgd", "softmax")  # in the graph over ε, as far as they are there


def error_against_epsilon(drawing: Drawing) -> tuple[Figure, str]:
    curves = drawing.data["error_against_epsilon"]
    shown = [name for name in IN_COLOUR if name in curves] or list(curves)[: len(COLOURS)]
    others = [name for name in curves if name not in shown]
    figure, ax = _figure(4.8, left=0.09, right=0.7, top=0.97, bottom=0.13)
    ax.set_xlim(0, STRENGTHS[-1])
    ax.set_ylim(0, 100)
    ends = []
    for name in others:
        ax.plot(STRENGTHS, curves[name], color=GREY, linewidth=0.8, clip_on=False)
    if others:
        lowest = min(others, key=lambda name: curves[name][-1])
        label = f"{len(others)} other models" if len(others) > 1 else _name(lowest)
        ends.append((STRENGTHS[-1], curves[lowest][-1], label, {"color": GREY}))
    for i, name in enumerate(shown):
        style = _line(ax, i, STRENGTHS, curves[name])
        ends.append((STRENGTHS[-1], curves[name][-1], _name(name), style))
    _label_ends(ax, ends)
    ax.axvline(EPSILON, color=GREY, linewidth=1, zorder=0)
    ax.set_xlabel("ε of FGSM, in pixel values")
    ax.set_ylabel("error [%]")
    pair = " (logistic regression: the threes and sevens)" if "logistic" in curves else ""
    caption = (
        f"FGSM made on each model itself, unclipped, from the test digits{pair}. The line is at the paper's "
        f"ε = {EPSILON:g}."
    )
    trained = [_name(name) for name in ("adversarial", "pgd") if name in shown]
    if trained:
        caption += f" What is {' or '.join(trained)} is maxout, on the adversarial objective."
    if "adversarial" in curves:
        caption += _point_at_dip(ax, curves["adversarial"])
    return figure, caption


DIP = 3.0  # percent by which the error falls, from where that is no chance


def _point_at_dip(ax: Any, errors: list[float]) -> str:
    """Point at where the network that is trained on one step hides its gradient, if it does, and say so."""
    at = STRENGTHS.index(EPSILON)
    top = int(np.argmax(errors[:at]))
    if errors[top] < errors[at] + DIP:
        return ""
    words = EPSILON + 0.013, min(errors[at] + 13, 90)
    ax.annotate("trained here:\ngradient hides", (EPSILON, errors[at]), words,
                va="center", fontsize=SMALL,
                arrowprops={"arrowstyle": "->", "relpos": (0.1, 0), "color": VERMILLION})  # fmt: skip
    return (
        f" The network trained on FGSM errs on {errors[at]:.0f}% at the ε it is trained at, but on "
        f"{errors[top]:.0f}% at ε = {STRENGTHS[top]:g}. A greater ε allows all that a smaller one does: its "
        "gradient hides what is there."
    )


def transfer(drawing: Drawing, key: str) -> tuple[Figure, str]:
    table = drawing.data[key]
    names = [_name(name) for name in table["models"]]
    clean = [table["clean"]] if "clean" in table else []  # a run of older code that is gone on with has none
    errors, rows = np.array([*clean, *table["errors"]]), ["clean digits"] * len(clean) + names
    figure, ax = _heat(errors, rows, names, "examples made on", "tried on")
    ax.axhline(len(clean) - 0.5, color="white", linewidth=5)
    for i in range(len(names)):
        own = Rectangle(
            (i - 0.46, i + len(clean) - 0.46), 0.92, 0.92, fill=False, edgecolor=VERMILLION, lw=2, zorder=3
        )
        ax.add_patch(own)
    others = " and ".join(_name(name) for name in table["models"] if name in ("softmax", "rbf"))
    return figure, (
        "Error in percent of each model on clean digits, and on the examples made on each: FGSM, "
        f"ε = {EPSILON:g}, unclipped, {table['examples']:,} test digits. Framed: made on the model itself. "
        f"All but {others} are maxout networks, named after their training."
    )


def under_every_attack(drawing: Drawing) -> tuple[Figure, str]:
    table = drawing.data["attacks"]
    models = [_name(name) for name in table["models"]]
    errors = np.array(table["errors"])
    figure, _ = _heat(errors, table["attacks"], models, "", "")
    ranges = [f"{name} {e.min():.0f} to {e.max():.0f}%" for name, e in zip(models, errors.T, strict=True)]
    return figure, (
        f"Error in percent on {table['examples']:,} test digits of three maxout networks; ε = {EPSILON:g} "
        f"where no other length is named. From the mildest attack to the worst: {', '.join(ranges)}."
    )


def _heat(errors: Any, rows: list[str], columns: list[str], down: str, across: str) -> tuple[Figure, Any]:
    """A table of errors in percent, coloured from 0, dark, to 100."""
    many = len(columns) > 5
    figure = Figure(figsize=(WIDTH, (2.5 if many else 1.0) + 0.38 * len(rows)), layout="constrained")
    ax = figure.subplots()
    ax.imshow(errors, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(errors.shape):
        ax.text(j, i, f"{errors[i, j]:.{0 if many else 1}f}", ha="center", va="center",
                color="white" if errors[i, j] < 55 else "black")  # fmt: skip
    slant = {"rotation": 60, "ha": "left", "rotation_mode": "anchor"} if many else {}
    ax.set_xticks(range(len(columns)), columns, **slant)
    ax.set_yticks(range(len(rows)), rows)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(across, labelpad=8)
    ax.xaxis.set_label_position("top")
    ax.set_ylabel(down)
    return figure, ax


PERCENT = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # the marks of logarithmic axes


def training_curves(drawing: Drawing) -> tuple[Figure, str]:
    histories = {n: drawing.histories[n] for n in ("maxout", "adversarial", "pgd") if n in drawing.histories}
    # The stronger the attack, the darker.
    kinds = {
        "clean_error": ("clean", SKY),
        "fgsm_error": ("FGSM", BLUE),
        "pgd_error": ("PGD,\n10 steps", BLACK),
    }
    figure = Figure(figsize=(WIDTH, 3.6))
    edges = {"left": 0.09, "right": 0.85, "top": 0.9, "bottom": 0.17, "wspace": 0.12}
    axes = figure.subplots(1, len(histories), sharey=True, squeeze=False, gridspec_kw=edges)[0]
    ends: dict[Any, list[tuple[float, float, str, dict[str, Any]]]] = {ax: [] for ax in axes}
    for ax, (name, history) in zip(axes, histories.items(), strict=True):
        epochs = np.arange(1, len(history["stage"]) + 1)
        errors = {kind: np.maximum(history[kind], PERCENT[0]) for kind in kinds}  # a logarithm has no zero
        ax.set_xlim(0.5, epochs[-1] + 0.5)
        ax.set_yscale("log")
        for i, (kind, (label, colour)) in enumerate(kinds.items()):
            style = _line(ax, i, epochs, errors[kind], colour, markevery=max(1, len(epochs) // 8))
            ends[ax].append((epochs[-1], errors[kind][-1], label, style))
        for stage in np.flatnonzero(np.diff(history["stage"])):
            ax.axvline(stage + 1.5, color=GREY, linestyle=":", linewidth=1)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        ax.set_title(_name(name))
        ax.set_xlabel("epoch")
    first, last = axes[0], axes[-1]
    least = min(ax.dataLim.y0 for ax in axes)
    first.set_yticks(PERCENT, [f"{mark:g}" for mark in PERCENT])  # of all: they share it
    first.minorticks_off()
    first.set_ylim(least / 1.2, 100)
    first.set_ylabel("error on the last digits [%]")
    _label_ends(last, ends[last])
    stages = any(max(history["stage"]) > min(history["stage"]) for history in histories.values())
    seen = " before a dotted line; after it, that network is trained on all" if stages else ""
    least_shown = f" (No error is drawn at {PERCENT[0]:g}%.)" if least <= PERCENT[0] else ""
    return figure, (
        f"Clean, FGSM and PGD error at ε = {EPSILON:g} after every epoch, on the last training images, "
        f"which no step sees{seen}.{least_shown}"
    )


GUESSES = 40  # percent of errors between two classes, from where a model has learned nothing


def penalties(drawing: Drawing) -> tuple[Figure, str]:
    data = drawing.data["penalties"]
    figure, ax = _figure(4.8, left=0.09, right=0.97, top=0.97, bottom=0.13)
    # ε is a length in pixel values and λ a weight of ‖w‖₁: not one axis, but a number at each point.
    kinds = {
        "adversarial": ("ε", "trained on the worst case at ε", {"xytext": (6, 3), "ha": "left"}),
        "L1 decay": ("λ", "trained with λ‖w‖₁, L1 decay", {"xytext": (-4, -13), "ha": "right"}),
    }
    learned = {kind: np.array(data[kind]["test"]) < GUESSES for kind in kinds}
    points = []
    for i, (kind, (letter, label, place)) in enumerate(kinds.items()):
        clean, fgsm = np.maximum(data[kind]["test"], PERCENT[0]), np.array(data[kind]["fgsm"])
        own = learned[kind]
        style = _line(ax, i, clean[own], fgsm[own], label=label)
        ax.plot(clean[~own], fgsm[~own], **{**style, "linestyle": ""})
        for coefficient, *at, learns in zip(data["coefficients"], clean, fgsm, own, strict=True):
            text = f"{letter}={coefficient:g}{'' if learns else ': guesses'}"
            points.append((at, text, {"color": style["color"], **place}))
    ax.set_xscale("log")
    ax.set_xticks(PERCENT, [f"{mark:g}" for mark in PERCENT])
    ax.minorticks_off()
    ax.set_xlim(ax.dataLim.x0 / 1.4, 100)
    ax.set_ylim(0, 105)
    labelled = np.full(2, -np.inf)
    for at, text, place in reversed(points):
        shown = ax.transData.transform(at)
        if np.abs(shown - labelled).max() > 20:  # else it would cover the label before
            ax.annotate(text, at, textcoords="offset points", fontsize=SMALL, **place)
            labelled = shown
    ax.set_xlabel("error on clean digits [%]")
    ax.set_ylabel(f"error under FGSM, ε = {EPSILON:g} [%]")
    ax.text(0.02, 0.04, "↙ better", transform=ax.transAxes)
    ax.legend(frameon=False, loc="center right")
    return figure, _compared(data, learned)


def _compared(data: Any, learned: Mapping[str, Any]) -> str:
    """The caption: what both do at the greatest coefficient at which both learn, and where one does not."""
    said = [
        "Logistic regression, 3 against 7. ε, a length in pixel values, and λ, a weight in the cost, are "
        "different things, even where their numbers are equal."
    ]
    for i in np.flatnonzero(learned["adversarial"] & learned["L1 decay"])[-1:]:
        worst, decay = (f"{data[kind]['test'][i]:.1f}% and {data[kind]['fgsm'][i]:.1f}%" for kind in learned)
        said.append(
            f"At {data['coefficients'][i]:g} of each, training on the worst case leaves an error of {worst} "
            f"on clean digits and on FGSM's, L1 decay one of {decay}."
        )
    for kind, letter in (("adversarial", "ε"), ("L1 decay", "λ")):
        for i in np.flatnonzero(~learned[kind]):
            coefficient, error = data["coefficients"][i], data[kind]["training"][i]
            said.append(f"At {letter} = {coefficient:g} the model guesses: {error:.1f}% training error.")
    return " ".join(said)


FIGURES = {
    # Its network was trained by others.
    "figure1": Planned("Figure 1: one grey level", figure_1, ("photo",), of_a_seed=False),
    "figure2": Planned("Figure 2: logistic regression, 3 against 7", figure_2, ("logistic",)),
    "figure3": Planned("Figure 3: first-layer filters", figure_3, ("maxout", "adversarial")),
    "figure4": Planned("Figure 4: the arguments of the softmax along ε", figure_4, ("maxout",)),
    "figure5": Planned("Figure 5: rubbish that fools", figure_5, ("maxout",)),
    "error_against_epsilon": Planned("Error against ε", error_against_epsilon, kept="error_against_epsilon"),
    "transfer": Planned("Transfer between models", partial(transfer, key="transfer"), kept="transfer"),
    "transfer_all": Planned(
        "Transfer between all models", partial(transfer, key="transfer_all"), kept="transfer_all"
    ),
    "training": Planned("Training curves", training_curves, ("maxout", "adversarial")),
    "penalties": Planned("Adversarial training against L1 weight decay", penalties, kept="penalties"),
    "attacks": Planned("Every attack on three networks", under_every_attack, kept="attacks"),
}
