"""The run's configuration: what is accepted, and how the rest is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.errors import ConfigError

Make = Callable[..., RunConfig]


def test_a_configuration_survives_json(make_config: Make, tmp_path: Path) -> None:
    config = make_config(max_seconds=60, init_from="weights.pt", learning_rate=1)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(config.to_dict()))
    assert RunConfig.load(path) == config
    assert config.learning_rate == 1.0


@pytest.mark.parametrize(
    ("fields", "field", "remedy"),
    [
        ({"learning_rate": 0}, "learning_rate", "between"),
        ({"batch_size": "8"}, "batch_size", "must be int"),
        ({"batch_size": True}, "batch_size", "must be int"),
        ({"max_seconds": "soon"}, "max_seconds", "float or null"),
        ({"crop_px": 100}, "crop_px", "multiple of 32"),
        ({"schedule": "linear"}, "schedule", "poly, cosine"),
        ({"lerning_rate": 0.1}, "lerning_rate", "spelling"),
        ({"run_id": ""}, "run_id", "empty"),
        ({"model_name": "../x"}, "model_name", "plain folder name"),
        ({"eval_overlap_px": 512, "eval_tile_px": 256}, "eval_overlap_px", "smaller"),
        ({"classes": "all"}, "classes", "list"),
        ({"classes": [{"id": 1, "name": "a"}]}, "classes", "at least two"),
        ({"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "classes", "once"),
        ({"classes": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]}, "classes.id", "65534"),
        (
            {"classes": [{"id": 1, "name": "a", "parent_id": 9}, {"id": 2, "name": "b"}]},
            "classes.parent_id",
            "no class",
        ),
        (
            {"classes": [{"id": 1, "name": "a", "parent_id": 2}, {"id": 2, "name": "b", "parent_id": 1}]},
            "classes.parent_id",
            "cycle",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_a_remedy(
    make_config: Make, fields: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(**fields)
    assert caught.value.field == field
    assert remedy in caught.value.remedy
    assert repr(caught.value.value) in str(caught.value)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match="run_id"):
        RunConfig.from_dict({"project_id": "p"})


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json"):
        RunConfig.load(path)


def test_the_digest_changes_with_what_decides_the_result_and_with_nothing_else(make_config: Make) -> None:
    config = make_config()
    assert make_config(num_workers=3, cache_mb=7, max_seconds=9).digest() == config.digest()
    assert make_config(learning_rate=1e-3).digest() != config.digest()
    assert make_config(commit_id="other").digest() != config.digest()
