"""Sky, buildings, ground and their perspective: what is behind the things of a generated street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terrazzo.simulation.scene_canvas import Canvas, Colour, Region, smooth_noise
from terrazzo.simulation.scene_objects import (
    BUILDING,
    LANE_MARKING,
    ROAD,
    SIDEWALK,
    SKY,
    VEGETATION,
    darker,
    shared_colour,
)


@dataclass(frozen=True)
class Street:
    """The perspective of one street: everything runs to a vanishing point.

    `x_at(offset, row)` is the column of a line `offset` half road widths from the middle, at a row below the
    horizon; `scale_at(row)` is the height in pixels of two metres standing on that row.
    """

    height_px: int
    width_px: int
    horizon_y: float
    vanishing_x: float
    half_road_px: float
    bottom_x: float

    def depth_at(self, row: float) -> float:
        """0 at the horizon, 1 at the bottom row."""
        return (row - self.horizon_y) / max(self.height_px - self.horizon_y, 1.0)

    def x_at(self, offset: float, row: float) -> float:
        """Column of a line along the street."""
        depth = self.depth_at(row)
        middle = self.vanishing_x + (self.bottom_x - self.vanishing_x) * depth
        return middle + offset * self.half_road_px * depth

    def scale_at(self, row: float) -> float:
        """Pixels of two metres at this row."""
        return max(1.0, 0.62 * self.height_px * self.depth_at(row))

    def strip(self, canvas: Canvas, left: float, right: float, near: float, far: float) -> Region | None:
        """The ground between two lines along the street and two rows."""
        corners = [(self.x_at(left, far), far), (self.x_at(right, far), far)]
        return canvas.polygon([*corners, (self.x_at(right, near), near), (self.x_at(left, near), near)])


def lay_out(rng: np.random.Generator, height_px: int, width_px: int) -> Street:
    """A camera looking along a street: horizon, vanishing point and road width are drawn at random."""
    return Street(
        height_px=height_px,
        width_px=width_px,
        horizon_y=height_px * float(rng.uniform(0.36, 0.5)),
        vanishing_x=width_px * float(rng.uniform(0.3, 0.7)),
        half_road_px=width_px * float(rng.uniform(0.36, 0.62)),
        bottom_x=width_px * float(rng.uniform(0.4, 0.6)),
    )


def paint_sky(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """A sky from clear to overcast or dusk, with clouds."""
    tones: tuple[tuple[Colour, Colour], ...] = (
        ((0.38, 0.56, 0.82), (0.78, 0.86, 0.93)),
        ((0.66, 0.69, 0.72), (0.84, 0.85, 0.86)),
        ((0.36, 0.38, 0.52), (0.90, 0.70, 0.52)),
        ((0.52, 0.60, 0.68), (0.88, 0.88, 0.84)),
    )
    top, low = (np.asarray(tone, np.float32) for tone in tones[int(rng.integers(len(tones)))])
    rows = min(canvas.height_px, round(street.horizon_y) + 3)
    blend_H11 = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None, None]
    sky_HWC = top * (1 - blend_H11) + low * blend_H11
    clouds_HW = smooth_noise(rng, rows, canvas.width_px, canvas.height_px * 0.12)
    cover_HW = np.clip(clouds_HW - float(rng.uniform(0.0, 1.4)), 0.0, 1.0) * 0.5
    canvas.albedo_HWC[:rows] = sky_HWC * (1 - cover_HW[..., None]) + 0.93 * cover_HW[..., None]
    canvas.labels_HW[:rows] = SKY


def paint_facade(
    canvas: Canvas, rng: np.random.Generator, x: float, width: float, top: float, base: float, scale: float
) -> None:
    """One building front with rows of windows, sometimes a coloured shop strip at its foot."""
    walls: tuple[Colour, ...] = (
        (0.58, 0.52, 0.45),
        (0.55, 0.33, 0.26),
        (0.66, 0.65, 0.62),
        (0.40, 0.42, 0.45),
        (0.70, 0.62, 0.48),
        (0.50, 0.57, 0.62),
    )
    wall = darker(walls[int(rng.integers(len(walls)))], float(rng.uniform(0.75, 1.15)))
    front = canvas.box(x, top, width, base - top)
    canvas.paint(front, BUILDING, wall, grain=0.02, mottle=0.05)
    if front is None:
        return
    pitch_y, pitch_x = max(4.0, 0.75 * scale), max(4.0, 0.6 * scale * float(rng.uniform(0.8, 1.4)))
    rows_H = ((np.arange(front.mask_HW.shape[0]) + front.y - top) % pitch_y) / pitch_y
    columns_W = ((np.arange(front.mask_HW.shape[1]) + front.x - x) % pitch_x) / pitch_x
    panes_HW = ((rows_H > 0.3) & (rows_H < 0.8))[:, None] & ((columns_W > 0.28) & (columns_W < 0.78))[None, :]
    glass = float(rng.uniform(0.35, 0.75)) if rng.random() < 0.8 else float(rng.uniform(1.15, 1.4))
    canvas.tint(front, np.where(panes_HW, np.float32(glass), np.float32(1)))
    if rng.random() < 0.35:
        shop = canvas.box(x, base - 0.6 * scale, width, 0.25 * scale)
        canvas.paint(shop, BUILDING, shared_colour(rng), grain=0.02)


def paint_skyline(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Buildings and hedges from edge to edge; those near the vanishing point are far off, so low."""
    x, width_px = -float(rng.uniform(0, 0.1)) * canvas.width_px, canvas.width_px
    while x < width_px:
        width = width_px * float(rng.uniform(0.07, 0.2))
        middle = min(max(x + width / 2, 0.0), width_px - 1.0)
        nearness = abs(middle - street.vanishing_x) / width_px
        base = street.horizon_y + 0.30 * nearness * (canvas.height_px - street.horizon_y)
        scale = street.scale_at(base + 0.02 * canvas.height_px)
        draw = rng.random()
        if draw < 0.7:
            height = canvas.height_px * (0.05 + 0.75 * nearness) * float(rng.uniform(0.55, 1.1))
            paint_facade(canvas, rng, x, width, street.horizon_y - height, base + 2, scale)
        elif draw < 0.9:
            top = street.horizon_y - canvas.height_px * float(rng.uniform(0.02, 0.08))
            hedge = canvas.polygon(
                [(x, base + 2), (x, top), (x + width / 2, top - 3), (x + width, top), (x + width, base + 2)]
            )
            canvas.paint(hedge, VEGETATION, (0.24, 0.35, 0.16), grain=0.12, mottle=0.1)
        x += width * float(rng.uniform(0.85, 1.15))


def paint_ground(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Verges, pavements, road and lane markings; road and pavement are both grey and differ in texture."""
    near, far = float(canvas.height_px), street.horizon_y
    asphalt = darker((0.34, 0.34, 0.36), float(rng.uniform(0.75, 1.35)))
    paving = darker((0.50, 0.48, 0.46), float(rng.uniform(0.75, 1.2)))
    everything = canvas.box(0, far, canvas.width_px, near - far)
    if rng.random() < 0.45:
        canvas.paint(everything, VEGETATION, (0.31, 0.39, 0.18), grain=0.10, mottle=0.08)
    else:
        canvas.paint(everything, SIDEWALK, paving, grain=0.02, mottle=0.03)
    walk = float(rng.uniform(1.45, 1.9))
    for left, right in ((-walk, -1.0), (1.0, walk)):
        strip = street.strip(canvas, left, right, near, far)
        canvas.paint(strip, SIDEWALK, paving, grain=0.02, mottle=0.03)
    _tint_slabs(canvas, street)
    canvas.paint(street.strip(canvas, -1.0, 1.0, near, far), ROAD, asphalt, grain=0.05, mottle=0.05)
    kerb = darker(paving, 1.15)
    for left, right in ((-1.03, -1.0), (1.0, 1.03)):
        canvas.paint(street.strip(canvas, left, right, near, far), SIDEWALK, kerb, grain=0.02)
    _paint_markings(canvas, rng, street)


def _tint_slabs(canvas: Canvas, street: Street) -> None:
    """Joints between paving slabs, which come closer together with distance."""
    y0 = round(street.horizon_y) + 1
    depth_H = (np.arange(y0, canvas.height_px) - street.horizon_y) / max(canvas.height_px - street.horizon_y, 1)
    joints_H = ((6.0 / np.maximum(depth_H, 0.02)) % 1.0) < 0.14
    paved_HW = canvas.labels_HW[y0:] == SIDEWALK
    canvas.albedo_HWC[y0:][paved_HW & joints_H[:, None]] *= np.float32(0.8)


def _paint_markings(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """A dashed middle line, edge lines, now and then a zebra crossing; all worn to a different degree."""
    tone = float(rng.uniform(0.62, 0.88))
    white: Colour = (tone, tone, tone * float(rng.uniform(0.6, 1.0)))
    far_row = street.horizon_y + 0.06 * (canvas.height_px - street.horizon_y)

    def row_of(distance: float) -> float:
        return street.horizon_y + (canvas.height_px - street.horizon_y) / distance

    distance, dash = 1.0 - float(rng.uniform(0, 0.4)), 0.55
    while row_of(distance + dash) > far_row:
        strip = street.strip(
            canvas, -0.022, 0.022, min(row_of(distance), 2.0 * canvas.height_px), row_of(distance + dash)
        )
        canvas.paint(strip, LANE_MARKING, white, grain=0.05, mottle=0.06)
        distance += 2.0 * dash
    if rng.random() < 0.6:
        for side in (-0.92, 0.89):
            strip = street.strip(canvas, side, side + 0.03, canvas.height_px, far_row)
            canvas.paint(strip, LANE_MARKING, white, grain=0.05, mottle=0.06)
    if rng.random() < 0.3:
        distance = float(rng.uniform(1.3, 2.4))
        for bar in np.arange(-0.9, 0.85, 0.22):
            zebra = street.strip(canvas, bar, bar + 0.11, row_of(distance), row_of(distance + 0.35))
            canvas.paint(zebra, LANE_MARKING, white, grain=0.05, mottle=0.06)
