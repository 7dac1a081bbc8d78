"""A graph as an SVG picture."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from minigrad.explain.layout import BOX_HEIGHT, LAYER_HEIGHT, Layout, laid_out

if TYPE_CHECKING:
    from minigrad.explain.graphs import Edge, Graph, Node

LETTER, PADDING = 6.6, 10.0  # pixels, at a font size of 11
MOST_LETTERS = 34
USES_APART = 16.0  # the arrows of one argument that is used several times
LEAST_WIDTH = 60.0  # of a box
# Okabe and Ito's colours, which the colour-blind tell apart, lightened.
FILLS = {"leaf": "#CCE3F2", "constant": "#F0F0F0", "result": "#FFFFFF", "folded": "#FFF3D6"}
GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A", "#000000")
STYLE = "".join(
    f".minigrad-graph {rule}"
    for rule in (
        "text{font:11px sans-serif;text-anchor:middle}", ".facts{font-size:9px;fill:#444}",
        ".box{stroke:#333}",
        ".edge{fill:none;stroke:#999;stroke-dasharray:3 3}", ".carries{stroke:#0072B2;stroke-dasharray:none}",
        ".visited .box{fill:#D9F0E3}", ".here .box{fill:#FFD27F;stroke-width:2}",
        ".handed{stroke:#D55E00;stroke-width:3;stroke-dasharray:none}",
    )
)  # fmt: skip


def drawn(graph: Graph, marks: Mapping[str, str] = {}) -> str:
    """The whole picture. Boxes have the id n0, n1, …, and edges the id e0-3. marks: by id, one more class of
    STYLE, such as "visited"."""
    layout = laid_out([_width(node) for node in graph.nodes], [(e.start, e.end) for e in graph.edges])
    groups = {name: GROUPS[i % len(GROUPS)] for i, name in enumerate(_groups(graph))}
    top = 8.0 + 16.0 * (bool(graph.note) + len(groups))
    width = max(
        layout.width, 40 + LETTER * max(map(len, [graph.note, *groups])) if groups or graph.note else 0.0
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{layout.height + top:.0f}" '
        f'viewBox="0 0 {width:.0f} {layout.height + top:.0f}" class="minigrad-graph" role="img" '
        'aria-label="computation graph">',
        f"<style>{STYLE}</style>",
    ]
    for i, line in enumerate([graph.note] * bool(graph.note) + list(groups)):
        colour = groups.get(line, "none")
        parts.append(f'<rect x="8" y="{8 + 16 * i}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="24" y="{17 + 16 * i}" style="text-anchor:start">{escape(line)}</text>')
    parts.append(f'<g transform="translate(0 {top:g})">')
    carrying = {edge.start for edge in graph.edges if edge.carries}
    parts += filter(None, (_rail(layout, node.number, node.number in carrying) for node in graph.nodes))
    parts += [_edge(layout, edge) for edge in graph.edges]
    parts += [_box(layout, node, groups.get(node.group, "")) for node in graph.nodes]
    picture = "\n".join([*parts, "</g>", "</svg>"])
    for name, mark in marks.items():
        picture = picture.replace(f'id="{name}" class="', f'id="{name}" class="{mark} ')
    return picture


def _groups(graph: Graph) -> list[str]:
    return list(dict.fromkeys(node.group for node in graph.nodes if node.group))


def _lines(node: Node) -> tuple[str, str]:
    title = node.title if node.title == node.made_by or not node.made_by else f"{node.title} = {node.made_by}"
    return _cut(f"#{node.number} {title}"), _cut("  ".join(node.facts))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _width(node: Node) -> float:
    return max(2 * PADDING + LETTER * max(map(len, _lines(node))), LEAST_WIDTH)


def _box(layout: Layout, node: Node, colour: str) -> str:
    width, middle = _width(node), layout.x[node.number, layout.layers[node.number]]
    left, top = middle - width / 2, layout.top(node.number)
    title, facts = map(escape, _lines(node))
    place = f'x="{left:.1f}" y="{top:.0f}" height="{BOX_HEIGHT:.0f}"'
    bar = f'<rect {place} width="4" fill="{colour}"/>' if colour else ""
    whole = escape(" ".join([node.title, node.made_by, *node.facts]))
    return (
        f'<g id="n{node.number}" class="node"><title>{whole}</title>'
        f'<rect class="box" {place} width="{width:.1f}" rx="4" fill="{FILLS[node.kind]}"/>{bar}'
        f'<text x="{middle:.1f}" y="{top + 16:.0f}">{title}</text>'
        f'<text class="facts" x="{middle:.1f}" y="{top + 31:.0f}">{facts}</text></g>'
    )


def _rail(layout: Layout, start: int, carries: bool) -> str:
    """What the edges of a node share: the way between the boxes of the layers that they skip. "" if none."""
    first, last = layout.layers[start], layout.last_bend(start)
    path = [f"M{_leaving(layout, start, first)}"]
    for layer in range(first + 1, last + 1):
        x = layout.x[start, layer]
        path.append(
            _curve(layout.x[start, layer - 1], x, layer) + f"V{layer * LAYER_HEIGHT + BOX_HEIGHT:.0f}"
        )
    return f'<path id="r{start}" class="{_kind(carries)}" d="{"".join(path)}"/>' if last > first else ""


def _edge(layout: Layout, edge: Edge) -> str:
    """From the layer above the result to its box: an arrow for each use."""
    layer = layout.layers[edge.end]
    start, end, top = layout.x[edge.start, layer - 1], layout.x[edge.end, layer], layer * LAYER_HEIGHT
    apart = min(USES_APART, (LEAST_WIDTH - 2 * PADDING) / edge.uses)
    way = ""
    for use in range(edge.uses):
        x = end + apart * (use - (edge.uses - 1) / 2)
        way += f"M{_leaving(layout, edge.start, layer - 1)}" + _curve(start, x, layer)
        way += f"M{x - 3:.1f} {top - 6:.0f}L{x:.1f} {top:.0f}L{x + 3:.1f} {top - 6:.0f}"
    return f'<path id="e{edge.start}-{edge.end}" class="{_kind(edge.carries)}" d="{way}"/>'


def _kind(carries: bool) -> str:
    return "edge carries" if carries else "edge"


def _leaving(layout: Layout, node: int, layer: int) -> str:
    """Where the edges of a node leave a layer: under its box, or their bend."""
    return f"{layout.x[node, layer]:.1f} {layer * LAYER_HEIGHT + BOX_HEIGHT:.0f}"


def _curve(start: float, end: float, layer: int) -> str:
    """From one layer to the next, in the gap between them."""
    top = layer * LAYER_HEIGHT
    middle = top - (LAYER_HEIGHT - BOX_HEIGHT) / 2
    return f"C{start:.1f} {middle:.0f} {end:.1f} {middle:.0f} {end:.1f} {top:.0f}"
