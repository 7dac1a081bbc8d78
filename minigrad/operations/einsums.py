"""Einstein's sums: products of arrays whose axes are named by letters, and summed where a letter is left out.

dot, outer, inner, trace, tensordot and batched matrix products are all of them:

    einsum("i,i->", x, y)    einsum("i,j->ij", x, y)    einsum("ii->", A)    einsum("bij,bjk->bik", A, B)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.checks import shown
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array, reconcile
from minigrad.operations.reductions import sum
from minigrad.operations.shapes import getitem, reshape
from minigrad.primitives import in_dtype, primitive
from minigrad.tensor import Tensor, raw
from minigrad.totals import MANY, dense

__all__ = ["einsum"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

@primitive
def _einsum(xp: Any, *arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    """In a form in which every letter names one axis of an array at most, and stands at least twice, in
    two of the arrays or in one and the output. Then each derivative is such a sum too."""
    arrays, dtype = tuple(map(dense, arrays)), arrays[0].dtype
    lengths = dict(zip("".join(inputs), (n for x in arrays for n in x.shape), strict=True))
    terms = math.prod(n for letter, n in lengths.items() if letter not in output)
    # As in minigrad.totals; a matrix product adds in blocks, which keeps the digits.
    is_matrix_product = len(inputs) == 2 and not set(inputs[0]) & set(inputs[1]) & set(output)
    if terms > MANY and not is_matrix_product:
        arrays = tuple(x.astype(np.float64) for x in arrays)
    # optimize: by matrix products where they serve, and two arrays at a time.
    result = xp.einsum(f"{','.join(inputs)}->{output}", *arrays, optimize=len(arrays) > 1)
    return result.astype(dtype, copy=False)

def _einsum_in(position: int) -> Any:
    # The sum is linear in each array. Its share is the sum of g with all the others, over the letters that
    # it does not have.
    def rule(g: Tensor, y: Tensor, *arrays: Any, inputs: tuple[str, ...], output: str) -> Tensor:
        others = [i for i in range(len(inputs)) if i != position]
        letters = (output, *(inputs[i] for i in others))
        return _einsum(g, *(arrays[i] for i in others), inputs=letters, output=inputs[position])

    return rule
_einsum.set_vjp_of_each(_einsum_in)

def einsum(subscripts: str, *operands: Any) -> Tensor:
    """The sum of products that `subscripts` describes, as numpy.einsum does it.

    subscripts  letters for the axes of each operand, separated by commas, and after "->" those of the
                result. Letters that are not in the result are summed over. "..." stands for all other axes,
                which broadcast. A letter twice in one operand means its diagonal. Without "->" the result
                has the letters that stand once, in alphabetical order, after the axes of "...".

    Where two axes of one letter differ, one must have length 1, and is repeated.
    """
    if not isinstance(subscripts, str):
        raise ArgumentTypeError(f"subscripts must be a string such as 'ij,jk->ik', got {shown(subscripts)}")
    for i, x in enumerate(operands):
        as_array(x, f"operands[{i}]")  # whose errors name it
    numbers = [raw(x) for x in operands]
    reconcile("einsum", numbers, [True] * len(numbers), joins=True)  # to the one dtype of all
    arrays = [
        in_dtype(x, own.dtype) if isinstance(x, Tensor) else Tensor(own)
        for x, own in zip(operands, numbers, strict=True)
    ]
    inputs, output = _parsed(subscripts, [x.ndim for x in arrays])
    lengths: dict[str, int] = {}
    for position, (x, letters) in enumerate(zip(arrays, inputs, strict=True)):
        for letter, n in zip(letters, x.shape, strict=True):
            if n != 1 and lengths.setdefault(letter, n) != n:
                raise ArgumentError(
                    f"operands[{position}] must have length {lengths[letter]} along {letter!r} of "
                    f"the subscripts {subscripts!r}, got shape {x.shape}"
                )
    for i, letters in enumerate(inputs):
        arrays[i], inputs[i] = _without_repetition(*_diagonal(arrays[i], letters), lengths)
    for i, letters in enumerate(inputs):
        elsewhere = set("".join(inputs[:i] + inputs[i + 1 :])) | set(output)
        alone = tuple(axis for axis, letter in enumerate(letters) if letter not in elsewhere)
        if alone:
            arrays[i] = sum(arrays[i], alone)
            inputs[i] = "".join(letter for letter in letters if letter in elsewhere)
    return _einsum(*arrays, inputs=tuple(inputs), output=output)

def _parsed(subscripts: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """(the letters of each operand, those of the result), with letters in place of "..."."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    letters = [own.replace("...", "", 1) for own in (*inputs, output)]
    if not all(own == "" or (own.isalpha() and own.isascii()) for own in letters):
        raise ArgumentError(f"subscripts must be letters, commas, '...' and one '->', got {subscripts!r}")
    if len(inputs) != len(ndims):
        raise ArgumentError(f"operands must be as many as subscripts names, {len(inputs)}, got {len(ndims)}")
    inputs, dots = _without_dots(subscripts, inputs, ndims)
    if not arrow:
        counts = Counter("".join(inputs))
        output = dots + "".join(sorted(a for a, n in counts.items() if n == 1 and a not in dots))
    elif dots and "..." not in output:
        raise ArgumentError(f"subscripts must have '...' in the result too, got {subscripts!r}")
    output = output.replace("...", dots, 1)
    if len(set(output)) < len(output) or not set(output) <= set("".join(inputs)):
        raise ArgumentError(
            f"subscripts must have a letter of the result once there, and in an operand, got {subscripts!r}"
        )
    return inputs, output

def _without_dots(subscripts: str, inputs: list[str], ndims: Sequence[int]) -> tuple[list[str], str]:
    """(the letters of each operand, those that "..." stands for). Operands that have fewer such axes have the
    last of them, as arrays broadcast."""
    extra = [n - len(own.replace("...", "")) for own, n in zip(inputs, ndims, strict=True)]
    for i, (own, n) in enumerate(zip(inputs, extra, strict=True)):
        if n < 0 or (n > 0 and "..." not in own):
            raise ArgumentError(
                f"operands[{i}] must have {len(own.replace('...', ''))} dimensions for {own!r} of the "
                f"subscripts {subscripts!r}, got {ndims[i]}"
            )
    unused = [letter for letter in LETTERS if letter not in subscripts]
    dots = "".join(unused[: max(extra, default=0)])
    return [
        own.replace("...", dots[len(dots) - n :], 1) for own, n in zip(inputs, extra, strict=True)
    ], dots

def _diagonal(x: Tensor, letters: str) -> tuple[Tensor, str]:
    """x and its letters, each once: along the axes of one letter, the diagonal."""
    distinct = "".join(dict.fromkeys(letters))
    if len(distinct) == len(letters):
        return x, letters
    lengths = dict(zip(letters, x.shape, strict=True))
    for letter, n in zip(letters, x.shape, strict=True):
        if n != lengths[letter]:
            raise ArgumentError(f"operands must be as long along both axes of {letter!r}, got {x.shape}")
    mesh = np.ix_(*(np.arange(lengths[letter]) for letter in distinct))
    index = dict(zip(distinct, mesh, strict=True))
    return getitem(x, tuple(index[letter] for letter in letters)), distinct

def _without_repetition(x: Tensor, letters: str, lengths: dict[str, int]) -> tuple[Tensor, str]:
    """Without the axes of length 1 that others have longer: they are repeated, and so not summed over."""
    kept = [(letter, n) for letter, n in zip(letters, x.shape, strict=True) if n == lengths.get(letter, 1)]
    if len(kept) == len(letters):
        return x, letters
    return reshape(x, tuple(n for _, n in kept)), "".join(letter for letter, _ in kept)
