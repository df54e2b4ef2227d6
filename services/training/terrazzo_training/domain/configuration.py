"""From a request's `config` to the trainer's whole configuration, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from terrazzo_schema.errors import Unprocessable
from terrazzo_schema.ontology import Ontology, parse_ontology
from terrazzo_training.domain.project import Project
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.errors import ConfigError

SET_BY_SERVICE = frozenset(
    {
        "run_id", "project_id", "commit_id", "eval_commit_id", "classes", "seed", "init_from",
        "held_out_percent", "repository", "model_name", "model_version",
    }
)  # fmt: skip
_ARCH = re.compile(r"^[A-Za-z0-9_.+:-]{1,100}$")
_NOT_RESOLVED = "0" * 64


def model_name_of(project_id: str) -> str:
    """The project's name in the model repository."""
    return f"seg-{project_id}"


def trainer_settings(run_id: str, project: Project, seed: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's configuration (JSON-ready, without the commits) for a run of `project`.

    Raises Unprocessable that names the entry of `config`, its value and the remedy.
    """
    for name in config:
        if name in SET_BY_SERVICE:
            raise Unprocessable(
                f"config.{name} is set by Terrazzo",
                field=f"config.{name}",
                value=_printable(config[name]),
                remedy="leave it out; seed, ref, eval_ref and init_from are fields of the run",
            )
    arch = config.get("arch", "unet_small")
    if not isinstance(arch, str) or not _ARCH.match(arch):
        raise Unprocessable(
            "config.arch is no architecture's name",
            field="config.arch",
            value=_printable(arch),
            remedy="for example fast_scnn, unet_small or smp:Unet:resnet18",
        )
    document = {
        **config,
        "run_id": run_id,
        "project_id": project.project_id,
        "commit_id": _NOT_RESOLVED,
        "seed": seed,
        "held_out_percent": project.held_out_percent,
        "model_name": model_name_of(project.project_id),
        "classes": _classes(parse_ontology(project.ontology_json)),
    }
    try:
        return RunConfig.from_dict(document).to_dict()
    except ConfigError as error:
        raise Unprocessable(
            _printable(error),
            field=_printable(f"config.{error.field}" if error.field in config else error.field),
            value=_printable(error.value),
            remedy=_printable(error.remedy),
        ) from error


def _classes(ontology: Ontology) -> list[dict[str, Any]]:
    """The classes of the ontology's first layer: one label map, one model."""
    layer = ontology.classes[0].layer
    return [{"id": c.id, "name": c.name, "parent_id": c.parent_id} for c in ontology if c.layer == layer]


def _printable(value: object) -> str:
    """Text that can be sent: a lone surrogate from the request's JSON can't."""
    return str(value).encode("utf-8", "replace").decode()
