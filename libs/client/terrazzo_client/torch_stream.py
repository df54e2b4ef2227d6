"""A commit as torch's IterableDataset. Importing this imports torch; use it as `torch_data.CommitStream`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch.utils.data import IterableDataset, get_worker_info

from terrazzo_client.torch_data import CommitDataset, checked_state, order_of, rank_order, state_of


class CommitStream(IterableDataset[Any]):
    """The samples of a version as a stream: shuffled by (seed, epoch), shared out among ranks and workers.

    `batch_size` is the DataLoader's: worker w gives batch w, w + num_workers, ..., and the loader takes from the
    workers in turn, so the batches are the same ones in the same order for any number of workers. With None for
    both, samples come in turn.

    Resuming: `state_dict(num_samples)` with the samples that this rank has trained on; then `load_state_dict`
    before iterating, with any number of workers. `set_epoch` begins the next epoch (also for persistent workers).
    """

    def __init__(
        self,
        data: CommitDataset,
        *,
        batch_size: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        uneven: Literal["drop", "pad", "keep"] = "pad",
        shuffle: bool = True,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size {batch_size} is not 1 or more")
        self._data, self._seed, self._shuffle = data, seed, shuffle
        self._rank, self._world_size, self._uneven = rank, world_size, uneven
        self._chunk = batch_size or 1
        # Epoch and start, where workers that live on see them too.
        self._place = torch.zeros(2, dtype=torch.int64)
        self._place.share_memory_()  # type: ignore[no-untyped-call]
        self._positions()

    def _positions(self) -> Any:
        num = len(self._data)
        order_N = order_of(num, self._seed, self.epoch) if self._shuffle else torch.arange(num).numpy()
        return rank_order(order_N, self._rank, self._world_size, self._uneven)

    @property
    def epoch(self) -> int:
        return int(self._place[0])

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: another order. The same epoch again goes on where it was resumed."""
        if epoch != self.epoch:
            self._place[0], self._place[1] = epoch, 0

    def __len__(self) -> int:
        """Samples that this rank has left in the epoch. (A DataLoader counts its batches from it.)"""
        return max(0, int(self._positions().size) - int(self._place[1]))

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, num_workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        left_N = self._positions()[int(self._place[1]) :]
        for start in range(number * self._chunk, left_N.size, num_workers * self._chunk):
            for position in left_N[start : start + self._chunk].tolist():
                yield self._data[position]

    def state_dict(self, num_samples: int) -> dict[str, Any]:
        """`num_samples`: how many came out of the loader since the last `load_state_dict` or `set_epoch`."""
        return state_of(self._data.commit_id, self._seed, self.epoch, int(self._place[1]) + num_samples)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for a state of another version or seed."""
        epoch, start = checked_state(state, self._data.commit_id, self._seed)
        self._place[0], self._place[1] = epoch, start
