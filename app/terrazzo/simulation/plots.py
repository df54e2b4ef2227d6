"""The report's figures, drawn with matplotlib as SVG that takes the page's colours (light or dark).

Text, grid and muted lines are drawn in placeholder colours, which become CSS variables of the page. Each function
takes parts of `summary.json` (see docs/summary-schema.md) and returns one `<svg>` element as text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from terrazzo.flow_picture import draw_flow, matrix_of

Json = Mapping[str, Any]

# Placeholders in the drawing -> the page's CSS.
_INK, _RULE, _MUTED = "#010203", "#010204", "#010205"
_PAGE_COLOURS = {_INK: "var(--ink)", _RULE: "var(--rule)", _MUTED: "var(--muted)"}
ACCENT, SECOND, THIRD = "#2f7f79", "#c8682f", "#7b6aa8"
ROUND_COLOURS = ("#9ac6bd", "#57a39a", "#2f7f79", "#1c5b5d", "#c8682f", "#9a4a1f", "#7b6aa8", "#54477f")
_MAX_CLASSES_SHOWN = 40

STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 10.5,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "figure.constrained_layout.use": True,
}
THEMED: dict[str, Any] = {
    **STYLE,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), _RULE),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}


def svg(draw: Callable[[Figure], None], size_in: tuple[float, float], name: str, label: str) -> str:
    """Draw a figure and return it as one `<svg role="img">` with `label` as its accessible name."""
    with style.context({**THEMED, "svg.hashsalt": name}):
        figure = Figure(figsize=size_in)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # No address may stand in the page, not even a namespace that nothing fetches.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    # Several figures share one page, so their ids must not meet.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for placeholder, variable in _PAGE_COLOURS.items():
        text = text.replace(placeholder, variable)
    attribute = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{attribute}" ', 1)


def timeline(summary: Json) -> str:
    """Gantt chart of the stages of every round, in measured seconds."""
    names = list(dict.fromkeys(stage["name"] for stage in summary["stages"]))
    label = f"Timeline of {len(names)} stages over {len(summary['rounds'])} rounds"
    height_in = 1.1 + 0.27 * max(1, len(names))
    return svg(lambda figure: draw_timeline(figure.add_subplot(), summary), (8.6, height_in), "timeline", label)


def draw_timeline(axes: Axes, summary: Json) -> None:
    """The Gantt chart on given axes."""
    names = list(dict.fromkeys(stage["name"] for stage in summary["stages"]))
    labelled: set[int] = set()
    end_s = max((float(stage["end_s"]) for stage in summary["stages"]), default=1.0)
    for stage in summary["stages"]:
        turn = int(stage["round"])
        # A stage too short to be seen still gets a mark.
        width_s = max(float(stage["end_s"]) - float(stage["start_s"]), end_s / 400)
        text = None if turn in labelled else ("set-up" if turn == 0 else f"round {turn}")
        labelled.add(turn)
        axes.barh(
            names.index(stage["name"]),
            width_s,
            left=stage["start_s"],
            height=0.66,
            label=text,
            color=_round_colour(turn),
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds since the start")
    if labelled:
        axes.legend(ncols=min(6, len(labelled)), loc="lower left", bbox_to_anchor=(0, 1.0))


def _round_colour(turn: int) -> str:
    return "#8f9aa3" if turn == 0 else ROUND_COLOURS[(turn - 1) % len(ROUND_COLOURS)]


def learning_curve(summary: Json) -> str:
    """mIoU on the held-out split against labelled samples."""
    first, last = summary["totals"]["first_miou"], summary["totals"]["last_miou"]
    label = f"Learning curve: mIoU on held-out samples from {_number(first)} to {_number(last)}"
    return svg(lambda figure: draw_learning_curve(figure.add_subplot(), summary), (4.9, 3.3), "learning", label)


def draw_learning_curve(axes: Axes, summary: Json) -> None:
    """The learning curve on given axes."""
    rounds = [entry for entry in summary["rounds"] if entry["model_miou"] is not None]
    x, y = [entry["num_labelled_total"] for entry in rounds], [entry["model_miou"] for entry in rounds]
    axes.plot(x, y, color=ACCENT, marker="o", markersize=7)
    for entry in rounds:
        mark = f"{entry['model_miou']:.3f}" + ("" if entry["promoted"] else "\nnot promoted")
        axes.annotate(
            mark,
            (entry["num_labelled_total"], entry["model_miou"]),
            xytext=(7, -13),
            textcoords="offset points",
            ha="left",
        )
    _share_axis(axes, y)
    axes.margins(x=0.14)
    axes.set_xlabel("labelled samples")
    axes.set_ylabel("mIoU, held-out split")


def cost_curve(summary: Json) -> str:
    """mIoU against cumulative human hours, with proposals and had everything been traced from nothing."""
    totals = summary["totals"]
    label = (
        f"Cost curve: {totals['human_seconds'] / 3600:.2f} human hours with assistance, "
        f"{totals['human_seconds_from_nothing'] / 3600:.2f} without"
    )
    return svg(lambda figure: draw_cost_curve(figure.add_subplot(), summary), (4.9, 3.3), "cost", label)


def draw_cost_curve(axes: Axes, summary: Json) -> None:
    """The cost curve on given axes."""
    rounds = summary["rounds"]
    assisted_h = np.cumsum([entry["human_seconds"] for entry in rounds]) / 3600
    alone_h = np.cumsum([entry["human_seconds_from_nothing"] for entry in rounds]) / 3600
    miou = np.asarray([np.nan if entry["model_miou"] is None else entry["model_miou"] for entry in rounds], float)
    axes.plot(alone_h, miou, color=SECOND, marker="s", markersize=6, linestyle=(0, (4, 2)), label="from nothing")
    axes.plot(assisted_h, miou, color=ACCENT, marker="o", markersize=7, label="with proposals")
    axes.fill_betweenx(miou, assisted_h, alone_h, color=ACCENT, alpha=0.12, linewidth=0)
    _share_axis(axes, [value for value in miou.tolist() if value == value])
    axes.set_xlim(left=0)
    axes.set_xlabel("human hours (modelled)")
    axes.set_ylabel("mIoU, held-out split")
    axes.legend(loc="lower right")


def seconds_per_sample(summary: Json) -> str:
    """Human seconds per sample by round, with proposals and from nothing."""
    spent = ", ".join(f"{entry['human_seconds_per_sample']:.0f}" for entry in summary["rounds"])

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        position = np.arange(len(summary["rounds"]))
        for shift, key, colour, text in (
            (-0.2, "from_nothing_seconds_per_sample", SECOND, "from nothing"),
            (0.2, "human_seconds_per_sample", ACCENT, "with proposals"),
        ):
            values = [entry[key] for entry in summary["rounds"]]
            bars = axes.bar(position + shift, values, width=0.37, color=colour, label=text)
            axes.bar_label(bars, fmt="%.0f", padding=2)
        axes.set_xticks(position, [f"round {entry['index']}" for entry in summary["rounds"]])
        axes.grid(visible=False, axis="x")
        axes.margins(y=0.14)
        axes.set_ylabel("human seconds per sample")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)

    return svg(draw, (4.9, 3.3), "seconds", f"Human seconds per sample by round: {spent}")


def consensus_gain(summary: Json) -> str:
    """IoU with the truth of single annotators and of their consensus, by round."""
    rounds = [entry for entry in summary["rounds"] if entry["consensus_iou"] is not None]
    keys = ("single_annotator_iou", "consensus_iou")

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        names = [f"round {entry['index']}" for entry in rounds]
        single, together = ([entry[key] for entry in rounds] for key in keys)
        axes.hlines(names, single, together, color=_MUTED, linewidth=1.5)
        axes.scatter(single, names, color=SECOND, s=70, zorder=3, label="mean single annotator")
        axes.scatter(together, names, color=ACCENT, s=70, zorder=3, label="consensus")
        axes.margins(x=0.2, y=0.25)
        axes.invert_yaxis()
        axes.set_xlabel("mean IoU with the truth")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)

    return svg(draw, (4.9, 3.3), "consensus", "Consensus and mean single annotator, IoU with the truth by round")


def class_iou(summary: Json) -> str:
    """IoU of every class, a dot per round; the 40 weakest in the last round when there are more."""
    rounds = [entry for entry in summary["rounds"] if entry["model_iou_per_class"]]
    last = rounds[-1]["model_iou_per_class"] if rounds else {}
    name_of = {str(entry["id"]): entry["name"] for entry in summary["classes"]}
    ids = sorted((key for key, value in last.items() if value is not None), key=lambda key: last[key])
    ids = ids[:_MAX_CLASSES_SHOWN][::-1]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = {key: row for row, key in enumerate(ids)}
        for entry in rounds:
            known = [key for key in ids if entry["model_iou_per_class"].get(key) is not None]
            axes.scatter(
                [entry["model_iou_per_class"][key] for key in known],
                [rows[key] for key in known],
                s=52,
                color=_round_colour(entry["index"]),
                label=f"round {entry['index']}",
                zorder=3,
            )
        axes.set_yticks(range(len(ids)), [name_of.get(key, key) for key in ids])
        axes.set_xlim(-0.02, 1.02)
        axes.invert_yaxis()
        axes.set_xlabel("IoU, held-out split")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(5, max(1, len(rounds))))

    height_in = 1.2 + 0.26 * max(2, len(ids))
    return svg(draw, (6.2, height_in), "classes", f"IoU of {len(ids)} classes in {len(rounds)} rounds")


def confusion(summary: Json) -> str:
    """Row-normalised confusion matrix of the last model; classes that occur in the held-out truth only."""
    table = summary["confusion"]
    counts = np.asarray(table["matrix"], float)
    rows = np.flatnonzero(counts.sum(axis=1) > 0)
    rows = np.sort(rows[np.argsort(-counts[rows].sum(axis=1), kind="stable")][:_MAX_CLASSES_SHOWN])
    name_of = {entry["id"]: entry["name"] for entry in summary["classes"]}
    names = [name_of.get(table["class_ids"][row], str(table["class_ids"][row])) for row in rows]
    shares = counts[np.ix_(rows, rows)] / np.maximum(counts[rows].sum(axis=1, keepdims=True), 1)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="YlGnBu", vmin=0, vmax=1)
        turn, side = (90, "center") if len(names) > 6 else (30, "right")
        axes.set_xticks(range(len(names)), names, rotation=turn, ha=side)
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("truth")
        if len(names) <= 16:
            for row, column in np.ndindex(*shares.shape):
                share = shares[row, column]
                if share >= 0.005:
                    axes.text(
                        column,
                        row,
                        f"{100 * share:.0f}",
                        ha="center",
                        va="center",
                        fontsize=9,
                        color="#ffffff" if share > 0.5 else "#1d2b33",
                    )

    side_in = 2.2 + 0.33 * max(3, len(names))
    label = f"Confusion matrix of {len(names)} classes, each row in per cent of the true pixels"
    return svg(draw, (min(side_in + 0.8, 9.5), min(side_in, 8.7)), "confusion", label)


def flow(summary: Json) -> str:
    """Pixels that went from one class to another between two commits of the run."""
    change = summary["change"]
    name_of = {entry["id"]: entry["name"] for entry in summary["classes"]}
    rows = [(row[0], row[1], row[2]) for row in change["flow"]]
    side_in = 2.4 + 0.4 * len(matrix_of(rows, name_of)[0])
    label = f"Flow of {change['changed_pixels']} pixels between classes in {change['num_changed']} changed samples"
    size_in = (min(side_in + 0.9, 9.5), min(side_in, 8.7))
    return svg(lambda figure: draw_flow(figure.add_subplot(), rows, name_of), size_in, "flow", label)


def _share_axis(axes: Axes, values: Sequence[float]) -> None:
    """A y axis for shares: wide enough to be honest about small differences, never past 0 or 1."""
    if not values:
        axes.set_ylim(0, 1)
        return
    low, high = min(values), max(values)
    pad = max(0.06, 0.25 * (high - low))
    axes.set_ylim(max(0.0, low - pad), min(1.0, high + 1.4 * pad))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
