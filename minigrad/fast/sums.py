"""Sums of shares that save memory and time: added to in place, and products left until the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend, engine
from minigrad.engine import Sums
from minigrad.fast.memory import ALONE, freed, getrefcount, spare
from minigrad.modules import Parameter
from minigrad.operations.products import _linear, _matmul, as_rows
from minigrad.primitives import fitted
from minigrad.tensor import NONE, Tensor, raw
from minigrad.totals import total


class ThriftySums(Sums):
    """The sums of a pass over bare arrays, and its walk.

    - A sum in memory that nobody else knows is added to in place, and is a gradient without a copy.
    - Several products that make one weight matrix's gradient are multiplied at once (`Product`).
    - A Parameter's gradient is written where its last one was, if that was dropped (`memory.spare`).
    """

    def __init__(self, asked: Any = ()) -> None:
        super().__init__(asked)
        self.way: dict[Tensor, Any] | None = None  # where every result's cotangent is kept, if a dict is
        self._own: set[Tensor] = set()  # whose sums are in memory of this pass alone
        self._products: dict[Tensor, Product] = {}
        self._pair: tuple[Any, Any] = None, None  # a result, and the factors of its weights' share
        self._stacked: tuple[Any, Any] = (), None  # what was stacked last, and its parts

    def walk(self, results: list[Tensor], wanted: Callable[[Tensor], bool], retain_graph: bool) -> None:
        """`engine.walk`, with what it calls written out: a small operation is mostly calls."""
        sums, own, asked, way = self.sums, self._own, self.asked, self.way
        while results:
            y = results.pop()
            g = sums.pop(y, None)
            if g is None:
                continue
            if y in asked:
                self.found[y] = g if y in own else engine.copied(g)
            if way is not None:
                way[y] = g
            data, given, options, made_by = y.data, y.arrays, y.options, y.made_by
            if data.nbytes > freed.largest:
                freed.follow(data.nbytes)
            rules, sees_others = made_by.vjps, made_by.sees_others
            kind, is_product, position = type(g), made_by in PRODUCTS, -1
            for x in y.arguments:
                position += 1
                rule = rules[position]
                if rule is None or not isinstance(x, Tensor) or not wanted(x):
                    continue
                if is_product and id(rule) in LEFT and self._left_as_product(LEFT[id(rule)], g, y, x):
                    continue
                arrays = given if sees_others else given[position : position + 1]
                share = rule(g, data, *arrays, **options) if options else rule(g, data, *arrays)
                own_data = x.data
                if (
                    type(share) is not kind
                    or share.dtype is not own_data.dtype
                    or share.shape != own_data.shape
                ):
                    share = fitted(raw(share), y, position, kind)
                if x not in sums:
                    # Read-only memory is somebody's, who made it so.
                    if (
                        getrefcount(share) == ALONE
                        and share.base is None
                        and (type(share) is not np.ndarray or share.flags.writeable)
                    ):
                        own.add(x)
                    sums[x] = share
                elif x in own:
                    sums[x] += share
                else:
                    self._add_to(x, share)
            if not retain_graph:
                y.arguments = y.arrays = None
                y.options = NONE

    def _add_to(self, x: Tensor, share: Any) -> None:
        """Add to a sum that has begun: in place if it is this pass's own, as it is afterwards."""
        if x in self._own:
            self.sums[x] += share
        else:
            self.add(x, share)
            self._own.add(x)

    def gradients(self) -> dict[Tensor, Any]:
        for x, product in self._products.items():
            self._add_product(x, product)
        return {**self.found, **{x: g if x in self._own else engine.copied(g) for x, g in self.sums.items()}}

    def _left_as_product(self, kind: type[Product], g: Any, y: Tensor, x: Tensor) -> bool:
        """Leave a leaf's share to be multiplied in the end, if its factors take little memory; else multiply
        it now. False if it is no product of such factors, or a bias whose weights have no use for them."""
        if x.made_by is not None or not are_of_one_product(g, *y.arrays):
            return False
        if kind is Product:
            self._pair = y, (as_rows(y.arrays[0]), as_rows(g))
        of, factors = self._pair
        if of is not y:
            return False
        product = kind(*self._products[x].pairs, factors) if x in self._products else kind(factors)
        if product.is_worth_its_memory():
            self._products[x] = product
        else:
            self._add_product(x, kind(factors))
        return True

    def _add_product(self, x: Tensor, product: Product) -> None:
        if x in self.sums:
            self._add_to(x, product.multiplied(self._stack))
        else:
            self.sums[x] = product.multiplied(self._stack, x)
            self._own.add(x)

    def _stack(self, parts: tuple[Any, ...]) -> Any:
        """The parts as one array. A bias has those of its weights, which come just before it."""
        if len(parts) == 1:
            return parts[0]
        if list(map(id, parts)) != list(map(id, self._stacked[0])):
            self._stacked = parts, backend.of(parts[0]).xp.concatenate(parts)
        return self._stacked[1]


plain_walk = engine.walk


def walk(results: list[Tensor], sums: Sums, wanted: Callable[[Tensor], bool], retain_graph: bool) -> None:
    """The fast form of `engine.walk`, for sums that have one."""
    if isinstance(sums, ThriftySums):
        sums.walk(results, wanted, retain_graph)
    else:
        plain_walk(results, sums, wanted, retain_graph)


# Factors of so many elements are left even if their product has fewer: one call takes less than three.
FEW_ELEMENTS = 1 << 14


class Product:
    """a₁ᵀb₁ + a₂ᵀb₂ + … of pairs of matrices, not yet multiplied.

    A weight matrix that is used twice, on clean and on adversarial examples say, has such a gradient. It
    is one product of the stacked factors, [a₁ a₂]ᵀ[b₁ b₂]: no second array of the size of the weights,
    and no pass over both to add them.
    """

    def __init__(self, *pairs: tuple[Any, Any]) -> None:
        self.pairs = pairs

    def is_worth_its_memory(self) -> bool:
        """Whether the factors are few, or no larger than their product."""
        rows = sum(len(a) for a, _ in self.pairs)
        inputs, outputs = self.pairs[0][0].shape[1], self.pairs[0][1].shape[1]
        return rows * (inputs + outputs) <= max(inputs * outputs, FEW_ELEMENTS)

    def multiplied(self, stack: Callable[[Any], Any], of: Tensor | None = None) -> Any:
        """The product; as the gradient of a Parameter, in the memory of that one's last gradient."""
        a, b = (stack(parts) for parts in zip(*self.pairs, strict=True))
        if not isinstance(of, Parameter) or type(b) is not np.ndarray:
            return a.T @ b
        memory = spare.take(of, (a.shape[1], b.shape[1]), b.dtype)
        return spare.keep(of, np.matmul(a.T, b, out=memory))


class BiasProduct(Product):
    """The same for a bias, whose input is 1: the sum of b's rows. It has the pairs of its weights, and is
    left if they are."""

    def multiplied(self, stack: Callable[[Any], Any], of: Tensor | None = None) -> Any:
        return total(stack(tuple(b for _, b in self.pairs)), 0)


def are_of_one_product(g: Any, x: Any, W: Any, *b: Any) -> bool:
    """Whether x W (+ b) has xᵀ g for W's share, a product of matrices of one dtype."""
    return W.ndim == 2 and x.dtype == g.dtype == W.dtype and all(g.dtype == bias.dtype for bias in b)


# The primitives with rules whose shares are such products, and these by their id, for a rule need not be
# hashable.
PRODUCTS = {_matmul, _linear}
PRODUCT_RULES = (_matmul.vjps[1], _linear.vjps[1])
LEFT = {**dict.fromkeys(map(id, PRODUCT_RULES), Product), id(_linear.vjps[2]): BiasProduct}
