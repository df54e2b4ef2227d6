"""A commit as a PyTorch dataset, read through REST: map style, or as a stream that can be resumed.

    data = CommitDataset(url, key, project_id, "main", cache=Path("cache"))          # data[i], len(data)
    stream = CommitStream(data, batch_size=8, seed=1, rank=rank, world_size=world)   # an IterableDataset
    for images_NCHW, labels_NHW in DataLoader(stream, batch_size=8, num_workers=4): ...

The order of a stream depends on (seed, epoch) and the samples alone: ranks take turns in it, and within a rank the
sequence of batches is the same for any number of workers. `ref` is resolved once, so a branch that moves on does
not change a dataset that is in use. Importing this module does not import torch; `CommitStream` and tensors do.

Legend: N samples, H x W pixels, C = 3 (RGB); images are uint8, labels class ids with 0 = unlabelled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from terrazzo_client.client import TerrazzoClient
from terrazzo_client.connection import Key
from terrazzo_schema.ids import content_hash
from terrazzo_schema.split import split_of

if TYPE_CHECKING:
    from terrazzo_client.torch_stream import CommitStream as CommitStream

T = TypeVar("T")
Image = NDArray[np.uint8]
Labels = NDArray[Any]
Profile = Literal["fast", "small"]
Transform = Callable[[Image, Labels], Any]


def __getattr__(name: str) -> Any:
    """`CommitStream` is a class of torch's: it is made when it is asked for."""
    if name == "CommitStream":
        from terrazzo_client.torch_stream import CommitStream

        return CommitStream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class DataError(ValueError):
    """A sample that can't be given: the text names it and says why."""


@dataclass(frozen=True, slots=True)
class CommitEntry:
    """One sample of a version."""

    sample_id: str
    image_hash: str
    mask_id: str
    height: int
    width: int


class Entries(Sequence[CommitEntry]):
    """The samples of a version by sample id, in one array: 100 bytes each, and no copies in forked workers."""

    def __init__(self, rows: Iterable[CommitEntry]) -> None:
        self._rows = np.fromiter(
            (
                (
                    row.sample_id.encode(),
                    bytes.fromhex(row.image_hash),
                    bytes.fromhex(row.mask_id),
                    row.height,
                    row.width,
                )
                for row in rows
            ),
            dtype=[("sample", "S28"), ("image", "V32"), ("mask", "V32"), ("height", "u4"), ("width", "u4")],
        )

    def __len__(self) -> int:
        return int(self._rows.size)

    @overload
    def __getitem__(self, index: int) -> CommitEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[CommitEntry]: ...
    def __getitem__(self, index: int | slice) -> CommitEntry | list[CommitEntry]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        row = self._rows[index]
        return CommitEntry(
            bytes(row["sample"]).decode(),
            bytes(row["image"]).hex(),
            bytes(row["mask"]).hex(),
            int(row["height"]),
            int(row["width"]),
        )


class Cache:
    """Files by content hash in a directory; several processes may use one. A damaged file is fetched again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, fetch: Callable[[], bytes], check: Callable[[bytes], T]) -> T:
        """What `check` makes of the file's bytes, fetched if they are not there. `check` raises ValueError."""
        path = self.folder / name[:2] / name
        try:
            return check(path.read_bytes())
        except (FileNotFoundError, ValueError):
            data = fetch()
        found = check(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{name}.{uuid4().hex[:8]}.part")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return found


class CommitDataset:
    """The samples of one version, by position: what a DataLoader of map style wants.

    A sample is `transform(image_HWC, labels_HW)`; without one, tensors: uint8 (C, H, W) and int64 (H, W).
    Masks are asked for in the codec's `profile`: "fast" decodes at some 3 times a PNG's speed, "small" saves
    bandwidth. `split` takes the samples that the project trains on, or those that it holds out.

    Raises as the client does (NotFound for a ref that is none), DataError for a sample that can't be decoded.
    May be sent to worker processes: each has its own connection.
    """

    def __init__(
        self,
        url: str,
        key: Key,
        project_id: str,
        ref: str = "main",
        *,
        split: Literal["train", "held_out"] | None = None,
        held_out_percent: int = 20,
        profile: Profile = "fast",
        cache: Path | None = None,
        transform: Transform | None = None,
        connect: Callable[[], TerrazzoClient] | None = None,
    ) -> None:
        self._connect = connect if connect is not None else _Connect(url, key)
        self._project_id, self._profile, self._transform = project_id, profile, transform
        self._cache = Cache(Path(cache)) if cache is not None else None
        self._client: TerrazzoClient | None = None
        self._process = -1
        self.commit_id = self.client.datasets.show(project_id, ref).commit_id
        self.entries = Entries(
            CommitEntry(row.sample_id, row.image_hash, row.mask_id, row.height, row.width)
            for row in self.client.datasets.entries(project_id, self.commit_id, page_size=5_000)
            if split is None or split_of(row.sample_id, held_out_percent) == split
        )

    @property
    def client(self) -> TerrazzoClient:
        """This process's own: a connection is not shared with the process that forked."""
        if self._client is None or self._process != os.getpid():
            self._client, self._process = self._connect(), os.getpid()
        return self._client

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_process": -1}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Any:
        image_HWC, labels_HW = self.arrays(index)
        return (self._transform or to_tensors)(image_HWC, labels_HW)

    def arrays(self, index: int) -> tuple[Image, Labels]:
        """(image uint8 (H, W, 3), labels uint8 or uint16 (H, W)). Raises IndexError, DataError."""
        entry = self.entries[index]
        image_HWC = self._image(entry)
        labels_HW = self._labels(entry)
        for what, shape in (("image", image_HWC.shape[:2]), ("mask", labels_HW.shape)):
            if shape != (entry.height, entry.width):
                size = f"{entry.height} x {entry.width}"
                raise DataError(f"sample {entry.sample_id}: its {what} is {shape}, the version says {size}")
        return image_HWC, labels_HW

    def _image(self, entry: CommitEntry) -> Image:
        def check(data: bytes) -> Image:
            if content_hash(data) != entry.image_hash:
                raise DataError(f"sample {entry.sample_id}: its image is not the one of the version")
            return decode_image(data, entry.sample_id)

        def fetch() -> bytes:
            return self.client.images.content(self._project_id, entry.image_hash)

        return self._cache.get(entry.image_hash, fetch, check) if self._cache else check(fetch())

    def _labels(self, entry: CommitEntry) -> Labels:
        def check(data: bytes) -> Labels:
            from terrazzo_masks import codec

            try:
                return codec.decode(data)
            except ValueError as error:
                raise DataError(f"sample {entry.sample_id}: its mask can't be decoded: {error}") from error

        def fetch() -> bytes:
            return self.client.masks.content(self._project_id, entry.mask_id, self._profile)

        name = f"{entry.mask_id}.{self._profile}"
        return self._cache.get(name, fetch, check) if self._cache else check(fetch())


@dataclass(frozen=True)
class _Connect:
    url: str
    key: Key

    def __call__(self) -> TerrazzoClient:
        return TerrazzoClient(self.url, self.key)


def decode_image(data: bytes, sample_id: str) -> Image:
    """uint8 (H, W, 3) of an image file; 16 bit gray is divided by 257, EXIF orientation is not applied.

    Raises DataError.
    """
    import io

    from PIL import Image as PilImage

    try:
        with PilImage.open(io.BytesIO(data)) as file:
            if file.mode.startswith("I"):
                gray_HW = np.clip(np.asarray(file).astype(np.float32) / 257.0 + 0.5, 0, 255).astype(np.uint8)
                return np.repeat(gray_HW[..., None], 3, axis=2)
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError, SyntaxError, PilImage.DecompressionBombError) as error:
        raise DataError(f"sample {sample_id}: its image can't be decoded: {error}") from error


def to_tensors(image_HWC: Image, labels_HW: Labels) -> tuple[Any, Any]:
    """(uint8 tensor (C, H, W), int64 tensor (H, W))."""
    import torch

    image_CHW = torch.from_numpy(np.ascontiguousarray(image_HWC.transpose(2, 0, 1)))
    return image_CHW, torch.from_numpy(labels_HW.astype(np.int64))


def order_of(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The positions of all samples in the order of an epoch: the same on every machine."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_samples).astype(np.int64)


def rank_order(order_N: NDArray[np.int64], rank: int, world_size: int, uneven: str) -> NDArray[np.int64]:
    """What one rank sees of an order. `uneven`: "drop" leaves out what does not divide, "pad" begins again from
    the front, "keep" gives the first ranks one more. Raises ValueError for a rank outside of the world."""
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
    over = order_N.size % world_size
    if over and uneven == "drop":
        order_N = order_N[: order_N.size - over]
    elif over and uneven == "pad":
        order_N = np.concatenate([order_N, np.resize(order_N, world_size - over)])
    elif uneven not in ("drop", "pad", "keep"):
        raise ValueError(f"uneven={uneven!r}: 'drop', 'pad' or 'keep' is wanted")
    return order_N[rank::world_size]


class CommitSampler:
    """Positions for a DataLoader of map style, in the order of a stream: by seed and epoch, ranks in turn.

    `state_dict(num_samples)` says how many samples of the epoch this rank has trained on (a loader asks ahead, so
    only the training loop knows); after `load_state_dict` the next iteration gives the rest of that epoch.
    """

    def __init__(
        self,
        data: CommitDataset,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        uneven: Literal["drop", "pad", "keep"] = "pad",
    ) -> None:
        rank_order(np.zeros(0, np.int64), rank, world_size, uneven)
        self._data, self._seed = data, seed
        self._rank, self._world_size, self._uneven = rank, world_size, uneven
        self._epoch = self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: another order. The same epoch again goes on where it was resumed."""
        if epoch != self._epoch:
            self._epoch, self._start = epoch, 0

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions().tolist())

    def __len__(self) -> int:
        return int(self._positions().size)

    def _positions(self) -> NDArray[np.int64]:
        order_N = order_of(len(self._data), self._seed, self._epoch)
        return rank_order(order_N, self._rank, self._world_size, self._uneven)[self._start :]

    def state_dict(self, num_samples: int) -> dict[str, Any]:
        return state_of(self._data.commit_id, self._seed, self._epoch, self._start + num_samples)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for a state of another version or seed."""
        self._epoch, self._start = checked_state(state, self._data.commit_id, self._seed)


def state_of(commit_id: str, seed: int, epoch: int, num_samples: int) -> dict[str, Any]:
    return {"commit_id": commit_id, "seed": seed, "epoch": epoch, "num_samples": num_samples}


def checked_state(state: Mapping[str, Any], commit_id: str, seed: int) -> tuple[int, int]:
    """(epoch, samples done) of a state. Raises ValueError when it is of another version or seed."""
    for name, own in (("commit_id", commit_id), ("seed", seed)):
        if state.get(name) != own:
            raise ValueError(f"the state is of {name} {state.get(name)!r}, this dataset of {own!r}")
    epoch, num_samples = state.get("epoch"), state.get("num_samples")
    if not isinstance(epoch, int) or not isinstance(num_samples, int) or min(epoch, num_samples) < 0:
        raise ValueError(f"the state says epoch {epoch!r}, num_samples {num_samples!r}")
    return epoch, num_samples
