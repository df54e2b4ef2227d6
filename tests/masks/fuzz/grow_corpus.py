"""Write the seeds of the corpus: small encodings of every method.

Those of version 2, `*.v2`, and the patches of a stroke and of nothing by the model stay as they are.

python tests/masks/fuzz/grow_corpus.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))


def seeds() -> dict[str, bytes]:
    from target import BASE_HW

    from terrazzo_masks.codec import encode, encode_patch, v1

    rng = np.random.default_rng(0)
    stroke_HW = BASE_HW.copy()
    stroke_HW[5:11, 8:20] = 7
    maps = {
        "bands": BASE_HW,
        "bands16": BASE_HW.astype(np.uint16) * 3000,
        "noise": rng.integers(0, 256, (12, 11)).astype(np.uint8),
        "few": rng.integers(0, 3, (9, 31)).astype(np.uint8),
        "dot": np.ones((1, 1), np.uint16),
        "ids": np.arange(90, dtype=np.uint16).reshape(9, 10),
    }
    found = {f"{name}.{profile}": encode(m, profile) for name, m in maps.items() for profile in ("fast", "small")}
    found |= {f"{name}.v1": v1.encode(m, "small") for name, m in maps.items()}
    rows_HW = np.where(np.arange(24)[:, None] % 3 == 0, BASE_HW + 90, BASE_HW).astype(np.uint8)
    jumps_HW = stroke_HW.copy()
    jumps_HW[14, 2:5], jumps_HW[14, 30], jumps_HW[15, 3:6] = 8, 9, 9
    wide_HW = BASE_HW.astype(np.uint16)
    wide_HW[5:11, 8:20], wide_HW[9, 30:33] = 700, 40_000
    strokes = {"stroke": stroke_HW, "jumps": jumps_HW, "wide": wide_HW}
    found |= {f"{name}.runs": encode_patch(m, BASE_HW) for name, m in strokes.items()}
    found |= {"none.runs": encode_patch(BASE_HW, BASE_HW), "rows.patch": encode_patch(rows_HW, BASE_HW)}
    return found


if __name__ == "__main__":
    for name, data in seeds().items():
        (Path(__file__).parent / "corpus" / name).write_bytes(data)
