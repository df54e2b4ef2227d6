"""The codec against PNG as Pillow saves it and JPEG XL lossless, effort 7; a picture sets others beside them.

Sizes are of all maps of a set together, speeds in megabytes of raw labels a second. Ours and PNG take turns over
the same maps. Sets: real ones where the folder is there (nuclei: three classes, microscopy; cells: two classes,
drawn by people), generated street scenes (11 classes), the same with each region of one of 34 classes, and both
with borders as a second, less careful annotator draws them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import Bench, Figure, limit, medians, smaller
from benchmarks.material import LabelMap, corrected, folder, many_classes, scenes
from terrazzo_masks import codec

MEGA = 1e6
Maps = Sequence[LabelMap]


@dataclass(frozen=True)
class Peer:
    """A codec as its user would call it, from and to arrays."""

    name: str
    encode: Callable[[LabelMap], bytes]
    decode: Callable[[bytes], Any]


def run(bench: Bench) -> list[Figure]:
    sets = material(bench)
    figures: list[Figure] = []
    jpeg_xl = {name: size_of(peers()["JPEG XL e7"], maps) for name, maps in sets.items()}
    sizes = {name: {p: size_of(peers()[p], maps) for p in ("PNG", "small", "fast")} for name, maps in sets.items()}
    sizes["all"] = {p: sum(of_set[p] for of_set in sizes.values()) for p in ("PNG", "small", "fast")}
    jpeg_xl["all"] = sum(jpeg_xl.values())
    for name, size in sizes.items():
        figures += [
            smaller("codec", f"small, size against PNG, {name}", size["small"], size["PNG"], "Pillow PNG", 0.33),
            smaller(
                "codec", f"small, size against JPEG XL, {name}", size["small"], jpeg_xl[name], "JPEG XL e7", 0.75
            ),
            smaller("codec", f"fast, size against PNG, {name}", size["fast"], size["PNG"], "Pillow PNG", 0.65),
        ]
    total_s, total_bytes = np.zeros(6), 0
    for name, maps in sets.items():
        bench.say(f"codec: speed, {name}, {len(maps)} maps")
        taken_s, raw_bytes = seconds(maps), sum(labels_HW.nbytes for labels_HW in maps)
        total_s, total_bytes = total_s + taken_s, total_bytes + raw_bytes
        figures += speeds(name, raw_bytes, taken_s)
    figures += speeds("all", total_bytes, total_s)
    figures += strokes([labels_HW for maps in sets.values() for labels_HW in maps])
    picture(bench, sets)
    return figures


def material(bench: Bench) -> dict[str, Maps]:
    """Label maps by set, C-contiguous."""
    height, width, num = (256, 512, 1) if bench.quick else (1024, 2048, 2)
    streets = scenes(num, height, width)
    coloured = [many_classes(height, width, 34, seed=seed) for seed in range(num)]
    sets: dict[str, Maps] = {
        "generated streets": streets,
        "generated, 34 classes": coloured,
        "noisy borders": [corrected(labels_HW, seed) for seed, labels_HW in enumerate([*streets, *coloured])],
    }
    if bench.data is not None and (bench.data / "nuclei").is_dir():
        sets["nuclei"] = list(folder(bench.data / "nuclei" / "class_masks", 8 if bench.quick else 30).values())
    if bench.data is not None and (bench.data / "bubil1").is_dir():
        people = sorted((bench.data / "bubil1" / "annotators").iterdir())[: 4 if bench.quick else 20]
        sets["cells"] = [next(iter(folder(path).values())) for path in people]
    return {name: [np.ascontiguousarray(labels_HW) for labels_HW in maps] for name, maps in sets.items()}


def seconds(maps: Maps) -> NDArray[np.float64]:
    """Medians for small, fast and PNG: encoding all maps, then decoding them."""
    found = peers()
    taking_turns = [found["small"], found["fast"], found["PNG"]]
    packed = [[peer.encode(labels_HW) for labels_HW in maps] for peer in taking_turns]
    encoding = medians(*(partial(encode_all, peer, maps) for peer in taking_turns))
    decoding = medians(*(partial(decode_all, peer, data) for peer, data in zip(taking_turns, packed, strict=True)))
    return np.array(encoding + decoding)


def speeds(name: str, raw_bytes: int, taken_s: NDArray[np.float64]) -> list[Figure]:
    """Both profiles against PNG."""
    small, fast, png, small_back, fast_back, png_back = taken_s.tolist()
    return [
        speed(f"small, encoding, {name}", raw_bytes, small, png, 1.5),
        speed(f"small, decoding, {name}", raw_bytes, small_back, png_back, 0.5),
        speed(f"fast, encoding, {name}", raw_bytes, fast, png, 5),
        speed(f"fast, decoding, {name}", raw_bytes, fast_back, png_back, 3),
    ]


def speed(name: str, raw_bytes: int, ours_s: float, peer_s: float, target: float) -> Figure:
    rates = raw_bytes / ours_s / MEGA, raw_bytes / peer_s / MEGA
    return Figure("codec", name, *rates, "MB/s", "Pillow PNG", peer_s / ours_s, "at least", target)


def strokes(maps: Maps, num: int = 60) -> list[Figure]:
    """Bytes of a brush stroke on a tile of 256 px, as a patch on the tile before."""
    import cv2

    rng = np.random.default_rng(0)
    patches, wholes = [], []
    for place in range(num):
        labels_HW = maps[place % len(maps)]
        y, x = (int(rng.integers(0, max(1, side - 255))) for side in labels_HW.shape)
        tile_HW = np.ascontiguousarray(labels_HW[y : y + 256, x : x + 256])
        painted_HW = tile_HW.copy()
        track = np.cumsum(rng.normal(0, 12, (8, 2)), axis=0) + rng.uniform(40, 200, 2)
        class_id = int(rng.choice(np.unique(labels_HW)))
        cv2.polylines(painted_HW, [track.astype(np.int32)], False, class_id, int(rng.integers(3, 12)))
        patch = codec.encode_patch(painted_HW, tile_HW)
        if not np.array_equal(codec.decode_patch(patch, tile_HW), painted_HW):
            raise AssertionError("a patch did not give the stroke back")
        patches.append(len(patch))
        wholes.append(len(png_bytes(painted_HW)))
    note = f"mean of {num}; the same tile as a PNG: {np.mean(wholes):.0f} bytes"
    return [limit("codec", "a brush stroke as a patch", float(np.mean(patches)), "bytes", 300, note)]


def png_bytes(labels_HW: LabelMap) -> bytes:
    out = io.BytesIO()
    Image.fromarray(labels_HW).save(out, "PNG")
    return out.getvalue()


def webp_bytes(labels_HW: LabelMap) -> bytes:
    """WebP has no single-channel form: ids in all three channels, which its colour transform removes."""
    out = io.BytesIO()
    Image.fromarray(labels_HW).convert("RGB").save(out, "WEBP", lossless=True)
    return out.getvalue()


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)))


def peers() -> dict[str, Peer]:
    """Codecs by name, ours among them."""
    import imagecodecs
    import zstandard

    compress = zstandard.ZstdCompressor(level=19).compress
    decompress = zstandard.ZstdDecompressor().decompress

    def jpeg_xl(effort: int) -> Callable[[LabelMap], bytes]:
        return lambda labels_HW: bytes(imagecodecs.jpegxl_encode(labels_HW, lossless=True, effort=effort))

    listed = [
        Peer("small", codec.encode, codec.decode),
        Peer("fast", partial(codec.encode, profile="fast"), codec.decode),
        Peer("PNG", png_bytes, pixels),
        Peer("WebP lossless", webp_bytes, pixels),
        Peer("zstd -19", lambda labels_HW: compress(labels_HW.tobytes()), decompress),
        Peer("JPEG XL e7", jpeg_xl(7), imagecodecs.jpegxl_decode),
        Peer("JPEG XL e9", jpeg_xl(9), imagecodecs.jpegxl_decode),
    ]
    return {peer.name: peer for peer in listed}


def encode_all(peer: Peer, maps: Maps, packed: list[bytes] | None = None) -> None:
    """Encode all; what was packed replaces the contents of `packed`."""
    data = [peer.encode(labels_HW) for labels_HW in maps]
    if packed is not None:
        packed[:] = data


def decode_all(peer: Peer, packed: Sequence[bytes]) -> None:
    for data in packed:
        peer.decode(data)


def size_of(peer: Peer, maps: Maps) -> int:
    """Bytes of all maps; raises when one does not come back."""
    total = 0
    for labels_HW in maps:
        data = peer.encode(labels_HW)
        if peer.name in ("small", "fast", "PNG") and not np.array_equal(peer.decode(data), labels_HW):
            raise AssertionError(f"{peer.name} changed a label map")
        total += len(data)
    return total


def picture(bench: Bench, sets: dict[str, Maps]) -> None:
    """`codec.png`: size against speed, one map of every set, so that the slow codecs take part."""
    import matplotlib.pyplot as plt

    maps = [labels_HW for of_set in sets.values() for labels_HW in of_set[:1]]
    raw_bytes = sum(labels_HW.nbytes for labels_HW in maps)
    points: dict[str, tuple[float, float, float]] = {}
    for name, peer in peers().items():
        bench.say(f"codec: {name} for the picture")
        packed: list[bytes] = []
        slow = name.startswith("JPEG XL")
        (encode_s,) = medians(partial(encode_all, peer, maps, packed), repeats=1 if slow else 3, warm_up=not slow)
        (decode_s,) = medians(partial(decode_all, peer, packed), repeats=3)
        points[name] = (sum(map(len, packed)), raw_bytes / encode_s / MEGA, raw_bytes / decode_s / MEGA)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, constrained_layout=True)
    for axis, place, what in ((axes[0], 1, "encoding"), (axes[1], 2, "decoding")):
        for name, point in points.items():
            share = point[0] / points["PNG"][0]
            ours = name in codec.PROFILES
            axis.scatter(point[place], share, s=70, color="#c0392b" if ours else "#34495e", zorder=3)
            label = f"Terrazzo {name}" if ours else name
            below = name == "JPEG XL e9"
            offset = (0, -17 if below else 9)
            axis.annotate(label, (point[place], share), xytext=offset, textcoords="offset points", ha="center")
        axis.set_xscale("log")
        axis.margins(x=0.16, y=0.14)
        axis.set_xlabel(f"{what}: MB of raw labels a second, one core")
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("size, PNG = 1")
    axes[0].set_ylim(bottom=0)
    figure.suptitle(
        f"Lossless codecs on {len(maps)} label maps ({raw_bytes / MEGA:.0f} MB): right and low is better"
    )
    figure.savefig(Path(bench.pictures) / "codec.png", dpi=110)
    plt.close(figure)
