"""The file of a project's gates: YAML in, rules out, and every mistake named by line and field.

    on:
      merges: ["*"]             # branches into which merges are checked (this is the default)
      commits: [main]           # branches on which every commit is checked (default: none)
    rules:
      - class_minimum: {class: car, pixels: 10000, samples: 50}
      - unlabelled: {dataset_max_percent: 1, sample_max_percent: 20, of: changed}
      - agreement: {mean_min: 0.8, sample_min: 0.5, measured_min_percent: 10}
      - golden: {ref: v1, samples: [a.png, b.png], iou_min: 0.95}
      - custom: {gate: no-tiny-objects, options: {area_min_px: 30}}

The text comes from users: tags and anchors are refused (no objects are made, nothing is repeated), and a custom
gate is a name that the server's operator has installed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import yaml

from terrazzo_mask_storage.domain.gates import Agreement, ClassMinimum, Custom, Gates, Golden, Of, Rule, Unlabelled

TEXT_CHARS_MAX = 65_536
RULES_MAX = 200
DEPTH_MAX = 32
_SCALARS = {
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:null",
}
_REF_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-")


@dataclass(frozen=True)
class Mistake:
    """`line` and `column` count from 1; `field` is the way to the value, e.g. `rules[2].golden.iou_min`."""

    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        return (
            f"line {self.line}, {self.field}: {self.message}"
            if self.field
            else f"line {self.line}: {self.message}"
        )


class GateFileError(ValueError):
    """The file can't be used; `mistakes` has all that were found, in the file's order."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(str(mistake) for mistake in mistakes[:5]))
        self.mistakes = mistakes


def parse_gates(text: str, classes: Mapping[int, str], installed: Collection[str]) -> Gates:
    """Read a gates file. `classes` is the ontology (id -> name), `installed` the custom gates that may be named.

    Raises GateFileError.
    """
    gates, mistakes = read_gates(text, classes, installed)
    if mistakes:
        raise GateFileError(mistakes)
    return gates


def read_gates(text: str, classes: Mapping[int, str], installed: Collection[str]) -> tuple[Gates, list[Mistake]]:
    """What can be read of a gates file that was sound once, and what is wrong with it now (a class that is gone).

    Raises GateFileError for a text that is no YAML at all.
    """
    return _Reader(classes, installed).gates(_compose(text))


def _compose(text: str) -> yaml.Node:
    if len(text) > TEXT_CHARS_MAX:
        raise GateFileError([Mistake(1, 1, "", f"{len(text)} characters: at most {TEXT_CHARS_MAX} are allowed")])
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:  # the scanner's time grows with the square of the depth
                raise GateFileError(
                    [_at(event.start_mark, "", f"more than {DEPTH_MAX} levels of lists and fields")]
                )
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise GateFileError([_at(event.start_mark, "", "anchors and aliases are not allowed here")])
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise GateFileError([_at(error.problem_mark, "", f"this is no YAML: {error.problem}")]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise GateFileError([Mistake(1, 1, "", f"this is no YAML: {str(error)[:200]}")]) from error
    if root is None:
        raise GateFileError([Mistake(1, 1, "", "the file is empty: it needs `rules`")])
    return root


def _at(mark: Any, field: str, message: str) -> Mistake:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Mistake(line, column, field, message)


class _Reader:
    """Walks the composed nodes, which know their lines, and gathers every mistake."""

    def __init__(self, classes: Mapping[int, str], installed: Collection[str]) -> None:
        self._classes = classes
        self._installed = installed
        self._mistakes: list[Mistake] = []

    def gates(self, root: yaml.Node) -> tuple[Gates, list[Mistake]]:
        top = self._mapping(root, "", {"on", "rules"}, {"rules"})
        on = self._mapping(top["on"], "on", {"merges", "commits"}) if "on" in top else {}
        merges = self._patterns(on["merges"], "on.merges") if "merges" in on else ("*",)
        commits = self._patterns(on["commits"], "on.commits") if "commits" in on else ()
        rules: list[Rule] = []
        for index, node in enumerate(self._sequence(top.get("rules"), "rules")):
            rule = self._rule(node, f"rules[{index}]")
            if rule is not None:
                rules.append(rule)
        if "rules" in top and not rules and not self._mistakes:
            self._wrong(top["rules"], "rules", "at least one rule is needed")
        if len(rules) > RULES_MAX:
            self._wrong(top["rules"], "rules", f"{len(rules)} rules: at most {RULES_MAX} are allowed")
        return Gates(merges, commits, tuple(rules)), sorted(self._mistakes, key=lambda m: (m.line, m.column))

    def _rule(self, node: yaml.Node, where: str) -> Rule | None:
        kinds: dict[str, Callable[[yaml.Node, str], Rule | None]] = {
            "class_minimum": self._class_minimum,
            "unlabelled": self._unlabelled,
            "agreement": self._agreement,
            "golden": self._golden,
            "custom": self._custom,
        }
        if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
            self._wrong(node, where, f"a rule is one of {', '.join(kinds)}, with its fields")
            return None
        name_node, body = node.value[0]
        read = kinds.get(name_node.value) if isinstance(name_node, yaml.ScalarNode) else None
        if read is None:
            self._wrong(name_node, where, f"unknown rule {_shown(name_node)}: it is one of {', '.join(kinds)}")
            return None
        return read(body, f"{where}.{name_node.value}")

    def _class_minimum(self, node: yaml.Node, where: str) -> Rule | None:
        fields = self._mapping(node, where, {"class", "pixels", "samples"}, {"class"})
        class_id = self._class(fields.get("class"), f"{where}.class")
        pixels = self._whole(fields.get("pixels"), f"{where}.pixels")
        samples = self._whole(fields.get("samples"), f"{where}.samples")
        self._one_of(node, where, fields, ("pixels", "samples"))
        if class_id is None:
            return None
        return ClassMinimum(_line(node), class_id, self._classes[class_id], pixels, samples)

    def _unlabelled(self, node: yaml.Node, where: str) -> Rule:
        limits = ("dataset_max_percent", "sample_max_percent")
        fields = self._mapping(node, where, {*limits, "of"})
        self._one_of(node, where, fields, limits)
        dataset, sample = (self._number(fields.get(name), f"{where}.{name}", 100.0) for name in limits)
        return Unlabelled(_line(node), dataset, sample, self._of(fields.get("of"), f"{where}.of"))

    def _agreement(self, node: yaml.Node, where: str) -> Rule:
        limits = ("mean_min", "sample_min", "measured_min_percent")
        fields = self._mapping(node, where, {*limits, "of"})
        self._one_of(node, where, fields, limits)
        mean, sample = (self._number(fields.get(name), f"{where}.{name}", 1.0) for name in limits[:2])
        measured = self._number(fields.get(limits[2]), f"{where}.{limits[2]}", 100.0)
        return Agreement(_line(node), mean, sample, measured or 0.0, self._of(fields.get("of"), f"{where}.of"))

    def _golden(self, node: yaml.Node, where: str) -> Rule:
        fields = self._mapping(node, where, {"ref", "samples", "iou_min"}, {"ref"})
        ref = self._text(fields.get("ref"), f"{where}.ref") or ""
        if "ref" in fields and (not ref or len(ref) > 200 or not set(ref) <= _REF_CHARS):
            self._wrong(fields["ref"], f"{where}.ref", f"{_shown(fields['ref'])} is no commit id, tag or branch")
        samples = None
        if "samples" in fields:
            found = [
                self._text(item, f"{where}.samples[{index}]") or ""
                for index, item in enumerate(self._sequence(fields["samples"], f"{where}.samples"))
            ]
            samples = tuple(found)
            if not samples:
                self._wrong(fields["samples"], f"{where}.samples", "name samples, or leave the field out for all")
        return Golden(_line(node), ref, samples, self._number(fields.get("iou_min"), f"{where}.iou_min", 1.0))

    def _custom(self, node: yaml.Node, where: str) -> Rule:
        fields = self._mapping(node, where, {"gate", "options"}, {"gate"})
        gate = self._text(fields.get("gate"), f"{where}.gate") or ""
        if gate and gate not in self._installed:
            known = ", ".join(sorted(self._installed)) or "none"
            self._wrong(fields["gate"], f"{where}.gate", f"no gate {gate!r} is installed (there are: {known})")
        options = fields.get("options")
        if options is not None and not isinstance(options, yaml.MappingNode):
            self._wrong(options, f"{where}.options", "a mapping is wanted")
            options = None
        value = self._plain(options, f"{where}.options") if options is not None else {}
        return Custom(_line(node), gate, cast("Mapping[str, Any]", value))

    def _class(self, node: yaml.Node | None, where: str) -> int | None:
        if node is None:
            return None
        text = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        by_name = {name: class_id for class_id, name in self._classes.items()}
        class_id = by_name.get(text)
        if class_id is None and text.isascii() and text.isdecimal() and int(text) in self._classes:
            class_id = int(text)
        if class_id is None:
            self._wrong(node, where, f"the ontology has no class {_shown(node)}")
        return class_id

    def _of(self, node: yaml.Node | None, where: str) -> Of:
        text = self._text(node, where)
        if text not in (None, "all", "changed"):
            assert node is not None
            self._wrong(node, where, f"'all' or 'changed' is wanted, not {_shown(node)}")
        return cast("Literal['all', 'changed']", text if text in ("all", "changed") else "all")

    def _patterns(self, node: yaml.Node, where: str) -> tuple[str, ...]:
        found = []
        for index, item in enumerate(self._sequence(node, where)):
            text = self._text(item, f"{where}[{index}]") or ""
            if not text or not set(text.removesuffix("*")) <= _REF_CHARS:
                self._wrong(item, f"{where}[{index}]", f"{_shown(item)} is no branch name (a '*' may end it)")
            found.append(text)
        return tuple(found)

    def _mapping(
        self, node: yaml.Node, where: str, allowed: set[str], required: Collection[str] = ()
    ) -> dict[str, yaml.Node]:
        """The fields of a mapping; unknown, doubled and missing ones are mistakes."""
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, where, f"a mapping with {', '.join(sorted(allowed))} is wanted")
            return {}
        fields: dict[str, yaml.Node] = {}
        for name_node, value in node.value:
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
            if name not in allowed:
                known = ", ".join(sorted(allowed))
                self._wrong(name_node, where, f"unknown field {_shown(name_node)}: it is one of {known}")
            elif name in fields:
                self._wrong(name_node, f"{where}.{name}".lstrip("."), "the field is there twice")
            else:
                fields[str(name)] = value
        for name in required:
            if name not in fields:
                self._wrong(node, where, f"the field {name!r} is missing")
        return fields

    def _sequence(self, node: yaml.Node | None, where: str) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, where, "a list is wanted")
            return []
        return list(node.value)

    def _text(self, node: yaml.Node | None, where: str) -> str | None:
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS or len(node.value) > 1_000:
            self._wrong(node, where, f"a text is wanted, not {_shown(node)}")
            return None
        return str(node.value)

    def _whole(self, node: yaml.Node | None, where: str) -> int | None:
        if node is None:
            return None
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 18):
            self._wrong(node, where, f"a whole number of 0 or more is wanted, not {_shown(node)}")
            return None
        return int(text)

    def _number(self, node: yaml.Node | None, where: str, high: float) -> float | None:
        if node is None:
            return None
        try:
            value = float(node.value) if isinstance(node, yaml.ScalarNode) else float("nan")
        except ValueError:
            value = float("nan")
        if not 0.0 <= value <= high:
            self._wrong(node, where, f"a number from 0 to {high:g} is wanted, not {_shown(node)}")
            return None
        return value

    def _plain(self, node: yaml.Node, where: str) -> Any:
        """A node as plain data: mappings with text keys, lists, texts, numbers, booleans, nulls."""
        if isinstance(node, yaml.MappingNode):
            return {
                self._text(key, where) or "": self._plain(value, f"{where}.{_shown(key)}")
                for key, value in node.value
            }
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, f"{where}[{index}]") for index, item in enumerate(node.value)]
        if node.tag not in _SCALARS:
            self._wrong(node, where, f"{_shown(node)} is no plain value")
            return None
        try:
            return yaml.safe_load(yaml.serialize(node, Dumper=yaml.SafeDumper))
        except (yaml.YAMLError, ValueError) as error:
            self._wrong(node, where, f"{_shown(node)} can't be read: {error}")
            return None

    def _one_of(
        self, node: yaml.Node, where: str, fields: Mapping[str, yaml.Node], names: tuple[str, ...]
    ) -> None:
        is_known = isinstance(node, yaml.MappingNode) and len(node.value) == len(fields)
        if is_known and not any(name in fields for name in names):
            self._wrong(node, where, f"at least one of {', '.join(names)} is wanted")

    def _wrong(self, node: yaml.Node, where: str, message: str) -> None:
        self._mistakes.append(_at(node.start_mark, where, message))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(node: yaml.Node) -> str:
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else f"a {type(node).__name__}"
    return ascii(text[:80])
