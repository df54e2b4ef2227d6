"""The registry: a model version with its lineage, and which one a project uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ModelState = Literal["registered", "promoted", "retired"]


@dataclass(frozen=True)
class Model:
    """`eval_commit_id` is the dataset version whose held-out samples gave `metrics`; `weights_hash` the
    blob that a later run's `init_from` starts from; `parent_model_id` where this one's weights came from."""

    model_id: str
    organisation_id: str
    project_id: str
    run_id: str
    commit_id: str
    eval_commit_id: str
    parent_model_id: str | None
    model_name: str
    version: int
    arch: str
    seed: int
    config: dict[str, Any]
    code_version: str
    metrics: dict[str, Any]
    weights_hash: str
    state: ModelState
    created_at: datetime
    promoted_at: datetime | None = None
    sequence: int = 0

    @property
    def miou(self) -> float | None:
        value = self.metrics["miou"]
        return None if value is None else float(value)


@dataclass(frozen=True)
class Decision:
    promote: bool
    reason: str


def decide_promotion(candidate: Model, present: Model | None, only_if_better: bool) -> Decision:
    """Whether `candidate` becomes the project's model in place of `present`.

    Two figures compare only when they were measured on the same held-out samples.
    """
    if present is None:
        return Decision(True, "the project had no model")
    if not only_if_better:
        return Decision(True, f"asked for; it replaces version {present.version}")
    if candidate.eval_commit_id != present.eval_commit_id:
        return Decision(
            False,
            f"not comparable: evaluated on {candidate.eval_commit_id[:12]}, but version {present.version} on "
            f"{present.eval_commit_id[:12]}; train with the same eval_ref, or promote with only_if_better false",
        )
    if candidate.miou is None:
        return Decision(False, "it was evaluated on no held-out sample, so nothing says that it is better")
    if present.miou is None or candidate.miou > present.miou:
        before = "none" if present.miou is None else f"{present.miou:.4f}"
        return Decision(True, f"held-out mIoU {candidate.miou:.4f} after {before}")
    return Decision(
        False, f"held-out mIoU {candidate.miou:.4f} is not above version {present.version}'s {present.miou:.4f}"
    )


def read_metrics(document: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's metrics.json in the shape of `terrazzo_schema.rest.training.Metrics`.

    Raises KeyError, TypeError or ValueError for a file that the trainer did not write.
    """
    confusion = document["confusion"]
    return {
        "miou": document["miou"],
        "pixel_accuracy": document["pixel_accuracy"],
        "iou_per_class": {str(int(class_id)): iou for class_id, iou in document["iou_per_class"].items()},
        "miou_per_level": [level["miou"] for level in document["levels"]],
        "class_ids": [int(class_id) for class_id in confusion["class_ids"]],
        "confusion": [[int(pixels) for pixels in row] for row in confusion["matrix"]],
        "num_samples": int(document["num_images"]),
    }
