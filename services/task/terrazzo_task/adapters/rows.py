"""Rows of the tables and the records of the domain: the one mapping between the two."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from terrazzo_task.domain.projects import Batch, ClassShare, Sample
from terrazzo_task.domain.work import Region, Submission, Task

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def record(kind: type[R], row: sa.Row[Any]) -> R:
    """The record of a row. Lists kept as JSON become tuples; columns that the record lacks are left out."""
    values = row._mapping
    return kind(**{f.name: _out(kind, f.name, values[f.name]) for f in fields(kind)})


def columns(item: Any) -> dict[str, Any]:
    """The column values of a record. A sequence of 0 is left to the table to give."""
    values = {f.name: getattr(item, f.name) for f in fields(item)}
    if values.get("sequence") == 0:
        del values["sequence"]
    return as_columns(values)


def as_columns(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _in(value) for name, value in values.items()}


def _in(value: Any) -> Any:
    if isinstance(value, Region):
        return [value.y, value.x, value.height, value.width]
    if isinstance(value, tuple):
        return [[v.class_id, v.share, v.entropy] if isinstance(v, ClassShare) else v for v in value]
    return value


_TUPLES = {(Task, "candidate_mask_ids"), (Batch, "sample_ids"), (Submission, "codes")}


def _out(kind: type, name: str, value: Any) -> Any:
    if (kind, name) in _TUPLES:
        return tuple(value)
    if kind is Sample and name == "classes":
        return tuple(ClassShare(*c) for c in value)
    if kind is Task and name == "region":
        return None if value is None else Region(*value)
    return value
