"""How a model fares under an attack, with every denominator named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from attacks.batches import Progress, check_batching, check_on_host, in_batches
from attacks.foreign import Attack, predicted_labels, predicted_probabilities
from attacks.gradients import (
    ZeroGradientWarning,
    check_gradient,
    gradient_at,
    prepare,
    share_of_zeros,
    zero_gradients_uncounted,
)
from attacks.options import options_by_name
from minigrad import backend
from minigrad.checks import check_finite, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array


@dataclass(frozen=True)
class Evaluation:
    """Shares lie in [0, 1]; None is the share of nothing."""

    examples: int
    clean_accuracy: float  # right without attack, of all examples
    adversarial_accuracy: float  # right under attack, of all examples
    initially_correct: int
    success_rate: float | None  # wrong under attack, of those initially correct
    clean_confidence: float | None  # mean probability of the predicted label, on the clean mistakes
    adversarial_confidence: float | None  # the same, on the mistakes under attack
    zero_gradient_share: float | None  # of all examples; None if it was not counted


@options_by_name
def evaluate(
    model: Any,
    x: Any,
    y: Any,
    attack: Attack,
    *,
    batch_size: int = 1000,
    warn_above: float | None = 0.1,
    threads: int = 1,
    progress: Progress = False,
) -> Evaluation:
    """Predict x, and what the attack makes of it, against the labels y: accuracy before and after.

    It needs more of the model than an attack does, whose cost(x, y, reduction) is enough: predict(x), one
    label for each example, and predict_proba(x), (examples, classes) of probabilities.

    model       with predict(x), predict_proba(x) and cost(x, y, reduction); a cost only if the attack needs
                it, or warn_above is a number
    y           the labels, one number for each example
    attack      attack(model, x, y) → adversarial x: `functools.partial(fgsm, epsilon=.25)`, say. It
                gets copies, and the model in the mode that it is in: use `with model.evaluating():`
                inside, as this package's attacks do. Modes and grads are put back after it.
    warn_above  ZeroGradientWarning, once, if a greater share of the examples has an all-zero
                gradient at x, so that an attack on the gradient proves nothing. None: neither counts
                nor warns, which saves a gradient.
    threads     how many batches are made and predicted at the same time, with the same result: see
                `attack_in_batches`
    progress    True for a bar on a terminal (needs rich), or a function that wraps
                the batches, such as tqdm.tqdm

    What attack and model return is checked. NonFiniteError if it holds NaN or infinities: the argmax of
    NaN is class 0, and no robustness.
    """
    batch_size, threads = check_batching(attack, batch_size, threads, progress)
    if warn_above is not None:
        warn_above = check_number("warn_above", warn_above, low=0.0, high=1.0)
    needed = {"predict": "x", "predict_proba": "x", "cost": "x, y, reduction"}
    for method, arguments in needed.items():
        if not callable(getattr(model, method, None)) and (method != "cost" or warn_above is not None):
            raise ArgumentTypeError(
                f"model must have a method {method}({arguments}), got {type(model).__name__}"
            )
    if y is None:
        raise ArgumentError("y must be given: the labels to count against")
    x, y, _ = prepare(model, x, y, None, targeted=False)
    check_on_host(x, threads)
    y = as_array(y, "y")
    if len(x) == 0:
        raise ArgumentError("x must have at least one example, got none")
    if y.shape != (len(x),):
        raise ArgumentError(f"y must hold {len(x)} labels, one an example, got shape {y.shape}")
    check_finite("y", y)
    predicted_probabilities(model, x[:1])  # otherwise first needed after the attack

    def work(batch: slice, examples: Callable[[Any, Any], Any]) -> tuple[Mistakes, Mistakes, int, int, int]:
        x_part, y_part = x[batch], y[batch]
        clean, attacked, without_gradient = Mistakes(), Mistakes(), 0
        wrong_before = clean.add(model, x_part, y_part)
        if warn_above is not None:
            gradient = backend.to_numpy(gradient_at(model, x_part, y_part))
            check_gradient(model, gradient)  # one from a GPU was not looked at before
            without_gradient = round(len(gradient) * share_of_zeros(gradient))  # a count
        with zero_gradients_uncounted():  # the attack's own warning would come once a batch
            adversarial = examples(x_part, y_part)
        wrong_after = attacked.add(model, adversarial, y_part)
        initially_correct, turned = (~wrong_before).sum(), (wrong_after & ~wrong_before).sum()
        return clean, attacked, int(initially_correct), int(turned), without_gradient

    counted = [*zip(*in_batches(work, len(x), model, attack, batch_size, threads, progress), strict=True)]
    clean, attacked = Mistakes.of_all(counted[0]), Mistakes.of_all(counted[1])
    initially_correct, turned, without_gradient = map(sum, counted[2:])
    share = None if warn_above is None else without_gradient / len(x)
    if share is not None and warn_above is not None and share > warn_above:
        warnings.warn(
            f"{share:.1%} of {len(x)} examples have an all-zero input gradient: what an attack on the "
            "gradient leaves right there is not robustness",
            ZeroGradientWarning,
            stacklevel=3,
        )
    return Evaluation(
        examples=len(x),
        clean_accuracy=(len(x) - clean.mistakes) / len(x),
        adversarial_accuracy=(len(x) - attacked.mistakes) / len(x),
        initially_correct=initially_correct,
        success_rate=turned / initially_correct if initially_correct else None,
        clean_confidence=clean.confidence,
        adversarial_confidence=attacked.confidence,
        zero_gradient_share=share,
    )


class Mistakes:
    """Counts wrong predictions and how sure the model was of them, batch by batch."""

    def __init__(self) -> None:
        self.examples = self.mistakes = 0
        self._sure = 0.0

    @classmethod
    def of_all(cls, batches: Iterable[Mistakes]) -> Mistakes:
        """Those of several batches, in their order, together."""
        found = cls()
        for batch in batches:
            found.examples += batch.examples
            found.mistakes += batch.mistakes
            found._sure += batch._sure
        return found

    def add(self, model: Any, x: Any, y: Any) -> np.ndarray:
        """Count a batch; returns which of its examples are mistakes, on the host."""
        wrong = backend.to_numpy(predicted_labels(model, x)) != backend.to_numpy(y)
        self.examples += len(wrong)
        self.mistakes += int(wrong.sum())
        if wrong.any():
            probabilities = predicted_probabilities(model, x[backend.of(x).asarray(wrong)])
            self._sure += float(probabilities.max(axis=1).sum(dtype=np.float64))
        return wrong

    @property
    def confidence(self) -> float | None:
        """Mean probability of the predicted label on the mistakes; None without one."""
        return self._sure / self.mistakes if self.mistakes else None
