"""The things that stand in a generated street: each function paints one, with all its parts in one class.

Lengths are in pixels. `scale` is the height in pixels of two metres at the thing's distance (its perspective).
`x` is the middle of the thing and `ground` the row on which it stands.
"""

from __future__ import annotations

import numpy as np

from terrazzo.simulation.scene_canvas import Canvas, Colour

# Class values in the masks; they equal the class ids of `scenes.scene_ontology`.
ROAD, SIDEWALK, LANE_MARKING = 2, 3, 4
BUILDING, POLE, TRAFFIC_SIGN = 6, 7, 8
VEGETATION, SKY = 9, 10
CAR, TRUCK = 12, 13
PERSON, ANIMAL = 15, 16

# Cars, signs, clothes and awnings share these on purpose: colour alone must not give a class away.
SHARED_COLOURS: tuple[Colour, ...] = (
    (0.72, 0.16, 0.14),
    (0.15, 0.28, 0.60),
    (0.82, 0.70, 0.18),
    (0.80, 0.80, 0.82),
    (0.22, 0.23, 0.25),
    (0.45, 0.46, 0.48),
    (0.18, 0.42, 0.28),
    (0.48, 0.30, 0.20),
)


def shared_colour(rng: np.random.Generator) -> Colour:
    """One of the shared colours, varied by a tenth."""
    red, green, blue = SHARED_COLOURS[int(rng.integers(len(SHARED_COLOURS)))]
    factor = float(rng.uniform(0.85, 1.15))
    return red * factor, green * factor, blue * factor


def darker(colour: Colour, factor: float) -> Colour:
    """The colour multiplied by a factor."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def contact_shadow(canvas: Canvas, x: float, ground: float, half_width: float, scale: float) -> None:
    """Darken the ground under a thing; the ground keeps its class."""
    canvas.shade(canvas.ellipse(x, ground, half_width * 1.1, max(1.0, scale * 0.09)), 0.55)


def paint_car(canvas: Canvas, rng: np.random.Generator, x: float, ground: float, scale: float) -> None:
    """A car from the side or from behind, about 1.5 m high."""
    paint, height = shared_colour(rng), 0.75 * scale
    glass: Colour = (0.16, 0.20, 0.25)
    if rng.random() < 0.5:
        half, lean = 1.05 * scale, float(rng.uniform(-0.12, 0.12)) * scale
        contact_shadow(canvas, x, ground, half, scale)
        top, waist, sill = ground - height, ground - 0.55 * height, ground - 0.14 * height
        body = [(x - half, sill), (x - half, waist), (x + half, waist), (x + half, sill)]
        roof = [(x - 0.62 * half, waist), (x - 0.38 * half + lean, top), (x + 0.36 * half + lean, top)]
        roof.append((x + 0.66 * half, waist + 1))
        canvas.paint(canvas.polygon(roof), CAR, paint, grain=0.01, mottle=0.02)
        inner = [(x + 0.84 * (px - x), waist + 0.8 * (py - waist)) for px, py in roof]
        canvas.paint(canvas.polygon(inner), CAR, glass, grain=0.01)
        canvas.paint(canvas.polygon(body), CAR, paint, grain=0.01, mottle=0.02)
        for wheel in (-0.58, 0.58):
            disc = canvas.ellipse(x + wheel * half, sill, 0.2 * half, 0.2 * half)
            canvas.paint(disc, CAR, (0.07, 0.07, 0.08), grain=0.01)
        return
    half = 0.48 * scale
    contact_shadow(canvas, x, ground, half, scale)
    canvas.paint(canvas.box(x - 0.9 * half, ground - 0.25 * height, 1.8 * half, 0.25 * height), CAR, (0.08,) * 3)
    canvas.paint(canvas.box(x - half, ground - 0.62 * height, 2 * half, 0.5 * height), CAR, paint, grain=0.01)
    roof = [(x - 0.86 * half, ground - 0.6 * height), (x - 0.66 * half, ground - height)]
    roof += [(x + 0.66 * half, ground - height), (x + 0.86 * half, ground - 0.6 * height)]
    canvas.paint(canvas.polygon(roof), CAR, paint, grain=0.01)
    rear = canvas.box(x - 0.6 * half, ground - 0.93 * height, 1.2 * half, 0.3 * height)
    canvas.paint(rear, CAR, glass, grain=0.01)
    for side in (-0.95, 0.65):
        lamp = canvas.box(x + side * half, ground - 0.55 * height, 0.3 * half, 0.16 * height)
        canvas.paint(lamp, CAR, (0.75, 0.12, 0.10), grain=0.01)


def paint_truck(canvas: Canvas, rng: np.random.Generator, x: float, ground: float, scale: float) -> None:
    """A lorry or van, about 3 m high, with a ribbed box and a cab."""
    load, cab = shared_colour(rng), shared_colour(rng)
    height, side_on = 1.5 * scale * float(rng.uniform(0.85, 1.1)), rng.random() < 0.55
    half = (1.7 if side_on else 0.62) * scale
    contact_shadow(canvas, x, ground, half, scale)
    chassis = canvas.box(x - half, ground - 0.28 * height, 2 * half, 0.18 * height)
    canvas.paint(chassis, TRUCK, (0.10, 0.10, 0.11), grain=0.01)
    box = canvas.box(x - half, ground - height, (1.42 if side_on else 2.0) * half, 0.82 * height)
    canvas.paint(box, TRUCK, load, grain=0.01, mottle=0.02)
    if box is not None:
        ribs_W = 1.0 - 0.22 * ((np.arange(box.mask_HW.shape[1]) % max(3, round(0.14 * scale))) == 0)
        canvas.tint(box, np.broadcast_to(ribs_W.astype(np.float32), box.mask_HW.shape))
    if side_on:
        front = canvas.box(x + 0.4 * half, ground - 0.72 * height, 0.6 * half, 0.58 * height)
        canvas.paint(front, TRUCK, cab, grain=0.01)
        pane = canvas.box(x + 0.66 * half, ground - 0.64 * height, 0.3 * half, 0.22 * height)
        canvas.paint(pane, TRUCK, (0.16, 0.20, 0.25), grain=0.01)
    wheels = (-0.75, -0.4, 0.68) if side_on else (-0.72, 0.72)
    for wheel in wheels:
        disc = canvas.ellipse(x + wheel * half, ground - 0.1 * height, 0.1 * height, 0.1 * height)
        canvas.paint(disc, TRUCK, (0.06, 0.06, 0.07), grain=0.01)


def paint_person(canvas: Canvas, rng: np.random.Generator, x: float, ground: float, scale: float) -> None:
    """A person standing or walking, 1.5 to 1.9 m tall."""
    height = scale * float(rng.uniform(0.75, 0.95))
    skin = darker((0.80, 0.62, 0.50), float(rng.uniform(0.45, 1.1)))
    coat, trousers = shared_colour(rng), darker(shared_colour(rng), 0.7)
    stride, width = float(rng.uniform(0.02, 0.14)) * height, 0.13 * height
    contact_shadow(canvas, x, ground, width, scale)
    hip = ground - 0.48 * height
    for side in (-1.0, 1.0):
        foot = x + side * stride
        leg = [(x - 0.5 * width, hip), (x + 0.5 * width, hip), (foot + 0.4 * width, ground)]
        canvas.paint(canvas.polygon([*leg, (foot - 0.4 * width, ground)]), PERSON, trousers, mottle=0.05)
    shoulder = ground - 0.84 * height
    torso = [
        (x - width, shoulder),
        (x + width, shoulder),
        (x + 0.75 * width, hip + 1),
        (x - 0.75 * width, hip + 1),
    ]
    canvas.paint(canvas.polygon(torso), PERSON, coat, mottle=0.06)
    canvas.paint(canvas.ellipse(x, ground - 0.92 * height, 0.065 * height, 0.08 * height), PERSON, skin)


def paint_animal(canvas: Canvas, rng: np.random.Generator, x: float, ground: float, scale: float) -> None:
    """The rare class: a four-legged animal, a dog to a deer in size, brown, grey or patched."""
    coats: tuple[Colour, ...] = ((0.46, 0.32, 0.20), (0.30, 0.22, 0.16), (0.62, 0.58, 0.52), (0.20, 0.19, 0.18))
    coat = coats[int(rng.integers(len(coats)))]
    height, facing = scale * float(rng.uniform(0.45, 0.75)), 1.0 if rng.random() < 0.5 else -1.0
    length = 0.75 * height
    contact_shadow(canvas, x, ground, length, scale)
    belly = ground - 0.45 * height
    for leg in (-0.75, -0.5, 0.45, 0.7):
        limb = canvas.box(x + leg * length, belly - 1, max(1.0, 0.1 * height), ground - belly + 1)
        canvas.paint(limb, ANIMAL, darker(coat, 0.75))
    canvas.paint(canvas.ellipse(x, ground - 0.58 * height, length, 0.22 * height), ANIMAL, coat, mottle=0.12)
    neck = [
        (x + facing * 0.6 * length, ground - 0.7 * height),
        (x + facing * 1.0 * length, ground - 0.95 * height),
    ]
    neck += [
        (x + facing * 1.2 * length, ground - 0.85 * height),
        (x + facing * 0.9 * length, ground - 0.5 * height),
    ]
    canvas.paint(canvas.polygon(neck), ANIMAL, coat, mottle=0.08)
    head = canvas.ellipse(x + facing * 1.2 * length, ground - 0.9 * height, 0.22 * height, 0.13 * height)
    canvas.paint(head, ANIMAL, darker(coat, 1.1), mottle=0.08)


def paint_tree(canvas: Canvas, rng: np.random.Generator, x: float, ground: float, scale: float) -> None:
    """A tree of 4 to 7 m: trunk and crown are vegetation; summer green to autumn brown."""
    height = scale * float(rng.uniform(2.0, 3.4))
    crowns: tuple[Colour, ...] = ((0.20, 0.36, 0.15), (0.27, 0.41, 0.18), (0.46, 0.36, 0.15), (0.33, 0.30, 0.22))
    leaf = crowns[int(rng.integers(len(crowns)))]
    trunk = canvas.box(x - 0.07 * scale, ground - 0.55 * height, max(1.0, 0.14 * scale), 0.55 * height)
    canvas.paint(trunk, VEGETATION, (0.27, 0.21, 0.16), grain=0.05)
    canvas.shade(canvas.ellipse(x, ground, 0.6 * scale, 0.08 * scale), 0.7)
    for _ in range(int(rng.integers(6, 11))):
        centre_x = x + float(rng.normal(0, 0.16)) * height
        centre_y = ground - height * float(rng.uniform(0.5, 0.95))
        radius = height * float(rng.uniform(0.10, 0.2))
        crown = canvas.ellipse(centre_x, centre_y, radius * 1.15, radius)
        canvas.paint(crown, VEGETATION, darker(leaf, float(rng.uniform(0.75, 1.2))), grain=0.12, mottle=0.10)


def paint_pole(
    canvas: Canvas, rng: np.random.Generator, x: float, ground: float, scale: float, *, with_sign: bool
) -> None:
    """A thin post (1 px far away); a lamp on top, or a traffic sign, which is a class of its own."""
    height = scale * float(rng.uniform(1.3, 1.7) if with_sign else rng.uniform(2.2, 3.4))
    width, metal = max(1.0, 0.055 * scale), darker((0.42, 0.43, 0.45), float(rng.uniform(0.5, 1.3)))
    canvas.paint(canvas.box(x - width / 2, ground - height, width, height), POLE, metal, grain=0.02)
    if not with_sign:
        reach = 0.5 * scale * (1.0 if rng.random() < 0.5 else -1.0)
        arm = canvas.box(min(x, x + reach), ground - height, abs(reach), max(1.0, 0.6 * width))
        canvas.paint(arm, POLE, metal)
        return
    size, face = max(2.0, 0.2 * scale), shared_colour(rng)
    middle, kind = ground - height + size * 0.6, int(rng.integers(3))
    if kind == 0:
        outer, inner = canvas.ellipse(x, middle, size, size), canvas.ellipse(x, middle, 0.6 * size, 0.6 * size)
    elif kind == 1:
        corners = [(x, middle - size), (x + size, middle + 0.8 * size), (x - size, middle + 0.8 * size)]
        outer = canvas.polygon(corners)
        inner = canvas.polygon(
            [(x + 0.5 * (px - x), middle + 0.2 * size + 0.5 * (py - middle)) for px, py in corners]
        )
    else:
        outer = canvas.box(x - size, middle - 0.8 * size, 2 * size, 1.6 * size)
        inner = canvas.box(x - 0.7 * size, middle - 0.25 * size, 1.4 * size, 0.4 * size)
    canvas.paint(outer, TRAFFIC_SIGN, face, grain=0.01, mottle=0.01)
    if size >= 3:
        canvas.paint(inner, TRAFFIC_SIGN, (0.88, 0.88, 0.86), grain=0.01, mottle=0.01)
