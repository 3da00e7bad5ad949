"""Small networks for small chips. Each takes a `DataSpec`, eats NCHW float32 and returns logits.

Padding is chosen so that TFLite's SAME or VALID describes it: no pad op ends up on the chip.
"""

from tinykit.nn.zoo.ds_cnn import ds_cnn
from tinykit.nn.zoo.lenet import lenet
from tinykit.nn.zoo.mlp import mlp
from tinykit.nn.zoo.mobilenet import mobilenet
from tinykit.nn.zoo.mobilenet_v1 import mobilenet_v1
from tinykit.nn.zoo.resnet import resnet8

__all__ = ["ds_cnn", "lenet", "mlp", "mobilenet", "mobilenet_v1", "resnet8"]
