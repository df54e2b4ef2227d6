"""A commit as a torch dataset, read over REST: exact, cached by content, resumable, one order for any workers."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from torch.utils.data import DataLoader

from terrazzo_client import NotFound, TerrazzoClient
from terrazzo_client.torch_data import CommitDataset, CommitSampler, CommitStream, DataError, order_of, rank_order

from .conftest import PROJECT, World, random_picture

NUM = 11
# Three workers on two cores are what is asked here.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def maps(world: World) -> dict[str, Any]:
    """Eleven committed samples: sample id -> label map. The first pixel tells which it is."""
    staged: dict[str, str | None] = {}
    found = {}
    for seed in range(NUM):
        labels_HW = np.random.default_rng(seed).choice(np.array([0, 1, 2, 3], np.uint8), (12, 16))
        sample_id = world.sample(seed, f"{seed}.png", 12, 16)
        staged[sample_id], found[sample_id] = world.put(labels_HW), labels_HW
    world.stage(staged)
    world.commit()
    return found


def dataset(world: World, **options: Any) -> CommitDataset:
    def connect() -> TerrazzoClient:
        return TerrazzoClient("http://testserver", world.key_of("trainer"), transport=world.client._transport)

    return CommitDataset("", "", PROJECT, connect=connect, **options)


class Ids:
    """Stands in for a dataset whose samples are their positions: for questions of order alone."""

    commit_id = "c0ffee"

    def __init__(self, num: int = NUM) -> None:
        self.num = num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> int:
        return index


def stream(num: int = NUM, **options: Any) -> CommitStream:
    return CommitStream(Ids(num), **options)  # type: ignore[arg-type]


def batches(data: Any, num_workers: int = 0, batch_size: int | None = 3, **options: Any) -> list[list[int]]:
    loader = DataLoader(data, batch_size=batch_size, num_workers=num_workers, **options)
    return [batch.tolist() if isinstance(batch, torch.Tensor) else [batch] for batch in loader]


def flat(lists: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def test_images_and_masks_are_those_of_the_commit(world: World, maps: dict[str, Any]) -> None:
    data = dataset(world)
    assert len(data) == NUM
    for index, entry in enumerate(data.entries):
        image_HWC, labels_HW = data.arrays(index)
        np.testing.assert_array_equal(labels_HW, maps[entry.sample_id])
        assert any((image_HWC == random_picture(seed, 12, 16)).all() for seed in range(NUM))
        image_CHW, labels = data[index]
        assert (image_CHW.dtype, image_CHW.shape) == (torch.uint8, (3, 12, 16))
        assert (labels.dtype, labels.tolist()) == (torch.int64, labels_HW.tolist())
    halves = [dataset(world, split=split, held_out_percent=30) for split in ("train", "held_out")]
    assert sum(map(len, halves)) == NUM
    assert not {e.sample_id for e in halves[0].entries} & {e.sample_id for e in halves[1].entries}
    doubled = dataset(world, transform=lambda image, labels: (image.shape, int(labels.max()) * 2))
    assert doubled[0][0] == (12, 16, 3)


def test_a_branch_that_moves_on_does_not_change_a_dataset_in_use(world: World, maps: dict[str, Any]) -> None:
    data = dataset(world)
    world.stage({data.entries[0].sample_id: world.put(np.full((12, 16), 3, np.uint8))})
    world.commit()
    np.testing.assert_array_equal(data.arrays(0)[1], maps[data.entries[0].sample_id])
    assert (dataset(world).arrays(0)[1] == 3).all()
    with pytest.raises(NotFound):
        dataset(world, ref="nowhere")


@pytest.mark.parametrize("profile", ["fast", "small"])
def test_the_cache_spares_requests_and_heals_a_damaged_file(
    world: World, maps: dict[str, Any], tmp_path: Path, profile: Any
) -> None:
    tmp_path = tmp_path / "cache"
    data = dataset(world, cache=tmp_path, profile=profile)
    first = [data.arrays(index) for index in range(NUM)]
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 2 * NUM
    again = dataset(world, cache=tmp_path, profile=profile)
    asked = []
    for resource in (again.client.images, again.client.masks):
        real = resource.content
        resource.content = lambda *a, real=real: asked.append(a) or real(*a)  # type: ignore[assignment,misc]
    for path in files[:3]:
        path.write_bytes(path.read_bytes()[:-3] + b"???")
    for index in range(NUM):
        for before, after in zip(first[index], again.arrays(index), strict=True):
            np.testing.assert_array_equal(before, after)
    assert len(asked) == 3
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def test_an_answer_that_is_not_the_sample_is_an_error_that_names_it(world: World, maps: dict[str, Any]) -> None:
    data = dataset(world)
    data.client.masks.content = lambda *a: b"no mask"  # type: ignore[assignment,method-assign]
    with pytest.raises(DataError, match=data.entries[4].sample_id):
        data[4]
    data.client.images.content = lambda *a: b"no image"  # type: ignore[assignment,method-assign]
    with pytest.raises(DataError, match="not the one of the version"):
        data[4]


def test_it_can_be_sent_to_a_worker_and_connects_anew_there(world: World, maps: dict[str, Any]) -> None:
    data = CommitDataset("http://x", "k", PROJECT, connect=lambda: dataset(world).client)
    data._connect = None  # type: ignore[assignment]
    assert pickle.loads(pickle.dumps(data))._client is None


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """Where the service answers, from a thread."""
    server = uvicorn.Server(uvicorn.Config(world.service.app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_worker_processes_read_a_running_service(
    world: World, maps: dict[str, Any], url: str, tmp_path: Path
) -> None:
    data = CommitDataset(url, world.key_of("trainer"), PROJECT, cache=tmp_path)
    data.arrays(0)
    stream = CommitStream(data, batch_size=3, seed=1)
    loader = DataLoader(stream, batch_size=3, num_workers=2)
    expected = [maps[data.entries[i].sample_id] for i in order_of(NUM, 1, 0)]
    seen = [labels for _, labels_NHW in loader for labels in labels_NHW.numpy()]
    np.testing.assert_array_equal(np.stack(seen), np.stack(expected))


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_the_batches_are_the_same_for_any_number_of_workers(batch_size: int) -> None:
    expected = batches(stream(batch_size=batch_size, seed=5), 0, batch_size)
    assert sorted(flat(expected)) == list(range(NUM))
    for num_workers in (1, 2, 3):
        assert batches(stream(batch_size=batch_size, seed=5), num_workers, batch_size) == expected


def test_seed_and_epoch_make_the_order_and_nothing_else_does() -> None:
    one, other = stream(seed=5, batch_size=3), stream(seed=6, batch_size=3)
    assert batches(one) == batches(one) == batches(stream(seed=5, batch_size=3))
    assert batches(one) != batches(other)
    first = batches(one)
    one.set_epoch(1)
    assert batches(one) != first
    assert order_of(5, 0, 0).tolist() == order_of(5, 0, 0).tolist()
    assert batches(stream(shuffle=False, batch_size=3)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]


def test_workers_that_live_on_see_the_next_epoch() -> None:
    data = stream(seed=5, batch_size=3)
    loader = DataLoader(data, batch_size=3, num_workers=2, persistent_workers=True)
    seen = []
    for epoch in range(3):
        data.set_epoch(epoch)
        seen.append([batch.tolist() for batch in loader])
    expected = []
    for epoch in range(3):
        alone = stream(seed=5, batch_size=3)
        alone.set_epoch(epoch)
        expected.append(batches(alone))
    assert seen == expected


@pytest.mark.parametrize(("uneven", "counts"), [("keep", [4, 4, 3]), ("drop", [3, 3, 3]), ("pad", [4, 4, 4])])
def test_ranks_share_an_epoch(uneven: Any, counts: list[int]) -> None:
    parts = [flat(batches(stream(seed=2, rank=r, world_size=3, uneven=uneven))) for r in range(3)]
    assert [len(part) for part in parts] == counts
    together = flat(parts)
    assert len(set(together)) == min(len(together), NUM)
    if uneven != "drop":
        assert set(together) == set(range(NUM))
    with pytest.raises(ValueError, match=r"rank 3 is not in 0\.\.2"):
        stream(rank=3, world_size=3)
    with pytest.raises(ValueError, match="'drop', 'pad' or 'keep'"):
        rank_order(order_of(4, 0, 0), 0, 3, "some")


@pytest.mark.parametrize("workers_after", [0, 1, 3])
@pytest.mark.parametrize("num_batches", [0, 1, 2, 3])
def test_a_stream_goes_on_where_it_was_with_any_number_of_workers(num_batches: int, workers_after: int) -> None:
    whole = batches(stream(seed=4, batch_size=3))
    begun = stream(seed=4, batch_size=3)
    seen = batches(begun, 2)[:num_batches]
    state = begun.state_dict(sum(map(len, seen)))
    again = stream(seed=4, batch_size=3)
    again.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert len(again) == NUM - sum(map(len, seen))
    assert seen + batches(again, workers_after) == whole
    again.set_epoch(0)
    assert len(again) == NUM - sum(map(len, seen))
    again.set_epoch(1)
    assert len(again) == NUM


def test_a_state_of_another_version_or_seed_is_refused() -> None:
    state = stream(seed=4).state_dict(2)
    with pytest.raises(ValueError, match="the state is of seed 4, this dataset of 5"):
        stream(seed=5).load_state_dict(state)
    with pytest.raises(ValueError, match="commit_id 'other'"):
        stream(seed=4).load_state_dict({**state, "commit_id": "other"})
    with pytest.raises(ValueError, match="epoch -1"):
        stream(seed=4).load_state_dict({**state, "epoch": -1})


def test_a_sampler_gives_a_map_style_loader_the_same_order_and_goes_on() -> None:
    data = Ids()
    options: dict[str, Any] = {"seed": 7, "rank": 1, "world_size": 2, "uneven": "keep"}
    sampler = CommitSampler(data, **options)  # type: ignore[arg-type]
    whole = batches(data, batch_size=2, sampler=sampler)
    assert whole == batches(stream(batch_size=2, **options), batch_size=2)
    again = CommitSampler(data, **options)  # type: ignore[arg-type]
    again.load_state_dict(sampler.state_dict(2))
    assert batches(data, batch_size=2, sampler=again) == whole[1:]
    again.set_epoch(1)
    assert len(again) == 5
    assert batches(data, batch_size=2, sampler=again) != whole


def test_importing_the_module_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, terrazzo_client.torch_data; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
