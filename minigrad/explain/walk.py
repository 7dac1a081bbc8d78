"""The backward pass, visit by visit: what each rule was given, what it returned, and the sums so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minigrad.engine import Sums, differentiate
from minigrad.explain.graphs import Graph, graph, names_by_id, numbers_of, shown_values, titles
from minigrad.explain.sources import Source, source_of
from minigrad.modules import Module
from minigrad.primitives import Rule, share_of
from minigrad.tensor import Tensor


@dataclass(frozen=True)
class Share:
    """What an argument of a result got: share = rule(g, …), and total, the sum of its shares so far."""

    argument: Tensor
    position: int  # among the result's arguments, from 0
    rule: Source
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
        self.visits[-1].shares.append(Share(x, position, source_of(rule), share, self.sums[x]))


@dataclass(frozen=True)
class Walkthrough:
    """What `walkthrough` returns: the visits in their order, and the leaves' gradients at the end."""

    output: Tensor
    visits: list[Visit]
    gradients: dict[Tensor, Any]
    names: Module | Mapping[str, Tensor] | None

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A paragraph for each visit: the result and its cotangent, then each share, the sum so far, and the
        rule. Results have the numbers that they have in `graph`."""
        names = titles(self.graph())
        parts = []
        for number, visit in enumerate(self.visits, start=1):
            parts.append(
                f"{number}. visit {names[visit.result]}: its cotangent is {shown_values(visit.cotangent)}"
            )
            for share in visit.shares:
                so_far = "" if share.total is share.share else f"; the sum so far {shown_values(share.total)}"
                parts.append(
                    f"   to {names[share.argument]}: {shown_values(share.share)}{so_far}\n"
                    f"      {share.rule.text.splitlines()[0]}  ({share.rule.place})"
                )
        for leaf, gradient in self.gradients.items():
            parts.append(f"gradient in {names.get(leaf, 'a leaf')}: {shown_values(gradient)}")
        return "\n".join(parts)

    def svg(self, step: int) -> str:
        """The graph after so many visits: visited results are filled, and the visit's edges drawn thick."""
        from minigrad.explain.drawing import drawn

        return drawn(self.graph(), self.marks(step))

    def html(self) -> str:
        """One page that needs nothing else, with buttons for a step, back, and play."""
        from minigrad.explain.page import page_of

        return page_of(self)

    def marks(self, step: int) -> dict[str, str]:
        """By the ids of boxes and edges in the picture, what is marked after so many visits: "visited" and
        "here" for results, "handed" for the edges of the last one."""
        numbers, found = numbers_of(self.graph()), {}
        for number, visit in enumerate(self.visits[:step], start=1):
            found[f"n{numbers[visit.result]}"] = "here" if number == step else "visited"
        if 0 < step <= len(self.visits):
            visit = self.visits[step - 1]
            for share in visit.shares:
                found[f"e{numbers[share.argument]}-{numbers[visit.result]}"] = "handed"
        return found

    def graph(self) -> Graph:
        """The graph that was walked through."""
        return graph(self.output, self.names)


def walkthrough(
    output: Tensor, names: Module | Mapping[str, Tensor] | None = None, gradient: Any = None
) -> Walkthrough:
    """The backward pass from `output`, visit by visit, in the plain core. The graph stays as it is, and no
    grad is read or written.

    names     what Tensors are called, as for `graph`
    gradient  the cotangent of output; may be left out for a single element

    Raises as `backward` does.
    """
    names_by_id(names)  # which is needed later
    made: list[RecordedSums] = []

    def sums_of(asked: Iterable[Tensor]) -> RecordedSums:
        made.append(RecordedSums(asked))
        return made[0]

    found = differentiate(output, gradient, None, retain_graph=True, sums_of_arrays=sums_of)
    return Walkthrough(output, made[0].visits, {leaf: g.data for leaf, g in found.items()}, names)
