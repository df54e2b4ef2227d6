"""The ontology: a versioned tree of classes with stable ids (YAML or JSON in, validated).

A parent's id is a legal label ('some vehicle'): such a pixel is an unknown child. Id 0 is
*unlabelled* and belongs to no class.
"""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from terrazzo_schema.errors import OntologyError

UNLABELLED = 0
MAX_CLASS_ID = 65_534
MAX_CLASSES = 4_096
DEFAULT_LAYER = "labels"
_COLOR = re.compile(r"^#[0-9a-fA-F]{6}$")
_CLASS_KEYS = {"id", "name", "color", "value", "children", "layer"}
_TOP_KEYS = {"name", "unlabelled", "classes"}


@dataclass(frozen=True)
class OntologyClass:
    """One class. `value` is its pixel value in imported masks (None: no pixel value means it, which
    happens when another class claims the value of its id); `parent_id` is None at a root."""

    id: int
    name: str
    color: str
    value: int | None
    parent_id: int | None
    layer: str = DEFAULT_LAYER

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True)
class Ontology:
    """Classes in file order, parents before their children."""

    name: str
    classes: tuple[OntologyClass, ...]
    unlabelled: frozenset[int] = frozenset({0, 255})

    def __iter__(self) -> Iterator[OntologyClass]:
        return iter(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(c.id for c in self.classes)

    def by_id(self, class_id: int) -> OntologyClass:
        """Raises KeyError when the id is no class of this ontology."""
        for candidate in self.classes:
            if candidate.id == class_id:
                return candidate
        raise KeyError(class_id)

    def children_of(self, class_id: int | None) -> tuple[OntologyClass, ...]:
        return tuple(c for c in self.classes if c.parent_id == class_id)

    @property
    def leaves(self) -> tuple[OntologyClass, ...]:
        """Classes without children, in file order: what a model predicts."""
        parents = {c.parent_id for c in self.classes}
        return tuple(c for c in self.classes if c.id not in parents)

    def path_of(self, class_id: int) -> tuple[int, ...]:
        """Ids from the root down to `class_id`, itself included."""
        path = [class_id]
        while (parent := self.by_id(path[0]).parent_id) is not None:
            path.insert(0, parent)
        return tuple(path)

    @property
    def depth(self) -> int:
        return max(len(self.path_of(c.id)) for c in self.classes)

    def level_map(self, level: int) -> dict[int, int]:
        """For each class id, the id it rolls up to at `level` (1 = roots); shallower classes stay."""
        return {c.id: self.path_of(c.id)[: level + 1][min(level, len(self.path_of(c.id))) - 1] for c in self}

    def value_to_id(self) -> dict[int, int]:
        """Pixel value in imported masks -> class id."""
        return {c.value: c.id for c in self.classes if c.value is not None}

    def palette(self) -> dict[int, tuple[int, int, int]]:
        """Class id -> (red, green, blue), 0..255."""
        return {c.id: c.rgb for c in self.classes}

    def to_dict(self) -> dict[str, Any]:
        """The file form; `parse_ontology` reads it back to an equal ontology."""

        def node(c: OntologyClass) -> dict[str, Any]:
            out: dict[str, Any] = {"id": c.id, "name": c.name, "color": c.color}
            if c.value is not None:
                out["value"] = c.value
            if c.layer != DEFAULT_LAYER and c.parent_id is None:
                out["layer"] = c.layer
            if children := self.children_of(c.id):
                out["children"] = [node(child) for child in children]
            return out

        return {
            "name": self.name,
            "unlabelled": sorted(self.unlabelled),
            "classes": [node(c) for c in self.children_of(None)],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False)


def default_color(class_id: int) -> str:
    """A colour for a class that names none: hues by the golden ratio, so neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb((class_id * 0.618034) % 1.0, 0.65, 0.95)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def parse_ontology(source: str | bytes | Mapping[str, Any]) -> Ontology:
    """Read an ontology from YAML or JSON text, or from its parsed form.

    Raises OntologyError that names the place and the remedy: unknown keys, ids outside
    1..65534, duplicate ids, names (within the siblings' layer), values, bad colours, a class that
    is its own ancestor (a YAML anchor can say that), or no class at all.
    """
    document = _load(source)
    unknown = set(document) - _TOP_KEYS
    if unknown:
        raise OntologyError(
            f"unknown key {sorted(map(str, unknown))[0]!r} at the top of the ontology",
            field="ontology",
            remedy=f"allowed keys: {', '.join(sorted(_TOP_KEYS))}",
        )
    name = document.get("name")
    if not isinstance(name, str) or not name.strip():
        raise OntologyError("the ontology has no name", field="ontology.name", value=name, remedy="give a text")
    unlabelled = _unlabelled(document)
    walked = tuple(_walk(document.get("classes"), None, DEFAULT_LAYER, "classes", ()))
    classes = _with_default_values(walked, unlabelled)
    if not classes:
        raise OntologyError("the ontology has no classes", field="ontology.classes", remedy="list at least one")
    _refuse_duplicates(classes)
    claimed = {c.value: c for c in classes}
    for value in unlabelled & claimed.keys():
        raise OntologyError(
            f"the value {value} means 'unlabelled' and also {claimed[value].name!r}",
            field="ontology.unlabelled",
            value=value,
            remedy="use it for one of the two",
        )
    # 0 means unlabelled unless a class claims it.
    return Ontology(name.strip(), classes, frozenset(unlabelled | ({0} - claimed.keys())))


def _load(source: str | bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    try:
        document = yaml.safe_load(source)  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise OntologyError(f"the ontology is neither YAML nor JSON: {error}", field="ontology") from error
    if not isinstance(document, Mapping):
        raise OntologyError(
            f"the ontology is a {type(document).__name__}, not a mapping",
            field="ontology",
            remedy="start with 'name:' and 'classes:'",
        )
    return document


def _walk(
    nodes: object, parent: OntologyClass | None, layer: str, where: str, above: tuple[int, ...]
) -> Iterator[OntologyClass]:
    if not isinstance(nodes, Sequence) or isinstance(nodes, str | bytes):
        raise OntologyError(
            f"{where} is not a list", field=f"ontology.{where}", value=nodes, remedy="list classes"
        )
    for index, node in enumerate(nodes):
        here = f"{where}[{index}]"
        if not isinstance(node, Mapping):
            raise OntologyError(f"{here} is not a mapping", field=f"ontology.{here}", value=node)
        # YAML anchors can make a node its own descendant, which would never end.
        if id(node) in above or len(above) > 32:
            raise OntologyError(
                f"{here} is its own ancestor (or nested more than 32 deep): the tree has a cycle",
                field=f"ontology.{here}",
                remedy="list each class once, under one parent",
            )
        current = _read_class(node, parent, layer, here)
        yield current
        if node.get("children") is not None:
            yield from _walk(node["children"], current, current.layer, f"{here}.children", (*above, id(node)))


def _read_class(node: Mapping[str, Any], parent: OntologyClass | None, layer: str, here: str) -> OntologyClass:
    unknown = set(node) - _CLASS_KEYS
    if unknown:
        raise OntologyError(
            f"{here} has an unknown key {sorted(map(str, unknown))[0]!r}",
            field=f"ontology.{here}",
            remedy=f"allowed keys: {', '.join(sorted(_CLASS_KEYS))}",
        )
    class_id = _integer(node.get("id"), 1, MAX_CLASS_ID, f"{here}.id")
    name = node.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > 200:
        raise OntologyError(
            f"{here} has no name of 1 to 200 characters", field=f"ontology.{here}.name", value=name
        )
    color = node.get("color", default_color(class_id))
    if not isinstance(color, str) or not _COLOR.match(color):
        raise OntologyError(
            f"{here} has the colour {color!r}",
            field=f"ontology.{here}.color",
            value=color,
            remedy='write "#rrggbb"',
        )
    own_layer = node.get("layer", layer)
    if not isinstance(own_layer, str) or not own_layer or (parent is not None and own_layer != parent.layer):
        raise OntologyError(
            f"{here} is in layer {own_layer!r}, not its parent's", field=f"ontology.{here}.layer", value=own_layer
        )
    value = None if node.get("value") is None else _integer(node["value"], 0, 65_535, f"{here}.value")
    return OntologyClass(class_id, name.strip(), color.lower(), value, parent.id if parent else None, own_layer)


def _with_default_values(
    classes: tuple[OntologyClass, ...], unlabelled: frozenset[int]
) -> tuple[OntologyClass, ...]:
    """A class that names no value takes its id, unless that value already means something else."""
    taken = {(c.layer, c.value) for c in classes}
    return tuple(
        replace(c, value=c.id)
        if c.value is None and (c.layer, c.id) not in taken and c.id not in unlabelled
        else c
        for c in classes
    )


def _integer(value: object, low: int, high: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OntologyError(
            f"{where} is {value!r}", field=f"ontology.{where}", value=value, remedy=f"an integer in {low}..{high}"
        )
    return value


def _refuse_duplicates(classes: tuple[OntologyClass, ...]) -> None:
    if len(classes) > MAX_CLASSES:
        raise OntologyError(
            f"{len(classes)} classes are over the limit of {MAX_CLASSES}", field="ontology.classes"
        )
    for what in ("id", "name", "value"):
        seen: dict[object, OntologyClass] = {}
        for current in classes:
            key = getattr(current, what)
            if key is None:
                continue
            # Two layers are two label maps: they may use the same pixel value and the same name.
            scope = key if what == "id" else (current.layer, key)
            if scope in seen:
                raise OntologyError(
                    f"the {what} {key!r} is used by two classes, {seen[scope].name!r} and {current.name!r}",
                    field=f"ontology.classes.{what}",
                    value=key,
                    remedy=f"give each class its own {what}",
                )
            seen[scope] = current


def _unlabelled(document: Mapping[str, Any]) -> frozenset[int]:
    given = document.get("unlabelled", [])
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise OntologyError("'unlabelled' is not a list of values", field="ontology.unlabelled", value=given)
    return frozenset(_integer(v, 0, 65_535, "unlabelled") for v in given)
