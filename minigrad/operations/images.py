"""Images: convolution and pooling, of arrays with the axes (example, row, column, channel).

A convolution y = x ∗ W is linear in the image x and in the weights W. Its inner product with a cotangent g of
y is one number, which is linear in each of g, x and W while the two others stay as they are:

    ⟨g, x ∗ W⟩ = Σ g[n, i, j, f] · x[n, i s + p, j s + q, c] · W[p, q, c, f]    over n, i, j, f, p, q, c

(p, q) is a place in a window, and the windows move in steps of s, the stride. The derivative of this number
in g is x ∗ W itself, `_conv2d`; in x it is `_conv2d_in_x`, in W `_conv2d_in_W`. Each of the three is linear
in the two arrays that it takes, and its derivatives in them are the two other primitives. So the three have
rules of every order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from minigrad import backend
from minigrad.checks import check_count, is_number, shown
from minigrad.errors import ArgumentError
from minigrad.lanes import replaceable
from minigrad.operands import as_array_beside, as_real_tensor
from minigrad.operations.elementwise import selected
from minigrad.operations.products import as_rows, with_bias
from minigrad.operations.shapes import pad
from minigrad.primitives import primitive
from minigrad.tensor import Tensor, raw
from minigrad.totals import MANY

__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]

Size = tuple[int, int]  # rows and columns
Padding = Literal["valid", "same"] | int

# ---- convolution

@primitive
def _conv2d(xp: Any, x: Any, W: Any, stride: int) -> Any:
    """Each window of x as a row, times W with each filter as a column."""
    y = windows(x, W.shape[:2], stride) @ as_rows(W)
    return y.reshape(len(x), *window_counts(x.shape[1:3], W.shape[:2], stride), W.shape[3])

@primitive
def _biased_conv2d(xp: Any, x: Any, W: Any, b: Any, stride: int) -> Any:
    return with_bias(_conv2d.forward(xp, x, W, stride), b)  # not y + b: the graph would keep y as well

@primitive
def _conv2d_in_x(xp: Any, g: Any, W: Any, stride: int, image: Size) -> Any:
    """The derivative in an x of this size: each window gets its part of g Wᵀ, and overlapping ones add up."""
    shares = (as_rows(g) @ as_rows(W).T).reshape(*g.shape[:3], *W.shape[:3])
    x = xp.zeros((len(g), *image, W.shape[2]), shares.dtype)
    for (p, q), at_place in places(x, W.shape[:2], stride):
        at_place += shares[:, :, :, p, q]
    return x

@primitive
def _conv2d_in_W(xp: Any, g: Any, x: Any, stride: int, window: Size) -> Any:
    """The derivative in a W of this size: the sum over all windows of windowᵀ g."""
    return (windows(x, window, stride).T @ as_rows(g)).reshape(*window, x.shape[3], g.shape[3])

def windows(x: Any, window: Size, stride: int) -> Any:
    """The windows of x as rows of a matrix: (examples · windows, rows · columns · channels of a window)."""
    counts = window_counts(x.shape[1:3], window, stride)
    found = backend.of(x).xp.empty((len(x), *counts, *window, x.shape[3]), x.dtype)
    for (p, q), at_place in places(x, window, stride):
        found[:, :, :, p, q] = at_place
    return found.reshape(len(x) * math.prod(counts), math.prod(window) * x.shape[3])

def places(x: Any, window: Size, stride: int) -> Iterator[tuple[Size, Any]]:
    """((p, q), a view of x) for each place of a window, row by row: view[n, i, j] is
    x[n, i stride + p, j stride + q]."""
    for p, rows in enumerate(stripes(x, 1, window[0], stride)):
        for q, at_place in enumerate(stripes(rows, 2, window[1], stride)):
            yield (p, q), at_place

def stripes(x: Any, axis: int, length: int, stride: int) -> Iterator[Any]:
    """The same along one axis: a view of x for each place of windows of this length."""
    count = (x.shape[axis] - length) // stride + 1
    for p in range(length):
        yield x[(slice(None),) * axis + (slice(p, p + stride * count, stride),)]

def window_counts(image: Size, window: Size, stride: int) -> Size:
    """How many whole windows stand in an image, below one another and beside one another."""
    return (image[0] - window[0]) // stride + 1, (image[1] - window[1]) // stride + 1

# A cotangent has the shape of its result, and takes that array's place in the form. So it is called g in the
# rules of _conv2d, x in those of _conv2d_in_x, and W in those of _conv2d_in_W.
_conv2d.set_vjps(lambda g, y, x, W, stride: _conv2d_in_x(g, W, stride, x.shape[1:3]),
                 lambda g, y, x, W, stride: _conv2d_in_W(g, x, stride, W.shape[:2]))
_biased_conv2d.set_vjps(lambda g, y, x, W, b, stride: _conv2d_in_x(g, W, stride, x.shape[1:3]),
                        lambda g, y, x, W, b, stride: _conv2d_in_W(g, x, stride, W.shape[:2]),
                        lambda g, y, x, W, b, stride: g)  # summed over windows by the walk
_conv2d_in_x.set_vjps(lambda x, y, g, W, stride, image: _conv2d(x, W, stride),
                      lambda x, y, g, W, stride, image: _conv2d_in_W(g, x, stride, W.shape[:2]))
_conv2d_in_W.set_vjps(lambda W, y, g, x, stride, window: _conv2d(x, W, stride),
                      lambda W, y, g, x, stride, window: _conv2d_in_x(g, W, stride, x.shape[1:3]))

def conv2d(x: Any, W: Any, b: Any = None, stride: int = 1, padding: Padding = "valid") -> Tensor:
    """y[n, i, j, f] = Σ x[n, i s + p, j s + q, c] W[p, q, c, f] + b[f], the sum over p, q and c: every window
    of the image times every filter. (Deep learning calls this convolution; elsewhere it is cross-correlation,
    and a convolution turns each filter by 180° first.)

    x        (examples, rows, columns, channels), real
    W        (window's rows, window's columns, channels, filters)
    b        (filters,), or None for zeros
    stride   s, the step from window to window, in both directions
    padding  zeros around the image: "valid" for none; a number for so many on each side; "same" for so many
             that the result has ⌈rows / s⌉ rows and ⌈columns / s⌉ columns, of an odd number one more below
             and to the right

    The result is (examples, ⌊(H − h) / s⌋ + 1, ⌊(L − l) / s⌋ + 1, filters), for windows of h × l in a padded
    image of H × L. Rows and columns that fill no whole window are left out.

    ArgumentError, naming the argument, if the shapes do not fit or a window is larger than the padded image.

    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016 (arXiv 1603.07285).
    """
    given = x, W, b
    x, W = as_array_beside(x, given, "x"), as_array_beside(W, given, "W")
    _check_image(x)
    if W.ndim != 4 or 0 in W.shape[:2]:
        raise ArgumentError(
            "W must have shape (rows, columns, channels, filters), with at least one row and column, "
            f"got {W.shape}"
        )
    if x.shape[3] != W.shape[2]:
        raise ArgumentError(
            f"x must have shape (examples, rows, columns, {W.shape[2]}), with W's channels, got {x.shape}"
        )
    if b is not None:
        b = as_array_beside(b, given, "b")
        if b.shape != W.shape[3:]:
            raise ArgumentError(f"b must have shape {W.shape[3:]}, W's filters, got {b.shape}")
    stride = check_count("stride", stride)
    x = _padded(x, W.shape[:2], stride, padding)
    _check_window("W's windows", W.shape[:2], x.shape[1:3], "the image with its padding")
    return _conv2d(x, W, stride) if b is None else _biased_conv2d(x, W, b, stride)

def _padded(x: Any, window: Size, stride: int, padding: Any) -> Any:
    """x with its border of zeros."""
    padding = checked_padding(padding)
    widths = [border(n, k, stride, padding) for n, k in zip(x.shape[1:3], window, strict=True)]
    return pad(x, [(0, 0), *widths, (0, 0)]) if any(map(any, widths)) else x

def border(n: int, k: int, stride: int, padding: Literal["same"] | int) -> tuple[int, int]:
    """How many zeros this padding puts before n pixels in a line, and how many behind them, for windows of k
    pixels that move by `stride`."""
    if padding != "same":
        return padding, padding
    missing = max((math.ceil(n / stride) - 1) * stride + k - n, 0)  # for ⌈n / stride⌉ windows
    return missing // 2, missing - missing // 2

def checked_padding(padding: Any) -> Literal["same"] | int:
    """How many zeros on each side, of which "valid" is none; or "same"."""
    if isinstance(padding, str) and padding in ("valid", "same"):
        return 0 if padding == "valid" else "same"
    if not is_number(padding):
        raise ArgumentError(f"padding must be 'valid', 'same' or a number, got {shown(padding)}")
    return check_count("padding", padding, low=0)

def checked_size(name: str, size: Any) -> Size:
    """(rows, columns) of a window, of which a number gives both."""
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(map(is_number, sides)):
        raise ArgumentError(f"{name} must be a number or (rows, columns), got {shown(size)}")
    rows, columns = (check_count(name, side) for side in sides)
    return rows, columns

def _check_image(x: Any) -> None:
    if x.ndim != 4:
        raise ArgumentError(f"x must have the axes (example, row, column, channel), got shape {x.shape}")

def _check_window(name: str, window: Size, image: Size, of: str) -> None:
    if window[0] > image[0] or window[1] > image[1]:
        raise ArgumentError(f"{name} must be no larger than {of}, got {window} in {image}")

# ---- pooling

@primitive
def _max_pool2d(xp: Any, x: Any, size: Size, stride: int) -> Any:
    (_, first), *others = places(x, size, stride)
    y = first.copy()
    for _, at_place in others:
        xp.maximum(y, at_place, out=y)
    return y

@primitive
def _spread_windows(xp: Any, u: Any, of: tuple[Any, Any], size: Size, stride: int) -> Any:
    """u, one number for each window, at the place of the window's greatest, and 0 elsewhere. A place that is
    the greatest of several windows gets their sum. `of` is (what max_pool2d was given, what it returned)."""
    v = xp.zeros(of[0].shape, u.dtype)
    for wins, (_, at_place) in zip(winners(*of, size, stride), places(v, size, stride), strict=True):
        at_place += selected(xp, wins, u)
    return v

@primitive
def _select_windows(xp: Any, v: Any, of: tuple[Any, Any], size: Size, stride: int) -> Any:
    """v has a number for each place of the image. The result has, for each window, that of its greatest."""
    u = xp.zeros(of[1].shape, v.dtype)
    for wins, (_, at_place) in zip(winners(*of, size, stride), places(v, size, stride), strict=True):
        u += selected(xp, wins, at_place)
    return u

@replaceable
def winners(x: Any, y: Any, size: Size, stride: int) -> Iterator[Any]:
    """A mask of y's shape for each place of a window, row by row: True for the windows whose first greatest
    number, or first NaN, is at this place."""
    undecided = backend.of(x).xp.ones(y.shape, bool)
    for _, at_place in places(x, size, stride):
        wins = undecided & ((at_place == y) | (at_place != at_place))
        undecided &= ~wins
        yield wins

# As in maxout: spreading and selecting are linear, and each is the other's transpose.
_max_pool2d.set_vjps(lambda g, y, x, size, stride: _spread_windows(g, (raw(x), raw(y)), size, stride))
_spread_windows.set_vjps(lambda g, v, u, of, size, stride: _select_windows(g, of, size, stride))
_select_windows.set_vjps(lambda g, u, v, of, size, stride: _spread_windows(g, of, size, stride))

@primitive
def _sum_windows(xp: Any, x: Any, size: Size, stride: int) -> Any:
    """The sum of each window: first of its columns, then of these sums. So a window of k × l takes k + l
    additions and not k l. Long sums are added in float64, as everywhere."""
    y = x.astype(xp.float64) if math.prod(size) > MANY else x
    for axis, length in ((1, size[0]), (2, size[1])):
        first, *others = stripes(y, axis, length, stride)
        y = first.copy()
        for stripe in others:
            y += stripe
    return y.astype(x.dtype, copy=False)

@primitive
def _add_to_windows(xp: Any, u: Any, size: Size, stride: int, image: Size) -> Any:
    """u, one number for each window, added to each of its places in an image of this size."""
    rows = xp.zeros((*u.shape[:2], image[1], u.shape[3]), u.dtype)
    for stripe in stripes(rows, 2, size[1], stride):
        stripe += u
    x = xp.zeros((len(u), *image, u.shape[3]), u.dtype)
    for stripe in stripes(x, 1, size[0], stride):
        stripe += rows
    return x

_sum_windows.set_vjps(lambda g, y, x, size, stride: _add_to_windows(g, size, stride, x.shape[1:3]))
_add_to_windows.set_vjps(lambda x, y, u, size, stride, image: _sum_windows(x, size, stride))

def max_pool2d(x: Any, size: int | Size, stride: int | None = None) -> Tensor:
    """y[n, i, j, c] = max x[n, i s + p, j s + q, c] over the places (p, q) of a window.

    x       (examples, rows, columns, channels), real
    size    of the windows: a number, or (rows, columns)
    stride  s, the step from window to window in both directions; the side of the window if None, which must
            then be square

    The result is (examples, ⌊(H − h) / s⌋ + 1, ⌊(L − l) / s⌋ + 1, channels), for windows of h × l in an image
    of H × L. Rows and columns that fill no whole window are left out.

    Of several greatest numbers in a window the first, row by row, gets the whole gradient. If there is a NaN
    in it the result is NaN, and the first NaN gets the gradient. A number that is the greatest of several
    windows gets the sum.

    ArgumentError, naming the argument, if x has other axes or a window is larger than the image.
    """
    return _max_pool2d(*_checked_pooling(x, size, stride))

def avg_pool2d(x: Any, size: int | Size, stride: int | None = None) -> Tensor:
    """y[n, i, j, c] = Σ x[n, i s + p, j s + q, c] / (h l) over the places (p, q) of a window of h × l: the
    mean. Arguments, shapes and errors are those of `max_pool2d`."""
    x, size, stride = _checked_pooling(x, size, stride)
    return _sum_windows(x, size, stride) / float(math.prod(size))

def _checked_pooling(x: Any, size: Any, stride: Any) -> tuple[Tensor, Size, int]:
    """(x as a Tensor, (rows, columns), stride)."""
    x = as_real_tensor(x, "x")
    _check_image(x)
    rows, columns = checked_size("size", size)
    if stride is None and rows != columns:
        raise ArgumentError(f"stride must be given if the window is not square, got None with size {size}")
    _check_window("size", (rows, columns), x.shape[1:3], "the image")
    return x, (rows, columns), rows if stride is None else check_count("stride", stride)
