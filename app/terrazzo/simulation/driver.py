"""`terrazzo simulate`: sets the world up, runs the rounds, and writes down what happened."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from terrazzo import __version__
from terrazzo.simulation import evaluation
from terrazzo.simulation.annotators import crew, reviewer_profile
from terrazzo.simulation.embedded import EmbeddedSystem
from terrazzo.simulation.people import Person, npy_bytes
from terrazzo.simulation.pictures import gallery_of
from terrazzo.simulation.reference_world import World
from terrazzo.simulation.rounds import Loop, RoundResult, RoundSettings
from terrazzo.simulation.summary import (
    Change,
    ClassEntry,
    Confusion,
    RoundSummary,
    Scorecard,
    Source,
    Summary,
    Totals,
    to_json,
    validate,
)
from terrazzo.simulation.waiting import wait_until
from terrazzo_client import TerrazzoClient
from terrazzo_schema.rest.mask_storage import Provenance
from terrazzo_schema.rest.task import SampleView

SERVICES = ("task", "mask_storage", "inference", "qa", "training")
HELD_OUT_BRANCH = "held-out"
QA_SETTINGS: dict[str, Any] = {
    # Two of three is a majority, and still a dispute where it covers an object or much of the image.
    "disputed_below": 0.7,
    "adjudicate_disputed_share": 0.1,
    "adjudicate_component_px": 500,
    # Opening, looking over and handing in take 5.65 s (timing.py): who needs less for a proposal has not read it.
    "severity": {"identical-to-proposal": "error"},
    "proposal_seconds_min": 5.0,
}


@dataclass(frozen=True)
class SimulationSettings:
    """What was asked for on the command line."""

    annotators: int = 4
    rounds: int = 3
    batch_size: int | None = None
    seed: int = 0
    strategy: str = "active"
    multi_share: float = 0.25
    audit_share: float = 0.25
    held_out_percent: int = 20
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Counts:
    published: int = 0
    consumed: int = 0
    dead: int = 0


class Simulation:
    """One run against one system. `say` is told what goes on; `advance(done, total, what)` moves a bar."""

    def __init__(
        self,
        world: World,
        settings: SimulationSettings,
        out: Path,
        connection: tuple[str, str] | None,
        say: Callable[[str], None],
    ) -> None:
        self.world = world
        self.settings = settings
        self.out = out
        self.connection = connection
        self.say = say
        self.names: dict[str, str] = {}
        self.before = _Counts()

    def run(self) -> dict[str, Any]:
        """Returns the summary; summary.json, report.html and overview.png are in `out` then."""
        started = time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        if self.connection is not None:
            summary, gallery = self._run_on(*self.connection, peak_mb=lambda: 0.0, started=started)
        else:
            with EmbeddedSystem(self.out / "data", self.out / "system.log") as system:
                summary, gallery = self._run_on(
                    system.url, system.key, peak_mb=system.peak_memory_mb, started=started
                )
        from terrazzo.simulation.overview import write_overview_png
        from terrazzo.simulation.report import write_report

        self.say("report")
        document = to_json(summary)
        validate(document)
        (self.out / "summary.json").write_text(json.dumps(document, indent=2) + "\n")
        write_report(document, gallery, self.out)
        write_overview_png(document, gallery, self.out / "overview.png")
        return document

    def _run_on(
        self, url: str, key: str, peak_mb: Callable[[], float], started: float
    ) -> tuple[Summary, list[Any]]:
        with TerrazzoClient(url, key) as admin:
            self.before = self._settled(admin)
            loop = self._prepare(admin, url)
            results: list[RoundResult] = []
            rounds: list[RoundSummary] = []
            counts = self._settled(admin)
            for index in range(1, self.settings.rounds + 1):
                result = loop.run(index)
                now = self._settled(admin)
                results.append(result)
                rounds.append(self._round_summary(admin, loop, result, rounds, counts, now))
                counts = now
            self.say("final figures")
            gallery = gallery_of(admin, loop.project_id, self.world, self.names, results)
            return self._summary(admin, loop, results, rounds, gallery, peak_mb(), started), gallery

    def _prepare(self, admin: TerrazzoClient, url: str) -> Loop:
        settings = self.settings
        project = admin.projects.create(
            name=f"{self.world.ontology.name} simulation",
            ontology=self.world.ontology.to_dict(),
            held_out_percent=settings.held_out_percent,
            qa=QA_SETTINGS,
        )
        samples = self._ingest(admin, project.project_id)
        eval_ref = self._import_held_out(admin, project.project_id, samples)
        pool = [s for s in samples if s.split == "train"]
        batch_size = settings.batch_size or default_batch(len(pool), settings.rounds)
        return Loop(
            client=admin,
            project_id=project.project_id,
            annotators=[
                self._person(admin, url, profile, "annotator")
                for profile in crew(settings.annotators, settings.seed)
            ],
            reviewer=self._person(admin, url, replace(reviewer_profile(), name="Reviewer"), "reviewer"),
            auditor=self._person(admin, url, replace(reviewer_profile(), name="Auditor"), "reviewer"),
            eval_ref=eval_ref,
            seed=settings.seed,
            settings=RoundSettings(
                batch_size=batch_size,
                strategy=settings.strategy,
                multi_share=settings.multi_share,
                audit_share=settings.audit_share,
                training={**self.world.training, **settings.training},
            ),
            say=self.say,
        )

    def _person(self, admin: TerrazzoClient, url: str, profile: Any, role: str) -> Person:
        key = admin.keys.create(name=profile.name, role=role)
        client = TerrazzoClient(url, key.key)
        return Person(profile, key.key_id, client, self.world, self.settings.seed, self.names)

    def _ingest(self, admin: TerrazzoClient, project_id: str) -> list[SampleView]:
        uploaded: set[str] = set()
        for number, (name, pair) in enumerate(self.world.pairs.items(), start=1):
            self.say(f"ingest {number}/{len(self.world.pairs)}")
            view = admin.images.upload(project_id, pair.image_path.read_bytes(), name=name)
            self.names.setdefault(view.sample_id, name)
            uploaded.add(view.sample_id)

        def all_there() -> list[SampleView] | None:
            samples = list(admin.samples.list(project_id))
            return samples if len(samples) == len(uploaded) else None

        return wait_until(all_there, "the samples to reach the task service")

    def _import_held_out(self, admin: TerrazzoClient, project_id: str, samples: list[SampleView]) -> str:
        """The reference masks of the held-out split, on a branch of their own: what models are evaluated on."""
        masks: dict[str, str | None] = {}
        for sample in sorted(samples, key=lambda s: s.sample_id):
            if sample.split != "held_out":
                continue
            self.say(f"reference masks of the held-out split {len(masks) + 1}")
            labels = npy_bytes(self.world.truth(self.names[sample.sample_id]))
            provenance = Provenance(source="import", actor="reference", sample_id=sample.sample_id)
            masks[sample.sample_id] = admin.masks.put(project_id, labels, provenance=provenance).mask_id
        admin.datasets.stage(project_id, masks, branch=HELD_OUT_BRANCH)
        commit = admin.datasets.commit(project_id, message="Reference masks", branch=HELD_OUT_BRANCH)
        return admin.datasets.tag(project_id, name="held-out-reference", ref=commit.commit_id).name

    def _settled(self, admin: TerrazzoClient) -> _Counts:
        """Event counts once nothing is on its way any more."""
        last: list[tuple[int, int]] = []

        def quiet() -> _Counts | None:
            nonlocal last
            health = [admin.ops.health(service) for service in SERVICES]
            now = [(h.events_published, h.events_consumed) for h in health]
            still = now == last and not any(h.outbox_waiting for h in health)
            last = now
            if not still:
                time.sleep(0.1)
                return None
            return _Counts(
                sum(h.events_published for h in health) - self.before.published,
                sum(h.events_consumed for h in health) - self.before.consumed,
                sum(h.dead_letters for h in health),
            )

        return wait_until(quiet, "the events to settle")

    def _round_summary(
        self,
        admin: TerrazzoClient,
        loop: Loop,
        result: RoundResult,
        earlier: list[RoundSummary],
        before: _Counts,
        now: _Counts,
    ) -> RoundSummary:
        several = evaluation.several_against_truth(admin, loop.project_id, self.world, self.names, result)
        seconds = sum(w.submission.seconds_spent for w in result.works)
        from_nothing = sum(w.from_nothing_seconds for w in result.works if w.submission.state != "returned")
        sample_ids = list(result.batch.sample_ids)
        metrics = result.model.metrics
        audit = result.audit
        return RoundSummary(
            index=result.index,
            choose_strategy=result.batch.strategy,
            num_labelled=len(sample_ids),
            num_labelled_total=len(sample_ids) + sum(r.num_labelled for r in earlier),
            sample_ids=sample_ids,
            sample_names=[self.names[s] for s in sample_ids],
            human_seconds=seconds,
            human_seconds_from_nothing=from_nothing,
            human_seconds_per_sample=seconds / len(sample_ids),
            from_nothing_seconds_per_sample=from_nothing / len(sample_ids),
            agreement=several.agreement,
            consensus_iou=several.consensus_iou,
            single_annotator_iou=several.single_iou,
            num_multi_annotated=several.num_samples,
            num_adjudicated=result.num_adjudicated,
            num_audited=audit.num_items if audit else 0,
            audit_errors=audit.num_errors if audit else 0,
            audit_error_rate_upper_95=audit.error_rate_upper if audit else None,
            num_returned=result.num_returned,
            model_version=result.model.model_id,
            model_miou=metrics.miou,
            model_iou_per_class={str(c): v for c, v in metrics.iou_per_class.items()},
            promoted=result.promoted,
            commit_id=result.commit_id,
            stage_wall_s=result.stage_wall_s,
            events_published=now.published - before.published,
            events_consumed=now.consumed - before.consumed,
        )

    def _summary(
        self,
        admin: TerrazzoClient,
        loop: Loop,
        results: list[RoundResult],
        rounds: list[RoundSummary],
        gallery: list[Any],
        system_peak_mb: float,
        started: float,
    ) -> Summary:
        samples = list(admin.samples.list(loop.project_id))
        last = results[-1].model.metrics
        return Summary(
            terrazzo_version=__version__,
            source=Source(kind=self.world.kind, note=self.world.note),  # type: ignore[arg-type]
            seed=self.settings.seed,
            settings={**asdict(self.settings), "batch_size": loop.settings.batch_size},
            ontology_name=self.world.ontology.name,
            classes=[ClassEntry(c.id, c.name, c.color, c.parent_id) for c in self.world.ontology],
            num_samples=len(samples),
            num_pool=sum(s.split == "train" for s in samples),
            num_held_out=sum(s.split == "held_out" for s in samples),
            rounds=rounds,
            totals=self._totals(admin, loop, rounds, system_peak_mb, started),
            annotators=self._scorecards(admin, loop),
            stages=loop.stages,
            confusion=Confusion(class_ids=last.class_ids, matrix=last.confusion) if last.confusion else None,
            gallery=[item.sample_id for item in gallery],
            change=_change_of(admin, loop.project_id, rounds),
        )

    def _totals(
        self, admin: TerrazzoClient, loop: Loop, rounds: list[RoundSummary], system_peak_mb: float, started: float
    ) -> Totals:
        tasks = list(admin.tasks.list(loop.project_id))
        submissions = list(admin.submissions.list(loop.project_id))
        counts = self._settled(admin)
        own_peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        # Two stored submissions of one person for one task are a double, unless one was returned or late.
        counted = [(s.task_id, s.annotator_id) for s in submissions if s.state in ("received", "accepted")]
        return Totals(
            human_seconds=sum(r.human_seconds for r in rounds),
            human_seconds_from_nothing=sum(r.human_seconds_from_nothing for r in rounds),
            tasks_created=len(tasks),
            tasks_leaked=sum(t.state not in ("accepted", "cancelled") for t in tasks),
            duplicate_submissions=len(counted) - len(set(counted)),
            late_submissions=sum(s.late for s in submissions),
            num_adjudicated=sum(r.num_adjudicated for r in rounds),
            first_miou=rounds[0].model_miou,
            last_miou=rounds[-1].model_miou,
            peak_memory_mb=round(system_peak_mb + own_peak_mb, 1),
            wall_s=round(time.monotonic() - started, 2),
            events_published=counts.published,
            events_consumed=counts.consumed,
            dead_letters=counts.dead,
        )

    def _scorecards(self, admin: TerrazzoClient, loop: Loop) -> list[Scorecard]:
        cards = {c.annotator_id: c for c in admin.scorecards.list(loop.project_id)}
        out = []
        for person in loop.annotators:
            card = cards.get(person.annotator_id)
            if card is None:
                continue
            out.append(
                Scorecard(
                    name=person.profile.name,
                    submissions=card.num_submissions,
                    seconds=card.seconds,
                    agreement_with_consensus=card.agreement_with_consensus,
                    iou_to_truth=evaluation.single_against_truth(self.world, self.names, person.done),
                    returned=card.num_returned,
                    late=card.num_late,
                )
            )
        return out


def _change_of(admin: TerrazzoClient, project_id: str, rounds: list[RoundSummary]) -> Change | None:
    """The last two commits; where only new samples lie between them, the first and the last."""
    made = [(entry.index, entry.commit_id) for entry in rounds if entry.commit_id is not None]
    if len(made) < 2:
        return None
    found = None
    for (base_round, base), (head_round, head) in ((made[-2], made[-1]), (made[0], made[-1])):
        view = admin.datasets.diff(project_id, base, head, page_size=1)
        flow = [[row.from_class, row.to_class, row.pixels] for row in view.flow]
        assert view.changed_pixels is not None, "pixels were asked for"
        found = Change(base_round, head_round, view.num_added, view.num_changed, view.changed_pixels, flow)
        if flow:
            break
    return found


def default_batch(num_pool: int, rounds: int) -> int:
    """A batch that leaves something to choose from in every round: half of the pool over all rounds."""
    return max(1, min(24, num_pool // (2 * rounds)))
