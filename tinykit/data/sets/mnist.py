"""MNIST (LeCun, Cortes, Burges): 70,000 grey images of handwritten digits, 28×28."""

from __future__ import annotations

from tinykit.data.files import RemoteFile
from tinykit.data.idx_images import grey_images
from tinykit.data.types import Dataset

_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"

# the compressed sizes are those of the download; the checksums are of the uncompressed content
FILES = {
    key: RemoteFile(name, f"{_URL}{name}.gz", size, content_size, sha256)
    for key, name, size, content_size, sha256 in (
        (
            "train_x",
            "train-images-idx3-ubyte",
            9_912_422,
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        (
            "train_y",
            "train-labels-idx1-ubyte",
            28_881,
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        (
            "test_x",
            "t10k-images-idx3-ubyte",
            1_648_877,
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        (
            "test_y",
            "t10k-labels-idx1-ubyte",
            4_542,
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    )
}


def load() -> Dataset:
    """55,000 / 5,000 / 10,000: the authors' test set; validation drawn from their training set."""
    return grey_images("mnist", tuple("0123456789"), FILES)
