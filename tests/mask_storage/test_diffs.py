"""Diffs of versions: what is told of masks and what is read from their pixels is the same; pages add up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from terrazzo_mask_storage.handlers import diffs
from terrazzo_mask_storage.handlers.caches import PackCache

from .conftest import PROJECT, World

NUM = 7


@pytest.fixture
def read_pairs(monkeypatch: pytest.MonkeyPatch) -> list[diffs.MaskPair]:
    """Pairs of masks whose pixels were compared."""
    pairs: list[diffs.MaskPair] = []
    measured = diffs._measured

    def noted(read: Any, wanted: Any) -> Any:
        pairs.extend(wanted)
        return measured(read, wanted)

    monkeypatch.setattr(diffs, "_measured", noted)
    return pairs


def labels_of(seed: int) -> NDArray[Any]:
    blocks = np.random.default_rng(seed).choice(np.array([0, 1, 2, 300], np.uint16), (6, 8))
    return np.kron(blocks, np.ones((10, 10), np.uint16))


def stroked(labels_HW: NDArray[Any], seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    out_HW = labels_HW.copy()
    y, x = rng.integers(0, 40, 2)
    out_HW[y : y + 15, x : x + 25] = rng.choice([1, 2, 300])
    return out_HW


def flow_of(old_HW: NDArray[Any], new_HW: NDArray[Any]) -> Counter[tuple[int, int]]:
    """Counted pixel by pixel, with nothing of ours."""
    return Counter(
        (before, after)
        for before, after in zip(old_HW.ravel().tolist(), new_HW.ravel().tolist(), strict=True)
        if before != after
    )


def history(world: World, *, based: bool) -> tuple[list[str], list[dict[str, NDArray[Any]]]]:
    """(commit ids, label maps by sample) of three versions; each mask put as made from the one before, or not."""
    samples = [world.sample(seed) for seed in range(NUM)]
    versions = [{sample: labels_of(seed) for seed, sample in enumerate(samples)}]
    versions.append({sample: stroked(labels_HW, n) for n, (sample, labels_HW) in enumerate(versions[0].items())})
    versions.append({s: stroked(labels_HW, n + 50) for n, (s, labels_HW) in enumerate(versions[1].items())})
    commits, masks = [], dict[str, str]()
    for number, maps in enumerate(versions):
        masks = {
            sample: world.put(
                labels_HW,
                **(
                    {"source": "import", "actor": "ann", "sample_id": sample, "parent_mask_id": masks[sample]}
                    if based and number
                    else {}
                ),
            )
            for sample, labels_HW in maps.items()
        }
        world.stage(dict(masks))
        commits.append(world.commit()["commit_id"])
    return commits, versions


def shown(rows: list[dict[str, Any]]) -> dict[tuple[int, int], int]:
    return {(row["from_class"], row["to_class"]): row["pixels"] for row in rows}


def require_true(
    world: World,
    old: dict[str, NDArray[Any]],
    new: dict[str, NDArray[Any]],
    base: str,
    head: str,
) -> None:
    said = world.dataset("diff", base=base, head=head)
    flows = {sample: flow_of(old[sample], new[sample]) for sample in old}
    assert {row["sample_id"]: shown(row["flow"]) for row in said["samples"]} == flows
    assert {row["sample_id"]: row["changed_pixels"] for row in said["samples"]} == {
        sample: flow.total() for sample, flow in flows.items()
    }
    assert shown(said["flow"]) == sum(flows.values(), Counter())
    assert said["changed_pixels"] == sum(flow.total() for flow in flows.values()) > 0
    assert [row["pixels"] for row in said["flow"]] == sorted(shown(said["flow"]).values(), reverse=True)


def test_what_masks_say_of_their_bases_is_what_their_pixels_say(
    world: World, read_pairs: list[diffs.MaskPair]
) -> None:
    commits, maps = history(world, based=True)
    require_true(world, maps[0], maps[1], commits[0], commits[1])
    require_true(world, maps[1], maps[2], commits[1], commits[2])
    require_true(world, maps[1], maps[0], commits[1], commits[0])  # the other way round: turned
    assert read_pairs == []
    # What two strokes together changed is not what each of them did: those are compared.
    require_true(world, maps[0], maps[2], commits[0], commits[2])
    require_true(world, maps[2], maps[0], commits[2], commits[0])
    assert len(read_pairs) == 2 * NUM


def test_masks_that_were_made_from_nothing_are_compared_by_their_pixels(
    world: World, read_pairs: list[diffs.MaskPair]
) -> None:
    commits, maps = history(world, based=False)
    require_true(world, maps[0], maps[1], commits[0], commits[1])
    assert len(read_pairs) == NUM
    require_true(world, maps[0], maps[1], commits[0], commits[1])
    assert len(read_pairs) == NUM  # known by now


def test_a_diff_reads_no_tile_where_masks_say_what_changed(world: World) -> None:
    commits, maps = history(world, based=True)
    packs = PackCache(world.service.app.state.deps.blobs)
    object.__setattr__(world.service.app.state.deps, "packs", packs)
    require_true(world, maps[0], maps[1], commits[0], commits[1])
    assert not packs.tiles._values
    assert packs.nodes._values


def test_pages_of_a_diff_are_its_samples_each_with_the_totals_of_all(world: World) -> None:
    commits, maps = history(world, based=True)
    sample = next(iter(maps[0]))
    world.stage({sample: None})
    head = world.commit()["commit_id"]
    whole = world.dataset("diff", base=commits[0], head=head)
    assert (whole["num_changed"], whole["num_removed"], whole["num_added"]) == (NUM - 1, 1, 0)
    seen, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = world.dataset("diff", base=commits[0], head=head, limit=2, **more)
        assert len(page["samples"]) <= 2
        assert page["flow"] == whole["flow"]
        assert page["changed_pixels"] == whole["changed_pixels"]
        seen += page["samples"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole["samples"]
    assert [row["sample_id"] for row in seen] == sorted(maps[0])
    [gone] = [row for row in seen if row["change"] == "removed"]
    assert (gone["sample_id"], gone["new_mask_id"], gone["flow"], gone["changed_pixels"]) == (sample, None, [], 0)
    names = world.dataset("diff", base=commits[0], head=head, pixels=False)
    assert [row["sample_id"] for row in names["samples"]] == sorted(maps[0])
    assert (names["flow"], names["changed_pixels"]) == ([], None)
    assert all(row["changed_pixels"] is None for row in names["samples"])


def test_the_cache_of_flows_stays_within_its_bounds() -> None:
    cache = diffs.DiffCache(num_max=3)
    for number in range(5):
        cache.put({("a", str(number)): {(0, 1): number}})
    wanted = [("a", str(number)) for number in range(5)]
    assert cache.get(wanted) == {("a", str(number)): {(0, 1): number} for number in (2, 3, 4)}


def test_a_diff_of_a_version_with_itself_is_empty(world: World) -> None:
    commits, _ = history(world, based=True)
    said = world.dataset("diff", base=commits[0], head=commits[0])
    assert (said["samples"], said["flow"], said["changed_pixels"], said["num_changed"]) == ([], [], 0, 0)
    answer = world.client.get(f"/v1/datasets/{PROJECT}/diff", params={"base": "nothing", "head": commits[0]})
    assert answer.status_code == 404
