"""A write is a write for all that look at the memory, and for nobody else."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend
from minigrad.errors import GraphError
from minigrad.writes import writes

# Ways from a Tensor of shape (3, 2) to another one that looks at the same memory.
LOOKS: dict[str, Callable[[mg.Tensor], mg.Tensor]] = {
    "itself": lambda t: t,
    "slice": lambda t: t[:2],
    "row": lambda t: t[1],
    "backwards": lambda t: t[::-1],
    "new axis": lambda t: t[None],
    "reshape": lambda t: t.reshape(6),
    "transpose": lambda t: t.T,
    "broadcast_to": lambda t: mg.broadcast_to(t, (4, 3, 2)),
    "detach": lambda t: t.detach(),
    "Tensor of its array": lambda t: mg.Tensor(t.data),
    "to its own library": lambda t: t.to("numpy" if isinstance(t.data, np.ndarray) else "strict"),
    "view of a view": lambda t: t.T[:, :2].detach(),
}
looks = st.sampled_from(sorted(LOOKS))


def start(library: Any) -> mg.Tensor:
    return mg.Tensor(library.asarray(np.arange(6.0).reshape(3, 2) / 6), requires_grad=True)


@given(looks, looks, st.booleans())
def test_every_look_at_an_arguments_memory_counts(
    library: Any, used: str, written: str, create: bool
) -> None:
    x = start(library)
    other, factor = LOOKS[written](x), mg.Tensor(library.asarray(2.0), requires_grad=True)
    y = mg.sum(factor * LOOKS[used](x))
    other.changed_in_place()
    with pytest.raises(GraphError, match="changed in place after it was used"):
        mg.grad(y, factor, create_graph=create)


@given(looks)
def test_so_does_every_look_at_a_results(library: Any, written: str) -> None:
    x = start(library)
    y = mg.exp(x)
    J = mg.sum(y)
    LOOKS[written](y).changed_in_place()
    with pytest.raises(GraphError, match="the result of exp was changed in place|an argument of sum"):
        J.backward()
    assert x.grad is None


@given(looks, looks)
def test_a_write_before_the_use_is_none(library: Any, used: str, written: str) -> None:
    x = start(library)
    LOOKS[written](x).changed_in_place()
    factor = mg.Tensor(library.asarray(2.0), requires_grad=True)
    mg.sum(LOOKS[used](x) * factor).backward()
    assert factor.grad is not None


@given(looks)
def test_other_memory_is_other_memory(library: Any, used: str) -> None:
    x, z = start(library), start(library)
    factor = mg.Tensor(library.asarray(2.0), requires_grad=True)
    y = mg.sum(LOOKS[used](x) * LOOKS[used](z.detach()) * factor)
    mg.copy(x).changed_in_place()
    x.astype(np.float32).changed_in_place()
    start(library).changed_in_place()
    y.backward()
    assert factor.grad is not None


def test_numpys_own_views_count() -> None:
    memory = np.zeros(10)
    x, y = mg.Tensor(memory[:5], requires_grad=True), mg.Tensor(memory[3:8].reshape(5))
    J = mg.sum(x * x)
    y.data += 1
    y.changed_in_place()
    with pytest.raises(GraphError):
        J.backward()


def test_a_remainder_notices_a_write_to_the_x_that_it_was_cut_from(library: Any) -> None:
    x = start(library)
    W = mg.Parameter(np.ones((2, 2)))
    gradient, remainder = mg.grad_and_remainder(mg.sum(mg.exp(x @ W.to(library.name))), x)
    x.data[...] = 0.0
    x.changed_in_place()
    with pytest.raises(GraphError):
        remainder.backward()


def test_replaced_data_is_noticed_where_it_would_count(library: Any) -> None:
    x = start(library)
    y = mg.sum(x * x * x)
    old = mg.Tensor(x.data, requires_grad=True)
    x.data = library.asarray(np.ones((3, 2)))
    with pytest.raises(GraphError, match="replaced"):
        mg.grad(y, x, create_graph=True)
    y.backward()  # of the values that it was computed from
    mg.sum(old * old * old).backward()
    np.testing.assert_array_equal(mg.Tensor(x.grad).numpy(), mg.Tensor(old.grad).numpy())


def test_the_record_lives_no_longer_than_the_memory() -> None:
    gc.collect()  # what other tests left in cycles
    before = len(writes._ages)
    for _ in range(20):
        mg.Tensor(np.zeros(3)).changed_in_place()
    gc.collect()
    assert len(writes._ages) <= before + 1 == len(writes._owners) + 1


def test_memory_that_is_no_arrays() -> None:
    buffer = bytearray(16)
    x = mg.Tensor(np.frombuffer(buffer), requires_grad=True)
    J = mg.sum(x * x)
    mg.Tensor(x.data[1:]).changed_in_place()
    with pytest.raises(GraphError):
        J.backward()


def test_replaced_data_without_dimensions_is_noticed_too() -> None:
    x = mg.Tensor(3.0, requires_grad=True)
    y = x * x * x
    x.data = np.array(5.0)
    with pytest.raises(GraphError, match="replaced"):
        mg.grad(y, x, create_graph=True)
    single = mg.Tensor(np.float32(3.0), requires_grad=True)
    # It was converted to the float64 of the others, which is no change.
    assert mg.grad(mg.sum(single * np.ones(2)), single, create_graph=True)[0].item() == 2.0


OPTIONS: dict[str, Callable[[mg.Tensor, mg.Tensor], mg.Tensor]] = {
    "labels": mg.softmax_cross_entropy,
    "indices": lambda z, i: mg.sum(z[i] * z[i]),
}


@pytest.mark.parametrize("name", ["labels", "indices"])
def test_arrays_among_the_options_count(name: str) -> None:
    z, i = start(backend.NUMPY), mg.Tensor(np.array([0, 1, 1]))
    J = OPTIONS[name](z, i)
    i.data[...] = 0
    i.changed_in_place()
    with pytest.raises(GraphError):
        J.backward()


@pytest.mark.parametrize(
    "view",
    [
        lambda a: np.lib.stride_tricks.as_strided(a, (2,), (8,)),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2)),
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.asarray(memoryview(a)[1:]).T,
        lambda a: a.view(np.float32).view(np.float64),
        lambda a: np.broadcast_arrays(a, a)[0],
        np.ravel,
    ],
)
def test_every_way_to_a_view_counts(view: Any) -> None:
    memory = np.ones((3, 3))
    x, used = mg.Tensor(2.0, requires_grad=True), mg.Tensor(view(memory))
    J = mg.sum(x * used)
    mg.Tensor(memory).changed_in_place()
    with pytest.raises(GraphError):
        J.backward()
