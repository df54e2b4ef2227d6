"""The way from a queued run to a model is broken off at its first port call, its second, ... until it goes
through; restarted each time on the same files. One model, each event once."""

from __future__ import annotations

import pytest

from terrazzo_training.adapters.store import TableStore

PORT_CALLS = [
    ("versions", "resolve"), ("launcher", "start"), ("launcher", "exit_code"), ("launcher", "lines"),
    ("launcher", "results"), ("launcher", "discard"), ("repository", "publish"), ("blobs", "put"),
    ("uow", "begin"), ("uow", "committed"),
]  # fmt: skip


class Crash(BaseException):
    """The process is gone: nothing catches it."""


class Breaker:
    """Counts port calls and lets the n-th one crash, before or after it took effect."""

    def __init__(self, at: int, after: bool) -> None:
        self.left, self.after = at, after
        self.has_crashed = False

    def wrap(self, function):
        def guarded(*arguments, **options):
            self.left -= 1
            if self.left == 0 and not self.after:
                self.has_crashed = True
                raise Crash
            result = function(*arguments, **options)
            if self.left == 0:
                self.has_crashed = True
                raise Crash
            return result

        return guarded


def supervisor_of(desk):
    return desk.service.workers[0].run_once.__self__


def guard(desk, breaker) -> None:
    supervisor = supervisor_of(desk)
    for port, name in PORT_CALLS:
        target = getattr(supervisor, f"_{port}")
        original = getattr(target, name)
        original = getattr(original, "__wrapped_by_test__", original)
        guarded = breaker.wrap(original)
        guarded.__wrapped_by_test__ = original
        setattr(target, name, guarded)


def work_until_done(desk, run_id) -> None:
    """As time would: the trainer speaks whenever one is running, and ends."""
    for _ in range(12):
        desk.turn()
        if desk.launcher.live():
            for number in (1, 2, 3):
                desk.launcher.epoch(number)
            desk.launcher.finish()
        if desk.run(run_id)["state"] == "succeeded":
            return
    raise AssertionError(desk.run(run_id))


def crash_everywhere(desk, after: bool) -> int:
    """Returns how many crashes it took."""
    for at in range(1, 80):
        run_id = desk.create_run()["run_id"]
        num_said = len(desk.said())
        breaker = Breaker(at, after)
        guard(desk, breaker)
        try:
            work_until_done(desk, run_id)
        except Crash:
            desk = desk.restarted()
            if desk.run(run_id)["state"] != "succeeded":
                work_until_done(desk, run_id)
        guard(desk, Breaker(0, after))
        models = [m for m in desk.call("GET", "models?limit=1000").json()["items"] if m["run_id"] == run_id]
        assert [model["version"] for model in models] == [at], f"crash at port call {at}"
        names = ["RunStarted", *["RunProgress"] * 3, "RunFinished", "ModelRegistered"]
        assert desk.names_said()[num_said:] == names, f"crash at port call {at}"
        if not breaker.has_crashed:
            return at - 1
    raise AssertionError("the path never went through")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_port_call_loses_nothing_and_does_nothing_twice(desk, after):
    assert crash_everywhere(desk, after) >= 20


def test_the_check_fails_when_known_epochs_are_told_again(desk, monkeypatch):
    """Negative control: one defence taken away, and the crashes show it."""
    monkeypatch.setattr(TableStore, "add_epoch", lambda *_: True)
    with pytest.raises(AssertionError, match="crash at port call"):
        crash_everywhere(desk, after=True)
