"""A served model: what `terrazzo.json` beside its weights says about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terrazzo_inference.domain.errors import BadModel

SCHEMA = 1
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class ModelDescription:
    """`class_ids` are the leaf classes of the model's channels, in order. Sizes in pixels.

    Input sides must be multiples of `stride_px`; `tile_px` is the size that the model was evaluated at.
    """

    class_ids: tuple[int, ...]
    tile_px: int
    overlap_px: int
    stride_px: int
    embedding_dim: int
    arch: str
    run_id: str


def require_model_name(model_name: str, version: int) -> None:
    """Raises BadModel for a name or version that is no plain folder name (they become a path)."""
    if not _MODEL_NAME.fullmatch(model_name):
        raise BadModel(
            f"the model name {model_name!r} is no folder name",
            field="model_name",
            value=model_name,
            remedy="use letters, digits, '-', '_' and '.', a letter or digit first",
        )
    if version < 1:
        raise BadModel(
            f"model {model_name} has version {version}", field="version", value=version, remedy="from 1"
        )


def parse_description(document: object, where: str) -> ModelDescription:
    """Check a terrazzo.json that was read. Raises BadModel that names `where`, field, value and remedy."""
    if not isinstance(document, Mapping):
        raise BadModel(f"{where} holds a {type(document).__name__}, not a JSON object", field=where)
    if document.get("schema") != SCHEMA:
        raise BadModel(
            f"{where}: schema {document.get('schema')!r} is not known",
            field="schema",
            value=document.get("schema"),
            remedy=f"export the model with schema {SCHEMA}",
        )
    tile_px = _integer(document, "tile_px", 1, 65_536, where)
    stride_px = _integer(document, "stride_px", 1, 4_096, where)
    if tile_px % stride_px:
        raise BadModel(
            f"{where}: tile_px {tile_px} is no multiple of stride_px {stride_px}", field="tile_px", value=tile_px
        )
    overlap_px = tile_px // 4
    if "overlap_px" in document:
        overlap_px = _integer(document, "overlap_px", 0, tile_px - 1, where)
    return ModelDescription(
        class_ids=_class_ids(document.get("classes"), where),
        tile_px=tile_px,
        overlap_px=overlap_px,
        stride_px=stride_px,
        embedding_dim=_integer(document, "embedding_dim", 1, 65_536, where),
        arch=str(document.get("arch", "")),
        run_id=str(document.get("run_id", "")),
    )


def _class_ids(given: object, where: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not given:
        raise BadModel(f"{where}: 'classes' is no list of class ids", field="classes", value=given)
    for class_id in given:
        if type(class_id) is not int or not 1 <= class_id <= 65_534:
            raise BadModel(
                f"{where}: the class id {class_id!r} is not in 1..65534", field="classes", value=class_id
            )
    if len(set(given)) != len(given):
        raise BadModel(f"{where}: a class id is listed twice", field="classes", value=given)
    return tuple(given)


def _integer(document: Mapping[str, Any], name: str, low: int, high: int, where: str) -> int:
    value = document.get(name)
    if type(value) is not int or not low <= value <= high:
        raise BadModel(
            f"{where}: {name} is {value!r}", field=name, value=value, remedy=f"a whole number in {low}..{high}"
        )
    return value
