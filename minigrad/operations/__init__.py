"""The operations, by theme. What a file lists in its `__all__` is for users, as `minigrad.<name>`."""
# ruff: noqa: F403

from minigrad.operations import (
    costs,
    dropout_masks,
    einsums,
    elementwise,
    images,
    maxout_units,
    products,
    reductions,
    shapes,
)
from minigrad.operations.costs import *
from minigrad.operations.dropout_masks import *
from minigrad.operations.einsums import *
from minigrad.operations.elementwise import *
from minigrad.operations.images import *
from minigrad.operations.maxout_units import *
from minigrad.operations.products import *
from minigrad.operations.reductions import *
from minigrad.operations.shapes import *

__all__ = []
__all__ += costs.__all__
__all__ += dropout_masks.__all__
__all__ += einsums.__all__
__all__ += elementwise.__all__
__all__ += images.__all__
__all__ += maxout_units.__all__
__all__ += products.__all__
__all__ += reductions.__all__
__all__ += shapes.__all__
