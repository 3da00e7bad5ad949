"""The sequential engine gives the same bits again and again; the vectorised one agrees with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.federated.world import ALGORITHMS, cnn, digits, federation, mlp, normed
from tinykit import zoo
from tinykit.federated import (
    MAML,
    FedAvg,
    FedBN,
    FedDyn,
    Federat as _,  # noqa
)
