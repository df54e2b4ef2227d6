"""Numbers as few bytes, for columns of which there are millions.

A *number* is unsigned LEB128. Counts are pairs (class id, pixels) by rising id, each id less
the one before; flows are triples (from, to, pixels) by rising (from, to), `from` less the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Numbers of 0 or more, one after the other."""
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def unpack_numbers(data: bytes) -> list[int]:
    """What `pack_numbers` was given."""
    numbers, number, shift = [], 0, 0
    for byte in data:
        if byte > 127:
            number |= (byte & 127) << shift
            shift += 7
        else:
            numbers.append(number | byte << shift)
            number = shift = 0
    return numbers


def pack_counts(counts: Mapping[int, int]) -> bytes:
    """Class id -> pixels."""
    numbers: list[int] = []
    last = 0
    for class_id, pixels in sorted(counts.items()):
        numbers += (class_id - last, pixels)
        last = class_id
    return pack_numbers(numbers)


def unpack_counts(data: bytes) -> list[tuple[int, int]]:
    """(class id, pixels) by rising id."""
    found: list[tuple[int, int]] = []
    class_id = number = shift = 0
    step = -1
    # Of 20,000 masks at every commit: as one loop it takes half the time.
    for byte in data:
        number |= (byte & 127) << shift
        if byte > 127:
            shift += 7
            continue
        if step < 0:
            step = number
        else:
            class_id += step
            found.append((class_id, number))
            step = -1
        number = shift = 0
    return found


def pack_flow(flow: Mapping[tuple[int, int], int]) -> bytes:
    """(from, to) -> pixels."""
    numbers: list[int] = []
    last = 0
    for (source, target), pixels in sorted(flow.items()):
        numbers += (source - last, target, pixels)
        last = source
    return pack_numbers(numbers)


def unpack_flow(data: bytes) -> dict[tuple[int, int], int]:
    """What `pack_flow` was given."""
    numbers, source, found = unpack_numbers(data), 0, {}
    for step, target, pixels in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        source += step
        found[source, target] = pixels
    return found
