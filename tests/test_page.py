"""The page that `python -m benchmarks tour` makes: what is in it, and what it does in a browser."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

import minigrad as mg
from attacks import basic_iterative, fast_gradient
from benchmarks import mnist, tour
from benchmarks.__main__ import main
from tests.site import elsewhere, launched, why_unopened

EDGES = {"J>logsumexp", "J>z[label]", "logsumexp>z", "z[label]>z", "z>h", "h>a", "a>x"}
NORMS = {"inf": np.inf, "2": 2.0, "1": 1.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page."""
    networks, text = tour.made()
    file = tmp_path_factory.mktemp("tour") / tour.FILE
    file.write_text(text, encoding="utf-8")
    digits = tour.chosen(networks, mnist.load()[1])
    return SimpleNamespace(networks=networks, text=text, file=file, digits=digits)


class TestTheFile:
    def test_one_file_that_needs_nothing_else(self, made: Any) -> None:
        assert made.file.stat().st_size < 250_000
        assert elsewhere(made.file.parent) == []
        assert "http" not in made.text.replace("http://www.w3.org/2000/svg", "")

    def test_the_rules_are_the_engine_s(self, made: Any) -> None:
        rules = tour.rules_of(made.networks[0], made.digits)
        assert rules.keys() == EDGES
        assert "softmax" in rules["logsumexp>z"]["text"]
        assert rules["h>a"]["place"].startswith("minigrad/operations/maxout_units.py:")

    def test_the_weights_are_all_of_the_networks(self, made: Any) -> None:
        for net in made.networks:
            for W in (net.model.hidden[0].W.numpy(), net.model.output.W.numpy()):
                whole, scales = tour.rounded(W)
                np.testing.assert_allclose(whole * scales, W, rtol=1e-14)

    def test_both_networks_know_every_digit(self, made: Any) -> None:
        assert sorted(made.digits.y.tolist()) == sorted([*range(10), *range(10)])
        for net in made.networks:
            np.testing.assert_array_equal(net.model.predict(made.digits.x.astype(np.float64)), made.digits.y)
        plain, adversarial = made.networks
        assert plain.one_step_error > 0.5 > adversarial.one_step_error > adversarial.clean_error

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["tour", "--epochs", "1", "--out", str(tmp_path)])
        said = capsys.readouterr().out
        assert "trained on adversarial examples:" in said
        assert "open it in a browser" in said
        assert (tmp_path / tour.FILE).stat().st_size < 250_000


# ---- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if reason := why_unopened():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = launched(playwright)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, made: Any) -> Iterator[Any]:
    """The page as it opens; errors of its scripts, and requests for anything else, fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(made.file.as_uri()) else None)
    opened.goto(made.file.as_uri())
    yield opened
    context.close()
    assert [url for url in wrong if not url.startswith("data:")] == []


def at(page: Any, made: Any, **state: Any) -> None:
    """Open the address of a state."""
    page.goto(made.file.as_uri() + "#" + "&".join(f"{name}={value}" for name, value in state.items()))
    settled(page)


def settled(page: Any) -> None:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def cost(net: Any, x: np.ndarray, label: int) -> tuple[float, np.ndarray]:
    """J and its gradient in x, by the engine."""
    leaf = mg.Tensor(x[None], requires_grad=True)
    J, _ = tour.cost_of(net.model, leaf, label)
    return J.item(), mg.grad(J, leaf)[0].numpy()[0]


def pictures(made: Any) -> Iterator[tuple[int, np.ndarray, int]]:
    for number, (x, y) in enumerate(zip(made.digits.x, made.digits.y, strict=True)):
        yield number, np.rint(255.0 * x.astype(np.float64)) / 255.0, int(y)


class TestItsNumbers:
    def test_gradients_and_costs_of_all_digits(self, page: Any, made: Any) -> None:
        for which, net in enumerate(made.networks):
            for number, x, label in pictures(made):
                ask = f"[costOf(NETWORKS[{which}], DIGITS[{number}].x, {label}).J.value[0], "
                J, gradient = page.evaluate(
                    f"{ask}gradientOf(NETWORKS[{which}], DIGITS[{number}].x, {label})]"
                )
                expected, own = cost(net, x, label)
                assert J == pytest.approx(expected, rel=1e-9, abs=1e-12)
                np.testing.assert_allclose(gradient, own, rtol=1e-6, atol=1e-6 * np.abs(own).max())

    @pytest.mark.parametrize("clip", [False, True])
    @pytest.mark.parametrize(("norm", "steps"), [("inf", 1), ("inf", 7), ("2", 1), ("2", 4), ("1", 1)])
    def test_attacks(self, page: Any, made: Any, norm: str, steps: int, clip: bool) -> None:
        options = {"epsilon": 0.1 if norm == "inf" else 2.0, "norm": NORMS[norm],
                   "bounds": (0.0, 1.0) if clip else None}  # fmt: skip
        for number, x, label in list(pictures(made))[::3]:
            which = number % 2
            asked = json.dumps({"epsilon": options["epsilon"], "steps": steps, "norm": norm, "clip": clip})
            found = page.evaluate(f"attack(NETWORKS[{which}], DIGITS[{number}].x, {label}, {asked})")
            batch = x[None], np.array([label])
            attack = fast_gradient if steps == 1 else functools.partial(basic_iterative, steps=steps)
            expected = attack(made.networks[which].model, *batch, **options)[0]
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_the_walk_is_the_engine_s(self, page: Any, made: Any) -> None:
        """The same visits and shares, in the same order, with the same numbers."""
        _, x, label = next(pictures(made))
        leaf = mg.Tensor(x[None], requires_grad=True)
        J, names = tour.cost_of(made.networks[0].model, leaf, label)
        own = [
            (names[visit.result], names[share.argument], np.ravel(share.share), np.ravel(share.total))
            for visit in mg.walkthrough(J).visits
            for share in visit.shares
            if share.argument in names
        ]
        found = page.evaluate(
            f"walk(costOf(NETWORKS[0], DIGITS[0].x, {label}).J).shares"
            ".map(s => [s.from.name, s.to.name, s.share, s.sum])"
        )
        assert [row[:2] for row in found] == [list(row[:2]) for row in own]
        for (_, _, share, total), (_, _, own_share, own_total) in zip(found, own, strict=True):
            np.testing.assert_allclose(share, own_share, rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(total, own_total, rtol=1e-6, atol=1e-12)


class TestBugs:
    """Each bug of the walk gives another gradient, and with that another attack."""

    def effects(self, page: Any, made: Any, fault: str) -> list[tuple[float, float]]:
        """For each digit, what J becomes by a step of the right gradient, and of the wrong one."""
        return page.evaluate(
            f"""DIGITS.map(({{x, label}}) => [{{}}, {{{fault}: true}}].map(faults => costOf(NETWORKS[0],
            attack(NETWORKS[0], x, label, {{epsilon: .1, steps: 1, norm: "inf", clip: false}}, faults),
            label).J.value[0]))"""
        )

    def test_what_was_forgotten_makes_the_attack_help(self, page: Any, made: Any) -> None:
        before = [cost(made.networks[0], x, label)[0] for _, x, label in pictures(made)]
        for fault in ("forgetToAdd", "wrongOrder"):
            effects = self.effects(page, made, fault)
            helped = [wrong < J for (_, wrong), J in zip(effects, before, strict=True)]
            assert np.mean(helped) > 0.8
            assert all(right > J for (right, _), J in zip(effects, before, strict=True))

    def test_they_are_the_gradients_of_other_costs(self, page: Any, made: Any) -> None:
        """Of the last share alone; and of the first share four times, once more for each result below z."""
        net = made.networks[0].model
        for number, x, label in pictures(made):
            leaf = mg.Tensor(x[None], requires_grad=True)
            z = net(leaf)
            sum_of_all, own = mg.sum(mg.logsumexp(z, axis=1)), mg.sum(z[:, label])
            expected = {
                "forgetToAdd: true": sum_of_all,
                "wrongOrder: true": 4.0 * sum_of_all - own,
                "forgetToAdd: true, wrongOrder: true": -own,
            }
            for faults, wrong in expected.items():
                found = page.evaluate(f"gradientOf(NETWORKS[0], DIGITS[{number}].x, {label}, {{{faults}}})")
                (gradient,) = mg.grad(wrong, leaf, retain_graph=True)
                np.testing.assert_allclose(found, gradient.numpy()[0], rtol=1e-6, atol=1e-9)

    def test_rounding_takes_the_gradient_of_a_sure_digit(self, page: Any, made: Any) -> None:
        """By the softmax in float32, as NumPy rounds it."""
        net, lost = made.networks[0].model, []
        for number, x, label in pictures(made):
            leaf = mg.Tensor(x[None], requires_grad=True)
            z = net(leaf)
            g = mg.softmax(z.detach(), axis=1).numpy().astype(np.float32).astype(np.float64)
            g[0, label] -= 1.0
            (expected,) = mg.grad(z, leaf, gradient=g)
            found = page.evaluate(f"gradientOf(NETWORKS[0], DIGITS[{number}].x, {label}, {{rounded: true}})")
            np.testing.assert_allclose(found, expected.numpy()[0], rtol=1e-6, atol=1e-12)
            lost.append(g[0, label] == 0.0)
        assert 2 <= sum(lost) < 20


class TestControls:
    def state(self, page: Any) -> Any:
        settled(page)
        return page.evaluate("state")

    def verdict(self, page: Any) -> str:
        settled(page)
        return page.text_content("#verdict")

    def test_by_mouse(self, page: Any, made: Any) -> None:
        first = self.verdict(page)
        page.click("#digits label:nth-of-type(5)")
        assert self.state(page)["digit"] == "4"
        assert self.verdict(page) != first
        page.select_option("[name=model]", "1")
        page.select_option("[name=along]", "random")
        seed = self.state(page)["seed"]
        page.click("#again")
        assert self.state(page)["seed"] == seed + 1
        page.select_option("[name=along]", "gradient")
        page.select_option("[name=norm]", "2")
        page.check("[name=clip]")
        page.fill("[name=epsilon]", "60")
        page.fill("[name=steps]", "5")
        state = self.state(page)
        assert (state["norm"], state["epsilon"], state["steps"], state["clip"]) == ("2", 60, 5, True)
        assert page.text_content("#epsilon-value") == "4.800"
        x = page.evaluate("computed().adversarial")
        assert 0 <= min(x) <= max(x) <= 1

    def test_by_keyboard_alone(self, page: Any, made: Any) -> None:
        page.focus("#digits input")
        page.keyboard.press("ArrowRight")
        assert self.state(page)["digit"] == "1"
        page.focus("[name=epsilon]")
        page.keyboard.press("End")
        assert self.state(page)["epsilon"] == 100
        page.focus("[name=steps]")
        page.keyboard.press("ArrowRight")
        assert self.state(page)["steps"] == 2
        page.focus("[name=forgetToAdd]")
        page.keyboard.press("Space")
        assert self.state(page)["forgetToAdd"] is True
        page.focus("#step")
        page.keyboard.press("Enter")
        assert self.state(page)["at"] == 1
        page.focus("[data-edge='logsumexp>z']")
        page.keyboard.press("Enter")
        settled(page)
        assert page.text_content("#share h3") == "From ln Σ eᶻ to z = h W₂ + b₂"
        focused = page.evaluate("document.activeElement.dataset.edge")
        assert focused == "logsumexp>z"

    # A control, the state in which it does something, the keys on it, and what they make of the state.
    KEYS: ClassVar[list[Any]] = [
        ("[name=digit]:checked", {}, ["ArrowRight"], {"digit": "10"}),
        ("[name=model]", {}, ["t"], {"model": "1"}),
        ("[name=along]", {}, ["b", "b"], {"along": "hand"}),
        ("[name=norm]", {}, ["ArrowDown"], {"norm": "2"}),
        ("[name=epsilon]", {}, ["ArrowRight"], {"epsilon": 21}),
        ("[name=steps]", {}, ["End"], {"steps": 10}),
        ("[name=clip]", {}, ["Space"], {"clip": True}),
        ("[name=label]", {"digit": "own"}, ["7"], {"label": "7"}),
        ("[name=darker]", {"along": "hand"}, ["Space"], {"darker": True}),
        ("#again", {"along": "random"}, ["Enter"], {"seed": 2}),
        ("#clear", {"along": "hand", "strokes": "012"}, ["Enter"], {"strokes": ""}),
        ("[name=forgetToAdd]", {}, ["Space"], {"forgetToAdd": True}),
        ("[name=wrongOrder]", {}, ["Space"], {"wrongOrder": True}),
        ("[name=rounded]", {}, ["Space"], {"rounded": True}),
        ("#step", {}, ["Enter"], {"at": 1}),
        ("#back", {"at": 3}, ["Enter"], {"at": 2}),
        ("#start", {"at": 3}, ["Enter"], {"at": 0}),
        ("[data-edge='h>a']", {}, ["Enter"], {"at": 6}),
        ("[data-edge='h>a']", {}, ["Space"], {"at": 6}),
    ]  # fmt: skip

    @pytest.mark.parametrize(("control", "first", "keys", "then"), KEYS)
    def test_each_by_its_keys(
        self, page: Any, made: Any, control: str, first: Any, keys: list[str], then: Any
    ) -> None:
        at(page, made, **first)
        page.focus(control)
        for key in keys:
            page.keyboard.press(key)
        assert self.state(page).items() >= then.items()

    @pytest.mark.parametrize(("control", "first", "then"), [(c, f, t) for c, f, _, t in KEYS[:-1]])
    def test_each_by_mouse(self, page: Any, made: Any, control: str, first: Any, then: Any) -> None:
        at(page, made, **first)
        if control.startswith("[name=digit"):
            page.click("#digits label:nth-of-type(11)")
        elif control in ("[name=model]", "[name=along]", "[name=norm]", "[name=label]"):
            page.select_option(control, *then.values())
        elif control in ("[name=epsilon]", "[name=steps]"):
            box = page.locator(control).bounding_box()
            page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
            then = {"[name=epsilon]": {"epsilon": 100}, "[name=steps]": {"steps": 10}}[control]
        else:
            page.click(f"{control} .hit" if "edge" in control else control, force="edge" in control)
        assert self.state(page).items() >= then.items()

    def test_each_control_is_reached_with_the_tab_key(self, page: Any) -> None:
        page.evaluate("document.body.focus()")
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(
                "(e => e.name || e.id || e.dataset.edge)(document.activeElement)"
            ))  # fmt: skip
        assert reached >= {"digit", "model", "along", "norm", "epsilon", "steps", "clip", "forgetToAdd",
                           "wrongOrder", "rounded", "step", "start", *EDGES}  # fmt: skip

    def test_a_drawing(self, page: Any) -> None:
        page.check("#digits input[value=own]", force=True)
        settled(page)
        box = page.locator("#x").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.8 * box["height"], steps=20)
        page.mouse.up()
        drawn = np.array(page.evaluate("(show(), computed().x)")).reshape(28, 28)
        assert drawn[8:20, 14].min() == 1.0
        assert drawn[:, :10].max() == 0.0
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)  # fast, in one event
        page.mouse.up()
        page.mouse.move(box["x"] + 1, box["y"] + 1)  # not down any more
        drawn = np.array(page.evaluate("(show(), computed().x)")).reshape(28, 28)
        assert drawn[14, 7:25].min() == 1.0
        assert drawn[0, 0] == 0.0
        before = page.evaluate("state.drawing")
        page.focus("#x")
        for key in [*["ArrowLeft"] * 12, *["ArrowUp"] * 30, "Space"]:  # to the upper edge, and not beyond it
            page.keyboard.press(key)
        drawn = self.state(page)["drawing"]
        assert [i for i, (now, was) in enumerate(zip(drawn, before, strict=True)) if now != was] == [
            1,
            2,
            3,
            30,
        ]
        page.click("#clear")
        assert self.state(page)["drawing"] == ""

    def test_strokes_by_hand(self, page: Any) -> None:
        page.select_option("[name=along]", "hand")
        settled(page)
        page.focus("#adversarial")
        page.keyboard.press("Space")
        page.check("[name=darker]")
        page.focus("#adversarial")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        settled(page)
        away = np.array(page.evaluate("computed().adversarial.map((v, i) => v - computed().x[i])"))
        assert np.flatnonzero(np.abs(away) > 1e-9).tolist() == [14 * 28 + 14, 15 * 28 + 14]
        np.testing.assert_allclose(away[[14 * 28 + 14, 15 * 28 + 14]], [0.1, -0.1])

    def test_random_signs_hardly_move_what_the_gradient_breaks(self, page: Any, made: Any) -> None:
        after = {}
        for along in ("gradient", "random"):
            at(page, made, along=along, digit=1)
            after[along] = page.evaluate("computed().costAt(computed().adversarial)")
        assert after["gradient"] > 3 * after["random"]

    def test_the_curve_touches_its_tangent_if_the_gradient_is_right(self, page: Any, made: Any) -> None:
        for fault, touches in (("none", True), ("forgetToAdd", False), ("wrongOrder", False)):
            at(page, made, digit=1, **{fault: "true"})
            rise, promised = page.evaluate(
                """(() => { const now = computed(), t = 1e-5;
                const moved = now.x.map((v, i) => v + t * now.along[i]);
                return [(now.costAt(moved) - now.costAt(now.x)) / t,
                        now.gradient.reduce((sum, g, i) => sum + g * now.along[i], 0)]; })()"""
            )
            assert (abs(rise - promised) < 1e-2 * abs(promised)) is touches


class TestWhatIsShown:
    """The words, numbers and pictures are those of the digit, the walk and the attack."""

    def probabilities(self, net: Any, x: Any) -> np.ndarray:
        return net.model.predict_proba(np.array(x)[None])[0]

    @staticmethod
    def percent(p: float) -> str:
        return f"{100 * p:.{3 if p > 0.9995 or p < 0.0005 else 1}f}%"

    @pytest.mark.parametrize(
        "state", [{}, {"digit": 4}, {"digit": 7, "model": 1}, {"forgetToAdd": "true"}], ids=str
    )
    def test_the_verdict_and_the_probabilities(self, page: Any, made: Any, state: Any) -> None:
        at(page, made, **state)
        net = made.networks[state.get("model", 0)]
        number = state.get("digit", 9)
        _, x, label = list(pictures(made))[number]
        adversarial = page.evaluate("computed().adversarial")
        before, after = self.probabilities(net, x), self.probabilities(net, adversarial)
        verdict = page.text_content("#verdict")
        assert verdict.startswith(f"x: {before.argmax()} ({self.percent(before.max())}). ")
        word = "It stays" if before.argmax() == after.argmax() else "The network is broken: it says"
        assert f"{word} {after.argmax()} ({self.percent(after.max())})." in verdict
        rows = page.eval_on_selector_all("#probabilities tr", "rows => rows.map(r => r.innerText)")
        for j, row in enumerate(rows):
            assert row.split() == [
                f"{j}{'*' if j == label else ''}", self.percent(before[j]), "→", self.percent(after[j]),
            ]  # fmt: skip
        widths = page.eval_on_selector_all(
            "#probabilities .bar", "bars => bars.map(b => parseFloat(b.style.width))"
        )
        np.testing.assert_allclose(widths, 100 * np.stack([before, after], 1).ravel(), atol=0.01)

    def pixels(self, page: Any, canvas: str) -> np.ndarray:
        data = page.evaluate(f"[...byId('{canvas}').getContext('2d').getImageData(0, 0, 28, 28).data]")
        return np.array(data).reshape(784, 4)[:, :3].astype(int)

    def test_the_pictures(self, page: Any, made: Any) -> None:
        _, x, label = list(pictures(made))[9]
        np.testing.assert_allclose(self.pixels(page, "x"), 255 * (1 - x)[:, None].repeat(3, 1), atol=1)
        _, gradient = cost(made.networks[0], x, label)
        large = np.abs(gradient) > 0.1 * np.abs(gradient).max()
        red, _, blue = self.pixels(page, "gradient").T
        np.testing.assert_array_equal((red > blue)[large], (gradient > 0)[large])
        adversarial = x + 0.1 * np.sign(gradient)
        red, _, blue = self.pixels(page, "adversarial").T
        assert (red > blue)[adversarial > 1.02].all()
        assert (blue > red)[adversarial < -0.02].all()
        assert (red == blue)[(adversarial > 0.02) & (adversarial < 0.98)].all()
        assert page.text_content("#gradient-size") == f"{np.abs(gradient).max():.4g}"

    @pytest.mark.parametrize(
        "state", [{}, {"forgetToAdd": "true"}, {"clip": "true"}, {"norm": 2, "steps": 4}], ids=str
    )
    def test_the_curve_and_its_tangent(self, page: Any, made: Any, state: Any) -> None:
        at(page, made, **state)
        costs, start, slope, most, low, reached = page.evaluate(
            """(() => { const now = computed(), most = MOST[now.norm];
            const costs = Array.from({ length: 41 }, (_, i) => now.costAt(now.moved(most * i / 40)));
            const away = now.moved(1e-6).map((value, i) => 1e6 * (value - now.x[i]));
            const slope = now.gradient.reduce((sum, g, i) => sum + g * away[i], 0);
            return [costs, now.costAt(now.x), slope, most,
                    Math.min(0, ...costs), now.costAt(now.adversarial)]; })()"""
        )
        high = 1.08 * max(*costs, reached, start + slope * most)

        def height(J: Any) -> Any:
            return 180 - 165 * (np.array(J) - low) / (high - low)

        drawn = page.get_attribute("#curve .cost", "d")[1:].split("L")
        points = np.array([point.split() for point in drawn], float)
        np.testing.assert_allclose(
            points[:, 1], 180 - 165 * (np.array(costs) - low) / (high - low), atol=1e-6
        )
        tangent = [float(page.get_attribute("#curve .tangent", name)) for name in ("x1", "y1", "x2", "y2")]
        ends = [start, start + slope * most]
        np.testing.assert_allclose(
            tangent[1::2], [180 - 165 * (J - low) / (high - low) for J in ends], atol=1e-6
        )
        assert tangent[::2] == [50, 390]
        dot = float(page.get_attribute("#curve .reached", "cy"))
        assert dot == pytest.approx(height(reached))
        text = page.text_content("#curve-text")
        assert ("wrong gradient" in text) == ("forgetToAdd" in state)
        assert ("4 steps (the dot)" in text) == ("steps" in state)

    def test_the_share_s_numbers(self, page: Any, made: Any) -> None:
        """Of z's second share: g, the share and the sum are three different things."""
        _, x, label = list(pictures(made))[9]
        at(page, made, at=4)
        p = self.probabilities(made.networks[0], x)
        shown = page.eval_on_selector_all("#share .numbers", "all => all.map(e => e.textContent)")
        numbers = [np.array(text.replace("−", "-").split(), float) for text in shown]
        np.testing.assert_allclose(numbers[0], [1.0])
        np.testing.assert_allclose(numbers[1], p, rtol=1e-2)
        np.testing.assert_allclose(numbers[2], p - (np.arange(10) == label), rtol=1e-2)

    def test_what_it_says_of_bugs(self, page: Any, made: Any) -> None:
        for state, words in (
            ({}, "the gradient is right"),
            ({"forgetToAdd": "true"}, "without the −1 at the label"),
            ({"wrongOrder": "true"}, "softmax(z) counts four times"),
            ({"forgetToAdd": "true", "wrongOrder": "true"}, "Two bugs can hide one another"),
            ({"rounded": "true"}, "has places enough"),
            ({"rounded": "true", "digit": 12}, "it is rounded to 1"),
        ):
            at(page, made, **state)
            said = page.text_content("#fault-text")
            assert words in said
            assert ("along the right gradient" in said) == bool(state)

    def test_two_bugs_hide_one_another(self, page: Any, made: Any) -> None:
        at(page, made, forgetToAdd="true", wrongOrder="true")
        start, reached = page.evaluate(
            "[computed().costAt(computed().x), computed().costAt(computed().adversarial)]"
        )
        assert reached > 10 * start

    def test_strokes_have_the_size_of_a_pixel_in_any_norm(self, page: Any, made: Any) -> None:
        at(page, made, norm=1, along="hand", strokes="01")
        assert page.evaluate("Math.max(...computed().adversarial)") <= 1.1
        assert page.input_value("[name=norm]") == "inf"


class TestTheWalk:
    def test_step_by_step_to_the_gradient(self, page: Any) -> None:
        assert page.get_attribute("#back", "aria-disabled") == "true"
        seen = []
        while page.get_attribute("#step", "aria-disabled") == "false":
            page.click("#step")
            settled(page)
            seen.append(page.text_content("#share h3"))
        assert len(seen) == 7
        assert seen[-1] == "From a = x W₁ + b₁ to x"
        assert page.locator("#graph .edge.handed").count() == 6
        page.focus("#step")
        page.keyboard.press("Enter")  # at the end: nothing, and the focus stays
        settled(page)
        assert page.evaluate("document.activeElement.id") == "step"
        assert page.text_content("#where") == "share 7 of 7"
        page.click("#start")
        settled(page)
        assert page.text_content("#where") == "share 0 of 7"

    def test_an_edge_shows_its_rule_and_numbers(self, page: Any, made: Any) -> None:
        rules = tour.rules_of(made.networks[0], made.digits)
        for edge in sorted(EDGES):
            page.click(f"[data-edge='{edge}'] .hit", force=True)
            settled(page)
            assert page.text_content("#share pre") == rules[edge]["text"]
            assert page.text_content("#share small") == rules[edge]["place"]
            assert page.locator("#share dd").count() == 3

    def test_the_wrong_order_goes_on_twice(self, page: Any) -> None:
        page.check("[name=wrongOrder]")
        settled(page)
        assert page.text_content("#where") == "share 0 of 10"
        assert "softmax(z) counts four times, the −1 once" in page.text_content("#fault-text")


def links() -> list[Any]:
    """The states that the tour's chapters lead to."""
    found = []
    for chapter in sorted((Path(__file__).parents[1] / "docs" / "tour").glob("*.md")):
        targets = re.findall(r'<a href="\.\./tour\.html#([^"]*)">', chapter.read_text(encoding="utf-8"))
        found += [pytest.param(target, id=f"{chapter.stem}: {target}") for target in targets]
    return found


class TestTheTourSLinks:
    def test_there_are_some(self) -> None:
        assert len(links()) >= 10

    @pytest.mark.parametrize("address", links())
    def test_each_opens_its_state(self, page: Any, made: Any, address: str) -> None:
        page.goto(made.file.as_uri() + "#" + address)
        settled(page)
        state, normal = page.evaluate("[state, NORMAL]")
        given = dict(part.split("=") for part in address.split("&"))
        assert given.keys() <= normal.keys()
        assert {name: str(state[name]).lower() for name in given} == {n: v.lower() for n, v in given.items()}

    def says(self, page: Any, made: Any, **state: Any) -> tuple[int, int, float, float]:
        """What the network says of x and of x̃, and J before and after."""
        at(page, made, **state)
        return page.evaluate(
            """(() => { const now = computed(), best = p => p.indexOf(Math.max(...p));
            const { before, after, costAt, x, adversarial } = now;
            return [best(before), best(after), costAt(x), costAt(adversarial)]; })()"""
        )

    def test_they_show_what_the_chapters_say(self, page: Any, made: Any) -> None:
        before, after, _, worse = self.says(page, made, digit=9)
        assert before != after
        for fault in ("forgetToAdd", "wrongOrder"):
            before, after, J, better = self.says(page, made, digit=9, **{fault: "true"})
            assert before == after
            assert better < J
        before, after, _, after_noise = self.says(page, made, digit=9, along="random")
        assert before == after
        assert after_noise < worse / 4
        before, after, *_ = self.says(page, made, digit=12, epsilon=40)
        assert before != after
        before, after, *_ = self.says(page, made, digit=12, epsilon=40, rounded="true")
        assert before == after
        plain = self.says(page, made, digit=7, clip="true")
        assert plain[0] != plain[1]
        for steps in (1, 10):
            trained = self.says(page, made, digit=7, clip="true", model=1, steps=steps)
            assert trained[3] < plain[3] / 3


class TestAddresses:
    STATE = {"digit": "7", "model": "1", "norm": "2", "epsilon": "35", "steps": "3", "clip": "true",
             "rounded": "true", "at": "4"}  # fmt: skip

    def test_an_address_restores_a_state(self, page: Any, made: Any) -> None:
        at(page, made, **self.STATE)
        page.reload()
        settled(page)
        assert page.input_value("[name=model]") == "1"
        assert page.is_checked("[name=rounded]")
        assert page.input_value("[name=epsilon]") == "35"
        assert page.text_content("#where") == "share 4 of 7"
        assert page.is_checked("#digits input[value='7']")

    def test_a_change_is_in_the_address(self, page: Any) -> None:
        page.check("[name=forgetToAdd]")
        page.fill("[name=epsilon]", "33")
        page.wait_for_url("**#epsilon=33&forgetToAdd=true")
        page.uncheck("[name=forgetToAdd]")
        page.fill("[name=epsilon]", "20")
        page.wait_for_url(lambda url: "#" not in url)

    @pytest.mark.parametrize(
        "address",
        ["digit=99", "epsilon=x&steps=-4", "toString=1", f"drawing={2000 * 'f'}&digit=own&label=12",
         "model=<b>&at=1e9", "drawing=zz&digit=own", "nothing=1", "strokes=%00&along=hand"],
    )  # fmt: skip
    def test_one_that_makes_no_sense_opens_all_the_same(self, page: Any, made: Any, address: str) -> None:
        page.goto(made.file.as_uri() + "#" + address)
        page.reload()
        settled(page)
        assert "NaN" not in page.text_content("main")
        state, normal = page.evaluate("[state, NORMAL]")
        assert state.keys() == normal.keys()
        assert len(state["drawing"]) <= 784
        if "epsilon=x" in address:
            assert state["epsilon"] == normal["epsilon"]
        assert "x:" in page.text_content("#verdict")


class TestWhereItIsOpened:
    def test_from_a_server_it_asks_for_itself_alone(self, browser: Any, made: Any) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(made.file.parent))

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            asked: list[str] = []
            opened = browser.new_page()
            opened.on("request", lambda request: asked.append(request.url))
            address = f"http://127.0.0.1:{server.server_port}/{tour.FILE}"
            opened.goto(address)
            opened.check("[name=rounded]")
            settled(opened)
            opened.close()
            assert [url for url in asked if not url.startswith("data:")] == [address]
        finally:
            server.shutdown()
            server.server_close()

    @pytest.mark.parametrize("width", [1280, 390, 320])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_and_can_be_read(self, browser: Any, made: Any, width: int, scheme: Any) -> None:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        opened = context.new_page()
        opened.goto(made.file.as_uri() + "#at=4")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        ground, ink = (
            opened.evaluate(f"getComputedStyle(document.body).{name}")
            for name in ("backgroundColor", "color")
        )
        light = [sum(map(int, colour[4:-1].split(", "))) for colour in (ground, ink)]
        assert (light[0] > light[1]) == (scheme == "light")
        assert abs(light[0] - light[1]) > 400
        context.close()

    def test_in_print(self, page: Any, made: Any) -> None:
        at(page, made, at=4)
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.is_hidden("#step")
        assert page.is_visible("#graph")
        for width in (718, 1000):  # A4 and wider
            page.set_viewport_size({"width": width, "height": 1000})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
