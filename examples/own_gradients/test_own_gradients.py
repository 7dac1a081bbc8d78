"""Property tests of three plain NumPy functions with hand-written gradients. One of them is wrong."""

import numpy as np
from hypothesis import given

from minigrad.testing import arrays, away_from, check_gradients


def log_cosh(x):
    """Σ ln cosh x, which grows as |x| and is smooth at 0."""
    return np.sum(np.logaddexp(x, -x) - np.log(2))


@given(arrays())
def test_log_cosh(x):
    check_gradients(log_cosh, x, gradient=np.tanh)


def rms_norm(x, scale):
    """Each row over its root mean square, times a scale for each column."""
    return scale * x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5)


def rms_norm_vjp(g, x, scale):
    r = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5)
    h = g * scale
    return h / r - x * np.mean(h * x, axis=-1, keepdims=True) / r**3, np.sum(g * x / r, axis=0)


@given(arrays((3, 4)), arrays(4))
def test_rms_norm(x, scale):
    check_gradients(rms_norm, x, scale, vjp=rms_norm_vjp)


def hard_swish(x):
    """x · relu6(x + 3) / 6."""
    return x * np.clip(x + 3, 0, 6) / 6


def hard_swish_vjp(g, x):
    return g * np.where(x < -3, 0, np.where(x > 3, 1, x / 3))


@given(away_from([-3, 3], 4))
def test_hard_swish(x):
    check_gradients(hard_swish, x, vjp=hard_swish_vjp)
