"""The paper's experiments, one module each, named after what it shows.

A module has
ROWS     the figures of the paper that it answers, and what the paper claims with them,
CHOICES  what it decided where the paper is silent,
MODELS   the recipes of the models that it trains itself,
USES     the names of all the models that it measures, its own and others',
run      run(task), which measures: a Measurement for each row.
One that has SCALES runs at those scales alone. A NOTE stands under the table. DATA is what it looks at:
"digits" if it does not say, "photos", which are part of the repository, or "cifar", which the user has.
"""

from benchmarks.experiments import (
    adversarially_trained_maxout,
    agreement_between_models,
    convolutional_maxout,
    convolutional_maxout_on_cifar,
    deep_boltzmann_machine,
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
    "convolutional": convolutional_maxout,
    "boltzmann": deep_boltzmann_machine,
    "cifar": convolutional_maxout_on_cifar,
    "ensemble": ensemble_of_twelve,
    "rubbish": rubbish_classified,
    "refusing": trained_against_rubbish,
    "pgd": trained_on_pgd,
    "matrix": transfer_between_all,
}
CORE = ("photo", "softmax", "logistic", "maxout", "adversarial", "transfer")
RECIPES = {name: recipe for module in EXPERIMENTS.values() for name, recipe in module.MODELS.items()}
# What each model is trained on, and each experiment looks at.
DATA = {name: recipe.data for name, recipe in RECIPES.items()}
DATA |= {name: getattr(module, "DATA", "digits") for name, module in EXPERIMENTS.items()}
