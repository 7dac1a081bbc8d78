"""Adversarial examples, and training on them.

An attack is a function attack(model, x, y, *, epsilon, …) that returns a new array like x. It takes
any object with a method cost(x, y, reduction) that returns a scalar Tensor for "sum" (for "mean" in the
objective), and a cost for each example for "none" (in `pgd` with restarts). Without labels it also needs
predict(x); `evaluate` needs predict_proba(x) as well. `linear_worst_case` needs model(x), the logits, and
no cost. Everything about the model is afterwards as it was. A gradient or a result that is NaN or infinite
on the host is a NonFiniteError. `attack_in_batches` and `evaluate` attack a data set, in several threads
if asked.
"""

from attacks.batches import attack_in_batches
from attacks.evaluation import Evaluation, evaluate
from attacks.fast_gradient import fast_gradient, fgsm
from attacks.gradients import ZeroGradientWarning, input_gradient, zero_gradient_share
from attacks.iterative import basic_iterative, fgsm_random_start, momentum_iterative, pgd
from attacks.linear import linear_worst_case
from attacks.objective import adversarial_objective
from minigrad import lanes

if not lanes.PLAIN:
    from attacks import fused as fused

__all__ = [
    "Evaluation",
    "ZeroGradientWarning",
    "adversarial_objective",
    "attack_in_batches",
    "basic_iterative",
    "evaluate",
    "fast_gradient",
    "fgsm",
    "fgsm_random_start",
    "input_gradient",
    "linear_worst_case",
    "momentum_iterative",
    "pgd",
    "zero_gradient_share",
]
