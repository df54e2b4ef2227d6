"""Versions over HTTP: staged, committed, listed, compared, named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terrazzo_mask_storage.adapters import tables
from terrazzo_schema.events import CommitCreated, MaskStaged, TagCreated
from terrazzo_schema.ids import content_hash
from terrazzo_schema.samples import sample_id_of

from .conftest import PROJECT, World


def plain(class_id: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width), class_id, np.uint16 if class_id > 255 else np.uint8)


def test_an_accepted_mask_is_staged_committed_and_listed(world: World) -> None:
    sample_id = world.sample(1, "first.png")
    mask_id = world.put(plain(1))
    world.accept(sample_id, mask_id)
    status = world.dataset("status")
    assert (status["head"], list(status["staged_masks"])) == (None, [sample_id])
    [event] = world.said(MaskStaged)
    assert (event.key, event.message.branch) == (sample_id, "main")
    commit = world.commit("the first")
    assert (commit["num_samples"], commit["num_changed"], commit["parent_ids"]) == (1, 1, [])
    assert commit["counts"] == {"1": 4800}
    assert commit["author"] == "tester"
    assert world.dataset("status")["staged"] == 0
    [created] = world.said(CommitCreated)
    assert (created.key, created.message.commit_id) == (PROJECT, commit["commit_id"])
    [entry] = world.dataset("entries")["items"]
    assert (entry["name"], entry["mask_id"], entry["counts"]) == ("first.png", mask_id, {"1": 4800})
    assert world.dataset(f"entries/{sample_id}", ref=commit["commit_id"][:8]) == entry


def test_a_lower_or_equal_revision_of_a_task_changes_nothing_and_another_task_does(world: World) -> None:
    sample_id = world.sample(1)
    masks = [world.put(plain(c)) for c in (1, 2, 3, 300)]
    world.accept(sample_id, masks[0], revision=2)
    world.accept(sample_id, masks[1], revision=2)
    world.accept(sample_id, masks[2], revision=1)
    world.commit()
    assert world.dataset("entries")["items"][0]["mask_id"] == masks[0]
    world.accept(sample_id, masks[1], revision=3)
    world.accept(sample_id, masks[3], revision=1, task="tsk_2")
    world.commit()
    assert world.dataset("entries")["items"][0]["mask_id"] == masks[3]


def test_an_accepted_mask_whose_sample_is_not_here_yet_is_tried_again(world: World) -> None:
    from terrazzo_schema.errors import CorruptInput, NotKnownYet

    mask_id = world.put(plain(1, 10, 10))
    with pytest.raises(NotKnownYet):
        world.accept("smp_" + "0" * 24, mask_id)
    # A mask of another size can never be right: it is parked at once, where a person sees it.
    with pytest.raises(CorruptInput, match="10 x 10"):
        world.accept(world.sample(1), mask_id)
    assert world.dataset("status")["staged"] == 0


def test_with_nothing_staged_or_nothing_new_there_is_no_commit(world: World) -> None:
    def try_commit(**more):
        return world.client.post(f"/v1/datasets/{PROJECT}/commits", json={"message": "m", **more})

    assert try_commit().status_code == 409
    sample_id, mask_id = world.sample(1), world.put(plain(1))
    world.stage({sample_id: mask_id})
    assert try_commit(sample_ids=["smp_" + "0" * 24]).status_code == 409
    world.commit()
    assert world.stage({sample_id: mask_id})["staged"] == 0
    assert try_commit().status_code == 409


def test_a_commit_of_some_samples_leaves_the_others_staged(world: World) -> None:
    samples = [world.sample(seed) for seed in range(3)]
    mask_id = world.put(plain(1))
    world.stage(dict.fromkeys(samples, mask_id))
    first = world.commit(sample_ids=samples[:1])
    assert first["num_samples"] == 1
    assert list(world.dataset("status")["staged_masks"]) == sorted(samples[1:])
    second = world.commit()
    assert (second["num_samples"], second["num_changed"]) == (3, 2)
    assert second["counts"] == {"1": 3 * 4800}
    log = world.dataset("commits", limit=1)
    assert log["items"] == [second]
    assert world.dataset("commits", cursor=log["next_cursor"])["items"] == [first]


def test_staging_what_does_not_fit_names_the_item(world: World) -> None:
    sample_id, small = world.sample(1), world.put(plain(1, 10, 10))
    for item, field, text in (
        ({"sample_id": "smp_" + "0" * 24, "mask_id": small}, "sample_id", "no sample"),
        ({"sample_id": "nonsense\u0000", "mask_id": small}, "sample_id", "no sample"),
        ({"sample_id": sample_id, "mask_id": "0" * 64}, "mask_id", "no mask"),
        ({"sample_id": sample_id, "mask_id": small}, "mask_id", "10 x 10, its image is 60 x 80"),
    ):
        answer = world.client.post(f"/v1/datasets/{PROJECT}/stage", json={"items": [item]})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert text in answer.json()["detail"]


def test_a_branch_starts_from_main_and_goes_its_own_way(world: World) -> None:
    samples = [world.sample(seed) for seed in range(2)]
    one, two = world.put(plain(1)), world.put(plain(2))
    world.stage({samples[0]: one})
    first = world.commit()
    world.stage({samples[1]: two}, branch="trial/a")
    side = world.commit(branch="trial/a")
    assert side["parent_ids"] == [first["commit_id"]]
    assert side["num_samples"] == 2
    assert world.dataset("commits/trial/a")["commit_id"] == side["commit_id"]
    assert world.dataset("commits/main")["commit_id"] == first["commit_id"]
    assert [b["name"] for b in world.dataset("branches")["items"]] == ["main", "trial/a"]


def test_a_tag_names_a_commit_for_ever(world: World) -> None:
    sample_id = world.sample(1)
    world.stage({sample_id: world.put(plain(1))})
    first = world.commit()

    def tag(name: str, ref: str):
        return world.client.post(f"/v1/datasets/{PROJECT}/tags", json={"name": name, "ref": ref})

    assert tag("v1", "main").json()["commit_id"] == first["commit_id"]
    world.stage({sample_id: world.put(plain(2))})
    second = world.commit()
    assert tag("v1", first["commit_id"]).status_code == 201
    assert tag("v1", "main").status_code == 409
    assert tag("main", "v1").status_code == 409
    assert tag("v2", "nowhere").status_code == 404
    assert world.dataset("commits/v1")["commit_id"] == first["commit_id"]
    assert world.dataset("entries", ref="v1")["items"][0]["counts"] == {"1": 4800}
    assert [t["name"] for t in world.dataset("tags")["items"]] == ["v1"]
    assert len(world.said(TagCreated)) == 1
    assert world.dataset("commits/main") == second


def test_refs_that_name_nothing_are_not_found(world: World) -> None:
    for ref in ("main", "nope", "0" * 64, "deadbeef", "HEAD"):
        assert world.client.get(f"/v1/datasets/{PROJECT}/commits/{ref}").status_code == 404
    for ref in ("a b", "%00", "..", "é"):
        assert world.client.get(f"/v1/datasets/{PROJECT}/entries", params={"ref": ref}).status_code == 422
    answer = world.client.get("/v1/datasets/prj_unknown01/commits/main")
    assert (answer.status_code, answer.headers["retry-after"]) == (404, "1")


def test_a_commit_sent_again_with_its_key_is_made_once(world: World) -> None:
    world.stage({world.sample(1): world.put(plain(1))})
    url, headers = f"/v1/datasets/{PROJECT}/commits", {"Idempotency-Key": "c1"}
    first = world.client.post(url, json={"message": "m"}, headers=headers)
    assert world.client.post(url, json={"message": "m"}, headers=headers).json() == first.json()
    assert len(world.dataset("commits")["items"]) == 1


def test_the_tree_forgets_in_which_order_masks_came(world: World) -> None:
    samples = {world.sample(seed): world.put(plain(1 + seed % 3)) for seed in range(6)}
    for sample_id, mask_id in samples.items():
        world.stage({sample_id: mask_id})
        world.commit()
    world.stage(dict(reversed(samples.items())), branch="other")
    assert world.dataset("status", branch="other")["staged"] == 0
    world.stage(dict.fromkeys(samples), branch="other")
    empty = world.commit(branch="other")
    assert (empty["num_samples"], empty["num_changed"], empty["counts"]) == (0, 6, {})
    world.stage(samples, branch="other")
    assert world.commit(branch="other")["tree_id"] == world.dataset("commits/main")["tree_id"]


def test_who_may_only_look_may_not_commit_and_a_vendor_may_not_look(world: World) -> None:
    for role in ("viewer", "annotator", "reviewer", "trainer", "vendor"):
        assert world.as_(role).post(f"/v1/datasets/{PROJECT}/commits", json={"message": "m"}).status_code == 403
    assert world.as_("vendor").get(f"/v1/datasets/{PROJECT}/entries").status_code == 403
    assert world.as_("manager").post(f"/v1/datasets/{PROJECT}/commits", json={"message": "m"}).status_code == 409


def naive_flow(old: np.ndarray, new: np.ndarray) -> dict[tuple[int, int], int]:
    flow: dict[tuple[int, int], int] = {}
    for before, after in zip(old.ravel().tolist(), new.ravel().tolist(), strict=True):
        if before != after:
            flow[before, after] = flow.get((before, after), 0) + 1
    return flow


# A history: at each commit some of three samples get a random mask (by seed), or are removed (None).
Step = st.dictionaries(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(Step, min_size=1, max_size=5), pixel=st.tuples(st.integers(0, 59), st.integers(0, 79)))
def test_diff_and_blame_agree_with_the_history(world: World, steps, pixel) -> None:
    branch = f"h{len(world.dataset('branches')['items'])}"  # examples share the service: each has its branch
    samples = [world.sample(seed) for seed in range(3)]

    def labels(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 4, (60, 80), dtype=np.uint8) // 2

    history: list[tuple[str, dict[str, np.ndarray]]] = []
    state: dict[str, np.ndarray] = {}
    for step in steps:
        state = dict(state)
        items: dict[str, str | None] = {}
        for index, seed in step.items():
            if seed is None:
                state.pop(samples[index], None)
                items[samples[index]] = None
            else:
                state[samples[index]] = labels(seed)
                items[samples[index]] = world.put(labels(seed))
        if world.stage(items, branch=branch)["staged"] == 0:
            continue
        history.append((world.commit(branch=branch)["commit_id"], state))
    for base_id, base in history:
        for head_id, head in history:
            diff = world.dataset("diff", base=base_id, head=head_id)
            both = sorted(s for s in base.keys() & head.keys() if (base[s] != head[s]).any())
            assert diff["num_added"] == len(head.keys() - base.keys())
            assert diff["num_removed"] == len(base.keys() - head.keys())
            assert [s["sample_id"] for s in diff["samples"] if s["change"] == "changed"] == both
            for found in diff["samples"]:
                if found["change"] == "changed":
                    expected = naive_flow(base[found["sample_id"]], head[found["sample_id"]])
                    got = {(f["from_class"], f["to_class"]): f["pixels"] for f in found["flow"]}
                    assert got == expected
                    assert found["changed_pixels"] == sum(expected.values())
            assert diff["changed_pixels"] == sum(s["changed_pixels"] for s in diff["samples"])
            assert sum(f["pixels"] for f in diff["flow"]) == diff["changed_pixels"]
    y, x = pixel
    for position, (head_id, head) in enumerate(history):
        for sample_id, labels_HW in head.items():
            blame = world.dataset(f"blame/{sample_id}", y=y, x=x, ref=head_id)
            assert blame["class_id"] == labels_HW[y, x]
            origin = position
            while (
                origin > 0
                and sample_id in history[origin - 1][1]
                and history[origin - 1][1][sample_id][y, x] == labels_HW[y, x]
            ):
                origin -= 1
            assert blame["commit_id"] == history[origin][0]


def test_a_diff_of_names_says_which_samples_differ_and_reads_no_mask(world: World) -> None:
    samples = [world.sample(seed) for seed in range(3)]
    one, two = world.put(plain(1)), world.put(plain(2))
    world.stage(dict.fromkeys(samples, one))
    base = world.commit()["commit_id"]
    world.stage({samples[0]: two, samples[1]: None})
    head = world.commit()["commit_id"]
    whole = world.dataset("diff", base=base, head=head)
    names = world.dataset("diff", base=base, head=head, pixels=False)
    assert (names["num_changed"], names["num_removed"], names["changed_pixels"], names["flow"]) == (1, 1, None, [])
    assert [(s["sample_id"], s["change"], s["new_mask_id"]) for s in names["samples"]] == [
        (s["sample_id"], s["change"], s["new_mask_id"]) for s in whole["samples"]
    ]
    assert all(s["changed_pixels"] is None and not s["flow"] for s in names["samples"])


def test_diff_pages_its_samples_and_keeps_its_totals(world: World) -> None:
    samples = [world.sample(seed) for seed in range(5)]
    one, two = world.put(plain(1)), world.put(plain(2))
    world.stage(dict.fromkeys(samples, one))
    base = world.commit()["commit_id"]
    world.stage(dict.fromkeys(samples[:4], two) | {samples[4]: None})
    head = world.commit()["commit_id"]
    found, cursor = [], None
    while True:
        page = world.dataset("diff", base=base, head=head, limit=2, **({"cursor": cursor} if cursor else {}))
        assert (page["num_changed"], page["num_removed"], page["changed_pixels"]) == (4, 1, 4 * 4800)
        assert page["flow"] == [{"from_class": 1, "to_class": 2, "pixels": 4 * 4800}]
        found += [sample["sample_id"] for sample in page["samples"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == sorted(samples)


@pytest.fixture(params=["sqlite", "postgres"])
def either_world(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> World:
    """The service on each of the databases that it may be given."""
    if request.param == "sqlite":
        return make_world()
    return make_world(database=request.getfixturevalue("postgres_database"))


def test_versions_are_made_listed_compared_and_taken_back_on_either_database(either_world: World) -> None:
    world = either_world
    samples = sorted(world.sample(seed) for seed in range(6))
    one, two, three = (world.put(plain(class_id)) for class_id in (1, 2, 3))
    world.stage(dict.fromkeys(samples, one))
    first = world.commit("first")
    world.stage({samples[0]: two, samples[1]: None, samples[2]: one})
    second = world.commit("second")
    assert (second["num_samples"], second["num_changed"], second["counts"]) == (5, 2, {"1": 4 * 4800, "2": 4800})
    diff = world.dataset("diff", base=first["commit_id"], head="main")
    assert (diff["num_changed"], diff["num_removed"], diff["changed_pixels"]) == (1, 1, 4800)
    assert world.dataset(f"entries/{samples[0]}")["mask_id"] == two
    assert world.dataset(f"entries/{samples[0]}", ref=first["commit_id"][:10])["mask_id"] == one
    assert [entry["sample_id"] for entry in world.dataset("entries")["items"]] == [samples[0], *samples[2:]]
    world.stage({samples[3]: three}, branch="side")
    side = world.commit("on a branch", branch="side")
    assert [c["message"] for c in world.dataset("commits", ref="side")["items"]] == [
        "on a branch",
        "second",
        "first",
    ]
    # What was so before is that version again, whatever lies between.
    world.stage({samples[0]: one, samples[1]: one}, branch="side")
    world.stage({samples[3]: one}, branch="side")
    back = world.commit("back", branch="side")
    assert back["tree_id"] == first["tree_id"] != side["tree_id"]
    assert world.dataset("diff", base=first["commit_id"], head="side")["num_changed"] == 0


def test_thousands_of_staged_samples_are_committed_and_compared_on_either_database(either_world: World) -> None:
    """More than fit in one IN, and more than one leaf."""
    world, number = either_world, 2_500
    hashes = [content_hash(b"image %d" % n) for n in range(number)]
    common = {
        "organisation_id": "org_test0001",
        "project_id": PROJECT,
        "attributes": {},
        "height": 60,
        "width": 80,
        "channels": 3,
        "media_type": "image/png",
        "size_bytes": 1,
        "created_at": world.service.uow.clock.now(),
    }
    rows = [
        {**common, "image_hash": h, "sample_id": sample_id_of(h), "names": [f"{n}.png"]}
        for n, h in enumerate(hashes)
    ]
    with world.service.uow.begin() as tx:
        tx.connection.execute(tables.images.insert(), rows)
    samples = [sample_id_of(h) for h in hashes]
    one, two = world.put(plain(1)), world.put(plain(2))
    world.stage(dict.fromkeys(samples, one))
    first = world.commit("all")
    assert (first["num_samples"], first["counts"]) == (number, {"1": number * 4800})
    world.stage(dict.fromkeys(samples[::2], two))
    second = world.commit("every other")
    assert second["num_changed"] == number // 2
    diff = world.dataset("diff", base=first["commit_id"], head="main", limit=5)
    assert (diff["num_changed"], diff["changed_pixels"]) == (number // 2, number // 2 * 4800)
    found, cursor = [], None
    while True:
        page = world.dataset("entries", limit=999, **({"cursor": cursor} if cursor else {}))
        found += [entry["sample_id"] for entry in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == sorted(samples)


def test_a_log_goes_back_by_way_of_both_parents_of_a_merge(world: World) -> None:
    samples = [world.sample(seed) for seed in range(3)]
    one, two = world.put(plain(1)), world.put(plain(2))

    def step(message: str, sample: str, mask: str, branch: str = "main") -> str:
        world.service.uow.clock.advance(1)
        world.stage({sample: mask}, branch=branch)
        return str(world.commit(message, branch=branch)["commit_id"])

    step("first", samples[0], one)
    step("on the side", samples[1], two, "side")
    step("on main", samples[2], two)
    world.service.uow.clock.advance(1)
    body = {"source": "side", "target": "main", "message": "both"}
    answer = world.client.post(f"/v1/datasets/{PROJECT}/merges", json=body)
    assert answer.status_code < 300, answer.text
    messages = [commit["message"] for commit in world.dataset("commits")["items"]]
    assert messages == ["both", "on main", "on the side", "first"]
    page = world.dataset("commits", limit=2)
    rest = world.dataset("commits", limit=2, cursor=page["next_cursor"])
    assert [c["message"] for c in page["items"] + rest["items"]] == messages
