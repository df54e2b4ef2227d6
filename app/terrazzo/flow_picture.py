"""The class-to-class flow of a diff as a picture: pixels from which class (row) to which (column)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASSES_MAX = 20
OTHERS = "other classes"
Flow = Sequence[tuple[int, int, int]]
"""(from class id, to class id, pixels), changed pixels only."""


def matrix_of(
    flow: Iterable[tuple[int, int, int]], names: Mapping[int, str]
) -> tuple[list[str], NDArray[np.int64]]:
    """(class names, pixels by [from, to]) of the classes that take part, by id; beyond 20 the smallest are one.

    The diagonal is empty: what stayed what it was is no flow. "other classes" alone may flow among each other.
    """
    rows = list(flow)
    weight: dict[int, int] = {}
    for old, new, pixels in rows:
        for class_id in (old, new):
            weight[class_id] = weight.get(class_id, 0) + pixels
    kept = sorted(weight, key=lambda class_id: (-weight[class_id], class_id))
    kept = sorted(kept[: CLASSES_MAX - 1] if len(kept) > CLASSES_MAX else kept)
    place = {class_id: index for index, class_id in enumerate(kept)}
    size = len(kept) + (len(kept) < len(weight))
    matrix = np.zeros((size, size), np.int64)
    for old, new, pixels in rows:
        matrix[place.get(old, size - 1), place.get(new, size - 1)] += pixels
    shown = [names.get(class_id, "unlabelled" if class_id == 0 else f"class {class_id}") for class_id in kept]
    return shown + [OTHERS] * (size - len(kept)), matrix


def draw_flow(axes: Axes, flow: Iterable[tuple[int, int, int]], names: Mapping[int, str]) -> None:
    """The matrix on given axes: colour by the logarithm of the pixels, and its number in each cell."""
    from matplotlib.colors import LogNorm

    shown, matrix = matrix_of(flow, names)
    filled = np.ma.masked_equal(matrix, 0)
    most = max(10, int(matrix.max(initial=1)))
    axes.imshow(filled, norm=LogNorm(1, most), cmap="YlGnBu", aspect="equal")
    for old, new in zip(*np.nonzero(matrix), strict=True):
        pixels = int(matrix[old, new])
        dark = np.log(pixels) > 0.6 * np.log(most)
        colour = "white" if dark else "#10243a"
        axes.text(new, old, short(pixels), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(shown)), shown, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), shown)
    axes.set_xlabel("to class")
    axes.set_ylabel("from class")
    axes.grid(visible=False)


def write_flow_png(path: Path, flow: Flow, names: Mapping[int, str], title: str) -> Path:
    """A PNG of the matrix; its size follows the number of classes. Raises ValueError for an empty flow."""
    from matplotlib.figure import Figure

    if not flow:
        raise ValueError("no pixel changed its class: there is nothing to draw")
    size_in = 3.2 + 0.42 * len(matrix_of(flow, names)[0])
    figure = Figure(figsize=(size_in + 0.8, size_in), layout="constrained")
    axes = figure.add_subplot()
    draw_flow(axes, flow, names)
    axes.set_title(f"{title}\npixels by class, from (row) to (column)", loc="left", fontsize=10)
    figure.savefig(path, dpi=130)
    return path


def short(number: int) -> str:
    """A count in few characters: 950, 1.2k, 34k, 5.6M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            value = number / size
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return str(number)
