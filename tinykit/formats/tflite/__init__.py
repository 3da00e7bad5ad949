"""`.tflite` files both ways, without TensorFlow."""

from tinykit.formats.tflite.reader import read, read_file
from tinykit.formats.tflite.writer import write, write_file

__all__ = ["read", "read_file", "write", "write_file"]
