"""Stored maps: what a stroke, a region, a count and a view cost; a map of 100,000 x 100,000 pixels.

The large map is filled on the way to where strokes fall as badly as can be: each node from the root to the tile
has 64 mixed children, those at the bottom from a scene with 34 classes. Bytes are what the store keeps: tiles
encoded, or as patches on what they replace, and nodes. `python -m benchmarks.tiles` prints what the choice of the
tile size rests on (docs/decisions/0007).
"""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Bench, Figure, faster, limit, medians, one_core
from benchmarks.material import corrected, folder, many_classes, scenes
from terrazzo_masks import native
from terrazzo_masks.diff import diff_manifests
from terrazzo_masks.labels import count_classes
from terrazzo_masks.merge import merge_manifests
from terrazzo_masks.pyramid import level_size, num_levels, read_level
from terrazzo_masks.tiles import TILE_PX, Manifest, MemoryParts, blank, build, digests_of, paint, read, read_region

SIDE = 100_000
CENTRE = SIDE // 2
LabelMap = NDArray[Any]


def run(bench: Bench) -> list[Figure]:
    native.warm()
    parts = MemoryParts("small", num_decoded=0)
    started = time.perf_counter()
    blank(SIDE, SIDE, parts)
    blank_s = time.perf_counter() - started
    bench.say("filling a map of 100,000 x 100,000")
    planet = crowded(parts, 5 if bench.quick else 8)
    figures = [limit("tiles", "create a map of 100,000 x 100,000", blank_s * 1e3, "ms", 50)]
    figures += _strokes(parts, planet, 20 if bench.quick else 100)
    figures += _memory(parts, planet)
    figures += _views(bench, parts, planet)
    figures += _small_maps(bench)
    return figures


def crowded(parts: MemoryParts, num_tiles: int = 8, tile_px: int = TILE_PX) -> Manifest:
    """The large map; around its middle `num_tiles` x `num_tiles` tiles hold scenes."""
    rng = np.random.default_rng(0)
    manifest = blank(SIDE, SIDE, parts, tile_px=tile_px)
    side = num_tiles * tile_px
    origin = CENTRE // (8 * tile_px) * 8 * tile_px
    scene_HW = many_classes(min(side, 2048), min(side, 2048), num_classes=34)
    scene_HW = np.tile(scene_HW, (-(-side // 2048), -(-side // 2048)))[:side, :side]
    manifest = paint(manifest, scene_HW, origin, origin, parts)
    step = 8 * tile_px
    while step < SIDE:
        first = CENTRE // (step * 8) * step * 8
        for row in range(8):
            for col in range(8):
                y, x = first + row * step + step // 3, first + col * step + step // 3
                if y + 20 <= SIDE and x + 20 <= SIDE:
                    manifest = paint(manifest, rng.integers(1, 35, (20, 20), dtype=np.uint8), y, x, parts)
        step *= 8
    return manifest


def stroke(
    rng: np.random.Generator, length_px: int = 120, width_px: int = 12
) -> tuple[LabelMap, NDArray[np.bool_]]:
    """A brush stroke: (class ids, where): a thick straight line in some direction, of one class."""
    angle = rng.uniform(0, np.pi)
    reach = int(length_px / 2 + width_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    where_HW = (np.hypot(np.maximum(0, abs(along) - length_px / 2), across) <= width_px / 2).astype(np.bool_)
    return np.full(where_HW.shape, rng.integers(1, 35), np.uint8), where_HW


def strokes(
    parts: MemoryParts, manifest: Manifest, num: int, reach_px: int, seed: int = 1
) -> Iterator[tuple[Manifest, float, int]]:
    """(map, seconds, bytes stored) after each of some strokes near the middle of a map, one on the other."""
    rng = np.random.default_rng(seed)
    for _ in range(num):
        patch_HW, where_HW = stroke(rng)
        top, left = manifest.height // 2 - reach_px // 2, manifest.width // 2 - reach_px // 2
        y = int(np.clip(top + rng.integers(0, reach_px), 0, manifest.height - patch_HW.shape[0]))
        x = int(np.clip(left + rng.integers(0, reach_px), 0, manifest.width - patch_HW.shape[1]))
        before = parts.num_bytes
        started = time.perf_counter()
        manifest = paint(manifest, patch_HW, y, x, parts, where_HW)
        yield manifest, time.perf_counter() - started, parts.num_bytes - before


def _strokes(parts: MemoryParts, planet: Manifest, num: int) -> list[Figure]:
    taken, stored = [], []
    for _, seconds, num_bytes in strokes(parts, planet, num, 6 * TILE_PX):
        taken.append(seconds)
        stored.append(num_bytes)
    name = "stroke on 100,000 x 100,000"
    took = f"median of {num}; slowest {max(taken) * 1e3:.0f} ms"
    kept = f"most of {num}; median {statistics.median(stored) / 1024:.1f} KiB"
    return [
        limit("tiles", f"{name}, time", statistics.median(taken) * 1e3, "ms", 50, took),
        limit("tiles", f"{name}, stored", max(stored) / 1024, "KiB", 20, kept),
    ]


def _memory(parts: MemoryParts, planet: Manifest) -> list[Figure]:
    parts.num_tile_reads = 0
    y = x = CENTRE // (8 * TILE_PX) * 8 * TILE_PX + 3 * TILE_PX + TILE_PX // 2
    tracemalloc.start()
    region_HW = read_region(planet, parts, y, x, TILE_PX, TILE_PX)
    _, read_peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    paint(planet, region_HW[::-1].copy(), y, x, parts)
    _, paint_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (read_s,) = medians(lambda: read_region(planet, parts, y, x, TILE_PX, TILE_PX))
    parts.num_tile_reads = 0
    read_region(planet, parts, y, x, TILE_PX, TILE_PX)
    note = f"a region of {TILE_PX} x {TILE_PX} across four tiles"
    return [
        limit("tiles", "read a region, tiles read", parts.num_tile_reads, "tiles", 4, note),
        limit("tiles", "read a region, time", read_s * 1e3, "ms", 50, note),
        limit("tiles", "read a region, memory at most", read_peak / 2**20, "MiB", 8, note),
        limit("tiles", "paint a region, memory at most", paint_peak / 2**20, "MiB", 8, note),
    ]


def _views(bench: Bench, parts: MemoryParts, planet: Manifest) -> list[Figure]:
    """Views of a map whose middle is full as far as a view of level 5 reaches: 34 x 34 mixed tiles."""
    side = 34 * TILE_PX if not bench.quick else 4 * TILE_PX
    scene_HW = many_classes(2048, 2048, num_classes=34)
    scene_HW = np.tile(scene_HW, (-(-side // 2048), -(-side // 2048)))[:side, :side]
    full = paint(planet, scene_HW, CENTRE // TILE_PX * TILE_PX, CENTRE // TILE_PX * TILE_PX, parts)
    slowest, at = 0.0, 0
    for level in range(num_levels(full)):
        rows, cols = level_size(full, level)
        height, width = min(256, rows), min(256, cols)
        y, x = (min((CENTRE + TILE_PX) >> level, side - 256) if side > 256 else 0 for side in (rows, cols))

        def view(level: int = level, box: tuple[int, ...] = (y, x, height, width)) -> LabelMap:
            return read_level(full, parts, level, *box)

        (seconds,) = medians(view, repeats=3)
        bench.say(f"view of 256 x 256 at level {level}: {seconds * 1e3:.1f} ms")
        if seconds > slowest:
            slowest, at = seconds, level
    return [limit("tiles", "a viewer's tile at any level, slowest", slowest * 1e3, "ms", 1000, f"level {at}")]


def _small_maps(bench: Bench) -> list[Figure]:
    parts = MemoryParts("small", num_decoded=0)
    (scene_HW,) = scenes(1, 1024, 2048)
    manifest = build(scene_HW, parts)
    decode_s, count_s, pixels_s = medians(
        lambda: count_classes(read(manifest, parts)),
        lambda: Manifest.from_bytes(manifest.to_bytes()).counts,
        lambda: np.bincount(scene_HW.ravel()),
    )
    small_HW = np.ascontiguousarray(scene_HW[400 : 400 + min(256, TILE_PX), :256])
    old = build(small_HW, parts)
    edited_HW = small_HW.copy()
    edited_HW[100:120, 100:130] = 9
    new = build(edited_HW, parts, base=old)
    merged_HW = small_HW.copy()
    merged_HW[10:20, 10:30] = 8
    theirs = build(merged_HW, parts, base=old)
    diff_s, tiles_s, merge_s = medians(
        lambda: diff_manifests(old, new, parts),
        lambda: (read(old, parts), read(new, parts)),
        lambda: merge_manifests(old, new, theirs, MemoryPair(parts)),
        repeats=50,
    )
    say = f"two tiles decoded and checked take {tiles_s * 1e3:.2f} ms of it; merge {merge_s * 1e3:.2f} ms"
    return [
        faster("tiles", "class counts of a stored map", count_s, decode_s, "decode and count", 10, "1024 x 2048"),
        faster("tiles", "class counts of a stored map", count_s, pixels_s, "numpy.bincount on pixels", 10),
        limit(
            "tiles", "diff of two small masks, beyond reading", max(0.0, diff_s - tiles_s) * 1e3, "ms", 0.3, say
        ),
    ]


class MemoryPair(MemoryParts):
    """Reads from another store and keeps what is new for itself, so that each merge stores anew."""

    def __init__(self, below: MemoryParts) -> None:
        super().__init__()
        self.node, self.tile = below.node, below.tile  # type: ignore[method-assign]


def evidence(bench: Bench) -> None:
    """Print, per tile size and kind of map: bytes kept, and what building, a stroke and a region cost."""
    kinds: dict[str, list[LabelMap]] = {
        "scenes 1024 x 2048": list(scenes(2, 1024, 2048)),
        "34 classes 1024 x 2048": [many_classes()],
        "corrected 1024 x 2048": [corrected(scenes(1, 1024, 2048)[0], 0)],
    }
    if bench.data is not None:
        kinds["nuclei (real)"] = list(folder(bench.data / "nuclei" / "class_masks", 40).values())
        kinds["bubil1 gold (real)"] = list(folder(bench.data / "bubil1" / "gold", 20).values())
    print(
        f"{'maps':24} {'tile':>5} {'tiles KiB':>10} {'nodes KiB':>10} {'build ms':>9} {'read ms':>8} "
        f"{'region ms':>9} {'stroke ms':>9} {'stroke B':>9}"
    )
    for kind, maps in kinds.items():
        for tile_px in (64, 128, 256, 512):
            print(f"{kind:24} {tile_px:5} " + _measured(maps, tile_px), flush=True)


def _measured(maps: list[LabelMap], tile_px: int) -> str:
    parts = MemoryParts("small", num_decoded=0)
    started = time.perf_counter()
    built = [build(labels_HW, parts, tile_px=tile_px) for labels_HW in maps]
    build_s = time.perf_counter() - started
    node_bytes = sum(len(parts.node(digest)) for m in built for digest in digests_of(m, parts).nodes)
    tile_bytes = parts.num_bytes - node_bytes
    (read_s,) = medians(lambda: [read(m, parts) for m in built], repeats=3)
    (region_s,) = medians(
        lambda: [read_region(m, parts, m.height // 3, m.width // 3, m.height // 4, m.width // 4) for m in built]
    )
    drawn = [
        s
        for m in built
        if min(m.height, m.width) > 150
        for s in strokes(parts, m, 10, min(m.height, m.width) // 2)
    ]
    took, stored = statistics.median(s[1] for s in drawn), statistics.median(s[2] for s in drawn)
    n = len(maps)
    return (
        f"{tile_bytes / 1024:10.1f} {node_bytes / 1024:10.1f} {build_s / n * 1e3:9.2f} {read_s / n * 1e3:8.2f} "
        f"{region_s / n * 1e3:9.2f} {took * 1e3:9.2f} {stored:9.0f}"
    )


if __name__ == "__main__":
    here = Path(__file__).parent
    data = here.parent.parent / "shared" / "data"
    with one_core():
        native.warm()
        evidence(
            Bench(data if data.is_dir() else None, here / "pictures", lambda line: print(line, file=sys.stderr))
        )
