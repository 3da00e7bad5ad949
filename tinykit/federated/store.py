"""What devices remember between rounds. Only those that were asked take up memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Vectors = dict[str, Tensor]


class Store:
    """Vectors by device and name, a row each in a matrix that grows as devices are first asked.

    Attributes
    ----------
    rows : device → its row
    """

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}
        self._table: Vectors = {}

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, device: int, first: Vectors) -> Vectors:
        """What `device` remembers; `first` if it was never asked."""
        row = self.rows.get(device)
        if row is None:
            return first
        return {name: table[row] for name, table in self._table.items()}

    def put(self, devices: Sequence[int], values: Mapping[str, Tensor]) -> None:
        """Remember ``values[name]`` (n, length) for `devices`; others are not touched."""
        if not values or not devices:
            return
        for device in devices:
            self.rows.setdefault(device, len(self.rows))
        self._grow(values)
        for name, value in values.items():
            index = torch.tensor([self.rows[d] for d in devices], device=value.device)
            self._table[name][index] = value

    def _grow(self, values: Mapping[str, Tensor]) -> None:
        needed = len(self.rows)
        for name, value in values.items():
            table = self._table.get(name)
            have = 0 if table is None else len(table)
            if needed <= have:
                continue
            # by half more each time, so that growing costs little and wastes little
            grown = value.new_zeros((max(needed, have + have // 2), value.shape[1]))
            if table is not None:
                grown[:have] = table
            self._table[name] = grown

    def state(self) -> dict[str, object]:
        """For a checkpoint: devices in the order of their rows, and the rows."""
        devices = sorted(self.rows, key=self.rows.__getitem__)
        tables = {name: table[: len(devices)].cpu() for name, table in self._table.items()}
        return {"devices": devices, "tables": tables}

    def restore(self, state: Mapping[str, object], device: torch.device) -> None:
        """The inverse of `state`."""
        devices, tables = state["devices"], state["tables"]
        assert isinstance(devices, list)
        assert isinstance(tables, dict)
        self.rows = {number: row for row, number in enumerate(devices)}
        self._table = {name: table.to(device) for name, table in tables.items()}
