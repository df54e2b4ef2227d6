"""Whole runs: the golden loss curve, stopping and resuming, warm starts, and the files that stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import ArraySource, split_held_out
from terrazzo_training.trainer.errors import CheckpointError, DataError, Interrupted, NonFiniteError
from terrazzo_training.trainer.processes import Processes
from terrazzo_training.trainer.run import prepare, run

Make = Callable[..., RunConfig]
_ALONE = Processes(rank=0, world=1, device=torch.device("cpu"))
_GOLDEN = Path(__file__).parent / "golden" / "loss_curve.json"


def _run(config: RunConfig, source: ArraySource, out: Path, stop_after: int | None = None) -> list[dict[str, Any]]:
    """Run and return the events; ``stop_after`` asks it to stop once that epoch was reported."""
    events: list[dict[str, Any]] = []
    stop = Event()

    def emit(event: dict[str, Any]) -> None:
        events.append(event)
        if stop_after is not None and event["event"] == "epoch" and event["epoch"] == stop_after:
            stop.set()

    run(config, source, None, out=out, processes=_ALONE, emit=emit, stop=stop)
    return events


def _weights(out: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(out / "weights.pt", weights_only=True)["weights"]
    return weights


def test_twenty_steps_give_the_golden_loss_curve(make_config: Make, shapes: ArraySource) -> None:
    """In float64 and with plain momentum, so that another CPU's order of additions stays below 1e-5.

    (Adam divides by the size of the gradient and makes a difference in the last digit a visible one.)

    A wanted change of the curve: ``TERRAZZO_WRITE_GOLDEN=1 pytest`` writes the file anew.
    """
    import os

    config = make_config(
        dtype="float64", epochs=1, steps_per_epoch=20, optimizer="sgd", learning_rate=0.05,
        scale_min=0.75, scale_max=1.5,
    )  # fmt: skip
    training, _ = split_held_out(shapes, config.held_out_percent)
    torch.use_deterministic_algorithms(True)
    trainer, sampler, _ = prepare(config, training, ClassTree.of(config.classes), _ALONE)
    trainer.model.train()
    curve = [trainer.step(sampler.batch(step)).loss for step in range(20)]
    if os.environ.get("TERRAZZO_WRITE_GOLDEN"):
        _GOLDEN.write_text(json.dumps({"loss": curve}, indent=1) + "\n")
    assert curve == pytest.approx(json.loads(_GOLDEN.read_text())["loss"], rel=1e-5, abs=1e-5)
    assert np.mean(curve[-3:]) < 0.7 * np.mean(curve[:3])


@pytest.mark.parametrize("fields", [{}, {"ema_decay": 0.9, "optimizer": "sgd", "arch": "fast_scnn"}])
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    make_config: Make, shapes: ArraySource, tmp_path: Path, fields: dict[str, Any]
) -> None:
    config = make_config(epochs=4, steps_per_epoch=5, crop_px=32, **fields)
    _run(config, shapes, tmp_path / "whole")
    with pytest.raises(Interrupted, match="of 20"):
        _run(config, shapes, tmp_path / "halved", stop_after=2)
    assert not (tmp_path / "halved" / "weights.pt").exists()
    events = _run(config, shapes, tmp_path / "halved")
    assert events[1] == {"event": "resumed", "step": 11}

    whole, halved = _weights(tmp_path / "whole"), _weights(tmp_path / "halved")
    assert [name for name in whole if not torch.equal(whole[name], halved[name])] == []
    curves = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("whole", "halved")
    ]
    assert len(curves[0]) == 4
    assert curves[0] == curves[1]


def test_another_seed_gives_other_weights(make_config: Make, shapes: ArraySource, tmp_path: Path) -> None:
    """The negative control of the test above."""
    for seed in (0, 1):
        _run(make_config(seed=seed, epochs=1, crop_px=32), shapes, tmp_path / str(seed))
    first, second = _weights(tmp_path / "0"), _weights(tmp_path / "1")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_run_leaves_its_files_and_learns(make_config: Make, shapes: ArraySource, tmp_path: Path) -> None:
    config = make_config(epochs=2, steps_per_epoch=20, num_workers=2, learning_rate=1e-2)
    events = _run(config, shapes, tmp_path)
    assert [e["event"] for e in events] == ["started", "epoch", "epoch", "finished"]
    assert events[2]["loss"] < events[1]["loss"]
    finished = events[-1]
    assert finished["stop_reason"] == "steps"
    assert finished["miou"] > 0.6
    assert (Path(finished["version_path"]) / "model.pt").exists()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["miou"] == finished["miou"]
    assert metrics["num_images"] == events[0]["num_held_out"] > 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "checkpoint.pt", "history.jsonl", "metrics.json", "repository", "weights.pt"}  # fmt: skip


def test_running_a_finished_run_again_gives_the_same_result_without_training(
    make_config: Make, shapes: ArraySource, tmp_path: Path
) -> None:
    config = make_config(epochs=1)
    first = _run(config, shapes, tmp_path)
    again = _run(config, shapes, tmp_path)
    assert [e["event"] for e in again] == ["started", "resumed", "finished"]
    assert again[-1]["miou"] == first[-1]["miou"]


def test_a_time_limit_ends_the_run_early_and_still_exports(
    make_config: Make, shapes: ArraySource, tmp_path: Path
) -> None:
    finished = _run(make_config(epochs=500, max_seconds=1.0), shapes, tmp_path)[-1]
    assert finished["stop_reason"] == "max_seconds"
    assert finished["step"] < 2500
    assert Path(finished["version_path"]).is_dir()


def test_a_warm_start_begins_where_the_last_run_ended(
    make_config: Make, shapes: ArraySource, tmp_path: Path
) -> None:
    cold = _run(make_config(epochs=3), shapes, tmp_path / "cold")
    config = make_config(epochs=1, init_from=str(tmp_path / "cold" / "weights.pt"), seed=1, learning_rate=1e-4)
    warm = _run(config, shapes, tmp_path / "warm")
    assert warm[1]["loss"] < cold[1]["loss"]


def test_a_warm_start_keeps_the_channels_of_the_classes_that_stayed(
    make_config: Make, shapes: ArraySource, tmp_path: Path
) -> None:
    _run(make_config(epochs=1), shapes, tmp_path)
    more = [*({"id": c.id, "name": c.name, "parent_id": c.parent_id} for c in make_config().classes),
            {"id": 5, "name": "new", "parent_id": 10}]  # fmt: skip
    config = make_config(classes=more, init_from=str(tmp_path / "weights.pt"))
    training, _ = split_held_out(shapes, 20)
    trainer, _, _ = prepare(config, training, ClassTree.of(config.classes), _ALONE)
    name = f"{trainer.model.class_layer}.weight"
    old, new = _weights(tmp_path)[name], trainer.model.state_dict()[name]
    assert new.shape[0] == 4
    assert torch.equal(new[:3], old)


def test_weights_of_another_network_are_refused(make_config: Make, shapes: ArraySource, tmp_path: Path) -> None:
    _run(make_config(epochs=1, arch="fast_scnn"), shapes, tmp_path)
    with pytest.raises(CheckpointError, match="fast_scnn"):
        _run(make_config(init_from=str(tmp_path / "weights.pt")), shapes, tmp_path / "b")
    with pytest.raises(CheckpointError, match="no such file"):
        _run(make_config(init_from=str(tmp_path / "none.pt")), shapes, tmp_path / "c")


def test_a_folder_of_another_run_is_refused(make_config: Make, shapes: ArraySource, tmp_path: Path) -> None:
    _run(make_config(epochs=1), shapes, tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        _run(make_config(epochs=1, seed=5), shapes, tmp_path)


def test_a_damaged_checkpoint_is_refused(make_config: Make, shapes: ArraySource, tmp_path: Path) -> None:
    _run(make_config(epochs=1), shapes, tmp_path)
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        _run(make_config(epochs=1), shapes, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(make_config: Make, shapes: ArraySource) -> None:
    config = make_config()
    training, _ = split_held_out(shapes, 20)
    trainer, sampler, _ = prepare(config, training, ClassTree.of(config.classes), _ALONE)
    batch = sampler.batch(0)
    batch.images_NCHW[0, 0, 0, 0] = np.nan
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    with pytest.raises(NonFiniteError, match="step 0"):
        trainer.step(batch)
    assert all(torch.equal(before[name], value) for name, value in trainer.model.named_parameters())


def test_a_commit_with_nothing_to_train_on_is_refused(
    make_config: Make, shapes: ArraySource, tmp_path: Path
) -> None:
    from terrazzo_schema.split import is_held_out

    held_out = next(i for i in range(20) if is_held_out(shapes.sample_id(i), 20))
    only = ArraySource([shapes.sample_id(held_out)], [shapes.image(held_out)], [shapes.labels(held_out)])
    with pytest.raises(DataError, match="none of its 1 samples"):
        _run(make_config(), only, tmp_path)
