"""The plain core and the fast lane: the core is complete, and the lane computes what the core does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from attacks import adversarial_objective, fgsm
from minigrad import lanes, remainder
from minigrad.errors import ArgumentError
from minigrad.testing import networks
from models import MaxoutNetwork
from tests import size


def test_without_the_fast_lane_none_of_it_is_loaded() -> None:
    script = (
        "import sys, minigrad, models, attacks, minigrad.testing\n"
        "print([name for name in sys.modules if name.startswith(('minigrad.fast', 'attacks.fused'))])"
    )
    for plain in (True, False):
        run = [sys.executable, "-c", script]
        environment = os.environ | {"MINIGRAD_PLAIN": "1" if plain else ""}
        done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
        assert (done.stdout == "[]\n") == plain


def test_the_core_stays_short() -> None:
    assert size.path_lines() <= size.MOST_OF_PATH
    assert size.lines_of(size.CORE) <= size.MOST_OF_CORE
    assert size.lines_of(size.CAPTURE) <= size.MOST_OF_CAPTURE


def test_lines_of_code_are_counted_without_docstrings_comments_and_blanks() -> None:
    source = (
        '"""A docstring\nof two lines."""\n\n# a comment\ndef f(x):\n    "doc"\n    return """a\n    b"""\n'
    )
    assert size.code_lines(source) == 3


# ---- the two lanes side by side


def close(found: Any, expected: Any) -> None:
    for ours, plain in zip(found, expected, strict=True):
        assert ours.dtype == plain.dtype
        tolerance = 1e3 * np.finfo(ours.dtype).eps
        np.testing.assert_allclose(ours, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.fast_lane
@given(drawn=networks(), dtype=st.sampled_from([np.float32, np.float64]), used=st.integers(1, 3))
def test_gradients_of_networks_whose_weights_are_used_more_than_once(
    drawn: Any, dtype: Any, used: int
) -> None:
    network, arrays = drawn

    def gradients() -> list[np.ndarray]:
        x, *weights = (mg.Parameter(array.astype(dtype)) for array in arrays)
        total = mg.sum(mg.tanh(network(x, *weights)))
        for times in range(1, used):
            total = total + mg.sum(network(x * (0.5 / times), *weights))
        first = [g.numpy() for g in mg.grad(total, [x, *weights], retain_graph=True)]
        total.backward(retain_graph=True)
        slopes = mg.grad(total, weights, create_graph=True)
        second = mg.grad(sum(mg.sum(slope * slope) for slope in slopes), weights)
        return [*first, *(g.numpy() for g in second), *(p.grad for p in (x, *weights))]

    found = gradients()
    with lanes.plain_forms():
        expected = gradients()
    for ours, plain in zip(found, expected, strict=True):
        assert ours.dtype == plain.dtype
        scale = max(float(np.abs(plain).max(initial=0.0)), 1.0)
        np.testing.assert_allclose(ours / scale, plain / scale, atol=1e4 * np.finfo(dtype).eps)


@pytest.mark.fast_lane
@pytest.mark.parametrize("dropout", [None, (0.8, 0.5)])
def test_adversarial_training_and_an_attack(dropout: Any) -> None:
    random = np.random.default_rng(2)
    x, y = random.random((20, 12), dtype=np.float32), random.integers(0, 4, 20)

    def trained() -> list[np.ndarray]:
        model = MaxoutNetwork(12, 4, units=(6, 5), pieces=3, dropout=dropout, seed=1)
        for parameter in model.parameters():
            parameter.data *= 20.0
        optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, max_norm=1.0)
        for _ in range(5):
            optimiser.zero_grad()
            adversarial_objective(model, x, y).backward()
            optimiser.step()
        return [*(p.numpy() for p in model.parameters()), fgsm(model, x, y, epsilon=0.1, bounds=(0.0, 1.0))]

    found = trained()
    with lanes.plain_forms():
        close(found, trained())


SPECIAL = st.sampled_from([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 5e-324, 1e-45, 3e38])


@pytest.mark.fast_lane
@given(
    special=st.lists(SPECIAL, min_size=1, max_size=7),
    dtype=st.sampled_from([np.float32, np.float64]),
    shape=st.sampled_from([(2000,), (40, 50), (1, 40, 50)]),
    layout=st.sampled_from(["rows", "columns", "every second", "repeated"]),
    zero=st.sampled_from([0.0, -0.0, 0, 2.0]),
    first=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_a_mask_selects_is_the_same_to_the_bit(
    special: Any, dtype: Any, shape: Any, layout: str, zero: Any, first: bool, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) > 0.5
    with np.errstate(over="ignore"):
        x = np.resize(np.array(special), shape).astype(dtype)
    x = {
        "rows": x,
        "columns": np.asfortranarray(x),
        "every second": np.repeat(x, 2, -1)[..., ::2],
        "repeated": np.broadcast_to(x[..., :1], shape),
    }[layout]

    def selected() -> np.ndarray:
        return mg.where(mask, x, zero).numpy() if first else mg.where(mask, zero, x).numpy()

    found = selected()
    with lanes.plain_forms():
        expected = selected()
    assert found.dtype == expected.dtype == dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.fast_lane
@given(
    examples=st.integers(0, 5),
    sides=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    in_cache=st.sampled_from([1, 60, 150, 1 << 17]),
    values=st.sampled_from([[0.0, 1.0, -1.0], [-0.0, 0.0, np.inf, 2.0], [np.nan, 1.0, -np.inf]]),
)
def test_images_in_parts(
    examples: int, sides: Any, size: Any, stride: int, in_cache: int, values: list[float]
) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(examples, *sides, 2))
    W = random.normal(size=(*size, 2, 3))
    tied = random.choice(values, size=x.shape)

    def gradients() -> list[np.ndarray]:
        a, b, c = (mg.Tensor(array, requires_grad=True) for array in (x, W, tied))
        y = mg.conv2d(a, b, None, stride)
        pooled = mg.max_pool2d(c, size, stride)
        g = np.random.default_rng(1).normal(size=y.shape)
        u = mg.Tensor(np.random.default_rng(2).normal(size=pooled.shape), requires_grad=True)
        first = mg.grad(y, (a, b), gradient=g, create_graph=True)
        second = mg.grad(mg.sum(first[0] * x) + mg.sum(first[1] * W), (a, b))
        (spread,) = mg.grad(mg.sum(pooled * u), c, create_graph=True)
        third = mg.grad(spread, u, gradient=x)
        return [v.numpy() for v in (y, *first, *second, pooled, spread, *third)]

    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore"):
        patch.setattr(mg.fast.images, "IN_CACHE", in_cache)
        found = gradients()
        with lanes.plain_forms():
            close(found, gradients())


@pytest.mark.fast_lane
def test_both_forms_of_the_gradient_and_the_remainder() -> None:
    random = np.random.default_rng(0)

    def both_parts() -> list[np.ndarray]:
        x, W = (mg.Tensor(random.normal(size=shape), requires_grad=True) for shape in ((4, 3), (3, 5)))
        J = mg.mean(mg.exp(mg.tanh(x @ W)) * mg.sum(W * W))
        gradient, rest = mg.grad_and_remainder(J, x)
        slope = mg.grad(rest, W, create_graph=True)[0]
        return [gradient.numpy(), rest.numpy(), slope.numpy(), mg.grad(mg.sum(slope**2), W)[0].numpy()]

    found = both_parts()
    random = np.random.default_rng(0)
    with lanes.plain_forms():
        close(found, both_parts())


@pytest.mark.fast_lane
def test_plain_forms_end_with_the_block_that_asked_for_them() -> None:
    fast = mg.Tensor.__add__, mg.engine.new_sums.forward
    with pytest.raises(ZeroDivisionError), lanes.plain_forms():
        assert mg.engine.new_sums.forward is mg.engine.Sums
        raise ZeroDivisionError
    assert (mg.Tensor.__add__, mg.engine.new_sums.forward) == fast


@pytest.mark.fast_lane
def test_blocks_that_overlap_end_in_any_order() -> None:
    fast = mg.engine.new_sums.forward
    first, second = lanes.plain_forms(), lanes.plain_forms(but=("sums",))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert mg.engine.new_sums.forward is fast
    assert remainder.grad_and_remainder.forward is remainder.grad_and_remainder.plain
    second.__exit__(None, None, None)
    assert remainder.grad_and_remainder.forward is not remainder.grad_and_remainder.plain
    with (
        pytest.raises(ArgumentError, match="but must name modules with fast forms, .*sums.*got"),
        lanes.plain_forms(but=["sum"]),
    ):
        pass


@pytest.mark.fast_lane
def test_the_forms_of_some_modules_can_be_kept() -> None:
    fast = mg.engine.new_sums.forward
    with lanes.plain_forms(but=["sums"]):
        assert mg.engine.new_sums.forward is fast
        assert remainder.grad_and_remainder.forward is remainder.grad_and_remainder.plain
        with lanes.plain_forms():
            assert mg.engine.new_sums.forward is mg.engine.Sums
        assert mg.engine.new_sums.forward is fast
        assert remainder.grad_and_remainder.forward is remainder.grad_and_remainder.plain
    assert remainder.grad_and_remainder.forward is not remainder.grad_and_remainder.plain
