"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 70,000 grey images of clothes, 28×28, 10 classes."""

from __future__ import annotations

from tinykit.data.files import RemoteFile
from tinykit.data.idx_images import grey_images
from tinykit.data.types import Dataset

_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
#: where Debian's package dataset-fashion-mnist puts the same files
SYSTEM = ("/usr/share/datasets/fashion-mnist",)

# the compressed sizes are those of the download; the checksums are of the uncompressed content
FILES = {
    key: RemoteFile(name, f"{_URL}{name}.gz", size, content_size, sha256)
    for key, name, size, content_size, sha256 in (
        (
            "train_x",
            "train-images-idx3-ubyte",
            26_421_880,
            47_040_016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        (
            "train_y",
            "train-labels-idx1-ubyte",
            29_515,
            60_008,
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        (
            "test_x",
            "t10k-images-idx3-ubyte",
            4_422_102,
            7_840_016,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        (
            "test_y",
            "t10k-labels-idx1-ubyte",
            5_148,
            10_008,
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    )
}

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load() -> Dataset:
    """55,000 / 5,000 / 10,000: the authors' test set; validation drawn from their training set."""
    return grey_images("fashion_mnist", CLASSES, FILES, SYSTEM)
