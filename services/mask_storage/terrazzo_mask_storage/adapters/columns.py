"""Types of columns: hashes and ids as the few bytes that they are, for tables of millions of rows."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

_SAMPLE_BYTES = 12
_SAMPLE_ID = re.compile(rf"smp_[0-9a-f]{{{2 * _SAMPLE_BYTES}}}\Z")
_OTHER = b"\xff"  # never a byte of UTF-8


class Bytes(sa.LargeBinary):
    """Bytes as both drivers give and take them: nothing is done to a value on its way."""

    def bind_processor(self, dialect: sa.Dialect) -> None:
        return None

    def result_processor(self, dialect: sa.Dialect, coltype: Any) -> None:
        return None


class Digest(TypeDecorator[str]):
    """A hash of 32 bytes, 64 hex digits to the program and half of that to the database."""

    impl = Bytes(32)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.hex()


class SampleId(TypeDecorator[str]):
    """A sample's id, as `sample_key` packs it."""

    impl = Bytes(402)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else sample_key(value)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else sample_of_key(value)


def sample_key(sample_id: str) -> bytes:
    """12 bytes of an id that is "smp_" and 24 hex digits; any other id (there need be none) as text, marked."""
    if _SAMPLE_ID.match(sample_id):
        return bytes.fromhex(sample_id[4:])
    text = sample_id.encode()
    if not text:
        return b""
    # Never 12 bytes long, so that no text is taken for a hash.
    return _OTHER * (2 if len(text) + 1 == _SAMPLE_BYTES else 1) + text


def sample_of_key(key: bytes) -> str:
    """What `sample_key` was given."""
    return f"smp_{key.hex()}" if len(key) == _SAMPLE_BYTES else key.lstrip(_OTHER).decode()
