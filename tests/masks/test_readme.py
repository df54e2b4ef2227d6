"""The library's README shows code that runs."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "libs" / "masks" / "README.md"


def test_the_examples_of_the_readme_run_from_top_to_bottom() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{README.name}, block {number + 1}", "exec"), names)


def test_every_module_is_in_the_table_of_the_readme() -> None:
    text = README.read_text()
    for module in (README.parent / "terrazzo_masks").glob("[a-z]*.py"):
        if module.stem != "labels":  # the shared definition, described above the table
            assert f"`{module.stem}`" in text, module.stem
