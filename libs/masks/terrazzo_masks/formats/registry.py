"""Every format by its name in REST and CLI."""

from __future__ import annotations

from terrazzo_masks.formats import (
    ade20k,
    camvid,
    cityscapes,
    coco,
    coco_panoptic,
    coco_polygons,
    cvat,
    datumaro_json,
    geotiff,
    index,
    label_studio,
    nifti,
    voc,
    webdataset,
    yolo,
)
from terrazzo_masks.formats.exchange import Format

_ALL = (
    index.FORMAT,
    voc.FORMAT,
    cityscapes.FORMAT,
    camvid.FORMAT,
    ade20k.FORMAT,
    ade20k.FULL,
    geotiff.FORMAT,
    nifti.FORMAT,
    webdataset.FORMAT,
    coco.FORMAT,
    coco_polygons.FORMAT,
    coco_panoptic.FORMAT,
    yolo.FORMAT,
    datumaro_json.FORMAT,
    cvat.FORMAT,
    label_studio.FORMAT,
)
FORMATS: dict[str, Format] = {one.name: one for one in _ALL}
