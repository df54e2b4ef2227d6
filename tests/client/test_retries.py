"""When a request is sent again, and that a write stays one write."""

import httpx
import pytest
from service_double import Script, client_of, problem, project

from terrazzo_client import Conflict, NoAnswer, NotFound, Unavailable


def test_a_write_is_sent_again_under_the_same_idempotency_key():
    script = Script(
        httpx.ReadTimeout("slow"),
        problem(503),
        httpx.RemoteProtocolError("cut"),
        httpx.Response(201, json=project()),
    )
    client_of(script).projects.create("streets", {"classes": []})
    keys = {request.headers["idempotency-key"] for request in script.requests}
    assert len(script.requests) == 4
    assert len(keys) == 1
    assert len(set(script.bodies)) == 1


def test_two_writes_have_two_idempotency_keys():
    script = Script(httpx.Response(201, json=project()), httpx.Response(201, json=project()))
    client = client_of(script)
    client.projects.create("streets", {"classes": []})
    client.projects.create("streets", {"classes": []})
    assert script.requests[0].headers["idempotency-key"] != script.requests[1].headers["idempotency-key"]


def test_the_callers_own_idempotency_key_is_used():
    script = Script(httpx.Response(201, json=project()))
    client_of(script).projects.create("streets", {"classes": []}, idempotency_key="mine")
    assert script.requests[0].headers["idempotency-key"] == "mine"


def test_reads_carry_no_idempotency_key():
    script = Script(httpx.Response(200, json=project()))
    client_of(script).projects.get("prj_00000001")
    assert "idempotency-key" not in script.requests[0].headers


def test_retry_after_in_seconds_is_waited_for():
    script = Script(problem(503, headers={"Retry-After": "7"}), httpx.Response(200, json=project()))
    client_of(script).projects.get("prj_00000001")
    assert script.waits_s == [7.0]


def test_retry_after_as_a_date_of_the_past_is_no_wait():
    script = Script(
        problem(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), httpx.Response(200, json=project())
    )
    client_of(script).projects.get("prj_00000001")
    assert script.waits_s == [0.0]


def test_a_retry_after_of_hours_is_bounded():
    script = Script(problem(429, headers={"Retry-After": "86400"}), httpx.Response(200, json=project()))
    client_of(script).projects.get("prj_00000001")
    assert script.waits_s == [30.0]


def test_not_known_yet_is_asked_again_because_it_says_retry_after():
    script = Script(
        problem(404, "not-known-yet", headers={"Retry-After": "1"}), httpx.Response(200, json=project())
    )
    assert client_of(script).projects.get("prj_00000001").name == "streets"


def test_a_plain_not_found_is_not_asked_again():
    script = Script(problem(404))
    with pytest.raises(NotFound):
        client_of(script).projects.get("prj_00000001")
    assert len(script.requests) == 1


def test_a_conflict_is_not_asked_again():
    script = Script(problem(409))
    with pytest.raises(Conflict):
        client_of(script).models.promote("mod_00000001")
    assert len(script.requests) == 1


def test_tries_are_bounded_and_the_waits_grow():
    script = Script(*[problem(503) for _ in range(9)])
    with pytest.raises(Unavailable):
        client_of(script, retries=4).projects.get("prj_00000001")
    assert len(script.requests) == 5
    assert all(0.05 * 2**n <= wait <= 0.1 * 2**n for n, wait in enumerate(script.waits_s))


def test_without_an_answer_the_error_names_the_request():
    script = Script(*[httpx.ConnectError("refused") for _ in range(2)])
    with pytest.raises(NoAnswer, match="GET http://terrazzo/v1/projects/prj_00000001: refused"):
        client_of(script, retries=1).projects.get("prj_00000001")


def test_a_key_that_is_a_callable_is_asked_before_each_try():
    keys = iter(["tz_one", "tz_two"])
    script = Script(problem(503), httpx.Response(200, json=project()))
    client = client_of(script)
    client.connection._key = lambda: next(keys)
    client.projects.get("prj_00000001")
    assert [request.headers["authorization"] for request in script.requests] == ["Bearer tz_one", "Bearer tz_two"]


def test_an_imported_file_is_read_anew_for_each_try(tmp_path):
    archive = tmp_path / "set.zip"
    archive.write_bytes(b"z" * (2 << 20))
    report = {"num_imported": 1, "num_skipped": 0, "skipped": []}
    script = Script(problem(503), httpx.Response(200, json=report))
    assert client_of(script).datasets.import_("prj_00000001", archive).num_imported == 1
    assert script.bodies == [archive.read_bytes()] * 2
