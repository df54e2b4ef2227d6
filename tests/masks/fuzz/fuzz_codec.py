"""Coverage-guided fuzzing of the decoders.

    python tests/masks/fuzz/fuzz_codec.py tests/masks/fuzz/corpus [-runs=N] [-max_total_time=SECONDS]

Needs atheris (`pip install -e .[fuzz]`). NUMBA_DISABLE_JIT=1 is set, so that kernels run as Python: atheris sees
their branches, and an index outside an array raises. New inputs go into the folder named first; what crashes is
written to the working folder, and goes into the corpus once it is mended.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NUMBA_DISABLE_JIT"] = "1"
sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["terrazzo_masks"]):
        import target

        import terrazzo_masks.codec
        import terrazzo_masks.kernels.border_tokens
        import terrazzo_masks.kernels.label_model
        import terrazzo_masks.kernels.label_model_v2
        import terrazzo_masks.kernels.patch_runs
        import terrazzo_masks.kernels.pixel_sums  # noqa: F401
    target.MAX_PIXELS = 1 << 10

    def one_input(data: bytes) -> None:
        target.decode_any(data)

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
