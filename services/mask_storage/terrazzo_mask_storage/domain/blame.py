"""Blame: who set a pixel. The history gives the mask, the mask's provenance gives the one who set the value.

The rules, per mask in which the pixel has class c:

- *prediction*, *import*: its actor.
- *submission*: the model, when the proposal that was corrected already said c there (the annotator accepted it);
  otherwise the annotator.
- *consensus*: the sources that say c agree. If each of them took c from the proposal, the model set it; if one
  annotator alone drew it, that one; otherwise the consensus as such.
- *adjudication*, *audit*: what the parent already said is the parent's; otherwise the reviewer's.
- *merge*: what the merge base already said is the base's; otherwise it is of the side that says c, target first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["annotator", "model", "import", "consensus"]
Source = Literal["submission", "consensus", "adjudication", "audit", "merge", "prediction", "import"]

# In the order in which they are numbered in the database: a new one goes to the end.
SOURCES: tuple[Source, ...] = (
    "submission",
    "consensus",
    "adjudication",
    "audit",
    "merge",
    "prediction",
    "import",
)
# Which row speaks for a mask that has several, when the decision does not say.
_RANK: tuple[Source, ...] = ("adjudication", "audit", "consensus", "merge", "submission", "import", "prediction")
# Provenance may be a long chain (stroke upon stroke): beyond this the link that was reached answers.
DEPTH_MAX = 300
_SOURCE_OF_DECISION: dict[str, Source] = {
    "single": "submission",
    "consensus": "consensus",
    "adjudication": "adjudication",
    "audit": "audit",
}


@dataclass(frozen=True)
class Origin:
    """One row of a mask's provenance."""

    source: Source
    actor: str
    submission_id: str | None = None
    parent_mask_id: str | None = None
    source_mask_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Who set the value: see `BlameView` for the fields."""

    source: Source
    set_by: str
    kind: Kind
    submission_id: str | None
    accepted_by: tuple[str, ...]


@dataclass(frozen=True)
class Pixel:
    """What blame may ask about one pixel of one sample.

    `class_at(mask_id)` is the class there, None when the mask is not known or does not reach so far;
    `origins_of(mask_id)` its provenance, in a fixed order.
    """

    class_at: Callable[[str], int | None]
    origins_of: Callable[[str], Sequence[Origin]]


def set_by(mask_id: str, pixel: Pixel, decided_by: str | None) -> Verdict:
    """Who set the pixel's class in this mask. `decided_by` picks the row of provenance when there are several."""
    return _set_by(mask_id, pixel, _SOURCE_OF_DECISION.get(decided_by or ""), frozenset())


def _set_by(mask_id: str, pixel: Pixel, wanted: Source | None, seen: frozenset[str]) -> Verdict:
    origins = sorted(pixel.origins_of(mask_id), key=lambda o: (o.source != wanted, _RANK.index(o.source), o.actor))
    if not origins:
        return Verdict("import", "unknown", "import", None, ())
    origin = origins[0]
    present = pixel.class_at(mask_id)
    parent = origin.parent_mask_id
    inner = seen | {mask_id}
    may_go_on = parent is not None and parent not in inner and len(inner) < DEPTH_MAX
    from_parent = may_go_on and parent is not None and pixel.class_at(parent) == present
    if origin.source == "prediction":
        return Verdict("prediction", origin.actor, "model", origin.submission_id, ())
    if origin.source == "import":
        return Verdict("import", origin.actor, "import", origin.submission_id, ())
    if origin.source == "submission":
        actors = tuple(sorted({o.actor for o in origins if o.source == "submission"}))
        if from_parent and parent is not None:
            below = _set_by(parent, pixel, None, inner)
            return Verdict("submission", below.set_by, below.kind, origin.submission_id, actors)
        return Verdict("submission", origin.actor, "annotator", origin.submission_id, actors)
    if origin.source == "merge":
        sides = [parent] if from_parent and parent is not None else []
        sides += [s for s in origin.source_mask_ids if s not in inner and len(inner) < DEPTH_MAX]
        side = next((s for s in sides if pixel.class_at(s) == present), None)
        if side is not None:
            return _set_by(side, pixel, None, inner)
        return Verdict("merge", origin.actor, "annotator", origin.submission_id, ())
    if origin.source == "consensus":
        return _of_consensus(origin, present, pixel, inner)
    agreeing = _agreeing(origin, present, pixel, inner)
    accepted = {actor for verdict in agreeing for actor in verdict.accepted_by}
    if from_parent and parent is not None:
        below = _set_by(parent, pixel, None, inner)
        accepted.update(below.accepted_by)
        return Verdict(origin.source, below.set_by, below.kind, below.submission_id, tuple(sorted(accepted)))
    accepted.add(origin.actor)
    return Verdict(origin.source, origin.actor, "annotator", origin.submission_id, tuple(sorted(accepted)))


def _agreeing(origin: Origin, present: int | None, pixel: Pixel, seen: frozenset[str]) -> list[Verdict]:
    return [
        _set_by(source, pixel, "submission", seen)
        for source in origin.source_mask_ids
        if source not in seen and pixel.class_at(source) == present
    ]


def _of_consensus(origin: Origin, present: int | None, pixel: Pixel, seen: frozenset[str]) -> Verdict:
    agreeing = _agreeing(origin, present, pixel, seen)
    accepted = tuple(sorted({actor for verdict in agreeing for actor in verdict.accepted_by}))
    setters = sorted({(verdict.kind, verdict.set_by) for verdict in agreeing})
    drawn = [setter for setter in setters if setter[0] == "annotator"]
    if len(setters) == 1 or len(drawn) == 1:
        # One drew it, or all took it from the same proposal; beside one who drew it the others accepted it.
        kind, actor = drawn[0] if drawn else setters[0]
        submission_id = next((v.submission_id for v in agreeing if (v.kind, v.set_by) == (kind, actor)), None)
        return Verdict("consensus", actor, kind, submission_id, accepted)
    return Verdict("consensus", origin.actor, "consensus", origin.submission_id, accepted)
