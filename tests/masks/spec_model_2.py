"""Methods 2 and 3 of version 2, written from docs/mask-format.md alone: see spec_decoder."""

from __future__ import annotations

Rows = list[list[int]]

A, B, C = 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F
WORD = 2**32
STRIP = 65536
K = [
    *(22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911),
    *(53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514),
]
SQUASH = [(K[j // 128] * (128 - j % 128) + K[j // 128 + 1] * (j % 128)) >> 7 for j in range(4096)]
STRETCH = [min([j for j in range(4096) if SQUASH[j] >= 16 * p + 8] + [4095]) - 2048 for p in range(4096)]


class Refused(Exception):
    """The bytes break a rule of the format."""


def in_strips(height: int, width: int, one_strip) -> Rows:
    """Strips of up to 65536 columns, left to right, put side by side."""
    rows: Rows = [[] for _ in range(height)]
    for first in range(0, width, STRIP):
        for line, more in zip(rows, one_strip(height, min(STRIP, width - first), first), strict=True):
            line += more
    return rows


def log2(number: int) -> int:
    return max(number.bit_length() - 1, 0)


class Model2:
    """The decisions of a map."""

    ahead = 4

    def __init__(self, payload: bytes, itemsize: int, base: Rows | None) -> None:
        self.payload, self.itemsize, self.base = payload, itemsize, base
        self.low, self.high, self.code, self.read = 0, WORD - 1, 0, 0
        for _ in range(4):
            self.code = self.code * 256 + self.next_byte()
        self.slots = [[[2**21, 0] for _ in range(8192)] for _ in range(4)]
        self.weights = [[30000] * 4 for _ in range(408)]
        self.known: list[int] = []

    def next_byte(self) -> int:
        self.read += 1
        return self.payload[self.read - 1] if self.read <= len(self.payload) else 0

    def bit(self, share: int) -> int:
        width = self.high - self.low
        middle = self.low + (width >> 16) * share + ((width % 65536) * share >> 16)
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low * 256 % WORD
            self.high = self.high * 256 % WORD + 255
            self.code = self.code * 256 % WORD + self.next_byte()
        return bit

    def slot(self, i: int, kind: int, context: int) -> list[int]:
        return self.slots[i][(context * 8 + kind) * 0x9E3779B1 % WORD >> 19]

    @staticmethod
    def learn(slot: list[int], bit: int) -> None:
        p, n = slot
        r = 655360 // (10 * n + 16)
        slot[0] = p + ((4194303 - p) * r >> 16) if bit else p - (p * r >> 16)
        slot[1] = min(n + 1, 255)

    def decide(self, kind: int, weight_set: int, *contexts: int) -> int:
        slots = [self.slot(i, kind, context) for i, context in enumerate(contexts)]
        t, w = [STRETCH[p >> 10] for p, _ in slots], self.weights[weight_set]
        total = max(-2047, min(2047, sum(ti * wi for ti, wi in zip(t, w, strict=True)) >> 16))
        share = SQUASH[total + 2048]
        bit = self.bit(share)
        error = (65536 * bit - share) * 6
        for i in range(4):
            w[i] = (w[i] + ((t[i] * error + 32768) >> 16) + 2**31) % WORD - 2**31
            self.learn(slots[i], bit)
        return bit

    def map(self, height: int, width: int) -> Rows:
        rows = in_strips(height, width, self.strip)
        if not len(self.payload) <= self.read <= len(self.payload) + self.ahead:
            raise Refused("too many or too few decisions")
        return rows

    def v(self, y: int, x: int) -> int:
        if y < 0:
            return 0
        if x < 0:
            return self.v(y - 1, 0)
        return self.rows[y][min(x, self.width - 1)]

    def strip(self, height: int, width: int, first: int) -> Rows:
        self.rows: Rows = []
        self.height, self.width, self.first = height, width, first
        history = busy = 0
        for y in range(height):
            self.rows.append([])
            bit = self.repeated(history, busy)
            history = (2 * history + bit) % 64
            if bit:
                self.rows[y] = [self.v(y - 1, x) for x in range(width)]
            else:
                busy = self.row(y)
        return self.rows

    def repeated(self, history: int, busy: int) -> int:
        z = log2(busy + 1)
        return self.decide(0, 0, history % 8, z, 2 * z + history % 2, history)

    def row(self, y: int) -> int:
        line, busy, broken = self.rows[y], 0, 0
        while len(line) < self.width:
            x = len(line)
            w = self.west(y, x)
            if w == self.v(y - 1, x - 1) == self.v(y - 1, x) == self.v(y - 1, x + 1):
                self.run(y, x, w, broken)
                broken += line[-1] != w
            else:
                line.append(self.pixel(y, x, w))
                busy += 1
        return busy

    def west(self, y: int, x: int, back: int = 1) -> int:
        return self.rows[y][x - back] if x >= back else self.v(y - 1, 0)

    def moved(self, y: int, b: int, w: int) -> int:
        m = 0
        if self.v(y - 2, b) == w:
            while m < 33 and b + m < self.width and self.v(y - 2, b + m) == w:
                m += 1
            return next(d for d, most in enumerate([0, 1, 2, 3, 5, 10, 32, 33]) if m <= most)
        while m < 10 and b - 1 - m >= 0 and self.v(y - 2, b - 1 - m) != w:
            m += 1
        return next(d for d, most in [(0, 0), (8, 1), (9, 3), (10, 9), (11, 10)] if m <= most)

    def run(self, y: int, x: int, w: int, broken: int) -> None:
        stop = x + 1
        while stop < self.width and self.v(y - 1, stop + 1) == w:
            stop += 1
        z, g, d, e = log2(stop - x), min(broken, 7), 12, 65536
        if stop < self.width:
            d, e = self.moved(y, stop + 1, w), self.v(y - 1, stop + 1)
        pair = A * w + B * e
        if not self.decide(1, 1 + z, 16 * z + d, 8 * d + g, 32 * w + z, pair + d):
            self.rows[y] += [w] * (stop - x)
            return
        n = 0
        while n < z:
            q = 16 * n + d
            if not self.decide(2, 18 + n, q, 32 * q + z, 8 * n + g, pair + n):
                break
            n += 1
        distance = 1
        for i in range(n - 1, -1, -1):
            u = 16 * (32 * n + i) + (distance if n - i < 4 else 0)
            distance = 2 * distance + self.decide(3, 36 + i, u, 16 * u + d, 32 * u + z, i)
        if distance > stop - x:
            raise Refused("distance")
        self.rows[y] += [w] * (stop - distance - x)
        self.rows[y].append(self.symbol(w, e))

    def pixel(self, y: int, x: int, w: int) -> int:
        v = self.v
        n, ne, nw, nee, nnc = v(y - 1, x), v(y - 1, x + 1), v(y - 1, x - 1), v(y - 1, x + 2), v(y - 2, x)
        ww = self.west(y, x, 2)
        like = sum((value == w) << i for i, value in enumerate([n, ne, nw, nee, ww, nnc]))
        pairs = sum((value == n) << i for i, value in enumerate([ne, nw, nnc, nee, ww]))
        near = like + 64 * pairs
        slot = self.slot(0, 4, near)
        if slot[1] >= 24 and not 65536 <= slot[0] <= 4128768:
            bit = self.bit(min(max(slot[0] >> 6, 32), 65504))
            self.learn(slot, bit)
        else:
            three = [sum((v(y - r, x + dx) == w) << i for i, dx in enumerate([0, -1, 1])) for r in (2, 3, 4, 5)]
            column = 512 * three[0] + 64 * three[1] + 8 * three[2] + three[3]
            far = [v(y - 1, x + dx) for dx in (3, 4, 5, -2, -3, -4)]
            far += [v(y - 2, x + dx) for dx in (2, 3, 4, -2)] + [self.west(y, x, 3)]
            wide = sum((value == w) << (10 - i) for i, value in enumerate(far))
            around = wide + 2048 * (8 * (like % 32) + three[0])
            if self.base is not None:
                around = 16 * around + self.base_bits(self.base, y, x)
            classes = A * w + B * n + C * ne + like
            bit = self.decide(4, 54 + like % 32 + 32 * (pairs % 8), near, classes, 8 * column + like % 8, around)
        if bit:
            return w
        o = n if n != w else ne if ne != w else nw
        same = sum((value == o) << i for i, value in enumerate([n, ne, nw, nee, nnc, ww]))
        if self.decide(5, 310 + same, same + 64 * like, same, A * w + B * o, A * w + B * o + same):
            return o
        return self.symbol(w, o)

    def base_bits(self, base: Rows, y: int, x: int) -> int:
        def value(row: int, column: int) -> int:
            row = max(0, min(row, self.height - 1))
            return base[row][self.first + max(0, min(column, self.width - 1))]

        around = [value(y, x - 1), value(y - 1, x), value(y, x + 1), value(y + 1, x)]
        return sum((other != value(y, x)) << i for i, other in enumerate(around))

    def symbol(self, w: int, o: int) -> int:
        m = min(len(self.known), 40)
        if self.decide(6, 374, 2 * m, 0, 2 * w, 2 * m):
            t = 1
            for i in range(8 * self.itemsize - 1, -1, -1):
                t = 2 * t + self.decide(6, 375 + i, 2 * t + 1, 2 * i + 1, 1, 2 * t + 1)
            value = t - 2 ** (8 * self.itemsize)
            if value in self.known:
                raise Refused("known value")
            self.known.append(value)
            return value
        if not self.known:
            raise Refused("nothing is known")
        bits = (len(self.known) - 1).bit_length()
        t = 1
        for i in range(bits - 1, -1, -1):
            t = 2 * t + self.decide(7, 392 + i, t, t + A * w, t + A * w + B * o, t + B * o)
        if t - 2**bits >= len(self.known):
            raise Refused("number")
        return self.known[t - 2**bits]
