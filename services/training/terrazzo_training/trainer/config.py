"""The configuration of one run: everything that, with the data, decides the result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrazzo_training.trainer.errors import ConfigError

# Fields that change where or how fast a run goes, but not its result.
_WITHOUT_EFFECT_ON_THE_RESULT = frozenset(
    {"num_workers", "num_threads", "cache_mb", "max_seconds", "checkpoint_every_steps", "repository",
     "eval_tile_px", "eval_overlap_px", "eval_commit_id", "model_version"}
)  # fmt: skip

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("poly", "cosine"),
    "class_weighting": ("none", "sqrt_median_frequency", "median_frequency", "enet"),
    "amp": ("auto", "off", "bf16", "fp16"),
    "dtype": ("float32", "float64"),
    "orientation": ("upright", "any"),
}

# field -> (smallest, largest), both allowed
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "epochs": (1, 1_000_000),
    "steps_per_epoch": (1, 10_000_000),
    "batch_size": (1, 4096),
    "crop_px": (32, 4096),
    "learning_rate": (1e-8, 10.0),
    "warmup_steps": (0, 1_000_000),
    "weight_decay": (0.0, 1.0),
    "grad_clip_norm": (1e-6, 1e6),
    "ema_decay": (0.0, 0.99999),
    "scale_min": (0.1, 1.0),
    "scale_max": (1.0, 10.0),
    "colour_jitter": (0.0, 1.0),
    "class_crop_share": (0.0, 1.0),
    "held_out_percent": (0, 90),
    "num_workers": (0, 256),
    "num_threads": (1, 1024),
    "cache_mb": (1, 1_000_000),
    "max_seconds": (1.0, 1e9),
    "checkpoint_every_steps": (1, 10_000_000),
    "eval_tile_px": (64, 8192),
    "eval_overlap_px": (0, 4096),
    "model_version": (1, 2**31 - 1),
}


@dataclass(frozen=True)
class ClassSpec:
    """One class of the ontology: ``id`` 1..65534, unique ``name``, ``parent_id`` or None for a root."""

    id: int
    name: str
    parent_id: int | None = None


@dataclass(frozen=True)
class RunConfig:
    """One training run, as JSON in ``RUN.json``.

    Steps in all = ``epochs`` x ``steps_per_epoch``; without the latter an epoch is one pass over the
    training samples. ``batch_size`` counts the crops of one step over *all* processes, so that the
    number of processes changes the time and not the result. The learning rate rises linearly over
    ``warmup_steps`` and then falls to zero (``poly``: (1 - t)^0.9, DeepLab; ``cosine``: Loshchilov &
    Hutter 2017).

    Raises:
        ConfigError: from ``from_dict``, ``load`` and ``validated``, naming field, value and remedy.
    """

    run_id: str
    project_id: str
    commit_id: str
    classes: tuple[ClassSpec, ...]
    eval_commit_id: str | None = None  # None: the held-out samples of commit_id
    seed: int = 0
    arch: str = "unet_small"
    epochs: int = 10
    steps_per_epoch: int | None = 50
    batch_size: int = 4
    crop_px: int = 128
    learning_rate: float = 2e-3
    warmup_steps: int = 30
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    schedule: str = "poly"
    grad_clip_norm: float = 5.0
    class_weighting: str = "sqrt_median_frequency"
    calibrate: bool = True  # how strongly rare classes are favoured is set for mIoU; see calibrate.py
    ema_decay: float = 0.0  # 0: no moving average of the weights
    amp: str = "auto"
    dtype: str = "float32"
    channels_last: bool = True
    orientation: str = "upright"  # "any": also flips vertically and turns by 90 degrees
    scale_min: float = 0.5  # half: a crop of 128 px sees what is around in 256 px of the image
    scale_max: float = 1.25
    colour_jitter: float = 0.3
    class_crop_share: float = 0.5  # share of crops centred on a pixel of a class drawn evenly
    held_out_percent: int = 20
    num_workers: int = 1
    num_threads: int | None = None
    cache_mb: int = 1024
    init_from: str | None = None
    max_seconds: float | None = None
    checkpoint_every_steps: int = 100
    eval_tile_px: int = 256
    eval_overlap_px: int = 64
    model_name: str = "segmenter"
    model_version: int = 1
    repository: str | None = None  # None: OUT/repository

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Read and check a configuration file.

        Raises:
            ConfigError: the file cannot be read, is not a JSON object, or a field is wrong.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError("config", str(path), f"must be a readable JSON file ({error})") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: object) -> RunConfig:
        """Build from a decoded JSON object and check every field.

        Raises:
            ConfigError: a field is unknown, missing, of another type or out of range.
        """
        if not isinstance(data, dict):
            raise ConfigError("config", type(data).__name__, "must be a JSON object")
        known = {f.name: f for f in dataclasses.fields(cls)}
        for name in data:
            if name not in known:
                raise ConfigError(str(name), data[name], "is no field of a run; remove it or check its spelling")
        for name, spec in known.items():
            if spec.default is dataclasses.MISSING and name not in data:
                raise ConfigError(name, None, "is required")
        values = dict(data)
        values["classes"] = _classes(data["classes"])
        hints = typing.get_type_hints(cls)
        for name in data:
            if name != "classes":
                values[name] = _typed(name, data[name], hints[name])
        return cls(**values).validated()

    def validated(self) -> RunConfig:
        """Return self when every field is in range, else raise ConfigError."""
        for name in ("run_id", "project_id", "commit_id", "model_name", "arch"):
            if not getattr(self, name):
                raise ConfigError(name, getattr(self, name), "must not be empty")
        if "/" in self.model_name or self.model_name.startswith("."):
            raise ConfigError("model_name", self.model_name, "must be a plain folder name")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(name, getattr(self, name), f"must be one of {', '.join(allowed)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(name, value, f"must be between {low:g} and {high:g}")
        for name in ("crop_px", "eval_tile_px"):
            if getattr(self, name) % 32:
                raise ConfigError(name, getattr(self, name), "must be a multiple of 32, the networks' stride")
        if self.eval_overlap_px >= self.eval_tile_px:
            raise ConfigError("eval_overlap_px", self.eval_overlap_px, "must be smaller than eval_tile_px")
        _check_tree(self.classes)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict that ``from_dict`` reads back to an equal value."""
        data = dataclasses.asdict(self)
        data["classes"] = [dataclasses.asdict(c) for c in self.classes]
        return data

    def digest(self) -> str:
        """Return a hash over the fields that decide the result: the same digest may share a checkpoint."""
        data = {k: v for k, v in self.to_dict().items() if k not in _WITHOUT_EFFECT_ON_THE_RESULT}
        return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=16).hexdigest()


def _typed(name: str, value: object, hint: object) -> object:
    """Check a JSON value against a field's type; an int is also a float, a bool is no number."""
    accepted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in accepted:
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
    names = " or ".join(
        "null" if kind is types.NoneType else str(getattr(kind, "__name__", kind)) for kind in accepted
    )
    raise ConfigError(name, value, f"must be {names}")


def _classes(value: object) -> tuple[ClassSpec, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError("classes", value, "must be a list of {id, name, parent_id}")
    specs = []
    for index, item in enumerate(value):
        where = f"classes[{index}]"
        if isinstance(item, ClassSpec):
            specs.append(item)
            continue
        if not isinstance(item, Mapping):
            raise ConfigError(where, item, "must be an object {id, name, parent_id}")
        parent = item.get("parent_id")
        if not isinstance(item.get("id"), int) or not isinstance(item.get("name"), str):
            raise ConfigError(where, dict(item), "needs an integer id and a name")
        if parent is not None and not isinstance(parent, int):
            raise ConfigError(f"{where}.parent_id", parent, "must be a class id or null")
        specs.append(ClassSpec(id=item["id"], name=item["name"], parent_id=parent))
    return tuple(specs)


def _check_tree(classes: tuple[ClassSpec, ...]) -> None:
    parents = {c.id: c.parent_id for c in classes}
    if len(parents) != len(classes):
        raise ConfigError("classes", [c.id for c in classes], "every id must be there once")
    for spec in classes:
        if not 1 <= spec.id <= 65534:
            raise ConfigError("classes.id", spec.id, "must be between 1 and 65534 (0 is unlabelled)")
        if spec.parent_id is not None and spec.parent_id not in parents:
            raise ConfigError("classes.parent_id", spec.parent_id, f"is no class of the list (class {spec.id})")
        seen = {spec.id}
        ancestor = spec.parent_id
        while ancestor is not None:
            if ancestor in seen:
                raise ConfigError("classes.parent_id", ancestor, f"makes a cycle through class {spec.id}")
            seen.add(ancestor)
            ancestor = parents[ancestor]
    leaves = set(parents) - {p for p in parents.values() if p is not None}
    if len(leaves) < 2:
        raise ConfigError("classes", sorted(parents), "needs at least two classes without children to tell apart")
