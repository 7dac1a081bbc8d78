"""Every public function refuses what it cannot take, says so, and leaves everything as it was."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import attacks
import minigrad as mg
import minigrad.testing
import models
from tests.bad_inputs import CALLS, CASES, DOCUMENTED, NOT_CALLED, Call, Case, fault_of, fault_of_message

CASES_OF = {c.name: [case for case in CASES if case.call is c] for c in CALLS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES_OF)
def test_bad_arguments_are_refused(name: str) -> None:
    """One test a function; what fails is listed case by case."""
    faults = {str(case): fault for case in CASES_OF[name] if (fault := fault_of(case))}
    assert not faults, "\n".join(f"{case}: {fault}" for case, fault in faults.items())


@pytest.mark.parametrize("call", [c for c in CALLS if c.name not in ("save", "load")], ids=lambda c: c.name)
def test_the_good_calls_are_good(call: Call) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call.function(**call.good())


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c.name)
def test_every_parameter_is_declared(call: Call) -> None:
    assert set(inspect.signature(plain(call.parameters_of)).parameters) == set(call.kinds)


def plain(function: Any) -> Any:
    """A primitive's forward without the array library; a class and a function as they are."""
    if not isinstance(function, mg.Primitive):
        return function
    names = list(inspect.signature(function.plain).parameters.values())[1:]
    signature = inspect.Signature(names)
    return type("Called", (), {"__call__": lambda *a: None, "__signature__": signature})()


def public_names() -> set[str]:
    modules = (mg, mg.testing, models, attacks)
    names = {n for module in modules for n in module.__all__ if not inspect.ismodule(getattr(module, n))}
    return names | {"SGD", "Adam", "exponential_decay", "linear_ramp", "random_generator", "mask_generator"}


def test_every_public_function_is_declared() -> None:
    declared = {c.name for c in CALLS}
    undeclared = public_names() - declared - set(NOT_CALLED)
    assert not undeclared, f"give {undeclared} a Call in tests/bad_inputs.py"
    assert not declared & set(NOT_CALLED)


OF_SUBCLASSES = ("forward", "setting", "update_parameter")


def test_methods_that_take_something_of_their_own_are_declared() -> None:
    """Those of a Tensor that are operations of the same name are declared as those."""
    declared = {c.name for c in CALLS} | {f"Tensor.{name}" for name in mg.operations.__all__}
    for cls in (mg.Tensor, mg.Module, mg.optim.SGD, mg.optim.Adam):
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            takes = [
                p
                for p in list(inspect.signature(method).parameters)[1:]
                if p not in ("prefix", "name_or_none")
            ]
            if name[0] != "_" and takes and name not in OF_SUBCLASSES:
                assert f"{cls.__name__}.{name}" in declared, f"{cls.__name__}.{name}"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("keep must be a number, got 'a'", None),
        ("it must be a number, got 'a'", "does not name the argument"),
        ("keep is wrong, got 'a'", "does not say what was expected"),
        ("keep must be a number", "does not say what came"),
    ],
)
def test_messages_are_read(message: str, fault: str | None) -> None:
    dropout = next(c for c in CALLS if c.name == "dropout")
    assert fault_of_message(Case(dropout, "keep", "text"), DOCUMENTED[0](message)) == fault


def test_a_call_that_writes_before_it_refuses_is_found() -> None:
    def careless(x: Any) -> None:
        x[...] = 0.0
        raise mg.errors.ArgumentError("x must be something else, got this")

    import numpy as np

    call = Call("careless", careless, {"x": "real operand"}, lambda: {"x": np.ones(2)})
    assert fault_of(Case(call, "x", "integers")) == "changes what it was given"
