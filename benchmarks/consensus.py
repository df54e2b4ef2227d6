"""Consensus: speed and labels against SimpleITK's STAPLE, real experts left out in turn, when the model pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks import material
from benchmarks.harness import REPEATS, Bench, Figure, faster, medians
from terrazzo_masks.consensus import Consensus, Method, agreement, consensus
from terrazzo_masks.consensus.votes import tabulate
from terrazzo_masks.measures import confusion, iou, mean_iou

LabelMap = NDArray[Any]
TOPIC = "consensus"
METHODS: tuple[Method, ...] = get_args(Method)
CELL = 2
# Every mask of this person is, pixel by pixel, the gold itself: with them a comparison would measure a copy.
COPIES_OF_GOLD = "expert_person2_"


def run(bench: Bench) -> list[Figure]:
    figures = _against_itk(bench)
    figures += _when_the_model_pays(bench)
    if bench.data is not None and (bench.data / "bubil1").is_dir():
        figures += _experts(bench, bench.data / "bubil1")
    if bench.data is not None and (bench.data / "nuclei" / "class_masks").is_dir():
        figures.append(_nuclei(bench, bench.data / "nuclei" / "class_masks"))
    return figures


def _against_itk(bench: Bench) -> list[Figure]:
    """Votes that differ as people's do, and with independent noise, which makes some 40,000 distinct tuples."""
    height, width = (256, 512) if bench.quick else (1024, 2048)
    truth_HW = material.many_classes(height, width, num_classes=12)
    figures = []
    for num_annotators in (3, 5, 9):
        people = np.stack([material.corrected(truth_HW, seed) for seed in range(num_annotators)])
        figures += _as_itk(bench, people, f"R = {num_annotators}")
        figures += _as_itk(bench, _noisy(truth_HW, num_annotators), f"R = {num_annotators}, pixel noise 5 %")
    return figures


def _noisy(truth_HW: LabelMap, num_annotators: int) -> LabelMap:
    """Votes in which each pixel is drawn anew with a chance of 5 %, by each annotator."""
    rng = np.random.default_rng(num_annotators)
    votes_RHW = np.repeat(truth_HW[None], num_annotators, axis=0)
    for vote_HW in votes_RHW:
        wrong_HW = rng.random(truth_HW.shape) < 0.05
        vote_HW[wrong_HW] = rng.integers(1, 13, np.count_nonzero(wrong_HW))
    return votes_RHW


def _as_itk(bench: Bench, votes_RHW: LabelMap, who: str) -> list[Figure]:
    """The same full-frame definition on the same votes, images made and read back included, as a user would."""
    fused: dict[str, Any] = {}

    def ours() -> None:
        fused["ours"] = consensus(votes_RHW, 12, "staple", abstain=None)

    def peer() -> None:
        fused["peer"] = _itk(votes_RHW)

    bench.say(f"consensus, {who}: ITK takes its time")
    ours()
    ours_s, peer_s = medians(ours, peer, repeats=1 if bench.quick else REPEATS, warm_up=False)
    found: Consensus = fused["ours"]
    num_tuples = len(tabulate(votes_RHW, None).tuple_TR)
    default_s, agreement_s = medians(partial(consensus, votes_RHW, 12), partial(agreement, votes_RHW))
    note = (
        f"{num_tuples:,} tuples, {found.iterations} iterations; auto {1e3 * default_s:.0f} ms, "
        f"agreement {1e3 * agreement_s:.0f} ms"
    )
    height, width = votes_RHW.shape[1:]
    same = float(np.mean(found.labels == fused["peer"]))
    return [
        faster(TOPIC, f"STAPLE {height}x{width}, 12 classes, {who}", ours_s, peer_s, "SimpleITK", 50.0, note),
        _share(f"labels as SimpleITK's, {who}", same, 1.0, "all", same, 0.9999),
    ]


def _itk(votes_RHW: LabelMap) -> LabelMap:
    import SimpleITK as sitk  # noqa: N813

    images = [sitk.GetImageFromArray(vote_HW) for vote_HW in votes_RHW]
    itk: Any = sitk.MultiLabelSTAPLEImageFilter
    fused_HW: LabelMap = sitk.GetArrayFromImage(itk().Execute(images))
    return fused_HW


def _share(
    name: str, ours: float, peer: float, peer_name: str, ratio: float, target: float, note: str = ""
) -> Figure:
    return Figure(TOPIC, name, ours, peer, "share", peer_name, ratio, "at least", target, note)


Spammer = Callable[[LabelMap, list[LabelMap], np.random.Generator], LabelMap]


def _confuses(truth_HW: LabelMap, honest: list[LabelMap], rng: np.random.Generator) -> LabelMap:
    """Draws well and takes each of the larger classes for another."""
    biased_HW = material.corrected(truth_HW, int(rng.integers(2**31)))
    ids = np.argsort(-np.bincount(truth_HW.ravel()))[:4].astype(truth_HW.dtype)
    table = np.arange(256, dtype=truth_HW.dtype)
    table[ids] = np.roll(ids, 1)
    return table[biased_HW]


SPAMMERS: dict[str, Spammer] = {
    "at random": lambda truth_HW, honest, rng: rng.choice(np.unique(truth_HW), truth_HW.shape),
    "one class": lambda truth_HW, honest, rng: np.full_like(truth_HW, np.bincount(truth_HW.ravel()).argmax()),
    "a rare class": lambda truth_HW, honest, rng: np.full_like(truth_HW, truth_HW.max()),
    "shifted": lambda truth_HW, honest, rng: np.roll(truth_HW, int(rng.integers(30, 60)), axis=1),
    "half at random": lambda truth_HW, honest, rng: np.where(
        rng.random(truth_HW.shape) < 0.5, rng.choice(np.unique(truth_HW), truth_HW.shape), honest[0]
    ),
    "confuses classes": _confuses,
    "copies another": lambda truth_HW, honest, rng: honest[0].copy(),
}


def situations() -> dict[str, tuple[int, tuple[str, ...]]]:
    """Name -> (honest annotators, the others)."""
    made: dict[str, tuple[int, tuple[str, ...]]] = {f"{n} honest": (n, ()) for n in (3, 5)}
    for spammer in SPAMMERS:
        for num_honest, num_others in ((2, 1), (3, 1), (3, 2), (2, 2)):
            made[f"{num_honest} honest, {num_others} {spammer}"] = num_honest, (spammer,) * num_others
    return made


def _when_the_model_pays(bench: Bench) -> list[Figure]:
    """mIoU by situation and method, on generated scenes: the evidence of docs/decisions/0006."""
    scores: dict[str, dict[str, float]] = {}
    seeds = range(1) if bench.quick else range(3)
    for name, (num_honest, others) in situations().items():
        by_method: dict[str, list[float]] = {method: [] for method in (*METHODS, "single")}
        for seed in seeds:
            rng = np.random.default_rng(seed)
            (truth_HW,) = material.scenes(1, 256, 512, first_seed=seed)
            honest = [material.corrected(truth_HW, 10 * seed + r) for r in range(num_honest)]
            votes = np.stack([*honest, *(SPAMMERS[other](truth_HW, honest, rng) for other in others)])
            votes = votes.astype(truth_HW.dtype)
            for method in METHODS:
                by_method[method].append(_miou(truth_HW, consensus(votes, method=method).labels))
            by_method["single"].append(float(np.mean([_miou(truth_HW, vote_HW) for vote_HW in honest])))
        scores[name] = {method: float(np.mean(values)) for method, values in by_method.items()}
    for name, row in scores.items():
        bench.say(f"{name:34}" + " ".join(f"{method} {value:.3f}" for method, value in row.items()))
    _plot_situations(bench.pictures / "consensus-rule.png", scores)
    gains = {name: row["auto"] / row["majority"] for name, row in scores.items()}
    worst = min(gains, key=lambda name: gains[name])
    auto, majority = (float(np.mean([row[key] for row in scores.values()])) for key in ("auto", "majority"))
    return [
        _share(f"rule, mean mIoU of {len(scores)} situations", auto, majority, "majority", auto / majority, 1.0),
        _share(
            "rule, mIoU where it does worst",
            scores[worst]["auto"],
            scores[worst]["majority"],
            "majority",
            gains[worst],
            0.99,
            worst,
        ),
    ]


def _miou(truth_HW: LabelMap, labels_HW: LabelMap) -> float:
    return mean_iou(confusion(truth_HW, labels_HW, [int(c) for c in np.unique(truth_HW)]))


def _experts(bench: Bench, folder: Path) -> list[Figure]:
    """Each expert left out in turn: the cell's IoU with gold of the others' consensus, and of a single expert."""
    single: list[float] = []
    fused: dict[str, list[float]] = {method: [] for method in METHODS}
    better = 0
    golds = sorted((folder / "gold").glob("*.png"))
    for path in golds[:3] if bench.quick else golds:
        gold_HW = _cell_map(path)
        masks = sorted((folder / "annotators" / path.stem).glob("expert_*.png"))
        votes = np.stack([_cell_map(mask) for mask in masks if not mask.name.startswith(COPIES_OF_GOLD)])
        single.append(float(np.mean([_cell_iou(gold_HW, vote_HW) for vote_HW in votes])))
        for method in METHODS:
            without = [consensus(np.delete(votes, r, axis=0), method=method).labels for r in range(len(votes))]
            fused[method].append(float(np.mean([_cell_iou(gold_HW, labels_HW) for labels_HW in without])))
        better += fused["auto"][-1] > single[-1]
    _plot_experts(bench.pictures / "consensus-experts.png", single, fused)
    mean = float(np.mean(single))
    figures = []
    for method in METHODS:
        score = float(np.mean(fused[method]))
        name = f"bubil1, experts left out one by one, {method}"
        note = f"better in {better} of {len(single)} images" if method == "auto" else ""
        if method == "staple":
            bench.say(f"{name}: {score:.4f}, mean expert {mean:.4f} (full frame: its traps are known, no figure)")
        else:
            figures.append(_share(name, score, mean, "mean expert", score / mean, 1.0, note))
    return figures


def _cell_map(path: Path) -> LabelMap:
    from PIL import Image

    return np.where(np.asarray(Image.open(path)) == 255, CELL, 1).astype(np.uint8)


def _cell_iou(gold_HW: LabelMap, labels_HW: LabelMap) -> float:
    return float(iou(confusion(gold_HW, labels_HW, [1, CELL]))[1])


def _nuclei(bench: Bench, folder: Path) -> Figure:
    """Real masks, three simulated annotators: the consensus against the mean of the three."""
    from types import SimpleNamespace

    from terrazzo.simulation.annotators import annotate, crew, rng_for

    classes: list[Any] = [SimpleNamespace(id=1, parent_id=None)]
    classes += [SimpleNamespace(id=class_id, parent_id=9) for class_id in (2, 3)]
    people = crew(3, 0)
    single: list[float] = []
    together: list[float] = []
    for name, mask_HW in material.folder(folder, 2 if bench.quick else 24).items():
        truth_HW = mask_HW[:360, :360].astype(np.uint8) + np.uint8(1)
        votes = [annotate(truth_HW, None, p, rng_for(0, p.name, name), classes).labels_HW for p in people]
        single += [_miou(truth_HW, vote_HW) for vote_HW in votes]
        together.append(_miou(truth_HW, consensus(np.stack(votes), method="auto").labels))
    ours, peer = float(np.mean(together)), float(np.mean(single))
    return _share(
        f"nuclei, 3 simulated annotators, {len(together)} images", ours, peer, "mean annotator", ours / peer, 1.0
    )


def _plot_situations(path: Path, scores: dict[str, dict[str, float]]) -> None:
    import matplotlib.pyplot as plt

    names = list(scores)[::-1]
    marks = {"majority": "o", "auto": "D", "dawid_skene": "+", "staple": "x"}
    figure, axes = plt.subplots(figsize=(8.5, 8))
    for method, mark in marks.items():
        label = "STAPLE, full frame (ITK)" if method == "staple" else method
        size = 55 if mark in "+x" else 32
        axes.scatter([scores[n][method] for n in names], range(len(names)), marker=mark, s=size, label=label)
    axes.scatter(
        [scores[n]["single"] for n in names],
        range(len(names)),
        marker="|",
        s=90,
        c="k",
        label="one honest annotator",
    )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("mean IoU with the truth, generated scenes of 256 x 512 pixels")
    axes.set_title("Who votes, and what each rule makes of it")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_experts(path: Path, single: list[float], fused: dict[str, list[float]]) -> None:
    import matplotlib.pyplot as plt

    order = np.argsort(single)
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    axes.plot(np.array(single)[order], "k_", ms=9, label="mean single expert")
    for method, mark in {"auto": "D", "dawid_skene": "+", "staple": "x"}.items():
        label = "STAPLE, full frame (ITK)" if method == "staple" else method
        axes.plot(np.array(fused[method])[order], mark, ms=6, label=f"{label}, one expert left out")
    axes.set_xlabel(f"{len(single)} images of bubil1, by the mean expert's IoU")
    axes.set_ylabel("IoU of the cell with the gold mask")
    axes.set_title("The consensus of seven experts against one expert")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
