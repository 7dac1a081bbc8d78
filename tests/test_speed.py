"""The scripts that measure speed: that they time what they say, not how fast anything is."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

import minigrad as mg
from attacks import input_gradient
from benchmarks.__main__ import main
from benchmarks.output import save_figure, significant
from benchmarks.photos import network, photos, read_photo
from benchmarks.progress import Steps
from benchmarks.speed import (
    conditions,
    cpu_vs_gpu,
    floor,
    frameworks,
    growth,
    ladder,
    memory,
    peers,
    plots,
    squeezenet,
    workers,
)
from benchmarks.speed.floor import attack, products, step
from benchmarks.speed.overhead import OPERATIONS, arrays, chain
from benchmarks.speed.sizes import PIECES, Size
from benchmarks.speed.timing import ratio, spread, time_in_turn
from minigrad import backend, lanes
from minigrad.errors import ArgumentError
from models import MaxoutNetwork
from tests.test_engine import count_products

SCRIPTS = ("floor", "overhead", "memory", "cpu_vs_gpu", "peers", "growth", "ladder", "squeezenet", "against")


RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "speed"


def words(figure: Figure) -> str:
    """All that is written on a plot, its lines joined."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_how_long_it_takes(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([script, "--help"])
    said = capsys.readouterr().out
    assert re.search("minute|second", said)
    assert "--quiet" in said
    for name in {"floor": floor.WORKS, "ladder": ladder.WORKS, "peers": peers.WORKS}.get(script, ()):
        assert f"\n  {name} " in said


def test_quartiles_lie_within_what_was_measured() -> None:
    assert spread([1.0, 10.0]) == {"median": 5.5, "lower_quartile": 3.25, "upper_quartile": 7.75}
    assert spread([3.0]) == {"median": 3.0, "lower_quartile": 3.0, "upper_quartile": 3.0}
    assert plots.quartiles(spread([1.0, 2.0, 3.0, 4.0, 5.0])) == (2.0, 3.0, 4.0)


def test_figures_of_a_column_look_alike() -> None:
    found = [significant(value) for value in (0.065243, 0.5598, 0.0, 40.0, 1034.6)]
    assert found == ["0.0652", "0.560", "0.00", "40.0", "1,035"]


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("*.json")), ids=lambda path: path.stem)
def test_this_code_draws_the_results(file: Path) -> None:
    """Nothing leaves them, and each says with what it was measured."""
    results = json.loads(file.read_text(encoding="utf-8"))
    figure = conditions.drawn(results, import_module(f"benchmarks.speed.{file.stem}").plot)
    figure.canvas = FigureCanvasAgg(figure)
    figure.canvas.draw()
    inches = figure.get_tightbbox()
    assert (inches.x0 >= 0, inches.y0 >= 0, *(inches.max <= figure.get_size_inches())) == (True,) * 4
    said = words(figure)
    environment = results["environment"]
    for fact in (environment["commit"], environment["processor"], environment["date"][:10]):
        assert fact in said
    assert file.with_suffix(".png").is_file()


class TestSteps:
    """What is being done: a line a step, or on a terminal a bar."""

    def test_off_a_terminal(self) -> None:
        console = Console(file=io.StringIO(), width=40)
        with Steps(console, 2) as steps:
            steps.begin("first, of a name that is longer than a line is wide")
            steps.share(0.5)
            steps.begin("second")
        assert console.file.getvalue().splitlines() == [
            "0 s: 1 of 2: first, of a name that is longer than a line is wide", "0 s: 2 of 2: second"
        ]  # fmt: skip

    def test_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("benchmarks.progress.LEAST_SECONDS", 0.0)
        console = Console(file=io.StringIO(), width=80, force_terminal=True)
        threads = threading.active_count()
        with Steps(console, 2) as steps:
            steps.begin("of a name that is longer than a line is wide, which leaves the bar as it is")
            steps.share(0.5)
            assert threading.active_count() == threads  # none that would draw while something is timed
        assert "25%" in console.file.getvalue()
        assert "0 s: " not in console.file.getvalue()

    def test_quiet(self) -> None:
        for terminal in (False, True):
            console = Console(file=io.StringIO(), force_terminal=terminal)
            with Steps(console, 1, quiet=True) as steps:
                steps.begin("first")
                steps.share(0.5)
            assert console.file.getvalue() == ""


class TestTiming:
    def test_all_run_once_a_round_in_an_order_that_moves_on(self) -> None:
        ran: list[str] = []
        contenders = {name: lambda name=name: ran.append(name) for name in "abc"}
        seconds = time_in_turn(contenders, rounds=4, warm_up=1)
        assert "".join(ran) == "abc" + "abc" + "bca" + "cab" + "abc"
        assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4, "c": 4}
        assert all(value >= 0 for values in seconds.values() for value in values)

    def test_each_settles_before_it_is_timed(self) -> None:
        ran: list[str] = []
        contenders = {name: lambda name=name: ran.append(name) for name in "ab"}
        seconds = time_in_turn(contenders, rounds=2, warm_up=0, settle=1e-4)
        assert [len(values) for values in seconds.values()] == [2, 2]
        assert re.fullmatch("aa+bbb+aa+", "".join(ran))  # a b, then b a, each at least once untimed

    def test_it_tells_how_far_it_is(self) -> None:
        told: list[float] = []
        time_in_turn({"a": lambda: None, "b": lambda: None}, rounds=4, progress=told.append)
        assert told == [0.25, 0.5, 0.75, 1.0]

    def test_ratios_are_taken_round_by_round(self) -> None:
        seconds = {"a": [2.0, 30.0, 4.0], "b": [1.0, 10.0, 1.0]}
        found = ratio(seconds, "a", "b")
        assert found["median"] == 3.0
        assert found["lower_quartile"] <= 3.0 <= found["upper_quartile"]
        assert ratio({"a": [3.0], "b": [2.0]}, "a", "b")["median"] == 1.5


class TestConditions:
    """A machine that is not quiet is noticed, and every script says so."""

    @pytest.fixture(autouse=True)
    def quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(conditions, "load", lambda: 0.1)

    def test_a_quiet_machine(self) -> None:
        watch = conditions.Conditions()
        watch.add_time(1.0, 1.9)
        watch.add_rounds({"a": [1.0, 1.01, 1.0, 1.02, 1.0]})
        found = watch.found()
        assert found["disturbances"] == []
        assert found["processor_share"] == 1.9
        assert conditions.remark(found) == ""

    def test_load_before_and_after(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(conditions, "load", lambda: 99.0)
        said = conditions.remark(conditions.Conditions().found())
        assert "load 99.0 before the command began" in said
        assert "load 99.0 at its end" in said

    def test_a_processor_that_was_taken_away(self) -> None:
        watch = conditions.Conditions()
        watch.add_time(1.0, 0.8)
        assert "a processor for 80.0% of the time" in conditions.remark(watch.found())

    def test_a_load_that_is_not_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        threads = max(pool["num_threads"] for pool in conditions.thread_pools())
        watch = conditions.Conditions()
        for load, is_others in ((threads + 0.9, False), (threads + 1.1, True)):
            monkeypatch.setattr(conditions, "load", lambda load=load: load)
            assert bool(watch.found()["disturbances"]) == is_others

    def test_what_is_timed_is_watched(self, tmp_path: Path) -> None:
        main(["floor", "--works", "step", "--rounds", "4", "--quiet", "--out", str(tmp_path)])
        found = json.loads((tmp_path / "floor.json").read_text())["conditions"]
        assert 0.05 < found["processor_share"] < 2 * (os.cpu_count() or 1)
        assert found["spread"] >= 0.0

    def test_rounds_that_lie_far_apart(self) -> None:
        watch = conditions.Conditions()
        watch.add_rounds({"a": [1.0, 2.0, 1.0, 2.0, 1.5]})
        assert "of the median apart" in conditions.remark(watch.found())

    def test_rounds_that_are_too_few(self) -> None:
        watch = conditions.Conditions()
        watch.add_rounds({"a": [1.0, 1.0, 1.0]})
        assert "fewer than 4 rounds" in conditions.remark(watch.found())

    def test_what_cannot_be(self) -> None:
        watch = conditions.Conditions()
        watch.check_floor("a step", {"median": 1.0})
        assert conditions.remark(watch.found()) == ""
        watch.check_floor("a step", {"median": 0.9})
        watch.check_floor("another", {"median": 0.8})
        assert (
            "a step, took 0.900 of the time of its own products, which should not be possible, and 1 more"
            in (conditions.remark(watch.found()))
        )
        cpu_vs_gpu.timed(backend.NUMPY, Size(2, 4), "forward", 4, 1.0, watch := conditions.Conditions())
        assert re.search("forward, batch 2, width 4, reached .*% of the best rate", str(watch.found()))

    def test_table_plot_and_json_say_so(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        titles: list[str] = []
        monkeypatch.setattr(Figure, "suptitle", lambda self, text, **_: titles.append(text))
        monkeypatch.setattr(conditions, "load", lambda: 99.0)
        main(["overhead", "--rounds", "1", "--out", str(tmp_path)])
        assert "The machine was perhaps not quiet: load 99.0" in capsys.readouterr().out
        assert "not quiet" in titles[0]
        found = json.loads((tmp_path / "overhead.json").read_text())
        assert found["conditions"]["load_before"] == 99.0
        assert found["conditions"]["disturbances"]
        assert found["environment"]["date"]
        assert "commit" in found["environment"]

    def test_outside_of_a_checkout_there_is_no_commit(self, tmp_path: Path) -> None:
        assert conditions.commit(tmp_path) is None


class TestAgainst:
    def test_a_checkout_against_itself(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        here = str(Path(conditions.__file__).parents[2])
        main(["against", here, "--works", "operation", "--rounds", "2", "--out", str(tmp_path)])
        assert "have the same bits" in " ".join(capsys.readouterr().out.split())
        found = json.loads((tmp_path / "against.json").read_text())
        assert found["same_bits"] is True
        assert found["works"]["operation"]["ratio"]["median"] > 0
        assert (tmp_path / "against.png").stat().st_size > 1000

    def test_what_is_no_checkout(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["against", str(tmp_path)])
        assert "CHECKOUT must be a checkout of this repository" in capsys.readouterr().err

    def test_a_checkout_that_does_not_start(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        for package in ("minigrad", "models", "attacks"):
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").write_text("raise SystemExit('not today')")
        with pytest.raises(SystemExit):
            main(["against", str(tmp_path), "--rounds", "1", "--out", str(tmp_path / "out")])
        said = capfd.readouterr().err
        assert "not today" in said
        assert "error: a process that worked for this one ended: see what it printed" in said


class TestLadder:
    @pytest.mark.fast_lane
    def test_every_rung_does_the_work(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ladder, "RUNGS", ("remainder", "memory"))
        main(["ladder", "--works", "small", "--rounds", "2", "--out", str(tmp_path)])
        assert "+ remainder" in capsys.readouterr().out
        found = json.loads((tmp_path / "ladder.json").read_text())["works"]
        (entries,) = found.values()
        assert [*entries] == [*ladder.rungs()]
        assert all(entry["to_plain"]["median"] > 0 < entry["peak_bytes"] for entry in entries.values())
        assert (tmp_path / "ladder.png").stat().st_size > 1000

    @pytest.mark.fast_lane
    def test_the_rungs_are_the_modules_that_have_fast_forms(self) -> None:
        """A new one must get a rung. What records a step is none: other steps run as before."""
        forms = {fast.__module__.rpartition(".")[2] for _, fast in lanes._forms.values()}
        forms -= {"fused", "replay", "optimisers"}
        assert forms | {"memory"} == {*ladder.RUNGS}


class TestFloor:
    @pytest.mark.parametrize("batch", [10, 20])
    def test_the_products_are_those_of_the_step(self, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
        flops = count_products(monkeypatch)
        step(batch, 4)()
        ours = sum(flops)
        bare = products(batch, 4, adversarial=True)
        calls: list[int] = []
        monkeypatch.setattr(
            np, "matmul", lambda a, b, out: calls.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        )
        bare()
        assert sum(calls) == ours

    @pytest.mark.parametrize("threads", [1, 2])
    def test_the_products_are_those_of_the_attack(
        self, threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flops = count_products(monkeypatch)
        attack(30, 10, 4, threads=threads)()
        ours = sum(flops)
        bare = products(10, 4, weights=False)
        calls: list[int] = []
        monkeypatch.setattr(
            np, "matmul", lambda a, b, out: calls.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        )
        bare()
        assert 3 * sum(calls) == ours

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["floor", "--works", "step", "published", "--rounds", "2", "--out", str(tmp_path)])
        said = capsys.readouterr().out
        assert "≤ 1.15" in said
        assert re.match("0 s: 1 of 2: step, adversarial step, 240 units, batch 100\n.* s: 2 of 2: ", said)
        found = json.loads((tmp_path / "floor.json").read_text())
        assert set(found["works"]) == {"step", "published"}
        assert len(found["works"]["step"]["seconds"]["products"]) == 2
        assert found["works"]["step"]["ratio"]["median"] > 0
        assert found["environment"]["thread_pools"]
        assert (tmp_path / "floor.png").stat().st_size > 1000

    def test_the_plot_tells_values_and_what_it_was_measured_with(self) -> None:
        ratios = {"median": 1.4, "lower_quartile": 1.3, "upper_quartile": 1.5}
        entry = {"what": "a step", "target": 1.2, "ratio": ratios, "median_seconds": {"minigrad": 0.0153}}
        said = {"disturbances": ["load 9.0 before it began"]}
        made_with = {"environment": conditions.environment("rich"), "conditions": said}
        found = words(conditions.drawn({"works": {"step": entry}, **made_with}, floor.plot))
        told = made_with["environment"]
        for what in ("1.40, 15.3 ms", told["processor"], told["date"][:10], f"commit {told['commit']}",
                     f"numpy {np.__version__}", "perhaps not quiet: load 9.0"):  # fmt: skip
            assert what in found
        assert told["rich"]
        threads = max(pool["num_threads"] for pool in told["thread_pools"])
        assert f"threads: up to {threads};" in found
        assert "threads: up to 7;" in words(
            conditions.drawn({"works": {"step": entry}, "threads": 7, **made_with}, floor.plot)
        )


class TestOverhead:
    def test_the_chain_has_as_many_operations_as_it_says(self) -> None:
        class Counting:
            made = 0

            def __mul__(self, other: Any) -> Counting:
                Counting.made += 1
                return self

            __add__ = __mul__

        chain(Counting(), 1.0, 1.0)
        assert Counting.made == OPERATIONS

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["overhead", "--rounds", "2", "--quiet", "--out", str(tmp_path)])
        said = capsys.readouterr().out
        assert "minigrad, forward and backward" in said
        assert ("PyTorch, forward and backward" in said) == frameworks.installed("torch")
        assert "1 of 1" not in said
        assert (tmp_path / "overhead.png").stat().st_size > 1000
        found = json.loads((tmp_path / "overhead.json").read_text())["operations"]
        assert found["NumPy, forward"]["to_numpy"]["median"] == 1.0


class TestPeers:
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=pytest.mark.fast_lane if name == "captured" else ())
            for name in frameworks.FRAMEWORKS
            if name != "minigrad"
        ],
    )
    def test_it_computes_what_minigrad_computes(self, name: str) -> None:
        pytest.importorskip(frameworks.module(name))
        random = np.random.default_rng(0)
        peers.check_equal(
            ["minigrad", name], random.random((300, 784), dtype=np.float32), random.integers(0, 10, 300)
        )
        weights = peers.weights(8)
        chains = [frameworks.FRAMEWORKS[one](weights).chain(arrays()) for one in ("minigrad", name)]
        if chains[1] is not None:
            for ours, other in zip(chains[0](), chains[1](), strict=True):
                np.testing.assert_allclose(other, ours, rtol=1e-4)

    def test_one_that_computes_something_else_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Other(frameworks.Minigrad):
            def fgsm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
                return x

        monkeypatch.setitem(frameworks.FRAMEWORKS, "other", Other)
        random = np.random.default_rng(0)
        with pytest.raises(ValueError, match="other does not"):
            peers.check_equal(
                ["minigrad", "other"],
                random.random((300, 784), dtype=np.float32),
                random.integers(0, 10, 300),
            )

    def test_one_that_is_not_installed(self, monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
        monkeypatch.setattr(frameworks, "installed", lambda name: False)
        with pytest.raises(SystemExit):
            main(["peers", "--frameworks", "jax", "--out", str(tmp_path)])
        assert "jax is not: pip install" in capsys.readouterr().err

    def test_those_that_are_missing_are_named_first(
        self, monkeypatch: Any, capsys: Any, tmp_path: Path
    ) -> None:
        def refuse(names: list[str], x: np.ndarray, y: np.ndarray) -> None:
            raise ArgumentError("far enough")

        monkeypatch.setattr(frameworks, "installed", lambda name: frameworks.module(name) == "minigrad")
        monkeypatch.setattr(peers, "check_equal", refuse)
        with pytest.raises(SystemExit):
            main(["peers", "--out", str(tmp_path)])
        said = capsys.readouterr().out
        assert said.startswith("Not installed, and left out: torch, jax, autograd, mygrad: pip install -e")
        assert "minigrad is beside itself" in said
        assert frameworks.left_out(["minigrad"], growth.NAMES).startswith(
            "Not installed, and left out: torch, jax: pip"
        )

    @pytest.mark.parametrize("name", ["torch", "jax", "autograd", "mygrad"])
    def test_versions(self, name: str) -> None:
        pytest.importorskip(name)
        assert conditions.environment(name)[name]

    def test_its_plot_has_a_panel_a_work_the_fastest_first(self) -> None:
        def entry(ratio: float, to: str = "products") -> dict[str, Any]:
            ratios = {"median": ratio, "lower_quartile": ratio, "upper_quartile": ratio}
            return {"median_seconds": ratio / 1e3, f"to_{to}": ratios}

        step = {"products": entry(1.0), "minigrad": entry(1.5), "torch": entry(2.0), "jax": entry(1.2)}
        works = {peers.WORKS["step"]: step, peers.WORKS["chain"]: {"minigrad": entry(1.0, "minigrad")}}
        figure = peers.plot({"works": works})
        assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["jax", "minigrad", "torch"]
        assert "1.50, 1.50 ms" in words(figure)
        assert "1.00, 1.00 µs" in words(figure)
        assert peers.table(works, None).row_count == 5

    @pytest.mark.fast_lane
    def test_each_shape_of_batch_has_a_record(self) -> None:
        weights = frameworks.weights(4, features=8)
        eager, captured = frameworks.Minigrad(weights), frameworks.Captured(weights)
        x, y = frameworks.examples(12, features=8)
        for part in (slice(0, 3), slice(3, 6), slice(6, 12)):
            assert captured.step(x[part], y[part]) is None
            eager.step(x[part], y[part])
        for ours, theirs in zip(captured.parameters(), eager.parameters(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(captured.fgsm(x, y), eager.fgsm(x, y))
        assert ([*captured._steps], [*captured._attacks]) == ([(3, 8), (6, 8)], [(12, 8)])

    def test_captured_where_nothing_is_captured(self, monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
        monkeypatch.setattr(lanes, "PLAIN", True)
        assert "captured" not in frameworks.chosen(None)
        with pytest.raises(SystemExit):
            main(["peers", "--frameworks", "captured", "--out", str(tmp_path)])
        assert "--frameworks captured needs the fast lane" in capsys.readouterr().err

    def test_small_works_are_timed_as_a_mean_of_many_calls(self, monkeypatch: Any) -> None:
        calls: list[int] = []
        found = peers.compared({"a": lambda: calls.append(1)}, 2, "a", conditions.Conditions(), calls=100)
        assert len(calls) % 100 == 0
        assert found["a"]["to_a"]["median"] == 1.0
        assert all(peers.STEPS[name].calls >= 100 for name in ("tiny", "small"))

    def test_the_command_on_one_thread(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = ["--out", str(tmp_path), "--rounds", "1", "--frameworks", "minigrad", "--works"]
        main(["peers", *out, "tiny", "chain", "--threads", "1"])
        assert "threads: 1" in capfd.readouterr().out
        found = json.loads((tmp_path / "peers.json").read_text())
        assert found["threads"] == 1
        assert {pool["num_threads"] for pool in found["environment"]["thread_pools"]} <= {1}
        assert found["environment"]["usable_processors"] in (1, None)
        assert set(found["works"]) == {peers.WORKS["tiny"], peers.WORKS["chain"]}
        assert (tmp_path / "peers.png").stat().st_size > 1000

    def test_threads(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert workers.has_threads(None)
        for command in ("peers", "growth"):
            for threads, said in ((0, "must be at least 1, got 0"), (10**6, "must be at most")):
                with pytest.raises(SystemExit):
                    main([command, "--threads", str(threads), "--out", str(tmp_path)])
                assert f"--threads {said}" in capsys.readouterr().err


class TestGrowth:
    def test_the_operations_are_those_of_the_products(self, monkeypatch: pytest.MonkeyPatch) -> None:
        size = Size(batch=6, width=8)
        bare = products(6, 8 // PIECES, adversarial=True, pieces=PIECES)
        calls: list[int] = []
        monkeypatch.setattr(
            np, "matmul", lambda a, b, out: calls.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        )
        bare()
        assert sum(calls) == 1e9 * growth.gflop(size)

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        sizes = ["--batches", "2", "3", "--widths", "4", "8", "--rounds", "1", "--threads", "1"]
        limit = str(growth.gflop(Size(3, 4)))
        names = ["minigrad"] if lanes.PLAIN else ["minigrad", "captured"]
        out = ["--out", str(tmp_path)]
        main(["growth", *sizes, "--frameworks", *names, "--most-gflop", limit, *out])
        assert "–" in capsys.readouterr().out
        found = json.loads((tmp_path / "growth.json").read_text())
        assert [(cell["batch"], cell["width"]) for cell in found["cells"]] == [(2, 4), (3, 4)]
        assert found["left_out"] == [{"batch": 2, "width": 8}, {"batch": 3, "width": 8}]
        assert found["greatest_captured_to_jax"] is None
        for cell in found["cells"]:
            assert [*cell["contenders"]] == ["products", *map(frameworks.label, names)]
            assert all(one["to_products"]["median"] > 0 for one in cell["contenders"].values())
        for pools in found["thread_pools_of_contenders"].values():
            assert {pool["num_threads"] for pool in pools} <= {1}
        assert (tmp_path / "growth.png").stat().st_size > 1000

    @pytest.mark.fast_lane
    def test_beside_jax(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("jax")
        size = ["--batches", "2", "--widths", "4", "--rounds", "1", "--out", str(tmp_path)]
        main(["growth", *size, "--frameworks", "captured", "jax"])
        assert "at batch 2, width 4 (to reach: ≤ 2 everywhere)" in " ".join(capsys.readouterr().out.split())
        found = json.loads((tmp_path / "growth.json").read_text())
        assert found["greatest_captured_to_jax"]["captured_to_jax"]["median"] > 0

    def test_the_greatest_ratio(self) -> None:
        cells = [{"batch": batch, "width": 4, "captured_to_jax": {"median": median}}
                 for batch, median in ((1, 0.5), (10, 1.5), (100, 1.0))]  # fmt: skip
        assert growth.greatest(cells) == cells[1]

    def test_bad_options(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for option, value, said in (
            ("--batches", "0", "--batches must be at least 1, got 0"),
            ("--widths", "15", "--widths must be multiples of 2, the pieces, got 15"),
            ("--rounds", "0", "--rounds must be at least 1, got 0"),
            ("--most-gflop", "-1", "--most-gflop must be"),
            ("--most-gflop", "1e-9", "must have a size that fits into memory and --most-gflop"),
            ("--batches", str(10**26), "--batches and --widths must have a size that fits"),
        ):
            with pytest.raises(SystemExit):
                main(["growth", option, value, "--out", str(tmp_path)])
            assert said in capsys.readouterr().err


class TestSqueezeNet:
    def test_both_compute_the_same_in_float64(self) -> None:
        pytest.importorskip("torch")
        found = squeezenet.agreement(read_photo(photos()["panda"]).x)
        assert found["logits"] < squeezenet.CLOSE
        assert found["gradient"] < squeezenet.CLOSE
        assert found["signs_percent"] < 0.01

    def test_one_that_computes_something_else_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("torch")
        logits = squeezenet.TorchNetwork.logits
        monkeypatch.setattr(squeezenet.TorchNetwork, "logits", lambda self, x: 1.001 * logits(self, x))
        with pytest.raises(ValueError, match="must compute the same in float64"):
            squeezenet.agreement(read_photo(photos()["panda"]).x)

    @pytest.mark.fast_lane
    def test_the_gradient_of_one_photo_keeps_to_its_memory(self) -> None:
        model, x = network(), read_photo(photos()["panda"]).x
        y = model.predict(x)
        assert memory.peak_bytes(lambda: input_gradient(model, x, y)) <= squeezenet.MOST_MEMORY

    def test_its_table_and_plot(self, tmp_path: Path) -> None:
        ratios = {"median": 1.0, "lower_quartile": 0.9, "upper_quartile": 1.1}
        entries = {
            f"{name} {part}": {"median_seconds": 0.05, "to_torch": ratios}
            for name in ("minigrad", "torch", "channels_last")
            for part in ("forward", "gradient")
        }
        found = dict.fromkeys(squeezenet.WORKS, entries)
        save_figure(squeezenet.plot({"works": found}), tmp_path / "plot.png")
        equal = {"logits": 1e-15, "gradient": 1e-15, "signs_percent": 0.0}
        assert squeezenet.table(found, equal, 40_000_000).row_count == 2 * len(squeezenet.WORKS)

    def test_without_pytorch(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(SystemExit):
            main(["squeezenet", "--out", str(tmp_path)])
        assert "squeezenet needs PyTorch: pip install" in capsys.readouterr().err


class TestCpuVsGpu:
    def test_the_operations_are_counted_as_the_network_does_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = cpu_vs_gpu.Size(batch=6, width=8)
        random = np.random.default_rng(0)
        x, y = random.random((6, 784), dtype=np.float32), random.integers(0, 10, 6)
        flops = count_products(monkeypatch)
        for operation in cpu_vs_gpu.OPERATIONS:
            work = cpu_vs_gpu.workload(operation, x, y, size)
            flops.clear()
            work()
            assert sum(flops) == size.flop(operation)

    def test_without_a_gpu_it_says_what_the_other_columns_need(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            cpu_vs_gpu,
            "available",
            lambda: ([backend.NUMPY], "CuPy is not installed: pip install 'x[cuda12]'"),
        )
        monkeypatch.setattr(cpu_vs_gpu, "product_rate", lambda library: 1e11)
        sizes = ["--batches", "1", "8", "--widths", "4", "8", "--rounds", "1"]
        main(["cpu_vs_gpu", *sizes, "--out", str(tmp_path)])
        said = capsys.readouterr().out
        assert said.startswith("No rows of a GPU: CuPy is not installed: pip install 'x[cuda12]'")
        places = [said.index(words) for words in ("2 of 5: numpy, forward", "width 4", "5 of 5: numpy, FGSM")]
        assert places == sorted(places)  # a table when it is ready
        found = json.loads((tmp_path / "cpu_vs_gpu.json").read_text())
        entries = found["libraries"]["numpy"]["entries"]
        assert len(entries) == 2 * 2 * len(cpu_vs_gpu.OPERATIONS)
        assert all(entry["gflops"] > 0 for entry in entries)
        figure = cpu_vs_gpu.plot(found)
        assert "NumPy alone: there was no GPU" in words(figure)
        low, high = figure.axes[0].get_ylim()
        assert all(low < 1e3 * entry["seconds"] < high for entry in entries)
        assert found["crossover"]["FGSM"] is None
        assert (tmp_path / "cpu_vs_gpu.png").stat().st_size > 1000
        with pytest.raises(SystemExit):
            main(["cpu_vs_gpu", "--batches", str(10**26), "--widths", "16", "--out", str(tmp_path)])
        assert "--batches and --widths must have a size that fits" in capsys.readouterr().err

    @pytest.mark.parametrize("refuses", [False, True])
    def test_a_captured_step(self, refuses: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        library = backend.get("strict")
        if refuses:
            monkeypatch.setattr(
                MaxoutNetwork, "cost", lambda self, x, y: mg.mean(self(x)) * float(x.sum().get())
            )
        entry = cpu_vs_gpu.timed(library, cpu_vs_gpu.Size(batch=6, width=8), "training step", 1, 1e11)
        assert entry["transfer_seconds"] > 0
        if refuses or lanes.PLAIN:
            assert entry["captured_seconds"] is None
            assert ("the fast lane is off" if lanes.PLAIN else "runs eagerly") in entry["not_captured"]
        else:
            assert entry["captured_seconds"] > 0

    def test_what_the_profiler_saw(self) -> None:
        names = ["Memcpy DtoD (Device -> Device)", "maxout", "Memset (Device)", "ampere_sgemm_128x64_nn"]
        assert cpu_vs_gpu.kernels_and_copies(names) == {"kernels": 2, "copies": 1}

    def test_the_crossover_is_the_least_batch_at_which_the_gpu_wins(self) -> None:
        def entries(seconds: dict[int, float]) -> dict[str, Any]:
            return {"entries": [{"operation": "FGSM", "width": 16, "batch": batch, "seconds": t}
                                for batch, t in seconds.items()]}  # fmt: skip

        found = {"numpy": entries({1: 1.0, 10: 5.0, 100: 50.0}), "cupy": entries({1: 3.0, 10: 3.0, 100: 3.0})}
        assert cpu_vs_gpu.crossovers(found, "FGSM") == {16: 10}
        slow = {"numpy": found["numpy"], "cupy": entries({1: 99.0, 10: 99.0})}
        assert cpu_vs_gpu.crossovers(slow, "FGSM") == {16: None}
        at_first = {"numpy": found["numpy"], "cupy": entries({1: 0.5, 10: 9.0, 100: 60.0})}
        assert cpu_vs_gpu.crossovers(at_first, "FGSM") == {16: None}
        again = {"numpy": found["numpy"], "cupy": entries({1: 0.5, 10: 9.0, 100: 6.0})}
        assert cpu_vs_gpu.crossovers(again, "FGSM") == {16: 100}

    def test_bad_sizes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["cpu_vs_gpu", "--batches", "0", "--out", str(tmp_path)])
        assert "--batches must be at least 1, got 0" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["cpu_vs_gpu", "--widths", "15", "--out", str(tmp_path)])
        assert "--widths must be multiples of 2, the pieces, got 15" in capsys.readouterr().err


class TestMemory:
    def test_peak_and_large_blocks(self) -> None:
        pytest.importorskip("memray")

        def work() -> None:
            first = np.ones(1 << 20, np.uint8)
            del first
            second, third = np.ones(1 << 20, np.uint8), np.ones(1 << 21, np.uint8)
            del second, third

        found = memory.measured(work)
        assert found["large_blocks"] == 3
        assert 3 << 20 <= found["peak_bytes"] < (3 << 20) + 200_000

    def test_without_memray(self, monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "memray", None)
        with pytest.raises(SystemExit):
            main(["memory", "--out", str(tmp_path)])
        assert "memory needs memray: pip install -e '.[memory]'" in capsys.readouterr().err
