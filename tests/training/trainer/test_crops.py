"""What is learnt from: which samples, which pixels, and that only seed, step and place decide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from terrazzo_schema.split import is_held_out
from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.crops import CropSampler, resample
from terrazzo_training.trainer.data import ArraySource, Subset, split_held_out

Make = Callable[..., RunConfig]


def _sampler(config: RunConfig, source: ArraySource, rank: int = 0, world: int = 1) -> CropSampler:
    training, _ = split_held_out(source, config.held_out_percent)
    return CropSampler(training, ClassTree.of(config.classes), config, rank=rank, world=world)


def test_a_held_out_sample_is_never_sampled(make_config: Make, shapes: ArraySource) -> None:
    config = make_config(held_out_percent=40)
    held_out = {f"shape-{i:02}" for i in range(20) if is_held_out(f"shape-{i:02}", 40)}
    assert held_out, "the data set must hold out something, or this test shows nothing"
    sampler = _sampler(config, shapes)
    seen = {sample_id for step in range(30) for sample_id in sampler.batch(step).sample_ids}
    assert seen == {f"shape-{i:02}" for i in range(20)} - held_out


def test_every_sample_is_seen_as_often_as_any_other(make_config: Make, shapes: ArraySource) -> None:
    config = make_config(held_out_percent=0)
    sampler = _sampler(config, shapes)
    seen = [sample_id for step in range(10) for sample_id in sampler.batch(step).sample_ids]
    assert set(np.unique(seen, return_counts=True)[1]) == {2}


def test_two_ranks_cut_together_what_one_process_cuts(make_config: Make, shapes: ArraySource) -> None:
    config = make_config()
    whole = _sampler(config, shapes).batch(7)
    parts = [_sampler(config, shapes, rank, 2).batch(7) for rank in range(2)]
    assert whole.sample_ids == parts[0].sample_ids + parts[1].sample_ids
    assert np.array_equal(whole.images_NCHW, np.concatenate([p.images_NCHW for p in parts]))
    assert np.array_equal(whole.targets_NHW, np.concatenate([p.targets_NHW for p in parts]))


def test_a_batch_depends_on_seed_and_step_and_not_on_what_came_before(
    make_config: Make, shapes: ArraySource
) -> None:
    used = _sampler(make_config(), shapes)
    for step in range(5):
        used.batch(step)
    again, fresh = used.batch(3), _sampler(make_config(), shapes).batch(3)
    assert np.array_equal(again.images_NCHW, fresh.images_NCHW)
    assert not np.array_equal(fresh.images_NCHW, _sampler(make_config(), shapes).batch(4).images_NCHW)
    assert not np.array_equal(fresh.images_NCHW, _sampler(make_config(seed=1), shapes).batch(3).images_NCHW)


def test_the_order_in_which_a_source_lists_its_samples_does_not_matter(
    make_config: Make, shapes: ArraySource
) -> None:
    shuffled = Subset(shapes, np.random.default_rng(0).permutation(len(shapes)).tolist())
    training, _ = split_held_out(shuffled, 20)
    other = CropSampler(training, ClassTree.of(make_config().classes), make_config(), rank=0, world=1).batch(2)
    assert np.array_equal(other.images_NCHW, _sampler(make_config(), shapes).batch(2).images_NCHW)


def test_image_and_labels_of_a_crop_stay_on_top_of_each_other(make_config: Make) -> None:
    """The image shows its own label map, so a wrong flip or shift of one alone would be seen."""
    labels_HW = np.kron(np.random.default_rng(0).choice([1, 2, 3], (6, 8)), np.ones((16, 16))).astype(np.uint16)
    image_HWC = np.repeat((labels_HW * 80)[..., None], 3, axis=2).astype(np.uint8)
    source = ArraySource(["a"], [image_HWC], [labels_HW])
    config = make_config(held_out_percent=0, colour_jitter=0.0, orientation="any", batch_size=8)
    batch = _sampler(config, source).batch(0)
    shown_NHW = np.rint(batch.images_NCHW[:, 0] / 80)
    targets_NHW = batch.targets_NHW + 1
    agree = (shown_NHW == targets_NHW)[batch.targets_NHW >= 0]
    assert agree.mean() > 0.93  # pixels on edges are blended


def test_beyond_the_image_labels_are_unlabelled_and_the_image_is_mirrored() -> None:
    image_HWC = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    labels_HW = np.array([[1, 2], [3, 4]], dtype=np.uint16)
    image, labels = resample(image_HWC, labels_HW, np.array([-1.0, 0, 1, 2]), np.array([-1.0, 0, 1, 2]))
    assert labels.tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]]
    assert np.array_equal(image, np.pad(image_HWC, ((1, 1), (1, 1), (0, 0)), mode="symmetric"))


def test_a_rare_class_is_met_more_often_when_crops_seek_it(make_config: Make) -> None:
    labels_HW = np.full((400, 400), 1, dtype=np.uint16)
    labels_HW[40:44, 300:304] = 3
    source = ArraySource(["a"], [np.zeros((400, 400, 3), np.uint8)], [labels_HW])

    def share(seeking: float) -> float:
        sampler = _sampler(make_config(held_out_percent=0, class_crop_share=seeking, batch_size=16), source)
        bar = sampler._tree.leaf_ids.index(3)
        return float(np.mean([(t == bar).any() for step in range(4) for t in sampler.batch(step).targets_NHW]))

    assert share(0.0) < 0.2
    assert share(1.0) > 0.35
