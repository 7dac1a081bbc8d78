"""The backward pass, visit by visit: what each rule was given, what it returned, and the sums so far."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from minigrad import backend
from minigrad.checks import check_count, shown
from minigrad.engine import Sums, cotangent_of, differentiate
from minigrad.errors import ArgumentError
from minigrad.explain.graphs import Graph, all_numbers_of, graph, numbers_of, shown_values, titles
from minigrad.explain.sources import Source, source_of
from minigrad.modes import Setting
from minigrad.modules import Module
from minigrad.operations import copy
from minigrad.primitives import Rule, share_of
from minigrad.tensor import Tensor


@dataclass(frozen=True)
class Share:
    """What an argument of a result got: share = rule(g, …), and total, the sum of its shares so far. `given`
    has what the rule's parameters after g stand for, by their names: the result, and its arguments."""

    argument: Tensor
    position: int  # among the result's arguments, from 0
    rule: Source
    given: dict[str, Any]
    share: Any
    total: Any


@dataclass(frozen=True)
class Visit:
    """A result, its complete cotangent, and the shares that it handed on."""

    result: Tensor
    cotangent: Any
    shares: list[Share]


class RecordedSums(Sums):
    """The plain sums of a backward pass, which also write down what the walk reports."""

    def __init__(self, asked: Iterable[Tensor] = ()) -> None:
        super().__init__(asked)
        self.visits: list[Visit] = []

    def take(self, y: Tensor) -> Any:
        g = super().take(y)
        if g is not None:
            self.visits.append(Visit(y, g, []))
        return g

    def hand_on(self, g: Any, y: Tensor, position: int, rule: Rule, x: Tensor) -> None:
        share = share_of(y, position, rule, g)
        self.add(x, share)
        given = given_to(rule, y, x)
        self.visits[-1].shares.append(Share(x, position, source_of(rule), given, share, self.sums[x]))


def given_to(rule: Any, y: Tensor, x: Tensor) -> dict[str, Any]:
    """What the names of a rule's parameters after g stand for, at the visit of y that hands x its share."""
    arguments = y.arguments if y.made_by.sees_others else (x,)
    try:
        bound = inspect.signature(rule).bind(None, y, *arguments, **y.options).arguments
    except (TypeError, ValueError):  # a function without a signature
        return {}
    return dict(list(bound.items())[1:])


@dataclass(frozen=True, repr=False)
class Walkthrough:
    """What `walkthrough` returns: the visits in their order, the leaves' gradients at the end, and the graph
    that was walked through. `.table()`, `.svg(step)` and `.html()` show it."""

    visits: list[Visit]
    gradients: dict[Tensor, Any]
    graph: Graph

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<walkthrough of {len(self.visits)} visits>"

    def table(self) -> str:
        """A paragraph for each visit: the result and its cotangent, then each share, the sum so far, and the
        rule. Results have the numbers that they have in the graph."""
        names, parts = titles(self.graph), []
        for number, visit in enumerate(self.visits, start=1):
            cotangent = shown_values(visit.cotangent)
            parts.append(f"{number}. visit {names[visit.result]}: its cotangent is {cotangent}")
            for share in visit.shares:
                so_far = "" if share.total is share.share else f"; the sum so far {shown_values(share.total)}"
                parts.append(f"   to {names[share.argument]}: {shown_values(share.share)}{so_far}")
                parts.append(textwrap.indent(share.rule.text, "      "))
                parts.append(f"      ({share.rule.place}; {self.meaning(share)})")
        for leaf, gradient in self.gradients.items():
            parts.append(f"gradient in {names[leaf]}: {shown_values(gradient)}")
        return "\n".join(parts)

    def meaning(self, share: Share) -> str:
        """What the names in the text of a rule stand for: numbers of the graph, or numbers themselves."""
        known = [f"{name} = {said}" for name, value in share.given.items() if (said := self._said(value))]
        return ", ".join(["g = the cotangent", *known])

    def _said(self, value: Any) -> str:
        """A Tensor or an array by its number in the graph, several in parentheses; "" for anything else."""
        if isinstance(value, tuple) and value and all(isinstance(part, Tensor) for part in value):
            return f"({', '.join(map(self._said, value))})"
        number = self._numbers.get(id(value))
        if number is not None:
            return f"#{number}"
        return "" if isinstance(value, Tensor) or backend.find(value) is not None else shown(value)

    @cached_property
    def _numbers(self) -> dict[int, int]:
        """The numbers of Tensors and arrays in the graph, by id."""
        return {id(array): number for array, number in all_numbers_of(self.graph)}

    def svg(self, step: int) -> str:
        """The graph after so many visits: green what was visited before, orange what is visited now, with the
        edges thick along which it hands its shares on."""
        from minigrad.explain.drawing import drawn

        return drawn(self.graph, self.marks(step))

    def html(self) -> str:
        """One page that needs nothing else, with buttons for a step, back, and play."""
        from minigrad.explain.page import page_of

        return page_of(self)

    def marks(self, step: int) -> dict[str, str]:
        """By the ids of boxes and edges in the picture, what is marked after so many visits: "visited" and
        "here" for results, "handed" for the edges of the last one. ArgumentError if visits are fewer."""
        if check_count("step", step, low=0) > len(self.visits):
            raise ArgumentError(f"step must be at most {len(self.visits)}, the number of visits, got {step}")
        places = self.places()[:step]
        marks = {box: "visited" for box, _ in places}
        for box, edges in places[-1:]:
            marks |= {box: "here"} | dict.fromkeys(edges, "handed")
        return marks

    def places(self) -> list[tuple[str, list[str]]]:
        """(the id of its box, the ids of the edges along which shares went) for each visit, in the picture.
        Of an edge that skips layers, the way that it has in common with others has an id of its own."""
        numbers = numbers_of(self.graph)
        found = []
        for visit in self.visits:
            end = numbers[visit.result]
            starts = dict.fromkeys(numbers[share.argument] for share in visit.shares)
            found.append((f"n{end}", [name for start in starts for name in (f"e{start}-{end}", f"r{start}")]))
        return found


def walkthrough(
    output: Tensor, names: Module | Mapping[str, Any] | None = None, gradient: Any = None
) -> Walkthrough:
    """The backward pass from `output`, visit by visit, in the plain core: `.table()` is it as text, `.svg(3)`
    the picture of the third visit, `.html()` a page with buttons. The graph stays as it is, and no grad is
    read or written.

    names     what Tensors are called, as for `graph`
    gradient  the cotangent of output; may be left out for a single element

    Raises as `graph` and `backward` do.
    """
    picture = graph(output, names)
    seed = copy(cotangent_of(output, gradient))  # which the caller may write to later
    made: list[RecordedSums] = []

    def sums_of(asked: Iterable[Tensor]) -> RecordedSums:
        made.append(RecordedSums(asked))
        return made[0]

    with Setting(detecting_nonfinite=False):  # which needs a pass over Tensors
        found = differentiate(output, seed, None, retain_graph=True, sums_of_arrays=sums_of)
    return Walkthrough(made[0].visits, {leaf: g.data for leaf, g in found.items()}, picture)
