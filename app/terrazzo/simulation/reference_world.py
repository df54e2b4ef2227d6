"""The world that is simulated: images, what is truly in them, and the words for it.

The truth is read by the simulated people and by the final evaluation, and by nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terrazzo.simulation import reference
from terrazzo.simulation.scenes import write_dataset
from terrazzo_masks.labels import LabelMap
from terrazzo_schema.ontology import Ontology, parse_ontology

_KEPT_IN_MEMORY = 64
# A street is told by what is around: seen at less than half its size a crop shows nearly the whole scene.
SCENES_TRAINING = {"scale_min": 0.4, "scale_max": 1.0}


@dataclass
class World:
    """Reference pairs by image name, the ontology, and where they come from (`kind`, `note`).

    `training`: settings of training runs that suit these images.
    """

    pairs: dict[str, reference.ReferencePair]
    ontology: Ontology
    kind: str
    note: str
    training: Mapping[str, Any] = field(default_factory=dict)
    _cache: OrderedDict[str, LabelMap] = field(default_factory=OrderedDict)

    def truth(self, name: str) -> LabelMap:
        """Label map (H, W) uint16 of class ids, 0 = unlabelled. Raises UnclaimedValue."""
        if name not in self._cache:
            pair = self.pairs[name]
            self._cache[name] = reference.to_label_map(
                reference.read_values(pair.truth_path),
                self.ontology.value_to_id(),
                self.ontology.unlabelled,
                str(pair.truth_path),
            )
            if len(self._cache) > _KEPT_IN_MEMORY:
                self._cache.popitem(last=False)
        self._cache.move_to_end(name)
        return self._cache[name]

    def verify(self, advance: Callable[[], None]) -> None:
        """Read every mask once, so that a value that no class claims stops the run before it starts."""
        for name in self.pairs:
            self.truth(name)
            advance()


def from_folders(images: Path, truth: Path, ontology: Path | None) -> World:
    """A world of real reference masks. Raises ReferenceFolderError (and kin), OntologyError."""
    pairs = {pair.image_path.name: pair for pair in reference.find_pairs(images, truth)}
    if ontology is not None:
        classes = parse_ontology(ontology.read_text())
    else:
        values = reference.discover_values(pair.truth_path for pair in pairs.values())
        classes = parse_ontology(reference.ontology_from_values(values, images.parent.name or "values"))
    return World(pairs, classes, "folder", f"{len(pairs)} images with reference masks, given as folders")


def generated(folder: Path, count: int, seed: int, advance: Callable[[], None]) -> World:
    """A world of Terrazzo's own street scenes, written below `folder`."""
    write_dataset(folder, count, seed, progress=lambda *_: advance())
    world = from_folders(folder / "images", folder / "masks", folder / "ontology.yaml")
    note = f"{count} street scenes from Terrazzo's own generator, seed {seed}; no real images were given"
    return World(world.pairs, world.ontology, "generated", note, SCENES_TRAINING)
