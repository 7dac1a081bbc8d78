"""The scripts that measure speed: that they time what they say, not how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.speed import frameworks, peers
from benchmarks.speed.floor import attack, products, step
from benchmarks.speed.overhead import OPERATIONS, arrays, chain
from benchmarks.speed.timing import ratio, time_in_turn
from tests.test_engine import count_products


class TestTiming:
    def test_all_run_once_a_round_in_an_order_that_moves_on(self) -> None:
        ran: list[str] = []
        contenders = {name: lambda name=name: ran.append(name) for name in "abc"}
        seconds = time_in_turn(contenders, rounds=4, warm_up=1)
        assert "".join(ran) == "abc" + "abc" + "bca" + "cab" + "abc"
        assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4, "c": 4}
        assert all(value >= 0 for values in seconds.values() for value in values)

    def test_ratios_are_taken_round_by_round(self) -> None:
        seconds = {"a": [2.0, 30.0, 4.0], "b": [1.0, 10.0, 1.0]}
        found = ratio(seconds, "a", "b")
        assert found["median"] == 3.0
        assert found["lower_quartile"] <= 3.0 <= found["upper_quartile"]
        assert ratio({"a": [3.0], "b": [2.0]}, "a", "b")["median"] == 1.5


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

    def test_the_products_are_those_of_the_attack(self, monkeypatch: pytest.MonkeyPatch) -> None:
        flops = count_products(monkeypatch)
        attack(30, 10, 4)()
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
        assert "≤ 1.15" in capsys.readouterr().out
        found = json.loads((tmp_path / "floor.json").read_text())
        assert set(found["works"]) == {"step", "published"}
        assert len(found["works"]["step"]["seconds"]["products"]) == 2
        assert found["works"]["step"]["ratio"]["median"] > 0
        assert found["environment"]["thread_pools"]
        assert (tmp_path / "floor.png").stat().st_size > 1000


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
        main(["overhead", "--rounds", "2", "--out", str(tmp_path)])
        assert "minigrad, forward and backward" in capsys.readouterr().out
        found = json.loads((tmp_path / "overhead.json").read_text())["operations"]
        assert found["NumPy, forward"]["to_numpy"]["median"] == 1.0


class TestPeers:
    @pytest.mark.parametrize("name", [name for name in frameworks.FRAMEWORKS if name != "minigrad"])
    def test_it_computes_what_minigrad_computes(self, name: str) -> None:
        pytest.importorskip(name)
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
        monkeypatch.setattr(peers, "installed", lambda name: False)
        with pytest.raises(SystemExit):
            main(["peers", "--frameworks", "jax", "--out", str(tmp_path)])
        assert "jax is not: pip install" in capsys.readouterr().err
