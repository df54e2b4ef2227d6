"""The store in memory, and what every store is given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.errors import MissingPart
from terrazzo_masks.labels import LabelMap, class_pixels
from terrazzo_masks.parts import CHAIN_MAX, MemoryParts, digest_of, tile_digest
from terrazzo_masks.tiles import build, paint, read


@given(
    tile_HW=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
        elements=st.integers(0, 255),
    )
)
@settings(deadline=None, max_examples=50)
def test_a_tile_comes_back_by_an_address_that_knows_its_pixels_alone(tile_HW: LabelMap) -> None:
    small, fast = MemoryParts("small"), MemoryParts("fast")
    digest = small.put_tile(np.asfortranarray(tile_HW))
    assert digest == fast.put_tile(tile_HW.astype(np.uint16)) == tile_digest(tile_HW)
    for parts in (small, fast):
        assert parts.tile(digest).dtype == np.uint8
        np.testing.assert_array_equal(parts.tile(digest), tile_HW)
    ids, pixels = np.unique(tile_HW, return_counts=True)
    found = class_pixels(tile_HW)
    np.testing.assert_array_equal(found[0], ids)
    np.testing.assert_array_equal(found[1], pixels)


def test_tiles_of_other_shapes_with_the_same_bytes_have_other_addresses() -> None:
    row_HW = np.arange(12, dtype=np.uint8).reshape(1, 12)
    assert len({tile_digest(row_HW.reshape(shape)) for shape in ((1, 12), (12, 1), (3, 4), (4, 3))}) == 4
    wide_HW = row_HW.view(np.uint16) + np.uint16(256)
    assert tile_digest(wide_HW) != tile_digest(wide_HW.view(np.uint8))


@pytest.mark.parametrize("profile", ["fast", "small"])
def test_stroke_upon_stroke_is_kept_as_patches_and_every_version_is_read(profile: str, scenes) -> None:
    parts = MemoryParts(profile, num_decoded=0)
    labels_HW = scenes.traced(scenes.discs(256, 256), 2.0)
    manifest = build(labels_HW, parts)
    whole_bytes = parts.num_bytes
    versions = [(manifest, labels_HW)]
    for i in range(3 * CHAIN_MAX):
        labels_HW = labels_HW.copy()
        labels_HW[8 * i : 8 * i + 12, 20:60] = 7
        manifest = paint(manifest, labels_HW[8 * i : 8 * i + 12, 20:60], 8 * i, 20, parts)
        versions.append((manifest, labels_HW))
    # Of the strokes, each alone: a patch of the tile, and a root whose digest is new.
    assert (parts.num_bytes - whole_bytes) / (3 * CHAIN_MAX) < 0.5 * whole_bytes
    for manifest, expected_HW in versions:
        np.testing.assert_array_equal(read(manifest, parts), expected_HW)
    depths = [kept.depth for kept in parts._tiles.values()]
    assert max(depths) == CHAIN_MAX


def test_a_tile_that_is_nothing_like_its_base_is_kept_whole(scenes) -> None:
    parts = MemoryParts()
    old_HW = scenes.discs(64, 64)
    new_HW = scenes.spam(old_HW)
    base = parts.put_tile(old_HW)
    before = parts.num_bytes
    digest = parts.put_tile(new_HW, base)
    alone = MemoryParts()
    alone.put_tile(new_HW)
    assert parts.num_bytes - before <= alone.num_bytes
    np.testing.assert_array_equal(parts.tile(digest), new_HW)


def test_a_base_that_is_not_there_does_no_harm() -> None:
    parts = MemoryParts()
    tile_HW = np.eye(8, dtype=np.uint8)
    np.testing.assert_array_equal(parts.tile(parts.put_tile(tile_HW, "0" * 64)), tile_HW)
    assert parts.node(parts.put_node(b"some bytes", "0" * 64)) == b"some bytes"
    assert parts.put_node(b"some bytes") == digest_of(b"some bytes")


def test_what_is_known_already_is_kept_once() -> None:
    parts = MemoryParts()
    for _ in range(3):
        parts.put_tile(np.eye(8, dtype=np.uint8))
        parts.put_node(b"some bytes")
    once = parts.num_bytes
    parts.put_tile(np.eye(8, dtype=np.uint16))
    assert parts.num_bytes == once
    assert parts.num_puts == 7


def test_a_decoded_tile_is_not_written_to_by_accident() -> None:
    parts = MemoryParts()
    tile_HW = parts.tile(parts.put_tile(np.eye(8, dtype=np.uint8)))
    with pytest.raises(ValueError, match="read-only"):
        tile_HW[0, 0] = 5


def test_an_unknown_digest_is_named() -> None:
    with pytest.raises(MissingPart, match="abc"):
        MemoryParts().node("abc")
    with pytest.raises(MissingPart, match="abc"):
        MemoryParts().tile("abc")


WARMED = """
import numpy as np
from terrazzo_masks import diff, kernels, merge, pyramid, render, tiles
from terrazzo_masks.kernels import changes, conflicts, counting, modes, nodes

modules = (changes, conflicts, counting, modes, nodes)
for module in modules:
    module.warm()

def compiled():
    functions = [(m.__name__, name, f) for m in modules for name, f in vars(m).items()]
    return {(module, name): len(f.signatures) for module, name, f in functions if hasattr(f, "signatures")}

before = compiled()
rng = np.random.default_rng(0)
for top in (200, 2000):
    labels_HW = (rng.integers(0, 9, (90, 77)) * top // 9).astype(np.uint16 if top > 255 else np.uint8)
    labels_HW.flags.writeable = False
    parts = tiles.MemoryParts()
    manifest = tiles.build(labels_HW, parts, tile_px=4)
    ours = tiles.paint(manifest, labels_HW[:20, 3:30], 9, 9, parts)
    theirs = tiles.paint(manifest, labels_HW[30:50, 3:30], 9, 9, parts)
    merge.merge_manifests(manifest, ours, theirs, parts)
    diff.diff_manifests(ours, theirs, parts)
    tiles.read(tiles.load(ours.digest, parts), parts)
    for level in range(1, 5):
        pyramid.read_level(ours, parts, level, 0, 0, 5, 4)
    render.downsample_mode(labels_HW, 3)
    tiles.digests_of(ours, parts)
print({name: n for name, n in compiled().items() if n > before[name]})
"""


def test_after_warming_no_kernel_is_compiled_on_the_way_of_a_request() -> None:
    done = subprocess.run([sys.executable, "-c", WARMED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{}"
