"""The paper's figure 1: a photo, one step along the sign of the gradient, and what a network trained on
ImageNet makes of it. The network is SqueezeNet 1.1, where the paper has GoogLeNet."""

from __future__ import annotations

import argparse
import functools
import shlex
import textwrap
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from matplotlib.figure import Figure
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.output import check_writable_directory, save_figure, terminal, write_json
from benchmarks.photo_study import DRAWS, Named, Step, Strength, Study, strength, study_photo
from benchmarks.photos import (
    CAUTION,
    UNITS,
    Photo,
    class_names,
    class_number,
    most_probable,
    network,
    photos,
    read_photo,
)
from benchmarks.processes import parallel
from benchmarks.speed.conditions import environment
from minigrad.checks import check_count
from minigrad.errors import ArgumentError

KINDS = ("png", "pdf")  # of figures: for the screen and for print


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photo", nargs="+", metavar="FILE",
                        help="photos of your own, of which the middle is taken "
                        "(default: the 16 of this repository)")  # fmt: skip
    parser.add_argument("--epsilon", nargs="+", type=strength, metavar="E",
                        default=[strength("1/255"), strength(".007")],
                        help="sizes of the step in pixel values from 0 to 1; 1/255 is one grey level of an "
                        "8-bit image (default: 1/255 .007)")  # fmt: skip
    parser.add_argument("--target", default="gibbon", metavar="NAME",
                        help="the class to step towards (default: %(default)s)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=10, metavar="N",
                        help="number of smaller steps towards it, together within the first ε "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", default="results/photo", metavar="DIR",
                        help="where photo.json and the figures go; those of a run before are written over "
                        "(default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Read every photo, then look at each, draw, print and write."""
    check_count("--steps", options.steps)
    target = class_number("--target", options.target)
    epsilons = list({epsilon.value: epsilon for epsilon in options.epsilon}.values())
    paths = options.photo or photos().values()
    given = distinct([read_photo(path) for path in paths])
    directory = Path(check_writable_directory("--out", options.out))
    # Without --photo only the panda is drawn: a figure takes half as long as the rest.
    figures = [directory / photo.name for photo in (given if options.photo else given[:1])]
    files = [path.with_name(f"{path.name}.{kind}") for path in figures for kind in KINDS]
    files.append(directory / "photo.json")
    if taken := [path for path in files if path.exists() and not path.is_file()]:
        raise ArgumentError(f"--out must have room for {taken[0].name}, but that is no file in {directory}")
    console = terminal(130)
    pieces = [
        (photo, i, epsilons, target, options.steps, figures[i] if i < len(figures) else None)
        for i, photo in enumerate(given)
    ]
    found = parallel(cpu_count(), study_and_draw, pieces, in_order=True)
    studies = list(track(found, "photos", len(given), console=console, transient=True,
                         disable=not console.is_terminal))  # fmt: skip
    black = most_probable(network().predict_proba(np.zeros_like(given[0].x))[0])
    write_json(directory / "photo.json", {
        "command": command(options), "units": UNITS, "caution": CAUTION, "target": class_names()[target],
        "steps": options.steps, "black": black, "photos": [asdict(study) for study in studies],
        "environment": environment(),
    })  # fmt: skip
    for study in studies:
        console.print(photo_table(study))
    console.print(table_of_steps(studies, black))
    console.print(table_of_targets(studies, class_names()[target], options.steps))
    for path in files:
        console.print(f"{path}", soft_wrap=True)


def study_and_draw(
    photo: Photo, seed: int, epsilons: list[Strength], target: int, steps: int, path: Path | None
) -> Study:
    """Study a photo, and draw its figure into files of this name if there is one. What a process does, in one
    thread: the last digits depend on how many there are."""
    with threadpool_limits(1):
        study, sign = study_photo(photo, *networks(), epsilons, target, steps, seed)
    if path is not None:
        figure = figure_1(photo, study.clean, study.steps[0], sign)
        for kind in KINDS:
            save_figure(figure, path.with_name(f"{path.name}.{kind}"))
    return study


@functools.cache
def networks() -> tuple[Any, Any]:
    """The network in float32 and in float64, read once in a process."""
    return network(), network(np.float64)


def command(options: argparse.Namespace) -> str:
    """What to type for the same figures."""
    chosen = ["--photo", *options.photo] if options.photo else []
    return shlex.join([
        "python", "-m", "benchmarks", "photo", *chosen, "--epsilon", *(e.typed for e in options.epsilon),
        f"--target={options.target}", "--steps", str(options.steps), f"--out={options.out}",
    ])  # fmt: skip


def distinct(given: list[Photo]) -> list[Photo]:
    """The photos with a number after each name that another has before it."""
    found: dict[str, Photo] = {}
    for photo in given:
        name, number = photo.name, 2
        while name in found:
            name, number = f"{photo.name}-{number}", number + 1
        found[name] = replace(photo, name=name)
    return list(found.values())


# ---- tables


def photo_table(study: Study) -> Table:
    """The five most probable classes of a photo, of each step alone, and after it."""
    table = Table(title=f"{study.name}: {study.preparation}; the five most probable classes in percent",
                  title_justify="left")  # fmt: skip
    columns = {"clean": study.clean}
    for step in study.steps:
        columns[f"the step alone, on black, ε = {step.epsilon.typed}"] = step.on_black
        columns[f"after the step, ε = {step.epsilon.typed}"] = step.after
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*(top_class([cell]) for cell in cells))
    return table


def table_of_steps(studies: list[Study], black: Named) -> Table:
    """What each photo is called before and after each step, and what must not be taken from it."""
    epsilons = [step.epsilon for step in studies[0].steps]
    notes = [
        *(counts(studies, i) for i in range(len(epsilons))),
        f"Black alone is {top_class(black)}: what a step alone is called, on black, says little of it.",
        UNITS,
        CAUTION,
    ]
    table = Table(title="SqueezeNet 1.1: the most probable class in percent", caption="\n".join(notes))
    headings = [f"after ε = {epsilon}" for epsilon in epsilons]
    for heading in ("photo", "clean", *headings, f"ε = {epsilons[0].typed}, in whole grey levels"):
        table.add_column(heading, overflow="fold")
    for study in studies:
        after = [step.after for step in study.steps]
        table.add_row(study.name, *map(top_class, (study.clean, *after, study.steps[0].rounded_to_8_bits)))
    return table


def counts(studies: list[Study], i: int) -> str:
    """How many photos change their class at the i-th ε, and how many draws of random signs change it."""
    steps = [study.steps[i] for study in studies]
    fooled = sum(study.clean[0][0] != step.after[0][0] for study, step in zip(studies, steps, strict=True))
    changes, least = sum(step.random_changes for step in steps), min(step.random_least for step in steps)
    return (
        f"ε = {steps[0].epsilon}: the gradient's sign changes the class of {fooled} of {len(steps)}; random "
        f"signs change it in {changes} of {DRAWS * len(steps)} draws, and leave it {least:.1f}% or more."
    )


def table_of_targets(studies: list[Study], target: str, steps: int) -> Table:
    """Steps towards a class, and what softmax − 1 in float32 does to the gradient."""
    epsilon = studies[0].steps[0].epsilon
    table = Table(
        title=f"Towards {target}, and gradients that round; ε = {epsilon}",
        caption=f"The {steps} steps are kept in [0, 1]. Wrong signs: percent of those of the input gradient, "
        "against float64. Softmax − 1: the same where the gradient of the logits is made as softmax − 1 in "
        "float32, which loses its digits if the network is sure; and what a step along that gradient does.",
    )
    several = f"{steps} step{'' if steps == 1 else 's'} to {target}"
    for heading in ("photo", f"one step to {target}", several, "wrong signs", "softmax − 1", "its step"):
        right = heading in ("wrong signs", "softmax − 1")
        table.add_column(heading, overflow="fold", justify="right" if right else "left")
    for study in studies:
        wrong = (f"{study.wrong_signs[key]:.3f}" for key in ("ours", "softmax_minus_1"))
        one, several_steps = top_class(study.one_step), top_class(study.several_steps)
        table.add_row(study.name, one, several_steps, *wrong, top_class(study.steps[0].softmax_minus_1))
    return table


def top_class(named: Named) -> str:
    """The most probable class and its probability."""
    (name, percent), *_ = named
    return f"{name} {percent:.1f}"


# ---- the figure


def figure_1(photo: Photo, clean: Named, step: Step, sign: np.ndarray) -> Figure:
    """Photo + ε · sign = photo, as in the paper, each with what the network says of it."""
    after = (photo.x[0] + np.float32(step.epsilon.value) * sign).clip(0, 1)
    figure = Figure(figsize=(8, 5.6))
    grid = figure.add_gridspec(2, 5, left=0.01, right=0.99, top=0.95, bottom=0.18, hspace=0.36, wspace=0.02,
                               width_ratios=(1, 0.48, 1, 0.16, 1), height_ratios=(1, 0.48))  # fmt: skip
    for column, text in ((1, f"+ {step.epsilon.typed} ×"), (3, "=")):
        ax = figure.add_subplot(grid[0, column])
        ax.axis("off")
        ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)
    parts = (
        (0, photo.x[0], "x", clean),
        (2, (sign + 1) / 2, "sign(∇ₓJ(θ, x, y))", step.on_black),
        (4, after, "x + ε sign(∇ₓJ(θ, x, y))", step.after),
    )
    for column, image, title, named in parts:
        ax = figure.add_subplot(grid[0, column])
        ax.imshow(image, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_title(title, fontsize=12)
        name, percent = named[0]
        ax.set_xlabel(f"“{shortened(name)}”\n{percent:.1f}% confidence", fontsize=13)
        bars(figure.add_subplot(grid[1, column]), named)
    figure.text(0.5, 0.015, in_words(photo, step), ha="center", fontsize=10)
    return figure


def bars(ax: Any, named: Named) -> None:
    """The most probable classes, as bars with their names."""
    for row, (name, percent) in enumerate(named):
        ax.barh(row, percent, color="#56B4E9" if row else "#E69F00", height=0.8)
        ax.text(1, row, f"{shortened(name)} {percent:.1f}", va="center", fontsize=11)
    ax.set_xlim(0, 100)
    ax.set_ylim(len(named) - 0.5, -0.5)
    ax.axis("off")


def shortened(name: str) -> str:
    """As much of a class's name as fits below its photo."""
    return textwrap.shorten(name, 24, placeholder="…")


def in_words(photo: Photo, step: Step) -> str:
    kept = step.random_draws - step.random_changes
    return textwrap.fill(
        f"SqueezeNet 1.1, ε = {step.epsilon}. Below, the five most probable classes in percent; in the "
        "middle those of ε · sign alone, on black. Random signs of the same size leave the class as it is in "
        f"{kept} of {step.random_draws} draws. In whole grey levels: {top_class(step.rounded_to_8_bits)}%. "
        f"Photo: {photo.preparation}.",
        100,
    )
