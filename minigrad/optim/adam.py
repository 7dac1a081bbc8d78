"""Adam: steps of about one size, whatever the size of the gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minigrad import backend
from minigrad.checks import check_number, shown
from minigrad.errors import ArgumentError
from minigrad.modules import Parameter
from minigrad.optim.optimiser import Optimiser
from minigrad.optim.schedules import Schedule


class Adam(Optimiser):
    """p ← p − lr · m̂ / (√v̂ + eps), for each Parameter p with gradient g, with running means of g and of g²:

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)

    m and v start at 0, and t counts the updates of this Parameter; m̂ and v̂ undo the pull towards 0.

    parameters    as for SGD; what is remembered is saved by name
    lr            ≥ 0, or a schedule: a function of the number of updates already made
    betas         (β₁, β₂), each in [0, 1)
    eps           ≥ 0, or a schedule; with 0, a Parameter whose gradients were all 0 becomes NaN
    weight_decay  ≥ 0, or a schedule: weight_decay·p is added to g, and not to the step as in AdamW

    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """

    remembers = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Parameter] | Mapping[str, Parameter],
        *,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0.0,
    ) -> None:
        super().__init__(parameters, weight_decay=weight_decay)
        self.lr, self.betas, self.eps = lr, betas, eps
        self._updates_of_each = [0] * len(self.parameters)
        self.settings()

    def settings(self) -> tuple[float, float, float, float]:
        """(lr, β₁, β₂, eps) of the next update; an error if they make no sense."""
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise ArgumentError(f"betas must be two numbers, got {shown(self.betas)}")
        beta_1, beta_2 = (
            check_number(f"betas[{i}]", beta, low=0.0, high=1.0, high_open=True)
            for i, beta in enumerate(self.betas)
        )
        return self.setting("lr", low=0.0), beta_1, beta_2, self.setting("eps", low=0.0)

    def update_parameter(self, position: int, g: Any, memory: list[Any], settings: Any) -> None:
        lr, beta_1, beta_2, eps = settings
        m, v = memory
        self._updates_of_each[position] += 1
        t = self._updates_of_each[position]
        m *= beta_1
        m += (1.0 - beta_1) * g
        v *= beta_2
        v += (1.0 - beta_2) * g * g
        root = backend.of(v).xp.sqrt(v)
        root /= (1.0 - beta_2**t) ** 0.5
        root += eps
        self.parameters[position].data -= (lr / (1.0 - beta_1**t)) * m / root

    def _counts(self) -> dict[str, int]:
        each = zip(self._names, self._updates_of_each, strict=True)
        return {**super()._counts(), **{f"count.{name}": t for name, t in each}}

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        super()._set_counts(counts)
        self._updates_of_each = [counts[f"count.{name}"] for name in self._names]
