"""Ways to divide a dataset over devices. Each is one module here: a subclass of `Partition`.

>>> partition(tk.data.load("digits"), Dirichlet(0.1), devices=50, samples=20, test=0.2)
"""

from tinykit.data.partitions.base import Ask, Partition, View
from tinykit.data.partitions.dirichlet import Dirichlet
from tinykit.data.partitions.dirichlet_by_class import DirichletByClass
from tinykit.data.partitions.divide import partition
from tinykit.data.partitions.few_classes import FewClasses
from tinykit.data.partitions.iid import IID
from tinykit.data.partitions.lognormal import LogNormal
from tinykit.data.partitions.permuted_labels import PermutedLabels
from tinykit.data.partitions.shards import Shards
from tinykit.data.partitions.shift import Shift
from tinykit.data.partitions.users import Users

__all__ = [
    "IID",
    "Ask",
    "Dirichlet",
    "DirichletByClass",
    "FewClasses",
    "LogNormal",
    "Partition",
    "PermutedLabels",
    "Shards",
    "Shift",
    "Users",
    "View",
    "partition",
]
