"""One picture of a run for the README: a sample's way through the loop, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from terrazzo.simulation import plots
from terrazzo.simulation.gallery import GalleryItem, palette, tiles

_INK, _RULE = "#22292e", "#dedad1"


def write_overview_png(summary: Mapping[str, Any], gallery: Sequence[GalleryItem], path: Path) -> Path:
    """Write a PNG of 1600 x about 900 pixels; the gallery's first items show the way from image to consensus.

    Raises ValueError without a gallery item.
    """
    if not gallery:
        raise ValueError("the overview needs at least one gallery item, got none")
    # The more stages a sample went through, the more it shows; the first round has no proposals.
    shown = sorted(gallery, key=lambda item: (item.proposal_HW is None, -len(item.annotators), -item.round))[:2]
    rows = [tiles(item, palette(summary["classes"]), 480) for item in shown]
    columns = max(len(row) for row in rows)
    light = {
        **plots.STYLE,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), _RULE),
        "figure.facecolor": "#fbfaf7",
        "axes.facecolor": "#fbfaf7",
    }
    with style.context(light):
        aspect = max(item.image_HWC.shape[0] / item.image_HWC.shape[1] for item in shown)
        top_in = len(rows) * (16.0 / columns * min(aspect, 1.2) + 0.32)
        figure = Figure(figsize=(16, top_in + 3.9), dpi=100)
        FigureCanvasAgg(figure)
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[top_in, 3.9])
        upper, lower = parts[0, 0], parts[1, 0]
        grid = upper.subplots(len(rows), columns, squeeze=False)
        for row_axes, row in zip(grid, rows, strict=True):
            for axes in row_axes:
                axes.set_axis_off()
            for axes, tile in zip(row_axes, row, strict=False):
                axes.imshow(tile.image_HWC, interpolation="nearest" if tile.pixelated else "antialiased")
                axes.set_title(tile.caption, fontsize=11)
        left, middle, right = lower.subplots(1, 3, width_ratios=[1, 1, 1.35])
        plots.draw_learning_curve(left, summary)
        plots.draw_cost_curve(middle, summary)
        plots.draw_timeline(right, summary)
        figure.savefig(path, metadata={"Software": None})
    return path
