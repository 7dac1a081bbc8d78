"""How the maxout networks of all experiments are built and trained."""

from __future__ import annotations

from benchmarks.task import BATCH, Task
from benchmarks.training import HELD_OUT, Cost, plain_cost, train
from minigrad.optim import SGD, exponential_decay, linear_ramp
from models import MaxoutNetwork

QUICK_EPOCHS = 8
PAPER_EPOCHS = 250

CHOICES = (
    "Two hidden layers of 240 units, 5 pieces. Scale quick: learning rate falling from .1 to .002, "
    f"momentum .9, no dropout, {QUICK_EPOCHS} epochs. Scale paper: the settings published with the "
    "maxout paper (dropout .8 and .5, max-norm 1.9365, learning rate .1 divided by 1.000004 an update, "
    f"momentum .5 to .7), {PAPER_EPOCHS} epochs without early stopping. Both hold out the last "
    f"{HELD_OUT} training images."
)


def trained_maxout(task: Task, what: str, cost: Cost = plain_cost) -> MaxoutNetwork:
    """A maxout network of 240 units a layer, trained on `cost` at the task's scale."""
    published = task.scale == "paper"
    epochs = task.epochs_or(PAPER_EPOCHS if published else QUICK_EPOCHS)
    updates_an_epoch = (len(task.train) - HELD_OUT) // BATCH
    model = MaxoutNetwork(
        task.train.x.shape[1], 10, dropout=(0.8, 0.5) if published else None, seed=task.seed
    )
    if published:
        optimiser = SGD(
            model.parameters(),
            lr=exponential_decay(0.1, 1.000004, minimum=1e-6),
            momentum=linear_ramp(0.5, 0.7, PAPER_EPOCHS * updates_an_epoch),
            max_norm=1.9365,
        )
    else:
        optimiser = SGD(
            model.parameters(), lr=linear_ramp(0.1, 0.002, epochs * updates_an_epoch), momentum=0.9
        )
    train(task, model, task.train, optimiser, epochs, what, cost)
    return model
