"""A decoder written from docs/mask-format.md alone, in plain Python: slow, and sharing nothing with the library.

`decode(data, base=None)` returns rows of numbers. Names are those of the page.
`Refused` is raised where it says so.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import zstandard
from masks.spec_model_2 import WORD, Model2, Refused, Rows, in_strips
from masks.spec_model_3 import Model3


def decode(data: bytes, base: Rows | None = None) -> Rows:
    """The map in these bytes, rows of numbers; `base` for a patch."""
    if data[:4] != b"TZLM":
        raise Refused("magic")
    if data[4] == 1:
        return decode_version_1(data)
    _, version, profile, itemsize, method, height, width, pixel_sum, crc = struct.unpack_from("<4sBBBBIIII", data)
    if version not in (2, 3) or profile > 2 or itemsize not in (1, 2) or height == 0 or width == 0:
        raise Refused("header")
    if method > (3 if version == 2 else 4):
        raise Refused("method")
    payload = data[24:]
    if zlib.crc32(data[:20] + payload) != crc:
        raise Refused("CRC")
    if method == 0:
        rows = stored(payload, height, width, itemsize)
    elif method == 1:
        rows = borders(payload, height, width, itemsize)
    elif method == 2:
        model = (
            Model2(payload, itemsize, None) if version == 2 else Model3(payload, itemsize, None, height * width)
        )
        rows = model.map(height, width)
    else:
        if base is None:
            raise Refused("a patch needs its base")
        rows = patch(payload, itemsize, version, base) if method == 3 else runs(payload, itemsize, base)
    if checksum(rows) != pixel_sum:
        raise Refused("pixel checksum")
    return rows


def patch(payload: bytes, itemsize: int, version: int, base: Rows) -> Rows:
    marker = int.from_bytes(payload[:2], "little")
    if version == 2:
        changed = Model2(payload[2:], itemsize, base).map(len(base), len(base[0]))
        return put(changed, base, marker, 0, 0)
    left_over = list(payload[2:])
    top, left, height, width = box_of(left_over, base, number)
    if height == 0:
        if left_over:
            raise Refused("left over")
        return base
    part = [line[left : left + width] for line in base[top : top + height]]
    changed = Model3(bytes(left_over), itemsize, part, height * width).map(height, width)
    return put(changed, base, marker, top, left)


def box_of(left_over: list[int], base: Rows, read: Callable[[list[int]], int]) -> tuple[int, int, int, int]:
    top, left, height, width = (read(left_over) for _ in range(4))
    if top + height > len(base) or left + width > len(base[0]) or (height == 0) != (width == 0):
        raise Refused("box")
    return top, left, height, width


def runs(payload: bytes, itemsize: int, base: Rows) -> Rows:
    left_over = list(payload)
    top, left, height, width = box_of(left_over, base, short_number)
    rows = [list(line) for line in base]
    start, end, value = 0, 0, -1
    for y in range(top, top + height):
        token = left_over.pop(0)
        told = []
        if token == 0:
            end_before = 0
            for _ in range(short_number(left_over)):
                start = end_before + short_number(left_over)
                end = start + short_number(left_over) + 1
                value = int.from_bytes(bytes(left_over.pop(0) for _ in range(itemsize)), "little")
                told.append((start, end, value))
                end_before = end
        else:
            start, end = start + (token >> 4) - 8, end + token % 16 - 8
            told.append((start, end, value))
        for first, behind, colour in told:
            if colour < 0 or not 0 <= first < behind <= width:
                raise Refused("run")
            rows[y][left + first : left + behind] = [colour] * (behind - first)
    if left_over:
        raise Refused("left over")
    return rows


def put(changed: Rows, base: Rows, marker: int, top: int, left: int) -> Rows:
    rows = [list(line) for line in base]
    for y, line in enumerate(changed):
        for x, value in enumerate(line):
            if value != marker:
                rows[top + y][left + x] = value
    return rows


def number(left_over: list[int]) -> int:
    """7 bits a byte, lowest first; the highest bit says that another byte follows, 5 bytes at most."""
    found = 0
    for shift in range(0, 35, 7):
        if not left_over:
            raise Refused("cut short")
        byte = left_over.pop(0)
        found |= (byte & 127) << shift
        if byte < 128:
            return found
    raise Refused("number")


def short_number(left_over: list[int]) -> int:
    """As `number`, below 2^32 and in as few bytes as it fits."""
    before = list(left_over)
    found = number(left_over)
    used = len(before) - len(left_over)
    if found >= WORD or (used > 1 and before[used - 1] == 0):
        raise Refused("number")
    return found


def checksum(rows: Rows) -> int:
    values = [value for line in rows for value in line]
    return sum((value + 1) * ((i * 0x9E3779B1) % WORD | 1) for i, value in enumerate(values)) % WORD


def numbers(content: bytes, itemsize: int) -> list[int]:
    return [int.from_bytes(content[i : i + itemsize], "little") for i in range(0, len(content), itemsize)]


def stored(payload: bytes, height: int, width: int, itemsize: int) -> Rows:
    values = numbers(zstandard.decompress(payload), itemsize)
    if len(values) != height * width:
        raise Refused("content size")
    return [values[y * width : (y + 1) * width] for y in range(height)]


def borders(payload: bytes, height: int, width: int, itemsize: int) -> Rows:
    content = zstandard.decompress(payload)
    num_tokens, num_extras = struct.unpack_from("<II", content)
    tokens, extras = list(content[8 : 8 + num_tokens]), list(content[8 + num_tokens :])
    if len(extras) != num_extras:
        raise Refused("content size")

    def strip(height: int, width: int, _first: int) -> Rows:
        rows, above = [], [(0, 0)]
        for _ in range(height):
            above = border_row(tokens, extras, above, width, itemsize)
            ends = [column for column, _ in above[1:]] + [width]
            rows.append([v for (column, v), end in zip(above, ends, strict=True) for _ in range(end - column)])
        return rows

    rows = in_strips(height, width, strip)
    if tokens or extras:
        raise Refused("left over")
    return rows


def border_row(
    tokens: list[int], extras: list[int], above: list[tuple[int, int]], width: int, itemsize: int
) -> list[tuple[int, int]]:
    left, told, last = list(above), [], -1
    while True:
        token = tokens.pop(0)
        left = [border for border in left if border[0] > last]
        if token == 0:
            break
        if token == 1:
            left = left[1:]
            continue
        if token == 2:
            gap = number(extras)
            value = int.from_bytes(bytes(extras.pop(0) for _ in range(itemsize)), "little")
            column = last + 1 + gap
        else:
            move = (token - 3) // 2 if token % 2 == 1 else -((token - 2) // 2)
            column, value = left[0][0] + move, left[0][1]
            left = left[1:]
        if not last < column < width:
            raise Refused("column")
        told.append((column, value))
        last = column
    told += left
    if told[0][0] != 0:
        raise Refused("first border")
    return told


def decode_version_1(data: bytes) -> Rows:
    _, _, _, itemsize, predictor, height, width, crc = struct.unpack_from("<4sBBBBIII", data)
    if zlib.crc32(data[:16] + data[20:]) != crc:
        raise Refused("CRC")
    content = zstandard.decompress(data[20:])
    num = height * width
    values = [sum(content[plane * num + i] << 8 * plane for plane in range(itemsize)) for i in range(num)]
    rows = [values[y * width : (y + 1) * width] for y in range(height)]
    size = 256**itemsize
    for y, line in enumerate(rows):
        if predictor == 2:
            for x in range(1, width):
                line[x] = (line[x] + line[x - 1]) % size
        if predictor >= 1 and y > 0:
            rows[y] = [(value + above) % size for value, above in zip(line, rows[y - 1], strict=True)]
    return rows
