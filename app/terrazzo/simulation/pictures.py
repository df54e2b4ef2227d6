"""Collects, over REST, the pictures that the report shows side by side."""

from __future__ import annotations

import io

import numpy as np

from terrazzo.simulation.gallery import GalleryItem
from terrazzo.simulation.reference_world import World
from terrazzo.simulation.rounds import RoundResult
from terrazzo_client import TerrazzoClient

_PER_ROUND = 2


def gallery_of(
    client: TerrazzoClient, project_id: str, world: World, names: dict[str, str], results: list[RoundResult]
) -> list[GalleryItem]:
    """From each round the samples with several annotators that were disputed most."""
    items = []
    for result in results:
        several = [c for c in result.consensus if c.num_votes > 1]
        for view in sorted(several, key=lambda c: (c.agreement, c.sample_id))[:_PER_ROUND]:
            voted = set(view.submission_ids)
            votes = [w for w in result.works if w.submission.submission_id in voted and w.labels_HW is not None]
            proposal = votes[0].task.proposal if votes else None
            items.append(
                GalleryItem(
                    sample_id=view.sample_id,
                    name=names[view.sample_id],
                    round=result.index,
                    image_HWC=_image(world, names[view.sample_id]),
                    consensus_HW=client.masks.labels(project_id, view.mask_id).astype(np.uint16),
                    annotators=[(w.person, w.labels_HW) for w in votes if w.labels_HW is not None],
                    proposal_HW=(
                        client.masks.labels(project_id, proposal.mask_id).astype(np.uint16) if proposal else None
                    ),
                    disagreement_HW=_grey(client.consensus.map(project_id, view.task_id, "disagreement")),
                    truth_HW=world.truth(names[view.sample_id]),
                )
            )
    return items


def _image(world: World, name: str) -> np.ndarray:
    from PIL import Image

    with Image.open(world.pairs[name].image_path) as image:
        return np.asarray(image.convert("RGB"))


def _grey(png: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"))
