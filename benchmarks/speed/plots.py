"""Bars with quartiles, one group a work, one bar a contender."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

# Okabe and Ito's colours, and hatches that tell them apart in grey.
STYLES = (("#0072B2", ""), ("#E69F00", "//"), ("#009E73", ".."), ("#CC79A7", "xx"), ("#D55E00", "--"),
          ("#999999", "oo"))  # fmt: skip


def quartiles(ratio: Mapping[str, float]) -> tuple[float, float, float]:
    return ratio["lower_quartile"], ratio["median"], ratio["upper_quartile"]


def bars(
    groups: Mapping[str, Mapping[str, tuple[float, float, float]]],
    label: str,
    targets: Mapping[str, float] | None = None,
) -> Figure:
    """(lower quartile, median, upper quartile) of each contender of each work, along an axis named
    `label`; a dashed line if a work has a target."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    height = 0.8 / len(names)
    figure = Figure(figsize=(8, 1.0 + (0.35 + 0.2 * len(names)) * len(groups)), layout="constrained")
    ax = figure.subplots()
    for row, (what, group) in enumerate(groups.items()):
        for number, name in enumerate(names):
            if name not in group:
                continue
            low, median, high = group[name]
            colour, hatch = STYLES[number % len(STYLES)]
            ax.barh(row + (number - (len(names) - 1) / 2) * height, median, 0.9 * height, label=name,
                    xerr=[[median - low], [high - median]], capsize=2, color=colour, hatch=hatch,
                    edgecolor="black", linewidth=0.5)  # fmt: skip
        if targets and what in targets:
            ax.plot([targets[what]] * 2, [row - 0.45, row + 0.45], color="#D55E00", linestyle="--")
    ax.set_yticks(range(len(groups)), list(groups))
    ax.invert_yaxis()
    ax.set_xlabel(label)
    if len(names) > 1:
        handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        ax.legend([handles[name] for name in names], names, fontsize=8)
    return figure
