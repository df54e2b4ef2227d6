"""The ontology file: what is read, what is refused, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_schema.errors import OntologyError
from terrazzo_schema.ontology import Ontology, parse_ontology

NUCLEI = """
name: nuclei
unlabelled: [255]
classes:
  - {id: 1, name: background, color: "#202020", value: 0}
  - id: 2
    name: cell
    children:
      - {id: 3, name: nucleus, color: "#e6194b", value: 1}
      - {id: 4, name: boundary, color: "#ffe119", value: 2}
"""


def test_the_documented_file_is_read() -> None:
    ontology = parse_ontology(NUCLEI)
    assert ontology.ids == (1, 2, 3, 4)
    assert [c.name for c in ontology.leaves] == ["background", "nucleus", "boundary"]
    assert ontology.value_to_id() == {0: 1, 1: 3, 2: 4}, "cell's default value 2 is claimed by boundary"
    assert ontology.path_of(4) == (2, 4)
    assert ontology.level_map(1) == {1: 1, 2: 2, 3: 2, 4: 2}
    assert ontology.level_map(2) == {1: 1, 2: 2, 3: 3, 4: 4}
    assert ontology.unlabelled == {255}, "0 is background's value, so it does not mean unlabelled"


def test_yaml_and_json_say_the_same() -> None:
    ontology = parse_ontology(NUCLEI)
    assert parse_ontology(json.dumps(ontology.to_dict())) == ontology


def test_zero_means_unlabelled_unless_a_class_claims_it() -> None:
    assert parse_ontology({"name": "n", "classes": [{"id": 1, "name": "a"}]}).unlabelled == {0}


def classes(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"name": "n", "classes": list(nodes)}


A = {"id": 1, "name": "a"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[1, 2", "neither YAML nor JSON"),
        ("just text", "not a mapping"),
        ({"classes": [A]}, "no name"),
        ({"name": "n"}, "not a list"),
        (classes(), "no classes"),
        ({"name": "n", "classes": [A], "colours": 1}, "unknown key 'colours'"),
        (classes({"id": 0, "name": "a"}), "id is 0"),
        (classes({"id": 65_535, "name": "a"}), "id is 65535"),
        (classes({"id": True, "name": "a"}), "id is True"),
        (classes({"id": "1", "name": "a"}), "id is '1'"),
        (classes(A, {"id": 1, "name": "b"}), "the id 1 is used by two classes, 'a' and 'b'"),
        (classes(A, {"id": 2, "name": "a"}), "the name 'a' is used by two"),
        (classes({**A, "value": 7}, {"id": 2, "name": "b", "value": 7}), "the value 7 is used by two"),
        (classes({**A, "color": "red"}), "colour 'red'"),
        (classes({**A, "colour": "#ffffff"}), "unknown key 'colour'"),
        (classes({"id": 1}), "no name"),
        (classes("a"), "not a mapping"),  # type: ignore[arg-type]
        ({"name": "n", "unlabelled": 255, "classes": [A]}, "not a list"),
        ({"name": "n", "unlabelled": [1], "classes": [{**A, "value": 1}]}, "means 'unlabelled' and also 'a'"),
        ("name: n\nclasses:\n  - &a\n    id: 1\n    name: a\n    children: [*a]\n", "own ancestor"),
        (classes({**A, "children": [{"id": 2, "name": "b", "layer": "other"}]}), "not its parent's"),
    ],
)
def test_a_bad_ontology_is_refused_and_the_reason_is_named(document: Any, said: str) -> None:
    with pytest.raises(OntologyError) as caught:
        parse_ontology(document)
    assert said in caught.value.detail
    assert caught.value.field is not None
    assert caught.value.field.startswith("ontology")


def test_deep_nesting_ends_in_an_error_and_not_in_a_crash() -> None:
    text = "name: n\nclasses: " + "[" * 2_000
    with pytest.raises(OntologyError):
        parse_ontology(text)
    node: dict[str, Any] = {"id": 1, "name": "c1"}
    for depth in range(2, 60):
        node = {"id": depth, "name": f"c{depth}", "children": [node]}
    with pytest.raises(OntologyError, match="nested more than 32 deep"):
        parse_ontology(classes(node))


@st.composite
def ontologies(draw: st.DrawFn) -> dict[str, Any]:
    ids = draw(st.lists(st.integers(1, 65_534), min_size=1, max_size=12, unique=True))
    nodes: list[dict[str, Any]] = []
    roots: list[dict[str, Any]] = []
    for class_id in ids:
        node = {"id": class_id, "name": f"class {class_id}"}
        parent = draw(st.sampled_from([None, *nodes]))
        (roots if parent is None else parent.setdefault("children", [])).append(node)
        nodes.append(node)
    return {"name": "drawn", "classes": roots}


@given(ontologies())
@settings(deadline=None, max_examples=60)
def test_any_tree_survives_a_round_trip_and_its_levels_agree_with_its_paths(document: dict[str, Any]) -> None:
    ontology: Ontology = parse_ontology(document)
    assert parse_ontology(ontology.to_json()) == ontology
    for level in range(1, ontology.depth + 1):
        mapping = ontology.level_map(level)
        for class_id in ontology.ids:
            path = ontology.path_of(class_id)
            assert mapping[class_id] == path[min(level, len(path)) - 1]
