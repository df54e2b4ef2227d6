"""Custom gates that the server's operator has installed: entry points of the group `terrazzo.gates`, and settings.

A gates file is written by users and can only name a gate. What runs is what was installed in the server's Python
environment, or listed in TERRAZZO_GATE_FUNCTIONS; a setting wins over an entry point of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from terrazzo_mask_storage.domain.gates import Gate
from terrazzo_schema.errors import BadRequest

GROUP = "terrazzo.gates"


class InstalledGates(Mapping[str, Gate]):
    """By name. A gate's module is imported when the gate is first asked for."""

    def __init__(self, functions: Mapping[str, str]) -> None:
        """`functions` is name -> "module:function". Raises BadRequest for another form."""
        for name, target in functions.items():
            module, _, function = target.partition(":")
            if not all(part.isidentifier() for part in (*module.split("."), function)):
                raise BadRequest(
                    f"setting gate_functions: {name!r} is {target!r}",
                    field="gate_functions",
                    value=target,
                    remedy="name it as module:function",
                )
        self._functions = dict(functions)
        self._points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
        self._loaded: dict[str, Gate] = {}

    def __getitem__(self, name: str) -> Gate:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._functions or name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._functions, *self._points}))

    def __len__(self) -> int:
        return len({*self._functions, *self._points})

    def _load(self, name: str) -> Gate:
        if name in self._functions:
            module, _, function = self._functions[name].partition(":")
            gate: Gate = getattr(import_module(module), function)
            return gate
        found: Gate = self._points[name].load()
        return found
