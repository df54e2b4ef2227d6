"""What every format is written against: samples out, samples in, and a report of what did not fit.

    write(dataset, report) -> Iterator[Member]
    read(source, classes, report, limits) -> Iterator[Found]

A writer is a generator of members (name and bytes): whoever drives it makes a zip, a folder or a request of them,
and memory holds one sample at a time. A reader yields one sample at a time from a Source. Neither drops anything
silently: what the target can't express is told to the Report, per sample, as refused (the sample is not there) or
as lost (it is there, less what the note says). Nothing in this package opens a file.

Axes: labels_HW uint8 or uint16 class ids, 0 = unlabelled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np

from terrazzo_masks.errors import MaskError, UnsupportedMask
from terrazzo_masks.labels import LabelMap, count_classes, dtype_for, require_labels

CLASSES_FILE = "classes.json"
CLASSES_FORMAT = "terrazzo-classes"
REPORT_FILE = "export-report.json"
NOTES_MAX = 10_000
JSON_BYTES_MAX = 512 * 2**20
EXTENSIONS = {f"image/{name}": name for name in ("png", "webp", "bmp")}
EXTENSIONS |= {"image/jpeg": "jpg", "image/tiff": "tif"}
Split = Literal["train", "val"]
Rgb = tuple[int, int, int]


class FormatError(MaskError):
    """The archive as a whole is not in the format, or the classes can't be written in it. Names file and place."""


class UnreadableFile(MaskError):
    """One file of a source can't be read (a link, encrypted, too large, damaged); the others can."""


@dataclass(frozen=True)
class ClassInfo:
    """A class: `value` is its pixel value in foreign index images (None: no value means it)."""

    id: int
    name: str
    rgb: Rgb
    parent_id: int | None = None
    value: int | None = None

    @property
    def hex_color(self) -> str:
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)

    def to_document(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "color": self.hex_color, "parent_id": self.parent_id}


@dataclass(frozen=True)
class ClassTable:
    """Classes in the ontology's order; `unlabelled` are the foreign pixel values that mean 0."""

    classes: tuple[ClassInfo, ...]
    unlabelled: frozenset[int] = frozenset({0})

    def __iter__(self) -> Iterator[ClassInfo]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(one.id for one in self.classes)

    def palette(self) -> dict[int, Rgb]:
        return {one.id: one.rgb for one in self.classes}

    def names(self) -> dict[int, str]:
        return {one.id: one.name for one in self.classes}

    def values(self) -> dict[int, int]:
        """Pixel value of a foreign index image -> class id, unlabelled values included."""
        claimed = {one.value: one.id for one in self.classes if one.value is not None}
        return {**dict.fromkeys(self.unlabelled, 0), **claimed}

    def by_color(self) -> dict[Rgb, int]:
        """Colour -> class id. Raises FormatError when two classes have one colour."""
        found: dict[Rgb, ClassInfo] = {}
        for one in self.classes:
            if one.rgb in found:
                raise FormatError(
                    f"the classes {found[one.rgb].name!r} and {one.name!r} have one colour, {one.hex_color}: "
                    "a format of colours can't tell them apart"
                )
            found[one.rgb] = one
        return {rgb: one.id for rgb, one in found.items()}

    def matched(self, foreign: Iterable[tuple[int, str]]) -> dict[int, int]:
        """Foreign class id -> ours: the same id and name, else the one class of that name; others are left out."""
        by_name: dict[str, list[int]] = {}
        for one in self.classes:
            by_name.setdefault(one.name, []).append(one.id)
        mapping: dict[int, int] = {}
        for foreign_id, name in foreign:
            own = by_name.get(name, [])
            if foreign_id in own:
                mapping[foreign_id] = foreign_id
            elif len(own) == 1:
                mapping[foreign_id] = own[0]
        return mapping


@dataclass(frozen=True)
class Picture:
    """A sample's image: its file bytes, read when asked for."""

    read: Callable[[], bytes]
    media_type: str

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.media_type]


@dataclass(frozen=True)
class Sample:
    """A sample on its way out. `stem` is unique in the dataset (also where case is ignored), safe as a file name.

    `labels()` reads the whole map, `region(y, x, height, width)` a part of it. `layers` are further label maps of
    the same picture, by name. `attributes` are what an import kept for an export: "volume", "geotiff", ...
    `counts` are its pixels per class id, where they are known without reading it.
    """

    stem: str
    sample_id: str
    height: int
    width: int
    labels: Callable[[], LabelMap]
    image: Picture | None = None
    split: Split = "train"
    attributes: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, Callable[[], LabelMap]] = field(default_factory=dict)
    region: Callable[[int, int, int, int], LabelMap] | None = None
    counts: Mapping[int, int] | None = None

    def window(self, y: int, x: int, height: int, width: int) -> LabelMap:
        """labels_HW of a part; from the whole map when the sample has no `region`."""
        if self.region is not None:
            return self.region(y, x, height, width)
        return self.labels()[y : y + height, x : x + width]


@dataclass(frozen=True)
class Dataset:
    """A version on its way out: `samples()` can be called again and gives the same samples in the same order."""

    classes: ClassTable
    samples: Callable[[], Iterator[Sample]]
    name: str = "dataset"
    version: str = ""
    ontology: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Member:
    """A file of the export. An iterator of bytes is drained before the next member is asked for."""

    name: str
    data: bytes | Iterator[bytes]


@dataclass(frozen=True)
class Found:
    """A sample on its way in. Nothing is read before `image` or `labels` is called; both may raise MaskError.

    `labels(height, width)` is given the image's true size and returns class ids of the project. No `image`: the
    sample is one that is known already by `name` (compared without folder and suffix). `image_file` and
    `labels_file` are what a report names.
    """

    name: str
    image: Callable[[], bytes] | None
    image_file: str
    labels: Callable[[int, int], LabelMap] | None = None
    labels_file: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """An archive or a folder that is read. Names are relative, with '/', and safe."""

    def names(self) -> Sequence[str]: ...

    def open(self, name: str) -> BinaryIO:
        """Raises UnreadableFile, KeyError for a name that is not in `names()`."""
        ...

    def read(self, name: str, max_bytes: int) -> bytes:
        """The whole file. Raises UnreadableFile, also when it has more than `max_bytes`."""
        ...


@dataclass(frozen=True)
class Limits:
    """What is not exceeded when reading: pixels of a picture, bytes of one file."""

    max_pixels: int = 2**28
    max_bytes: int = 2**28


@dataclass(frozen=True)
class Note:
    """About one sample or file."""

    file: str
    reason: str


@dataclass
class Report:
    """What happened to each sample. All are counted, the first 10,000 notes of each kind are kept."""

    num_done: int = 0
    num_refused: int = 0
    num_lost: int = 0
    refusals: list[Note] = field(default_factory=list)
    losses: list[Note] = field(default_factory=list)

    def done(self) -> None:
        """One more sample is there (whole, or with what `lost` said of it)."""
        self.num_done += 1

    def refused(self, file: str, reason: str) -> None:
        self.num_refused += 1
        if len(self.refusals) < NOTES_MAX:
            self.refusals.append(Note(file, reason))

    def lost(self, file: str, reason: str) -> None:
        self.num_lost += 1
        if len(self.losses) < NOTES_MAX:
            self.losses.append(Note(file, reason))

    def to_document(self) -> dict[str, Any]:
        return {
            "num_samples": self.num_done,
            "num_refused": self.num_refused,
            "num_losses": self.num_lost,
            "refused": [{"sample": note.file, "reason": note.reason} for note in self.refusals],
            "losses": [{"sample": note.file, "reason": note.reason} for note in self.losses],
        }


@dataclass(frozen=True)
class Abilities:
    """What a format can express; the rest is refused or reported."""

    max_class_id: int = 65534
    unlabelled: bool = True
    holes: bool = True
    overlaps: bool = False
    hierarchy: bool = False
    georeference: bool = False
    volumes: bool = False


@dataclass(frozen=True)
class Format:
    """One format. `check` raises FormatError for classes that can't be written at all, before the first byte."""

    name: str
    title: str
    abilities: Abilities
    write: Callable[[Dataset, Report], Iterator[Member]]
    read: Callable[[Source, ClassTable, Report, Limits], Iterator[Found]]
    check: Callable[[ClassTable], None] = lambda classes: None


class MemorySource:
    """Files in a mapping: name -> bytes."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def names(self) -> Sequence[str]:
        return list(self._files)

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._files[name])

    def read(self, name: str, max_bytes: int) -> bytes:
        data = self._files[name]
        if len(data) > max_bytes:
            raise UnreadableFile(f"it has {len(data)} bytes; at most {max_bytes} are taken")
        return data


def readable(sample: Sample, report: Report) -> LabelMap | None:
    """The sample's label map, or None when the store can't give it: the report says why."""
    try:
        return sample.labels()
    except MaskError as error:
        report.refused(sample.stem, f"its mask can't be read: {error}")
        return None


def expressible(sample: Sample, report: Report, abilities: Abilities) -> LabelMap | None:
    """The sample's label map, or None when it can't be read, or the format can't hold its ids: the report says
    why. Further layers are reported as lost where a format has one label map for a picture."""
    labels_HW = readable(sample, report)
    if labels_HW is None:
        return None
    highest = int(labels_HW.max())
    if highest > abilities.max_class_id:
        limit = abilities.max_class_id
        report.refused(sample.stem, f"class id {highest} does not fit: this format holds ids up to {limit}")
        return None
    lost_layers(sample, report, abilities)
    return labels_HW


def lost_layers(sample: Sample, report: Report, abilities: Abilities) -> None:
    """Report the layers over a sample's label map where the format holds no overlaps."""
    if sample.layers and not abilities.overlaps:
        names = ", ".join(sorted(sample.layers))
        report.lost(sample.stem, f"the layers {names} are left out: this format has one label map for a picture")


def translated(values_HW: LabelMap, to_id: Mapping[int, int]) -> LabelMap:
    """Foreign pixel values -> class ids. Raises UnsupportedMask that names the first pixel of another value."""
    require_labels(values_HW)
    counts = count_classes(values_HW)
    stray = sorted(counts.keys() - to_id.keys())
    if stray:
        y, x = np.unravel_index(int(np.argmax(values_HW == stray[0])), values_HW.shape)
        raise UnsupportedMask(
            f"value {stray[0]} (first at row {int(y)}, column {int(x)}; {counts[stray[0]]} pixels) "
            "is claimed by no class"
        )
    own = [to_id[value] for value in counts]
    table: LabelMap = np.zeros(max(counts) + 1, dtype=dtype_for(max(own)))
    table[list(counts)] = own
    labels_HW: LabelMap = table[values_HW]
    return labels_HW


def read_json(source: Source, name: str, max_bytes: int = JSON_BYTES_MAX) -> Any:
    """A JSON file of the source. Raises FormatError that names the file."""
    try:
        return json.loads(source.read(name, max_bytes))
    except (UnreadableFile, ValueError, RecursionError) as error:
        raise FormatError(f"{name}: {error}") from error


def classes_member(dataset: Dataset) -> Member:
    """classes.json: what the pixels of an export mean."""
    document: dict[str, Any] = {
        "format": CLASSES_FORMAT,
        "version": 1,
        "project": dataset.name,
        "commit_id": dataset.version,
        "pixels": "class ids; 0 is unlabelled",
        "classes": [one.to_document() for one in dataset.classes],
    }
    if dataset.ontology is not None:
        document["ontology"] = dict(dataset.ontology)
    return Member(CLASSES_FILE, json.dumps(document, indent=1, ensure_ascii=False).encode())


def own_classes(source: Source, classes: ClassTable) -> dict[int, int] | None:
    """Class id in the archive -> ours, by the archive's classes.json (0 is unlabelled); None when it has none of
    ours. Raises FormatError for a classes.json that can't be read."""
    found = named(source, CLASSES_FILE)
    document = read_json(source, found) if found is not None else None
    if not isinstance(document, Mapping) or document.get("format") != CLASSES_FORMAT:
        return None
    listed = document["classes"] if isinstance(document.get("classes"), list) else []
    foreign = [
        (entry["id"], str(entry.get("name")))
        for entry in listed
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), int) and 0 < entry["id"] <= 65535
    ]
    return {0: 0, **classes.matched(foreign)}


def pixel_values(source: Source, classes: ClassTable) -> dict[int, int]:
    """Pixel value -> class id: of our own classes.json where there is one, else the ontology's values."""
    own = own_classes(source, classes)
    return classes.values() if own is None else own


def named(source: Source, file_name: str) -> str | None:
    """The first file of this name, in whatever folder."""
    return next((name for name in source.names() if name.rsplit("/", 1)[-1] == file_name), None)
