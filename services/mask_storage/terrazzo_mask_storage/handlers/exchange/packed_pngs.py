"""Index PNGs of very many masks, pack by pack.

What a write added lies together: a pack of a megabyte has some five hundred small masks. It is read once, checked
as a whole by its address, and tiles are looked up in its own list: a tenth of the work of asking the database for
each tile and hashing its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from terrazzo_mask_storage.domain.packs import DamagedPack, Listed, Part, read_pack
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.caches import PackCache
from terrazzo_masks import manifest
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats.encoded_png import encoded_to_png
from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_schema.ids import content_hash

# Of fewer masks a pack is not worth being checked and listed.
_MANY = 16
_WHOLE = ("fast", "small")


class Together(NamedTuple):
    """Masks that lie in one pack."""

    pack: str
    entries: list[TreeEntry]


def together(entries: Sequence[TreeEntry], located: Mapping[str, Part]) -> tuple[list[Together], list[TreeEntry]]:
    """(masks of which many lie in one pack, the others)."""

    def pack_of(entry: TreeEntry) -> str:
        part = located.get(entry.mask_id)
        return "" if part is None else part.pack

    groups, others = [], []
    for pack, found in groupby(sorted(entries, key=pack_of), pack_of):
        members = list(found)
        if pack and len(members) >= _MANY:
            groups.append(Together(pack, members))
        else:
            others += members
    return groups, others


def pngs_of(packs: PackCache, group: Together) -> Iterator[tuple[TreeEntry, bytes | None]]:
    """Each mask's file. None: it has several tiles or none, they lie elsewhere, or something is damaged.

    Those are for a reader that says what is wrong. The bytes of the pack are checked against its address, and
    those of a map by the codec: where the two agree, the pixels are those that were stored.
    """
    try:
        data = packs.read(group.pack)
        listed = read_pack(data) if content_hash(data) == group.pack else []
    except (BlobNotFound, DamagedPack):
        data, listed = b"", []
    parts = {part.digest: part for part in listed}
    for entry in group.entries:
        yield entry, _png(entry.mask_id, data, parts)


def _png(mask_id: str, data: bytes, parts: Mapping[str, Listed]) -> bytes | None:
    node = parts.get(mask_id)
    if node is None or node.encoding != "raw":
        return None
    only = manifest.only_tile(data[node.offset : node.offset + node.size_bytes])
    if only is None:
        return None
    height, width, digest = only
    tile = parts.get(digest)
    if tile is None or tile.encoding not in _WHOLE:
        return None
    try:
        return encoded_to_png(data[tile.offset : tile.offset + tile.size_bytes], (height, width))
    except CorruptMask:
        return None
