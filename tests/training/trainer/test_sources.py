"""Where samples come from: folders, a cache with a budget, and a running Terrazzo."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image as PilImage

from terrazzo_client import TerrazzoClient
from terrazzo_training.trainer.data import ArraySource, CachedSource, FolderSource, decode_image
from terrazzo_training.trainer.errors import ConfigError, DataError
from terrazzo_training.trainer.rest_source import RestSource, open_sources


class _Counting(ArraySource):
    """Counts how often an image is really read."""

    reads = 0

    def image(self, index: int) -> Any:
        self.reads += 1
        return super().image(index)


def _source() -> _Counting:
    images = [np.full((10, 10, 3), i, np.uint8) for i in range(4)]
    return _Counting(["a", "b", "c", "d"], images, [np.ones((10, 10), np.uint16)] * 4)


def test_a_cache_reads_a_sample_once_while_it_has_room() -> None:
    source = _source()
    cached = CachedSource(source, budget_bytes=1 << 20)
    for _ in range(3):
        assert [int(cached.image(i)[0, 0, 0]) for i in range(4)] == [0, 1, 2, 3]
        assert cached.labels(2).shape == (10, 10)
    assert source.reads == 4


def test_a_cache_over_its_budget_drops_the_longest_unused() -> None:
    source = _source()
    cached = CachedSource(source, budget_bytes=2 * 500)  # two samples of 300 + 200 bytes
    for index in (0, 1, 0, 2, 0, 1):
        assert int(cached.image(index)[0, 0, 0]) == index
    assert source.reads == 4  # 0, 1, 2 (drops 1), 1 again


def test_a_folder_is_read_by_stem_with_its_values_as_class_ids(shapes: ArraySource, shapes_folder: Path) -> None:
    source = FolderSource(shapes_folder / "images", shapes_folder / "labels", value_offset=1)
    assert [source.sample_id(i) for i in range(2)] == ["shape-00", "shape-01"]
    assert np.array_equal(source.image(3), shapes.image(3))
    assert np.array_equal(source.labels(3), shapes.labels(3) + 1)
    assert source.counts(3) == {k + 1: v for k, v in shapes.counts(3).items()}


def test_folders_without_a_common_stem_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file stem"):
        FolderSource(tmp_path, tmp_path)


def test_labels_of_another_size_than_their_image_are_refused() -> None:
    with pytest.raises(DataError, match=r"sample a: labels are \(4, 5\), image is \(5, 4\)"):
        ArraySource(["a"], [np.zeros((5, 4, 3), np.uint8)], [np.zeros((4, 5), np.uint16)])


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="sample x: not a readable image"):
        decode_image(data, "sample x")


def test_sixteen_bit_grey_becomes_eight_bit_rgb() -> None:
    grey_HW = np.array([[0, 257, 65535], [32768, 128, 129]], dtype=np.uint16)
    buffer = io.BytesIO()
    PilImage.fromarray(grey_HW).save(buffer, format="PNG")
    image_HWC = decode_image(buffer.getvalue(), "x")
    assert image_HWC[..., 0].tolist() == [[0, 1, 255], [128, 0, 1]]
    assert (image_HWC == image_HWC[..., :1]).all()


def _client(labels_HW: np.ndarray) -> TerrazzoClient:
    """The three calls that a source makes, answered from memory."""
    entry = SimpleNamespace(
        sample_id="smp_1", image_hash="i1", mask_id="m1", height=4, width=6, counts={0: 4, 1: 20}
    )
    buffer = io.BytesIO()
    PilImage.fromarray(np.full((4, 6, 3), 7, np.uint8)).save(buffer, format="PNG")

    def entries(project_id: str, ref: str) -> Iterator[SimpleNamespace]:
        assert (project_id, ref) == ("prj", "c0ffee")
        yield entry

    fake = SimpleNamespace(
        datasets=SimpleNamespace(entries=entries),
        images=SimpleNamespace(content=lambda project_id, image_hash: {"i1": buffer.getvalue()}[image_hash]),
        masks=SimpleNamespace(labels=lambda project_id, mask_id: {"m1": labels_HW}[mask_id]),
    )
    return cast(TerrazzoClient, fake)


def test_a_commits_entries_are_fetched_when_they_are_asked_for() -> None:
    source = RestSource(_client(np.ones((4, 6), np.uint8)), "prj", "c0ffee")
    assert len(source) == 1
    assert source.sample_id(0) == "smp_1"
    assert source.image(0).tolist() == np.full((4, 6, 3), 7).tolist()
    assert source.labels(0).dtype == np.uint16
    assert source.counts(0) == {0: 4, 1: 20}


def test_a_mask_of_another_size_than_its_entry_says_is_refused() -> None:
    source = RestSource(_client(np.ones((6, 4), np.uint8)), "prj", "c0ffee")
    with pytest.raises(DataError, match=r"smp_1.*\(6, 4\).*\(4, 6\)"):
        source.labels(0)


def test_without_address_or_key_the_remedy_is_named(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAZZO_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("TERRAZZO_KEY", raising=False)
    with pytest.raises(ConfigError, match="TERRAZZO_KEY"):
        open_sources(make_config())
