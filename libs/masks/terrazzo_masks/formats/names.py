"""Classes by name, for formats that know classes by their names alone."""

from __future__ import annotations

from terrazzo_masks.formats.exchange import ClassTable, FormatError


def by_name(classes: ClassTable) -> dict[str, int]:
    """Name -> class id. Raises FormatError when two classes have one name."""
    found: dict[str, int] = {}
    for one in classes:
        if one.name in found:
            raise FormatError(
                f"the classes {found[one.name]} and {one.id} are both named {one.name!r}: "
                "a format of names can't tell them apart"
            )
        found[one.name] = one.id
    return found


def require_distinct_names(classes: ClassTable) -> None:
    """Raise FormatError when two classes have one name: an export could not be read again."""
    by_name(classes)
