"""Optimisers, which change Parameters by their gradients, and schedules for their settings."""

from minigrad.optim.adam import Adam
from minigrad.optim.optimiser import Optimiser
from minigrad.optim.schedules import Schedule, exponential_decay, linear_ramp
from minigrad.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimiser", "Schedule", "exponential_decay", "linear_ramp"]
