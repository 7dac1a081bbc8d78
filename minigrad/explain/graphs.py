"""The recorded graph of a computation, to be looked at: as text, as a picture, and for Graphviz."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from minigrad import backend
from minigrad.checks import check_count, check_tensor, printable, shown
from minigrad.errors import ArgumentError, ArgumentTypeError, GraphError
from minigrad.modes import Setting
from minigrad.modules import Module
from minigrad.tensor import Tensor

FEW_ELEMENTS = 4  # of which the values are shown
MOST_RESULTS = 60  # a graph with more is folded


@dataclass
class Node:
    """A Tensor, or an array that an operation was given; or several results, folded into one.

    kind     "result", "leaf", "constant" (requires no gradient), or "folded"
    title    the name that it was given, or what made it
    made_by  of a result the primitive and its options
    call     the same with its arguments, by their numbers
    facts    shape, dtype, and the values where they are few
    group    the Module that it belongs to, by name; "" for none
    """

    number: int
    kind: str
    title: str
    made_by: str = ""
    call: str = ""
    facts: list[str] = field(default_factory=list)
    group: str = ""
    tensor: Any = field(default=None, repr=False)
    array: Any = field(default=None, repr=False)  # of a constant that is no Tensor


@dataclass(frozen=True)
class Edge:
    """From an argument to a result. carries: whether a gradient goes back along it; uses: how many times the
    result has the argument."""

    start: int
    end: int
    carries: bool
    uses: int = 1


@dataclass(frozen=True)
class Graph:
    """What `graph` returns. Results stand in the order of their making, each leaf before its first use; so
    every edge leads to a later node."""

    nodes: list[Node]
    edges: list[Edge]
    note: str = ""  # what was folded
    hidden: list[Any] = field(default_factory=list, repr=False)  # the Tensors that were

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """A line for each node: number, name, the call that made it, shape, dtype and values."""
        width = max(len(str(node.number)) for node in self.nodes)
        lines = [self.note] if self.note else []
        for node in self.nodes:
            name = f"{node.title} = " if node.call and node.title != node.made_by else ""
            words = f"{name}{node.call}" if node.call else f"{node.title}, {node.kind}"
            group = f"  [{node.group}]" if node.group else ""
            lines.append(f"#{node.number:<{width}}  {words:<40}  {', '.join(node.facts)}{group}")
        return "\n".join(lines)

    def dot(self) -> str:
        """The graph in Graphviz's language. (Its `dot` may take very long from some hundred results on.)"""
        lines = ["digraph {", "  node [shape=box, fontname=sans-serif];"]
        if self.note:
            lines.append(f"  label={_quoted(self.note)};")
        for node in self.nodes:
            style = {"leaf": "filled", "constant": "dashed"}.get(node.kind, "rounded")
            label = "\n".join([node.title, *node.facts])
            lines.append(f"  n{node.number} [label={_quoted(label)}, style={style}];")
        for edge in self.edges:
            arrow = f"  n{edge.start} -> n{edge.end}{'' if edge.carries else ' [style=dashed]'};"
            lines += [arrow] * edge.uses
        return "\n".join([*lines, "}"])

    def svg(self) -> str:
        """A picture that needs nothing else: the leaves above, the output below."""
        from minigrad.explain.drawing import drawn

        return drawn(self)

    def _repr_svg_(self) -> str:
        return self.svg()


def graph(
    output: Tensor, names: Module | Mapping[str, Any] | None = None, most: int | None = MOST_RESULTS
) -> Graph:
    """The recorded graph that `output` was computed by: `.text()`, `.svg()` and `.dot()` show it.

    names  what Tensors are called: a Module, for its Parameters, or a dict of names, and of Tensors or
           Modules
    most   of results, how many nodes there may be: if there are more results, the middle ones are folded into
           one node, with the leaves that they alone use. None for all

    GraphError if output has no graph, or its graph was used up; ArgumentTypeError or ArgumentError, naming
    the argument, for names that are none and for `most` below 2.
    """
    check_tensor("output", output)
    if output.made_by is None:
        raise GraphError("output must be computed from a Tensor that requires a gradient: it has no graph")
    most = None if most is None else check_count("most", most, low=2)
    called = names_by_id(names)
    members = list(_members(output))
    results = [member for member in members if _is_result(member)]
    hidden: list[Any] = []
    if most is not None and len(results) > most:
        tail = max((most - 1) // 2, 1)
        hidden = results[most - 1 - tail : len(results) - tail]
    folded = set(map(id, hidden))
    folded |= {id(m) for m in members if not _is_result(m)} - {
        id(argument) for y in results if id(y) not in folded for argument, _ in _arguments(y)
    }
    numbers: dict[int, int] = {}
    nodes: list[Node] = []
    for member in members:
        if id(member) not in folded:
            numbers[id(member)] = len(nodes)
            nodes.append(_node(len(nodes), member, called))
        elif member is hidden[-1]:  # what they were computed from stands before
            numbers |= dict.fromkeys(folded, len(nodes))
            nodes.append(_folded(len(nodes), hidden, len(folded) - len(hidden)))
    uses: Counter[tuple[int, int]] = Counter()
    carrying = set()
    for y in results:
        for argument, carries in _arguments(y):
            ends = numbers.get(id(argument), -1), numbers[id(y)]
            if ends[0] >= 0 and ends[0] != ends[1]:
                uses[ends] += 1
                carrying |= {ends} if carries else set()
    edges = [
        Edge(
            start, end, (start, end) in carrying, 1 if "folded" in (nodes[start].kind, nodes[end].kind) else n
        )
        for (start, end), n in uses.items()
    ]
    for y in results:
        if id(y) not in folded:
            node = nodes[numbers[id(y)]]
            node.group = node.group or _group_of(y, called)
            node.call = _call(y, numbers)
    note = (
        f"{len(hidden)} of {len(results)} results are folded into one: most=None shows all" if hidden else ""
    )
    leaves = [m for m in members if id(m) in folded and isinstance(m, Tensor) and m.made_by is None]
    return Graph(nodes, edges, note, hidden + leaves)


def numbers_of(drawn: Graph) -> dict[Tensor, int]:
    """The number of the node that stands for each Tensor."""
    numbers = {node.tensor: node.number for node in drawn.nodes if node.tensor is not None}
    folded = next((node.number for node in drawn.nodes if node.kind == "folded"), 0)
    return numbers | dict.fromkeys(drawn.hidden, folded)


def all_numbers_of(drawn: Graph) -> Iterator[tuple[Any, int]]:
    """Each Tensor and array with the number of the node that stands for it."""
    yield from numbers_of(drawn).items()
    yield from ((node.array, node.number) for node in drawn.nodes if node.array is not None)


def titles(drawn: Graph) -> dict[Tensor, str]:
    """What each Tensor is called in a sentence: its number in the graph, and its name or the call."""
    words = {node.number: f"#{node.number} {node.title}" for node in drawn.nodes}
    found = {tensor: words[number] for tensor, number in numbers_of(drawn).items()}
    return found | {y: f"{found[y]} ({y.made_by.name})" for y in drawn.hidden if y.made_by}


def names_by_id(names: Any) -> dict[int, str]:
    """The names of Tensors, by the Tensors' ids; ArgumentTypeError if they are no names."""
    if names is None:
        return {}
    if isinstance(names, Module):
        names = names.named_parameters()
    if not isinstance(names, Mapping):
        raise ArgumentTypeError(f"names must be a Module or a dict of names and Tensors, got {shown(names)}")
    tensors: dict[str, Any] = {}
    for name, member in names.items():
        if isinstance(member, Module):
            found = {f"{name}.{own}": parameter for own, parameter in member.named_parameters().items()}
        else:
            check_tensor(f"names[{name!r}]", member)
            found = {name: member}
        if twice := found.keys() & tensors.keys():
            raise ArgumentError(f"names must be different, got {min(twice)!r} twice")
        tensors |= found
    return {id(tensor): printable(str(name)) for name, tensor in tensors.items()}


def _is_result(member: Any) -> bool:
    return isinstance(member, Tensor) and member.made_by is not None


def _members(output: Tensor) -> Iterator[Any]:
    """Every Tensor and array that output depends on: results by their ages, each other one before its first
    use."""
    results, stack = {id(output): output}, [output]
    while stack:
        y = stack.pop()
        if y.arguments is None:
            raise GraphError(
                "this graph was differentiated before, and was freed: look at it first, or pass "
                "retain_graph=True"
            )
        for argument, _ in _arguments(y):
            if _is_result(argument) and id(argument) not in results:
                results[id(argument)] = argument
                stack.append(argument)
    given: set[int] = set()
    for y in sorted(results.values(), key=attrgetter("age")):
        for argument, _ in _arguments(y):
            if not _is_result(argument) and id(argument) not in given:
                given.add(id(argument))
                yield argument
        yield y


def _arguments(y: Tensor) -> Iterator[tuple[Any, bool]]:
    """(the Tensors and arrays that y was computed from, whether a gradient goes back to each)."""
    for position, argument in enumerate(y.arguments):
        if isinstance(argument, Tensor):
            with Setting(recording=False):  # as in a pass over arrays: a remainder has other rules in others
                carries = argument.requires_grad and y.made_by.vjps[position] is not None
            yield argument, carries
        elif backend.find(argument) is not None and argument.ndim:
            yield argument, False


def _node(number: int, member: Any, called: dict[int, str]) -> Node:
    name = called.get(id(member), "")
    group = name.rpartition(".")[0]
    if not isinstance(member, Tensor):
        return Node(number, "constant", name or "array", facts=_facts(member), array=member)
    facts = _facts(member.data)
    if member.made_by is not None:
        options = [_literal(a) for a in member.arguments if _literal(a)] + _options(member)
        made_by = f"{member.made_by.name}({', '.join(options)})" if options else member.made_by.name
        return Node(number, "result", name or made_by, made_by, "", facts, group, member)
    if member.requires_grad and member.grad is not None and member.size <= FEW_ELEMENTS:
        facts.append(f"grad {shown_values(member.grad)}")
    kind = "leaf" if member.requires_grad else "constant"
    return Node(number, kind, name or "Tensor", facts=facts, group=group, tensor=member)


def _facts(array: Any) -> list[str]:
    facts = [f"{array.shape} {array.dtype}" if array.shape else str(array.dtype)]
    if array.size <= FEW_ELEMENTS:
        facts.append(shown_values(array))
    return facts


def shown_values(array: Any) -> str:
    """The values with four digits, as nested lists; of many elements the shape, and bounds."""
    if array.size > FEW_ELEMENTS:
        greatest = float(backend.of(array).xp.abs(array).max())
        return f"{array.shape} {array.dtype}, between ±{greatest:.4g}"
    values = backend.to_numpy(array).tolist()
    return _listed(values) if isinstance(values, list) else _number(values)


def _listed(values: list[Any]) -> str:
    return f"[{', '.join(_listed(v) if isinstance(v, list) else _number(v) for v in values)}]"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _short(value)


def _options(y: Tensor) -> list[str]:
    return [f"{name}={_short(value)}" for name, value in y.options.items()]


def _call(y: Tensor, numbers: dict[int, int]) -> str:
    """The call that made y, with the numbers of its arguments."""
    arguments = [f"#{numbers[id(a)]}" if id(a) in numbers else _literal(a) for a in y.arguments]
    return f"{y.made_by.name}({', '.join([*arguments, *_options(y)])})"


def _literal(argument: Any) -> str:
    """A number, or the one of an array without dimensions; "" for a Tensor and other arrays."""
    if isinstance(argument, (bool, int, float)):
        return _number(argument)
    if not isinstance(argument, Tensor) and backend.find(argument) is not None and argument.ndim == 0:
        return _number(argument.item())
    return ""


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _group_of(y: Tensor, called: dict[int, str]) -> str:
    """The Module whose Parameters a result was computed with, if it is one."""
    groups = {called[id(a)].rpartition(".")[0] for a in y.arguments if id(a) in called} - {""}
    return groups.pop() if len(groups) == 1 else ""


def _folded(number: int, hidden: list[Any], given: int) -> Node:
    made = Counter(y.made_by.name for y in hidden)
    counts = [f"{count} × {name}" for name, count in made.most_common(FEW_ELEMENTS)]
    if len(made) > FEW_ELEMENTS:
        counts.append(f"and {len(made) - FEW_ELEMENTS} more kinds")
    title = f"{len(hidden)} results" + (f" and {given} given" if given else "")
    return Node(number, "folded", title, facts=counts)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
