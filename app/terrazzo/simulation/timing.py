"""How long a person takes: one model for tracing from nothing and for repairing a proposal.

Constants come from the keystroke-level model and from published annotation campaigns; each says which. What no
publication gives is marked as Terrazzo's assumption. All times are for one person of speed 1, in seconds; an
annotator's `speed_factor` multiplies them.

Check against the literature: an outline of 30 vertices costs 1.35 + 30 x 1.3 = 40 s, the 40 s that Ling et al.
(Curve-GCN, CVPR 2019) give for one traced object; COCO needed 79 s (Lin et al., ECCV 2014), Bearman et al.
(ECCV 2016) quote 54 to 79 s, so the model is at the quick end and understates what a proposal saves.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.simulation.label_regions import find_regions, within
from terrazzo_masks.labels import LabelMap

_BRUSH_RADIUS_PX = 3


@dataclass(frozen=True)
class TimeModel:
    """Seconds for each part of the work; `CONSTANTS` gives every field's meaning and source."""

    lease_s: float = 3.0
    submit_s: float = 1.3
    glance_s: float = 1.65
    look_base_s: float = 1.35
    look_s_per_mpx: float = 20.0
    class_pick_s: float = 2.65
    region_start_s: float = 1.35
    vertex_s: float = 1.3
    vertex_tolerance_px: float = 1.5
    brush_start_s: float = 2.65
    brush_s_per_px: float = 0.13

    def seconds_to_open(self) -> float:
        """Lease a task and wait for its image; every submission begins with this."""
        return self.lease_s

    def seconds_to_look(self, labels_HW: LabelMap) -> float:
        """Look a whole label map (H, W) over once."""
        return self.look_base_s + self.look_s_per_mpx * labels_HW.size / 1e6

    def seconds_to_accept_unread(self) -> float:
        """Open, glance, submit."""
        return self.lease_s + self.glance_s + self.submit_s

    def seconds_to_accept(self, proposal_HW: LabelMap) -> float:
        """Open, look it all over, submit unchanged."""
        return self.lease_s + self.seconds_to_look(proposal_HW) + self.submit_s

    def seconds_per_outline_px(self, labels_HW: LabelMap) -> float:
        """Pace at which this label map's outlines are drawn, by polygon or freehand, whichever is faster.

        One pace for tracing and for repairing: a proposal saves what need not be drawn again, nothing else.
        """
        num_vertices, length_px = self._outlines(labels_HW)
        return min(self.brush_s_per_px, self.vertex_s * num_vertices / length_px) if length_px else 0.0

    def seconds_from_nothing(self, labels_HW: LabelMap) -> float:
        """Draw this label map (H, W), class ids, 0 = unlabelled, on an empty canvas.

        Each boundary is drawn once, by the region drawn later, as in Cityscapes' back-to-front order. The
        largest region is the ground that the others are drawn on and costs its class alone.
        """
        num_vertices, length_px = self._outlines(labels_HW)
        regions = find_regions(labels_HW)
        num_classes = len(np.unique(regions.class_of[1:]))
        drawing_s = min(self.brush_s_per_px * length_px, self.vertex_s * num_vertices)
        starting_s = self.class_pick_s * num_classes + self.region_start_s * max(0, len(regions) - 1)
        return self.lease_s + starting_s + drawing_s + self.seconds_to_look(labels_HW) + self.submit_s

    def _outlines(self, labels_HW: LabelMap) -> tuple[float, float]:
        """Vertices and pixels of all boundaries, each boundary counted once though it has two sides."""
        from scipy import ndimage

        from terrazzo_masks.geometry import simplify_vertices, wrong_boundary_length_px

        num_vertices = 0
        for class_id, box in enumerate(ndimage.find_objects(labels_HW.astype(np.int32)), start=1):
            if box is not None:
                mask_HW = np.asarray(labels_HW[box] == class_id)
                num_vertices += simplify_vertices(mask_HW, self.vertex_tolerance_px)
        # Against a map that is wrong everywhere, all boundaries have to be drawn.
        length_px = wrong_boundary_length_px(labels_HW, labels_HW ^ labels_HW.dtype.type(1))
        return num_vertices / 2, length_px

    def seconds_to_repair(self, proposal_HW: LabelMap, result_HW: LabelMap) -> float:
        """Turn the proposal into the result: redraw the wrong boundary, region by region."""
        from terrazzo_masks.geometry import wrong_boundary_length_px

        changed_HW = np.asarray(proposal_HW != result_HW)
        if not changed_HW.any():
            return self.seconds_to_accept(proposal_HW)
        # Changes that lie closer than a brush is wide are repaired in one go.
        strokes_s = self.brush_start_s * _count_regions(within(changed_HW, _BRUSH_RADIUS_PX))
        # A region that is mostly not there has to be begun, as in tracing.
        regions = find_regions(result_HW)
        changed_px = np.bincount(regions.index_HW[changed_HW], minlength=len(regions) + 1)[1:]
        begun = changed_px > 0.5 * regions.area_px[1:]
        strokes_s += self.region_start_s * int(begun.sum())
        strokes_s += self.class_pick_s * len(np.unique(regions.class_of[1:][begun]))
        wrong_px = wrong_boundary_length_px(result_HW, proposal_HW)
        strokes_s += self.seconds_per_outline_px(result_HW) * wrong_px
        return self.seconds_to_accept(proposal_HW) + strokes_s

    def seconds_to_correct(self, proposal_HW: LabelMap, result_HW: LabelMap) -> float:
        """The cheaper of repairing and starting over; starting over costs a glance at the proposal more."""
        start_over_s = self.glance_s + self.seconds_from_nothing(result_HW)
        return min(self.seconds_to_repair(proposal_HW, result_HW), start_over_s)

    def seconds_to_decide(self, num_decisions: int) -> float:
        """Choose between alternatives, once for each disputed region: think, point, click."""
        return self.brush_start_s * num_decisions

    def explain(self) -> list[dict[str, Any]]:
        """The model's constants for people: name, value, unit, meaning, source."""
        return [{"name": name, "value": getattr(self, name), **text} for name, text in CONSTANTS.items()]


def _count_regions(mask_HW: NDArray[np.bool_]) -> int:
    """8-connected regions of a mask."""
    import cv2

    return int(cv2.connectedComponents(mask_HW.astype(np.uint8), connectivity=8)[0]) - 1


_KLM = "Card, Moran & Newell 1980, keystroke-level model"

CONSTANTS: dict[str, dict[str, str]] = {
    "lease_s": {
        "unit": "s",
        "meaning": "ask for a task and wait until image and proposal are on the screen",
        "source": "Terrazzo's assumption: two round trips and one megabyte over an office connection",
    },
    "submit_s": {
        "unit": "s",
        "meaning": "point at 'submit' and click",
        "source": f"{_KLM}: pointing 1.1 s + button 0.2 s",
    },
    "glance_s": {
        "unit": "s",
        "meaning": "take a proposal in and decide what to do with it",
        "source": f"{_KLM}: mental act 1.35 s; one fixation 0.3 s (Rayner 1998)",
    },
    "look_base_s": {
        "unit": "s",
        "meaning": "decide that a mask is right as it stands",
        "source": f"{_KLM}: mental act 1.35 s; compare 1.6 s a box, Papadopoulos et al. CVPR 2016",
    },
    "look_s_per_mpx": {
        "unit": "s per megapixel",
        "meaning": "look a mask over",
        "source": "about 65 fixations of 0.3 s (Rayner 1998) for a screen of one megapixel; the number of "
        "fixations is Terrazzo's assumption",
    },
    "class_pick_s": {
        "unit": "s per class",
        "meaning": "find a class in the palette and choose it",
        "source": f"{_KLM}: mental act 1.35 s + pointing 1.1 s + button 0.2 s",
    },
    "region_start_s": {
        "unit": "s per region",
        "meaning": "decide where the next outline begins",
        "source": f"{_KLM}: mental act 1.35 s",
    },
    "vertex_s": {
        "unit": "s per vertex",
        "meaning": "place one polygon vertex",
        "source": f"{_KLM}: pointing 1.1 s + button 0.2 s; agrees with 40 s an object (Ling et al. CVPR 2019)",
    },
    "vertex_tolerance_px": {
        "unit": "px",
        "meaning": "how far a polygon's side may be from the outline (Douglas-Peucker)",
        "source": "Terrazzo's assumption: a careful outline; a smaller tolerance makes tracing dearer still",
    },
    "brush_start_s": {
        "unit": "s per wrong area",
        "meaning": "see a wrong area, go there, put the brush down",
        "source": f"{_KLM}: mental act 1.35 s + pointing 1.1 s + button 0.2 s",
    },
    "brush_s_per_px": {
        "unit": "s per pixel of boundary",
        "meaning": "lead the brush along the boundary, zoomed in; polygons are used where they are faster",
        "source": "Terrazzo's assumption: the pace of polygons on round outlines, a vertex every 10 px. Tracing "
        "and repairing share it, so a worthless proposal saves nothing; compare the factor 3 that good proposals "
        "saved Andriluka et al. (ACM MM 2018) and Benenson et al. (CVPR 2019)",
    },
}

assert set(CONSTANTS) == {field.name for field in fields(TimeModel)}, "every constant states its source"

DEFAULT_TIME_MODEL = TimeModel()


def explain() -> list[dict[str, Any]]:
    """The default model's constants: name, value, unit, meaning, source."""
    return DEFAULT_TIME_MODEL.explain()
