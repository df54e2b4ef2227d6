"""Every format by its name in REST and CLI."""

from __future__ import annotations

from terrazzo_masks.formats import cityscapes, coco, index
from terrazzo_masks.formats.exchange import Format

FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in (index, coco, cityscapes)}
