"""The paper's experiments, one module each, named after what it shows.

A module has
ROWS     the figures of the paper that it answers, and what the paper claims with them,
CHOICES  what it decided where the paper is silent,
MODELS   the recipes of the models that it trains itself,
USES     the names of all the models that it measures, its own and others',
run      run(task), which measures: a Measurement for each row.
One that has SCALES runs at those scales alone. A NOTE stands under the table. With ON_DIGITS = False an
experiment does not look at the digits.
"""

from benchmarks.experiments import (
    adversarially_trained_maxout,
    agreement_between_models,
    differentiable_adversaries,
    ensemble_of_twelve,
    hidden_perturbation,
    l1_on_maxout,
    logistic_against_weight_decay,
    maxout_attacked,
    noise_controls,
    photo_renamed,
    rbf_attacked,
    rubbish_classified,
    softmax_attacked,
    trained_against_rubbish,
    trained_on_pgd,
    transfer_between_all,
    transfer_between_models,
    wide_maxout,
)
from benchmarks.task import Row

# In the order of the table; the names are those of --rows.
EXPERIMENTS = {
    "photo": photo_renamed,
    "softmax": softmax_attacked,
    "logistic": logistic_against_weight_decay,
    "maxout": maxout_attacked,
    "adversarial": adversarially_trained_maxout,
    "transfer": transfer_between_models,
    "wide": wide_maxout,
    "noise": noise_controls,
    "l1": l1_on_maxout,
    "differentiable": differentiable_adversaries,
    "hidden": hidden_perturbation,
    "rbf": rbf_attacked,
    "agreement": agreement_between_models,
    "ensemble": ensemble_of_twelve,
    "rubbish": rubbish_classified,
    "refusing": trained_against_rubbish,
    "pgd": trained_on_pgd,
    "matrix": transfer_between_all,
}
CORE = ("photo", "softmax", "logistic", "maxout", "adversarial", "transfer")
RECIPES = {name: recipe for module in EXPERIMENTS.values() for name, recipe in module.MODELS.items()}

NO_CIFAR = "not run: CIFAR-10 needs a convolutional network, which this project does not have"
NOT_RUN = (
    (Row("cifar.fgsm", "4", "convolutional maxout on CIFAR-10, FGSM ε=.1", 87.15, 96.6), NO_CIFAR),
    (Row("cifar.rubbish", "A", "convolutional maxout on CIFAR-10, rubbish", 93.4, 84.4), NO_CIFAR),
    (
        Row(
            "cifar.fooling",
            "A",
            "the same, fooling step to airplane, frog, truck: 24.7, 100, 100; mean",
            75.3,
        ),
        NO_CIFAR,
    ),
    (
        Row("mpdbm", "9", "MP-DBM on MNIST, FGSM ε=.25 (clean: 0.88)", 97.5),
        "not run: a multi-prediction deep Boltzmann machine is trained by inference in it, which this "
        "project does not have",
    ),
)
