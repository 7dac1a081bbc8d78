"""The paper's models. Each maps x to logits and knows its cost J(θ, x, y).

A model takes x of shape (examples, features), SqueezeNet images. It returns logits, and never
probabilities: an attack on a cost computed from probabilities finds gradients that have rounded to zero.
"""

from models.convolutional_maxout import ConvolutionalMaxout, MaxoutConvolution
from models.deep_boltzmann_machine import DeepBoltzmannMachine, Inferred
from models.logistic_regression import LogisticRegression
from models.maxout_network import MaxoutNetwork
from models.rbf_network import RBFNetwork
from models.softmax_regression import SoftmaxRegression
from models.squeezenet import SqueezeNet

__all__ = [
    "ConvolutionalMaxout",
    "DeepBoltzmannMachine",
    "Inferred",
    "LogisticRegression",
    "MaxoutConvolution",
    "MaxoutNetwork",
    "RBFNetwork",
    "SoftmaxRegression",
    "SqueezeNet",
]
