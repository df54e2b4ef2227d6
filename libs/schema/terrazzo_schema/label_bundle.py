"""Many small label files in one body: `POST /v1/datasets/{project}/labels` takes it, `.../checkout` gives it.

A bundle is a row of frames. A frame is the length of its head (uint32, little-endian), the head (JSON, UTF-8) and
the files that the head lists, one after another: `{"files": [[name, size in bytes, more...], ...]}`. A head may
say more than that. Index PNGs gain nothing from a zip, and a frame is read as it comes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LENGTH = struct.Struct("<I")
HEAD_BYTES_MAX = 2**24


class DamagedBundle(ValueError):
    """These bytes are no bundle of labels, or not a whole one."""


def frame(files: Sequence[tuple[str, bytes, Sequence[str]]], **more: Any) -> bytes:
    """A frame of (name, bytes, what else its row says)."""
    rows = [[name, len(data), *rest] for name, data, rest in files]
    head = json.dumps({**more, "files": rows}, separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(head)), head, *(data for _, data, _ in files)))


def frames(data: bytes) -> Iterator[tuple[dict[str, Any], list[tuple[str, bytes, list[str]]]]]:
    """(head, files) of each frame. Raises DamagedBundle."""
    for head, at in heads(data):
        yield head, list(files_at(data, head, at))


def files_at(data: bytes, head: Mapping[str, Any], at: int) -> Iterator[tuple[str, bytes, list[str]]]:
    """The files of a frame, from its head and the place after that."""
    for name, size, *rest in head["files"]:
        yield name, data[at : at + size], rest
        at += size


def heads(data: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """(head, place after it) of each frame, whose files are there in full. Raises DamagedBundle."""
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise DamagedBundle(f"byte {at}: a head's length is cut short")
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at - start > HEAD_BYTES_MAX or at > len(data):
            raise DamagedBundle(f"byte {start}: a head of {at - start} bytes does not fit")
        head = _head(data[start:at], start)
        end = at + sum(row[1] for row in head["files"])
        if end > len(data):
            raise DamagedBundle(f"byte {at}: the files of a head of {end - at} bytes are cut short")
        yield head, at
        at = end


def _head(text: bytes, start: int) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedBundle(f"byte {start}: the head is no JSON: {error}") from error
    rows = head.get("files") if isinstance(head, dict) else None
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise DamagedBundle(f'byte {start}: the head is not {{"files": [[name, size, ...], ...]}}')
    return dict(head)


def _is_row(row: Any) -> bool:
    if not isinstance(row, list) or len(row) < 2:
        return False
    name, size, *rest = row
    return type(size) is int and size >= 0 and {type(name), *map(type, rest)} == {str}
