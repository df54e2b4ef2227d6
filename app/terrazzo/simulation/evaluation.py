"""The final evaluation: masks against the truth. Nothing in the loop sees these figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from terrazzo.simulation.people import Work
from terrazzo.simulation.reference_world import World
from terrazzo.simulation.rounds import RoundResult
from terrazzo_client import TerrazzoClient
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.measures import confusion, iou


def mask_iou(truth_HW: LabelMap, mask_HW: LabelMap, class_ids: Sequence[int]) -> float:
    """Mean IoU over the classes that occur in either; pixels without a true label are left out."""
    per_class = iou(confusion(truth_HW, mask_HW.astype(truth_HW.dtype), list(class_ids)))
    return float(np.nanmean(per_class)) if np.isfinite(per_class).any() else float("nan")


@dataclass(frozen=True)
class AgreementWithTruth:
    """Over the samples with several annotators: the consensus, and the mean of its single annotators."""

    num_samples: int
    consensus_iou: float | None
    single_iou: float | None
    agreement: float | None


def several_against_truth(
    client: TerrazzoClient, project_id: str, world: World, names: dict[str, str], result: RoundResult
) -> AgreementWithTruth:
    class_ids = world.ontology.ids
    together: list[float] = []
    alone: list[float] = []
    agreements: list[float] = []
    for view in result.consensus:
        if view.num_votes < 2:
            continue
        truth_HW = world.truth(names[view.sample_id])
        labels_HW = client.masks.labels(project_id, view.mask_id).astype(np.uint16)
        together.append(mask_iou(truth_HW, labels_HW, class_ids))
        voted = set(view.submission_ids)
        votes = [w for w in result.works if w.submission.submission_id in voted and w.labels_HW is not None]
        alone.append(float(np.mean([mask_iou(truth_HW, w.labels_HW, class_ids) for w in votes])))  # type: ignore[arg-type]
        agreements.append(view.agreement)
    return AgreementWithTruth(len(together), _mean(together), _mean(alone), _mean(agreements))


def single_against_truth(world: World, names: dict[str, str], works: Sequence[Work]) -> float | None:
    """Mean IoU with the truth of one person's annotations."""
    return _mean(
        [
            mask_iou(world.truth(names[w.task.sample_id]), w.labels_HW, world.ontology.ids)
            for w in works
            if w.task.kind == "annotate" and w.labels_HW is not None
        ]
    )


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None
