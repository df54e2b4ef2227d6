"""What a project may set about its checks, its consensus and its adjudication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from terrazzo_masks.checks import CODES, CheckSettings
from terrazzo_masks.checks import Severity as CheckSeverity
from terrazzo_masks.consensus import DISPUTED_BELOW
from terrazzo_schema.errors import Unprocessable

_DEFAULT = CheckSettings()
Area = Annotated[int, Field(ge=0, le=2**31 - 1)]
Width = Annotated[int, Field(ge=1, le=65_535)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class QaSettings(BaseModel):
    """Every key, with its default. The first block is handed to terrazzo_masks.checks as it is.

    A consensus goes to adjudication when more than `adjudicate_disputed_share` of its pixels are disputed, or when
    a connected disputed region has `adjudicate_component_px` pixels or more. A pixel is disputed when classes tie
    (then it is unlabelled too), or when the winner's posterior is under `disputed_below` (above 2/3: two votes of
    three won't do).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    unlabelled_share_max: Share = _DEFAULT.unlabelled_share_max
    hole_area_max_px: Area = _DEFAULT.hole_area_max_px
    island_area_max_px: Area = _DEFAULT.island_area_max_px
    sliver_area_max_px: Area = _DEFAULT.sliver_area_max_px
    sliver_width_max_px: Width = _DEFAULT.sliver_width_max_px
    proposal_seconds_min: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = (
        _DEFAULT.proposal_seconds_min
    )
    findings_max: Annotated[int, Field(ge=1, le=1_000)] = _DEFAULT.findings_max
    severity: dict[str, CheckSeverity] = Field(default_factory=dict)
    enabled: list[str] = Field(default_factory=lambda: list(CODES))

    consensus_method: Literal["auto", "majority", "weighted", "anchored_staple", "dawid_skene", "staple"] = "auto"
    disputed_below: Share = DISPUTED_BELOW
    adjudicate_disputed_share: Share = 0.02
    adjudicate_component_px: Annotated[int, Field(ge=1, le=2**31 - 1)] = 500
    adjudicate_margin_px: Annotated[int, Field(ge=0, le=65_535)] = 8

    @field_validator("severity", "enabled")
    @classmethod
    def _known_codes(cls, value: Any) -> Any:
        for code in value:
            if code not in CODES:
                raise ValueError(f"unknown check {ascii(code)[:100]}: it is one of {', '.join(CODES)}")
        # Votes of another size can't be counted, so this check is no matter of taste.
        if isinstance(value, list) and "wrong-size" not in value:
            raise ValueError("wrong-size can't be switched off")
        if isinstance(value, dict) and value.get("wrong-size", "error") != "error":
            raise ValueError("wrong-size is always an error")
        return value

    def for_checks(self) -> CheckSettings:
        """The part that terrazzo_masks.checks reads."""
        return CheckSettings(
            unlabelled_share_max=self.unlabelled_share_max,
            hole_area_max_px=self.hole_area_max_px,
            island_area_max_px=self.island_area_max_px,
            sliver_area_max_px=self.sliver_area_max_px,
            sliver_width_max_px=self.sliver_width_max_px,
            proposal_seconds_min=self.proposal_seconds_min,
            findings_max=self.findings_max,
            severity=dict(self.severity),
            enabled=frozenset(self.enabled),
        )


def parse_settings(given: Mapping[str, Any]) -> QaSettings:
    """The settings that `given` makes; an absent key has its default.

    Raises Unprocessable that names the key, the value and what is allowed.
    """
    try:
        return QaSettings.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        raise Unprocessable(
            f"unknown setting {name}" if unknown else f"setting {name}: {first['msg']}",
            field=f"settings.{name}",
            value=ascii(first.get("input")),
            remedy=f"the settings are {', '.join(QaSettings.model_fields)}",
        ) from error
