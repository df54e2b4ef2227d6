"""A dataset of a million samples: `python -m benchmarks.million make|measure FOLDER NUM [URL]`.

Samples are rows without image files; their masks are real ones of 64 x 64, drawn from a pool of 1,000 (500, each
once more with a stroke, as a new version of itself). `measure` prints JSON: seconds over REST in this process, and
its peak memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.label_world import ONTOLOGY, SCOPE, LabelWorld
from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.parts import NewParts, reader
from terrazzo_mask_storage.handlers.prepare import PreparedMask, add_all, prepare_many
from terrazzo_mask_storage.handlers.projects import ontology_of
from terrazzo_mask_storage.ports import Commit
from terrazzo_schema.ids import content_hash
from terrazzo_schema.samples import sample_id_of

SIDE_PX, POOL, AT_ONCE, ROUNDS = 64, 500, 50_000, 5


def pool() -> list[Any]:
    """Label maps in pairs: before and after a stroke."""
    rng = np.random.default_rng(0)
    maps = []
    for _ in range(POOL):
        coarse = rng.integers(1, 9, (4, 4), dtype=np.uint8)
        before = np.kron(coarse, np.ones((16, 16), np.uint8))
        after = before.copy()
        y, x = rng.integers(0, 48, 2)
        after[y : y + 9, x : x + 16] = rng.integers(1, 9)
        maps += [before, after]
    return maps


def hash_of(number: int) -> str:
    return content_hash(b"image %d" % number)


def keep_masks(world: LabelWorld, maps: list[tuple[Any, str | None]]) -> list[str]:
    """Store label maps, each with the mask that it is a new version of, or None. Mask ids in their order."""
    prepared = prepare_many(world.deps, SCOPE, maps, ontology_of(ONTOLOGY))
    kept = [made for made in prepared if isinstance(made, PreparedMask)]
    assert len(kept) == len(maps)
    with world.service.uow.begin() as tx:
        add_all(tx.store, SCOPE, [(made, "", Origin("import", "bench")) for made in kept])
    return [made.mask.mask_id for made in kept]


def make(world: LabelWorld, num: int) -> None:
    world.add_project()
    maps = pool()
    before = keep_masks(world, [(labels, None) for labels in maps[0::2]])
    after = keep_masks(world, list(zip(maps[1::2], before, strict=True)))
    mask_ids = [mask_id for pair in zip(before, after, strict=True) for mask_id in pair]
    for start in range(0, num, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, num))
        world.add_images([(hash_of(n), f"image-{n}.jpg") for n in numbers], SIDE_PX, SIDE_PX)
    entries = {}
    for number in range(num):
        image_hash = hash_of(number)
        sample_id = sample_id_of(image_hash)
        entries[sample_id] = TreeEntry(sample_id, image_hash, mask_ids[2 * (number % POOL)])
    with world.service.uow.begin() as tx:
        parts = NewParts(reader(tx.store, world.deps.packs, SCOPE.organisation_id))
        tree = versions.apply(None, entries, parts.node, parts.put, parts.prefetch)
        parts.write_blobs(tx.store, world.blobs, SCOPE.organisation_id)
        parts.add_rows(tx.store, SCOPE.organisation_id)
        counts = {int(c): 1 << 40 for c in range(1, 9)}
        commit = Commit(tree.tree_id, tree.tree_id, "main", (), "first", "bench", num, num, counts, world.now)
        tx.store.add_commit(SCOPE, commit)
        tx.store.set_head(SCOPE, "main", commit.commit_id)
    (world.folder / "masks.json").write_text(json.dumps(mask_ids))


def measure(world: LabelWorld, num: int) -> dict[str, float]:
    datasets, project = world.client.datasets, SCOPE.project_id
    mask_ids = json.loads((world.folder / "masks.json").read_text())
    rng = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {name: [] for name in ("stage", "commit", "diff", "log", "lookup")}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = call()
        seconds[name].append(time.perf_counter() - start)
        return found

    base = datasets.show(project, "main").commit_id
    for round_ in range(ROUNDS):
        numbers = rng.choice(num, num // 100, replace=False).tolist()
        # Of this pair of masks the one that the sample does not have; a sample that is met again goes back.
        staged = {sample_id_of(hash_of(n)): mask_ids[2 * (n % POOL) + 1 - round_ % 2] for n in numbers}
        for start in range(0, len(numbers), 5_000):
            part = dict(list(staged.items())[start : start + 5_000])
            timed("stage", partial(datasets.stage, project, part))
        head = timed("commit", partial(datasets.commit, project, f"round {round_}")).commit_id
        world.forget()
        timed("diff", partial(datasets.diff, project, base, head))
        world.forget()
        timed("log", lambda: next(datasets.log(project)))
        sample_id = sample_id_of(hash_of(numbers[0]))
        timed("lookup", partial(datasets.entry, project, sample_id))
        base = head
    found = {f"{name}_s": statistics.median(taken) for name, taken in seconds.items()}
    return found | {"peak_mib": peak_mib()}


def peak_mib() -> float:
    """The most memory that this process held (proc(5), VmHWM).

    getrusage's ru_maxrss won't do: a process starts with what the one that started it had held.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status says no VmHWM")


def main() -> None:
    action, folder, num, *url = sys.argv[1:]
    world = LabelWorld(Path(folder), url[0] if url else None)
    if action == "make":
        make(world, int(num))
    else:
        print(json.dumps(measure(world, int(num))))
    world.close()


if __name__ == "__main__":
    main()
