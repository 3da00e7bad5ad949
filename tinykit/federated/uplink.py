"""What happens to an update between the device and the server's mean.

On the device: clip (privacy) → compress, with error feedback → mask. At the server: decode → the
guard → unmask the sum, or add up → add noise (privacy). Each of these is optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.cohort import Cohort
from tinykit.federated.compression.base import Compression
from tinykit.federated.errors import FederatedError
from tinykit.federated.masking import Masking, SecureSum
from tinykit.federated.net import Net
from tinykit.federated.privacy import Privacy
from tinykit.federated.randomness import Purpose, generator
from tinykit.federated.store import Store
from tinykit.federated.strategy import Replies, Server, Strategy


@dataclass(frozen=True)
class Sent:
    """What devices sent, a row for each.

    Parameters
    ----------
    replies : as the server reads them
    updates : what a sum is made of where only the sum is used, (n, numbers that travel)
    residuals : what each device keeps of what it could not say, by name (n, ·)
    """

    replies: Replies
    updates: Tensor
    residuals: dict[str, Tensor]

    def take(self, rows: Sequence[int]) -> Sent:
        """Those rows only."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.updates.device)
        kept = {name: value[index] for name, value in self.residuals.items()}
        return Sent(self.replies.take(rows), self.updates[index], kept)


class Uplink:
    """The way from devices to the server's mean.

    Parameters
    ----------
    share : probability with which a device is asked in a round
    devices : how many may be asked

    Attributes
    ----------
    residuals : what devices could not say yet (error feedback)
    summed : whether the server uses the sum of the updates only
    delta : δ of differential privacy; None without
    """

    def __init__(
        self,
        net: Net,
        strategy: Strategy,
        compression: Compression | None = None,
        privacy: Privacy | None = None,
        masking: Masking | None = None,
        *,
        seed: int = 0,
        share: float = 1.0,
        devices: int = 1,
    ) -> None:
        self.net, self.strategy = net, strategy
        self.compression, self.privacy, self.masking = compression, privacy, masking
        self.seed, self.share, self.devices = seed, share, devices
        self.summed = privacy is not None or masking is not None
        self.delta = None if privacy is None else privacy.delta_for(devices)
        self.residuals = Store()
        travels = torch.ones(net.size, dtype=torch.bool, device=net.device)
        travels[strategy.own(net)] = False
        self._here = travels.nonzero()[:, 0]
        lengths = [int(part.sum()) for part in travels.split(list(net.sizes))]
        self._sizes = tuple(length for length in lengths if length)

    # -- on the device ----------------------------------------------------------------------------

    def send(self, round: int, replies: Replies, start: Tensor) -> Sent:
        """What the server reads of `replies`, and what devices keep if the server takes it.

        A reply with NaN or infinities travels as it is: the guard refuses it, and what the device
        kept from earlier rounds stays clean.

        Raises
        ------
        FederatedError
            Devices send more than a model where only the sum may be used.
        """
        if self.summed and replies.sent:
            raise FederatedError(
                f"{type(self.strategy).__name__} sends {', '.join(sorted(replies.sent))} besides "
                "the model, which neither the noise of differential privacy nor masks cover"
            )
        updates = (replies.model - start)[:, self._here]
        compressing = self.compression is not None and not self.compression.exact
        if self.privacy is None and not compressing:
            return Sent(replies, updates, {})
        vectors = {"model": updates, **dict(sorted(replies.sent.items()))}
        fine = torch.stack([torch.isfinite(v).all(1) for v in vectors.values()]).all(0)
        if self.privacy is not None:
            vectors["model"] = self.privacy.clipped(vectors["model"])
        residuals: dict[str, Tensor] = {}
        if compressing:
            vectors, residuals = self._compressed(round, replies.devices, vectors, fine)
        updates = vectors.pop("model")
        model = replies.model.clone()
        model[:, self._here] = start[self._here] + updates
        sent = replace(
            replies,
            model=torch.where(fine[:, None], model, replies.model),
            sent={n: torch.where(fine[:, None], v, replies.sent[n]) for n, v in vectors.items()},
        )
        return Sent(sent, updates, residuals)

    def _compressed(
        self, round: int, devices: Sequence[int], vectors: dict[str, Tensor], fine: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """C(x) and what it lacks, for the vectors of each device."""
        assert self.compression is not None
        rngs = [generator(self.seed, Purpose.COMPRESSION, round, d) for d in devices]
        decoded: dict[str, Tensor] = {}
        residuals: dict[str, Tensor] = {}
        for name, x in vectors.items():
            x = torch.where(fine[:, None], x, torch.zeros_like(x))
            if self.compression.error_feedback:
                first = {name: x.new_zeros(x.shape[1])}
                x = x + torch.stack([self.residuals.get(d, first)[name] for d in devices])
            y = self.compression(x, self._sizes if name == "model" else self.net.sizes, rngs)
            if name == "model" and self.privacy is not None:
                # what was kept, or rounding, may have made it longer than it may be
                y = self.privacy.clipped(y)
            if self.compression.error_feedback:
                residuals[name] = x - y
            decoded[name] = y
        return decoded, residuals

    def keep(self, sent: Sent) -> None:
        """Devices that were told that their reply was taken keep what it lacked."""
        self.residuals.put(sent.replies.devices, sent.residuals)

    # -- at the server ----------------------------------------------------------------------------

    def mean(
        self, round: int, asked: Sequence[int], sent: Sent | None, refused: Sequence[int]
    ) -> tuple[Tensor | None, bool]:
        """The mean update (numbers that travel,), None where there is none; and whether it has what
        devices sent, or the round had to be given up.

        Parameters
        ----------
        refused : devices that could not send what they should have (NaN)
        """
        total = np.zeros(len(self._here))
        rows = {} if sent is None else self._rows(sent)
        taken = True
        if self.masking is not None:
            if self.privacy is not None:
                # whether somebody has nothing to say must not decide whether a round is given up
                rows |= {device: np.zeros(len(self._here)) for device in refused}
            taken = len(asked) >= 2 and len(rows) >= self.masking.needed(len(asked))
            if taken:
                parties = SecureSum(
                    self.masking, asked, len(self._here), seed=self.seed, round=round
                )
                total = parties.sum({d: parties.mask(d, row) for d, row in rows.items()})
        else:
            for row in rows.values():
                total = total + row
        if self.privacy is None:
            if not rows or not taken:
                return None, False
            total = total / len(rows)
        else:
            # noise also where nobody came: that nobody did must not show
            total = total + self.privacy.noise_in(round, len(total), self.seed)
            total = total / (self.share * self.devices)
        return torch.from_numpy(total).to(torch.float32).to(self._here.device), taken

    def _rows(self, sent: Sent) -> dict[int, np.ndarray]:
        updates = sent.updates.cpu().double().numpy()
        return dict(zip(sent.replies.devices, updates, strict=True))

    def as_reply(self, mean: Tensor, server: Server, statistics: Tensor, lr: float) -> Replies:
        """The one row that a strategy is given which needs the mean only."""
        model = server["model"].clone()
        model[self._here] += mean
        one = torch.ones(1, device=model.device)
        return Replies(
            (-1,), model[None], statistics[None], {}, {}, one.long(), one.long(), one, lr
        )

    def epsilon(self, rounds: int) -> float | None:
        """ε after so many rounds; None without differential privacy."""
        if self.privacy is None or self.delta is None:
            return None
        return self.privacy.epsilon(rounds, self.share, self.delta)

    # -- counting ---------------------------------------------------------------------------------

    @property
    def bytes_each(self) -> int:
        """What a device sends in a round, without the keys of masks (counted)."""
        beside = 4 * (self.strategy.travels(self.net) - len(self._here))
        more = len(self.strategy.sends)
        if self.masking is not None:
            return -(-self.masking.bits * len(self._here) // 8)
        if self.compression is None:
            return 4 * (len(self._here) + self.net.size * more) + beside
        model, vector = (self.compression.nbytes(s) for s in (self._sizes, self.net.sizes))
        return model + more * vector + beside

    def key_bytes(self, asked: int, sending: int) -> tuple[int, int]:
        """What the keys of masks add to a round, (down, up), all devices together (counted)."""
        return (0, 0) if self.masking is None else self.masking.key_bytes(asked, sending)


def reject_combination(uplink: Uplink, cohort: Cohort, guarded: bool) -> None:
    """Errors for combinations that would not do what they claim.

    Parameters
    ----------
    guarded : a guard is asked for that compares the sizes of updates
    """
    net, strategy, name = uplink.net, uplink.strategy, type(uplink.strategy).__name__
    if uplink.masking is not None:
        if uplink.compression is not None and not uplink.compression.exact:
            raise FederatedError(
                "a masked update is uniformly random, and cannot be compressed: "
                "Masking(bits=16) sends fewer bits, without compression"
            )
        if cohort.expected < 2:
            raise FederatedError("masks hide a device among others: ask a cohort of 2 or more")
        uplink.masking.levels(cohort.expected)
    if not uplink.summed:
        return
    what = "differential privacy" if uplink.privacy is not None else "masking"
    if not strategy.mean_only:
        raise FederatedError(
            f"{what} gives the server the mean of the models and nothing else; {name} needs more. "
            "FedAvg, FedProx, FedAvgM, FedAdam and FedBN do not"
        )
    if strategy.weighted:
        raise FederatedError(
            f"{what} needs replies that count alike, whatever their device holds: "
            f"{name}(weighted=False)"
        )
    if strategy.travels(net) > net.size - len(strategy.own(net)):
        raise FederatedError(
            f"the statistics of batch norm travel beside the model, and {what} does not cover "
            "them: use GroupNorm, or FedBN(weighted=False), which keeps them on the device"
        )
    if guarded:
        raise FederatedError(
            f"with {what} no update may be judged by the others' sizes: Guard(outlier=None), or no "
            "guard; clipping limits what a device can do"
        )
    if uplink.privacy is not None and cohort.sampling != "poisson" and uplink.share < 1:
        raise FederatedError(
            "ε is accounted for devices that take part independently of each other: "
            f'Cohort(share={uplink.share:g}, sampling="poisson"), or everybody (cohort=1.0)'
        )
