"""Settings: one frozen value, made once at start and passed down. No module reads the environment later.

Each field can be set by the environment variable `TERRAZZO_<FIELD>`; docs/settings.md lists them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrazzo_schema.errors import BadRequest

SERVICES = ("task", "mask_storage", "inference", "qa", "training")


class Settings(BaseModel):
    """Every setting, with its default in the embedded preset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["embedded"] = Field("embedded", description="which set of adapters is used")
    data_dir: Path = Field(Path("terrazzo-data"), description="where databases, blobs and models live")
    host: str = Field("127.0.0.1", description="address that the server listens on")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8470, description="port; 0 takes a free one")
    url: str | None = Field(
        None, description="address at which services reach each other; null: own host and port"
    )
    service_urls: dict[str, str] = Field(
        default_factory=dict, description="JSON: service name -> address, where they run apart"
    )
    model_repository: Path | None = Field(None, description="model repository; null: models/ in data_dir")
    max_image_bytes: int = Field(256 * 2**20, ge=1, description="largest image file that is taken, bytes")
    max_image_pixels: int = Field(400_000_000, ge=1, description="largest image that is decoded, pixels")
    max_mask_pixels: int = Field(2**40, ge=1, description="largest blank mask that is made, pixels")
    max_body_bytes: int = Field(512 * 2**20, ge=1, description="largest request body, bytes")
    max_archive_bytes: int = Field(
        64 * 2**30, ge=1, description="largest archive that is imported, bytes; it lies in a temporary file"
    )
    repack_after_s: int = Field(
        600, ge=0, description="age at which what was stored fast is packed small in the background, seconds"
    )
    gc_grace_hours: int = Field(
        24, ge=1, description="how long a pack that nothing refers to is kept; no write may take longer, hours"
    )
    gc_every_hours: int = Field(
        6, ge=0, description="how often unreferenced packs are looked for; 0: only when asked, hours"
    )
    bus_duplicate_share: float = Field(
        0.0,
        ge=0.0,
        le=0.9,
        description="share of events that the in-process bus delivers twice, to prove the inbox",
    )
    bus_seed: int = Field(0, ge=0, description="seed of the in-process bus's order across keys")
    consumer_attempts: int = Field(8, ge=1, description="tries before an event is parked as a dead letter")
    consumer_backoff_s: float = Field(
        0.05, gt=0, description="wait before the second try; doubles each time, seconds"
    )
    inbox_keep_days: int = Field(30, ge=1, description="how long handled event ids are remembered, days")
    gate_functions: dict[str, str] = Field(
        default_factory=dict,
        description="JSON: name -> module:function, custom gates beside the entry points of terrazzo.gates",
    )
    inference_threads: int = Field(0, ge=0, description="CPU threads of the in-process runtime; 0: all cores")
    training_threads: int = Field(0, ge=0, description="CPU threads of a local training run; 0: all cores")
    training_processes: int = Field(1, ge=1, description="processes of a local training run (torchrun)")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="what is logged")

    @property
    def models_dir(self) -> Path:
        return self.model_repository or self.data_dir / "models"

    def url_of(self, service: str) -> str:
        """Where `service` answers."""
        return self.service_urls.get(service) or self.url or f"http://{self.host}:{self.port}"


def load_settings(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Settings from the environment, then `overrides` (None means: not given). Raises BadRequest."""
    import json

    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for name in Settings.model_fields:
        text = environment.get(f"TERRAZZO_{name.upper()}")
        if text is not None:
            try:
                values[name] = json.loads(text) if name in ("service_urls", "gate_functions") else text
            except json.JSONDecodeError as error:
                raise BadRequest(
                    f"TERRAZZO_{name.upper()} is not JSON: {error}", field=name, value=text
                ) from error
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadRequest(
            f"setting {name}: {first['msg']}", field=name, value=first.get("input"), remedy="see docs/settings.md"
        ) from error
    # Other processes (a training run) are given these paths, and stand elsewhere.
    repository = settings.model_repository and settings.model_repository.absolute()
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute(), "model_repository": repository})
