"""The fused kernels: each gives what its plain form gives, and the whole engine runs on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from attacks import adversarial_objective, fgsm
from attacks.fast_gradient import step_along
from attacks.norms import INFINITY
from minigrad import backend, lanes
from minigrad.generators import mask_generator
from minigrad.operations import costs, maxout_units
from minigrad.optim import SGD, sgd
from minigrad.tensor import raw
from minigrad.testing import arrays, check_gradients, seeds
from models import MaxoutNetwork
from tests import host_kernels
from tests.conftest import CUPY
from tests.host_kernels import StrictWithKernels
from tests.strict import counter

if lanes.PLAIN:
    pytest.skip("the fast lane is off", allow_module_level=True)
kernels, MOST_CLASSES = mg.fast.kernels, mg.fast.forms.MOST_CLASSES

rng = np.random.default_rng(0)
FLOATS = st.sampled_from([np.float32, np.float64])


@pytest.fixture(params=["strict", *CUPY], autouse=True)
def fused(request: pytest.FixtureRequest) -> Iterator[backend.Backend]:
    """A library with kernels: CuPy where there is a GPU, and the kernels' text compiled for the host."""
    if request.param == "cupy":
        with backend.use("cupy"):
            yield backend.get("cupy")
        return
    if host_kernels.compiler is None:
        pytest.skip("no g++ to compile the kernels' text")
    plain = backend.get("strict")
    backend.register(StrictWithKernels())
    try:
        with backend.use("strict"):
            counter.reset()
            yield backend.get("strict")
    finally:
        backend.register(plain)


def both(function: Any, *host: Any) -> tuple[Any, Any]:
    """function(*arrays) with kernels, and plain on NumPy; both as NumPy arrays."""
    library = backend.current()
    on_device = function(*(library.asarray(a) if isinstance(a, np.ndarray) else a for a in host))
    return library.to_numpy(on_device), function(*host)


def close(pair: tuple[Any, Any], exact: bool = False) -> None:
    found, expected = pair
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    tolerance = 0 if exact else 20 * np.finfo(expected.dtype).eps
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0 if exact else tolerance)


def forward(primitive: Any) -> Any:
    """A primitive's forward, on the library of its first array."""
    return lambda x, *rest: primitive.forward(backend.of(x).xp, x, *rest)


@st.composite
def maxout_inputs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Values with ties, infinities and NaN among them."""
    pieces, units = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    leading = draw(st.lists(st.integers(0, 3), max_size=2))
    values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0, np.inf, -np.inf, np.nan])
    flat = draw(st.lists(values, min_size=(n := int(np.prod(leading)) * pieces * units), max_size=n))
    return np.array(flat, draw(FLOATS)).reshape(*leading, pieces * units), pieces


class TestEachKernel:
    @given(maxout_inputs())
    def test_maxout(self, drawn: Any) -> None:
        z, pieces = drawn
        close(both(forward(maxout_units._maxout), z, pieces), exact=True)

    @given(maxout_inputs())
    def test_the_winning_pieces(self, drawn: Any) -> None:
        z, pieces = drawn
        y = maxout_units.in_pieces(z, pieces).max(-2)
        close(both(lambda z, y: maxout_units.winners(z, y, pieces), z, y), exact=True)

    @given(maxout_inputs(), st.integers(0, 99))
    def test_spreading_to_the_winning_pieces(self, drawn: Any, seed: int) -> None:
        z, pieces = drawn
        y = maxout_units.in_pieces(z, pieces).max(-2)
        u = np.random.default_rng(seed).normal(size=y.shape).astype(z.dtype)
        close(
            both(lambda u, z, y: raw(maxout_units._spread(u, of=(z, y), pieces=pieces)), u, z, y), exact=True
        )

    @given(st.data(), FLOATS)
    def test_cross_entropy_and_its_slope(self, data: Any, dtype: Any) -> None:
        classes = data.draw(st.integers(1, 12))
        z = data.draw(arrays((data.draw(st.integers(0, 4)), classes), low=-60.0, high=60.0)).astype(dtype)
        labels = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(z), max_size=len(z)))
        labels = np.array(labels, data.draw(st.sampled_from([np.int64, np.uint8])))
        close(both(forward(costs._cross_entropy), z, labels))
        close(both(forward(costs._cross_entropy_slope), z, labels))

    @given(st.data(), FLOATS)
    def test_infinite_and_nan_logits(self, data: Any, dtype: Any) -> None:
        special = st.sampled_from([-np.inf, np.inf, np.nan, 0.0, 1.0, 1000.0])
        z = np.array(data.draw(st.lists(st.tuples(special, special, special), min_size=1, max_size=4)), dtype)
        labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(z), max_size=len(z))))
        for primitive in (costs._cross_entropy, costs._cross_entropy_slope):
            found, expected = both(forward(primitive), z, labels)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)

    @given(st.data(), FLOATS)
    def test_nan_and_infinite_pieces_and_cotangents(self, data: Any, dtype: Any) -> None:
        special = st.sampled_from([-np.inf, np.inf, np.nan, 0.0, 1.0])
        pieces = data.draw(st.integers(1, 3))
        z = np.array([data.draw(st.lists(special, min_size=2 * pieces, max_size=2 * pieces))], dtype)
        u = np.array([data.draw(st.lists(special, min_size=2, max_size=2))], dtype)
        y = maxout_units.in_pieces(z, pieces).max(-2)
        close(both(forward(maxout_units._maxout), z, pieces), exact=True)
        close(
            both(lambda u, z, y: raw(maxout_units._spread(u, of=(z, y), pieces=pieces)), u, z, y), exact=True
        )

    @pytest.mark.parametrize("margin", [50.0, 90.0])
    def test_a_confident_answer_keeps_its_cost_and_slope(self, margin: float) -> None:
        z, labels = np.array([[margin, 0.0, 0.0]], np.float32), np.array([0])
        for primitive in (costs._cross_entropy, costs._cross_entropy_slope):
            found, expected = both(forward(primitive), z, labels)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            assert (found != 0).all()

    def test_many_classes_are_left_to_the_library(self) -> None:
        z, labels = rng.normal(size=(3, MOST_CLASSES + 1)), np.array([0, 5, MOST_CLASSES])
        close(both(forward(costs._cross_entropy), z, labels))
        assert "cross_entropy" not in counter.launches

    @given(st.integers(0, 70), seeds(), st.integers(0, 5), st.sampled_from([0.5, 0.8, 1e-9, 1.0]))
    def test_dropout_draws_the_hosts_masks(self, size: int, seed: int, drawn: int, keep: float) -> None:
        """Bit for bit, call after call; and the generators go on alike."""
        x = rng.normal(size=size)
        generators = [mask_generator(seed) for _ in range(2)]
        for generator in generators:
            generator.bit_generator.advance(2**64 - 3)  # the counter's first word overflows
            generator.integers(0, 2**64 - 1, 4 * drawn, np.uint64, endpoint=True)
        for _ in range(2):
            with backend.use("numpy"):
                expected = mg.dropout(x, keep=keep, generator=generators[0]).numpy()
            found = mg.dropout(backend.current().asarray(x), keep=keep, generator=generators[1])
            np.testing.assert_array_equal(found.numpy(), expected)
        assert generators[0].random() == generators[1].random()

    def test_another_generators_masks_are_uploaded(self, fused: Any) -> None:
        x = np.ones(100, np.float32)
        in_the_middle = mask_generator(1)
        in_the_middle.random()
        for generator in (np.random.default_rng(1), in_the_middle):
            twin = np.random.Generator(type(generator.bit_generator)())
            twin.bit_generator.state = generator.bit_generator.state
            found = mg.dropout(fused.asarray(x), generator=generator).numpy()
            with backend.use("numpy"):
                np.testing.assert_array_equal(found, mg.dropout(x, generator=twin).numpy())
        assert "dropout" not in counter.launches

    def test_dropouts_derivatives_have_the_same_mask(self) -> None:
        x = rng.normal(size=(4, 9))
        check_gradients(lambda t: mg.dropout(t * t, keep=0.5, generator=mask_generator(3)), x, order=2)

    @given(st.data(), FLOATS)
    def test_the_update(self, data: Any, dtype: Any) -> None:
        p, v, g = (data.draw(arrays((3, 4))).astype(dtype) for _ in range(3))

        def updated(p: Any, v: Any, g: Any) -> Any:
            p, v = p.copy(), v.copy()
            sgd.update(p, v, g, 0.1, 0.5)
            return backend.of(p).xp.stack([p, v])

        close(both(updated, p, v, g))

    @given(st.data(), FLOATS)
    def test_max_norm(self, data: Any, dtype: Any) -> None:
        W = data.draw(arrays((5, 3)) | arrays((2, 1, 2, 3))).astype(dtype)
        W[..., 0] *= data.draw(st.sampled_from([dtype(0), dtype(1e-30), dtype(1e30)]))

        def limited(W: Any) -> Any:
            W = W.copy()
            sgd.limit_columns(W, 1.5)
            return W

        close(both(limited, W))

    @given(st.data(), FLOATS, st.sampled_from([None, (0.0, 1.0), (-0.1, 0.3)]))
    def test_the_step_along_the_sign(self, data: Any, dtype: Any, bounds: Any) -> None:
        x = data.draw(arrays((3, 4), low=0.0, high=1.0)).astype(dtype)
        g = data.draw(arrays((3, 4)) | st.just(np.zeros((3, 4)))).astype(dtype)
        g[0, 0] = data.draw(st.sampled_from([0.0, np.nan, np.inf]))
        close(both(lambda x, g: step_along(x, g, -0.25, INFINITY, bounds), x, g), exact=True)

    @pytest.mark.parametrize("label", [-1, 4, 255, -(2**40)])
    def test_a_label_out_of_range_gives_nan(self, label: int) -> None:
        """On the device nobody looked at it before: it reads no other memory, and it shows."""
        library = backend.current()
        z, labels = library.asarray(rng.normal(size=(3, 4))), library.asarray(np.array([0, label, 3]))
        for found in (
            kernels.kernels_for(z).cross_entropy(z, labels),
            kernels.kernels_for(z).cross_entropy_slope(z, labels).sum(1),
        ):
            np.testing.assert_array_equal(np.isnan(library.to_numpy(found)), [False, True, False])

    @pytest.mark.parametrize("dtype", "bhilBHIL")
    def test_labels_of_every_integer_dtype(self, dtype: str) -> None:
        z, labels = rng.normal(size=(3, 4)), np.array([0, 2, 3], dtype)
        close(both(forward(costs._cross_entropy), z, labels))
        close(both(forward(costs._cross_entropy_slope), z, labels))

    def test_a_gradient_of_another_float_dtype(self) -> None:
        def updated(p: Any, v: Any, g: Any) -> Any:
            p = p.copy()
            sgd.update(p, v.copy(), g, 0.1, 0.5)
            return p

        close(both(updated, np.ones(3, np.float32), np.ones(3, np.float32), np.ones(3)))

    def test_dropout_switched_to_the_plain_form_on_the_way_back(
        self, fused: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x = mg.Tensor(fused.asarray(rng.normal(size=40)), requires_grad=True)
        y = mg.dropout(x, generator=mask_generator(1))
        (with_kernels,) = mg.grad(mg.sum(y), x, retain_graph=True)
        monkeypatch.setitem(kernels.made, fused, None)
        np.testing.assert_array_equal(mg.grad(mg.sum(y), x)[0].numpy(), with_kernels.numpy())

    @given(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 1.0]), max_size=40), seeds())
    def test_dropped_infinities_are_the_hosts(self, values: list[float], seed: int) -> None:
        x = np.array(values)
        found = mg.dropout(backend.current().asarray(x), generator=mask_generator(seed)).numpy()
        with backend.use("numpy"), np.errstate(invalid="ignore"):
            expected = mg.dropout(x, generator=mask_generator(seed)).numpy()
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))

    def test_half_precision_runs_in_the_plain_form(self) -> None:
        close(both(forward(maxout_units._maxout), rng.normal(size=(2, 6)).astype(np.float16), 3), exact=True)
        assert "maxout" not in counter.launches


class TestTheWhole:
    def network(self) -> tuple[Any, np.ndarray, np.ndarray]:
        model = MaxoutNetwork(12, 4, units=(6, 5), pieces=3, dropout=(0.8, 0.5), seed=1)
        for parameter in model.parameters():
            parameter.data *= 20.0
        random = np.random.default_rng(2)
        return model, random.random((9, 12), np.float32), random.integers(0, 4, 9)

    def trained(self, name: str) -> list[np.ndarray]:
        with backend.use(name) as library:
            model, x, y = self.network()
            optimiser = SGD(model.parameters(), lr=0.1, momentum=0.5, max_norm=1.9365)
            x, y = library.asarray(x), library.asarray(y)
            for _ in range(5):
                optimiser.zero_grad()
                adversarial_objective(model, x, y).backward()
                optimiser.step()
            adversarial = fgsm(model, x, y, epsilon=0.1, bounds=(0.0, 1.0))
            return [p.numpy() for p in model.parameters()] + [library.to_numpy(adversarial)]

    def test_adversarial_training_and_an_attack(self, fused: Any) -> None:
        for found, expected in zip(self.trained(fused.name), self.trained("numpy"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)

    def test_gradients_to_the_second_order(self) -> None:
        labels = np.array([0, 2])
        check_gradients(
            lambda z: mg.softmax_cross_entropy(mg.maxout(z * z, 2), labels), rng.normal(size=(2, 6)), order=2
        )

    def test_a_step_uploads_nothing_and_waits_for_nothing(self, fused: Any) -> None:
        if fused.name != "strict":
            pytest.skip("counted by the strict library")
        launches = self.launches_of_a_step()
        assert counter.uploads == []
        assert counter.synchronisations == []
        assert {"maxout", "maxout_spread", "cross_entropy", "cross_entropy_slope", "dropout",
                "momentum_update", "column_squares", "max_norm", "sign_step"} < set(launches)  # fmt: skip

    def launches_of_a_step(self) -> list[str]:
        """Those of the second step: the first makes the velocities."""
        model, x, y = self.network()
        optimiser = SGD(model.parameters(), lr=0.1, momentum=0.5, max_norm=1.9365)
        x, y = backend.current().asarray(x), backend.current().asarray(y)
        for _ in range(2):
            counter.reset()
            optimiser.zero_grad()
            adversarial_objective(model, x, y).backward()
            optimiser.step()
        return list(counter.launches)

    def test_a_step_has_half_the_launches_of_the_plain_forms(self, fused: Any) -> None:
        if fused.name != "strict":
            pytest.skip("counted by the strict library")
        with_kernels = self.launches_of_a_step()
        with lanes.plain_forms():
            plain = self.launches_of_a_step()
        assert len(with_kernels) < 0.55 * len(plain)
