"""The main job: train, compress, quantize, write, run in TFLite Micro and on an emulated chip."""

from tinykit.demo.job import DemoResult, Row, run_demo

__all__ = ["DemoResult", "Row", "run_demo"]
