"""The figures as text and as the table of README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.harness import Figure

START, END = "<!-- table: written by make bench -->", "<!-- end of table -->"
HEAD = ("topic", "figure", "ours", "peer", "peer is", "ratio", "wanted", "reached")


def _rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    return [
        (
            f.topic,
            f.name + (f" ({f.note})" if f.note else ""),
            f"{f.ours:,.4g} {f.unit}",
            f"{f.peer:,.4g} {f.unit}",
            f.peer_name,
            f"{f.ratio:,.3g}",
            f"{f.want} {f.target:g}",
            "yes" if f.reached else "NO",
        )
        for f in figures
    ]


def as_text(figures: Sequence[Figure], versions: Mapping[str, str]) -> str:
    """Aligned columns for a terminal."""
    rows = [HEAD, *_rows(figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    missed = sum(not figure.reached for figure in figures)
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join([*lines, "", f"{len(figures) - missed} of {len(figures)} reached; {said}"])


def as_markdown(figures: Sequence[Figure], versions: Mapping[str, str], page: str) -> str:
    """The page with the table between its two marks replaced."""
    before, rest = page.split(START)
    _, after = rest.split(END)
    lines = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(figures)]
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join([before + START, "", *lines, "", f"Taken with {said}.", "", END + after])
