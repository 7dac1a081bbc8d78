"""Backends, modules, the optimiser and checkpoints."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend, lanes
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, DataError
from minigrad.generators import random_generator
from minigrad.optim import SGD, exponential_decay, limit_columns, linear_ramp, update

BLOCK = 1 << 17 if lanes.PLAIN else mg.fast.forms.BLOCK


rng = np.random.default_rng(5)


class Pair(mg.Module):
    def __init__(self) -> None:
        self.W = mg.Parameter(np.arange(6.0, dtype=np.float32).reshape(2, 3))
        self.children = [Single(), Single()]
        self.child = Single()
        self.again = self.W


class Single(mg.Module):
    def __init__(self) -> None:
        self.b = mg.Parameter(np.zeros((), np.float32))


class TestBackend:
    def test_unknown_names(self) -> None:
        for call in (backend.get, backend.use, mg.Tensor(1.0).to):
            with pytest.raises(ArgumentError, match="backend must be one of numpy, .*cupy, got 'torch'"):
                call("torch")

    def test_use_as_a_block_and_as_a_call(self, library: Any) -> None:
        with backend.use("numpy"):
            assert backend.current() is backend.NUMPY
            assert isinstance(mg.Tensor([1.0]).data, np.ndarray)
        assert backend.current() is library
        assert isinstance(mg.Tensor([1.0]).data, library.array_type)
        backend.use("numpy")
        assert backend.current() is backend.NUMPY

    def test_the_environment_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        def look() -> None:
            try:
                seen.append(backend.current().name)
            except (ArgumentError, BackendError) as error:
                seen.append(str(error))

        for value in ("numpy", "", "torch"):
            monkeypatch.setenv("MINIGRAD_BACKEND", value)
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        assert seen[:2] == ["numpy", "numpy"]
        assert "MINIGRAD_BACKEND must be one of numpy" in seen[2]

    def test_what_is_no_array(self) -> None:
        with pytest.raises(ArgumentError, match="list"):
            backend.of([1.0])

    def test_arrays_of_two_libraries_do_not_mix(self) -> None:
        class OtherArray:
            dtype, ndim, shape = np.dtype(np.float32), 1, (1,)

        known = dict(backend._by_type), dict(backend._by_name)
        backend.register(backend.Backend("other", np, OtherArray))
        try:
            with pytest.raises(BackendError, match=r'numpy array meets a other array.*\.to\("numpy"\)'):
                mg.add(np.ones(1), OtherArray())
        finally:
            backend._by_type.clear()
            backend._by_type.update(known[0])
            backend._by_name.clear()
            backend._by_name.update(known[1])

    @pytest.mark.gpu
    def test_the_real_libraries_do_not_mix_either(self) -> None:
        try:
            gpu = backend.get("cupy")
        except BackendError as error:
            pytest.skip(str(error))
        with pytest.raises(BackendError, match="numpy array meets a cupy array"):
            mg.add(np.ones(1), gpu.asarray(np.ones(1)))
        x = mg.Tensor(np.ones(2), requires_grad=True)
        mg.sum(x.to("cupy") * 2).backward()
        assert x.grad.tolist() == [2, 2]

    def test_one_seed_one_sequence(self) -> None:
        a, b = (random_generator(4).random(5) for _ in range(2))
        np.testing.assert_array_equal(a, b)


class TestModule:
    def test_names_in_order_and_a_shared_parameter_once(self) -> None:
        assert list(Pair().named_parameters()) == ["W", "children.0.b", "children.1.b", "child.b"]
        assert len(Pair().parameters()) == 4

    def test_modes(self) -> None:
        pair = Pair()
        assert pair.training
        pair.eval()
        assert not pair.children[1].training
        pair.child.train()
        with pytest.raises(KeyError), pair.evaluating():
            assert not pair.child.training
            raise KeyError
        assert [m.training for _, m in pair.named_modules()] == [False, False, False, True]

    def test_a_module_without_forward(self) -> None:
        with pytest.raises(TypeError, match="Pair does not define forward"):
            Pair()(1.0)

    def test_to_another_dtype(self) -> None:
        pair = Pair()
        W = pair.W
        W.grad = np.ones((2, 3), np.float32)
        pair.to("numpy", dtype=np.float64)
        assert pair.W is W
        assert W.dtype == W.grad.dtype == np.float64
        with pytest.raises(ArgumentTypeError, match="dtype"):
            pair.to(dtype=np.int32)

    def test_a_parameter_owns_its_data(self) -> None:
        data = np.asfortranarray(np.ones((2, 3), np.float32))
        parameter = mg.Parameter(data)
        assert not np.shares_memory(parameter.data, data)
        assert parameter.data.flags.c_contiguous
        assert parameter.requires_grad
        with pytest.raises(ArgumentTypeError):
            mg.Parameter(np.arange(3))

    def test_state_round_trip(self) -> None:
        one, other = Pair(), Pair()
        one.W.data += 1
        state = one.state_dict()
        other.load_state_dict(state)
        np.testing.assert_array_equal(other.W.data, one.W.data)
        state["W"][:] = -1
        assert one.W.data.min() >= 0
        assert other.W.data.min() >= 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"W": None}, "lacks W"),
            ({"extra": np.zeros(1)}, "extra"),
            ({"W": np.zeros((3, 2), np.float32)}, r"'W'.*\(2, 3\).*\(3, 2\)"),
            ({"child.b": np.zeros((), np.float64)}, "float32.*float64"),
        ],
    )
    def test_a_state_that_does_not_fit_changes_nothing(self, change: dict[str, Any], message: str) -> None:
        pair = Pair()
        before = pair.state_dict()
        state = {k: v + 1 for k, v in before.items()} | change
        state = {k: v for k, v in state.items() if v is not None}
        with pytest.raises(ArgumentError, match=message):
            pair.load_state_dict(state)
        for name, array in pair.state_dict().items():
            np.testing.assert_array_equal(array, before[name])

    def test_parameters_in_a_list(self) -> None:
        class Listed(mg.Module):
            def __init__(self) -> None:
                self.weights = [mg.Parameter(np.ones(1)), mg.Parameter(np.ones(2))]

        assert list(Listed().named_parameters()) == ["weights.0", "weights.1"]

    def test_zero_grad(self) -> None:
        pair = Pair()
        mg.sum(pair.W).backward()
        pair.zero_grad()
        assert pair.W.grad is None


class TestSGD:
    def test_classical_momentum(self, library: Any) -> None:
        p = mg.Parameter(np.array([1.0, 2.0]))
        optimiser = SGD([p], lr=0.1, momentum=0.5)
        expected, v = np.array([1.0, 2.0]), np.zeros(2)
        for g in ([1.0, -1.0], [0.5, 2.0], [0.0, 0.0]):
            p.grad = library.asarray(np.array(g))
            optimiser.step()
            v = 0.5 * v - 0.1 * np.array(g)
            expected = expected + v
            np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12)

    @pytest.mark.parametrize("size", [1, 1000, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
    def test_the_update_in_blocks_is_the_plain_one(self, size: int) -> None:
        p, v, g = (rng.normal(size=size).astype(np.float32) for _ in range(3))
        plain = p.copy(), v.copy()
        update(p, v, g, 0.1, 0.9)
        plain[1][:] = np.float32(0.9) * plain[1] - np.float32(0.1) * g
        np.testing.assert_array_equal(v, plain[1])
        np.testing.assert_array_equal(p, plain[0] + plain[1])

    def test_layouts_without_a_flat_view(self) -> None:
        p, v, g = (rng.normal(size=(4, 6)) for _ in range(3))
        expected = p + (0.9 * v - 0.1 * g)
        strided = np.asfortranarray(p)
        update(strided, v, g, 0.1, 0.9)
        np.testing.assert_allclose(strided, expected, rtol=1e-12)

    def test_a_gradient_of_another_shape(self) -> None:
        first, p = mg.Parameter(np.ones(4)), mg.Parameter(np.ones((2, 3)))
        first.grad, p.grad = np.ones(4), np.ones((3, 2))
        with pytest.raises(
            ArgumentError, match=r"parameters\[1\].grad must have shape \(2, 3\), got \(3, 2\)"
        ):
            SGD([first, p], lr=0.1).step()
        np.testing.assert_array_equal(first.numpy(), 1.0)  # the error came before any update

    def test_a_parameter_without_gradient_stays(self) -> None:
        p, q = mg.Parameter(np.ones(1)), mg.Parameter(np.ones(1))
        optimiser = SGD([p, q], lr=1.0)
        mg.sum(p * 2).backward()
        optimiser.step()
        assert (p.item(), q.item()) == (-1.0, 1.0)
        optimiser.zero_grad()
        assert p.grad is None

    @given(st.floats(0.1, 3.0))
    def test_the_max_norm_constraint(self, limit: float) -> None:
        W = rng.normal(size=(5, 8)).astype(np.float32)
        before = W.copy()
        limit_columns(W, limit)
        norms, limited = np.linalg.norm(before, axis=0), np.linalg.norm(W, axis=0)
        np.testing.assert_allclose(limited, np.minimum(norms, limit), rtol=1e-5)
        np.testing.assert_array_equal(W[:, norms < 0.999 * limit], before[:, norms < 0.999 * limit])
        np.testing.assert_allclose(W / limited, before / norms, rtol=1e-4, atol=1e-6)

    def test_max_norm_holds_after_each_step_and_spares_biases(self) -> None:
        W, b = mg.Parameter(np.ones((3, 2), np.float32)), mg.Parameter(np.full(2, 9.0, np.float32))
        optimiser = SGD([W, b], lr=0.0, max_norm=1.0)
        mg.sum(W).backward()
        mg.sum(b).backward()
        optimiser.step()
        np.testing.assert_allclose(np.linalg.norm(W.data, axis=0), 1.0, rtol=1e-6)
        assert b.data.tolist() == [9, 9]

    def test_schedules(self) -> None:
        decay = exponential_decay(0.1, 1.000004, minimum=1e-6)
        assert decay(0) == 0.1
        assert decay(1000) == pytest.approx(0.1 / 1.000004**1000)
        assert decay(10**12) == 1e-6
        ramp = linear_ramp(0.5, 0.7, 100)
        assert [ramp(0), ramp(50), ramp(100), ramp(900)] == pytest.approx([0.5, 0.6, 0.7, 0.7])
        p = mg.Parameter(np.zeros(1))
        optimiser = SGD([p], lr=lambda t: [1.0, 10.0][t], momentum=lambda t: 0.0)
        for _ in range(2):
            p.grad = np.ones(1)
            optimiser.step()
        assert p.item() == -11.0

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"lr": -1.0}, "lr"),
            ({"lr": float("nan")}, "lr"),
            ({"lr": 0.1, "momentum": 1.0}, r"momentum must be a finite number in \[0.0, 1.0\)"),
            ({"lr": 0.1, "max_norm": 0.0}, "max_norm"),
            ({"lr": "0.1"}, "lr"),
        ],
    )
    def test_settings_that_make_no_sense(self, arguments: dict[str, Any], name: str) -> None:
        with pytest.raises(ArgumentTypeError, match=r"give model\.parameters"):
            SGD(Pair(), lr=0.1)  # type: ignore[arg-type]
        with pytest.raises((ArgumentError, ArgumentTypeError), match=name):
            SGD([mg.Parameter(np.ones(1))], **arguments)
        p = mg.Parameter(np.ones(1))
        for parameters in ([], [mg.Tensor([1.0])], [p, p]):
            with pytest.raises((ArgumentError, ArgumentTypeError), match="parameters"):
                SGD(parameters, lr=0.1)  # type: ignore[arg-type]

    def test_going_on_from_a_state(self) -> None:
        def steps(optimiser: SGD, parameter: mg.Parameter, count: int) -> None:
            for _ in range(count):
                parameter.grad = 2 * parameter.data
                optimiser.step()

        whole, part, rest = (mg.Parameter(np.ones(3)) for _ in range(3))
        settings = {"lr": linear_ramp(0.1, 0.0, 10), "momentum": 0.9}
        steps(SGD([whole], **settings), whole, 6)
        first = SGD([part], **settings)
        steps(first, part, 2)
        second = SGD([rest], **settings)
        rest.data[:] = part.data
        second.load_state_dict(first.state_dict())
        steps(second, rest, 4)
        np.testing.assert_array_equal(rest.data, whole.data)
        with pytest.raises(ArgumentError, match="lacks"):
            second.load_state_dict({})
        with pytest.raises(ArgumentError, match="updates"):
            second.load_state_dict({**first.state_dict(), "updates": np.array(-5)})

    def test_the_velocity_follows_the_model(self) -> None:
        pair = Pair()
        optimiser = SGD(pair.parameters(), lr=0.1, momentum=0.9)
        for dtype in (np.float32, np.float64):
            pair.to(dtype=dtype)
            optimiser.zero_grad()
            mg.sum(pair.W).backward()
            optimiser.step()
        assert pair.W.dtype == np.float64
        np.testing.assert_allclose(pair.W.data, np.arange(6.0).reshape(2, 3) - 0.1 - 0.19, rtol=1e-6)


class TestCheckpoint:
    def test_round_trip(self, tmp_path: Path) -> None:
        one, other = Pair(), Pair()
        one.W.data *= 2
        path = tmp_path / "model.npz"
        mg.save(path, one)
        state = mg.load(path, other)
        np.testing.assert_array_equal(other.W.data, one.W.data)
        assert list(state) == list(one.named_parameters())
        mg.save(path, {"file": np.arange(3), "empty": np.zeros((0, 2))})
        assert mg.load(path)["file"].tolist() == [0, 1, 2]
        assert [f.name for f in tmp_path.iterdir()] == ["model.npz"]

    def test_a_failed_save_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.ones(2)})
        for wrong in (np.array([object()]), None, Single()):
            with pytest.raises(ArgumentTypeError, match=r"state\['b'\] must be an array of numbers"):
                mg.save(path, {"a": np.zeros(2), "b": wrong})
        assert mg.load(path)["a"].tolist() == [1, 1]
        assert [f.name for f in tmp_path.iterdir()] == ["model.npz"]

    def test_no_pickles(self, tmp_path: Path) -> None:
        path = tmp_path / "evil.npz"
        np.savez(path, a=np.array([object()], dtype=object))
        with pytest.raises(DataError, match="evil.npz"):
            mg.load(path)

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty", "flipped"])
    def test_damaged_files(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.arange(1000.0)})
        content = path.read_bytes()
        path.write_bytes(
            {
                "truncated": content[:500],
                "text": b"<html>not found</html>",
                "empty": b"",
                "flipped": content[:3000] + b"\xff\xff\xff" + content[3003:],
            }[damage]
        )
        with pytest.raises(DataError, match="model.npz"):
            mg.load(path)

    def test_every_flipped_byte_is_noticed_or_harmless(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.arange(3.0)})
        content = path.read_bytes()
        for position in range(len(content)):
            path.write_bytes(content[:position] + bytes([content[position] ^ 0x11]) + content[position + 1 :])
            try:
                state = mg.load(path)
            except DataError:
                continue
            assert [a.tolist() for a in state.values()] in ([[0, 1, 2]], [])

    def test_an_entry_that_is_no_array(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("W", b"hello")
        with pytest.raises(DataError, match="plain arrays"):
            mg.load(path)

    def test_saving_over_a_directory_leaves_nothing_behind(self, tmp_path: Path) -> None:
        (tmp_path / "model.npz").mkdir()
        with pytest.raises(OSError, match=r"model\.npz"):
            mg.save(tmp_path / "model.npz", Single())
        assert [f.name for f in tmp_path.iterdir()] == ["model.npz"]

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            mg.load(tmp_path / "none.npz")
        with pytest.raises(FileNotFoundError):
            mg.save(tmp_path / "none" / "model.npz", {})
        for swapped in (lambda: mg.save(Single(), "model.npz"), lambda: mg.load(Single())):  # type: ignore
            with pytest.raises(ArgumentTypeError, match="path must come first"):
                swapped()
        with pytest.raises(ArgumentTypeError, match="state must be a Module"):
            mg.save(tmp_path / "model.npz", 5)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="into must be a Module"):
            mg.load(tmp_path / "model.npz", 5)  # type: ignore[arg-type]

    def test_a_state_of_another_model_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, Single())
        pair = Pair()
        with pytest.raises(ArgumentError, match="lacks"):
            mg.load(path, pair)
        assert zipfile.is_zipfile(path)
