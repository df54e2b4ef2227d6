"""`terrazzo doctor`: is this machine and this system in order?"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, print_json
from terrazzo_runtime.settings import SERVICES, load_settings
from terrazzo_schema.errors import TerrazzoError

_PARTS = {
    "numpy": "masks",
    "cv2": "masks",
    "zstandard": "masks",
    "torch": "inference, training",
    "matplotlib": "report",
}


def doctor(
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Check Python, libraries, disk, settings and (when it runs) each service. Exit code 1 on a fault."""
    checks = [_check("python", _python), _check("settings", lambda: str(load_settings().preset))]
    checks += [_check(f"library {name}", lambda n=name, u=use: _library(n, u)) for name, use in _PARTS.items()]  # type: ignore[misc]
    checks.append(_check("disk", lambda: _disk(data_dir)))
    checks += _services(url, key, data_dir)
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            typer.echo(f"{'ok   ' if check['ok'] else 'FAULT'}  {check['name']}: {check['detail']}")
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


def _check(name: str, look: Callable[[], str]) -> dict[str, object]:
    try:
        return {"name": name, "ok": True, "detail": look()}
    except (TerrazzoError, RuntimeError, OSError) as error:
        return {"name": name, "ok": False, "detail": str(error)}


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _library(name: str, use: str) -> str:
    if importlib.util.find_spec(name) is None:
        raise RuntimeError(f"missing, needed for {use}: install terrazzo[all]")
    return f"present ({use})"


def _disk(data_dir: Path) -> str:
    folder = next(p for p in (data_dir.absolute(), *data_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if free < 2**30:
        raise RuntimeError(f"only {free / 2**20:.0f} MiB free at {folder}")
    return f"{free / 2**30:.0f} GiB free"


def _services(url: str | None, key: str | None, data_dir: Path) -> list[dict[str, object]]:
    from terrazzo_client.errors import RequestFailed

    try:
        client = connect(url, key, data_dir)
    except TerrazzoError:
        return [{"name": "system", "ok": True, "detail": "not running (start it with `terrazzo up`)"}]
    checks: list[dict[str, object]] = []
    with client:
        for service in SERVICES:
            try:
                health = client.ops.health(service)
            except RequestFailed as error:
                checks.append({"name": f"service {service}", "ok": False, "detail": str(error)})
                continue
            detail = f"{health.outbox_waiting} events waiting, {health.dead_letters} dead letters"
            checks.append({"name": f"service {service}", "ok": health.dead_letters == 0, "detail": detail})
    return checks
