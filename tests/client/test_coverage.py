"""Every operation of every service's OpenAPI document has a method, and they say the same.

Each public method of the client is called once, with a value for every argument; the transport writes
down what it asked for. That is compared with the documents: path, query, body and answer.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from terrazzo_client import TerrazzoClient
from terrazzo_runtime.settings import SERVICES
from terrazzo_schema.rest.mask_storage import Provenance

NOT_ONE_REQUEST = {"wait"}  # asks `get` or `job` until it is over
ARGUMENTS: dict[str, Any] = {
    "attributes": {"site": "north"},
    "base": "a" * 64,
    "batch_id": "bat_00000001",
    "config": {"epochs": 1},
    "choose": "ours",
    "data": b"bytes",
    "expected": (1, 1),
    "expires_in_s": 3_600,
    "format": "npy",
    "init_from": "mdl_00000001",
    "kinds": ["annotate"],
    "labels": b"bytes",
    "lease_id": "lse_00000001",
    "mask_id": "a" * 64,
    "masks": {"smp_00000001": "a" * 64},
    "on_conflict": "ours",
    "ontology": {"name": "o"},
    "passed": True,
    "path": Path(__file__),
    "progress": None,
    "project_id": "prj_00000001",
    "provenance": Provenance(source="import", actor="a", sample_id="s"),
    "purpose": "score",
    "qa": {},
    "role": "viewer",
    "sample_ids": ["smp_00000001"],
    "settings": {},
    "share": 0.5,
    "strategy": "random",
    "to": Path("export.zip"),
    "verdict": "pass",
}


class Asked(Exception):
    """A request was made; there will be no answer."""

    def __init__(self, request: httpx.Request) -> None:
        super().__init__(str(request.url))
        self.request = request


@dataclass(frozen=True)
class Call:
    """What a method asks for. `answer` is its return annotation."""

    name: str
    method: str
    path: str
    query: frozenset[str]
    body: bytes
    answer: str


def _argument(parameter: inspect.Parameter) -> Any:
    if parameter.name in ARGUMENTS:
        return ARGUMENTS[parameter.name]
    kind = str(parameter.annotation).removesuffix(" | None")
    return {"int": 1, "float": 0.9, "bool": True, "str": "text"}.get(kind, "text")


def _refuse(request: httpx.Request) -> httpx.Response:
    request.read()
    raise Asked(request)


def _called(name: str, method: Callable[..., Any], service: str) -> Call:
    signature = inspect.signature(method)
    arguments = {p.name: _argument(p) for p in signature.parameters.values()}
    if "service" in arguments:
        arguments["service"] = service
    with pytest.raises(Asked) as asked:
        _first_of(method(**arguments))
    request = asked.value.request
    path, query = request.url.path, frozenset(request.url.params)
    return Call(name, request.method, path, query, request.content, str(signature.return_annotation))


def _first_of(result: Any) -> None:
    """A listing asks only when it is read."""
    if isinstance(result, Iterator):
        next(result)


@cache
def calls() -> list[Call]:
    client = TerrazzoClient("http://terrazzo", "k", transport=httpx.MockTransport(_refuse))
    found = []
    for group, resource in vars(client).items():
        for name, method in inspect.getmembers(resource, inspect.ismethod):
            if not name.startswith("_") and name not in NOT_ONE_REQUEST and group != "connection":
                services = SERVICES if group == "ops" else ("",)
                found += [_called(f"{group}.{name}", method, service) for service in services]
    return found


def test_the_client_has_methods():
    assert len(calls()) > 70


@pytest.fixture(params=SERVICES)
def document(request, ports_factory) -> Iterator[dict[str, Any]]:
    service = import_module(f"terrazzo_{request.param}.service").create(ports_factory(request.param))
    spec = json.loads(json.dumps(service.app.openapi()))
    yield {"prefixes": service.prefixes, **spec}
    service.stop()


def operations(document) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def operation_of(call: Call, document) -> tuple[str, str] | None:
    """The operation that would answer the call: the one with the fewest placeholders, as a router decides."""
    fitting = [
        key for key in operations(document) if key[0] == call.method and _pattern(key[1]).fullmatch(call.path)
    ]
    return min(fitting, key=lambda key: key[1].count("{"), default=None)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path)))


def calls_to(document) -> list[Call]:
    prefixes = tuple(document["prefixes"])
    return [c for c in calls() if any(c.path == p or c.path.startswith(p + "/") for p in prefixes)]


def test_every_operation_has_a_method_and_every_method_an_operation(document):
    reached = {call.name: operation_of(call, document) for call in calls_to(document)}
    assert [name for name, key in reached.items() if key is None] == []
    assert set(operations(document)) - set(reached.values()) == set()


def test_every_query_parameter_can_be_given_and_no_other_is_sent(document):
    for key, operation in operations(document).items():
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
        ours = [call for call in calls_to(document) if operation_of(call, document) == key]
        for call in ours:
            assert call.query <= declared, f"{call.name} sends {call.query - declared}"
        given = frozenset[str]().union(*(call.query for call in ours))
        assert declared - given <= {"cursor", "limit"}, f"{key}: {declared - given} can't be given"


def test_bodies_have_the_fields_that_the_service_reads(document):
    schemas = document["components"]["schemas"]
    for call in calls_to(document):
        key = operation_of(call, document)
        content = operations(document)[key].get("requestBody", {}).get("content", {}).get("application/json")
        if content is None or "$ref" not in content["schema"]:
            continue
        schema = schemas[content["schema"]["$ref"].rsplit("/", 1)[-1]]
        assert set(json.loads(call.body)) == set(schema["properties"]), call.name


def test_answers_are_read_as_what_the_service_sends(document):
    for call in calls_to(document):
        responses = operations(document)[operation_of(call, document)]["responses"]
        schema = next(
            (responses[s]["content"].get("application/json", {}).get("schema", {}) for s in ("200", "201", "202")
             if "content" in responses.get(s, {})),
            {},
        )  # fmt: skip
        sent = schema.get("$ref", "").rsplit("/", 1)[-1]
        read = re.sub(r"^Iterator\[(.+)\]$", r"Page_\1_", call.answer.removesuffix(" | None"))
        if sent and read not in ("Page_SampleDiff_",):  # the samples inside of a DiffView
            assert read == sent, f"{call.name} reads {call.answer}, the service sends {sent}"
