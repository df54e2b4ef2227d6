"""The library is installed and used without the rest of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "libs" / "masks"


# Nothing is cached in the new place: every kernel of the README's examples is compiled.
@pytest.mark.timeout(420)
def test_the_library_installs_and_runs_its_readme_alone(tmp_path: Path) -> None:
    shutil.copytree(LIBRARY, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(tmp_path / "source")], check=True)
    code = "\n".join(re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(), re.DOTALL))
    check = "\nimport terrazzo_masks; print(terrazzo_masks.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code + check],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(target))
