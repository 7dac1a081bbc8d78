"""What all tests share: the array libraries they run on, and how hypothesis searches."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from minigrad import backend, lanes, operands
from minigrad.errors import BackendError
from tests.strict import StrictBackend

# A GPU compiles its kernels at their first use, so no example has a deadline.
common = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("ci", derandomize=True, max_examples=25, **common)
settings.register_profile("dev", max_examples=200, **common)
settings.register_profile("intense", max_examples=2000, **common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Hypothesis gives a parametrised test new settings at every item, each above those before: after some
    900 items of one test, to look for what they say goes too deep. Each item begins with the test's own."""
    test: Any = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
    own = getattr(test, SETTINGS, None)
    try:
        return (yield)
    finally:
        if own is not None:
            setattr(test, SETTINGS, own)


SETTINGS = "_hypothesis_internal_use_settings"

backend.register(StrictBackend())
if os.environ.get("MINIGRAD_TEST_OTHER_LIBRARY"):
    # Numbers alone become arrays of another library than the one that a test's arrays are in: nothing that is
    # computed from arrays may come near it.
    def elsewhere(*data: Any) -> backend.Backend:
        found = backend.for_new(*data)
        if not any(backend.find(value) or isinstance(value, np.generic) for value in data):
            return backend.get("strict" if found is backend.NUMPY else "numpy")
        return found

    operands.backend = SimpleNamespace(**{**vars(backend), "for_new": elsewhere})  # type: ignore[assignment]
if os.environ.get("MINIGRAD_TEST_CAPTURED"):
    from minigrad.optim.optimiser import Optimiser
    from tests.captured import captured_step

    lanes.replace(Optimiser, captured_step, "step")
RUNGS = os.environ.get("MINIGRAD_TEST_RUNGS", "").split()
if RUNGS:
    # Half of the fast lane: the forms of these of its modules, and everything else in its plain form.
    climbed = lanes.plain_forms(but=RUNGS)
    climbed.__enter__()


# The tests over CuPy are collected only where it has a GPU; one test in test_training.py says why not.
try:
    backend.get("cupy")
    CUPY = [pytest.param("cupy", marks=pytest.mark.gpu)]
except BackendError:
    CUPY = []


@pytest.fixture(params=["numpy", "strict", *CUPY])
def library(request: pytest.FixtureRequest) -> Iterator[backend.Backend]:
    """Each array library in turn, chosen for new arrays."""
    with backend.use(request.param):
        yield backend.get(request.param)


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if lanes.PLAIN or RUNGS:
        for item in items:
            if item.get_closest_marker("fast_lane"):
                item.add_marker(pytest.mark.skip(reason="the fast lane is off, or in part"))
