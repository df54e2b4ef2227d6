"""Pages, errors, downloads, streams and arrays."""

import subprocess
import sys
from io import BytesIO

import httpx
import numpy as np
import pytest
from service_double import Script, client_of, problem, project

import terrazzo_client
from terrazzo_client import (
    ApiError,
    BadRequest,
    Forbidden,
    NoAnswer,
    NotFound,
    ServerFault,
    StorageFull,
    TerrazzoClient,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    WaitedTooLong,
)
from terrazzo_client.sse import ServerEvent, server_events
from terrazzo_schema.rest.mask_storage import Provenance


def test_a_listing_fetches_its_pages_as_they_are_read():
    script = Script(
        httpx.Response(200, json={"items": [project("prj_00000001")], "next_cursor": "c1"}),
        httpx.Response(200, json={"items": [], "next_cursor": "c2"}),
        httpx.Response(200, json={"items": [project("prj_00000002")], "next_cursor": None}),
    )
    listing = client_of(script).projects.list()
    assert next(listing).project_id == "prj_00000001"
    assert len(script.requests) == 1
    assert [item.project_id for item in listing] == ["prj_00000002"]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, "c1", "c2"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest), (401, Unauthenticated), (403, Forbidden), (404, NotFound), (413, TooLarge),
        (418, ApiError), (422, Unprocessable), (429, TooManyRequests), (500, ServerFault), (502, Unavailable),
        (507, StorageFull),
    ],
)  # fmt: skip
def test_each_status_has_its_error(status, kind):
    with pytest.raises(kind) as caught:
        client_of(lambda request: problem(status, "why", field="name", remedy="do that")).organisations.current()
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.slug, caught.value.problem.field) == (status, "why", "name")
    assert str(caught.value) == "D (do that)"


def test_an_answer_that_is_no_problem_document_is_still_an_error():
    with pytest.raises(ServerFault, match="bad gateway page"):
        client_of(lambda request: httpx.Response(500, text="bad gateway page")).organisations.current()


def test_a_value_that_the_service_would_refuse_is_refused_before_it_is_sent():
    script = Script()
    with pytest.raises(Unprocessable) as caught:
        client_of(script).keys.create("k", "emperor")
    assert caught.value.problem.field == "role"
    assert script.requests == []


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_an_id_can_not_change_the_path(segment):
    with pytest.raises(ValueError, match="part of a path"):
        client_of(Script()).projects.get(segment)


def test_odd_characters_of_an_id_are_quoted():
    script = Script(problem(404))
    with pytest.raises(NotFound):
        client_of(script).datasets.show("prj_00000001", "feature/a b?")
    assert script.requests[0].url.raw_path == b"/v1/datasets/prj_00000001/commits/feature%2Fa%20b%3F"


def test_services_that_run_apart_are_found_by_the_first_segment():
    script = Script(problem(404), problem(404), problem(404))
    client = TerrazzoClient(
        "http://gate",
        "k",
        urls={"qa": "http://qa:1/", "training": "http://t"},
        transport=httpx.MockTransport(script),
    )
    for call in (
        lambda: client.audits.get("p", "a"),
        lambda: client.ops.health("training"),
        lambda: client.projects.get("p"),
    ):
        with pytest.raises(NotFound):
            call()
    assert [request.url.host for request in script.requests] == ["qa", "t", "gate"]


def test_no_lease_is_none():
    assert client_of(lambda request: httpx.Response(204)).tasks.lease("prj_00000001") is None


def test_an_export_appears_when_it_is_complete(tmp_path):
    to = tmp_path / "out" / "set.zip"
    client = client_of(lambda request: httpx.Response(200, content=b"PK" * 100_000))
    assert client.datasets.export("prj_00000001", "main", "coco", to) == to
    assert to.read_bytes() == b"PK" * 100_000
    assert [path.name for path in to.parent.iterdir()] == ["set.zip"]


class _BreaksOff(httpx.SyncByteStream):
    def __iter__(self):
        yield b"half"
        raise httpx.ReadError("reset")


def test_an_export_that_breaks_off_starts_again_and_leaves_nothing_behind(tmp_path):
    to = tmp_path / "set.zip"
    to.write_bytes(b"the old one")
    script = Script(httpx.Response(200, stream=_BreaksOff()), httpx.Response(200, content=b"whole"))
    client_of(script).datasets.export("prj_00000001", "main", "index", to)
    assert to.read_bytes() == b"whole"
    broken = Script(*[httpx.Response(200, stream=_BreaksOff()) for _ in range(2)])
    with pytest.raises(NoAnswer, match="broke off"):
        client_of(broken, retries=1).datasets.export("prj_00000001", "main", "index", to)
    assert to.read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


def test_progress_is_read_from_server_sent_events():
    view = (
        b'{"project_id":"prj_00000001","samples":{},"tasks":{"open":%d},"submissions":{},"leases_active":0,'
        b'"seconds_spent":0,"annotators":[],"vendors":[],"classes":[]}'
    )
    body = b": heartbeat\n\nevent: progress\ndata: " + view % 1 + b"\n\nevent: other\ndata: x\n\n"
    body += b"event: progress\r\ndata: " + view % 2 + b"\r\n\r\n"
    client = client_of(lambda request: httpx.Response(200, content=body))
    assert [progress.tasks["open"] for progress in client.projects.stream_progress("prj_00000001")] == [1, 2]


def test_an_event_of_several_lines_is_joined_and_a_cut_one_dropped():
    lines = ["data: a", "data:b", "id: 7", "", "event: e", "data: c", "", "data: cut"]
    assert list(server_events(lines)) == [ServerEvent("message", "a\nb"), ServerEvent("e", "c")]


def test_label_maps_travel_as_npy():
    labels_HW = np.arange(12, dtype=np.uint16).reshape(3, 4)
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if request.method == "GET":
            return httpx.Response(200, content=sent[0].read())
        mask = {"mask_id": "m", "height": 3, "width": 4, "dtype": "uint16", "counts": {"1": 1}}
        return httpx.Response(201, json={**mask, "size_bytes": 1, "new_bytes": 1})

    client = client_of(answer)
    provenance = Provenance(source="prediction", actor="mod_1", sample_id="smp_1")
    view = client.masks.put("prj_00000001", labels_HW, provenance=provenance, expected=(3, 4))
    assert view.counts == {1: 1}
    assert dict(sent[0].url.params) == {"height": "3", "width": "4", "provenance": provenance.model_dump_json()}
    np.testing.assert_array_equal(np.load(BytesIO(sent[0].read())), labels_HW)
    read_HW = client.masks.labels("prj_00000001", "m")
    np.testing.assert_array_equal(read_HW, labels_HW)
    assert read_HW.dtype == np.uint16


def test_an_array_that_is_no_label_map_is_refused():
    with pytest.raises(ValueError, match="float64"):
        client_of(Script()).masks.put("prj_00000001", np.zeros((3, 3)))


def test_waiting_ends_with_the_job_or_with_patience():
    job = {"job_id": "j", "project_id": "p", "purpose": "score", "model_id": "m", "num_samples": 1, "num_done": 0}
    job |= {"num_failed": 0, "created_at": "2026-01-01T00:00:00Z", "finished_at": None}
    script = Script(*[httpx.Response(200, json={**job, "state": s}) for s in ("queued", "running", "succeeded")])
    assert client_of(script).predictions.wait("p", "j").state == "succeeded"
    with pytest.raises(WaitedTooLong):
        client_of(lambda r: httpx.Response(200, json={**job, "state": "running"})).predictions.wait(
            "p", "j", timeout_s=0
        )


def test_every_public_name_is_documented_and_nothing_heavy_is_imported():
    code = "import terrazzo_client, sys; print([m for m in ('numpy','torch','fastapi','PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    assert all(getattr(terrazzo_client, name).__doc__ for name in terrazzo_client.__all__)


def test_an_import_may_take_longer_than_a_request_usually_does(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"zip")
    asked = []

    def answer(request):
        request.read()
        asked.append(request.extensions["timeout"])
        return httpx.Response(200, json={"num_imported": 0, "num_skipped": 0, "skipped": []})

    client = TerrazzoClient("http://t", "k", transport=httpx.MockTransport(answer), timeout_s=7)
    client.datasets.import_("prj_00000001", tmp_path / "a.zip")
    assert (asked[0]["read"], asked[0]["connect"], asked[0]["write"]) == (None, 7, 7)
