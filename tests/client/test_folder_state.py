"""What a folder held last is noted line by line, and a line that was cut short was not said."""

from __future__ import annotations

from pathlib import Path

from terrazzo_client.folder_state import STATE, FolderState, load, save


def known(state: FolderState) -> tuple[object, ...]:
    names, samples, _ = state.columns()
    rows = {name: (sample_id, state.stat(name)) for name, sample_id in zip(names, samples, strict=True)}
    assert all(state.sample(name) == sample_id for name, (sample_id, _) in rows.items())
    assert state.files() == {sample_id: name for name, (sample_id, _) in rows.items()}
    return state.commit_id, rows, state.masks


def filled(folder: Path, num: int = 40) -> FolderState:
    state = load(folder)
    for number in range(num):
        state.note(f"m{number}.png", f"smp_{number:024x}", (number, 2**60 + number))
    state.commit_id, state.masks = "c1", {"smp_1": "m", "smp_2": None}
    save(folder, state)
    return state


def test_a_new_folder_knows_nothing_and_an_empty_state_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert known(load(folder)) == (None, {}, {})
    save(folder, load(folder))
    assert known(load(folder)) == (None, {}, {})


def test_changes_of_few_files_are_a_line_more_and_of_many_the_whole_anew(tmp_path: Path) -> None:
    filled(tmp_path)
    size = (tmp_path / STATE).stat().st_size
    for round_ in range(4):
        state = load(tmp_path)
        state.note("m3.png", "smp_x", (round_, -5))
        state.note(f"new/{round_}.png".replace("/", "-"), "smp_y", (1, 1))
        state.forget(f"m{20 + round_}.png")
        state.commit_id, state.masks = f"c{round_}", {}
        save(tmp_path, state)
        assert known(load(tmp_path)) == known(state)
        assert (tmp_path / STATE).read_bytes().count(b"\n") == 1 + (round_ + 1) % 4
        assert round_ == 3 or (tmp_path / STATE).stat().st_size < size + 200 * (round_ + 1)


def test_a_line_that_a_crash_cut_short_was_not_said_and_none_is_put_behind_it(tmp_path: Path) -> None:
    before = filled(tmp_path)
    whole = (tmp_path / STATE).read_bytes()
    state = load(tmp_path)
    state.note("m1.png", "smp_x", (7, 7))
    state.commit_id = "c2"
    save(tmp_path, state)
    line = (tmp_path / STATE).read_bytes()[len(whole) :]
    assert line.endswith(b"\n")
    for end in range(1, len(line)):
        (tmp_path / STATE).write_bytes(whole + line[:end])
        found = load(tmp_path)
        assert known(found) == known(before)
        found.note("m2.png", "smp_z", (8, 8))
        save(tmp_path, found)
        assert load(tmp_path).stat("m2.png") == (8, 8)


def test_a_state_of_another_layout_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text('{"commit_id": "c", "files": {"a.png": ["smp", 1, 1]}, "masks": {}}')
    assert known(load(tmp_path)) == (None, {}, {})
