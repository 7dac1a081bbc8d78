"""The fast lane: everything that is here for speed alone.

Each form computes what a plain one elsewhere in minigrad computes, and the tests hold it to that. To
import this package is to switch the lane on (see `minigrad.lanes`); `minigrad/__init__.py` does it, and
nothing else in minigrad knows of it. MINIGRAD_PLAIN=1 leaves it out.

    calls      a primitive's call on NumPy arrays, without what only other calls need
    sums       shares added in place; the products of a weight's gradient multiplied at once
    remainder  `grad_and_remainder` in one pass, cut in two
    forms      operations and the optimiser's update: blocks that fit the cache, kernels on CuPy
    images     convolution and pooling, so many examples at a time
    kernels    the fused CUDA kernels
    memory     memory of arrays that is used again
    recording  a computation written down as the array calls that it makes
    lines      those calls, into memory that is there
    replay     `capture`: a step recorded once, and replayed on each batch
    members    what such a step works with
    optimisers the step of an optimiser in a recording
"""

from minigrad import engine, operations
from minigrad import remainder as plain_remainder
from minigrad.fast import forms, images, kernels, lines, members, memory, optimisers, recording, replay
from minigrad.fast.calls import operator, quick_call
from minigrad.fast.remainder import cut_pass
from minigrad.fast.sums import ThriftySums, walk
from minigrad.lanes import replace
from minigrad.primitives import Primitive
from minigrad.tensor import Tensor

replace(Primitive, quick_call, "__call__")
replace(Tensor, operator(operations.add), "__add__")
replace(Tensor, operator(operations.subtract), "__sub__")
replace(Tensor, operator(operations.multiply), "__mul__")
replace(Tensor, operator(operations.divide), "__truediv__")
replace(engine, walk, "walk")
replace(engine.new_sums, ThriftySums)
replace(plain_remainder.grad_and_remainder, cut_pass)

__all__ = ["forms", "images", "kernels", "lines", "members", "memory", "optimisers", "recording", "replay"]
