"""What the plots share: panels two a row, bars or dots with quartiles and their value, and a line below that
tells what they were measured with.

They are as wide as a page shows them, so that letters stay as large as they are. What is minigrad's is blue,
which is dark where colours are seen as greys; what it is compared with is light grey.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.output import significant

WIDTH, DPI = 6.5, 200  # inches, and dots of each
LETTERS = 18  # of the line below, in an inch
OURS, OTHERS, WARNING = "#0072B2", "#BDBDBD", "#A83C00"
BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
VERSIONS = ("numpy", "cupy", "torch", "jax", "autograd", "mygrad")

Quartiles = tuple[float, float, float]  # lower quartile, median, upper quartile


def quartiles(ratio: Mapping[str, float]) -> Quartiles:
    return ratio["lower_quartile"], ratio["median"], ratio["upper_quartile"]


def panels(number: int, height: float, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """So many axes, each row of them so many inches high."""
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(WIDTH, rows * height + 0.8), layout="constrained")
    axes = [figure.add_subplot(rows, columns, 1 + place) for place in range(number)]
    return figure, axes


def bars(
    ax: Axes,
    lengths: Mapping[str, Quartiles],
    values: Mapping[str, str],
    label: str,
    title: str = "",
    target: float | None = None,
) -> None:
    """A bar from 0 for each name, with its quartiles and, at its end, its value in words; a dashed line at
    what is to be reached."""
    compared = any(map(is_ours, lengths))
    for row, (name, length) in enumerate(lengths.items()):
        ax.barh(row, length[1], 0.72, color=OTHERS if compared and not is_ours(name) else OURS)
        _whisker(ax, row, length, values[name], beyond=target or 0.0)
    if target is not None:
        ax.axvline(target, color=WARNING, linestyle="--", linewidth=1)
        label = f"{label} (dashed: to reach, ≤ {target:g})"
    ax.set_xlim(left=0)
    _rows(ax, [*lengths], label, title)


def dots(
    ax: Axes,
    ratios: Mapping[str, Quartiles],
    values: Mapping[str, str],
    label: str,
    targets: Mapping[str, float] | None = None,
) -> None:
    """A dot for each ratio, with its quartiles and its value in words, beside a line at 1: what counts is
    how far it is from there. A dashed line for what is to be reached."""
    ax.axvline(1.0, color="black", linewidth=1)
    for row, (name, ratio) in enumerate(ratios.items()):
        ax.plot(ratio[1], row, "o", color=OURS, markersize=6)
        _whisker(ax, row, ratio, values[name])
        if targets:
            ax.plot([targets[name]] * 2, [row - 0.35, row + 0.35], color=WARNING, linestyle="--")
    ax.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    ax.set_axisbelow(True)
    _rows(ax, [*ratios], label, "")


def beside(works: Iterable[Mapping[str, Any]], ours: str, label: str, digits: int = 2) -> Figure:
    """The ratio of each work, and the milliseconds of the contender `ours`; its target if it has one."""
    by_name = {work["what"]: work for work in works}
    figure, (ax,) = panels(1, 0.3 + 0.5 * len(by_name))
    dots(
        ax,
        {what: quartiles(work["ratio"]) for what, work in by_name.items()},
        {what: f"{work['ratio']['median']:.{digits}f}, {significant(1e3 * work['median_seconds'][ours])} ms"
         for what, work in by_name.items()},
        label,
        {what: work["target"] for what, work in by_name.items() if "target" in work},
    )  # fmt: skip
    return figure


def is_ours(name: str) -> bool:
    return name.startswith("minigrad")


def _whisker(ax: Axes, row: int, ratio: Quartiles, value: str, beyond: float = 0.0) -> None:
    low, median, high = ratio
    if low < high:
        ax.errorbar(median, row, xerr=[[median - low], [high - median]], color="#333333", capsize=1.5,
                    elinewidth=0.8)  # fmt: skip
    ax.annotate(value, (max(high, beyond), row), (4, 0), textcoords="offset points", va="center", fontsize=7,
                bbox=BEHIND_TEXT)  # fmt: skip


def _rows(ax: Axes, names: Sequence[str], label: str, title: str) -> None:
    wrapped = [textwrap.fill(name, 30, break_on_hyphens=False) for name in names]
    ax.set_yticks(range(len(names)), wrapped, fontsize=7.5)
    for tick, name in zip(ax.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if is_ours(name) else "normal")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="x", labelsize=7)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(label, fontsize=7.5)
    ax.set_title(title.replace(", ", ",\n", 1), fontsize=8.5, loc="left")


def sign(figure: Figure, content: Mapping[str, Any], remark: str) -> None:
    """Below the plot, what it was measured with; above it `remark`, if the machine was not quiet."""
    letters = int(LETTERS * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(made_with(content), letters), x=0.01, ha="left", fontsize=6.5,
                     color="#444444")  # fmt: skip
    if remark:
        figure.suptitle(textwrap.fill(remark, letters), fontsize=7, color=WARNING)


def made_with(content: Mapping[str, Any]) -> str:
    """Machine, threads, date, commit and versions, in a line; and whether the machine was quiet."""
    found = content["environment"]
    pools = [pool["num_threads"] for pool in found["thread_pools"]]
    threads = content.get("threads") or max(pools, default=1)
    versions = ", ".join(f"{name} {found[name]}" for name in VERSIONS if name in found)
    machine = found["processor"] or found["machine"]
    return "; ".join([
        f"{machine}, {found['processors']} processors, threads: up to {threads}",
        found["date"][:16].replace("T", " ") + " UTC",
        f"minigrad {found['minigrad']}{' (plain core)' if found['plain'] else ''}, "
        f"commit {found['commit'] or 'unknown'}",
        f"Python {found['python']}, {versions}",
        "machine perhaps not quiet" if content["conditions"]["disturbances"] else "machine quiet",
    ])  # fmt: skip
