"""Looking at what the engine does: the recorded graph, the backward pass visit by visit, and the rules as
they stand in the source. Nothing in the engine knows of it.

    graphs     what was recorded: nodes, edges, as text, SVG and for Graphviz
    layout     where the nodes are drawn
    drawing    the SVG
    walk       the backward pass, visit by visit
    page       the same as a page with buttons
    sources    forward and rules as source text
"""

from minigrad.explain.graphs import Graph, graph
from minigrad.explain.sources import Rules, rules
from minigrad.explain.walk import Walkthrough, walkthrough

__all__ = ["Graph", "Rules", "Walkthrough", "graph", "rules", "walkthrough"]
