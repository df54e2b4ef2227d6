"""`report.html`: one file that shows what a simulated run did; it fetches nothing when it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from terrazzo.simulation import plots, timing
from terrazzo.simulation.gallery import GalleryItem, data_uri, palette, tiles

Json = Mapping[str, Any]

MAX_BYTES = 6_000_000
_GALLERY_SIDES_PX = (400, 256, 180, 120)
_MAX_GALLERY_ITEMS = 12


def write_report(summary: Json, gallery: Sequence[GalleryItem], out: Path) -> Path:
    """Write `report.html` into the folder `out` (or to `out` itself when it ends in .html); returns its path.

    `summary` follows docs/summary-schema.md. Pictures are made smaller until the file is under 6 MB.
    """
    path = out if out.suffix == ".html" else out / "report.html"
    html, figures = "", _figures(summary)
    for side_px in _GALLERY_SIDES_PX:
        html = render(summary, gallery, side_px, figures)
        if len(html.encode()) < MAX_BYTES:
            break
    path.write_text(html, encoding="utf-8")
    return path


def render(
    summary: Json,
    gallery: Sequence[GalleryItem],
    side_px: int = _GALLERY_SIDES_PX[0],
    figures: Mapping[str, Markup] | None = None,
) -> str:
    """The page as text, gallery pictures at most `side_px` on their longer side.

    `figures` are drawn from the summary when they are not given.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["hours"] = hours
    environment.filters["share"] = share
    return environment.get_template("report.html.j2").render(
        summary=summary,
        totals=summary["totals"],
        rounds=summary["rounds"],
        headlines=headlines(summary),
        figures=_figures(summary) if figures is None else figures,
        gallery=_gallery(summary, gallery, side_px),
        timing=timing.explain(),
    )


def _figures(summary: Json) -> dict[str, Markup]:
    """The figures for which the summary has data, as SVG."""
    figures: dict[str, str] = {}
    if summary["stages"]:
        figures["timeline"] = plots.timeline(summary)
    if any(entry["model_miou"] is not None for entry in summary["rounds"]):
        figures["learning"] = plots.learning_curve(summary)
        figures["cost"] = plots.cost_curve(summary)
    if summary["rounds"]:
        figures["seconds"] = plots.seconds_per_sample(summary)
    if any(entry["consensus_iou"] is not None for entry in summary["rounds"]):
        figures["consensus"] = plots.consensus_gain(summary)
    if any(entry["model_iou_per_class"] for entry in summary["rounds"]):
        figures["classes"] = plots.class_iou(summary)
    if summary["confusion"] is not None:
        figures["confusion"] = plots.confusion(summary)
    if summary.get("change") and summary["change"]["flow"]:
        figures["flow"] = plots.flow(summary)
    # Made by matplotlib from our own numbers and escaped there, so they are markup.
    return {name: Markup(text) for name, text in figures.items()}


def _gallery(summary: Json, gallery: Sequence[GalleryItem], side_px: int) -> list[dict[str, Any]]:
    colours = palette(summary["classes"])
    return [
        {
            "name": item.name,
            "round": item.round,
            "tiles": [
                {"caption": tile.caption, "uri": data_uri(tile), "pixelated": tile.pixelated}
                for tile in tiles(item, colours, side_px)
            ],
        }
        for item in gallery[:_MAX_GALLERY_ITEMS]
    ]


def headlines(summary: Json) -> list[dict[str, str]]:
    """The run in a handful of figures: value, what it is, and what it is measured against."""
    totals, rounds = summary["totals"], summary["rounds"]
    found = []
    if totals["first_miou"] is not None and totals["last_miou"] is not None:
        note = f"mIoU of the model on {summary['num_held_out']} held-out samples, first round to last"
        found.append({"value": f"{totals['first_miou']:.3f} → {totals['last_miou']:.3f}", "what": note})
    several = [entry for entry in rounds if entry["consensus_iou"] is not None]
    weight = sum(entry["num_multi_annotated"] for entry in several)
    if weight:
        single, together = (
            sum((entry[key] or 0.0) * entry["num_multi_annotated"] for entry in several) / weight
            for key in ("single_annotator_iou", "consensus_iou")
        )
        note = f"IoU with the truth, mean single annotator to consensus, {weight} samples"
        found.append({"value": f"{single:.3f} → {together:.3f}", "what": note})
    if rounds:
        first_s, last_s = rounds[0]["human_seconds_per_sample"], rounds[-1]["human_seconds_per_sample"]
        note = "human time per sample, first round to last"
        found.append({"value": f"{first_s:.0f} s → {last_s:.0f} s", "what": note})
    saved_s = totals["human_seconds_from_nothing"] - totals["human_seconds"]
    if totals["human_seconds_from_nothing"] > 0:
        percent = round(100 * saved_s / totals["human_seconds_from_nothing"])
        note = f"human time spared of {hours(totals['human_seconds_from_nothing'])} from nothing"
        found.append({"value": f"{percent} %", "what": note})
    note = f"tasks leaked of {totals['tasks_created']} created"
    found.append({"value": str(totals["tasks_leaked"]), "what": note})
    note = f"for the whole run, {totals['peak_memory_mb']:.0f} MB at its peak"
    found.append({"value": hours(totals["wall_s"]), "what": note})
    return found


def hours(seconds: float) -> str:
    """Seconds in words: '48 s', '12 min', '3.4 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def share(value: float | None, digits: int = 3) -> str:
    """A share with fixed digits, or a dash when it was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"
