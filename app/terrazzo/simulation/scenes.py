"""The generator behind `terrazzo generate`: street-like scenes whose masks are exact by construction.

A scene is painted from back to front, so what is hidden is hidden in the mask too. Colours are shared
between classes (a car, a coat, a sign and a shop front may all be the same red; road and pavement are both
grey), so texture, shape and place have to be learnt. Sun, cast shadows, haze, blur and noise change the
image, never the mask.

Axes: H rows, W columns, C = R, G, B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.simulation import scene_backdrop, scene_objects
from terrazzo.simulation.scene_canvas import Canvas, smooth_noise

# (id, name, colour, children). A leaf's value in the masks is its id.
_CLASSES: tuple[tuple[int, str, str, tuple[tuple[int, str, str], ...]], ...] = (
    (1, "flat", "#6b4c6f", ((2, "road", "#804080"), (3, "sidewalk", "#f423e8"), (4, "lane-marking", "#ffffff"))),
    (
        5,
        "construction",
        "#5a5a5a",
        ((6, "building", "#8c6e5a"), (7, "pole", "#bebebe"), (8, "traffic-sign", "#dcdc00")),
    ),
    (9, "vegetation", "#6b8e23", ()),
    (10, "sky", "#4682b4", ()),
    (11, "vehicle", "#000064", ((12, "car", "#1e3cff"), (13, "truck", "#00b4c8"))),
    (14, "living", "#a01428", ((15, "person", "#dc143c"), (16, "animal", "#ff9f1c"))),
)

RARE_CLASS = "animal"


@dataclass(frozen=True)
class SceneSpec:
    """How full and how hard the scenes are; counts are means of Poisson draws.

    `rare_prob` is the share of scenes with the rare class; `noise_sigma` is in 0..1 units of brightness;
    `blur_sigma_px` is a Gaussian's; `haze` 0..1 is how far distance fades to the sky's colour.
    """

    cars: float = 3.2
    trucks: float = 0.7
    persons: float = 3.0
    trees: float = 2.4
    poles: float = 2.2
    signs: float = 1.6
    rare_prob: float = 0.08
    noise_sigma: float = 0.02
    blur_sigma_px: float = 0.6
    haze: float = 0.25


DEFAULT_SPEC = SceneSpec()


@dataclass(frozen=True)
class Scene:
    """`image_HWC` uint8 RGB and `labels_HW` uint8 class values (2..16, see `scene_ontology`)."""

    image_HWC: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]


def scene_ontology() -> dict[str, Any]:
    """The generator's ontology in the form of an ontology file (what `ontology.yaml` holds)."""
    classes: list[dict[str, Any]] = []
    for class_id, name, color, children in _CLASSES:
        node: dict[str, Any] = {"id": class_id, "name": name, "color": color}
        if children:
            node["children"] = [{"id": i, "name": n, "color": c, "value": i} for i, n, c in children]
        else:
            node["value"] = class_id
        classes.append(node)
    return {"name": "street-scenes", "unlabelled": [255], "classes": classes}


def generate_scene(seed: int, height: int = 256, width: int = 384, spec: SceneSpec = DEFAULT_SPEC) -> Scene:
    """One scene of `height` x `width` pixels; the same seed, size and spec give the same bytes.

    Raises ValueError when a side is under 64 pixels (nothing would be left of a far pole).
    """
    if height < 64 or width < 64:
        raise ValueError(f"a scene of {height}x{width} pixels is too small; both sides must be at least 64")
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = Canvas(height, width, rng)
    street = scene_backdrop.lay_out(rng, height, width)
    scene_backdrop.paint_sky(canvas, rng, street)
    scene_backdrop.paint_skyline(canvas, rng, street)
    scene_backdrop.paint_ground(canvas, rng, street)
    _cast_shadows(canvas, rng, street)
    _paint_things(canvas, rng, street, spec)
    return Scene(_photograph(canvas, rng, street, spec), canvas.labels_HW.copy())


def _cast_shadows(canvas: Canvas, rng: np.random.Generator, street: scene_backdrop.Street) -> None:
    """Shadows of buildings across the ground, on sunny days."""
    if rng.random() > 0.6:
        return
    for _ in range(int(rng.integers(1, 3))):
        far = street.horizon_y + float(rng.uniform(0.02, 0.5)) * (canvas.height_px - street.horizon_y)
        near = far + float(rng.uniform(0.05, 0.35)) * (canvas.height_px - street.horizon_y)
        reach = float(rng.uniform(-0.6, 1.0))
        left, right = (-6.0, reach) if rng.random() < 0.5 else (-reach, 6.0)
        canvas.shade(street.strip(canvas, left, right, near, far), float(rng.uniform(0.5, 0.7)))


def _paint_things(
    canvas: Canvas, rng: np.random.Generator, street: scene_backdrop.Street, spec: SceneSpec
) -> None:
    """Draw how many of each thing there are and where they stand; paint the farthest first."""
    counts = {
        "car": rng.poisson(spec.cars),
        "truck": rng.poisson(spec.trucks),
        "person": rng.poisson(spec.persons),
        "tree": rng.poisson(spec.trees),
        "pole": rng.poisson(spec.poles),
        "sign": rng.poisson(spec.signs),
        "animal": int(rng.random() < spec.rare_prob),
    }
    things: list[tuple[float, float, str]] = []
    for kind, count in counts.items():
        for _ in range(int(count)):
            side = 1.0 if rng.random() < 0.5 else -1.0
            # The square puts more things far away, as a uniform density along the street does. The rare
            # animal is always near enough to be seen, and a lorry never fills the picture.
            farthest, nearest = {"animal": (0.25, 0.85), "truck": (0.07, 0.5)}.get(kind, (0.07, 0.85))
            depth = farthest + (nearest - farthest) * float(rng.random()) ** 2
            spread = {"car": (0.15, 0.95), "truck": (0.3, 0.8), "animal": (0.0, 1.3), "person": (0.4, 1.6)}
            low, high = spread.get(kind, (1.08, 1.7))
            row = street.horizon_y + depth * (canvas.height_px - street.horizon_y)
            x = street.x_at(side * float(rng.uniform(low, high)), row)
            if kind == "animal":  # kept inside the picture: the share of scenes with it is what was asked
                x = min(max(x, 0.12 * canvas.width_px), 0.88 * canvas.width_px)
            things.append((row, x, kind))
    for row, x, kind in sorted(_without_what_hides_the_animal(things, street)):
        _paint_thing(canvas, rng, kind, x, row, street.scale_at(row))


def _without_what_hides_the_animal(
    things: list[tuple[float, float, str]], street: scene_backdrop.Street
) -> list[tuple[float, float, str]]:
    """Leave out what would stand before the rare animal, or its share of the scenes would depend on traffic."""
    animals = [(row, x) for row, x, kind in things if kind == "animal"]
    return [
        (row, x, kind)
        for row, x, kind in things
        if not any(row > a_row and abs(x - a_x) < 2.2 * street.scale_at(row) for a_row, a_x in animals)
    ]


def _paint_thing(canvas: Canvas, rng: np.random.Generator, kind: str, x: float, row: float, scale: float) -> None:
    match kind:
        case "car":
            scene_objects.paint_car(canvas, rng, x, row, scale)
        case "truck":
            scene_objects.paint_truck(canvas, rng, x, row, scale)
        case "person":
            scene_objects.paint_person(canvas, rng, x, row, scale)
        case "animal":
            scene_objects.paint_animal(canvas, rng, x, row, scale)
        case "tree":
            scene_objects.paint_tree(canvas, rng, x, row, scale)
        case _:
            scene_objects.paint_pole(canvas, rng, x, row, scale, with_sign=kind == "sign")


def _photograph(
    canvas: Canvas, rng: np.random.Generator, street: scene_backdrop.Street, spec: SceneSpec
) -> NDArray[np.uint8]:
    """Light, haze, lens and sensor: from albedo to an 8-bit image (H, W, 3) RGB."""
    import cv2

    height, width = canvas.labels_HW.shape
    lighting = 0.12 * smooth_noise(rng, height, width, height / 3)
    exposure = float(rng.uniform(0.7, 1.2))
    warmth = float(rng.normal(0, 0.05))
    balance_C = np.asarray([1 + warmth, 1.0, 1 - warmth], np.float32) * np.float32(exposure)
    image_HWC = canvas.albedo_HWC * (canvas.light_HW * (1 + lighting))[..., None] * balance_C
    distance_H = 1.0 - np.clip(np.abs(np.arange(height) - street.horizon_y) / (0.35 * height), 0, 1)
    fade_HW = (spec.haze * float(rng.random()) * distance_H[:, None]).astype(np.float32)
    fade_HW = np.where(canvas.labels_HW == scene_objects.SKY, np.float32(0), fade_HW)
    image_HWC = image_HWC * (1 - fade_HW[..., None]) + np.float32(0.75 * exposure) * fade_HW[..., None]
    if spec.blur_sigma_px > 0:
        sigma_px = spec.blur_sigma_px * float(rng.uniform(0.6, 1.4))
        image_HWC = cv2.GaussianBlur(image_HWC, (0, 0), sigma_px)
    if spec.noise_sigma > 0:
        noise_sigma = np.float32(spec.noise_sigma * float(rng.uniform(0.5, 1.5)))
        image_HWC = image_HWC + noise_sigma * rng.standard_normal(image_HWC.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(image_HWC * 255.0), 0, 255), dtype=np.uint8)


def write_dataset(
    out: Path,
    count: int,
    seed: int,
    height: int = 256,
    width: int = 384,
    progress: Callable[[int, int], None] | None = None,
    spec: SceneSpec = DEFAULT_SPEC,
) -> dict[str, Any]:
    """Write `count` scenes to `out`: images/*.png, masks/*.png (palette PNG), ontology.yaml.

    Scene k has the seed `seed * 1_000_003 + k`, so a longer dataset begins with the shorter one.
    `progress(done, count)` is called after each scene. Returns the manifest: seed, size, spec and, per scene,
    its stem and the number of pixels of each value.
    """
    import yaml
    from PIL import Image

    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(parents=True, exist_ok=True)
    palette = palette_bytes()
    samples: list[dict[str, Any]] = []
    for index in range(count):
        scene = generate_scene(seed * 1_000_003 + index, height, width, spec)
        stem = f"scene-{index:05d}"
        Image.fromarray(scene.image_HWC).save(out / "images" / f"{stem}.png", compress_level=3)
        mask = Image.fromarray(scene.labels_HW)
        mask.putpalette(palette)
        mask.save(out / "masks" / f"{stem}.png", compress_level=6)
        values, pixels = np.unique(scene.labels_HW, return_counts=True)
        counts = {int(value): int(number) for value, number in zip(values, pixels, strict=True)}
        samples.append({"stem": stem, "counts": counts})
        if progress is not None:
            progress(index + 1, count)
    ontology = scene_ontology()
    (out / "ontology.yaml").write_text(yaml.safe_dump(ontology, sort_keys=False), encoding="utf-8")
    size = {"height_px": height, "width_px": width}
    return {"count": count, "seed": seed, **size, "spec": asdict(spec), "samples": samples}


def palette_bytes() -> bytes:
    """The 256-entry RGB palette of the masks: each class in its ontology colour, the rest black."""
    palette = bytearray(768)
    for class_id, _, color, children in _CLASSES:
        for value, text in [(class_id, color), *((child[0], child[2]) for child in children)]:
            palette[3 * value : 3 * value + 3] = bytes.fromhex(text.removeprefix("#"))
    return bytes(palette)
