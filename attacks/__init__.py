"""Adversarial examples, and training on them.

An attack takes any object with a method cost(x, y, reduction) that returns a scalar Tensor, where
reduction is "sum", or "mean" for the objective; and, where no labels are given, a method predict(x).
Everything about the model is afterwards as it was.
"""

from attacks.fast_gradient import ZeroGradientWarning, fgsm, input_gradient, zero_gradient_share
from attacks.iterative import pgd
from attacks.objective import adversarial_objective

__all__ = [
    "ZeroGradientWarning",
    "adversarial_objective",
    "fgsm",
    "input_gradient",
    "pgd",
    "zero_gradient_share",
]
