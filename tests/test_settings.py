"""Blocks that switch something for a while: each in its own thread and task, each removing itself alone."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentTypeError, NonFiniteError
from minigrad.modes import Settings, in_force
from models import MaxoutNetwork

MODEL = MaxoutNetwork(3, 2, units=(2,), pieces=2, dropout=(0.5, 0.5))
LAYER = MODEL.hidden[0]
BLOCKS: dict[str, Callable[[], Any]] = {
    "no_grad": mg.no_grad,
    "enable_grad": mg.enable_grad,
    "detect_nonfinite": mg.detect_nonfinite,
    "evaluating the model": MODEL.evaluating,
    "evaluating a layer": LAYER.evaluating,
}


def observed() -> dict[str, bool]:
    """What a user sees of the settings."""
    try:
        mg.Tensor([np.inf]) * 1.0
        detecting = False
    except NonFiniteError:
        detecting = True
    return {
        "recording": (mg.Tensor([1.0], requires_grad=True) * 1.0).requires_grad,
        "detecting": detecting,
        "model": MODEL.training,
        "layer": LAYER.training,
    }


def expected(names: list[str]) -> dict[str, bool]:
    """The same from the names of the open blocks, in the order in which they were opened."""
    recordings = [name == "enable_grad" for name in names if name.endswith("_grad")]
    return {
        "recording": recordings[-1] if recordings else True,
        "detecting": "detect_nonfinite" in names,
        "model": "evaluating the model" not in names,
        "layer": not {"evaluating the model", "evaluating a layer"} & set(names),
    }


moves = st.lists(st.tuples(st.sampled_from(sorted(BLOCKS)), st.integers(0, 9)), max_size=12)


def play(moves: list[tuple[str, int]]) -> Iterator[None]:
    """Open the named blocks; a 5 and above closes one of those that are open, in any order."""
    open_blocks: list[tuple[str, Any]] = []
    for name, number in moves:
        if number >= 5 and open_blocks:
            _, block = open_blocks.pop(number % len(open_blocks))
            block.__exit__(None, None, None)
        else:
            block = BLOCKS[name]()
            block.__enter__()
            open_blocks.append((name, block))
        assert observed() == expected([name for name, _ in open_blocks])
        yield
    for _, block in open_blocks:
        block.__exit__(None, None, None)
    assert observed() == expected([])


@given(moves)
def test_blocks_may_be_left_in_any_order(moves: list[tuple[str, int]]) -> None:
    before = in_force.get()
    for _ in play(moves):
        pass
    assert in_force.get() is before


@given(st.lists(moves, min_size=2, max_size=3))
def test_tasks_do_not_see_each_others_blocks(of_tasks: list[list[tuple[str, int]]]) -> None:
    async def task(moves: list[tuple[str, int]]) -> None:
        for _ in play(moves):
            await asyncio.sleep(0)

    async def together() -> None:
        await asyncio.gather(*map(task, of_tasks))

    asyncio.run(together())
    assert observed() == expected([])


def test_threads_do_not_see_each_others_blocks() -> None:
    seen: list[dict[str, bool]] = []
    with mg.no_grad(), mg.detect_nonfinite(), MODEL.evaluating():
        thread = threading.Thread(target=lambda: seen.append(observed()))
        thread.start()
        thread.join()
    assert seen == [expected([])]


def test_a_block_that_another_thread_closes_changes_nothing_there() -> None:
    def suspended() -> Iterator[None]:
        with mg.no_grad():
            yield

    generator = suspended()
    thread = threading.Thread(target=lambda: next(generator))
    thread.start()
    thread.join()
    with mg.detect_nonfinite():
        generator.close()
        assert observed() == expected(["detect_nonfinite"])
    assert observed() == expected([])


def test_a_task_begins_with_what_is_open_where_it_was_made() -> None:
    async def inside() -> bool:
        return observed()["recording"]

    async def outside() -> bool:
        with mg.no_grad():
            task = asyncio.create_task(inside())
        return await task

    assert asyncio.run(outside()) is False


def test_a_function_that_calls_itself_may_be_decorated() -> None:
    @mg.no_grad()
    def deep(n: int) -> list[bool]:
        return [observed()["recording"], *(deep(n - 1) if n else [])]

    assert deep(3) == [False] * 4
    assert observed()["recording"]


def test_an_error_closes_the_block() -> None:
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        1 / 0  # noqa: B018
    assert observed()["recording"]


@pytest.mark.parametrize("name", ["no_grad", "enable_grad", "detect_nonfinite"])
def test_forgotten_parentheses_are_named(name: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"write @{name}\\(\\)"):
        getattr(mg, name)(lambda x: x)
    with pytest.raises(ArgumentTypeError, match="function to decorate"):
        getattr(mg, name)()(5)


class TestLibraries:
    def test_a_block_restores_what_a_plain_call_chose(self) -> None:
        strict = backend.get("strict")

        def look() -> list[str]:
            names = []
            backend.use("strict")
            names.append(backend.current().name)
            with backend.use("numpy"):
                names.append(backend.current().name)
            names.append(backend.current().name)
            backend.use("numpy")
            names.append(backend.current().name)
            return names

        assert in_another_context(look) == ["strict", "numpy", "strict", "numpy"]
        assert strict.name == "strict"

    def test_blocks_may_be_left_in_another_order(self) -> None:
        def look() -> list[str]:
            first, second = backend.use("strict"), backend.use("numpy")
            first.__enter__()
            second.__enter__()
            names = [backend.current().name]
            first.__exit__(None, None, None)
            names.append(backend.current().name)
            second.__exit__(None, None, None)
            return [*names, backend.current().name]

        assert in_another_context(look) == ["numpy", "numpy", "numpy"]

    def test_many_plain_calls_take_no_more_memory(self) -> None:
        def depth() -> int:
            for _ in range(100):
                backend.use("numpy")
            found, settings = 0, in_force.get()
            while settings.block is not None:
                found, settings = found + 1, settings.outside
            return found

        assert in_another_context(depth) <= 3

        def of_calls_in_blocks() -> int:
            for _ in range(100):
                with mg.no_grad():
                    backend.use("numpy")
            return depth()

        assert in_another_context(of_calls_in_blocks) <= 3

    def test_it_is_no_decorator(self) -> None:
        with pytest.raises(ArgumentTypeError, match="decorates nothing"):

            @backend.use("numpy")
            def function() -> None: ...


def in_another_context(function: Callable[[], Any]) -> Any:
    import contextvars

    context = contextvars.Context()
    return context.run(function)


class TestEvaluating:
    def test_it_is_not_seen_by_a_thread_that_trains(self) -> None:
        x = np.ones((4, 3), np.float32)
        inside, trained = threading.Event(), threading.Event()
        seen: list[bool] = []

        def train() -> None:
            inside.wait()
            seen.append(MODEL.training)
            MODEL(x)
            trained.set()

        thread = threading.Thread(target=train)
        thread.start()
        with MODEL.evaluating():
            inside.set()
            trained.wait()
            assert not MODEL.training
            first, second = MODEL(x).numpy(), MODEL(x).numpy()
        thread.join()
        assert seen == [True]
        np.testing.assert_array_equal(first, second)

    def test_train_within_holds_afterwards(self) -> None:
        model = MaxoutNetwork(3, 2, units=(2,))
        with model.evaluating():
            model.eval()
        assert not model.training
        with model.evaluating():
            model.train()
            assert not model.training
        assert model.training

    def test_its_modules_live_as_long_as_it(self) -> None:
        with MaxoutNetwork(3, 2, units=(2,)).evaluating():
            assert all(MaxoutNetwork(3, 2, units=(2,)).training for _ in range(50))

    def test_a_class_does_not_hide_training(self) -> None:
        with pytest.raises(ArgumentTypeError, match="training must be left"):

            class Hiding(mg.Module):
                training = True

    @pytest.mark.parametrize("mode", ["no", 1, None])
    def test_a_mode_is_a_bool(self, mode: Any) -> None:
        model = MaxoutNetwork(3, 2, units=(2,))
        with pytest.raises(ArgumentTypeError, match="mode must be True or False"):
            model.train(mode)
        with pytest.raises(ArgumentTypeError, match="training must be True or False"):
            model.training = mode
        assert model.training


def test_settings_are_never_changed() -> None:
    with mg.no_grad():
        inner = in_force.get()
        with mg.enable_grad():
            assert inner.recording is False
    assert Settings().recording is True


def test_a_body_that_would_run_outside_is_refused_behind_wrappers_too() -> None:
    def generator() -> Any:
        yield 1

    async def coroutine() -> None:
        pass

    for late in (generator, coroutine):
        hidden = functools.wraps(late)(lambda late=late: late())
        for wrapped in (hidden, functools.partial(late)):
            with pytest.raises(ArgumentTypeError, match="whose body runs after the call"):
                mg.no_grad()(wrapped)()
    assert mg.no_grad()(functools.partial(list, (1, 2)))() == [1, 2]
