"""Where the nodes of a graph are drawn: in layers, arguments above results.

Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", 1981, in a
small form. A node's layer is one below the lowest of its arguments. An edge that skips layers gets a *bend*
in each of them, which takes a place as a node does, so that no box covers it; the edges of one node share
their bends. Within a layer the places are in the order of the mean place of their neighbours, above and
below in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP, BEND_WIDTH, BOX_HEIGHT, LAYER_HEIGHT = 24.0, 12.0, 40.0, 72.0
SWEEPS = 4

Place = tuple[int, int]  # (node, layer): the node itself in its own layer, a bend of its edges below


@dataclass(frozen=True)
class Layout:
    """Of the whole drawing; `top` has the other coordinate of a node."""

    x: Mapping[Place, float]  # the middle of each place
    layers: Mapping[int, int]  # of the nodes
    width: float
    height: float

    def top(self, node: int) -> float:
        """Where a node's box begins."""
        return self.layers[node] * LAYER_HEIGHT

    def last_bend(self, node: int) -> int:
        """The last layer in which the edges of a node have a bend; its own if they have none."""
        layer = self.layers[node]
        while (node, layer + 1) in self.x:
            layer += 1
        return layer


def laid_out(widths: Sequence[float], edges: Iterable[tuple[int, int]]) -> Layout:
    """The layout of nodes of these widths. Each edge (start, end) has start < end."""
    arguments: list[list[int]] = [[] for _ in widths]
    users: list[list[int]] = [[] for _ in widths]
    for start, end in edges:
        arguments[end].append(start)
        users[start].append(end)
    layers = layers_of(arguments, users)
    rows: list[list[Place]] = [[] for _ in range(max(layers, default=-1) + 1)]
    above: dict[Place, list[Place]] = {}
    below: dict[Place, list[Place]] = {}
    for node, layer in enumerate(layers):
        last = max([layers[user] for user in users[node]], default=layer)
        for at in range(layer, max(last, layer + 1)):
            rows[at].append((node, at))
            if at > layer:
                above[node, at] = [(node, at - 1)]
        above[node, layer] = [(a, layer - 1) for a in arguments[node]]
    for place, places in above.items():
        for other in places:
            below.setdefault(other, []).append(place)
    for sweep in range(SWEEPS):
        order(rows, above if sweep % 2 == 0 else below, downwards=sweep % 2 == 0)
    own = {(node, layers[node]): width for node, width in enumerate(widths)}
    x = positions(rows, above, below, own)
    right = max((x[place] + own.get(place, BEND_WIDTH) / 2 for row in rows for place in row), default=0.0)
    return Layout(x, dict(enumerate(layers)), right + GAP, len(rows) * LAYER_HEIGHT)


def layers_of(arguments: list[list[int]], users: list[list[int]]) -> list[int]:
    """One below the lowest argument; what has none stands just above its first user."""
    layers = [0] * len(arguments)
    for node, own in enumerate(arguments):
        layers[node] = max([layers[a] + 1 for a in own], default=0)
    for node, own in enumerate(arguments):
        if not own and users[node]:
            layers[node] = max(min(layers[user] for user in users[node]) - 1, 0)
    return layers


def order(rows: list[list[Place]], neighbours: Mapping[Place, list[Place]], downwards: bool) -> None:
    """Sort each row by the mean index of the neighbours in the row before."""
    index = {place: i for row in rows for i, place in enumerate(row)}
    for row in rows if downwards else reversed(rows):
        mean = {}
        for place in row:
            others = neighbours.get(place)
            mean[place] = sum(index[o] for o in others) / len(others) if others else float(index[place])
        row.sort(key=mean.__getitem__)
        for i, place in enumerate(row):
            index[place] = i


def positions(
    rows: list[list[Place]],
    above: Mapping[Place, list[Place]],
    below: Mapping[Place, list[Place]],
    widths: Mapping[Place, float],
) -> dict[Place, float]:
    """The middle of each place: near the mean of its neighbours, with a gap to those beside it."""
    x: dict[Place, float] = {}
    for row in rows:
        at = GAP
        for place in row:
            width = widths.get(place, BEND_WIDTH)
            x[place] = at + width / 2
            at += width + GAP
    for neighbours, in_turn in ((above, rows), (below, rows[::-1]), (above, rows)):
        for row in in_turn:
            wished = []
            for place in row:
                others = neighbours.get(place)
                wished.append(sum(x[o] for o in others) / len(others) if others else x[place])
            half = [widths.get(place, BEND_WIDTH) / 2 for place in row]
            for place, at in zip(row, spread(wished, half), strict=True):
                x[place] = at
    least = min((at - widths.get(place, BEND_WIDTH) / 2 for place, at in x.items()), default=0.0)
    return {place: at - least + GAP for place, at in x.items()}


def spread(wished: list[float], half: list[float]) -> list[float]:
    """Middles with a gap between boxes of these half widths, in their order, and near what is wished: boxes
    that touch stand at the mean of their wishes."""
    blocks: list[tuple[float, int]] = []  # (the sum of the wishes, how many they are)
    offsets = [0.0]
    for left, right in pairwise(half):
        offsets.append(offsets[-1] + left + right + GAP)
    for wish, offset in zip(wished, offsets, strict=True):
        total, count = wish - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before, number = blocks.pop()
            total, count = total + before, count + number
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
