"""Looking at the engine: graphs, walkthroughs and rules show what is, all of it, and change nothing."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ElementTree
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from attacks import adversarial_objective
from minigrad import lanes
from minigrad.errors import ArgumentError, ArgumentTypeError, GraphError
from minigrad.explain.drawing import FILLS
from minigrad.explain.layout import BOX_HEIGHT, GAP, LAYER_HEIGHT, laid_out
from minigrad.explain.sources import source_of
from minigrad.testing import networks
from models import MaxoutNetwork
from tests.mutation import primitives


def example() -> tuple[mg.Tensor, dict[str, mg.Tensor]]:
    """That of engine.py's first page: x = 3, y = x x, J = x y."""
    x = mg.Tensor(3.0, requires_grad=True)
    y = x * x
    J = x * y
    return J, {"x": x, "y": y, "J": J}


def objective() -> tuple[mg.Tensor, MaxoutNetwork]:
    model = MaxoutNetwork(6, 3, units=(4, 4), pieces=2)
    x = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    return adversarial_objective(model, x, np.array([0, 1, 2, 0, 1])), model


def chain(length: int) -> mg.Tensor:
    w = mg.Tensor(np.ones(3), requires_grad=True)
    t = w
    for _ in range(length):
        t = mg.tanh(t * w)
    return mg.sum(t)


class TestRules:
    @pytest.mark.parametrize("primitive", primitives(), ids=lambda primitive: primitive.name)
    def test_of_every_primitive_are_what_stands_in_its_file(self, primitive: Any) -> None:
        found = mg.rules(primitive)
        assert found.derivatives
        sources = [found.forward, *(source for _, source in found.derivatives if source is not None)]
        for source in sources:
            lines = (Path(mg.__file__).parents[1] / source.file).read_text().splitlines()
            first = source.text.splitlines()[0]
            assert first in lines[source.line - 1] or first.startswith("@")
            ast.parse(source.text)

    def test_on_one_line_are_told_apart(self) -> None:
        # fmt: off
        some = (lambda g, y, x: g * 2), (lambda g, y, x: g * 3), (lambda g, x: g), (lambda g, y, x: [g, y][0])
        # fmt: on
        assert [source_of(rule).text for rule in some] == [
            "lambda g, y, x: g * 2",
            "lambda g, y, x: g * 3",
            "lambda g, x: g",
            "lambda g, y, x: [g, y][0]",
        ]  # fmt: skip

    def test_of_partial_functions_and_objects(self) -> None:
        class Scaling:
            def __call__(self, g: Any, y: Any, x: Any) -> Any:
                return g * 2.0

        def scaled(factor: float, g: Any, y: Any, x: Any) -> Any:
            return g * factor

        assert source_of(partial(scaled, 2.0)).text.startswith("def scaled(")
        assert source_of(Scaling()).text.startswith("def __call__(")

    def test_of_a_file_that_is_no_python_or_was_changed(self, tmp_path: Path) -> None:
        for text, name in (
            ("# a page\n\nno Python here\n", "page.md"),
            ("def other(g):\n    return g\n", "own.py"),
        ):
            (tmp_path / name).write_text(text)
            names: dict[str, Any] = {}
            exec(compile("def rule(g, y, x):\n    return g\n", str(tmp_path / name), "exec"), names)
            assert source_of(names["rule"]).text == "rule(g, y, x)"

    def test_are_shown_with_their_arguments(self) -> None:
        shown = str(mg.rules(mg.multiply))
        assert "share of x, minigrad/operations/elementwise.py:" in shown
        assert "    lambda g, z, x, y: g * y" in shown
        assert "share of condition: it has no derivative" in str(mg.rules(mg.where))

    def test_bring_the_private_functions_that_they_call(self) -> None:
        assert [helper.name for helper in mg.rules(mg.tanh).helpers] == ["_tanh_slope"]
        (slope,) = mg.rules(mg.tanh).helpers
        assert "tanh(x) * y" in slope.derivatives[0][1].text  # type: ignore[union-attr]
        text = str(mg.rules(mg.softmax_cross_entropy))
        assert "lambda g, cost, z, labels: _cross_entropy_slope(z, labels) * g[..., None]" in text
        assert text.count("def _cross_entropy_slope(") == 1
        assert mg.rules(mg.exp).helpers == ()

    def test_of_what_has_none(self) -> None:
        assert mg.rules(mg.softmax_cross_entropy).derivatives == ()
        with pytest.raises(
            ArgumentTypeError, match="got a Tensor: the primitive that made it is its made_by"
        ):
            mg.rules(mg.exp(mg.Tensor(1.0)))
        with pytest.raises(ArgumentTypeError, match="operation must be a primitive or a function, got 3"):
            mg.rules(3)

    def test_of_code_without_a_file(self) -> None:
        names: dict[str, Any] = {}
        exec("rule = lambda g, y, x: g", names)
        assert source_of(names["rule"]).text == "<lambda>(g, y, x)"
        assert source_of(len).line == 0


class TestGraph:
    def test_as_text(self) -> None:
        J, names = example()
        lines = [" ".join(line.split()) for line in mg.graph(J, names).text().splitlines()]
        assert lines == [
            "#0 x, leaf float64, 3",
            "#1 y = multiply(#0, #0) float64, 9",
            "#2 J = multiply(#0, #1) float64, 27",
        ]

    def test_for_graphviz(self) -> None:
        J, names = example()
        text = mg.graph(J, {'an "x"\\': names["x"]}).dot()
        assert r'n0 [label="an \"x\"\\\nfloat64\n3", style=filled];' in text
        assert re.findall(r"n\d -> n\d", text) == ["n0 -> n1", "n0 -> n1", "n0 -> n2", "n1 -> n2"]

    def test_shows_numbers_options_constants_and_grads(self) -> None:
        x, data = mg.Tensor([1.0, 2.0], requires_grad=True), np.ones(2)
        J = mg.sum(mg.where(np.array([True, False]), x * data, 2.0), axis=0)
        J.backward(retain_graph=True)
        text = mg.graph(J).text()
        for words in ("multiply(#0, #1)", "where(#3, #2, 2)", "sum(#4, axis=0, keepdims=False)",
                      "array, constant", "grad [1, 0]"):  # fmt: skip
            assert words in text, words
        carried = {(e.start, e.end): e.carries for e in mg.graph(J).edges}
        assert carried == {(0, 2): True, (1, 2): False, (3, 4): False, (2, 4): True, (4, 5): True}

    def test_of_a_model_has_its_names_and_groups(self) -> None:
        J, model = objective()
        found = mg.graph(J, model)
        titles = {node.title: node for node in found.nodes}
        assert set(model.named_parameters()) <= titles.keys()
        linear = [node.group for node in found.nodes if node.made_by == "linear"]
        assert set(linear) == {"hidden.0", "hidden.1", "output"}
        remainders = [node.number for node in found.nodes if "remainder" in node.made_by]
        assert len(remainders) == (0 if lanes.PLAIN else 1)
        # A gradient goes where the walk hands a share on.
        handed = {
            (share.argument, visit.result)
            for visit in mg.walkthrough(J, model).visits
            for share in visit.shares
        }
        by_number = {node.number: node.tensor for node in found.nodes}
        for edge in found.edges:
            if edge.end in remainders:
                assert edge.carries == ((by_number[edge.start], by_number[edge.end]) in handed)

    def test_names_of_a_model_and_of_an_input(self) -> None:
        model = MaxoutNetwork(3, 2, units=(4,), pieces=2)
        x = mg.Tensor(np.ones((1, 3)), requires_grad=True)
        text = mg.graph(model.cost(x, np.array([0])), {"m": model, "x": x}).text()
        assert re.search(r"#\d+ +m\.hidden\.0\.W, leaf", text)
        assert re.search(r"#\d+ +x, leaf", text)
        assert re.search(
            r"linear\(#0, #1, .*\[m\.hidden\.0\]", text
        )  # though x, its argument, is of no Module

    def test_one_name_twice_is_refused(self) -> None:
        layer, x = mg.Linear(1, 1), mg.Tensor(np.ones((1, 1)), requires_grad=True)
        with pytest.raises(ArgumentError, match="names must be different, got 'a.W' twice"):
            mg.graph(layer(x), {"a": layer, "a.W": x})

    def test_every_edge_leads_to_a_later_node(self) -> None:
        for J in (objective()[0], chain(100)):
            for most in (None, 2, 5, 60):
                found = mg.graph(J, most=most)
                assert [node.number for node in found.nodes] == [*range(len(found.nodes))]
                assert all(edge.start < edge.end for edge in found.edges)

    def test_that_is_large_is_folded_and_says_so(self) -> None:
        J = chain(100)
        found, whole = mg.graph(J), mg.graph(J, most=None)
        assert len(whole.nodes) == 202
        assert whole.note == ""
        assert len(found.nodes) == 61  # 60 for results, and the leaf
        for text in (found.text(), found.dot(), found.svg()):
            assert "142 of 201 results are folded into one: most=None shows all" in text
        (folded,) = (node for node in found.nodes if node.kind == "folded")
        assert folded.facts == ["71 × multiply", "71 × tanh"]
        assert len(mg.graph(chain(60), most=120).nodes) == 121
        leaves = [mg.Tensor(float(i), requires_grad=True) for i in range(100)]
        total = leaves[0]
        for leaf in leaves[1:]:
            total = total * leaf
        (folded,) = (node for node in mg.graph(total, most=3).nodes if node.kind == "folded")
        assert folded.title == "97 results and 97 given"

    def test_what_cannot_be_shown(self) -> None:
        x = mg.Tensor(1.0, requires_grad=True)
        with pytest.raises(GraphError, match="has no graph"):
            mg.graph(x)
        J = x * x
        J.backward()
        with pytest.raises(GraphError, match="was freed"):
            mg.graph(J)
        with pytest.raises(ArgumentTypeError, match="names must be a Module or a dict"):
            mg.graph(x * x, [x])
        with pytest.raises(ArgumentTypeError, match=r"names\['x'\]"):
            mg.graph(x * x, {"x": 3})
        with pytest.raises(ArgumentError, match="most must be"):
            mg.graph(x * x, most=0)

    def test_changes_nothing(self) -> None:
        J, model = objective()
        mg.graph(J, model).svg()
        J.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


class TestPicture:
    def test_is_well_formed_and_asks_for_nothing(self) -> None:
        J, names = example()
        for picture in (mg.graph(J, {"<x> & 'y'": names["x"]}).svg(), mg.graph(*objective())._repr_svg_()):
            root = ElementTree.fromstring(picture)
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert set(re.findall(r"https?://[^\"' ]+", picture)) == {"http://www.w3.org/2000/svg"}
        assert "&lt;x&gt; &amp; " in mg.graph(J, {"<x> & 'y'": names["x"]}).svg()

    def test_of_a_result_that_uses_one_argument_twice_has_two_arrows(self) -> None:
        J, names = example()
        picture = mg.graph(J, names).svg()
        (way,) = re.findall(r'id="e0-1" .*? d="(.*?)"', picture)
        assert way.count("C") == 2
        assert re.search(">#1 y = multiply<", picture)
        x = mg.Tensor(1.0, requires_grad=True)
        picture = mg.graph(mg.stack([x] * 30)).svg()
        (way,) = re.findall(r'id="e0-1" .*? d="(.*?)"', picture)
        assert min(float(number) for number in re.findall(r"M(-?[\d.]+)", way)) >= 0.0

    def test_has_a_box_for_each_node_and_a_line_for_each_edge(self) -> None:
        found = mg.graph(*objective())
        root = ElementTree.fromstring(found.svg())
        ids = {element.get("id") for element in root.iter() if element.get("id")}
        assert {name for name in ids if name[0] == "n"} == {f"n{n.number}" for n in found.nodes}
        assert {name for name in ids if name[0] == "e"} == {f"e{e.start}-{e.end}" for e in found.edges}
        assert {node.kind for node in found.nodes} <= FILLS.keys()

    @given(data=st.data(), count=st.integers(1, 40))
    def test_no_box_lies_on_another_or_on_a_line(self, data: Any, count: int) -> None:
        widths = data.draw(st.lists(st.floats(20, 200), min_size=count, max_size=count))
        ends = [end for end in range(1, count) for _ in range(data.draw(st.integers(0, 3)))]
        edges = {(data.draw(st.integers(0, end - 1)), end) for end in ends}
        found = laid_out(widths, edges)
        rows: dict[int, list[tuple[float, float]]] = {}
        for (node, layer), x in found.x.items():
            half = widths[node] / 2 if layer == found.layers[node] else 0.0
            rows.setdefault(layer, []).append((x - half, x + half))
        for row in rows.values():
            for (_, right), (left, _) in pairwise(sorted(row)):
                assert left - right >= GAP - 1e-6
        assert LAYER_HEIGHT > BOX_HEIGHT
        for start, end in edges:
            assert found.layers[start] < found.layers[end]
            assert found.last_bend(start) >= found.layers[end] - 1
        assert all(0 <= left and right <= found.width for row in rows.values() for left, right in row)


class TestWalkthrough:
    def test_as_a_table(self) -> None:
        J, names = example()
        lines = mg.walkthrough(J, names).table().splitlines()
        assert "      lambda g, z, x, y: g * y" in lines
        place = r"      \(minigrad/operations/elementwise.py:\d+; g = the cotangent, z = #2, x = #0, y = #1\)"
        assert any(re.fullmatch(place, line) for line in lines)
        assert [line for line in lines if not line.startswith("      ")] == [
            "1. visit #2 J: its cotangent is 1",
            "   to #0 x: 9",
            "   to #1 y: 3",
            "2. visit #1 y: its cotangent is 3",
            "   to #0 x: 9; the sum so far 18",
            "   to #0 x: 9; the sum so far 27",
            "gradient in #0 x: 27",
        ]

    def test_says_what_the_names_of_a_rule_stand_for(self) -> None:
        x, y = (mg.Tensor([value], requires_grad=True) for value in (1.0, 2.0))
        table = mg.walkthrough(mg.sum(mg.stack([x, y])), {"x": x, "y": y}).table()
        assert re.search(r"g = the cotangent, y = #2, x = #0, axis = 0\)", table)
        assert re.search(r"g = the cotangent, y = #2, x = #1, axis = 0\)", table)
        table = mg.walkthrough(mg.sum(x * np.ones(1) * 3.0)).table()
        assert "z = #2, x = #0, y = #1)" in table
        assert "z = #3, x = #2, y = 3.0)" in table
        table = mg.walkthrough(mg.einsum("i,i->", x, y)).table()
        assert "arrays = (#0, #1)" in table

    def test_of_leaves_that_are_folded(self) -> None:
        x = mg.Tensor(1.0, requires_grad=True)
        total = x
        for _ in range(200):
            total = total + mg.Tensor(1.0, requires_grad=True)
        walk = mg.walkthrough(total)
        assert "results" in walk.table()
        assert walk.svg(150)

    @given(drawn=networks(), dtype=st.sampled_from([np.float32, np.float64]))
    def test_has_the_plain_cores_gradient_bit_for_bit(self, drawn: Any, dtype: Any) -> None:
        network, arrays = drawn
        leaves = [mg.Tensor(array.astype(dtype), requires_grad=True) for array in arrays]
        with lanes.plain_forms():
            J = mg.sum(mg.tanh(network(*leaves)))
            found = mg.walkthrough(J).gradients
            assert all(leaf.grad is None for leaf in leaves)
            J.backward()
        for leaf in leaves:
            if leaf.grad is None:
                assert leaf not in found
            else:
                assert found[leaf].tobytes() == leaf.grad.tobytes()

    def test_shows_every_visit_and_every_share(self) -> None:
        J, model = objective()
        walk = mg.walkthrough(J, model)
        ages = [visit.result.age for visit in walk.visits]
        assert ages == sorted(ages, reverse=True)
        for visit in walk.visits:
            for share in visit.shares:
                assert share.share.shape == share.argument.shape
        totals = {share.argument: share.total for visit in walk.visits for share in visit.shares}
        for name, parameter in model.named_parameters().items():
            np.testing.assert_array_equal(totals[parameter], walk.gradients[parameter], err_msg=name)

    def test_of_an_output_with_several_elements(self) -> None:
        x = mg.Tensor([1.0, 2.0], requires_grad=True)
        found = mg.walkthrough(x * x, gradient=[1.0, 10.0]).gradients[x]
        assert found.tolist() == [2.0, 40.0]
        with pytest.raises(ArgumentError, match="gradient must be given"):
            mg.walkthrough(x * x)

    def test_marks_the_visit_in_the_picture(self) -> None:
        walk = mg.walkthrough(*example())
        assert walk.marks(0) == {}
        handed = dict.fromkeys(["e0-2", "r0", "e1-2", "r1"], "handed")
        assert walk.marks(1) == {"n2": "here", **handed}
        assert walk.marks(2) == {"n2": "visited", "n1": "here", "e0-1": "handed", "r0": "handed"}
        assert 'id="r0" class="handed edge' in walk.svg(1)
        for step in (-1, 3):
            with pytest.raises(ArgumentError, match="step must be"):
                walk.svg(step)
        assert 'id="n1" class="here node"' in walk.svg(2)
        ElementTree.fromstring(walk.svg(1))

    def test_as_a_page_needs_nothing_else(self) -> None:
        J, names = example()
        page = mg.walkthrough(J, {"</script><b>": names["x"], "y": names["y"]}).html()
        assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
        assert page.count("</script>") == 1
        steps = json.loads(re.search(r"const steps = (.*);\n", page)[1].replace("<\\/", "</"))  # type: ignore[index]
        assert [step["box"] for step in steps] == ["", "n2", "n1"]
        assert steps[1]["edges"] == ["e0-2", "r0", "e1-2", "r1"]
        assert "27" in steps[2]["text"]

    def test_lives_on_after_the_graph_was_used(self) -> None:
        J, names = example()
        walk = mg.walkthrough(J, names)
        J.backward()
        assert "27" in walk.table()
        assert "27" in walk.html()
        assert repr(walk) == "<walkthrough of 2 visits>"

    def test_of_a_leaf_has_nothing_to_show(self) -> None:
        with pytest.raises(GraphError, match="has no graph"):
            mg.walkthrough(mg.Tensor(1.0, requires_grad=True))

    def test_while_nonfinite_numbers_are_looked_for(self) -> None:
        J, names = example()
        with mg.detect_nonfinite():
            assert mg.walkthrough(J, names).gradients[names["x"]].item() == 27.0

    def test_keeps_nothing_of_the_callers(self) -> None:
        x, given = mg.Tensor([1.0, 2.0], requires_grad=True), np.ones(2)
        walk = mg.walkthrough(x * x, gradient=given)
        given[:] = 7.0
        assert walk.visits[0].cotangent.tolist() == [1.0, 1.0]

    def test_of_a_long_chain_is_folded_too(self) -> None:
        walk = mg.walkthrough(chain(100))
        assert len(walk.visits) == 201
        assert "results (tanh)" in walk.table()
        assert "folded" in walk.html()
