"""An attack on a data set, batch by batch: one thread and several give the same, and are refused the same."""

from __future__ import annotations

import gc
import random
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

import minigrad as mg
from attacks import (
    ZeroGradientWarning,
    attack_in_batches,
    basic_iterative,
    batches,
    evaluate,
    fgsm,
    fgsm_random_start,
    pgd,
)
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from models import LogisticRegression, MaxoutNetwork, SoftmaxRegression

SIZE, FEATURES, CLASSES = 103, 40, 4
rng = np.random.default_rng(17)
X = rng.standard_normal((SIZE, FEATURES), dtype=np.float32)
Y = rng.integers(0, CLASSES, SIZE)
SIGNS = np.where(Y > 1, 1, -1)


def maxout() -> MaxoutNetwork:
    """In training mode, with dropout and a grad."""
    return MaxoutNetwork(FEATURES, CLASSES, units=(30, 20), pieces=3, dropout=(0.8, 0.5), seed=2)


MODELS: dict[str, tuple[Any, np.ndarray]] = {
    "softmax": (SoftmaxRegression(FEATURES, CLASSES, seed=1), Y),
    "maxout": (maxout(), Y),
    "logistic": (LogisticRegression(FEATURES, seed=3), SIGNS),
}
for made, _ in MODELS.values():
    for parameter in made.parameters():
        parameter.data = np.asarray(rng.normal(0, 0.2, parameter.shape), np.float32)
        parameter.grad = np.ones(parameter.shape, np.float32)
FGSM: Any = partial(fgsm, epsilon=0.1)
FGSM.rng = 0.5
ATTACKS = {
    "fgsm": FGSM,
    "pgd": partial(pgd, epsilon=0.1, steps=2, restarts=2, seed=5),
    "basic_iterative": partial(basic_iterative, epsilon=0.1, steps=3, norm=2),
}


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def by_hand(attack: Any, model: Any, y: np.ndarray, size: int) -> np.ndarray:
    parts = [slice(i, i + size) for i in range(0, SIZE, size)]
    return np.concatenate([attack(model, X[part], y[part]) for part in parts])


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("name", MODELS)
@given(size=st.sampled_from([9, 34, 52, SIZE - 1, SIZE, SIZE + 20]))
def test_threads_give_the_bits_of_one(name: str, attack: Any, threads: int, size: int) -> None:
    model, y = MODELS[name]
    grads = [parameter.grad for parameter in model.parameters()]
    with threadpool_limits(1):
        expected = by_hand(attack, model, y, size)
        one = attack_in_batches(model, X, y, attack, batch_size=size)
        shares = evaluate(model, X, y, attack, batch_size=size)
    several = attack_in_batches(model, X, y, attack, batch_size=size, threads=threads)
    assert expected.tobytes() == one.tobytes() == several.tobytes()
    assert several.dtype == X.dtype
    assert evaluate(model, X, y, attack, batch_size=size, threads=threads) == shares
    assert model.training
    assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))


def test_threads_that_change_places_as_often_as_they_can(impatient: None) -> None:
    model, y = MODELS["maxout"]
    with threadpool_limits(1):
        expected = attack_in_batches(model, X, y, FGSM, batch_size=5)
        shares = evaluate(model, X, y, FGSM, batch_size=5)
    for _ in range(5):
        assert np.array_equal(attack_in_batches(model, X, y, FGSM, batch_size=5, threads=8), expected)
        assert evaluate(model, X, y, FGSM, batch_size=5, threads=8) == shares


@pytest.mark.parametrize("threads", [1, 2])
class TestInBatches:
    def test_without_labels_the_predictions_are_taken(self, threads: int) -> None:
        model = MODELS["softmax"][0]
        found = attack_in_batches(model, X, None, FGSM, batch_size=10, threads=threads)
        assert np.array_equal(found, by_hand(FGSM, model, model.predict(X), 10))

    def test_no_examples(self, threads: int) -> None:
        found = attack_in_batches(MODELS["softmax"][0], X[:0], Y[:0], FGSM, threads=threads)
        assert found.shape == (0, FEATURES)
        assert found.dtype == X.dtype

    def test_images_and_lists_of_labels(self, threads: int) -> None:
        class Flat:
            def cost(self, x: mg.Tensor, y: Any, reduction: str) -> mg.Tensor:
                return mg.sum(x * y.reshape(-1, 1, 1))

        x = rng.standard_normal((9, 2, 3))
        y = [1, -1, 1, 1, -1, 1, -1, -1, 1]
        found = attack_in_batches(Flat(), x, y, partial(fgsm, epsilon=1), batch_size=2, threads=threads)
        assert np.array_equal(found, x + np.reshape(y, (-1, 1, 1)))

    def test_the_callers_settings_hold_in_every_batch(self, threads: int) -> None:
        model, found = maxout(), []

        def attack(model: Any, x: Any, y: Any) -> Any:
            recorded = mg.sum(mg.Parameter(np.ones(1))).requires_grad
            found.append((model.training, recorded, mg.backend.current().name, np.geterr()["over"]))
            return fgsm(model, x, y, epsilon=0.1)

        for use in (attack_in_batches, partial(evaluate, warn_above=None)):
            with model.evaluating(), mg.no_grad(), mg.backend.use("strict"), np.errstate(over="raise"):
                use(model, X, Y, attack, batch_size=20, threads=threads)
            assert found == [(False, False, "strict", "raise")] * 6
            found.clear()
            use(model, X, Y, attack, batch_size=20, threads=threads)
            assert found == [(True, True, "numpy", np.geterr()["over"])] * 6
            found.clear()

    def test_what_an_attack_leaves_behind_is_put_back(self, threads: int) -> None:
        model = maxout()
        grads = [np.ones(p.shape, np.float32) for p in model.parameters()]
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter.grad = grad

        def careless(model: Any, x: Any, y: Any) -> Any:
            leaf = mg.Tensor(x, requires_grad=True)
            with model.evaluating():
                model.cost(leaf, y, "sum").backward()
            model.parameters()[0].requires_grad = False
            x += 0.1 * np.sign(leaf.grad)
            y[:] = -7
            return x

        x, y = X.copy(), Y.copy()
        found = attack_in_batches(model, x, y, careless, batch_size=20, threads=threads)
        assert np.array_equal(found, by_hand(partial(fgsm, epsilon=0.1), model, Y, 20))
        assert np.array_equal(x, X)
        assert np.array_equal(y, Y)
        assert all(p.requires_grad and p.grad is grad
                   for p, grad in zip(model.parameters(), grads, strict=True))  # fmt: skip
        assert all((grad == 1).all() for grad in grads)

    def test_the_first_error_of_the_batches_is_raised(self, threads: int) -> None:
        begun = threading.Event()

        def attack(model: Any, x: Any, y: Any) -> Any:
            if y[0] == 1:
                if threads > 1:
                    assert begun.wait(60)
                raise ZeroDivisionError("of the second batch")
            if y[0] == 2:
                begun.set()
                raise KeyError("of the third batch")
            return x

        for use in (attack_in_batches, evaluate):
            begun.clear()
            before = blas_threads()
            with pytest.raises(ZeroDivisionError, match="of the second batch"):
                use(MODELS["softmax"][0], X[:4], [0, 1, 2, 3], attack, batch_size=1, threads=threads)
            assert blas_threads() == before

    def test_what_is_not_finite_is_an_error(self, threads: int) -> None:
        def attack(model: Any, x: Any, y: Any) -> Any:
            return x * np.nan if y[0] == Y[1] else x

        with pytest.raises(NonFiniteError, match="what the attack returns must be finite, got 40 NaN"):
            attack_in_batches(MODELS["softmax"][0], X, Y, attack, batch_size=1, threads=threads)

    def test_progress(self, threads: int) -> None:
        model, seen = MODELS["softmax"][0], []

        def watch(parts: Any) -> Any:
            for part in parts:
                seen.append(part)
                yield part

        expected = attack_in_batches(model, X, Y, FGSM, batch_size=25)
        for progress in (watch, True, lambda parts: list(parts)[::-1]):
            found = attack_in_batches(model, X, Y, FGSM, batch_size=25, threads=threads, progress=progress)
            assert np.array_equal(found, expected)
        assert len(seen) == 5
        with pytest.raises(
            ArgumentError, match="progress must give back every batch, got those of 25 of 103 ex"
        ):
            attack_in_batches(model, X, Y, FGSM, batch_size=25, threads=threads, progress=lambda p: p[:1])
        with pytest.raises(ArgumentError, match="got those of 0 of 103 examples"):
            attack_in_batches(model, X, Y, FGSM, batch_size=25, threads=threads, progress=lambda p: [])
        with pytest.raises(ArgumentTypeError, match="progress must return what it wraps, got NoneType"):
            attack_in_batches(model, X, Y, lambda *_: pytest.fail("it ran"), threads=threads,
                              progress=lambda p: None)  # type: ignore[arg-type, return-value] # fmt: skip

    def test_an_interrupt_ends_it(self, threads: int) -> None:
        def interrupted(parts: Any) -> Iterator[Any]:
            yield parts[0]
            raise KeyboardInterrupt

        before, alive = blas_threads(), threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            evaluate(MODELS["softmax"][0], X, Y, FGSM, batch_size=1, threads=threads, progress=interrupted)
        assert (blas_threads(), threading.active_count()) == (before, alive)

    def test_warnings_of_zero_gradients(self, threads: int) -> None:
        """`evaluate` gives one of its own, and an attack in batches one a batch."""
        model = SoftmaxRegression(FEATURES, CLASSES)
        model.output.W.data[:] = 0
        with pytest.warns(ZeroGradientWarning, match="100.0% of 103 examples") as caught:
            evaluate(model, X, Y, FGSM, batch_size=25, threads=threads)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        with pytest.warns(ZeroGradientWarning, match="100.0% of (25|3) examples") as caught:
            attack_in_batches(model, X, Y, FGSM, batch_size=25, threads=threads)
        assert len(caught) == 5
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ZeroGradientWarning):
                attack_in_batches(model, X, Y, FGSM, batch_size=25, threads=threads)

    def test_an_error_is_freed_with_its_arrays(self, threads: int) -> None:
        kept: list[Any] = []

        def attack(model: Any, x: Any, y: Any) -> Any:
            array = x + 1
            kept.append(weakref.ref(array))
            raise ZeroDivisionError

        gc.disable()
        try:
            with pytest.raises(ZeroDivisionError):
                attack_in_batches(MODELS["softmax"][0], X, Y, attack, batch_size=60, threads=threads)
            assert all(reference() is None for reference in kept)
        finally:
            gc.enable()


class TestThreads:
    def test_blas_has_one_thread_as_long_as_they_work(self) -> None:
        found = []

        def attack(model: Any, x: Any, y: Any) -> Any:
            found.append(blas_threads())
            return x

        with threadpool_limits(2):
            before = blas_threads()
            attack_in_batches(MODELS["softmax"][0], X, Y, attack, batch_size=30, threads=2)
            assert blas_threads() == before
        assert found == [[1] * len(before)] * 4

    def test_calls_that_overlap_put_back_what_was(self) -> None:
        with threadpool_limits(2):
            before, ones = blas_threads(), [1] * len(blas_threads())
            first, second = batches.one_blas_thread, batches.one_blas_thread
            first.__enter__()
            second.__enter__()
            first.__exit__()
            assert blas_threads() == ones
            second.__exit__()
            assert blas_threads() == before

    def test_calls_in_several_threads(self, impatient: None) -> None:
        model, y = MODELS["maxout"]
        with threadpool_limits(1):
            expected = attack_in_batches(model, X, y, FGSM, batch_size=20)
        before = blas_threads()
        with ThreadPoolExecutor(4) as pool:
            use = partial(attack_in_batches, model, X, y, FGSM, batch_size=20, threads=2)
            found = [future.result() for future in [pool.submit(use) for _ in range(12)]]
        assert all(np.array_equal(adversarial, expected) for adversarial in found)
        assert blas_threads() == before

    def test_batches_that_have_not_begun_are_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begun, dropped = [], threading.Event()

        class Pool(ThreadPoolExecutor):
            def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
                super().shutdown(wait=False, cancel_futures=cancel_futures)
                dropped.set()
                super().shutdown()

        def attack(model: Any, x: Any, y: Any) -> Any:
            begun.append(y[0])
            if y[0] == 0:
                raise ZeroDivisionError
            assert dropped.wait(60)
            return x

        monkeypatch.setattr(batches, "ThreadPoolExecutor", Pool)
        with pytest.raises(ZeroDivisionError):
            attack_in_batches(None, X, np.arange(SIZE), attack, batch_size=1, threads=2)
        assert len(begun) <= 3

    def test_an_attack_that_changes_modes(self) -> None:
        def careless(model: Any, x: Any, y: Any) -> Any:
            model.eval()
            return fgsm(model, x, y, epsilon=0.1)

        model = maxout()
        for use in (attack_in_batches, evaluate):
            with pytest.raises(ArgumentError, match="attack must leave the modes of the model alone"):
                use(model, X, Y, careless, batch_size=20, threads=2)
            assert model.training

    def test_a_random_generator_in_the_attack(self) -> None:
        generator = np.random.default_rng(0)
        attack = partial(fgsm_random_start, epsilon=0.1, seed=generator)

        def closure(model: Any, x: Any, y: Any) -> Any:
            return pgd(model, x, y, epsilon=0.1, seed=generator)

        def of_default(model: Any, x: Any, y: Any, source: Any = generator) -> Any:
            return x

        def of_global(model: Any, x: Any, y: Any) -> Any:
            return x + rng.normal(size=x.shape)

        class Own:
            def __init__(self) -> None:
                self.source = random.Random(0)

            def __call__(self, model: Any, x: Any, y: Any) -> Any:
                return x

            method = __call__

        model = SimpleNamespace(predict=0, predict_proba=0, cost=0)  # which nobody calls
        for refused, name in (
            (attack, "seed"),
            (partial(partial(pgd, seed=generator), epsilon=0.1), "seed"),
            (lambda model, x, y: attack(model, x, y), "attack"),
            (closure, "generator"),
            (of_default, "source"),
            (of_global, "rng"),
            (partial(lambda source, model, x, y: x, np.random.RandomState(0)), "argument 1"),
            (partial(of_global), "rng"),
            (Own(), "source"),
            (Own().method, "source"),
        ):
            name = "(attack|seed)" if name == "attack" else name
            for use in (attack_in_batches, evaluate):
                with pytest.raises(
                    ArgumentError, match=rf"^attack must have no random .*got one as {name}: b"
                ):
                    use(model, X, Y, refused, threads=2)  # type: ignore[operator]
        assert generator.bit_generator.state == np.random.default_rng(0).bit_generator.state
        softmax = MODELS["softmax"][0]
        attack_in_batches(softmax, X, Y, lambda model, x, y: x + FGSM.rng, threads=2)  # no rng of ours
        found = attack_in_batches(softmax, X, Y, attack, batch_size=20)  # one thread draws in order
        source = np.random.default_rng(0)
        assert np.array_equal(found, by_hand(partial(attack, seed=source), softmax, Y, 20))

    def test_without_threadpoolctl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
        model = MODELS["softmax"][0]
        for use in (attack_in_batches, evaluate):
            with pytest.raises(ArgumentError, match="needs threadpoolctl: pip install threadpoolctl"):
                use(model, X, Y, FGSM, threads=3)
            use(model, X, Y, FGSM)

    def test_they_are_for_host_arrays(self, library: Any) -> None:
        model = SoftmaxRegression(FEATURES, CLASSES)
        x = library.asarray(X)
        found = attack_in_batches(model, x, Y, FGSM, batch_size=40)
        assert mg.backend.of(found) is library
        assert np.array_equal(library.to_numpy(found), library.to_numpy(FGSM(model, x, Y)))
        for use in (attack_in_batches, evaluate):
            with refused_unless(library.name == "numpy"):
                use(model, x, Y, FGSM, threads=2)


@contextmanager
def refused_unless(taken: bool) -> Iterator[None]:
    if taken:
        yield
        return
    with pytest.raises(ArgumentError, match="threads must be 1 unless x is a numpy array, got 2 for"):
        yield


def test_bad_input() -> None:
    untouched = SimpleNamespace()
    for options, message in (
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"threads": 2.0}, "threads must be an integer, got 2.0"),
        ({"threads": True}, "threads must be an integer, got True"),
        ({"progress": None}, "progress must be True, False or a function"),
    ):
        for use in (attack_in_batches, evaluate):
            with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^{message}"):
                use(untouched, X, Y, FGSM, **options)  # type: ignore[operator]
    with pytest.raises(ArgumentTypeError, match="attack must be a function attack"):
        attack_in_batches(untouched, X, Y, "fgsm")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"y must hold 103 labels, one an example, got shape \(4,\)"):
        attack_in_batches(untouched, X, Y[:4], FGSM)
    with pytest.raises(ArgumentError, match="x must be finite, got 1 NaN"):
        x = X.copy()
        x[99, 9] = np.nan
        attack_in_batches(untouched, x, Y, lambda *_: pytest.fail("it ran"), batch_size=1)
