"""The library on real masks, where the folder of real data is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from terrazzo_masks.consensus import consensus
from terrazzo_masks.diff import diff_manifests, flow
from terrazzo_masks.formats import read_label_image
from terrazzo_masks.geometry import polygons, rasterize
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.measures import confusion, iou
from terrazzo_masks.tiles import MemoryParts, build, paint, read

CELL = 2


@pytest.fixture(scope="module")
def cells(shared_data: Path | None) -> list[tuple[LabelMap, dict[str, LabelMap]]]:
    """(reference, masks by rater) of each image; 1 is background, 2 the cell."""
    if shared_data is None or not (shared_data / "bubil1").is_dir():
        pytest.skip("the folder of real masks (bubil1) is not here")
    images = []
    for gold in sorted((shared_data / "bubil1" / "gold").glob("*.png")):
        raters = sorted((shared_data / "bubil1" / "annotators" / gold.stem).glob("expert_*.png"))
        images.append((cell_map(gold), {path.stem: cell_map(path) for path in raters}))
    return images


def cell_map(path: Path) -> LabelMap:
    return np.where(read_label_image(path.read_bytes()) == 255, CELL, 1).astype(np.uint8)


def cell_iou(reference_HW: LabelMap, labels_HW: LabelMap) -> float:
    return float(iou(confusion(reference_HW, labels_HW, [1, CELL]))[1])


@pytest.mark.parametrize("method", ["auto", "majority", "weighted", "anchored_staple", "dawid_skene"])
def test_the_consensus_of_experts_is_nearer_to_the_reference_than_the_mean_expert(
    cells: list[tuple[LabelMap, dict[str, LabelMap]]], method: str
) -> None:
    """The masks of one person are, in every image, the reference itself: they are left out of votes and mean, for
    with them the comparison would measure a copy."""
    better, single, fused = 0, [], []
    for reference_HW, raters in cells:
        votes = np.stack([m for m in raters.values() if not np.array_equal(m, reference_HW)])
        assert len(votes) == 8
        single.append(np.mean([cell_iou(reference_HW, vote) for vote in votes]))
        fused.append(cell_iou(reference_HW, consensus(votes, method=method).labels))  # type: ignore[arg-type]
        better += fused[-1] > single[-1]
    assert better == len(cells) == 35
    assert np.mean(fused) > np.mean(single) + 0.06


def test_full_frame_staple_is_no_better_than_an_expert_on_a_quarter_of_the_images(
    cells: list[tuple[LabelMap, dict[str, LabelMap]]],
) -> None:
    """Why it is not what decides: the background makes it add to the cell whatever any one expert drew."""
    worse, grown = 0, []
    for reference_HW, raters in cells:
        votes = np.stack([m for m in raters.values() if not np.array_equal(m, reference_HW)])
        fused_HW = consensus(votes, method="staple").labels
        worse += cell_iou(reference_HW, fused_HW) < np.mean([cell_iou(reference_HW, vote) for vote in votes])
        grown.append(np.count_nonzero(fused_HW == CELL) / np.count_nonzero(reference_HW == CELL))
    assert worse >= 8
    assert np.mean(grown) > 1.1


def test_real_masks_survive_tiles_and_polygons(cells: list[tuple[LabelMap, dict[str, LabelMap]]]) -> None:
    for reference_HW, _ in cells[::5]:
        parts = MemoryParts("small")
        manifest = build(reference_HW, parts)
        np.testing.assert_array_equal(read(manifest, parts), reference_HW)
        assert parts.num_bytes < reference_HW.size / 100
        outlined_HW = rasterize(polygons(reference_HW), *reference_HW.shape, np.uint8)
        np.testing.assert_array_equal(outlined_HW, reference_HW)


def test_an_expert_painted_over_the_reference_is_stored_as_what_differs(
    cells: list[tuple[LabelMap, dict[str, LabelMap]]],
) -> None:
    for reference_HW, raters in cells[::5]:
        expert_HW = next(iter(raters.values()))
        parts = MemoryParts("small")
        reference = build(reference_HW, parts)
        painted = paint(reference, expert_HW, 0, 0, parts, expert_HW != reference_HW)
        assert painted == build(expert_HW, MemoryParts())
        assert diff_manifests(reference, painted, parts).flow == flow(reference_HW, expert_HW)


def test_a_folder_of_real_class_masks_is_read(shared_data: Path | None) -> None:
    if shared_data is None or not (shared_data / "nuclei").is_dir():
        pytest.skip("the folder of real masks (nuclei) is not here")
    paths = sorted((shared_data / "nuclei" / "class_masks").glob("*"))[::10]
    assert paths
    for path in paths:
        labels_HW = read_label_image(path.read_bytes())
        assert set(np.unique(labels_HW)) <= {0, 1, 2}
