"""Break every derivative in turn, and see whether the tests notice.

`python -m tests.mutation` prints the mutants that survive, and writes nothing. A mutant is one rule of
one primitive, changed in one way, or one line of what stands around the rules; it is caught when a
property of tests/properties.py, or an exact test of this file, fails with it in place.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

import minigrad as mg
from minigrad import backend, lanes, totals
from minigrad import primitives as primitives_module
from minigrad.errors import ArgumentError
from minigrad.operations import (
    costs,
    einsums,
    elementwise,
    images,
    maxout_units,
    products,
    reductions,
    shapes,
)
from minigrad.primitives import EachPosition, Primitive
from minigrad.tensor import raw
from tests.declarations import OPERATIONS, Case, Operation
from tests.properties import (
    Property,
    dtypes_and_shapes_are_the_inputs,
    gradients_are_the_numeric_ones,
    nothing_is_written_or_shared,
)
from tests.strict import StrictBackend

MODULES = [elementwise, costs, einsums, images, maxout_units, products, reductions, shapes]
if not lanes.PLAIN:
    MODULES.append(mg.fast.forms)
Rule = Callable[..., mg.Tensor]


def primitives() -> list[Primitive[Any]]:
    """Every primitive of the library, each once."""
    found = {id(p): p for module in MODULES for p in vars(module).values() if isinstance(p, Primitive)}
    return list(found.values())


# ---- the ways to break a rule


def wrong_sign(rule: Rule) -> Rule:
    return lambda g, y, *a, **o: -rule(g, y, *a, **o)


def dropped_factor(rule: Rule) -> Rule:
    """A constant of the formula forgotten: 2, as of x²."""
    return lambda g, y, *a, **o: 0.5 * rule(g, y, *a, **o)


def slightly_off(rule: Rule) -> Rule:
    return lambda g, y, *a, **o: 1.0001 * rule(g, y, *a, **o)


def forgets_the_cotangent(rule: Rule) -> Rule:
    """Right for an all-ones cotangent alone."""

    def broken(g: mg.Tensor, y: mg.Tensor, *a: Any, **o: Any) -> mg.Tensor:
        ones = backend.of(raw(g)).xp.ones_like(raw(g))
        return rule(mg.Tensor(ones) if isinstance(g, mg.Tensor) else ones, y, *a, **o)

    return broken


def writes_into_the_cotangent(rule: Rule) -> Rule:
    def broken(g: mg.Tensor, y: mg.Tensor, *a: Any, **o: Any) -> mg.Tensor:
        share = rule(g, y, *a, **o)
        share = mg.copy(share)
        array = raw(g)
        if getattr(array, "flags", None) is None or array.flags.writeable:
            array *= 0.5
        return share

    return broken


def writes_into_the_result(rule: Rule) -> Rule:
    def broken(g: mg.Tensor, y: mg.Tensor, *a: Any, **o: Any) -> mg.Tensor:
        share = mg.copy(rule(g, y, *a, **o))
        array = raw(y)
        if array.flags.writeable:
            array += 1.0
        return share

    return broken


def constant_to_the_second_order(rule: Rule) -> Rule:
    """The right numbers, without a graph of their own."""
    return lambda g, y, *a, **o: rule(_detached(g), _detached(y), *map(_detached, a), **o)


def _detached(argument: Any) -> Any:
    return argument.detach() if isinstance(argument, mg.Tensor) else argument


MUTATIONS = [
    wrong_sign,
    dropped_factor,
    slightly_off,
    forgets_the_cotangent,
    writes_into_the_cotangent,
    writes_into_the_result,
    constant_to_the_second_order,
]


@dataclass(frozen=True)
class Mutant:
    name: str
    apply: Callable[[], Any]  # a context manager
    covers: Callable[[Operation], bool]
    primitive: str = ""  # whose rule it breaks; "" if it breaks what stands around the rules


@contextmanager
def replaced(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    before = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, before)


def mutants() -> Iterator[Mutant]:
    uses = primitives_used()
    for primitive in primitives():
        users = [name for name, used in uses.items() if id(primitive) in used]

        def covers(operation: Operation, users: list[str] = users) -> bool:
            return operation.name in users

        if isinstance(primitive.vjps, EachPosition):
            for mutation in MUTATIONS:
                rule_at = primitive.vjps.rule_at
                broken = EachPosition(lambda position, m=mutation, r=rule_at: m(r(position)))
                yield Mutant(
                    f"{primitive.name}: {mutation.__name__}",
                    lambda p=primitive, v=broken: replaced(p, "vjps", v),
                    covers,
                    primitive.name,
                )
            continue
        for position, rule in enumerate(primitive.vjps):
            if rule is None:
                continue
            for mutation in MUTATIONS:
                vjps = list(primitive.vjps)
                vjps[position] = mutation(rule)
                yield Mutant(
                    f"{primitive.name}, argument {position + 1}: {mutation.__name__}",
                    lambda p=primitive, v=tuple(vjps): replaced(p, "vjps", v),
                    covers,
                    primitive.name,
                )
    yield from structural_mutants()


def structural_mutants() -> Iterator[Mutant]:
    """What stands around the rules: un-broadcasting, transposed operands, ties, ownership."""

    unbroadcast = primitives_module.unbroadcast

    def first_instead_of_sum(g: mg.Tensor, shape: tuple[int, ...]) -> mg.Tensor:
        new = g.ndim - len(shape)
        index = tuple(
            0 if i < new else slice(0, 1) if n != shape[i - new] and n else slice(None)
            for i, n in enumerate(g.shape)
        )
        return g[index].reshape(shape) if g.size else unbroadcast(g, shape)

    everything = lambda operation: True  # noqa: E731
    named = lambda *names: lambda operation: operation.public_name in names  # noqa: E731
    yield Mutant(
        "walk: one element instead of the sum where an operand was broadcast",
        lambda: replaced(primitives_module, "unbroadcast", first_instead_of_sum),
        named("add", "multiply", "where", "linear"),
    )
    yield Mutant(
        "walk: the broadcast shape left as it is",
        lambda: replaced(primitives_module, "unbroadcast", lambda g, shape: g),
        named("add", "multiply", "where", "linear"),
    )
    yield Mutant(
        "matmul: operands not transposed",
        lambda: replaced(products, "swap_last", lambda x: mg.operations.copy(x)),
        named("matmul", "linear"),
    )
    yield Mutant(
        "scatter: repeated indices overwrite each other",
        lambda: replaced(shapes, "_is_basic", lambda index: True),
        named("getitem"),
    )
    yield Mutant(
        "max: every tied element gets the gradient",
        lambda: replaced(reductions, "_first_greatest", lambda x, axes: x == x.max(axes, keepdims=True)),
        named("max"),
    )
    yield Mutant(
        "walk: gradients handed out without memory of their own",
        lambda: replaced(mg.engine, "copied", lambda g: g),
        everything,
    )
    yield Mutant(
        "walk: gradients keep the dtype of the rule",
        lambda: replaced(primitives_module, "in_dtype", lambda share, dtype: share),
        named("ties and dtypes"),
    )
    yield Mutant(
        "sum: long sums in the argument's dtype",
        lambda: replaced(totals, "_are_many", lambda x, axis: False),
        named("nothing that few terms show"),
    )
    # A guard that has the right value and no derivative of its own.
    power = elementwise.power
    guarded = lambda g, y, x, n: g * mg.where(n == 0, 0.0, n * x ** (n - 1))  # noqa: E731
    yield Mutant(
        "power: a guard that is a constant",
        lambda: replaced(power, "vjps", (guarded, power.vjps[1])),
        named("nothing but the point itself"),
    )
    divide = elementwise.divide
    yield Mutant(
        "divide: products in an order that overflows",
        lambda: replaced(divide, "vjps", (divide.vjps[0], lambda g, z, x, y: -g * z / y)),
        named("nothing but numbers of that size"),
    )
    for primitive in (elementwise.maximum, elementwise.relu, maxout_units._maxout, images._max_pool2d):
        yield Mutant(
            f"{primitive.name}: a mask by product",
            lambda p=primitive: replaced(p, "vjps", (by_product(p), *p.vjps[1:])),
            named("nothing but infinite cotangents"),
        )


def by_product(selecting: Primitive[Any]) -> Rule:
    """The first rule of a primitive that selects, as g times a mask."""
    rule = selecting.vjps[0]

    def broken(g: Any, y: Any, x: Any, *others: Any, **options: Any) -> Any:
        mask = raw(
            rule(backend.of(raw(g)).xp.ones_like(raw(g)), raw(y), raw(x), *map(raw, others), **options)
        )
        if "pieces" in options:
            g = mg.concatenate([g] * options["pieces"], -1)
        if "size" in options:  # of one window
            g = mg.broadcast_to(g, x.shape)
        return g * mask

    return broken


def primitives_used() -> dict[str, set[int]]:
    """The primitives that each operation's forward calls, by running it."""
    used: dict[str, set[int]] = {}
    original = Primitive.__call__
    for operation in OPERATIONS:
        seen = used.setdefault(operation.name, set())

        def spying(self: Any, *a: Any, seen: set[int] = seen, **o: Any) -> Any:
            seen.add(id(self))
            return original(self, *a, **o)

        with replaced(Primitive, "__call__", spying):
            try_examples(operation, dtypes_and_shapes_are_the_inputs)
    return used


# The properties that a derivative can break, those that notice the most first.
OF_DERIVATIVES = [
    gradients_are_the_numeric_ones,
    nothing_is_written_or_shared,
    dtypes_and_shapes_are_the_inputs,
]

few_examples = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def notices(mutant: Mutant) -> bool:
    """Whether some property of some operation that the mutant touches fails with it."""
    with mutant.apply():
        for operation in OPERATIONS:
            if mutant.covers(operation):
                for holds in OF_DERIVATIVES:
                    try:
                        with np.errstate(all="ignore"):
                            try_examples(operation, holds)
                    except (AssertionError, ArgumentError):  # ArgumentError: a share that cannot fit
                        return True
    return exact_tests_fail(mutant)


def fails_unbroken(names: list[str]) -> str:
    """Which of the operations fails a property as it is, and how; "" if none does."""
    for operation in (operation for operation in OPERATIONS if operation.name in names):
        for holds in OF_DERIVATIVES:
            try:
                with np.errstate(all="ignore"):
                    try_examples(operation, holds)
            except Exception as error:
                said = str(error).splitlines()[0] if str(error) else ""
                return f"{operation.name} fails without any mutation: {holds.__name__}: {said}"
    return ""


def try_examples(operation: Operation, holds: Property) -> None:
    """A property of an operation, on as many examples as a mutant is given."""

    @few_examples
    @given(operation.inputs)
    def run(case: Case) -> None:
        holds(operation, case, backend.get("numpy"))

    run()


def exact_tests_fail(mutant: Mutant) -> bool:
    """The same for the exact tests of ties and dtypes, which no random input reaches."""
    with mutant.apply(), np.errstate(all="ignore"):
        try:
            x = mg.Tensor([2.0, 2.0], requires_grad=True)
            assert mg.grad(mg.max(x), x)[0].numpy().sum() == 1.0
            y = mg.Tensor(np.float64(2.0), requires_grad=True)
            assert mg.grad(mg.sum(mg.Tensor(np.ones(2, np.float32)) * y), y)[0].dtype == np.float64
            many = mg.sum(np.full((20_000, 2), 0.1, np.float32), 0)
            assert abs(many.numpy() / 2000 - 1).max() < 1e-6
            base, exponent = (
                mg.Tensor([2.0, 0.0], requires_grad=True),
                mg.Tensor([0.0, 0.0], requires_grad=True),
            )
            (slope,) = mg.grad(mg.sum(base**exponent), base, create_graph=True)
            (mixed,) = mg.grad(mg.sum(slope[0]), exponent)
            assert mixed.numpy()[0] == 0.5
            with np.errstate(all="ignore"):
                u, v = (mg.Tensor(np.float32(value), requires_grad=True) for value in (1e19, 1e10))
                assert np.isfinite(mg.grad(u / v, v, gradient=np.float32(1e30))[0].numpy())
                z = mg.Tensor([1.0, -2.0], requires_grad=True)
                for chosen in (mg.maximum(z, [0.0, 0.0]), mg.relu(z)):
                    assert mg.grad(chosen, z, gradient=[1.0, np.inf])[0].numpy().tolist() == [1.0, 0.0]
                won = mg.maxout(z, 2)
                assert mg.grad(won, z, gradient=[np.inf])[0].numpy().tolist() == [np.inf, 0.0]
                won = mg.max_pool2d(mg.reshape(z, (1, 1, 2, 1)), (1, 2), 1)
                assert mg.grad(mg.reshape(won, (1,)), z, gradient=[np.inf])[0].numpy().tolist() == [
                    np.inf,
                    0.0,
                ]
        except AssertionError:
            return True
    return False


# Mutants that compute the same and so cannot be noticed, each with the reason.
EQUIVALENT: dict[str, str] = {
    "broadcast_to, argument 1: writes_into_the_result": "its result is a read-only view",
}


def survivors(some: Iterable[Mutant]) -> tuple[list[str], int]:
    """(names of the mutants that nothing notices, the number of all that were tried)."""
    alive, count = [], 0
    for mutant in some:
        count += 1
        if not notices(mutant):
            alive.append(mutant.name)
    return alive, count


def _share(first: int, step: int, names: list[str]) -> tuple[list[str], int]:
    """Every step-th mutant of those that are asked for; what one process does."""
    backend.register(StrictBackend())
    return survivors(itertools.islice(mutants_of(names), first, None, step))


def mutants_of(names: list[str]) -> Iterator[Mutant]:
    """The mutants of the primitives that these operations use; all, and the walk's, if none are named."""
    named = [operation for operation in OPERATIONS if operation.name in names]
    for mutant in mutants():
        if not names or (mutant.primitive and any(map(mutant.covers, named))):
            yield mutant


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    known = [operation.name for operation in OPERATIONS]
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help="operations, by their names in tests/declarations.py: the mutants of the primitives that they "
        "use (default: those of all, and of the walk)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="processes (default: one a processor)"
    )
    options = parser.parse_args()
    jobs, names = options.jobs, options.names
    if unknown := [name for name in names if name not in known]:
        parser.error(
            f"NAME must be declared in tests/declarations.py, got {unknown[0]}; there are {', '.join(known)}"
        )
    if wrong := fails_unbroken(names):
        print(f"{wrong}\nno mutants were tried: what fails by itself catches all of them")
        return 1
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        shares = list(pool.map(_share, range(jobs), [jobs] * jobs, [names] * jobs))
    left = [name for alive, _ in shares for name in alive]
    total = sum(count for _, count in shares)
    for name in left:
        print(f"survives: {name}  ({EQUIVALENT.get(name, 'NOT EXPLAINED')})")
    tried = {mutant.name for mutant in mutants_of(names)}
    explained = EQUIVALENT.keys() & tried
    for name in explained - set(left):
        print(f"caught, though explained as one that cannot be: {name}")
    unexplained = set(left) ^ explained
    print(f"{total - len(left)} of {total} mutants caught; unexplained: {len(unexplained)}")
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
