"""A small made-up run: a summary with every field, and a gallery drawn by the real annotators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from terrazzo.simulation import annotators, scenes, summary
from terrazzo.simulation.gallery import GalleryItem
from terrazzo_masks.consensus import consensus
from terrazzo_schema.ontology import Ontology, parse_ontology

STAGES = (
    "choose",
    "predict",
    "annotate",
    "check",
    "consensus",
    "adjudicate",
    "audit",
    "commit",
    "train",
    "evaluate",
    "promote",
)


@pytest.fixture(scope="session")
def street_ontology() -> Ontology:
    return parse_ontology(scenes.scene_ontology())


@pytest.fixture(scope="session")
def example_summary(street_ontology: Ontology) -> summary.Summary:
    return make_summary(street_ontology)


@pytest.fixture(scope="session")
def example_document(example_summary: summary.Summary) -> dict[str, Any]:
    return summary.to_json(example_summary)


@pytest.fixture(scope="session")
def example_gallery(street_ontology: Ontology) -> list[GalleryItem]:
    return [make_item(street_ontology, seed) for seed in (1, 5)]


def make_summary(ontology: Ontology) -> summary.Summary:
    classes = [summary.ClassEntry(c.id, c.name, c.color, c.parent_id) for c in ontology.classes]
    parents = {c.parent_id for c in ontology.classes}
    leaves = [c.id for c in ontology.classes if c.id not in parents]
    rng = np.random.default_rng(0)
    rounds, stages, now_s = [], [summary.StageSpan(0, "ingest", 0.0, 6.5)], 6.5
    for index in (1, 2, 3):
        spans = {name: float(rng.uniform(0.4, 4)) * (9 if name == "train" else 1) for name in STAGES}
        for name, wall_s in spans.items():
            stages.append(summary.StageSpan(index, name, now_s, now_s + wall_s))
            now_s += wall_s
        rounds.append(make_round(index, leaves, spans))
    matrix = rng.integers(0, 400, (len(leaves), len(leaves))) + np.diag(rng.integers(2000, 9000, len(leaves)))
    totals = summary.Totals(
        9_100.0,
        21_400.0,
        61,
        0,
        2,
        1,
        11,
        rounds[0].model_miou,
        rounds[-1].model_miou,
        1432.5,
        now_s,
        1311,
        2902,
        0,
    )
    crew = annotators.crew(4, 0)
    cards = [
        summary.Scorecard(
            p.name, 11 + i, 1800.0 * p.speed_factor, 0.91 - 0.2 * p.careless, 0.86 - 0.2 * p.careless, i % 2, 0
        )
        for i, p in enumerate(crew)
    ]
    return summary.Summary(
        terrazzo_version="0.1.0",
        source=summary.Source("generated", "60 street scenes from Terrazzo's own generator"),
        seed=0,
        settings={"annotators": 4, "rounds": 3, "batch": 12, "choose": "active"},
        ontology_name=ontology.name,
        classes=classes,
        num_samples=60,
        num_pool=48,
        num_held_out=12,
        rounds=rounds,
        totals=totals,
        annotators=cards,
        stages=stages,
        confusion=summary.Confusion(leaves, matrix.tolist()),
        gallery=["s-1", "s-5"],
    )


def make_round(index: int, leaves: list[int], spans: dict[str, float]) -> summary.RoundSummary:
    iou: dict[str, float | None] = {
        str(class_id): min(0.97, 0.25 + 0.05 * (class_id % 9) + 0.12 * index) for class_id in leaves
    }
    iou[str(leaves[-1])] = None
    known = [value for value in iou.values() if value is not None]
    per_sample_s = 310.0 - 60.0 * index
    return summary.RoundSummary(
        index=index,
        choose_strategy="active",
        num_labelled=12,
        num_labelled_total=12 * index,
        sample_ids=[f"id-{index}-{k}" for k in range(12)],
        sample_names=[f"scene-{index:02d}{k:02d}" for k in range(12)],
        human_seconds=12 * per_sample_s,
        human_seconds_from_nothing=12 * 330.0,
        human_seconds_per_sample=per_sample_s,
        from_nothing_seconds_per_sample=330.0,
        agreement=0.84 + 0.01 * index,
        consensus_iou=0.90 + 0.005 * index,
        single_annotator_iou=0.81 + 0.01 * index,
        num_multi_annotated=4,
        num_adjudicated=3,
        num_audited=4,
        audit_errors=int(index == 1),
        audit_error_rate_upper_95=0.53 if index == 1 else 0.31,
        num_returned=1,
        model_version=f"street-{index}",
        model_miou=sum(known) / len(known),
        model_iou_per_class=iou,
        promoted=index != 2,
        commit_id=f"c0ffee{index}",
        stage_wall_s=spans,
        events_published=400 + index,
        events_consumed=900 + index,
    )


def make_item(ontology: Ontology, seed: int) -> GalleryItem:
    scene = scenes.generate_scene(seed)
    truth_HW = scene.labels_HW
    people = annotators.crew(3, 0)
    rough = replace(people[0], boundary_sigma_px=4.0, miss_small_prob=0.8, confusion_prob=0.1)
    proposal_HW, _ = annotators.draw(truth_HW, rough, np.random.default_rng(seed), ontology.classes)
    masks = [
        annotators.annotate(
            truth_HW, proposal_HW, person, annotators.rng_for(seed, person.name, "s"), ontology.classes
        )
        for person in people
    ]
    votes_RHW = np.stack([mask.labels_HW for mask in masks])
    consensus_HW = consensus(votes_RHW, method="majority").labels
    against_HW = (votes_RHW != consensus_HW).mean(axis=0)
    return GalleryItem(
        sample_id=f"s-{seed}",
        name=f"scene-{seed:05d}",
        round=1,
        image_HWC=scene.image_HWC,
        proposal_HW=proposal_HW,
        annotators=[(p.name, m.labels_HW) for p, m in zip(people, masks, strict=True)],
        disagreement_HW=np.asarray(np.rint(255 * against_HW), np.uint8),
        consensus_HW=consensus_HW,
        truth_HW=truth_HW,
    )
