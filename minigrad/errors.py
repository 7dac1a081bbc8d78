"""What minigrad raises.

Every exception here is also the built-in one that a caller would expect (ValueError, TypeError,
RuntimeError). Every message names the argument, says what was expected and what came.
"""

from __future__ import annotations


class ArgumentError(ValueError):
    """An argument of the right type has a value that does not fit."""


class ArgumentTypeError(TypeError):
    """An argument has the wrong type or dtype."""


class GraphError(RuntimeError):
    """The recorded graph cannot be differentiated as asked."""


class NoGradError(GraphError, AttributeError):
    """The grad of a computed Tensor was asked for: only leaves have that attribute."""


class BackendError(RuntimeError):
    """An array library is missing, has no device, or meets another library's array."""


class NonFiniteError(ArithmeticError):
    """A computed value is NaN or infinite: found while `detect_nonfinite` was on, or in what an attack or
    a prediction would build on."""


class DataError(ValueError):
    """A file does not hold what its name or header promises."""
