"""A service that imports the library at its start pays for numpy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import terrazzo_masks

HEAVY = ("scipy", "cv2", "torch", "PIL", "zstandard", "matplotlib", "numba", "blake3", "zlib_ng")


def test_importing_every_module_loads_nothing_heavy() -> None:
    folder = Path(terrazzo_masks.__file__).parent
    packages = ("consensus", "geometry", "measures")
    paths = [
        *folder.glob("[a-z]*.py"),
        *(path for package in packages for path in (folder / package).glob("[a-z]*.py")),
    ]
    modules = [".".join(("terrazzo_masks", *path.relative_to(folder).with_suffix("").parts)) for path in paths]
    assert len(modules) > 20
    code = f"import sys, {', '.join(modules)}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
