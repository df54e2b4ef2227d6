"""Gates: rules that a proposed dataset version must keep, like continuous integration for data.

A rule looks at facts that are stored beside the masks (pixels per class, agreement of annotators, flows between
two masks) and decodes nothing; a custom gate alone may ask for pixels. A gate that cannot be evaluated refuses.
`gate_file` reads the rules from YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

UNLABELLED = 0
REASONS_MAX = 20
Of = Literal["all", "changed"]


@dataclass(frozen=True)
class SampleFacts:
    """One sample of the proposed version. `counts` is class id -> pixels of its mask.

    Its name is looked up when it is asked for: of a million samples few are ever named.
    """

    sample_id: str
    mask_id: str
    counts: Mapping[int, int]
    name_of: Callable[[str], str] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.name_of(self.sample_id)


@dataclass(frozen=True)
class ClassMinimum:
    line: int
    class_id: int
    class_name: str
    pixels: int | None
    samples: int | None


@dataclass(frozen=True)
class Unlabelled:
    line: int
    dataset_max_percent: float | None
    sample_max_percent: float | None
    of: Of


@dataclass(frozen=True)
class Agreement:
    """`measured_min_percent`: how many of the samples must have several annotators at all."""

    line: int
    mean_min: float | None
    sample_min: float | None
    measured_min_percent: float
    of: Of


@dataclass(frozen=True)
class Golden:
    """`samples` are ids or names, None: every sample of `ref`; `iou_min` None: the masks may not change at all."""

    line: int
    ref: str
    samples: tuple[str, ...] | None
    iou_min: float | None


@dataclass(frozen=True)
class Custom:
    line: int
    gate: str
    options: Mapping[str, Any]


Rule = ClassMinimum | Unlabelled | Agreement | Golden | Custom
RULE_NAMES: dict[type, str] = {
    ClassMinimum: "class_minimum",
    Unlabelled: "unlabelled",
    Agreement: "agreement",
    Golden: "golden",
    Custom: "custom",
}


@dataclass(frozen=True)
class Gates:
    """A project's gates. `merges` and `commits` name the branches on which each is checked; '*' ends a prefix."""

    merges: tuple[str, ...]
    commits: tuple[str, ...]
    rules: tuple[Rule, ...]

    def guard(self, kind: Literal["merge", "commit"], branch: str) -> bool:
        """Whether a merge into, or a commit on, this branch is checked."""
        patterns = self.merges if kind == "merge" else self.commits
        return any(branch.startswith(p[:-1]) if p.endswith("*") else branch == p for p in patterns)


@dataclass(frozen=True)
class Outcome:
    """What one rule said. `line` is where the file has it; `measured` are the figures that it looked at."""

    rule: str
    line: int
    reasons: tuple[str, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.reasons


class Proposal(Protocol):
    """The proposed version, as a gate sees it. A custom gate gets this too."""

    @property
    def branch(self) -> str: ...
    @property
    def num_samples(self) -> int: ...
    @property
    def counts(self) -> Mapping[int, int]:
        """Class id -> pixels over the whole version."""
        ...

    def samples(self, of: Of = "all") -> Iterator[SampleFacts]:
        """By sample id; "changed": only those that differ from the branch as it is."""
        ...

    def agreement(self, sample_ids: Sequence[str]) -> Mapping[str, float]:
        """Mean pairwise agreement of the annotators, 0..1, of the samples that had several."""
        ...

    def golden(self, ref: str) -> Iterator[tuple[SampleFacts, SampleFacts | None]]:
        """(sample in `ref`, the same sample here or None), by sample id. Raises LookupError for no such ref."""
        ...

    def flow(self, old_mask_id: str, new_mask_id: str) -> Mapping[tuple[int, int], int]:
        """Pixels by (old class id, new class id), changed pixels only. Raises ValueError for another size."""
        ...

    def labels(self, mask_id: str) -> NDArray[Any]:
        """The label map (H, W), uint8 or uint16. Decodes it."""
        ...


Gate = Callable[[Proposal, Mapping[str, Any]], Iterable[str]]
"""A custom gate: (proposal, options of the file) -> reasons to refuse it; none lets it pass."""


def evaluate(rules: Sequence[Rule], proposal: Proposal, gates: Mapping[str, Gate]) -> list[Outcome]:
    """Every rule's outcome, in the file's order. The samples are walked at most once per scope for all rules."""
    tallies: dict[Of, list[_Tally]] = {"all": [], "changed": []}
    tally_of: dict[int, _Tally] = {}
    for index, rule in enumerate(rules):
        tally = _tally_for(rule)
        if tally is not None:
            tally_of[index] = tally
            tallies[tally.of].append(tally)
    for of, wanting in tallies.items():
        if wanting:
            for chunk in _chunks(proposal.samples(of), 1_000):
                agreement = proposal.agreement([s.sample_id for s in chunk]) if _asks_agreement(wanting) else {}
                for sample in chunk:
                    for tally in wanting:
                        tally.see(sample, agreement.get(sample.sample_id))
    return [_outcome(rule, tally_of.get(index), proposal, gates) for index, rule in enumerate(rules)]


def mean_iou(old: Mapping[int, int], new: Mapping[int, int], flow: Mapping[tuple[int, int], int]) -> float:
    """Mean IoU of two masks over the classes that either has (unlabelled left out), from counts and flow alone."""
    scores = []
    for class_id in sorted((old.keys() | new.keys()) - {UNLABELLED}):
        both = old.get(class_id, 0) - sum(pixels for (was, _), pixels in flow.items() if was == class_id)
        either = old.get(class_id, 0) + new.get(class_id, 0) - both
        scores.append(both / either)
    return sum(scores) / len(scores) if scores else 1.0


@dataclass
class _Tally:
    """What a rule adds up over the samples."""

    rule: Rule
    of: Of
    num_samples: int = 0
    num_having: int = 0
    total: float = 0.0
    failing: list[str] = field(default_factory=list)
    num_failing: int = 0

    def see(self, sample: SampleFacts, agreement: float | None) -> None:
        self.num_samples += 1
        match self.rule:
            case ClassMinimum(class_id=class_id):
                self.num_having += class_id in sample.counts
            case Unlabelled(sample_max_percent=limit) if limit is not None:
                percent = _percent_unlabelled(sample.counts)
                if percent > limit:
                    self.fail(f"{sample.name} is {percent:.3g} % unlabelled: at most {limit:g} % are allowed")
            case Agreement(sample_min=low) if agreement is not None:
                self.num_having += 1
                self.total += agreement
                if low is not None and agreement < low:
                    self.fail(f"{sample.name}: agreement {agreement:.3f}, at least {low:g} is wanted")

    def fail(self, reason: str) -> None:
        self.num_failing += 1
        if len(self.failing) < REASONS_MAX:
            self.failing.append(reason)

    def reasons(self) -> list[str]:
        return _first_of(self.failing, self.num_failing)


def _tally_for(rule: Rule) -> _Tally | None:
    match rule:
        case ClassMinimum(samples=int()):
            return _Tally(rule, "all")
        case Unlabelled(sample_max_percent=float() | int(), of=of) | Agreement(of=of):
            return _Tally(rule, of)
    return None


def _asks_agreement(tallies: Sequence[_Tally]) -> bool:
    return any(isinstance(tally.rule, Agreement) for tally in tallies)


def _outcome(rule: Rule, tally: _Tally | None, proposal: Proposal, gates: Mapping[str, Gate]) -> Outcome:
    name = RULE_NAMES[type(rule)]
    match rule:
        case ClassMinimum():
            return _class_minimum(rule, tally, proposal)
        case Unlabelled():
            reasons = tally.reasons() if tally else []
            percent = _percent_unlabelled(proposal.counts)
            if rule.dataset_max_percent is not None and percent > rule.dataset_max_percent:
                limit = f"at most {rule.dataset_max_percent:g} % are allowed"
                reasons.insert(0, f"{percent:.3g} % of the dataset's pixels are unlabelled: {limit}")
            return Outcome(name, rule.line, tuple(reasons), {"dataset_percent": percent})
        case Agreement():
            assert tally is not None
            return _agreement(rule, tally)
        case Golden():
            return _golden(rule, proposal)
        case Custom():
            return _custom(rule, proposal, gates)


def _class_minimum(rule: ClassMinimum, tally: _Tally | None, proposal: Proposal) -> Outcome:
    pixels = proposal.counts.get(rule.class_id, 0)
    measured: dict[str, float] = {"pixels": pixels}
    reasons = []
    if rule.pixels is not None and pixels < rule.pixels:
        reasons.append(f"class {rule.class_name} has {pixels} pixels: at least {rule.pixels} are wanted")
    if tally is not None and rule.samples is not None:
        measured["samples"] = tally.num_having
        if tally.num_having < rule.samples:
            wanted = f"at least {rule.samples} are wanted"
            reasons.append(f"class {rule.class_name} is in {tally.num_having} samples: {wanted}")
    return Outcome(RULE_NAMES[ClassMinimum], rule.line, tuple(reasons), measured)


def _agreement(rule: Agreement, tally: _Tally) -> Outcome:
    reasons = tally.reasons()
    percent = 100.0 * tally.num_having / tally.num_samples if tally.num_samples else 100.0
    measured = {"measured_percent": percent}
    if percent < rule.measured_min_percent:
        wanted = f"at least {rule.measured_min_percent:g} % are wanted"
        reasons.insert(0, f"{percent:.3g} % of the {tally.num_samples} samples had several annotators: {wanted}")
    if tally.num_having:
        mean = tally.total / tally.num_having
        measured["mean"] = mean
        if rule.mean_min is not None and mean < rule.mean_min:
            wanted = f"at least {rule.mean_min:g} is wanted"
            reasons.insert(0, f"the annotators of {tally.num_having} samples agree to {mean:.3f}: {wanted}")
    return Outcome(RULE_NAMES[Agreement], rule.line, tuple(reasons), measured)


def _golden(rule: Golden, proposal: Proposal) -> Outcome:
    name = RULE_NAMES[Golden]
    wanted = None if rule.samples is None else set(rule.samples)
    failing: list[str] = []
    num_failing = num_checked = 0
    lowest = 1.0
    try:
        for old, new in proposal.golden(rule.ref):
            if wanted is not None:
                named = {old.sample_id} & wanted or {old.name} & wanted
                if not named:
                    continue
                wanted -= named
            num_checked += 1
            reason, score = _golden_sample(rule, proposal, old, new)
            lowest = min(lowest, score)
            num_failing += reason is not None
            if reason is not None and len(failing) < REASONS_MAX:
                failing.append(reason)
    except LookupError as error:
        return Outcome(name, rule.line, (f"the golden version {rule.ref!r} can't be read: {error.args[0]}",))
    reasons = _first_of(failing, num_failing)
    if wanted:
        reasons.insert(0, f"{rule.ref!r} has no sample {', '.join(sorted(wanted)[:5])}")
    return Outcome(name, rule.line, tuple(reasons), {"samples": num_checked, "lowest_iou": lowest})


def _golden_sample(
    rule: Golden, proposal: Proposal, old: SampleFacts, new: SampleFacts | None
) -> tuple[str | None, float]:
    """(reason to refuse or None, mean IoU with the golden mask)."""
    if new is None:
        return f"golden sample {old.name} is gone", 0.0
    if new.mask_id == old.mask_id:
        return None, 1.0
    try:
        score = mean_iou(old.counts, new.counts, proposal.flow(old.mask_id, new.mask_id))
    except ValueError as error:
        return f"golden sample {old.name}: {error}", 0.0
    if rule.iou_min is None:
        return f"golden sample {old.name} changed (IoU {score:.4f} with {rule.ref!r})", score
    if score < rule.iou_min:
        return f"golden sample {old.name} has IoU {score:.4f} with {rule.ref!r}: {rule.iou_min:g} is wanted", score
    return None, score


def _custom(rule: Custom, proposal: Proposal, gates: Mapping[str, Gate]) -> Outcome:
    name = f"{RULE_NAMES[Custom]} {rule.gate}"
    if rule.gate not in gates:
        return Outcome(name, rule.line, (f"no gate {rule.gate!r} is installed on this server",))
    try:
        found = [str(reason) for reason in gates[rule.gate](proposal, rule.options)]
    except Exception as error:  # noqa: BLE001 - whatever an operator's gate raises, it refuses and says why
        return Outcome(name, rule.line, (f"the gate {rule.gate!r} failed: {type(error).__name__}: {error}",))
    return Outcome(name, rule.line, tuple(_first_of(found[:REASONS_MAX], len(found))))


def _percent_unlabelled(counts: Mapping[int, int]) -> float:
    total = sum(counts.values())
    return 100.0 * counts.get(UNLABELLED, 0) / total if total else 0.0


def _first_of(reasons: Sequence[str], num: int) -> list[str]:
    more = num - len(reasons)
    return [*reasons, f"and {more} more"] if more > 0 else list(reasons)


def _chunks(samples: Iterator[SampleFacts], size: int) -> Iterator[list[SampleFacts]]:
    chunk: list[SampleFacts] = []
    for sample in samples:
        chunk.append(sample)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
