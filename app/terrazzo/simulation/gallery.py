"""Label maps and heat maps as small pictures: what the report shows side by side.

Axes: H rows, W columns, C = R, G, B.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap

UNLABELLED_RGB = (120, 120, 120)


@dataclass(frozen=True)
class GalleryItem:
    """One sample of the report's gallery; all arrays have the image's height and width.

    `image_HWC` uint8 RGB; label maps hold class ids, 0 = unlabelled; `annotators` are (name, label map);
    `disagreement_HW` uint8, share of votes against the consensus times 255.
    """

    sample_id: str
    name: str
    round: int
    image_HWC: NDArray[np.uint8]
    consensus_HW: LabelMap
    annotators: Sequence[tuple[str, LabelMap]] = ()
    proposal_HW: LabelMap | None = None
    disagreement_HW: NDArray[np.uint8] | None = None
    truth_HW: LabelMap | None = None


class Tile(NamedTuple):
    """A captioned picture; `pixelated` pictures must not be smoothed when enlarged."""

    caption: str
    image_HWC: NDArray[np.uint8]
    pixelated: bool


def palette(classes: Sequence[Mapping[str, Any]]) -> NDArray[np.uint8]:
    """Colours (65536, 3) uint8 by class id from the summary's classes; others are grey."""
    table = np.full((65536, 3), UNLABELLED_RGB, np.uint8)
    for entry in classes:
        table[int(entry["id"])] = tuple(bytes.fromhex(str(entry["color"]).removeprefix("#")))
    return table


def tiles(item: GalleryItem, colours: NDArray[np.uint8], side_px: int) -> list[Tile]:
    """Image, proposal, annotators, disagreement, consensus, truth, each at most `side_px` on its longer side."""
    image_HWC = _shrink(item.image_HWC, side_px, smooth=True)
    row = [Tile("image", image_HWC, False)]
    if item.proposal_HW is not None:
        row.append(Tile("proposal", colours[_shrink_labels(item.proposal_HW, side_px)], True))
    row += [Tile(name, colours[_shrink_labels(labels_HW, side_px)], True) for name, labels_HW in item.annotators]
    if item.disagreement_HW is not None:
        row.append(Tile("disagreement", heat(image_HWC, _shrink(item.disagreement_HW, side_px)), True))
    accepted = "consensus" if len(item.annotators) > 1 else "accepted"
    row.append(Tile(accepted, colours[_shrink_labels(item.consensus_HW, side_px)], True))
    if item.truth_HW is not None:
        row.append(Tile("truth", colours[_shrink_labels(item.truth_HW, side_px)], True))
    return row


def heat(image_HWC: NDArray[np.uint8], disagreement_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Disagreement (H, W) uint8 0..255 as yellow to red over the darkened grey image."""
    import matplotlib as mpl

    grey_HW1 = image_HWC.mean(axis=2, keepdims=True) * 0.35
    share_HW = disagreement_HW.astype(np.float32) / 255
    colour_HWC = mpl.colormaps["inferno"](0.35 + 0.65 * share_HW)[..., :3] * 255
    weight_HW1 = np.where(share_HW > 0, 0.55 + 0.45 * share_HW, 0)[..., None]
    return np.asarray(grey_HW1 * (1 - weight_HW1) + colour_HWC * weight_HW1).astype(np.uint8)


def data_uri(tile: Tile) -> str:
    """A PNG data URI for masks (few colours), a JPEG one for photographs."""
    from PIL import Image

    image, buffer = Image.fromarray(tile.image_HWC), io.BytesIO()
    if tile.pixelated:
        colours = image.getcolors(256)
        image = image if colours is None else image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=82)
    kind = "png" if tile.pixelated else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _shrink_labels(labels_HW: LabelMap, side_px: int) -> LabelMap:
    """A label map by a whole factor smaller, its longer side at most `side_px`, thin classes still visible."""
    from terrazzo_masks.formats import downsample_mode

    return downsample_mode(labels_HW, -(-max(labels_HW.shape) // side_px))


def _shrink(array: NDArray[Any], side_px: int, *, smooth: bool = False) -> NDArray[Any]:
    """Shrink (H, W) or (H, W, C) to at most `side_px` on its longer side; values are picked unless `smooth`."""
    height, width = array.shape[:2]
    factor = min(1.0, side_px / max(height, width))
    if factor == 1.0:
        return array
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    if smooth:
        from PIL import Image

        return np.asarray(Image.fromarray(array).resize((columns, rows), Image.Resampling.LANCZOS))
    rows_H1, columns_1W = np.arange(rows)[:, None] * height // rows, np.arange(columns)[None, :] * width // columns
    return np.asarray(array[rows_H1, columns_1W])
