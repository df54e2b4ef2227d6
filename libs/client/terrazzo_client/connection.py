"""One connection to Terrazzo: addresses, key, retries, pages, streams. The resources are built on it.

Every write carries an Idempotency-Key, made here unless the caller gives one. A service does a
key's request once and answers its repetition with the first answer; so any request may be sent again.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from terrazzo_client.errors import NoAnswer, WaitedTooLong, error_of, refused_here
from terrazzo_schema.rest.base import Command, Page

V = TypeVar("V", bound=BaseModel)
T = TypeVar("T")
C = TypeVar("C", bound=Command)
Key = str | Callable[[], str]
Body = bytes | Callable[[], Iterator[bytes]]
"""A request's body; a callable is asked again for each try, so that a file need not be in memory."""

SERVICE_OF_SEGMENT: dict[str, str] = {
    **dict.fromkeys(("organisations", "keys", "projects", "tasks", "leases", "submissions"), "task"),
    **dict.fromkeys(("images", "masks", "datasets", "storage"), "mask_storage"),
    **dict.fromkeys(("predictions", "predictors"), "inference"),
    **dict.fromkeys(("checks", "consensus", "adjudications", "audits", "scorecards"), "qa"),
    **dict.fromkeys(("runs", "models"), "training"),
}
_RETRIED_STATUSES = frozenset({429, 502, 503, 504})
_FIRST_BACKOFF_S = 0.1
_LONGEST_WAIT_S = 30.0
_JSON = "application/json"
_BYTES = "application/octet-stream"


def path_of(*segments: str | int) -> str:
    """`/v1/...` of quoted segments. Raises ValueError for one that would change the path's meaning."""
    for segment in segments:
        if str(segment) in ("", ".", ".."):
            raise ValueError(f"{segment!r} can't be a part of a path: an id or a name was expected")
    return "/v1/" + "/".join(quote(str(segment), safe="") for segment in segments)


def command(model: type[C], **values: Any) -> C:
    """A checked request body. Raises Unprocessable, as the service would."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise refused_here(error) from error


class Connection:
    """Sends requests; see `TerrazzoClient` for the arguments. May be used by several threads."""

    def __init__(
        self,
        url: str,
        key: Key,
        *,
        urls: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._urls = {service: address.rstrip("/") for service, address in (urls or {}).items()}
        self._key = key
        self._retries = retries
        self._sleep = sleep
        self._http = httpx.Client(
            transport=transport, timeout=timeout_s, headers={"User-Agent": "terrazzo-client/0.1.0"}
        )

    def close(self) -> None:
        self._http.close()

    def address_of(self, path: str) -> str:
        """The full address of a path: its first segment decides the service."""
        segments = path.split("/")
        service = segments[3] if segments[2] == "ops" else SERVICE_OF_SEGMENT[segments[2]]
        return self._urls.get(service, self._url) + path

    def read(self, path: str, view: type[V], params: Mapping[str, Any] | None = None) -> V:
        return view.model_validate_json(self.content(path, params))

    def content(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        return self.send("GET", path, params=params).content

    def pages(self, path: str, page: type[Page[T]], params: Mapping[str, Any] | None = None) -> Iterator[T]:
        """Every item of a listing, fetched page by page as it is asked for."""
        cursor: str | None = None
        while True:
            found = self.read(path, page, {**(params or {}), "cursor": cursor})
            yield from found.items
            if found.next_cursor is None:
                return
            cursor = found.next_cursor

    def write(
        self,
        method: str,
        path: str,
        body: Command | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        """Send a command (None: without a body)."""
        content = None if body is None else body.model_dump_json().encode()
        return self.send(method, path, content=content, content_type=_JSON, idempotency_key=idempotency_key)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: Body | None = None,
        content_type: str = _BYTES,
        idempotency_key: str | None = None,
        is_long: bool = False,
    ) -> httpx.Response:
        """One request, tried again as the module's text says. Raises ApiError, NoAnswer.

        `is_long`: the answer comes when the work is done, however long that takes.
        """
        build = self._builder(method, path, params, content, content_type, idempotency_key, is_long)
        return self._try(build, stream=False)

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[httpx.Response]:
        """A response whose body is read as it comes. Raises ApiError, NoAnswer (also in the midst)."""
        response = self._try(self._builder("GET", path, params, None, _BYTES, None), stream=True)
        try:
            yield response
        except httpx.TransportError as error:
            raise NoAnswer(f"GET {path}: the answer broke off: {error}") from error
        finally:
            response.close()

    def download(
        self,
        path: str,
        to: Path,
        params: Mapping[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """Stream a response into the file `to`, which appears when it is complete, or not at all.

        A download that breaks off starts again, as often as a request is tried. `progress` is told the bytes
        so far.
        """
        partial = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}.part")
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            for attempt in range(self._retries + 1):
                try:
                    self._fill(partial, path, params, progress)
                    break
                except NoAnswer:
                    if attempt == self._retries:
                        raise
                    self._sleep(_backoff_s(attempt))
            partial.replace(to)
        finally:
            partial.unlink(missing_ok=True)
        return to

    def poll(self, ask: Callable[[], V], done: Callable[[V], bool], timeout_s: float, poll_s: float) -> V:
        """Ask again and again until `done`. Raises WaitedTooLong."""
        deadline = time.monotonic() + timeout_s
        while True:
            view = ask()
            if done(view):
                return view
            if time.monotonic() >= deadline:
                raise WaitedTooLong(f"not finished after {timeout_s:g} s: {view!r:.300}")
            self._sleep(poll_s)

    def _fill(
        self,
        partial: Path,
        path: str,
        params: Mapping[str, Any] | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        with self.stream(path, params) as response, partial.open("wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                if progress is not None:
                    progress(file.tell())
            file.flush()
            os.fsync(file.fileno())

    def _builder(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        content: Body | None,
        content_type: str,
        idempotency_key: str | None,
        is_long: bool = False,
    ) -> Callable[[], httpx.Request]:
        headers: dict[str, str] = {}
        if method != "GET":
            headers["Idempotency-Key"] = idempotency_key or uuid.uuid4().hex
        if content is not None:
            headers["Content-Type"] = content_type
        query = {name: value for name, value in (params or {}).items() if value is not None}

        usual = self._http.timeout
        timeout = httpx.Timeout(usual.connect, read=None, write=usual.write) if is_long else usual

        def build() -> httpx.Request:
            key = self._key if isinstance(self._key, str) else self._key()
            return self._http.build_request(
                method,
                self.address_of(path),
                params=query,
                content=content() if callable(content) else content,
                headers={**headers, "Authorization": f"Bearer {key}"},
                timeout=timeout,
            )

        return build

    def _try(self, build: Callable[[], httpx.Request], stream: bool) -> httpx.Response:
        attempt = 0
        while True:
            is_last = attempt >= self._retries
            request = build()
            try:
                response = self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                response.read()
            except httpx.TransportError as error:
                if is_last or isinstance(error, httpx.UnsupportedProtocol):
                    raise NoAnswer(f"{request.method} {request.url}: {error or type(error).__name__}") from error
                wait_s = _backoff_s(attempt)
            else:
                retry_after_s = _retry_after_s(response)
                is_worth_it = response.status_code in _RETRIED_STATUSES or retry_after_s is not None
                if is_last or not is_worth_it:
                    raise error_of(response, retry_after_s)
                wait_s = _backoff_s(attempt) if retry_after_s is None else min(retry_after_s, _LONGEST_WAIT_S)
            self._sleep(wait_s)
            attempt += 1


def _backoff_s(attempt: int) -> float:
    """Doubling waits with full jitter's upper half, so that many clients do not come back at once."""
    return min(_FIRST_BACKOFF_S * 2.0**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def _retry_after_s(response: httpx.Response) -> float | None:
    """The Retry-After header: seconds or an HTTP date (RFC 9110, 10.2.3); None when absent or unreadable."""
    text = response.headers.get("retry-after")
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
