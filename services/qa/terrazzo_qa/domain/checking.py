"""Check one submitted label map, whatever became of it on the way."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from terrazzo_masks.checks import CheckSettings, Finding, run_checks
from terrazzo_masks.errors import MaskError
from terrazzo_masks.labels import LabelMap
from terrazzo_qa.domain.records import FindingDict, Sample
from terrazzo_schema.ontology import parse_ontology

UNREADABLE = "unreadable-mask"
# An adjudicator or auditor may label a part only, and is not asked for tidiness: the mask must be usable.
USABLE = frozenset({"wrong-size", "unknown-class"})


@lru_cache(maxsize=64)
def class_ids_of(ontology_json: str) -> frozenset[int]:
    """Every class id of an ontology, parents too (a parent's id is a legal label). Raises OntologyError."""
    return frozenset(parse_ontology(ontology_json).ids)


def unreadable(reason: str) -> list[FindingDict]:
    """The finding of a mask that could not be read at all."""
    return [_to_dict(Finding(UNREADABLE, "error", reason))]


def check(
    labels_HW: LabelMap,
    sample: Sample,
    class_ids: frozenset[int],
    settings: CheckSettings,
    *,
    mask_id: str,
    proposal_mask_id: str = "",
    seconds_spent: float | None = None,
    other_mask_ids: tuple[str, ...] = (),
) -> list[FindingDict]:
    """Run the project's checks on uint8 or uint16 class ids (H, W); never raises for what the map holds.

    A mask id is a digest of the pixels, so an unchanged proposal and a copied mask show by their ids.
    """
    try:
        found = run_checks(
            labels_HW,
            expected_hw=(sample.height, sample.width),
            class_ids=class_ids,
            proposal_HW=labels_HW if proposal_mask_id == mask_id else None,
            seconds_spent=seconds_spent,
            others=other_mask_ids,
            digest=mask_id,
            settings=settings,
        )
    except MaskError as error:
        return unreadable(str(error))
    return [_to_dict(finding) for finding in found]


def check_usable(
    labels_HW: LabelMap, sample: Sample, class_ids: frozenset[int], settings: CheckSettings, mask_id: str
) -> list[FindingDict]:
    """The checks without which a mask can't be merged or accepted: size and class ids, always errors."""
    severity = {code: kind for code, kind in settings.severity.items() if code not in USABLE}
    needed = replace(settings, enabled=USABLE, severity=severity)
    return check(labels_HW, sample, class_ids, needed, mask_id=mask_id)


def has_errors(findings: list[FindingDict]) -> bool:
    return any(finding["severity"] == "error" for finding in findings)


def _to_dict(finding: Finding) -> FindingDict:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "class_id": finding.class_id,
        "box": None if finding.box is None else [int(side) for side in finding.box],
        "count": int(finding.count),
    }
