"""Networks in torch: a small zoo, training, and the accuracy of a module."""

from tinykit.nn.train import History, TrainingError, accuracy, fit, predict

__all__ = ["History", "TrainingError", "accuracy", "fit", "predict"]
