"""Fused CUDA kernels: in one pass on the device what the plain forms do in several.

A GPU that trains on batches of 100 waits for launches, and on large ones for memory. Each kernel here
replaces several launches and passes by one. The operation's own file has its plain form. It runs on
NumPy and on any library that has no kernels, and the tests hold the kernel to it.

Indices and shapes: i counts the elements of the result. `raw` arrays are indexed by hand; the others
by i, after broadcasting, as CuPy does it. T is the arrays' float type.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.backend import Backend


class Kernels:
    """The kernels, made for a library `xp` that has CuPy's ElementwiseKernel and ReductionKernel; they are
    compiled at their first use. Results are new C-ordered arrays unless said otherwise."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        kernel = xp.ElementwiseKernel
        self._maxout = kernel("raw T z, int64 pieces, int64 units", "T y", MAXOUT, "maxout")
        self._wins = kernel("raw T z, int64 pieces, int64 units", "bool wins", WINS, "maxout_wins")
        self._spread = kernel("raw T z, raw T u, int64 pieces, int64 units", "T v", SPREAD, "maxout_spread")
        self._cost = kernel("raw T z, L label, int64 classes", "T cost", CROSS_ENTROPY, "cross_entropy")
        self._slope = kernel("raw T z, raw L labels, int64 classes", "T s", SLOPE, "cross_entropy_slope")
        self._drop = kernel(
            "T x, uint64 k0, uint64 k1, uint64 c0, uint64 c1, uint64 c2, uint64 c3, "
            "uint32 threshold, float64 scale",
            "T y",
            DROPOUT,
            "dropout",
        )
        self._update = kernel("T g, float64 lr, float64 momentum", "T v, T p", UPDATE, "momentum_update")
        self._limit = kernel("float64 squares, float64 limit", "T w", LIMIT, "max_norm")
        self._squares = xp.ReductionKernel(
            "T w", "float64 s", "(double)w * (double)w", "a + b", "s = a", "0", "column_squares"
        )

    def maxout(self, z: Any, pieces: int) -> Any:
        """(…, pieces · units) → (…, units): each unit's greatest piece."""
        units = z.shape[-1] // pieces
        return self._maxout(self._flat(z), pieces, units, self.xp.empty((*z.shape[:-1], units), z.dtype))

    def wins(self, z: Any, pieces: int) -> Any:
        """True at each unit's first greatest piece: (…, pieces, units)."""
        units = z.shape[-1] // pieces
        result = self.xp.empty((*z.shape[:-1], pieces, units), bool)
        return self._wins(self._flat(z), pieces, units, result)

    def spread(self, u: Any, z: Any, pieces: int) -> Any:
        """u (…, units), each at its unit's winning piece of z, and zeros at the others: of z's shape."""
        units = z.shape[-1] // pieces
        result = self.xp.empty(z.shape, z.dtype)
        return self._spread(self._flat(z), self._flat(u), pieces, units, result)

    def cross_entropy(self, z: Any, labels: Any) -> Any:
        """−ln softmax(z)[label], of labels' shape."""
        return self._cost(self._flat(z), labels, z.shape[-1], self.xp.empty(labels.shape, z.dtype))

    def cross_entropy_slope(self, z: Any, labels: Any) -> Any:
        """softmax(z) − [label], of z's shape."""
        return self._slope(self._flat(z), self._flat(labels), z.shape[-1], self.xp.empty(z.shape, z.dtype))

    def dropout(self, x: Any, key: Any, counter: Any, threshold: int, scale: float) -> Any:
        """x times `scale` where Philox's bits from this key and counter on are below `threshold`, else 0."""
        words = [np.uint64(word) for word in (*key, *counter)]
        return self._drop(x, *words, threshold, scale, self.xp.empty(x.shape, x.dtype))

    def update(self, p: Any, v: Any, g: Any, lr: float, momentum: float) -> None:
        """v ← momentum·v − lr·g and p ← p + v, in place."""
        self._update(g.astype(p.dtype, copy=False), lr, momentum, v, p)

    def limit_columns(self, W: Any, max_norm: float) -> None:
        """Scale back, in place, each column of W that is longer than max_norm."""
        self._limit(self._squares(W, axis=tuple(range(W.ndim - 1))), max_norm, W)

    def _flat(self, array: Any) -> Any:
        return self.xp.ascontiguousarray(array)


class RecordedKernels:
    """The kernels of a step that is being recorded: each call is written down as one."""

    def __init__(self, tape: Any, kernels: Any) -> None:
        self._tape, self._kernels = tape, kernels

    def __getattr__(self, name: str) -> Any:
        return partial(self._tape.call, getattr(self._kernels, name))


made: dict[Backend, Kernels | None] = {}  # a library's kernels, from its first use on


def kernels_for(array: Any) -> Any:
    """The kernels for a float32 or float64 array; None if the plain form is to run."""
    if type(array) is np.ndarray or array.dtype.char not in "fd":
        return None
    if tape := getattr(array, "tape", None):
        kernels = kernels_for(array.array)
        return kernels and RecordedKernels(tape, kernels)
    library = backend.of(array)
    if library not in made:
        made[library] = Kernels(library.xp) if hasattr(library.xp, "ElementwiseKernel") else None
    return made[library]


# A NaN among the pieces is the greatest, as NumPy's maximum has it.
MAXOUT = """
    long long first = i / units * pieces * units + i % units;
    y = z[first];
    for (long long k = 1; k < pieces; ++k) {
        T value = z[first + k * units];
        if (value > y || value != value) y = value;
    }
"""

# Element i is piece k of a unit; it wins if no piece is greater and none before it is as great. NaN is
# greater than any number, and as great as NaN.
WINNER = """
    long long k = i / units % pieces, first = i - k * units;
    T own = z[i];
    bool won = true;
    for (long long j = 0; j < pieces; ++j) {
        T other = z[first + j * units];
        if (other > own || (j < k && other == own)) won = false;
        if (other != other && (j < k || own == own)) won = false;
    }
"""
WINS = WINNER + "    wins = won;"
SPREAD = WINNER + "    v = won ? u[i / (pieces * units) * units + i % units] : (T)0;"

# A label out of range gives NaN: on the device nobody has looked at it before.
# As the plain form: with d = z − z[label] and m = max d, the cost is m + ln(Σ' e^(d−m) + e^−m), Σ' over
# the other classes, through log1p and expm1, so that a tiny cost keeps its digits. Equal infinities
# differ by 0.
CROSS_ENTROPY = """
    long long first = i * classes, own = label;
    bool known = own >= 0 && own < classes;
    T at_label = known ? z[first + own] : (T)nan("");
    T greatest = z[first] == at_label ? (T)0 : z[first] - at_label;
    for (long long j = 1; j < classes; ++j) {
        T d = z[first + j] == at_label ? (T)0 : z[first + j] - at_label;
        if (d > greatest || d != d) greatest = d;
    }
    T others = 0;
    for (long long j = 0; j < classes; ++j) {
        T d = z[first + j] == at_label ? (T)0 : z[first + j] - at_label;
        if (j != own) others += exp(d == greatest ? (T)0 : d - greatest);
    }
    cost = greatest + log1p(others + expm1(-greatest));
"""

# pⱼ for the other classes; at the label −Σ' pⱼ, which does not round to 0 where p − 1 does.
SLOPE = """
    long long row = i / classes, first = row * classes, label = labels[row];
    T greatest = z[first];
    for (long long j = 1; j < classes; ++j) {
        T value = z[first + j];
        if (value > greatest || value != value) greatest = value;
    }
    T others = 0;
    for (long long j = 0; j < classes; ++j)
        if (j != label) others += exp(z[first + j] == greatest ? (T)0 : z[first + j] - greatest);
    bool known = label >= 0 && label < classes;
    T own = known ? z[first + label] : (T)nan("");
    T total = others + exp(own == greatest ? (T)0 : own - greatest);
    s = i - first == label ? -others / total : exp(z[i] == greatest ? (T)0 : z[i] - greatest) / total;
"""

# Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), as
# numpy.random.Philox runs it: block b of four words comes from counter + 1 + b. An element takes 16
# bits, so a block is good for sixteen elements.
DROPOUT = """
    unsigned long long block = 1 + i / 16;
    unsigned long long a = c0 + block, b = c1, c = c2, d = c3;
    if (a < block && ++b == 0 && ++c == 0) ++d;
    unsigned long long key0 = k0, key1 = k1;
    for (int round = 0; round < 10; ++round) {
        unsigned long long high_a = __umul64hi(0xD2E7470EE14C6C93ULL, a), low_a = 0xD2E7470EE14C6C93ULL * a;
        unsigned long long high_c = __umul64hi(0xCA5A826395121157ULL, c), low_c = 0xCA5A826395121157ULL * c;
        a = high_c ^ b ^ key0;
        b = low_c;
        c = high_a ^ d ^ key1;
        d = low_a;
        key0 += 0x9E3779B97F4A7C15ULL;
        key1 += 0xBB67AE8584CAA73BULL;
    }
    int word = i / 4 % 4;
    unsigned long long bits = word == 0 ? a : word == 1 ? b : word == 2 ? c : d;
    y = x * (((bits >> (16 * (i % 4))) & 0xFFFF) < threshold ? (T)scale : (T)0);
"""

UPDATE = """
    v = (T)momentum * v - (T)lr * g;
    p += v;
"""

LIMIT = """
    if (squares > limit * limit) w = (T)(squares - squares == 0 ? w * (limit / sqrt(squares)) : nan(""));
"""
