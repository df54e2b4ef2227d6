"""Index PNGs of very many masks, pack by pack.

What a write added lies together: a pack of a megabyte has some five hundred small masks. It is read once, checked
as a whole by its address, and tiles are looked up in its own list: far less work than asking the database for each
tile and hashing its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from terrazzo_mask_storage.domain.packs import DamagedPack, Listed, Part, num_parts_of, read_pack
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.caches import PackCache
from terrazzo_masks import manifest
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats.encoded_png import encoded_to_png
from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_schema.ids import content_hash

# The share of a pack's parts that masks must be for it to be worth being checked and listed: to list a part takes
# a small part of the time by which a mask that is read the other way takes longer.
_SHARE = 1 / 16
_WHOLE = ("fast", "small")


def pngs_of(
    packs: PackCache, entries: Sequence[TreeEntry], located: Mapping[str, Part]
) -> Iterator[tuple[TreeEntry, bytes | None]]:
    """The file of each mask, in the order in which they lie; `located` says of each manifest where that is.

    None for a mask of several tiles or of none, whose parts do not lie together or are patches, and where anything
    is damaged: for a reader that asks for each part, and says what is wrong. The bytes of a pack are checked
    against its address, and those of a map by the codec: where both are right, the pixels are those that were
    stored.
    """

    def pack_of(entry: TreeEntry) -> str:
        part = located.get(entry.mask_id)
        return "" if part is None else part.pack

    for pack, found in groupby(sorted(entries, key=pack_of), pack_of):
        members = list(found)
        data, parts = _listed(packs, pack, len(members))
        for entry in members:
            yield entry, _png(entry.mask_id, data, parts)


def _listed(packs: PackCache, pack: str, num_masks: int) -> tuple[bytes, dict[str, Listed]]:
    """A pack and what is in it, if it is sound and worth it."""
    try:
        data = packs.read(pack)
        if num_masks >= _SHARE * num_parts_of(data) and content_hash(data) == pack:
            return data, {part.digest: part for part in read_pack(data)}
    except (BlobNotFound, DamagedPack):
        pass  # the other reader says so
    return b"", {}


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
