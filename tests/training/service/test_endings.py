"""How runs end badly, are cancelled, and go on after crashes."""

import pytest
from launcher_double import problem

from terrazzo_client import NoAnswer


def test_a_killed_service_continues_its_run_from_the_checkpoint(desk):
    run = desk.create_run()
    desk.turn()
    desk.launcher.epoch(1)
    desk.turn()
    desk.launcher.epoch(2)  # said, but not read before the service was killed

    desk = desk.restarted()
    desk.turn()
    assert [job.run_id for job in desk.launcher.jobs] == [run["run_id"]] * 2
    desk.launcher.epoch(2)  # the checkpoint was older than epoch 2's end: it is said again
    desk.launcher.epoch(3)
    desk.launcher.finish()
    desk.turn()
    done = desk.run(run["run_id"])
    assert done["state"] == "succeeded"
    assert [epoch["epoch"] for epoch in done["epochs"]] == [1, 2, 3]
    assert desk.names_said() == ["RunStarted", *["RunProgress"] * 3, "RunFinished", "ModelRegistered"]


def test_a_service_killed_between_the_start_s_commit_and_the_launch_launches_it(desk):
    run = desk.create_run()
    desk.launcher.start = lambda job: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        desk.turn()
    del desk.launcher.start
    desk = desk.restarted()
    desk.turn()
    assert desk.run(run["run_id"])["state"] == "running"
    assert len(desk.launcher.jobs) == 1


def test_a_finished_trainer_whose_end_was_not_seen_is_asked_again(desk):
    run = desk.create_run()
    desk.turn()
    desk.launcher.finish()
    desk = desk.restarted()
    desk.turn()
    assert len(desk.launcher.jobs) == 2  # its checkpoint is complete: this takes a moment
    desk.launcher.finish()
    desk.turn()
    assert desk.run(run["run_id"])["state"] == "succeeded"
    assert desk.call("GET", "models").json()["items"][0]["version"] == 1


def test_a_queued_run_survives_a_restart(desk):
    run = desk.create_run()
    desk = desk.restarted()
    desk.turn()
    assert desk.run(run["run_id"])["state"] == "running"


@pytest.mark.parametrize("status", [75, 1])
def test_a_trainer_that_says_come_again_is_started_again(desk, status):
    run = desk.create_run()
    for _ in range(5):
        desk.turn()
        desk.launcher.say(event="failed", error="Interrupted", message="stopped after step 3", exit=75)
        desk.launcher.end(status)  # torchrun ends with 1 whatever its processes end with
    desk.turn()
    assert len(desk.launcher.jobs) == 6
    assert desk.run(run["run_id"])["state"] == "running"


def test_a_trainer_that_is_killed_again_and_again_is_given_up(desk):
    run = desk.create_run()
    for _ in range(3):
        desk.turn()
        desk.launcher.end(-9)
    desk.turn()
    assert len(desk.launcher.jobs) == 3
    failed = desk.run(run["run_id"])
    assert failed["state"] == "failed"
    assert failed["reason"].startswith("the trainer was killed by signal 9 (3 times)")
    assert desk.launcher.discarded == [run["run_id"]]


def test_the_reason_of_a_failure_is_the_trainer_s_own(desk):
    run = desk.create_run()
    desk.turn()
    desk.launcher.say(event="failed", error="DataError", message="commit a: no samples", exit=3)
    desk.launcher.end(3)
    desk.turn()
    failed = desk.run(run["run_id"])
    assert (failed["state"], failed["reason"]) == ("failed", "DataError: commit a: no samples")
    finished = desk.said()[-1].message
    assert (finished.state, finished.reason) == ("failed", "DataError: commit a: no samples")


def test_a_failure_without_a_word_quotes_the_end_of_the_log(desk):
    run = desk.create_run()
    desk.turn()
    desk.launcher._output[run["run_id"]] += "Traceback ...\nModuleNotFoundError: No module named 'torch'\n"
    desk.launcher.end(1)
    desk.turn()
    assert desk.run(run["run_id"])["reason"] == (
        "the trainer ended with status 1: ModuleNotFoundError: No module named 'torch'"
    )


def test_results_that_can_not_be_read_fail_the_run(desk):
    run = desk.create_run()
    desk.turn()
    desk.launcher.miou = -1
    desk.launcher.finish()
    desk.turn()
    assert "no metrics.json" in desk.run(run["run_id"])["reason"]


def test_a_trainer_that_can_not_be_started_fails_the_run(desk):
    run = desk.create_run()
    desk.launcher.error = OSError("no space left")
    desk.turn()
    assert desk.run(run["run_id"])["reason"] == "the trainer could not be started: no space left"


def test_a_failed_run_does_not_hold_up_the_next(desk):
    desk.create_run(ref="nowhere")
    good = desk.create_run()
    desk.turn()
    assert desk.run(good["run_id"])["state"] == "running"


def test_an_unknown_ref_fails_the_run_and_says_which(desk):
    run = desk.create_run(ref="nowhere")
    desk.turn()
    assert desk.run(run["run_id"])["reason"] == "unknown dataset version: no commit, branch or tag 'nowhere'"


@pytest.mark.parametrize("error", [NoAnswer("refused"), problem(404, "not-known-yet", "no project yet")])
def test_a_silent_mask_storage_is_asked_again_for_a_minute(desk, clock, error):
    run, late = desk.create_run(), None
    desk.storage.error = error
    desk.turn(3)
    assert desk.run(run["run_id"])["state"] == "queued"
    desk.storage.error = None
    desk.turn()
    assert desk.run(run["run_id"])["state"] == "running"
    desk.storage.error = error
    late = desk.create_run()
    clock.advance(61)
    desk.turn()
    assert desk.run(late["run_id"])["reason"].startswith("mask storage did not say what 'main' is")


def test_a_queued_run_is_cancelled_at_once(desk):
    run = desk.create_run()
    answer = desk.call("POST", f"runs/{run['run_id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    desk.turn()
    assert desk.launcher.jobs == []
    assert desk.names_said() == ["RunFinished"]


def test_a_running_run_is_cancelled_and_its_trainer_stopped(desk):
    run, following = desk.create_run(), desk.create_run()
    desk.turn()
    assert desk.call("POST", f"runs/{run['run_id']}/cancel").json()["state"] == "cancelled"
    assert desk.call("POST", f"runs/{run['run_id']}/cancel").json()["state"] == "cancelled"
    desk.turn()
    assert desk.launcher.stopped == [run["run_id"]]
    desk.turn()
    assert desk.launcher.discarded == [run["run_id"]]
    assert desk.run(following["run_id"])["state"] == "running"
    assert desk.names_said() == ["RunStarted", "RunFinished", "RunStarted"]


def test_a_run_that_finishes_as_it_is_cancelled_makes_no_model(desk):
    run = desk.create_run()
    desk.turn()
    desk.launcher.finish()
    results = desk.launcher.results

    def cancelled_meanwhile(run_id):
        desk.call("POST", f"runs/{run_id}/cancel")
        return results(run_id)

    desk.launcher.results = cancelled_meanwhile
    desk.turn()
    assert desk.run(run["run_id"])["state"] == "cancelled"
    assert desk.call("GET", "models").json()["items"] == []


def test_a_run_that_is_over_can_not_be_cancelled(desk):
    model = desk.trained()
    assert desk.call("POST", f"runs/{model['run_id']}/cancel").status_code == 409
