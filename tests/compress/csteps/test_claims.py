"""Each step finds the optimum: a few random cases of each claim.

`python -m tests.benchmarks csteps` runs a thousand and more.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.compress.csteps.oracles import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_oracle_is_better(claim: str) -> None:
    gap, tolerance = CLAIMS[claim]
    rng = np.random.default_rng(17)
    worst = max(gap(rng) for _ in range(120))
    assert worst <= tolerance
