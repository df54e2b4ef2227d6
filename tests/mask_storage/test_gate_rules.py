"""Gates as rules and as a file: what they refuse, how mistakes in the file are named. Pure, without a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_mask_storage.domain.gate_file import GateFileError, parse_gates
from terrazzo_mask_storage.domain.gates import Custom, Golden, Of, SampleFacts, evaluate, mean_iou

CLASSES = {1: "road", 2: "car", 3: "tree"}
INSTALLED = {"whole-roads": lambda proposal, options: [f"road {options['why']}"] if options.get("why") else []}


def named(sample_id: str) -> str:
    return f"{sample_id.removeprefix('smp_')}.png"


@dataclass
class FakeProposal:
    """A version of three samples: a is as it was, b changed, c is new."""

    branch: str = "main"
    facts: dict[str, Mapping[int, int]] = field(
        default_factory=lambda: {"a": {0: 10, 1: 90}, "b": {1: 50, 2: 50}, "c": {0: 60, 3: 40}}
    )
    agreements: Mapping[str, float] = field(default_factory=dict)
    old: Mapping[str, Mapping[int, int]] = field(
        default_factory=lambda: {"a": {0: 10, 1: 90}, "b": {1: 60, 2: 40}}
    )
    flows: Mapping[tuple[str, str], Mapping[tuple[int, int], int]] = field(default_factory=dict)

    @property
    def num_samples(self) -> int:
        return len(self.facts)

    @property
    def counts(self) -> Mapping[int, int]:
        total: dict[int, int] = {}
        for counts in self.facts.values():
            for class_id, pixels in counts.items():
                total[class_id] = total.get(class_id, 0) + pixels
        return total

    def samples(self, of: Of = "all") -> Iterator[SampleFacts]:
        for name, counts in self.facts.items():
            if of == "all" or name != "a":
                yield SampleFacts(f"smp_{name}", f"new-{name}", counts, named)

    def agreement(self, sample_ids: Sequence[str]) -> Mapping[str, float]:
        return {s: self.agreements[s] for s in sample_ids if s in self.agreements}

    def golden(self, ref: str) -> Iterator[tuple[SampleFacts, SampleFacts | None]]:
        if ref != "v1":
            raise LookupError(f"no {ref}")
        now = {sample.sample_id: sample for sample in self.samples()}
        for name, counts in self.old.items():
            mask_id = "new-a" if name == "a" else f"old-{name}"
            yield SampleFacts(f"smp_{name}", mask_id, counts, named), now.get(f"smp_{name}")

    def flow(self, old_mask_id: str, new_mask_id: str) -> Mapping[tuple[int, int], int]:
        return self.flows.get((old_mask_id, new_mask_id), {(1, 2): 10})

    def labels(self, mask_id: str) -> Any:
        return np.zeros((10, 10), np.uint8)


def reasons(text: str, proposal: FakeProposal | None = None) -> list[str]:
    found = parse_gates(f"rules:\n  - {text}\n", CLASSES, INSTALLED)
    return [r for o in evaluate(found.rules, proposal or FakeProposal(), INSTALLED) for r in o.reasons]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("class_minimum: {class: car, pixels: 50}", []),
        ("class_minimum: {class: car, pixels: 51}", ["class car has 50 pixels: at least 51 are wanted"]),
        ("class_minimum: {class: 1, samples: 2}", []),
        ("class_minimum: {class: road, samples: 3}", ["class road is in 2 samples: at least 3 are wanted"]),
        ("unlabelled: {dataset_max_percent: 23.4}", []),
        (
            "unlabelled: {dataset_max_percent: 23}",
            ["23.3 % of the dataset's pixels are unlabelled: at most 23 % are"],
        ),
        ("unlabelled: {sample_max_percent: 9}", ["a.png is 10 % unlabelled", "c.png is 60 % unlabelled"]),
        ("unlabelled: {sample_max_percent: 9, of: changed}", ["c.png is 60 % unlabelled"]),
        ("golden: {ref: v1, samples: [a.png]}", []),
        ("golden: {ref: v1}", ["golden sample b.png changed (IoU 0.8"]),
        ("golden: {ref: v1, iou_min: 0.8}", []),
        ("golden: {ref: v1, iou_min: 0.9, samples: [smp_b]}", ["golden sample b.png has IoU 0.8"]),
        ("golden: {ref: v1, samples: [smp_a, z.png]}", ["'v1' has no sample z.png"]),
        ("golden: {ref: v9}", ["the golden version 'v9' can't be read: no v9"]),
        ("custom: {gate: whole-roads}", []),
        ("custom: {gate: whole-roads, options: {why: is torn}}", ["road is torn"]),
        ("custom: {gate: whole-roads, options: {why: [1, 2.5, true, null]}}", ["road [1, 2.5, True, None]"]),
    ],
)
def test_a_rule_refuses_with_its_reason_or_says_nothing(rule: str, said: list[str]) -> None:
    found = reasons(rule)
    assert len(found) == len(said)
    for reason, expected in zip(found, said, strict=True):
        assert reason.startswith(expected)


def test_agreement_is_asked_of_the_samples_that_had_several_annotators() -> None:
    proposal = FakeProposal(agreements={"smp_a": 0.9, "smp_b": 0.5})
    assert reasons("agreement: {mean_min: 0.7}", proposal) == []
    assert reasons("agreement: {mean_min: 0.75}", proposal) == [
        "the annotators of 2 samples agree to 0.700: at least 0.75 is wanted"
    ]
    assert reasons("agreement: {sample_min: 0.6}", proposal) == ["b.png: agreement 0.500, at least 0.6 is wanted"]
    assert reasons("agreement: {mean_min: 0.1, measured_min_percent: 67}", proposal) == [
        "66.7 % of the 3 samples had several annotators: at least 67 % are wanted"
    ]
    assert reasons("agreement: {mean_min: 0.6, of: changed}", proposal) == [
        "the annotators of 1 samples agree to 0.500: at least 0.6 is wanted"
    ]


def test_a_golden_sample_that_is_gone_is_a_regression() -> None:
    proposal = FakeProposal(facts={"b": {1: 50, 2: 50}})
    assert reasons("golden: {ref: v1, iou_min: 0.5}", proposal) == ["golden sample a.png is gone"]


def test_a_gate_that_raises_or_is_missing_refuses_and_says_why() -> None:
    def broken(proposal: object, options: object) -> list[str]:
        raise ZeroDivisionError("no roads")

    rules = [Custom(1, "broken", {}), Custom(2, "absent", {})]
    outcomes = evaluate(rules, FakeProposal(), {"broken": broken})
    assert [o.reasons for o in outcomes] == [
        ("the gate 'broken' failed: ZeroDivisionError: no roads",),
        ("no gate 'absent' is installed on this server",),
    ]


def test_long_lists_of_reasons_are_cut_and_counted() -> None:
    proposal = FakeProposal(facts={f"{n:03}": {0: 1} for n in range(50)})
    found = reasons("unlabelled: {sample_max_percent: 1}", proposal)
    assert len(found) == 21
    assert found[-1] == "and 30 more"


def test_the_branches_on_which_gates_are_checked() -> None:
    text = "on: {merges: [main, release/*], commits: [main]}\nrules: [{unlabelled: {dataset_max_percent: 1}}]"
    found = parse_gates(text, CLASSES, ())
    assert [found.guard("merge", b) for b in ("main", "release/1", "releases", "main2")] == [
        True,
        True,
        False,
        False,
    ]
    assert found.guard("commit", "main")
    assert not found.guard("commit", "release/1")
    default = parse_gates("rules: [{unlabelled: {dataset_max_percent: 1}}]", CLASSES, ())
    assert default.guard("merge", "anything")
    assert not default.guard("commit", "main")


@pytest.mark.parametrize(
    ("text", "line", "where", "said"),
    [
        ("", 1, "", "empty"),
        ("rules: [", 1, "", "no YAML"),
        ("- a", 1, "", "a mapping with on, rules"),
        ("on: {}\n", 1, "", "'rules' is missing"),
        ("rules: []", 1, "rules", "at least one rule"),
        ("rules:\n  - speed: 3", 2, "rules[0]", "unknown rule 'speed'"),
        (
            "rules:\n  - class_minimum: {class: lorry, pixels: 1}",
            2,
            "rules[0].class_minimum.class",
            "no class 'lorry'",
        ),
        (
            "rules:\n  - class_minimum: {class: car}",
            2,
            "rules[0].class_minimum",
            "at least one of pixels, samples",
        ),
        (
            "rules:\n  - class_minimum: {class: car, pixel: 1}",
            2,
            "rules[0].class_minimum",
            "unknown field 'pixel'",
        ),
        (
            "rules:\n  - class_minimum:\n      class: car\n      pixels: -1",
            4,
            "rules[0].class_minimum.pixels",
            "whole",
        ),
        (
            "rules:\n  - unlabelled: {sample_max_percent: 120}",
            2,
            "rules[0].unlabelled.sample_max_percent",
            "0 to 100",
        ),
        ("rules:\n  - agreement: {mean_min: .nan}", 2, "rules[0].agreement.mean_min", "0 to 1"),
        ("rules:\n  - agreement: {mean_min: 0.5, of: some}", 2, "rules[0].agreement.of", "'all' or 'changed'"),
        ("rules:\n\n  - golden: {ref: 'a b'}", 3, "rules[0].golden.ref", "no commit id"),
        ("rules:\n  - golden: {ref: v1, samples: []}", 2, "rules[0].golden.samples", "leave the field out"),
        ("rules:\n  - custom: {gate: os.system}", 2, "rules[0].custom.gate", "no gate 'os.system' is installed"),
        (
            "on: {merges: ['a b']}\nrules:\n  - unlabelled: {dataset_max_percent: 1}",
            1,
            "on.merges[0]",
            "branch name",
        ),
        (
            "rules:\n  - unlabelled: {of: all, of: all, sample_max_percent: 1}",
            2,
            "rules[0].unlabelled.of",
            "twice",
        ),
        ("rules: &a\n  - unlabelled: *a", 1, "", "anchors"),
        ("rules:\n  - golden: {ref: !!python/object:os.x v1}", 2, "rules[0].golden.ref", "a text is wanted"),
        ("rules: " + "[" * 60_000, 1, "", "more than 32 levels"),
        ("\n".join(" " * n + "a:" for n in range(300)), 33, "", "more than 32 levels"),
        ("x" * 70_000, 1, "", "at most 65536"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_line_and_field(text: str, line: int, where: str, said: str) -> None:
    with pytest.raises(GateFileError) as refused:
        parse_gates(text, CLASSES, INSTALLED)
    first = refused.value.mistakes[0]
    assert (first.line, first.field) == (line, where)
    assert said in first.message


def test_all_mistakes_are_named_at_once() -> None:
    text = "rules:\n  - class_minimum: {class: x, pixels: a}\n  - golden: {}\nextra: 1"
    with pytest.raises(GateFileError) as refused:
        parse_gates(text, CLASSES, INSTALLED)
    assert [m.line for m in refused.value.mistakes] == [2, 2, 3, 4]


@given(st.text(alphabet="rules:- {}[]\n\"'!&*|>#%cvog_lasmin0123.,\t\x00é", max_size=120))
@settings(deadline=None, max_examples=300)
def test_any_text_is_gates_or_is_refused_with_a_line(text: str) -> None:
    mistakes = []
    try:
        parse_gates(text, CLASSES, INSTALLED)
    except GateFileError as refused:
        mistakes = refused.mistakes
    assert all(m.line >= 1 and m.message for m in mistakes)


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 3), min_size=n, max_size=n),
            st.lists(st.integers(0, 3), min_size=n, max_size=n),
        )
    )
)
@settings(deadline=None, max_examples=200)
def test_iou_from_counts_and_flow_is_the_iou_of_the_pixels(maps: tuple[list[int], list[int]]) -> None:
    old, new = (np.array(m) for m in maps)
    flow: dict[tuple[int, int], int] = {}
    for was, now in zip(*maps, strict=True):
        if was != now:
            flow[was, now] = flow.get((was, now), 0) + 1
    counts = [{int(c): int((m == c).sum()) for c in np.unique(m)} for m in (old, new)]
    ids = sorted({*maps[0], *maps[1]} - {0})
    expected = [((old == c) & (new == c)).sum() / ((old == c) | (new == c)).sum() for c in ids]
    assert mean_iou(*counts, flow) == pytest.approx(np.mean(expected) if expected else 1.0)


def test_golden_without_a_limit_means_not_a_pixel() -> None:
    [rule] = parse_gates("rules: [{golden: {ref: v1}}]", CLASSES, ()).rules
    assert rule == Golden(1, "v1", None, None)
