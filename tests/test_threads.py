"""Work in several threads and processes gives the bits that one thread gives."""

from __future__ import annotations

import copy
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np

import attacks
import minigrad as mg
from attacks import adversarial_objective, evaluate, fgsm, foreign, linear_worst_case, momentum_iterative, pgd
from models import MaxoutNetwork, SoftmaxRegression

WORKERS = 8
random = np.random.default_rng(5)
X, Y = random.standard_normal((60, 12), dtype=np.float32), random.integers(0, 4, 60)


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """work(0) to work(7), in eight threads that begin together."""
    begin = Barrier(WORKERS)

    def started(number: int) -> Any:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(started, range(WORKERS)))


def equal(found: Any, expected: Any) -> bool:
    """Bit for bit, in lists of arrays and evaluations."""
    if isinstance(found, np.ndarray):
        return found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    if isinstance(found, list):
        return len(found) == len(expected) and all(map(equal, found, expected))
    return bool(found == expected)


def network(seed: int) -> MaxoutNetwork:
    model = MaxoutNetwork(12, 4, units=(9, 7), pieces=3, dropout=(0.8, 0.5), seed=seed)
    for parameter in model.parameters():
        parameter.data *= 200.0
    return model


def train(seed: int) -> list[np.ndarray]:
    """Adversarial training of a model of its own; its weights."""
    model = network(seed)
    optimiser = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, max_norm=2.0)
    attack = partial(pgd, epsilon=0.1, step=0.05, steps=2, seed=np.random.default_rng(seed))
    for step in range(6):
        part = slice(10 * step, 10 * step + 10)
        optimiser.zero_grad()
        adversarial_objective(model, X[part], Y[part], attack=attack if step % 2 else None).backward()
        optimiser.step()
        with mg.no_grad():
            model(X[part])
    return [parameter.numpy() for parameter in model.parameters()]


def attack_and_evaluate(model: Any, seed: int) -> list[Any]:
    """Everything that runs a model in evaluation mode, on a share of the data."""
    x, y = np.roll(X, seed, axis=0), np.roll(Y, seed)
    steps = {"epsilon": 0.1, "step": 0.04, "steps": 3}
    return [
        model.predict(x),
        model.predict_proba(x),
        fgsm(model, x, epsilon=0.1),
        pgd(model, x, y, restarts=2, seed=seed, **steps),
        momentum_iterative(model, x, y, **steps),
        evaluate(model, x, y, partial(fgsm, epsilon=0.2), batch_size=25),
    ]


def test_eight_threads_train_models_of_their_own(impatient: None) -> None:
    assert equal(at_once(train), [train(seed) for seed in range(WORKERS)])


def test_eight_threads_attack_and_evaluate_one_model_that_is_in_training_mode(impatient: None) -> None:
    model = network(3)
    expected = [attack_and_evaluate(copy.deepcopy(model), seed) for seed in range(WORKERS)]
    masks = copy.deepcopy(model.mask_generator).random()
    assert equal(at_once(partial(attack_and_evaluate, model)), expected)
    assert all(module.training for _, module in model.named_modules())
    assert model.mask_generator.random() == masks  # no mask was drawn


def test_eight_threads_find_the_worst_case_of_one_linear_model(impatient: None) -> None:
    model = SoftmaxRegression(12, 4)

    def work(seed: int) -> Any:
        return linear_worst_case(model, X + np.float32(seed), Y, epsilon=0.3)

    assert equal(at_once(work), [work(seed) for seed in range(WORKERS)])


def test_calls_that_overlap_put_back_what_the_first_one_found() -> None:
    model, begun, ended = SoftmaxRegression(12, 4), [Event(), Event()], Event()
    grads = [np.ones(p.shape, np.float32) for p in model.parameters()]
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        parameter.grad = grad

    def work(number: int) -> None:
        def attack(model: Any, x: Any, y: Any) -> Any:
            begun[number].set()
            assert begun[1].wait(60)
            assert number == 0 or ended.wait(60)
            model.eval()
            return x

        assert number == 0 or begun[0].wait(60)
        evaluate(model, X, Y, attack)
        ended.set()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))
    assert model.training


def test_a_call_in_an_attack_puts_back_what_it_found() -> None:
    model = network(3)

    def careless(model: Any, x: Any, y: Any) -> Any:
        model.eval()
        return x

    def attack(model: Any, x: Any, y: Any) -> Any:
        evaluate(model, x, y, careless)
        assert model.training
        return x

    evaluate(model, X, Y, attack)
    assert not foreign._open


def test_processes_that_begin_afresh_train_and_attack_alike() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        trained = list(pool.map(train, range(4)))
        attacked = list(pool.map(attack_and_evaluate, [network(3)] * 4, range(4)))
    assert equal(trained, [train(seed) for seed in range(4)])
    assert equal(attacked, [attack_and_evaluate(network(3), seed) for seed in range(4)])


def test_nothing_of_the_whole_process_is_changed_for_a_while() -> None:
    """Another thread would see it. `np.errstate` is of the thread and task."""
    words = ("catch_warnings", "seterr(", "umask(", "setlocale(", "signal.signal", "environ[", "putenv",
             "chdir(", "random.seed", "set_printoptions", "basicConfig", "gc.disable", "setswitchinterval",
             "setrecursionlimit")  # fmt: skip
    for package in (mg, attacks, sys.modules["models"]):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            found = [word for word in words if word in path.read_text(encoding="utf-8")]
            assert not found, f"{path.name}: {found}"


def test_no_backward_pass_into_a_shared_leaf_is_lost(impatient: None) -> None:
    x = mg.Parameter(np.zeros(1))

    def work(_: int) -> None:
        for _ in range(100):
            mg.sum(x * 1.0).backward()

    at_once(work)
    assert x.grad.tolist() == [800.0]
