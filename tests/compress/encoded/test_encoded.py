"""Compressed models as files: what goes in comes out, to the bit, in as many bytes as said."""

from __future__ import annotations

import contextlib
import math
import struct
import time
import zlib
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compress.encoded.thetas import assert_same, bits, floats, shapes, thetas
from tinykit.compress.csteps.theta import Coded, Dense, Factors, Sparse, Sum, Theta
from tinykit.compress.encoded import Part, encode, raw, read, write
from tinykit.compress.encoded.levels import level_bytes, read_levels
from tinykit.compress.encoded.stream import Reader
from tinykit.compress.views import to_matrix
from tinykit.graph.errors import ModelFormatError, TinykitError


def one(theta: Theta, name: str = "w") -> Part:
    return Part((name,), (tuple(theta.shape),), theta)


@given(st.lists(shapes.flatmap(thetas), max_size=4))
@settings(max_examples=80, deadline=None)
def test_every_kind_there_and_back(several: list[Theta]) -> None:
    parts = [one(theta, f"layer{i}.weight") for i, theta in enumerate(several)]
    encoded = encode(parts)
    back = read(encoded.data)
    assert [(p.names, p.shapes, p.shaping) for p in back] == [
        (p.names, p.shapes, p.shaping) for p in parts
    ]
    for a, b in zip(parts, back, strict=True):
        assert_same(a.theta, b.theta)
    assert encoded.total == len(encoded.data) == encoded.header + sum(r.bytes for r in encoded.rows)
    assert encoded.dense == sum(4 * math.prod(t.shape) for t in several)
    assert write(back) == encoded.data


def test_a_joint_codebook_and_matrices() -> None:
    codes = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1], dtype=torch.uint8)
    joint = Coded((11,), codes, torch.tensor([-0.3, 0.7]))
    weight = floats(3, 4, 3, 2, 5)
    u, v = torch.randn(8, 2), torch.randn(2, 15)
    parts = [
        Part(("a", "b.weight"), ((2, 4), (3,)), joint),
        Part(("conv",), ((4, 3, 2, 5),), Dense((8, 15), to_matrix(weight, 2)), 2),
        Part(("low",), ((4, 3, 2, 5),), Factors((8, 15), u, v), 2),
        raw("bias", torch.arange(3.0)),
    ]
    back = {name: t for part in read(write(parts)) for name, t in part.tensors().items()}
    assert list(back) == ["a", "b.weight", "conv", "low", "bias"]
    levels = torch.tensor([-0.3, 0.7])
    assert torch.equal(back["a"], levels[codes[:8].long()].reshape(2, 4))
    assert torch.equal(back["b.weight"], levels[codes[8:].long()])
    assert bits(back["conv"]) == bits(weight)
    assert torch.equal(to_matrix(back["low"], 2), u @ v)
    assert back["bias"].tolist() == [0, 1, 2]


def test_sizes_are_those_of_the_format() -> None:
    """Counted by hand: 60 codes of 2 bits, one float a level, nothing for what is known."""
    codes = torch.from_numpy(np.random.default_rng(2).permutation(60) % 4).byte().reshape(6, 10)
    free = encode([one(Coded((6, 10), codes, floats(0, 4)))])
    # tag, shape, flags, kind, K, rule, 4 levels, method, 15 bytes of codes
    assert free.rows[0].bytes == 6 + 16 + 1 + 15
    # magic, version, parts; names, length, "w", rank, sizes; view; checksum
    assert free.header == 4 + 1 + 1 + 3 + 3 + 1 + 4
    binary = Coded((6, 10), codes % 2, torch.tensor([-1.0, 1.0]), "binary")
    assert encode([one(binary)]).rows[0].bytes == 6 + 1 + 8
    scaled = Coded((6, 10), codes % 2, torch.tensor([-1.0, 1.0]) * 0.3, "scaled-binary")
    assert encode([one(scaled)]).rows[0].bytes == 6 + 4 + 1 + 8
    rank = Factors((6, 10), floats(1, 6, 2), floats(2, 2, 10))
    assert encode([one(rank)]).rows[0].bytes == 2 + 3 + 4 * 32
    assert encode([raw("w", floats(0, 6, 10))]).rows[0].bytes == 2 + 240
    assert encode([one(Sparse((6, 10), torch.empty(0).long(), torch.empty(0)))]).rows[0].bytes == 3
    lone = Coded((100, 100), torch.zeros(100, 100, dtype=torch.uint8), floats(0, 1))
    assert encode([one(lone)]).rows[0].bytes == 6 + 4 + 1


def test_codes_come_close_to_their_entropy() -> None:
    rng = np.random.default_rng(0)
    odds = np.array([0.02, 0.05, 0.8, 0.1, 0.03])
    codes = torch.from_numpy(rng.choice(5, 40_000, p=odds).astype(np.uint8))
    row = encode([one(Coded((40_000,), codes, floats(0, 5)))]).rows[0]
    p = np.bincount(codes) / 40_000
    entropy = float(-(p * np.log2(p)).sum()) * 40_000 / 8
    assert entropy < row.bytes < 1.15 * entropy
    assert row.bytes < 40_000 * 3 / 8  # packed


def test_pruned_and_coded_is_stored_as_the_few_that_are_left() -> None:
    rng = np.random.default_rng(1)
    codes = np.full(20_000, 7)
    codes[rng.permutation(20_000)[:200]] = rng.integers(0, 16, 200)
    levels = floats(5, 16)
    levels[7] = 0
    theta = Coded((20_000,), torch.from_numpy(codes.astype(np.uint8)), levels)
    row = encode([one(theta)]).rows[0]
    # 200 codes and gaps at about 4 and 8 bits; each code at one bit at least would be 2,500 bytes
    assert row.bytes < 450
    assert "gaps" in row.how


@pytest.mark.parametrize(
    ("levels", "size", "how"),
    [
        (torch.tensor([-1.0, 1.0]), 0, "known"),
        (torch.tensor([-1.0, 0.0, 1.0]), 0, "known"),
        (torch.tensor([-1.0, 0.0, 1.0]) * 0.7, 4, "scale"),
        (torch.tensor([-8.0, -0.25, 0.0, 0.25, 8.0]), 2 + 4, "exponents"),
        (torch.tensor([0.125, 0.5, 2.0**-126]).sort().values, 2 + 3, "exponents"),
        (torch.arange(-100, 100) * 0.0123, 8, "step"),
        ((torch.arange(0, 16).double() * 0.3125 + 4.1).float(), 8, "first and step"),
        (torch.tensor([0.1, 0.2, 0.7, 0.9]), 16, "stored"),
        (torch.tensor([-0.0, 0.5]), 8, "stored"),  # an exponent would lose the sign
        (torch.tensor([0.0, 0.0, 2.0, 7.0]), 16, "stored"),
        (torch.tensor([1e-45, float("inf")]), 8, "stored"),
        (torch.tensor([float("nan")]), 4, "stored"),
        (torch.empty(0), 0, "stored"),
    ],
)
def test_levels_by_a_rule_only_where_it_is_exact(levels: torch.Tensor, size: int, how: str) -> None:
    data, told = level_bytes(levels.numpy())
    assert told == how
    assert len(data) == 1 + (len(levels) >= 128) + 1 + size
    assert read_levels(Reader(data, 1000)).tobytes() == levels.numpy().tobytes()


@given(
    st.decimals(-10, 10, places=3),
    st.decimals("0.0001", 1, places=4),
    st.integers(2, 300),
)
@settings(max_examples=100, deadline=None)
def test_a_grid_as_people_say_it_takes_eighteen_bytes(
    low: Decimal, step: Decimal, count: int
) -> None:
    levels = (float(low) + float(step) * np.arange(count)).astype(np.float32)
    data, _ = level_bytes(levels)
    assert len(data) <= 2 + 17
    assert read_levels(Reader(data, 1000)).tobytes() == levels.tobytes()


@given(st.floats(2**-40, 2**40), st.integers(-500, 500), st.integers(2, 300))
@settings(max_examples=100, deadline=None)
def test_a_grid_of_whole_steps_takes_ten_bytes(step: float, place: int, count: int) -> None:
    levels = np.float32(step) * np.arange(place, place + count, dtype=np.float32)
    data, _ = level_bytes(levels)
    assert len(data) <= 2 + 9
    assert read_levels(Reader(data, 1000)).tobytes() == levels.tobytes()


def test_half_rounds_what_is_dense_and_nothing_else() -> None:
    values = floats(8, 5, 5).nan_to_num(0, 1, -1).clamp(-9, 9)
    few = Sparse((5, 5), torch.tensor([3]), torch.tensor([1 / 3]))
    parts = [raw("a", values), one(few, "b")]
    a, b = read(write(parts, half=True))
    assert bits(a.theta.decompress()) == bits(values.half().float())
    assert_same(b.theta, few)
    assert encode(parts, half=True).total == encode(parts).total - 50
    with pytest.raises(TinykitError, match=r"big: .*float16"):
        encode([raw("big", torch.tensor([1e6]))], half=True)


def test_the_report_is_words() -> None:
    theta = Sum(
        (50,), (Dense((50,), floats(0, 50)), Factors((50,), floats(1, 50, 0), floats(2, 0, 1)))
    )
    text = str(encode([one(theta, "fc.weight"), raw("fc.bias", floats(2, 5))]))
    for part in ("fc.weight", "[float32] + [rank 0, float32]", "checksum", "× smaller", "220"):
        assert part in text


@dataclass(frozen=True)
class Strange(Theta):
    shape: tuple[int, ...]

    def decompress(self) -> torch.Tensor:
        return torch.zeros(self.shape)


ASCENDING = torch.tensor([1, 3])


@pytest.mark.parametrize(
    ("theta", "words"),
    [
        (Strange((2, 2)), "register a codec"),
        (Dense((2, 2), torch.zeros(4).double()), "float64"),
        (Dense((2, 2), torch.zeros(3)), "3 values"),
        (Sparse((2, 2), ASCENDING.flip(0), torch.zeros(2)), "not ascending"),
        (Sparse((2, 2), ASCENDING + 1, torch.zeros(2)), "not ascending"),
        (Sparse((2, 2), ASCENDING, torch.zeros(1)), "1 values at 2"),
        (Coded((2, 2), torch.full((2, 2), 2, dtype=torch.uint8), torch.zeros(2)), "of 2 levels"),
        (Coded((2, 2), torch.zeros(3, dtype=torch.uint8), torch.zeros(2)), "3 codes"),
        (Coded((2, 2), torch.zeros(4, dtype=torch.int32), torch.zeros(2)), "int32"),
        (Coded((2, 2), torch.zeros(4, dtype=torch.uint8), torch.zeros(2), "odd"), "'odd'"),
        (Factors((2, 2), torch.zeros(2, 1), torch.zeros(2, 2)), "factors"),
        (Sum((2, 2), ()), "sum of nothing"),
        (Sum((2, 2), (Dense((3,), torch.zeros(3)),)), r"\(2, 2\) is wanted"),
    ],
)
def test_unsound_thetas_are_named(theta: Theta, words: str) -> None:
    with pytest.raises(TinykitError, match=rf"fc1\.weight: .*{words}"):
        encode([one(theta, "fc1.weight")])


def test_unsound_parts_are_named() -> None:
    two = Dense((2,), torch.zeros(2))
    with pytest.raises(TinykitError, match=r"a, b: .*3 numbers"):
        Part(("a", "b"), ((2,), (1,)), two)
    with pytest.raises(TinykitError, match="a, b: a matrix is of one"):
        Part(("a", "b"), ((1,), (1,)), two, 1)
    with pytest.raises(TinykitError, match=r"w: .*matrix in shaping 2"):
        Part(("w",), ((1, 1, 2, 1),), Dense((1, 2), torch.zeros(1, 2)), 2)
    with pytest.raises(TinykitError, match="w: there twice"):
        encode([one(two), one(two)])
    with pytest.raises(TinykitError, match="needs a shape for each"):
        Part(("a",), (), two)


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def sample() -> bytes:
    rng = np.random.default_rng(4)
    codes = torch.from_numpy(rng.choice(20, 400, p=[0.62] + [0.02] * 19).astype(np.uint8))
    few = torch.from_numpy(np.flatnonzero(rng.random(400) < 0.1))
    return write(
        [
            one(Coded((400,), codes, floats(0, 20)), "codes"),
            one(Sum((20, 20), (Sparse((400,), few, floats(1, len(few))),) * 2), "sum"),
            Part(("low",), ((4, 2, 2, 2),), Factors((8, 4), floats(1, 8, 2), floats(2, 2, 4)), 2),
            one(Coded((9,), codes[:9].short(), torch.arange(20) * 0.5, "grid"), "wide"),
            raw("bias", floats(3, 7)),
        ]
    )


def test_any_damage_is_seen() -> None:
    data = sample()
    for end in range(len(data)):
        with pytest.raises(ModelFormatError):
            read(data[:end])
    for place in range(len(data)):
        with pytest.raises(ModelFormatError):
            read(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
    with pytest.raises(ModelFormatError, match="does not start with TKLC"):
        read(b"PK\3\4" + data)
    with pytest.raises(ModelFormatError, match="version 9"):
        read(data[:4] + b"\x09" + data[5:])
    with pytest.raises(ModelFormatError, match="3 bytes after its end"):
        read(sealed(data[:-4] + b"abc"))


@given(st.randoms(use_true_random=False), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_forged_files_raise_what_they_should(random: object, changes: int) -> None:
    """Bytes changed, added, removed, and the checksum made right again."""
    body = bytearray(sample()[:-4])
    for _ in range(changes):
        place = random.randrange(5, len(body))  # type: ignore[attr-defined]
        how = random.randrange(3)  # type: ignore[attr-defined]
        value = random.choice([0, 1, 2, 127, 128, 255, random.randrange(256)])  # type: ignore[attr-defined]
        if how == 0:
            body[place] = value
        elif how == 1:
            body.insert(place, value)
        else:
            del body[place]
    start = time.perf_counter()
    with contextlib.suppress(TinykitError):
        for part in read(sealed(bytes(body)), limit=1 << 20):
            part.tensors()
    assert time.perf_counter() - start < 5  # a hang, not a timing


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_after_a_sound_start(data: bytes) -> None:
    with contextlib.suppress(ModelFormatError):
        read(sealed(b"TKLC\1" + data), limit=1 << 20)


def test_few_bytes_cannot_claim_much() -> None:
    lone = Coded((1000, 1000), torch.zeros(1000, 1000, dtype=torch.uint8), floats(0, 1))
    data = write([one(Sum((1000, 1000), (lone,) * 3))])
    assert len(data) < 80
    assert len(read(data, limit=4_000_000)) == 1
    with pytest.raises(ModelFormatError, match="the limit"):
        read(data, limit=3_999_999)
    nested: Theta = lone
    for _ in range(20):
        nested = Sum((1000, 1000), (nested,))
    with pytest.raises(TinykitError, match="in one another"):
        write([one(nested)])
