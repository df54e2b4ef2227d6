"""`python -m benchmarks [TOPIC ...] [--json] [--write]`: every ratio, with what it should be.

Exit status 1 when a figure is not reached. Thread pools are held to one thread before numpy is loaded. Each of
several topics runs in a process of its own: what one leaves in memory made the next up to half as slow again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, fields
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
):
    os.environ[_name] = "1"

HERE = Path(__file__).parent
NOT_TOPICS = {"__init__", "__main__", "harness", "table", "material", "label_world", "million"}


from benchmarks.harness import Bench, Figure, one_core  # noqa: E402
from benchmarks.table import as_markdown, as_text  # noqa: E402


def main() -> int:
    topics = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_TOPICS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topic", nargs="*", help=f"of: {', '.join(topics)}; all when none is named")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--write", action="store_true", help="write the table and pictures of benchmarks/README.md"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller inputs: to see that it runs, not to be quoted"
    )
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="real data")
    asked = parser.parse_args()
    unknown = sorted(set(asked.topic) - set(topics))
    if unknown:
        parser.error(f"no topic {', '.join(unknown)}: there are {', '.join(topics)}")

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    bench = Bench(asked.data if asked.data.is_dir() else None, HERE / "pictures", say, asked.quick)
    bench.pictures.mkdir(exist_ok=True)
    wanted = asked.topic or topics
    figures: list[Figure] = []
    if len(wanted) == 1:
        say(f"-- {wanted[0]}")
        with one_core():
            figures = import_module(f"benchmarks.{wanted[0]}").run(bench)
    else:
        for topic in wanted:
            figures += run_apart(topic, asked.data, quick=asked.quick)
    if asked.json:
        rows = [{**asdict(figure), "reached": figure.reached} for figure in figures]
        print(json.dumps({"versions": versions(), "figures": rows}, indent=1))
    else:
        print(as_text(figures, versions()))
    if asked.write:
        readme = HERE / "README.md"
        readme.write_text(as_markdown(figures, versions(), readme.read_text()))
    return 0 if all(figure.reached for figure in figures) else 1


def run_apart(topic: str, data: Path, *, quick: bool) -> list[Figure]:
    """The figures of a topic that has a process for itself; what that says goes where ours does."""
    command = [sys.executable, "-m", "benchmarks", topic, "--json", "--data", str(data.absolute())]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
    names = {field.name for field in fields(Figure)}
    rows = json.loads(done.stdout)["figures"]
    return [Figure(**{name: value for name, value in row.items() if name in names}) for row in rows]


def versions() -> dict[str, str]:
    """Of Python and of the packages that the figures depend on."""
    found = {"python": sys.version.split()[0]}
    for name in (
        "numpy",
        "numba",
        "pillow",
        "zstandard",
        "imagecodecs",
        "SimpleITK",
        "scipy",
        "rasterio",
        "opencv-python-headless",
        "pycocotools",
        "dvc",
        "SQLAlchemy",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    sys.exit(main())
