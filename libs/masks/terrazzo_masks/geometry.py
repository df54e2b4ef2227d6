"""Shapes in a label map: regions, boxes, boundary lengths and polygons. The public names of five small modules."""

from terrazzo_masks.boundaries import boundary_length_px, wrong_boundary_length_px
from terrazzo_masks.boxes import Box, tight_box
from terrazzo_masks.outlines import polygons, rasterize, simplify_vertices
from terrazzo_masks.regions import Component, components, holes, islands, label_components, slivers
from terrazzo_masks.rings import Polygon, Ring

__all__ = [
    "Box",
    "Component",
    "Polygon",
    "Ring",
    "boundary_length_px",
    "components",
    "holes",
    "islands",
    "label_components",
    "polygons",
    "rasterize",
    "simplify_vertices",
    "slivers",
    "tight_box",
    "wrong_boundary_length_px",
]
