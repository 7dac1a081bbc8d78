"""The paper's experiments, one module each, named after what it shows.

A module has ROWS, the figures of the paper that it answers; CHOICES, what it decided where the
paper is silent; and run(task), which trains, attacks and returns a Measurement for each row.
"""

from benchmarks.experiments import (
    adversarially_trained_maxout,
    logistic_three_seven,
    maxout_attacked,
    softmax_attacked,
)

# In the order of the table; the names are those of --rows.
EXPERIMENTS = {
    "softmax": softmax_attacked,
    "logistic": logistic_three_seven,
    "maxout": maxout_attacked,
    "adversarial": adversarially_trained_maxout,
}
