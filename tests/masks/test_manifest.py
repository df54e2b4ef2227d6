"""The bytes of manifests: those of every release are read for ever, hostile ones are refused by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.manifest import ROOT_MAGIC, Manifest, only_tile
from terrazzo_masks.tiles import MemoryParts, blank, build, digest_of, digests_of, load, read, tile_digest

GOLDEN = Path(__file__).parent / "golden_manifests"


def leb(*numbers: int) -> bytes:
    """Numbers as docs/storage-format.md has them: seven bits a byte, lowest first."""
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


DIGEST = bytes(range(32))


def document(
    *,
    magic: bytes = b"TZM\x02",
    sizes: bytes = leb(10, 12, 8),
    table: bytes = leb(3, 0, 6, 292),
    kinds: bytes = bytes([0b0101]),
    uniform: bytes = leb(1, 2),
    digests: bytes = DIGEST + DIGEST[::-1],
    presence: bytes = bytes([0b011, 0b110]),
    pixels: bytes = leb(20, 3),
    tail: bytes = b"",
) -> bytes:
    """The bytes of a map of 10 x 12 in four tiles, of 64, 32, 16 and 8 pixels and the classes 0, 7 and 300.

    The first (0 and 7) and the third (7 and 300) are mixed; the second is of 7, the last of 300.
    """
    return b"".join((magic, sizes, table, kinds, uniform, digests, presence, pixels, tail))


def test_the_bytes_are_as_the_format_says() -> None:
    manifest = Manifest.from_bytes(document())
    assert manifest.to_bytes() == document()
    assert (manifest.height, manifest.width, manifest.tile_px, manifest.dtype) == (10, 12, 8, "uint16")
    assert manifest.counts == {0: 44, 7: 20 + 32 + 13, 300: 3 + 8}
    assert manifest.root.entry(0).counts == {0: 44, 7: 20}
    assert manifest.root.entry(2).digest == DIGEST[::-1]
    assert manifest.digest == digest_of(document())


def test_a_map_of_two_levels_is_written_as_the_format_says() -> None:
    """Worked out by hand: tiles of one pixel, nine columns, so that the root has two nodes below; one is mixed."""
    labels_HW = np.array([[5, 5, 5, 5, 6, 5, 5, 5, 9]], np.uint8)
    parts = MemoryParts()
    manifest = build(labels_HW, parts, tile_px=1)
    node = b"TZN\x02" + bytes([0, 0x07]) + leb(2, 5, 0) + bytes([0]) + leb(0, 0, 0, 0, 1, 0, 0, 0)
    assert parts.node(digests_of(manifest, parts).nodes[1]) == node
    assert manifest.to_bytes() == b"TZM\x02" + leb(1, 9, 1) + leb(3, 5, 0, 2) + bytes([1]) + leb(
        2
    ) + bytes.fromhex(digest_of(node)) + bytes([0b011]) + leb(1)


def test_the_address_of_a_tile_is_as_the_format_says() -> None:
    tile_HW = np.array([[1, 2, 3], [4, 5, 255]], np.uint16)
    assert tile_digest(tile_HW) == digest_of(b"TZT1" + bytes([2, 0, 0, 0, 3, 0, 0, 0, 1, 1, 2, 3, 4, 5, 255]))
    tile_HW[1, 2] = 256
    assert tile_digest(tile_HW) == digest_of(
        b"TZT1" + bytes([2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0, 1])
    )


def golden_maps() -> dict[str, tuple[LabelMap, int]]:
    """Maps and tile sizes whose stored form is kept in golden_manifests/."""
    y, x = np.mgrid[:60, :50]
    checks_HW = ((y // 8 + x // 6) % 5).astype(np.uint8)
    blot_HW = np.where((y - 30) ** 2 + (x - 25) ** 2 < 300, 40_000, 0).astype(np.uint16)
    return {"checks": (checks_HW, 4), "blot": (blot_HW, 2), "one_node": (checks_HW, 64)}


@pytest.mark.parametrize("name", ["checks", "blot", "one_node"])
def test_manifests_of_version_two_are_read_for_ever_and_keep_their_ids(name: str) -> None:
    """A change of these ids is a change of format: it takes a new version byte, and this one is read on."""
    labels_HW, tile_px = golden_maps()[name]
    kept = json.loads((GOLDEN / f"{name}.json").read_text())
    parts = Kept(kept)
    manifest = load(kept["mask_id"], parts)
    np.testing.assert_array_equal(read(manifest, parts), labels_HW)
    assert build(labels_HW, MemoryParts(), tile_px=tile_px).digest == kept["mask_id"]
    assert digests_of(manifest, parts) == (tuple(kept["nodes"]), tuple(kept["tiles"]))


class Kept(MemoryParts):
    """The parts in a golden file: nodes by digest, and tiles as their pixels."""

    def __init__(self, kept: dict[str, Any]) -> None:
        super().__init__()
        for data in kept["nodes"].values():
            self.put_node(bytes.fromhex(data))
        for pixels in kept["tiles"].values():
            self.put_tile(np.array(pixels, np.uint16))


HOSTILE = {
    "starts with": [b"", b"TZM", document(magic=b"TZM\x03"), b'{"format":"terrazzo-mask"}'],
    "manifest height": [
        document(sizes=leb(0, 12, 8)),
        document(sizes=leb(2**31, 12, 8)),
        document(sizes=b"\x8a\x00" + leb(12, 8)),
        document(sizes=b"\xff" * 100),
        b"TZM\x02",
        b"TZM\x02\x80",
    ],
    "manifest width": [document(sizes=leb(10, 0, 8)), document(sizes=leb(10, 2**62, 8))],
    "manifest tile_px": [document(sizes=leb(10, 12, 0)), document(sizes=leb(10, 12, 4097))],
    "classes: 1 to 65536": [
        document(table=leb(0)),
        document(table=leb(65_537)),
        document(table=leb(3, 0, 6, 70_000)),
        document(table=leb(3, 0, 65_000, 1_000)),
        document(table=leb(3, 0, 6, 2**62)),
    ],
    "classes: one of the table is in no child": [document(table=leb(4, 0, 6, 292, 0))],
    "number that is cut short or not in its shortest form": [
        document(table=leb(3, 0, 6) + b"\xa4\x82\x00"),
        document(table=leb(3, 0, 6) + b"\xff" * 200),
        document(uniform=b"\x81\x00" + leb(2)),
        document(pixels=leb(20)),
        document(pixels=leb(20) + b"\x83"),
        document(pixels=b""),
    ],
    "kinds": [document(kinds=bytes([0b10101])), document(kinds=bytes([0b10000101]))],
    "uniform": [document(uniform=leb(1, 3)), document(uniform=leb(200, 2))],
    "presence": [
        document(presence=bytes([0b001, 0b110])),
        document(presence=bytes([0b000, 0b110])),
        document(presence=bytes([0b1011, 0b110])),
    ],
    "pixels": [
        document(pixels=leb(0, 3)),
        document(pixels=leb(64, 3)),
        document(pixels=leb(20, 16)),
        document(pixels=leb(2**62, 3)),
    ],
    "cut short": [
        document(table=leb(65_536)),
        document(table=leb(200, 0, 6)),
        document(digests=DIGEST, presence=b"", pixels=b""),
        document()[:14],
    ],
    "bytes left over": [document(tail=b"\x00"), document() + document()],
}


@pytest.mark.parametrize(("field", "data"), [(field, data) for field, many in HOSTILE.items() for data in many])
def test_a_hostile_manifest_is_corrupt_and_its_field_named(field: str, data: bytes) -> None:
    with pytest.raises(CorruptMask, match=field):
        Manifest.from_bytes(data)


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_manifest_is_corrupt_or_says_exactly_what_it_is(data: st.DataObject) -> None:
    sound = document()
    place = data.draw(st.integers(0, len(sound) - 1))
    damaged = sound[:place] + data.draw(st.binary(max_size=3)) + sound[place + data.draw(st.integers(0, 3)) :]
    try:
        manifest = Manifest.from_bytes(damaged)
    except CorruptMask:
        return
    assert Manifest.of_root(manifest.root).to_bytes() == damaged
    assert sum(manifest.counts.values()) == manifest.height * manifest.width


@given(data=st.binary(max_size=300))
@settings(deadline=None, max_examples=300)
def test_anything_at_all_is_a_manifest_or_corrupt(data: bytes) -> None:
    try:
        manifest = Manifest.from_bytes(b"TZM\x02" + leb(10, 12, 8) + data)
    except CorruptMask:
        return
    assert Manifest.of_root(manifest.root).to_bytes() == manifest.to_bytes()


def test_a_node_of_ever_so_many_classes_survives(parts) -> None:
    labels_HW = np.arange(65_536).astype(np.uint16).reshape(256, 256)
    manifest = build(labels_HW, parts, tile_px=128)
    assert len(manifest.counts) == 65_536
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def test_the_one_tile_of_a_map_is_found_without_reading_the_rest_and_no_bytes_hang_it() -> None:
    labels_HW = np.zeros((40, 60), np.uint8)
    labels_HW[3:9, 5:] = 7
    single = build(labels_HW, MemoryParts())
    assert only_tile(single.data) == (40, 60, single.root.digest_of_child(0))
    uniform = blank(40, 60, MemoryParts())
    several = build(labels_HW, MemoryParts(), tile_px=16)
    for data in (uniform.data, several.data, b"", ROOT_MAGIC, b"x" + single.data[1:]):
        assert only_tile(data) is None
    assert all(only_tile(single.data[:end]) is None for end in range(len(ROOT_MAGIC) + 30))
    assert only_tile(ROOT_MAGIC + leb(1, 1, 1, 2**62)) is None
