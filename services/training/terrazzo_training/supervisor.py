"""The supervisor: takes queued runs to their end, one at a time, through restarts of this process.

Every step can be repeated: a crash between any two is healed by the next turn of a new process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from terrazzo_runtime.blobs import Blobs
from terrazzo_runtime.unit_of_work import UnitOfWork
from terrazzo_training import handlers
from terrazzo_training.domain.configuration import model_name_of
from terrazzo_training.domain.models import read_metrics
from terrazzo_training.domain.reports import EpochReport, Failed, Finished, Launched, read_report
from terrazzo_training.domain.runs import Fail, Run, StartAgain, Succeed, conclude
from terrazzo_training.ports import (
    DatasetVersions,
    Job,
    JobLauncher,
    ModelRepository,
    Store,
    UnknownRef,
    UnreadableResults,
)

log = logging.getLogger("terrazzo.training")

RESOLVE_FOR = timedelta(seconds=60)
"""How long mask storage may be silent about a ref before the run fails."""


class Supervisor:
    """`run_once` is the worker's turn. `key_for` makes the key with which a run's trainer reads the dataset
    at `url`."""

    def __init__(
        self,
        uow: UnitOfWork[Store],
        blobs: Blobs,
        launcher: JobLauncher,
        repository: ModelRepository,
        versions: DatasetVersions,
        url: str,
        key_for: Callable[[Run], str],
    ) -> None:
        self._uow = uow
        self._blobs = blobs
        self._launcher = launcher
        self._repository = repository
        self._versions = versions
        self._url = url
        self._key_for = key_for
        self._offsets: dict[str, int] = {}
        self._last_words: dict[str, Finished | Failed | None] = {}
        self._ending: set[str] = set()

    def run_once(self) -> int:
        """One turn; returns how much was done (0: nothing new)."""
        with self._uow.read() as store:
            queued, running = store.runs_in("queued"), store.runs_in("running")
        done = sum(self._resolve(run) for run in queued if run.commit_id is None)
        live = set(self._launcher.live())
        self._end_cancelled(live - {run.run_id for run in running})
        for run in running:
            done += self._watch(run)
        if not running and not live:
            done += self._start_next()
        return done

    def _resolve(self, run: Run) -> int:
        """Pin refs to commits as soon as possible: a branch moves."""
        try:
            commit_id = self._versions.resolve(run.organisation_id, run.project_id, run.ref)
            eval_commit_id = (
                self._versions.resolve(run.organisation_id, run.project_id, run.eval_ref) if run.eval_ref else None
            )
        except UnknownRef as error:
            return self._fail(run, f"unknown dataset version: {error}")
        except Exception as error:  # noqa: BLE001 - no answer, in whatever form; asked again, for a while
            if self._uow.clock.now() - run.created_at > RESOLVE_FOR:
                return self._fail(run, f"mask storage did not say what {run.ref!r} is: {error}")
            log.info("run %s: no commit for %r yet: %s", run.run_id, run.ref, error)
            return 0
        with self._uow.begin() as tx:
            handlers.resolve_run(tx, run, commit_id, eval_commit_id)
        return 1

    def _end_cancelled(self, live: set[str]) -> None:
        for run_id in self._ending - live:
            self._forget(run_id)
        self._ending = live
        for run_id in live:
            self._launcher.stop(run_id)

    def _start_next(self) -> int:
        with self._uow.read() as store:
            ready = [run for run in store.runs_in("queued") if run.commit_id is not None]
        return self._launch(ready[0]) if ready else 0

    def _launch(self, run: Run, *, crashed: bool = False) -> int:
        """Count the start, then launch: a crash between the two is seen as a run without a trainer."""
        with self._uow.begin() as tx:
            started = handlers.start_run(tx, run, self._launcher.code_version, crashed)
        if started is None:
            return 0
        self._last_words[run.run_id] = None
        try:
            self._launcher.start(self._job(started))
        except OSError as error:
            return self._fail(run, f"the trainer could not be started: {error}")
        return 1

    def _job(self, run: Run) -> Job:
        weights: bytes | None = None
        if run.init_from is not None:
            with self._uow.read() as store:
                parent = store.model(run.organisation_id, run.init_from)
            assert parent is not None  # checked when the run was created, and models are never deleted
            weights = self._blobs.get(parent.weights_hash)
        config = {**run.settings, "commit_id": run.commit_id, "eval_commit_id": run.eval_commit_id}
        return Job(run.run_id, config, weights, self._url, self._key_for(run))

    def _watch(self, run: Run) -> int:
        try:
            # Asked before its lines are read, so that an ended trainer's last lines are not missed.
            exit_code = self._launcher.exit_code(run.run_id)
        except KeyError:
            self._read_lines(run)  # what it said before this process started
            log.info("run %s has no trainer; it goes on from its checkpoint", run.run_id)
            return self._launch(run)
        done = self._read_lines(run)
        return done if exit_code is None else done + self._conclude(run, exit_code)

    def _read_lines(self, run: Run) -> int:
        lines, offset = self._launcher.lines(run.run_id, self._offsets.get(run.run_id, 0))
        num_new = 0
        for line in lines:
            match read_report(line):
                case EpochReport() as report:
                    with self._uow.begin() as tx:
                        num_new += handlers.record_epoch(tx, run, report)
                case Launched():
                    self._last_words[run.run_id] = None
                case Finished() | Failed() as last:
                    self._last_words[run.run_id] = last
        self._offsets[run.run_id] = offset
        return num_new

    def _conclude(self, run: Run, exit_code: int) -> int:
        last = self._last_words.get(run.run_id)
        match conclude(exit_code, last, run.num_crashes, _last_line(self._launcher.log(run.run_id))):
            case Succeed():
                return self._register(run)
            case StartAgain(crashed=crashed):
                log.info(
                    "run %s: the trainer ended with %d; it goes on from its checkpoint", run.run_id, exit_code
                )
                return self._launch(run, crashed=crashed)
            case Fail(reason=reason):
                return self._fail(run, reason)

    def _register(self, run: Run) -> int:
        """Files first, then the row: a version that nobody knows of does no harm, the reverse would."""
        try:
            results = self._launcher.results(run.run_id)
            metrics = read_metrics(results.metrics)
        except (UnreadableResults, KeyError, TypeError, ValueError) as error:
            return self._fail(run, f"the trainer's results can't be read: {error}")
        weights_hash = self._blobs.put(results.weights)
        with self._uow.read() as store:
            version = store.next_version(run.organisation_id, run.project_id)
        self._repository.publish(model_name_of(run.project_id), version, results.version_folder)
        with self._uow.begin() as tx:
            handlers.register_model(tx, run, version, metrics, weights_hash)
        self._forget(run.run_id)
        return 1

    def _fail(self, run: Run, reason: str) -> int:
        with self._uow.begin() as tx:
            handlers.fail_run(tx, run, reason)
        self._forget(run.run_id)
        return 1

    def _forget(self, run_id: str) -> None:
        self._offsets.pop(run_id, None)
        self._last_words.pop(run_id, None)
        self._launcher.discard(run_id)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""
