"""The id of a sample: a pure function of its image, so that domain code may ask for it."""

from __future__ import annotations


def sample_id_of(image_hash: str) -> str:
    """The id of the sample that shows this image: the same in every project, so splits never move."""
    return "smp_" + image_hash[:24]
