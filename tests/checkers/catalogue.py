"""Wrong and right gradients on which gradient checkers are compared.

WRONG holds 100 gradients with a mistake that people really make: a checker must catch each of them. RIGHT
holds 100 right gradients, half of them ordinary and half of them hard for a checker: it must pass them all.

The lists were written down, and verified by tests/test_catalogue.py, before any checker was run on them, and
they stay as they are whatever a checker says. WRONG_REPORTS of the wrong ones re-create, in a NumPy function
of our own, a mistake from the public report whose address they carry; RIGHT_REPORTS of the right ones a case
of which a report says that a checker judged it wrongly or badly. The rest is ours.

A pair is run as `function, vjp = entry.fresh()` at `entry.arrays()`: some of the wrong ones keep a value of
an earlier call or write into what they are given, and these two start anew. Only float arrays are inputs;
labels, indices and masks are constants of the function.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Entry:
    """A function with its gradient: vjp(g, *inputs) gives one array, or a tuple with one for each input."""

    name: str
    fault: str  # of a wrong one the kind of mistake, of a right one the kind of difficulty
    function: Callable[..., Any]
    vjp: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    report: str = ""
    make: Callable[[], tuple[Callable[..., Any], Callable[..., Any]]] | None = None  # where they have a state

    def fresh(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The function and its vjp, as before any call."""
        return self.make() if self.make else (self.function, self.vjp)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The inputs, copied in their layout where they can be written into."""
        return tuple(x.copy(order="K") if x.flags.writeable else x for x in self.inputs)


WRONG: list[Entry] = []
RIGHT: list[Entry] = []
GITHUB = "https://github.com/"
WRONG_REPORTS, RIGHT_REPORTS = 53, 9


def wrong(name: str, fault: str, function: Any, *inputs: Any, report: str = "") -> Any:
    """Enters the decorated vjp as a wrong one."""

    def enter(vjp: Any) -> Any:
        WRONG.append(Entry(name, fault, function, vjp, inputs, report and GITHUB + report))
        return vjp

    return enter


def wrong_pair(name: str, *inputs: Any, report: str = "") -> Any:
    """Enters the decorated maker of a function and its vjp, which have a state, as a wrong one."""

    def enter(make: Any) -> Any:
        WRONG.append(Entry(name, "stale value", *make(), inputs, report and GITHUB + report, make))
        return make

    return enter


def right(name: str, difficulty: str, function: Any, vjp: Any, *inputs: Any, report: str = "") -> None:
    RIGHT.append(Entry(name, difficulty, function, vjp, inputs, report and GITHUB + report))


def rand(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def between(seed: int, low: float, high: float, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, size=shape)


def positive_definite(seed: int, n: int) -> np.ndarray:
    a = rand(seed, n, n)
    return a @ a.T + n * np.eye(n)


def array(*values: Any) -> np.ndarray:
    return np.array(values, float)


def sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(x)


# ---- The functions that several entries share ----


def hypot(x: Any, y: Any) -> Any:
    return np.hypot(x, y)


def logaddexp(x: Any, y: Any) -> Any:
    return np.logaddexp(x, y)


def lennard_jones(r: Any) -> Any:
    return 4 * (r**-12 - r**-6)


def kl(p: Any, q: Any) -> Any:
    return np.sum(p * np.log(p / q))


def cross(a: Any, b: Any) -> Any:
    return np.cross(a, b)


RESIDUAL = rand(1, 4)


def log_density(cov: Any) -> Any:
    """Of a normal distribution at RESIDUAL, without its constant."""
    return -0.5 * (RESIDUAL @ np.linalg.solve(cov, RESIDUAL) + np.linalg.slogdet(cov)[1])


def splat(dx: Any, dy: Any, a: Any, b: Any, c: Any) -> Any:
    return np.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)


LABELS = np.array([0, 2, 1, 1, 3, 0])


def svm(w: Any, x: Any) -> Any:
    """Hinge loss of several classes with a penalty on the weights."""
    scores = x @ w
    margins = np.maximum(0, scores - scores[np.arange(6), LABELS][:, None] + 1)
    margins[np.arange(6), LABELS] = 0
    return margins.sum() / 6 + 0.1 * np.sum(w * w)


def svm_scores(w: Any, x: Any) -> Any:
    """The gradient of svm's first part for the scores."""
    scores = x @ w
    d = (scores - scores[np.arange(6), LABELS][:, None] + 1 > 0).astype(float)
    d[np.arange(6), LABELS] = 0
    d[np.arange(6), LABELS] = -d.sum(1)
    return d / 6


def softsign(x: Any) -> Any:
    return x / (1 + np.abs(x))


def softsign_layer(x: Any, w: Any, b: Any) -> Any:
    return softsign(x @ w + b)


def softsign_layer_z(g: Any, x: Any, w: Any, b: Any) -> Any:
    return g / (1 + np.abs(x @ w + b)) ** 2


def variance(x: Any) -> Any:
    return np.var(x, ddof=1)


def attention(q: Any, k: Any, v: Any) -> Any:
    return softmax(q @ k.T / math.sqrt(q.shape[1])) @ v


def attention_scores(g: Any, q: Any, k: Any, v: Any) -> Any:
    """The weights and the gradient for the scaled scores."""
    p = softmax(q @ k.T / math.sqrt(q.shape[1]))
    dp = g @ v.T
    return p, p * (dp - np.sum(dp * p, -1, keepdims=True))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def selu(x: Any) -> Any:
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def huber(x: Any) -> Any:
    return np.where(np.abs(x) <= 1.5, 0.5 * x * x, 1.5 * (np.abs(x) - 0.75))


COUNTS = array(0, 3, 1, 2, 5, 1)


def poisson(x: Any) -> Any:
    return np.sum(np.exp(x) - COUNTS * x)


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return normalised(x) * gamma + beta


def normalised(x: Any, axis: int = -1) -> Any:
    centred = x - x.mean(axis, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis, keepdims=True) + 1e-5)


def normalised_vjp(g: Any, x: Any, axis: Any = -1) -> Any:
    y = normalised(x, axis)
    inner = g - g.mean(axis, keepdims=True) - y * (g * y).mean(axis, keepdims=True)
    return inner / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


def batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return normalised(x, 0) * gamma + beta


def rms_norm(x: Any) -> Any:
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-4)


def column_std(x: Any) -> Any:
    return x.std(0)


def tensordot(x: Any, y: Any) -> Any:
    return np.tensordot(x, y, ((0, 1), (1, 0)))


def inverse(a: Any) -> Any:
    return np.linalg.inv(a)


def solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b)


def quadratic_form(x: Any, a: Any) -> Any:
    return x @ a @ x


def determinant(a: Any) -> Any:
    return np.linalg.det(a)


RATINGS = rand(2, 4, 4)


def factorisation(u: Any, v: Any) -> Any:
    return np.sum((u @ v.T - RATINGS) ** 2) + 0.1 * np.sum(u * u) + 0.1 * np.sum(v * v)


def conv1d(x: Any, w: Any) -> Any:
    return sum(w[i] * x[i : len(x) - len(w) + 1 + i] for i in range(len(w)))


def conv_channels(x: Any, w: Any) -> Any:
    """x: channels, length; w: out, channels, taps."""
    n = x.shape[1] - w.shape[2] + 1
    return sum(w[:, :, i] @ x[:, i : i + n] for i in range(w.shape[2]))


def conv_channels_w(g: Any, x: Any, w: Any) -> Any:
    n = x.shape[1] - w.shape[2] + 1
    return np.stack([g @ x[:, i : i + n].T for i in range(w.shape[2])], 2)


def hardswish(x: Any) -> Any:
    return x * np.clip(x + 3, 0, 6) / 6


def leaky_relu(x: Any) -> Any:
    """With a slope of -2 below 0."""
    return np.where(x > 0, x, -2 * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def relu6(x: Any) -> Any:
    return np.minimum(np.maximum(x, 0), 6)


def triplet(anchor: Any, positive: Any, negative: Any) -> Any:
    return np.maximum(np.sum((anchor - positive) ** 2 - (anchor - negative) ** 2, 1) + 1, 0).sum()


def active_triplets(anchor: Any, positive: Any, negative: Any) -> Any:
    return (np.sum((anchor - positive) ** 2 - (anchor - negative) ** 2, 1) + 1 > 0)[:, None]


def silu(x: Any) -> Any:
    return x * sigmoid(x)


def silu_slope(x: Any) -> Any:
    s = sigmoid(x)
    return s + x * s * (1 - s)


def mish(x: Any) -> Any:
    return x * np.tanh(np.logaddexp(0, x))


def mish_slope(x: Any) -> Any:
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t * t) * sigmoid(x)


def log_cosh(x: Any) -> Any:
    return np.logaddexp(x, -x) - math.log(2)


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_slope(x: Any, scale: float = math.sqrt(2 / math.pi)) -> Any:
    t = np.tanh(scale * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x)


def squared_norms(x: Any) -> Any:
    return np.sum(x * x, -1)


def cumprod(x: Any) -> Any:
    return np.cumprod(x)


def product(x: Any) -> Any:
    return np.prod(x)


def others_product(x: Any) -> Any:
    """For each element the product of all others, without a division."""
    return np.array([np.prod(np.delete(x, i)) for i in range(len(x))])


def cumprod_vjp(g: Any, x: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(len(x)):
        y = x.copy()
        y[i] = 1
        out[i] = np.sum((g * np.cumprod(y))[i:])
    return out


def sinc(x: Any) -> Any:
    return np.sinc(x)


def black_scholes(s: Any, vol: Any) -> Any:
    """Prices of calls at the strike 100 in one year, at a rate of 3 %."""
    d = (np.log(s / 100) + 0.03 + vol * vol / 2) / vol
    return s * normal_cdf(d) - 100 * math.exp(-0.03) * normal_cdf(d - vol)


def black_scholes_d(s: Any, vol: Any) -> Any:
    return (np.log(s / 100) + 0.03 + vol * vol / 2) / vol


def normal_cdf(x: Any) -> Any:
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def normal_pdf(x: Any) -> Any:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gravity(x: Any) -> Any:
    """The potential of a soft body at the origin, at the points x."""
    return -1 / np.sqrt(np.sum(x * x, -1) + 1e-4)


def angle(z: Any) -> Any:
    return np.arctan2(z[1], z[0])


def lstm_cell(z: Any, c: Any) -> Any:
    """z: the four gates' inputs (forget, in, out, new). The new cell and the output, one below the other."""
    f, i, o, n = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
    new = f * c + i * n
    return np.stack([new, o * np.tanh(new)])


def lstm_cell_vjp(g: Any, z: Any, c: Any) -> Any:
    f, i, o, n = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
    t = np.tanh(f * c + i * n)
    dc = g[0] + g[1] * o * (1 - t * t)
    gates = [dc * c * f * (1 - f), dc * n * i * (1 - i), g[1] * t * o * (1 - o), dc * i * (1 - n * n)]
    return np.stack(gates), dc * f


LSTM_INPUT = rand(3, 5)


def lstm_biases(bf: Any, bi: Any, bo: Any, bn: Any) -> Any:
    z = np.stack([bf, bi, bo, bn]) + LSTM_INPUT
    return lstm_cell(z, np.cos(LSTM_INPUT))


def lstm_biases_vjp(g: Any, bf: Any, bi: Any, bo: Any, bn: Any) -> Any:
    return lstm_cell_vjp(g, np.stack([bf, bi, bo, bn]) + LSTM_INPUT, np.cos(LSTM_INPUT))[0]


def gaussian_nll(mean: Any, var: Any) -> Any:
    return np.sum(0.5 * np.log(var) + 0.5 * (mean - COUNTS) ** 2 / var)


def unit(x: Any) -> Any:
    return x / np.sqrt(np.sum(x * x))


def maxpool(x: Any) -> Any:
    """Windows of 3, one element apart."""
    return np.maximum(np.maximum(x[:-2], x[1:-1]), x[2:])


def gram(x: Any) -> Any:
    return x @ x.T


def upsample(x: Any) -> Any:
    return np.repeat(x, 2)


def cholesky(a: Any) -> Any:
    return np.linalg.cholesky(a)


def cholesky_vjp(g: Any, a: Any) -> Any:
    """The function reads the lower triangle only: the gradient lies there."""
    factor = np.linalg.cholesky(a)
    inv = np.linalg.inv(factor)
    inner = np.tril(factor.T @ g)
    inner[np.diag_indices(len(a))] *= 0.5
    s = inv.T @ inner @ inv
    s = s + s.T
    return np.tril(s) - np.diag(np.diag(s)) / 2


def cosine(x: Any, y: Any) -> Any:
    return np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y))


def focal(x: Any) -> Any:
    p = sigmoid(x)
    return -((1 - p) ** 2) * np.log(p)


def average_pool(x: Any) -> Any:
    """Windows of 2, two apart, of 5 elements: the last window has one."""
    return np.stack([(x[0] + x[1]) / 2, (x[2] + x[3]) / 2, x[4]])


STRETCH = np.linspace(0, 1, 10)


def stretch(x: Any) -> Any:
    """Linear interpolation from 2 to 10 points."""
    return x[0] * (1 - STRETCH) + x[1] * STRETCH


FEATURES = np.hstack([np.ones((6, 1)), rand(4, 6, 3)])
TARGETS = array(0, 1, 1, 0, 1, 0)


def logistic_regression(w: Any) -> Any:
    """With a penalty on the weights, not on the bias w[0]."""
    z = FEATURES @ w
    return np.mean(np.logaddexp(0, z) - TARGETS * z) + 0.05 * np.sum(w[1:] ** 2)


def logistic_regression_vjp(g: Any, w: Any) -> Any:
    penalty = 0.1 * w
    penalty[0] = 0
    return g * (FEATURES.T @ (sigmoid(FEATURES @ w) - TARGETS) / 6 + penalty)


TOKENS = np.array([3, 0, 7, 11, 5, 7, 2, 19])


def embedding(table: Any) -> Any:
    return table[TOKENS] ** 2


def swiglu(a: Any, b: Any) -> Any:
    return silu(a) * b


# ---- Wrong: sign ----


@wrong(
    "normal log-density: minus of the gradient for the covariance",
    "sign",
    log_density,
    positive_definite(10, 4),
    report="HIPS/autograd/pull/412",
)
def _(g: Any, cov: Any) -> Any:
    inv = np.linalg.inv(cov).T
    solved = inv @ RESIDUAL
    return 0.5 * g * (inv - np.outer(solved, solved))  # right: outer - inv


@wrong(
    "sin(x) y: minus of the gradient for y",
    "sign",
    lambda x, y: np.sin(x) * y,
    rand(11, 6),
    rand(12, 6),
    report="jax-ml/jax/issues/3213",
)
def _(g: Any, x: Any, y: Any) -> Any:
    return g * np.cos(x) * y, -g * np.sin(x)  # right: +


@wrong("Lennard-Jones: the force in place of the gradient", "sign", lennard_jones, between(13, 1, 2, 7))
def _(g: Any, r: Any) -> Any:
    return g * 24 * (2 * r**-13 - r**-7)  # right: minus this


@wrong("arctan2: both signs are plus", "sign", np.arctan2, rand(14, 5), rand(15, 5))
def _(g: Any, y: Any, x: Any) -> Any:
    r = x * x + y * y
    return g * x / r, g * y / r  # right: -y for x


@wrong(
    "KL divergence: plus for the second distribution", "sign", kl, softmax(rand(16, 6)), softmax(rand(17, 6))
)
def _(g: Any, p: Any, q: Any) -> Any:
    return g * (np.log(p / q) + 1), g * p / q  # right: -p / q


# ---- Wrong: factor ----


@wrong(
    "Gaussian splat: half of the mixed term's gradient",
    "factor",
    splat,
    *(between(20 + i, 0.3, 1.2, 4) for i in range(5)),
    report="graphdeco-inria/gaussian-splatting/issues/551",
)
def _(g: Any, dx: Any, dy: Any, a: Any, b: Any, c: Any) -> Any:
    g = g * splat(dx, dy, a, b, c)
    db = -0.5 * g * dx * dy  # right: -g * dx * dy
    return -g * (a * dx + b * dy), -g * (c * dy + b * dx), -0.5 * g * dx * dx, db, -0.5 * g * dy * dy


@wrong(
    "hinge loss: the penalty's 2 is missing",
    "factor",
    svm,
    rand(25, 3, 4),
    rand(26, 6, 3),
    report="jingtinghuang/CS231n-Spring-2017/issues/3",
)
def _(g: Any, w: Any, x: Any) -> Any:
    d = svm_scores(w, x)
    return g * (x.T @ d + 0.1 * w), g * (d @ w.T)  # right: 0.2 * w


@wrong(
    "softsign layer: the bias gets the mean over the batch",
    "factor",
    softsign_layer,
    rand(27, 5, 3),
    rand(28, 3, 2),
    rand(29, 2),
    report="jimfleming/differentiation/issues/1",
)
def _(g: Any, x: Any, w: Any, b: Any) -> Any:
    dz = softsign_layer_z(g, x, w, b)
    return dz @ w.T, x.T @ dz, dz.mean(0)  # right: sum(0)


@wrong("variance with ddof = 1: divided by n", "factor", variance, rand(30, 7))
def _(g: Any, x: Any) -> Any:
    return g * 2 * (x - x.mean()) / x.size  # right: x.size - 1


@wrong(
    "attention: the scale is missing for the query",
    "factor",
    attention,
    rand(31, 3, 4),
    rand(32, 5, 4),
    rand(33, 5, 2),
)
def _(g: Any, q: Any, k: Any, v: Any) -> Any:
    p, ds = attention_scores(g, q, k, v)
    return ds @ k, ds.T @ q / 2, p.T @ g  # right: ds @ k / sqrt(4)


@wrong(
    "SELU: the scale twice below 0",
    "factor",
    selu,
    rand(34, 8),
    report="RubixML/ML/pull/427",
)
def _(g: Any, x: Any) -> Any:
    below = SELU_SCALE * (selu(x) + SELU_ALPHA)  # right: selu(x) + SELU_SCALE * SELU_ALPHA
    return g * np.where(x > 0, SELU_SCALE, below)


# ---- Wrong: the sum's gradient for the mean's, or the other way ----


@wrong("mean Huber loss: the sum's gradient", "mean for sum", lambda x: np.mean(huber(x)), 2 * rand(36, 9))
def _(g: Any, x: Any) -> Any:
    return g * np.clip(x, -1.5, 1.5)  # right: / x.size


@wrong("Poisson loss: the mean's gradient", "mean for sum", poisson, rand(37, 6))
def _(g: Any, x: Any) -> Any:
    return g * (np.exp(x) - COUNTS) / x.size  # right: not divided


@wrong(
    "mean squared distance of all pairs: divided by n only",
    "mean for sum",
    lambda x: np.mean(np.sum((x[:, None] - x) ** 2, -1)),
    rand(38, 5, 2),
)
def _(g: Any, x: Any) -> Any:
    return g * 4 * np.sum(x[:, None] - x, 1) / len(x)  # right: / len(x)**2


@wrong(
    "mean log-cosh per row: divided by all elements",
    "mean for sum",
    lambda x: log_cosh(x).mean(1),
    rand(39, 3, 4),
)
def _(g: Any, x: Any) -> Any:
    return g[:, None] * np.tanh(x) / x.size  # right: / x.shape[1]


# ---- Wrong: axis ----


@wrong(
    "layer norm of three axes: taken as of two",
    "axis",
    normalised,
    rand(40, 2, 3, 4),
    report="flagos-ai/FlagGems/issues/5392",
)
def _(g: Any, x: Any) -> Any:
    flat = x.reshape(x.shape[0], -1)  # right: reshape(-1, x.shape[-1])
    return normalised_vjp(g.reshape(flat.shape), flat).reshape(x.shape)


@wrong(
    "attention: the softmax's sum over the queries",
    "axis",
    attention,
    rand(41, 4, 3),
    rand(42, 4, 3),
    rand(43, 4, 2),
)
def _(g: Any, q: Any, k: Any, v: Any) -> Any:
    p = softmax(q @ k.T / math.sqrt(3))
    dp = g @ v.T
    ds = p * (dp - np.sum(dp * p, 0, keepdims=True)) / math.sqrt(3)  # right: axis -1
    return ds @ k, ds.T @ q, p.T @ g


@wrong(
    "rollaxis of a negative axis: rolled back as of a positive one",
    "axis",
    lambda x: np.rollaxis(x, -1),
    rand(44, 3, 3, 3),
    report="HIPS/autograd/issues/350",
)
def _(g: Any, x: Any) -> Any:
    return np.moveaxis(g, 0, 1)  # right: moveaxis(g, 0, -1)


@wrong("cumsum of rows: summed back along the columns", "axis", lambda x: np.cumsum(x, 1), rand(45, 4, 4))
def _(g: Any, x: Any) -> Any:
    return np.cumsum(g[::-1], 0)[::-1]  # right: along axis 1


@wrong(
    "tensordot: the axes' order is ignored",
    "axis",
    tensordot,
    rand(47, 3, 3),
    rand(48, 3, 3),
    report="HIPS/autograd/issues/466",
)
def _(g: Any, x: Any, y: Any) -> Any:
    return g * y, g * x  # right: y.T, x.T


# ---- Wrong: missing transpose ----


@wrong("inverse: without the transposes", "missing transpose", inverse, rand(50, 3, 3) + 3 * np.eye(3))
def _(g: Any, a: Any) -> Any:
    inv = np.linalg.inv(a)
    return -inv @ g @ inv  # right: -inv.T @ g @ inv.T


@wrong(
    "solve: solved with the matrix itself",
    "missing transpose",
    solve,
    rand(51, 3, 3) + 3 * np.eye(3),
    rand(52, 3),
)
def _(g: Any, a: Any, b: Any) -> Any:
    db = np.linalg.solve(a, g)  # right: solve(a.T, g)
    return -np.outer(db, np.linalg.solve(a, b)), db


@wrong(
    "quadratic form: the matrix taken as symmetric",
    "missing transpose",
    quadratic_form,
    rand(53, 4),
    rand(54, 4, 4),
)
def _(g: Any, x: Any, a: Any) -> Any:
    return 2 * g * (a @ x), g * np.outer(x, x)  # right: (a + a.T) @ x


@wrong("determinant: the inverse not transposed", "missing transpose", determinant, rand(57, 3, 3))
def _(g: Any, a: Any) -> Any:
    return g * np.linalg.det(a) * np.linalg.inv(a)  # right: inv(a).T


# ---- Wrong: un-broadcasting ----


@wrong(
    "hypot: the broadcast row's gradient is not summed",
    "un-broadcasting",
    hypot,
    rand(60, 3, 4),
    rand(61, 1, 4),
    report="deeplearning4j/nd4j/issues/2424",
)
def _(g: Any, x: Any, y: Any) -> Any:
    r = np.hypot(x, y)
    return g * x / r, g * y / r  # right: the second summed over axis 0, keepdims


@wrong(
    "einsum of unequal lengths: the gradient has the other's length",
    "un-broadcasting",
    lambda x, y: np.einsum("i,i", x, np.broadcast_to(y, x.shape)),
    rand(62, 2),
    rand(63, 1),
    report="HIPS/autograd/issues/376",
)
def _(g: Any, x: Any, y: Any) -> Any:
    return g * y, g * x.sum(keepdims=True)  # right: broadcast_to(g * y, x.shape)


@wrong(
    "masked sine: the mask's gradient is not summed over the features",
    "un-broadcasting",
    lambda h, mask: np.sin(h) * mask,
    rand(64, 2, 3, 4),
    rand(65, 2, 3, 1),
    report="tenstorrent/tt-metal/issues/40008",
)
def _(g: Any, h: Any, mask: Any) -> Any:
    return g * np.cos(h) * mask, g * np.sin(h)  # right: summed over axis -1, keepdims


@wrong(
    "logaddexp with a number: its gradient is an array",
    "un-broadcasting",
    logaddexp,
    rand(66, 4),
    np.array(0.3),
)
def _(g: Any, x: Any, y: Any) -> Any:
    p = sigmoid(x - y)
    return g * p, g * (1 - p)  # right: the second summed


# ---- Wrong: off by one ----


@wrong(
    "convolution: the taps shifted by one for the input", "off by one tap", conv1d, rand(70, 8), rand(71, 3)
)
def _(g: Any, x: Any, w: Any) -> Any:
    dx = np.zeros_like(x)
    for i in range(3):
        dx[i : i + 6] += w[i - 1] * g  # right: w[i]
    return dx, array(*(g @ x[i : i + 6] for i in range(3)))


@wrong(
    "convolution: the gradient goes to the out channel's number",
    "off by one tap",
    conv_channels,
    rand(72, 3, 6),
    rand(73, 3, 3, 2),
    report="NervanaSystems/neon/issues/111",
)
def _(g: Any, x: Any, w: Any) -> Any:
    dx = np.zeros_like(x)
    for i in range(2):
        for m in range(3):
            for d in range(3):
                dx[m, i : i + 5] += w[m, d, i] * g[m]  # right: dx[d]
    return dx, conv_channels_w(g, x, w)


@wrong("differences: the last wraps around", "off by one tap", np.diff, rand(74, 6))
def _(g: Any, x: Any) -> Any:
    padded = np.append(g, g[0])  # right: append(0, g) - append(g, 0)
    return np.roll(padded, 1) - padded


@wrong("cumsum: the element itself is left out", "off by one tap", np.cumsum, rand(75, 6))
def _(g: Any, x: Any) -> Any:
    return np.cumsum(g[::-1])[::-1] - g  # right: not - g


@wrong("roll: rolled on, not back", "off by one tap", lambda x: np.roll(np.sin(x), 1), rand(76, 6))
def _(g: Any, x: Any) -> Any:
    return np.roll(g, 1) * np.cos(x)  # right: roll(g, -1)


@wrong(
    "patches' maxima: returned after the first patch",
    "off by one tap",
    lambda x: x.reshape(4, 3).max(1),
    rand(77, 12),
    report="riccardoandreoni0/CNN-from-scratch/issues/1",
)
def _(g: Any, x: Any) -> Any:
    dx = np.zeros((4, 3))
    for i, patch in enumerate(x.reshape(4, 3)):
        dx[i, patch.argmax()] = g[i]
        return dx.ravel()  # right: after the loop
    return dx.ravel()


# ---- Wrong: the wrong branch at a kink ----


@wrong(
    "hard swish: the branch taken from max(x, 0)",
    "wrong branch at a kink",
    hardswish,
    array(-5, -3.7, -2, -0.5, 0.5, 2, 4),
    report="pytorch/pytorch/pull/57383",
)
def _(g: Any, x: Any) -> Any:
    r = np.maximum(x, 0)  # right: x itself
    return g * np.where(r >= 3, 1, r / 3 + 0.5)


@wrong(
    "ELU of a negative alpha: the branch taken from the output",
    "wrong branch at a kink",
    lambda x: elu(x, -2.0),
    array(-2, -1, -0.3, 0.4, 1, 2),
    report="pytorch/pytorch/issues/47671",
)
def _(g: Any, x: Any) -> Any:
    y = elu(x, -2.0)
    return g * np.where(y > 0, 1, y - 2)  # right: where(x > 0)


@wrong(
    "leaky ReLU of a negative slope: the branch taken from the output",
    "wrong branch at a kink",
    leaky_relu,
    array(-1.0, 1.0, -0.2, 0.7),
    report="pytorch/pytorch/issues/31938",
)
def _(g: Any, x: Any) -> Any:
    return g * np.where(leaky_relu(x) > 0, 1, -2)  # right: where(x > 0)


@wrong(
    "Huber: the branches change at 1 instead of 1.5",
    "wrong branch at a kink",
    huber,
    array(-3, -1.2, -0.4, 0.6, 1.3, 2),
)
def _(g: Any, x: Any) -> Any:
    return g * np.where(np.abs(x) <= 1, x, 1.5 * np.sign(x))  # right: <= 1.5


@wrong("ReLU6: the upper border is forgotten", "wrong branch at a kink", relu6, array(-2, 1, 3, 5.5, 6.5, 9))
def _(g: Any, x: Any) -> Any:
    return g * (x > 0)  # right: and x < 6


@wrong(
    "triplet loss: triplets at rest get a gradient",
    "wrong branch at a kink",
    triplet,
    rand(80, 6, 2),
    rand(81, 6, 2),
    rand(82, 6, 2),
)
def _(g: Any, a: Any, p: Any, n: Any) -> Any:
    return g * 2 * (n - p), g * 2 * (p - a), g * 2 * (a - n)  # right: * active_triplets(a, p, n)


# ---- Wrong: stale value ----


@wrong_pair(
    "Gaussian bump: right at the first call only", rand(90, 4), report="bshillingford/autobw.torch/pull/7"
)
def _() -> Any:
    adjoint: list[Any] = []

    def vjp(g: Any, x: Any) -> Any:
        adjoint.append(-2 * x * np.exp(-x * x) * g)
        return adjoint[0]  # right: adjoint[-1]

    return (lambda x: np.exp(-x * x)), vjp


@wrong_pair(
    "softsign: gradients pile up from call to call", rand(91, 4), report="karpathy/micrograd/pull/102"
)
def _() -> Any:
    total: dict[Any, Any] = {}

    def vjp(g: Any, x: Any) -> Any:
        total[x.shape] = total.get(x.shape, 0) + g / (1 + np.abs(x)) ** 2  # right: set to 0 before
        return total[x.shape]

    return softsign, vjp


@wrong(
    "x cos(t): the gradient for t uses the new x",
    "stale value",
    lambda x, t: x * np.cos(t),
    rand(92, 4),
    rand(93, 4),
    report="taichi-dev/taichi/issues/2505",
)
def _(g: Any, x: Any, t: Any) -> Any:
    new = x * np.cos(t)
    return g * np.cos(t), -g * new * np.sin(t)  # right: x, not new


@wrong(
    "sinh(a) + sinh(b): equal inputs are taken as one",
    "stale value",
    lambda a, b: np.sinh(a) + np.sinh(b),
    array(3),
    array(3),
    report="tinygrad/tinygrad/issues/9597",
)
def _(g: Any, a: Any, b: Any) -> Any:
    grads: dict[Any, Any] = {}
    for x in (a, b):  # right: known by the variable, not by its value
        grads[x.tobytes()] = grads.get(x.tobytes(), 0) + g * np.cosh(x)
    return grads[a.tobytes()], grads[b.tobytes()]


@wrong_pair("erf: the slope is kept for each shape", rand(94, 5))
def _() -> Any:
    slopes: dict[Any, Any] = {}

    def vjp(g: Any, x: Any) -> Any:
        if x.shape not in slopes:  # right: no such memory
            slopes[x.shape] = 2 / math.sqrt(math.pi) * np.exp(-x * x)
        return g * slopes[x.shape]

    vjp(1.0, np.zeros(5))  # as a warm-up does
    return erf, vjp


@wrong(
    "polynomial: each slope closes over the loop's last power",
    "stale value",
    lambda x: 2 * x + 3 * x**2 + x**3,
    rand(95, 5),
)
def _(g: Any, x: Any) -> Any:
    slopes = []
    for power, factor in ((1, 2), (2, 3), (3, 1)):
        slopes.append(lambda c=factor: c * power * x ** (power - 1))  # noqa: B023 (right: power=power)
    return g * sum(slope() for slope in slopes)


@wrong_pair("arctan: the gradient is kept for each shape of g", rand(96, 4))
def _() -> Any:
    kept: dict[Any, Any] = {}

    def vjp(g: Any, x: Any) -> Any:
        return kept.setdefault(g.shape, g / (1 + x * x))  # right: no such memory

    return np.arctan, vjp


# ---- Wrong: dtype ----


@wrong(
    "range of a float32 row: float64 after dividing by a count",
    "wrong dtype",
    lambda x: np.ptp(x, 1),
    rand(100, 3, 4).astype(np.float32),
    report="HIPS/autograd/pull/199",
)
def _(g: Any, x: Any) -> Any:
    high, low = x == x.max(1, keepdims=True), x == x.min(1, keepdims=True)
    return g[:, None] * (
        high / high.sum(1, keepdims=True) - low / low.sum(1, keepdims=True)
    )  # right: x.dtype


@wrong(
    "sigmoid loss in float32: divided by a NumPy integer",
    "wrong dtype",
    lambda x: np.mean(np.logaddexp(np.float32(0), x) - x * x.dtype.type(0.5)),
    rand(101, 6).astype(np.float32),
    report="chainer/chainer/issues/684",
)
def _(g: Any, x: Any) -> Any:
    return g * (sigmoid(x) - 0.5) / np.array([x.size])  # right: / x.size


@wrong("arcsinh: float32 for float64", "wrong dtype", np.arcsinh, rand(102, 5))
def _(g: Any, x: Any) -> Any:
    return (g / np.sqrt(1 + x * x)).astype(np.float32)  # right: x.dtype


@wrong(
    "picked squares: summed in integers", "wrong dtype", lambda x: x[[0, 2, 2]] ** 2, array(1.5, -2, 2.5, 3)
)
def _(g: Any, x: Any) -> Any:
    dx = np.zeros(4, int)  # right: zeros_like(x)
    np.add.at(dx, [0, 2, 2], (2 * g * x[[0, 2, 2]]).astype(int))
    return dx


# ---- Wrong: NaN at 0 ----


@wrong(
    "squared norms: through the norm, which is 0",
    "NaN at 0",
    squared_norms,
    np.array([[3.0, 4], [0, 0], [1, 2]]),
    report="HIPS/autograd/issues/617",
)
def _(g: Any, x: Any) -> Any:
    norm = np.sqrt(np.sum(x * x, -1, keepdims=True))
    with np.errstate(all="ignore"):
        return g[:, None] * 2 * norm * (x / norm)  # right: 2 * x


@wrong(
    "cumprod: divided by an element that is 0",
    "NaN at 0",
    cumprod,
    array(2, 0, 3, -1),
    report="tensorflow/tensorflow/issues/3862",
)
def _(g: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.cumsum((g * np.cumprod(x))[::-1])[::-1] / x  # right: cumprod_vjp


@wrong(
    "product: divided by an element that is 0",
    "NaN at 0",
    product,
    array(2, 0, 3, 4),
    report="tracel-ai/burn/issues/5533",
)
def _(g: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return g * np.prod(x) / x  # right: others_product(x)


@wrong(
    "sinc: the formula for x other than 0",
    "NaN at 0",
    sinc,
    array(-1.3, 0, 0.4, 2.2),
    report="jax-ml/jax/pull/1722",
)
def _(g: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return g * (np.cos(np.pi * x) - np.sinc(x)) / x  # right: 0 at 0


@wrong(
    "hypot, at least 1e-10: infinite slope times 0",
    "NaN at 0",
    lambda x, y: np.maximum(np.hypot(x, y), 1e-10),
    array(0, 3, -1),
    array(0, 4, 0.5),
    report="ml-explore/mlx/pull/3692",
)
def _(g: Any, x: Any, y: Any) -> Any:
    r = np.hypot(x, y)
    with np.errstate(all="ignore"):
        g = g * (r > 1e-10) / r  # right: where(r > 1e-10, g / r, 0)
    return g * x, g * y


@wrong(
    "x below 1, its square root above: the other branch's slope times 0",
    "NaN at 0",
    lambda x: np.where(x < 1, x, np.sqrt(np.abs(x))),
    array(0, 0.3, 4, 2.5),
    report="jax-ml/jax/issues/5798",
)
def _(g: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return g * ((x < 1) * 1.0 + (x >= 1) * 0.5 / np.sqrt(x))  # right: where(x < 1, 1, ...)


# ---- Wrong: one element of many ----


@wrong("SiLU: the loop ends one before the last", "one element of many", silu, rand(110, 300))
def _(g: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    for start in range(0, 299, 37):
        stop = min(start + 37, 299)  # right: 300
        dx[start:stop] = g[start:stop] * silu_slope(x[start:stop])
    return dx


@wrong(
    "log-cosh: where two pieces meet, an element is counted twice",
    "one element of many",
    log_cosh,
    rand(111, 256),
)
def _(g: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    dx[:129] += g[:129] * np.tanh(x[:129])  # right: [:128]
    dx[128:] += g[128:] * np.tanh(x[128:])
    return dx


@wrong(
    "trace of a tall matrix: the diagonal runs on into the next row",
    "one element of many",
    np.trace,
    rand(112, 14, 12),
    report="pytorch/pytorch/issues/171704",
)
def _(g: Any, a: Any) -> Any:
    da = np.zeros(a.size)
    da[:: a.shape[1] + 1] = g  # right: the first min(a.shape) of them
    return da.reshape(a.shape)


@wrong(
    "embedding: of a token that comes twice, the last gradient only",
    "one element of many",
    embedding,
    rand(113, 20, 3),
    report="pytorch/pytorch/issues/1631",
)
def _(g: Any, table: Any) -> Any:
    d = np.zeros_like(table)
    d[TOKENS] = 2 * g * table[TOKENS]  # right: np.add.at
    return d


@wrong(
    "reflected border: one reflection is lost",
    "one element of many",
    lambda x: np.pad(x, 2, "reflect"),
    rand(115, 60),
)
def _(g: Any, x: Any) -> Any:
    dx = g[2:-2].copy()
    dx[1] += g[1]
    dx[2] += g[0]
    dx[-2] += g[-2]  # right: and dx[-3] += g[-1]
    return dx


# ---- Wrong: small relative error ----


@wrong("GELU: sqrt(2 / pi) as 0.7979", "precision", gelu, rand(120, 8))
def _(g: Any, x: Any) -> Any:
    return g * gelu_slope(x, 0.7979)  # right: 0.7978845608


@wrong("normal density: pi as 3.1415", "precision", normal_pdf, rand(121, 6))
def _(g: Any, x: Any) -> Any:
    return -g * x * np.exp(-x * x / 2) / math.sqrt(2 * 3.1415)  # right: math.pi


@wrong("RMS norm: eps outside of the root", "precision", rms_norm, 2 * rand(122, 3, 6))
def _(g: Any, x: Any) -> Any:
    r = np.sqrt(np.mean(x * x, -1, keepdims=True)) + 1e-4  # right: sqrt(mean + 1e-4)
    return (g - x * np.mean(g * x, -1, keepdims=True) / (r * r)) / r


@wrong(
    "Black-Scholes: sqrt(2 pi) as 2.507 for the volatility",
    "precision",
    black_scholes,
    array(80, 100, 130),
    array(0.2, 0.3, 0.25),
)
def _(g: Any, s: Any, vol: Any) -> Any:
    d = black_scholes_d(s, vol)
    return g * normal_cdf(d), g * s * np.exp(-d * d / 2) / 2.507  # right: math.sqrt(2 * math.pi)


@wrong("decibels: log10(e) as 0.4343", "precision", lambda x: 10 * np.log10(x * x + 1), rand(123, 6))
def _(g: Any, x: Any) -> Any:
    return g * 10 * 0.4343 * 2 * x / (x * x + 1)  # right: 0.4342944819


# ---- Wrong for large or for small numbers only ----


@wrong("softsign: 0 above 20, as if saturated", "large or small only", softsign, array(-30, -4, 0.5, 3, 25))
def _(g: Any, x: Any) -> Any:
    return np.where(np.abs(x) > 20, 0, g / (1 + np.abs(x)) ** 2)  # right: the formula everywhere


@wrong("hypot: the squares overflow", "large or small only", hypot, array(3e200, 1, 5), array(4e200, 2, -1))
def _(g: Any, x: Any, y: Any) -> Any:
    with np.errstate(over="ignore"):
        r = np.sqrt(x * x + y * y)  # right: np.hypot(x, y)
    return g * x / r, g * y / r


@wrong(
    "soft gravity: the softening is left out",
    "large or small only",
    gravity,
    np.array([[3.0, 1, -2], [40, 20, 10], [0.01, 0.02, -0.01]]),
)
def _(g: Any, x: Any) -> Any:
    return (g * np.sum(x * x, -1) ** -1.5)[:, None] * x  # right: sum + 1e-4


@wrong(
    "angle: the squares underflow",
    "large or small only",
    lambda z: angle(z) * 1e-180,
    np.array([[1.0, 5.6e-180], [2.0, 1e-180]]),
    report="pytorch/pytorch/issues/98276",
)
def _(g: Any, z: Any) -> Any:
    with np.errstate(all="ignore"):
        g = g * 1e-180 / (z[0] ** 2 + z[1] ** 2)  # right: / hypot / hypot
        return np.stack([-g * z[1], g * z[0]])


@wrong(
    "ELU: exp overflows on the side that is thrown away",
    "large or small only",
    elu,
    array(-2, -0.5, 1, 30, 800),
    report="tinygrad/tinygrad/pull/17852",
)
def _(g: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return g * ((x > 0) * 1.0 + (x <= 0) * np.exp(x))  # right: exp(minimum(x, 0))


# ---- Wrong for one of several inputs ----


@wrong(
    "layer norm: the gradients of scale and shift change places",
    "one of several inputs",
    layer_norm,
    rand(130, 3, 4),
    rand(131, 4),
    rand(132, 4),
    report="Oneflow-Inc/oneflow/pull/6149",
)
def _(g: Any, x: Any, gamma: Any, beta: Any) -> Any:
    return normalised_vjp(g * gamma, x), g.sum(0), (g * normalised(x)).sum(0)  # right: the other way


@wrong(
    "LSTM: the forget gate's gradient for the other biases",
    "one of several inputs",
    lstm_biases,
    *(rand(133 + i, 5) for i in range(4)),
    report="hanbt/learn_dl/issues/53",
)
def _(g: Any, *biases: Any) -> Any:
    df, _, _, dn = lstm_biases_vjp(g, *biases)
    return df, df.copy(), df.copy(), dn  # right: df, di, do, dn


@wrong(
    "LSTM: the forget gate's sigmoid in place of its slope",
    "one of several inputs",
    lstm_biases,
    *(rand(137 + i, 5) for i in range(4)),
    report="CaptainE/RNN-LSTM-in-numpy/issues/1",
)
def _(g: Any, *biases: Any) -> Any:
    df, di, do, dn = lstm_biases_vjp(g, *biases)
    f = sigmoid(biases[0] + LSTM_INPUT)
    return df / (1 - f), di, do, dn  # right: df


@wrong(
    "normal loss: the variance's 1/2 is lost in one term",
    "one of several inputs",
    gaussian_nll,
    rand(141, 6),
    between(142, 0.5, 2, 6),
)
def _(g: Any, mean: Any, var: Any) -> Any:
    e = mean - COUNTS
    return g * e / var, g * (0.5 / var - e * e / var**2)  # right: 0.5 * e * e


# ---- Wrong cotangent: right only where g is all ones ----


@wrong(
    "Huber: g is ignored", "wrong cotangent", huber, 2 * rand(143, 6), report="chainer/chainer/issues/1175"
)
def _(g: Any, x: Any) -> Any:
    return np.clip(x, -1.5, 1.5)  # right: g * this


@wrong(
    "total score of paths: g is ignored",
    "wrong cotangent",
    lambda x: np.logaddexp(x[:, 0] + x[:, 1], x[:, 2]),
    rand(144, 4, 3),
    report="k2-fsa/k2/issues/341",
)
def _(g: Any, x: Any) -> Any:
    p = sigmoid(x[:, 0] + x[:, 1] - x[:, 2])
    return np.stack([p, p, 1 - p], 1)  # right: g[:, None] * this


@wrong(
    "flip: filled with ones", "wrong cotangent", np.flip, rand(145, 5), report="pytorch/tutorials/issues/216"
)
def _(g: Any, x: Any) -> Any:
    return np.ones_like(x)  # right: np.flip(g)


@wrong(
    "hard swish: g takes the place of x",
    "wrong cotangent",
    hardswish,
    array(-4, -2, -1, 0.5, 2, 4),
    report="tensorflow/swift-apis/pull/743",
)
def _(g: Any, x: Any) -> Any:
    inside = (x > -3) & (x < 3)
    return (np.clip(g + 3, 0, 6) + g * inside * g) / 6  # right: g * (clip(x + 3, 0, 6) + x * inside) / 6


# ---- Wrong: writes into what it was given ----


@wrong(
    "arctan: g is divided in place",
    "overwrites its input",
    np.arctan,
    rand(150, 4),
    report="pytorch/pytorch/issues/81417",
)
def _(g: Any, x: Any) -> Any:
    g /= 1 + x * x  # right: g = g / ...
    return g


@wrong(
    "SwiGLU: the gradients are written over the inputs",
    "overwrites its input",
    swiglu,
    rand(151, 5),
    rand(152, 5),
    report="linkedin/Liger-Kernel/issues/254",
)
def _(g: Any, a: Any, b: Any) -> Any:
    da, db = g * b * silu_slope(a), g * silu(a)
    a[...], b[...] = da, db  # right: return them only
    return a, b


def sorts_in_place(x: Any) -> Any:
    order = np.argsort(x)
    x.sort()  # right: x = np.sort(x)
    return x * np.cos(order)


@wrong(
    "weighted order: the function sorts its argument",
    "overwrites its input",
    sorts_in_place,
    array(3, -1, 2, 0.5),
)
def _(g: Any, x: Any) -> Any:
    order = np.argsort(x)
    dx = np.zeros_like(x)
    dx[order] = g * np.cos(order)
    return dx


def clips_in_place(x: Any) -> Any:
    return np.clip(x, -1, 1, out=x)  # right: without out


@wrong(
    "hardtanh: the function clips its argument",
    "overwrites its input",
    clips_in_place,
    array(-2, -0.4, 0.3, 1.7),
)
def _(g: Any, x: Any) -> Any:
    return g * (np.abs(x) < 1)


# ---- Wrong: a term is missing, or counted twice ----


@wrong(
    "max pooling: overlapping windows overwrite each other",
    "missing term",
    maxpool,
    array(1, 7, 3, 2, 9, 4, 8, 0),
    report="0809zheng/CS231n-assignment2019/issues/19",
)
def _(g: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    for i in range(len(g)):
        dx[i + np.argmax(x[i : i + 3])] = g[i]  # right: +=
    return dx


@wrong(
    "x @ x.T: the second factor's gradient is lost",
    "missing term",
    gram,
    rand(160, 3, 4),
    report="NervanaSystems/neon/issues/169",
)
def _(g: Any, x: Any) -> Any:
    return g @ x  # right: (g + g.T) @ x


@wrong(
    "batch norm: the scale is left out for the input",
    "missing term",
    batch_norm,
    rand(161, 5, 3),
    rand(162, 3),
    rand(163, 3),
    report="denizyuret/Knet.jl/issues/288",
)
def _(g: Any, x: Any, gamma: Any, beta: Any) -> Any:
    return normalised_vjp(g, x, 0), (g * normalised(x, 0)).sum(0), g.sum(0)  # right: g * gamma


@wrong(
    "upsampled next to its sine: the one gradient overwrites the other",
    "missing term",
    lambda x: np.concatenate([upsample(x), np.sin(x)]),
    rand(164, 4),
    report="huggingface/candle/pull/3507",
)
def _(g: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    for part in (g[8:] * np.cos(x), g[:8].reshape(4, 2).sum(1)):
        dx[:] = part  # right: +=
    return dx


@wrong(
    "sin(x)**2 + sin(x): the node used twice goes back twice",
    "missing term",
    lambda x: np.sin(x) ** 2 + np.sin(x),
    rand(165, 5),
    report="karpathy/micrograd/issues/2",
)
def _(g: Any, x: Any) -> Any:
    s, ds, dx = np.sin(x), np.zeros_like(x), np.zeros_like(x)
    for part in (g * 2 * s, g):
        ds += part
        dx += ds * np.cos(x)  # right: once, after the loop
    return dx


@wrong(
    "LSTM: the last cell's own gradient is left out",
    "missing term",
    lstm_cell,
    rand(166, 4, 3),
    rand(167, 3),
    report="deeplearning4j/deeplearning4j/issues/8838",
)
def _(g: Any, z: Any, c: Any) -> Any:
    return lstm_cell_vjp(np.stack([0 * g[0], g[1]]), z, c)  # right: g


@wrong(
    "cholesky: a gradient in the triangle that is not read",
    "missing term",
    cholesky,
    positive_definite(168, 3),
    report="jax-ml/jax/issues/40421",
)
def _(g: Any, a: Any) -> Any:
    lower = cholesky_vjp(g, a)
    return lower + np.triu(lower.T, 1)  # right: lower


@wrong(
    "cumprod: NaN replaced with 0",
    "missing term",
    cumprod,
    array(2, 3, 0, 1.5),
    report="tensorflow/tensorflow/issues/119430",
)
def _(g: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.cumsum((g * np.cumprod(x))[::-1])[::-1] / x)  # right: cumprod_vjp


@wrong("cosine similarity: the lengths taken as constant", "missing term", cosine, rand(169, 4), rand(170, 4))
def _(g: Any, x: Any, y: Any) -> Any:
    lengths = np.sqrt(np.sum(x * x) * np.sum(y * y))
    return g * y / lengths, g * x / lengths  # right: minus cosine times x / sum(x * x)


@wrong(
    "average pooling: the cut last window divided by the full size",
    "missing term",
    average_pool,
    rand(172, 5),
    report="tracel-ai/burn/issues/5604",
)
def _(g: Any, x: Any) -> Any:
    return np.repeat(g, 2)[:5] / 2  # right: the last one whole


@wrong(
    "linear resize: outputs outside of a fixed window are dropped",
    "missing term",
    stretch,
    rand(173, 2),
    report="flagos-ai/FlagGems/issues/5218",
)
def _(g: Any, x: Any) -> Any:
    return array(g[:8] @ (1 - STRETCH[:8]), g[2:] @ STRETCH[2:])  # right: over all of g


# ---- Wrong: a part is detached ----


@wrong(
    "batch norm: the variance is detached",
    "detached part",
    lambda x: normalised(x, 0),
    rand(174, 5, 3),
    report="abhiskk/ladder/issues/2",
)
def _(g: Any, x: Any) -> Any:
    return (g - g.mean(0)) / np.sqrt(x.var(0) + 1e-5)  # right: normalised_vjp(g, x, 0)


@wrong(
    "attention: the weights are detached from the keys",
    "detached part",
    attention,
    rand(175, 3, 4),
    rand(176, 5, 4),
    rand(177, 5, 2),
)
def _(g: Any, q: Any, k: Any, v: Any) -> Any:
    p, ds = attention_scores(g, q, k, v)
    return ds @ k / 2, np.zeros_like(k), p.T @ g  # right: ds.T @ q / 2


@wrong(
    "robust squares: the weights are detached",
    "detached part",
    lambda x: x * x * np.exp(-np.abs(x)),
    rand(178, 6),
)
def _(g: Any, x: Any) -> Any:
    return g * 2 * x * np.exp(-np.abs(x))  # right: and - x * abs(x) * exp(-abs(x))


@wrong(
    "shares of a total: the total is detached", "detached part", lambda x: x / np.sum(np.abs(x)), rand(179, 6)
)
def _(g: Any, x: Any) -> Any:
    return g / np.sum(np.abs(x))  # right: minus sign(x) * sum(g * x) / sum(abs(x))**2


@wrong("logistic regression: the bias is penalised too", "factor", logistic_regression, rand(180, 4))
def _(g: Any, w: Any) -> Any:
    return logistic_regression_vjp(g, w) + g * 0.1 * array(w[0], 0, 0, 0)  # right: without


# ---- Right: ordinary ----


def log_density_vjp(g: Any, cov: Any) -> Any:
    inv = np.linalg.inv(cov).T
    solved = inv @ RESIDUAL
    return 0.5 * g * (np.outer(solved, solved) - inv)


def splat_vjp(g: Any, dx: Any, dy: Any, a: Any, b: Any, c: Any) -> Any:
    g = g * splat(dx, dy, a, b, c)
    da, db, dc = -0.5 * g * dx * dx, -g * dx * dy, -0.5 * g * dy * dy
    return -g * (a * dx + b * dy), -g * (c * dy + b * dx), da, db, dc


def svm_vjp(g: Any, w: Any, x: Any) -> Any:
    d = svm_scores(w, x)
    return g * (x.T @ d + 0.2 * w), g * (d @ w.T)


def softsign_layer_vjp(g: Any, x: Any, w: Any, b: Any) -> Any:
    dz = softsign_layer_z(g, x, w, b)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def attention_vjp(g: Any, q: Any, k: Any, v: Any) -> Any:
    p, ds = attention_scores(g, q, k, v)
    ds = ds / math.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, p.T @ g


def norm_vjp(axis: int) -> Any:
    """Of layer_norm (axis -1) and batch_norm (axis 0)."""

    def vjp(g: Any, x: Any, gamma: Any, beta: Any) -> Any:
        return normalised_vjp(g * gamma, x, axis), (g * normalised(x, axis)).sum(0), g.sum(0)

    return vjp


def rms_norm_vjp(g: Any, x: Any) -> Any:
    r = np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-4)
    return (g - x * np.mean(g * x, -1, keepdims=True) / (r * r)) / r


def inverse_vjp(g: Any, a: Any) -> Any:
    inv = np.linalg.inv(a).T
    return -inv @ g @ inv


def solve_vjp(g: Any, a: Any, b: Any) -> Any:
    db = np.linalg.solve(a.T, g)
    return -np.outer(db, np.linalg.solve(a, b)), db


def factorisation_vjp(g: Any, u: Any, v: Any) -> Any:
    e = 2 * (u @ v.T - RATINGS)
    return g * (e @ v + 0.2 * u), g * (e.T @ u + 0.2 * v)


def conv1d_vjp(g: Any, x: Any, w: Any) -> Any:
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(len(w)):
        dx[i : i + len(g)] += w[i] * g
        dw[i] = g @ x[i : i + len(g)]
    return dx, dw


def conv_channels_vjp(g: Any, x: Any, w: Any) -> Any:
    dx = np.zeros_like(x)
    for i in range(w.shape[2]):
        dx[:, i : i + g.shape[1]] += w[:, :, i].T @ g
    return dx, conv_channels_w(g, x, w)


def hardswish_vjp(g: Any, x: Any) -> Any:
    return g * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))


def triplet_vjp(g: Any, a: Any, p: Any, n: Any) -> Any:
    g = 2 * g * active_triplets(a, p, n)
    return g * (n - p), g * (p - a), g * (a - n)


def median_vjp(g: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    dx[np.argsort(x)[len(x) // 2 - 1 : len(x) // 2 + 1]] = g / 2
    return dx


def sinc_vjp(g: Any, x: Any) -> Any:
    safe = np.where(x == 0, 1, x)
    return g * np.where(x == 0, 0, (np.cos(np.pi * safe) - np.sinc(safe)) / safe)


def black_scholes_vjp(g: Any, s: Any, vol: Any) -> Any:
    d = black_scholes_d(s, vol)
    return g * normal_cdf(d), g * s * normal_pdf(d)


def gravity_vjp(g: Any, x: Any) -> Any:
    return (g * (np.sum(x * x, -1) + 1e-4) ** -1.5)[:, None] * x


def gaussian_nll_vjp(g: Any, mean: Any, var: Any) -> Any:
    e = mean - COUNTS
    return g * e / var, g * 0.5 * (1 / var - (e / var) ** 2)


def unit_vjp(g: Any, x: Any) -> Any:
    y = unit(x)
    return (g - y * np.sum(g * y)) / np.sqrt(np.sum(x * x))


def maxpool_vjp(g: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    for i in range(len(g)):
        dx[i + np.argmax(x[i : i + 3])] += g[i]
    return dx


def cosine_vjp(g: Any, x: Any, y: Any) -> Any:
    xx, yy = np.sum(x * x), np.sum(y * y)
    c = cosine(x, y)
    return g * (y / np.sqrt(xx * yy) - c * x / xx), g * (x / np.sqrt(xx * yy) - c * y / yy)


def focal_vjp(g: Any, x: Any) -> Any:
    p = sigmoid(x)
    return g * (2 * p * (1 - p) ** 2 * np.log(p) - (1 - p) ** 3)


def embedding_vjp(g: Any, table: Any) -> Any:
    d = np.zeros_like(table)
    np.add.at(d, TOKENS, 2 * g * table[TOKENS])
    return d


def arctan2_vjp(g: Any, y: Any, x: Any) -> Any:
    r = np.hypot(x, y)
    return g * (x / r) / r, -g * (y / r) / r


def hypot_vjp(g: Any, x: Any, y: Any) -> Any:
    r = np.hypot(x, y)
    return g * (x / r), g * (y / r)


def square(x: Any) -> Any:
    return x * x


def square_vjp(g: Any, x: Any) -> Any:
    return 2 * g * x


def sum_of_squares(x: Any) -> Any:
    return np.sum(x * x)


def pair_distances_vjp(g: Any, x: Any) -> Any:
    return g * 4 * np.sum(x[:, None] - x, 1) / len(x) ** 2


right("normal log-density", "ordinary", log_density, log_density_vjp, positive_definite(210, 4))
right(
    "sin(x) y",
    "ordinary",
    lambda x, y: np.sin(x) * y,
    lambda g, x, y: (g * np.cos(x) * y, g * np.sin(x)),
    rand(211, 6),
    rand(212, 6),
)
right(
    "Lennard-Jones",
    "ordinary",
    lennard_jones,
    lambda g, r: -g * 24 * (2 * r**-13 - r**-7),
    between(213, 1, 2, 7),
)
right("arctan2", "ordinary", np.arctan2, arctan2_vjp, rand(214, 5), rand(215, 5))
right(
    "KL divergence",
    "ordinary",
    kl,
    lambda g, p, q: (g * (np.log(p / q) + 1), -g * p / q),
    softmax(rand(216, 6)),
    softmax(rand(217, 6)),
)
right(
    "cross product",
    "ordinary",
    cross,
    lambda g, a, b: (np.cross(b, g), np.cross(g, a)),
    rand(218, 3),
    rand(219, 3),
)
right("Gaussian splat", "ordinary", splat, splat_vjp, *(between(220 + i, 0.3, 1.2, 4) for i in range(5)))
right("hinge loss of classes", "ordinary", svm, svm_vjp, rand(225, 3, 4), rand(226, 6, 3))
right(
    "softsign layer",
    "ordinary",
    softsign_layer,
    softsign_layer_vjp,
    rand(227, 5, 3),
    rand(228, 3, 2),
    rand(229, 2),
)
right(
    "variance with ddof = 1",
    "ordinary",
    variance,
    lambda g, x: g * 2 * (x - x.mean()) / (x.size - 1),
    rand(230, 7),
)
right("attention", "ordinary", attention, attention_vjp, rand(231, 3, 4), rand(232, 5, 4), rand(233, 5, 2))
right(
    "SELU",
    "ordinary",
    selu,
    lambda g, x: g * np.where(x > 0, SELU_SCALE, selu(x) + SELU_SCALE * SELU_ALPHA),
    rand(234, 8),
)
right(
    "trace of a squared matrix",
    "ordinary",
    lambda a: np.trace(a @ a),
    lambda g, a: 2 * g * a.T,
    rand(235, 4, 4),
)
right(
    "mean Huber loss",
    "ordinary",
    lambda x: np.mean(huber(x)),
    lambda g, x: g * np.clip(x, -1.5, 1.5) / x.size,
    2 * rand(236, 9),
)
right("Poisson loss", "ordinary", poisson, lambda g, x: g * (np.exp(x) - COUNTS), rand(237, 6))
right(
    "mean squared distance of all pairs",
    "ordinary",
    lambda x: np.mean(np.sum((x[:, None] - x) ** 2, -1)),
    pair_distances_vjp,
    rand(238, 5, 2),
)
right("layer norm", "ordinary", layer_norm, norm_vjp(-1), rand(239, 3, 4), rand(240, 4), rand(241, 4))
right("batch norm", "ordinary", batch_norm, norm_vjp(0), rand(242, 5, 3), rand(243, 3), rand(244, 3))
right("RMS norm", "ordinary", rms_norm, rms_norm_vjp, 2 * rand(245, 3, 6))
right(
    "standard deviation of columns",
    "ordinary",
    column_std,
    lambda g, x: g * (x - x.mean(0)) / (x.std(0) * len(x)),
    rand(246, 4, 4),
)
right(
    "tensordot", "ordinary", tensordot, lambda g, x, y: (g * y.T, g * x.T), rand(247, 3, 3), rand(248, 3, 3)
)
right("inverse", "ordinary", inverse, inverse_vjp, rand(250, 3, 3) + 3 * np.eye(3))
right("solve", "ordinary", solve, solve_vjp, rand(251, 3, 3) + 3 * np.eye(3), rand(252, 3))
right(
    "quadratic form",
    "ordinary",
    quadratic_form,
    lambda g, x, a: (g * (a @ x + x @ a), g * np.outer(x, x)),
    rand(253, 4),
    rand(254, 4, 4),
)
right(
    "determinant",
    "ordinary",
    determinant,
    lambda g, a: g * np.linalg.det(a) * np.linalg.inv(a).T,
    rand(255, 3, 3),
)
right("matrix factorisation", "ordinary", factorisation, factorisation_vjp, rand(256, 4, 2), rand(257, 4, 2))
right("convolution", "ordinary", conv1d, conv1d_vjp, rand(258, 8), rand(259, 3))
right(
    "convolution of channels",
    "ordinary",
    conv_channels,
    conv_channels_vjp,
    rand(260, 3, 6),
    rand(261, 2, 3, 2),
)
right("hard swish", "ordinary", hardswish, hardswish_vjp, array(-5, -3.7, -2, -0.5, 0.5, 2, 4))
right(
    "ELU of a negative alpha",
    "ordinary",
    lambda x: elu(x, -2.0),
    lambda g, x: g * np.where(x > 0, 1, -2 * np.exp(np.minimum(x, 0))),
    array(-2, -1, -0.3, 0.4, 1, 2),
)
right(
    "leaky ReLU of a negative slope",
    "ordinary",
    leaky_relu,
    lambda g, x: g * np.where(x > 0, 1, -2),
    array(-1.0, 1.0, -0.2, 0.7),
)
right("triplet loss", "ordinary", triplet, triplet_vjp, rand(262, 6, 2), rand(263, 6, 2), rand(264, 6, 2))
right("median of four", "ordinary", np.median, median_vjp, array(3, -1, 0.5, 2))
right("SiLU", "ordinary", silu, lambda g, x: g * silu_slope(x), rand(265, 20))
right("mish", "ordinary", mish, lambda g, x: g * mish_slope(x), rand(266, 20))
right("log-cosh", "ordinary", log_cosh, lambda g, x: g * np.tanh(x), rand(267, 20))
right("GELU", "ordinary", gelu, lambda g, x: g * gelu_slope(x), rand(268, 8))
right(
    "exact GELU",
    "ordinary",
    lambda x: x * normal_cdf(x),
    lambda g, x: g * (normal_cdf(x) + x * normal_pdf(x)),
    rand(269, 8),
)
right(
    "SwiGLU",
    "ordinary",
    swiglu,
    lambda g, a, b: (g * b * silu_slope(a), g * silu(a)),
    rand(270, 5),
    rand(271, 5),
)
right(
    "Black-Scholes", "ordinary", black_scholes, black_scholes_vjp, array(80, 100, 130), array(0.2, 0.3, 0.25)
)
right("soft gravity", "ordinary", gravity, gravity_vjp, rand(272, 4, 3))
right("LSTM cell", "ordinary", lstm_cell, lstm_cell_vjp, rand(273, 4, 3), rand(274, 3))
right("normal loss", "ordinary", gaussian_nll, gaussian_nll_vjp, rand(275, 6), between(276, 0.5, 2, 6))
right("unit vector", "ordinary", unit, unit_vjp, rand(277, 5))
right("max pooling", "ordinary", maxpool, maxpool_vjp, array(1, 7, 3, 2, 9, 4, 8, 0))
right("x @ x.T", "ordinary", gram, lambda g, x: (g + g.T) @ x, rand(278, 3, 4))
right("cosine similarity", "ordinary", cosine, cosine_vjp, rand(279, 4), rand(280, 4))
right("focal loss", "ordinary", focal, focal_vjp, rand(281, 6))
right("logistic regression", "ordinary", logistic_regression, logistic_regression_vjp, rand(282, 4))
right("embedding of repeated tokens", "ordinary", embedding, embedding_vjp, rand(283, 20, 3))

# ---- Right: a large constant ----

right(
    "1e6 + sum of sines",
    "large constant",
    lambda x: 1e6 + np.sum(np.sin(x)),
    lambda g, x: g * np.cos(x),
    rand(300, 5),
)
right("1e8 + x * x", "large constant", lambda x: 1e8 + x * x, square_vjp, rand(301, 5))
right("1e12 + x * x", "large constant", lambda x: 1e12 + x * x, square_vjp, rand(302, 5))
right(
    "1e8 + cumsum",
    "large constant",
    lambda x: 1e8 + np.cumsum(x),
    lambda g, x: np.cumsum(g[::-1])[::-1],
    rand(303, 5),
)

# ---- Right: tiny numbers ----

right(
    "squares at 1e-10",
    "tiny inputs",
    sum_of_squares,
    square_vjp,
    1e-10 * rand(304, 4),
    report="scipy/scipy/issues/7766",
)
right("sine at 1e-300", "tiny inputs", np.sin, lambda g, x: g * np.cos(x), 1e-300 * rand(305, 4))
right("cubes at 1e-47", "tiny inputs", lambda x: x**3, lambda g, x: 3 * g * x**2, 1e-47 * rand(306, 4))
right(
    "reciprocals at 1e-10", "tiny inputs", np.reciprocal, lambda g, x: -g / x**2, array(1e-10, -3e-10, 2e-10)
)
right("log2 at 1e-300", "tiny inputs", np.log2, lambda g, x: g / (x * math.log(2)), array(1e-300, 4e-300))
right(
    "cube root at 1e-10", "tiny inputs", np.cbrt, lambda g, x: g / (3 * np.cbrt(x) ** 2), array(1e-10, -7e-10)
)
right("hypot at 1e-170", "tiny inputs", hypot, hypot_vjp, array(3e-170, 1e-170), array(4e-170, -2e-170))
right(
    "arctan2 near the origin",
    "tiny inputs",
    np.arctan2,
    arctan2_vjp,
    array(1e-3, 2e-8),
    array(-2e-3, 1e-8),
    report="chainer/chainer/pull/7028",
)

# ---- Right: huge numbers ----

right("log10 at 1e10", "huge inputs", np.log10, lambda g, x: g / (x * math.log(10)), array(1e10, 3e10))
right("squares at 1e100", "huge inputs", square, square_vjp, 1e100 * rand(307, 3))
right(
    "arctan at 1e300",
    "huge inputs",
    lambda x: np.arctan(x / 1e300),
    lambda g, x: g / (1 + (x / 1e300) ** 2) / 1e300,
    1e300 * rand(308, 3),
)
right("hypot at 1e200", "huge inputs", hypot, hypot_vjp, array(3e200, 1e200), array(4e200, -2e200))

# ---- Right: mixed scales ----

right(
    "arcsinh from 1e-8 to 1e8",
    "mixed scales",
    np.arcsinh,
    lambda g, x: g / np.hypot(1, x),
    array(1e-8, -1, 1e4, 1e8),
)
right(
    "sum of squares from 1e-6 to 1e6",
    "mixed scales",
    sum_of_squares,
    square_vjp,
    array(1e-6, 2e-3, 3, 4e3, 5e6),
)
right(
    "product from 1e-5 to 1e5",
    "mixed scales",
    product,
    lambda g, x: g * others_product(x),
    array(1e-5, 3, 2e5, -0.1),
)
right(
    "line through points: 1000 and 0.01",
    "mixed scales",
    lambda p: p[0] * np.arange(4) + p[1] - array(0.1, 1005, 1993, 3015),
    lambda g, p: array(g @ np.arange(4), g.sum()),
    array(1000, 0.01),
    report="scipy/scipy/issues/11258",
)

# ---- Right: smooth at 0 ----

right("sinc at 0", "zero inputs", sinc, sinc_vjp, array(-1.3, 0, 0.4, 0))
right("cumprod with zeros", "zero inputs", cumprod, cumprod_vjp, array(2, 0, 3, 0, -1))
right(
    "squared norms of zeros", "zero inputs", squared_norms, lambda g, x: 2 * g[:, None] * x, np.zeros((2, 3))
)
right(
    "x |x| at 0", "zero inputs", lambda x: x * np.abs(x), lambda g, x: 2 * g * np.abs(x), array(0, -1, 0, 2)
)

# ---- Right: bends sharply ----

right(
    "sigmoid(1e6 x)",
    "bends sharply",
    lambda x: sigmoid(1e6 * x),
    lambda g, x: g * 1e6 * sigmoid(1e6 * x) * sigmoid(-1e6 * x),
    1e-6 * rand(309, 4),
)
right(
    "exp(-x**2 / 1e-8)",
    "bends sharply",
    lambda x: np.exp(-x * x / 1e-8),
    lambda g, x: -2e8 * g * x * np.exp(-x * x / 1e-8),
    1e-4 * rand(310, 4),
)
right(
    "sin(1e4 x)",
    "bends sharply",
    lambda x: np.sin(1e4 * x),
    lambda g, x: 1e4 * g * np.cos(1e4 * x),
    rand(311, 4),
)
right(
    "resonance of width 1e-5",
    "bends sharply",
    lambda x: 1e-10 / (x * x + 1e-10),
    lambda g, x: -2e-10 * g * x / (x * x + 1e-10) ** 2,
    1e-5 * rand(312, 4),
)

# ---- Right: vanishing gradients and cancellation ----

right(
    "sigmoid at 18 and -40",
    "saturated",
    lambda x: 1 / (1 + np.exp(-x)),
    lambda g, x: g * np.exp(-x) / (1 + np.exp(-x)) ** 2,
    array(18, -40, 12),
)
right(
    "fourth power at its minimum",
    "vanishing gradient",
    lambda x: (x - 1) ** 4,
    lambda g, x: 4 * g * (x - 1) ** 3,
    array(1, 1.001, 0.5),
)
right(
    "exp(x) - x near 0",
    "cancellation",
    lambda x: np.exp(x) - x,
    lambda g, x: g * np.expm1(x),
    array(1e-9, -3e-8, 1e-7),
    report="chainer/chainer/issues/580",
)
right(
    "x**2 - y**2 at 1e4",
    "cancellation",
    lambda x, y: x * x - y * y,
    lambda g, x, y: (2 * g * x, -2 * g * y),
    1e4 + rand(313, 3),
    1e4 + rand(314, 3),
)
right(
    "variance of numbers near 1e6",
    "cancellation",
    np.var,
    lambda g, x: g * 2 * (x - x.mean()) / x.size,
    1e6 + rand(315, 5),
)

# ---- Right: constant, empty, 0-d, many ----

right("sum of a softmax", "constant output", lambda x: softmax(x).sum(), lambda g, x: 0 * g * x, rand(316, 5))
right("floor", "constant output", np.floor, lambda g, x: np.zeros_like(x), array(0.3, -1.6, 2.5))
right("sine of nothing", "empty", np.sin, lambda g, x: g * np.cos(x), np.zeros(0))
right("sum of squares of nothing", "empty", sum_of_squares, square_vjp, np.zeros((0, 3)))
right("a cube", "0-d", lambda x: x**3, lambda g, x: 3 * g * x * x, np.array(1.7))
right(
    "a sine as a Python number", "0-d", lambda x: float(np.sin(x)), lambda g, x: g * np.cos(x), np.array(0.4)
)
right(
    "10,000 squares and sines",
    "many elements",
    lambda x: np.sum(x * x + np.sin(x)),
    lambda g, x: g * (2 * x + np.cos(x)),
    rand(317, 10000),
    report="jax-ml/jax/issues/3130",
)
right(
    "outer product of 60 and 50",
    "many elements",
    np.outer,
    lambda g, x, y: (g @ y, g.T @ x),
    rand(318, 60),
    rand(319, 50),
)

# ---- Right: underflow, float32, near a kink, layout ----

right(
    "exp(-x) below the normal numbers",
    "underflow",
    lambda x: np.exp(-x),
    lambda g, x: -g * np.exp(-x),
    array(712, 720, 730),
)
right(
    "dot product of 200 in float32",
    "float32",
    np.dot,
    lambda g, x, y: (g * y, g * x),
    *(rand(320 + i, 200).astype(np.float32) for i in range(2)),
    report="PaddlePaddle/Paddle/issues/4283",
)
right(
    "softsign in float32",
    "float32",
    softsign,
    lambda g, x: g / (1 + np.abs(x)) ** 2,
    rand(322, 6).astype(np.float32),
    report="pytorch/pytorch/issues/8659",
)
right("100 + x * x in float32", "float32", lambda x: 100 + x * x, square_vjp, rand(326, 4).astype(np.float32))
right(
    "ReLU6 at 1e-3 from its kinks",
    "near a kink",
    relu6,
    lambda g, x: g * ((x > 0) & (x < 6)),
    array(-1e-3, 1e-3, 5.999, 6.001),
)
right(
    "max pooling of close values",
    "near a kink",
    maxpool,
    maxpool_vjp,
    array(1, 1.001, 0.999, 2, 2.001, 1.5),
    report="zplizzi/tensorflow-fast-rcnn/issues/12",
)
right("mish of a transposed array", "layout", mish, lambda g, x: g * mish_slope(x), rand(323, 3, 4).T)


def frozen(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


right("log-cosh of a read-only array", "layout", log_cosh, lambda g, x: g * np.tanh(x), frozen(rand(324, 5)))
right(
    "sines of one element, broadcast",
    "layout",
    lambda x: rand(325, 2, 4) @ np.sin(x),
    lambda g, x: (g @ rand(325, 2, 4)) * np.cos(x),
    np.broadcast_to(array(0.7), (4,)),
    report="pytorch/pytorch/issues/38586",
)
