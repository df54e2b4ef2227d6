"""A short, seeded run of the fuzzer over the kept corpus; `fuzz/fuzz_codec.py` is the long one (atheris)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from masks.fuzz.target import BASE_HW, decode_any, mutants, sealed

from terrazzo_masks.codec import HEADER_BYTES, encode, encode_patch

FUZZ = Path(__file__).parent / "fuzz"
CORPUS = sorted((FUZZ / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_no_mutant_of_the_corpus_breaks_a_decoder(path: Path) -> None:
    data = path.read_bytes()
    decode_any(data)
    rng = np.random.default_rng(len(data))
    for mutant in mutants(data, rng, 120):
        decode_any(mutant)


def test_the_corpus_holds_every_version_and_method_whole() -> None:
    sound = [path.read_bytes() for path in CORPUS if decode_any(path.read_bytes())]
    assert {(data[4], data[7]) for data in sound} >= {(1, 0), (3, 4)} | {
        (version, method) for version in (2, 3) for method in range(4)
    }


def test_the_target_sees_a_decoder_that_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masks.fuzz.target.decode", lambda data, max_pixels: np.zeros((3, 3), np.uint8))
    with pytest.raises(AssertionError):
        decode_any(encode(BASE_HW))


def test_random_payloads_of_a_large_map_end_soon() -> None:
    start = time.process_time()
    rng = np.random.default_rng(5)
    for data in (encode(BASE_HW), encode(BASE_HW, "fast"), encode_patch(BASE_HW, BASE_HW)):
        for _ in range(20):
            decode_any(sealed(data[:HEADER_BYTES] + rng.bytes(200)))
    assert time.process_time() - start < 20


def test_kernels_stay_inside_their_arrays_when_run_as_python() -> None:
    """Without numba an index that is too large raises, and this ends in another error than CorruptMask."""
    code = (
        "import numpy as np; from masks.fuzz import target; from pathlib import Path;"
        "rng = np.random.default_rng(3);"
        "target.MAX_PIXELS = 1000;"
        f"[target.decode_any(m) for p in sorted(Path({str(FUZZ / 'corpus')!r}).iterdir())"
        " for m in target.mutants(p.read_bytes(), rng, 12)]"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(FUZZ.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
