"""Data files: found on this machine, or downloaded once into the cache, and verified either way.

A file counts as good only when the SHA-256 of its uncompressed content is the expected one. A
download goes to a temporary name, is verified, and is renamed only then; whatever interrupts it, no
file is left that a later run would take for good.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinykit.data.errors import DataError
from tinykit.folders import cache_dir
from tinykit.graph.errors import MissingToolError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Parameters
    ----------
    name : its name without ``.gz``
    url : where its gzip-compressed form is
    size : bytes of the compressed download
    content_size : bytes of the uncompressed content
    sha256 : of the uncompressed content, so that repacked copies are recognised
    """

    name: str
    url: str
    size: int
    content_size: int
    sha256: str


def content(file: RemoteFile, dataset: str, system: Sequence[str] = ()) -> bytes:
    """The verified, uncompressed content of `file`.

    Looked for as NAME or NAME.gz in ``$TINYKIT_DATA/DATASET`` (datasets may call their files
    alike), ``$TINYKIT_DATA``, the `system` folders and the cache, then downloaded into the cache.

    Raises
    ------
    DataError
        A file found outside the cache is damaged.
    MissingToolError
        Neither found nor downloadable.
    """
    own = os.environ.get("TINYKIT_DATA")
    if own and not Path(own).expanduser().is_dir():
        raise MissingToolError(f"TINYKIT_DATA={own} is no folder; set it to one, or unset it")
    folders = [Path(own, dataset).expanduser(), Path(own).expanduser()] if own else []
    for folder in [*folders, *map(Path, system)]:
        if found := _in(folder, file):
            return _verified(found.read_bytes(), file, str(found))
    cached = cache_dir() / dataset / f"{file.name}.gz"
    if cached.is_file():
        try:
            return _verified(cached.read_bytes(), file, str(cached))
        except DataError as error:
            log.warning("%s; downloading it again", error)
    return _download(file, cached, dataset)


def _in(folder: Path, file: RemoteFile) -> Path | None:
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        if path.is_file():
            return path
    return None


def _verified(raw: bytes, file: RemoteFile, where: str) -> bytes:
    if raw[:2] == b"\x1f\x8b":
        raw = _gunzip(raw, file.content_size, where)
    if len(raw) != file.content_size:
        raise DataError(
            f"{where} is damaged: {len(raw)} bytes uncompressed, {file.name} has "
            f"{file.content_size}; delete it or replace it"
        )
    digest = hashlib.sha256(raw).hexdigest()
    if digest != file.sha256:
        raise DataError(
            f"{where} is not {file.name}: its SHA-256 is {digest[:16]}…, expected "
            f"{file.sha256[:16]}…; delete it or replace it"
        )
    return raw


def _gunzip(raw: bytes, most: int, where: str) -> bytes:
    """Uncompressed bytes; never more than `most` + 1 of them are made (no gzip bombs)."""
    unpack = zlib.decompressobj(wbits=31)
    try:
        out = unpack.decompress(raw, most + 1)
        if len(out) <= most:
            out += unpack.flush()
    except zlib.error as error:
        raise DataError(f"{where} is not a whole gzip file ({error})") from None
    if not unpack.eof:
        why = "it ends early" if len(out) <= most else f"it unpacks to more than {most} bytes"
        raise DataError(f"{where} is damaged: {why}; delete it or replace it")
    return out


def _download(file: RemoteFile, target: Path, dataset: str) -> bytes:
    log.info("downloading %s", file.url)
    try:
        raw = _fetch(file)
        whole = _verified(raw, file, file.url)
    except (urllib.error.URLError, TimeoutError, ConnectionError, DataError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise MissingToolError(
            f"dataset {dataset} is not on this machine and {file.url} could not be had ({reason}): "
            f"connect to the network, or put {file.name}.gz into a folder and set TINYKIT_DATA to "
            f"that folder"
        ) from None
    store(target, raw)
    return whole


def _fetch(file: RemoteFile) -> bytes:
    from tqdm import tqdm

    parts: list[bytes] = []
    left = file.size
    bar = tqdm(
        total=file.size, unit="B", unit_scale=True, desc=file.name, disable=None, leave=False
    )
    with urllib.request.urlopen(file.url, timeout=20) as answer, bar:
        # one byte more than announced is enough to know that the file is another one
        while left >= 0 and (part := answer.read(min(1 << 16, left + 1))):
            parts.append(part)
            left -= len(part)
            bar.update(len(part))
    if left:
        more = "more than" if left < 0 else f"{file.size - left} of"
        raise DataError(f"{file.url} sent {more} {file.size} bytes")
    return b"".join(parts)


def store(target: Path, raw: bytes) -> None:
    """Write `raw` to `target` so that `target` is at every moment absent, old, or whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=".part"
    )
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(raw)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
