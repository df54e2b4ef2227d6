"""Shapes in a label map: regions, boundary lengths, polygons, boxes; the public names of all of them."""

from terrazzo_masks.boxes import Box, tight_box
from terrazzo_masks.geometry.boundaries import boundary_length_px, wrong_boundary_length_px
from terrazzo_masks.geometry.outlines import polygons, rasterize, simplify_vertices
from terrazzo_masks.geometry.regions import Component, components, holes, islands, label_components, slivers
from terrazzo_masks.geometry.rings import Polygon, Ring

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
