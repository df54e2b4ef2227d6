"""The rule of `downsample_mode`, block by block and slowly: what the kernels are held to."""

from __future__ import annotations

from collections import Counter

import numpy as np

from terrazzo_masks.labels import LabelMap


def downsampled(labels_HW: LabelMap, factor: int) -> LabelMap:
    """A block takes its mode (then the class rarer in the map, then the lower id), unless a class that covers
    1 / factor of it is the mode of none of the 3 x 3 blocks around: then the rarest such class."""
    total = Counter(labels_HW.ravel().tolist())
    rows, cols = (-(-side // factor) for side in labels_HW.shape)
    held = {
        (row, col): Counter(
            labels_HW[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor].ravel().tolist()
        )
        for row in range(rows)
        for col in range(cols)
    }
    mode = {place: max(c, key=lambda i: (c[i], -total[i], -i)) for place, c in held.items()}
    out_HW = np.empty((rows, cols), labels_HW.dtype)
    for (row, col), counts in held.items():
        around = {mode.get((row + dy, col + dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
        thin = [i for i, n in counts.items() if i and n * factor >= counts.total() and i not in around]
        out_HW[row, col] = min(thin, key=lambda i: (total[i], i)) if thin else mode[row, col]
    return out_HW
