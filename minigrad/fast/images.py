"""Images on NumPy: only so many examples at a time as have windows that fit in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.fast.forms import is_recorded_on_host
from minigrad.lanes import replace
from minigrad.operations import images
from minigrad.operations.images import Size, places, window_counts
from minigrad.operations.products import as_rows
from minigrad.primitives import Primitive
from minigrad.totals import dense

IN_CACHE = 1 << 17  # elements
# NumPy's inner loop runs over the channels. If they are this few, a call for each channel is faster.
FEW_CHANNELS = 4


def some_at_a_time(x: Any, window: Size, stride: int) -> Iterator[slice]:
    """Slices of x's examples, each with at most IN_CACHE elements in its windows, or of one example."""
    elements = math.prod(window_counts(x.shape[1:3], window, stride)) * math.prod(window) * x.shape[3]
    count = max(1, IN_CACHE // max(1, elements))
    for start in range(0, len(x), count):
        yield slice(start, start + count)


def windows(x: Any, window: Size, stride: int) -> Any:
    """`images.windows`, copied row by row of a window, not pixel by pixel; those of one pixel are a view."""
    views = np.lib.stride_tricks.sliding_window_view(x, window, (1, 2))[:, ::stride, ::stride]
    views = views.transpose(0, 1, 2, 4, 5, 3)
    return dense(views.reshape(math.prod(views.shape[:3]), math.prod(views.shape[3:])))


def conv2d(x: Any, W: Any, stride: int) -> Any:
    window, matrix = W.shape[:2], as_rows(W)
    y = np.empty((len(x), *window_counts(x.shape[1:3], window, stride), W.shape[3]), np.result_type(x, W))
    for some in some_at_a_time(x, window, stride):
        # As rows, contiguous memory is a view of itself: the product is written into y.
        np.matmul(windows(x[some], window, stride), matrix, out=as_rows(y[some]))
    return y


def conv2d_in_x(g: Any, W: Any, stride: int, image: Size) -> Any:
    g, matrix = dense(g), as_rows(W).T
    shape, dtype = (len(g), *image, W.shape[2]), np.result_type(g, W)
    if W.shape[:2] == (1, 1) and stride == 1:  # nothing overlaps
        x = np.empty(shape, dtype)
        np.matmul(as_rows(g), matrix, out=as_rows(x))
        return x
    x = np.zeros(shape, dtype)
    for some in some_at_a_time(x, W.shape[:2], stride):
        shares = (as_rows(g[some]) @ matrix).reshape(*g[some].shape[:3], *W.shape[:3])
        for (p, q), at_place in places(x[some], W.shape[:2], stride):
            if W.shape[2] > FEW_CHANNELS:
                at_place += shares[:, :, :, p, q]
            else:
                for channel in range(W.shape[2]):
                    at_place[..., channel] += shares[:, :, :, p, q, channel]
    return x


def conv2d_in_W(g: Any, x: Any, stride: int, window: Size) -> Any:
    g = dense(g)
    W = np.zeros((*window, x.shape[3], g.shape[3]), np.result_type(g, x))
    matrix = as_rows(W)  # a view
    for some in some_at_a_time(x, window, stride):
        matrix += windows(x[some], window, stride).T @ as_rows(g[some])
    return W


def winners(x: Any, y: Any, size: Size, stride: int) -> Iterator[Any]:
    if type(x) is not np.ndarray or np.isnan(y.max(initial=-np.inf)):
        yield from images.winners.plain(x, y, size, stride)
        return
    # Without a NaN, to equal y is enough.
    undecided = np.ones(y.shape, bool)
    for _, at_place in places(x, size, stride):
        wins = at_place == y
        wins &= undecided
        undecided ^= wins  # which lies within it
        yield wins


def spread_windows(u: Any, of: tuple[Any, Any], size: Size, stride: int) -> Any:
    v = np.zeros(of[0].shape, u.dtype)
    for some in some_at_a_time(v, size, stride):
        v[some] = images._spread_windows.plain(np, u[some], (of[0][some], of[1][some]), size, stride)
    return v


def on_numpy(primitive: Primitive[Any], form: Callable[..., Any]) -> None:
    """Have the primitive run in this form on NumPy's arrays, and in its plain one on others."""
    plain = primitive.plain

    def forward(xp: Any, *arguments: Any, **options: Any) -> Any:
        if xp is np:
            return form(*arguments, **options)
        if is_recorded_on_host(arguments[0]):  # as one call
            return arguments[0].tape.call(form, *arguments, **options)
        return plain(xp, *arguments, **options)

    replace(primitive, forward)


on_numpy(images._conv2d, conv2d)
on_numpy(images._conv2d_in_x, conv2d_in_x)
on_numpy(images._conv2d_in_W, conv2d_in_W)
on_numpy(images._spread_windows, spread_windows)
replace(images.winners, winners)
