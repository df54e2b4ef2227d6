"""Methods 2 and 3 of version 3, written from docs/mask-format.md alone: see spec_decoder."""

from __future__ import annotations

from masks.spec_model_2 import WORD, A, B, C, Model2, Refused, Rows, log2


class Model3(Model2):
    """The decisions of a map; what it shares with version 2 (neighbours, strips) is there."""

    def __init__(self, payload: bytes, itemsize: int, base: Rows | None, num_pixels: int) -> None:
        self.payload, self.itemsize, self.base = payload, itemsize, base
        self.range, self.code, self.read = 2**48, 0, 0
        for _ in range(6):
            self.code = self.code * 256 + self.next_byte()
        self.f = 12 if num_pixels <= 4096 else 14 if num_pixels <= 65536 else 16
        self.coarse = [[2**21, 0] for _ in range(8192)]
        self.fine = [[0, 0] for _ in range(2**self.f)]
        self.known: list[int] = []
        self.guesses: dict[int, int] = {}

    def bit(self, share: int) -> int:
        part = (self.range >> 16) * share
        bit = int(self.code < part)
        if bit:
            self.range = part
        else:
            self.range -= part
            self.code -= part
        if self.range < 2**32:
            self.range *= 65536
            self.code = self.code * 65536 + self.next_byte() * 256
            self.code += self.next_byte()
        return bit

    @staticmethod
    def learn(slot: list[int], bit: int) -> None:
        p, n = slot
        r = 655360 // (10 * n + 16)
        slot[0] = p + ((4194303 - p) * r >> 16) if bit else p - (p * r >> 16)
        slot[1] = min(n + 1, 127)

    def choose(self, kind: int, coarse: int, context: int) -> int:
        first = self.coarse[coarse]
        second = self.fine[(context * 16 + kind) * 0x9E3779B1 % WORD >> (32 - self.f)]
        if second[1] == 0:
            second[0] = first[0]
        trust = 256 * second[1] // (second[1] + 4)
        share = first[0] + ((second[0] - first[0]) * trust >> 8) >> 6
        bit = self.bit(max(24, min(65512, share)))
        self.learn(first, bit)
        self.learn(second, bit)
        return bit

    ahead = 6

    def repeated(self, history: int, busy: int) -> int:
        return self.choose(0, 3072 + history, 2 * log2(busy) + history % 2)

    def run(self, y: int, x: int, w: int, broken: int) -> None:
        stop = x + 1
        while stop < self.width and self.v(y - 1, stop + 1) == w:
            stop += 1
        z, d, e = log2(stop - x), 12, 65536
        if stop < self.width:
            d, e = self.moved(y, stop + 1, w), self.v(y - 1, stop + 1)
        if not self.choose(1, 3232 + 16 * z + d, A * w + B * e + d):
            self.rows[y] += [w] * (stop - x)
            return
        n = 0
        while n < z and self.choose(2, 3504 + 16 * n + d, 32 * (16 * n + d) + z):
            n += 1
        distance = 1
        for i in range(n - 1, -1, -1):
            u = 8 * n + (distance if n - i < 4 else 0)
            distance = 2 * distance + self.choose(3, 3760 + u, 16 * (32 * u + i) + d)
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
        far = [v(y - 1, x + dx) for dx in (3, 4, 5, -2, -3, -4)]
        far += [v(y - 2, x + dx) for dx in (2, 3, 4, -2)] + [self.west(y, x, 3)]
        far += [v(y - r, x + dx) for r in (2, 3, 4) for dx in (0, -1, 1)]
        around = sum((value == w) << i for i, value in enumerate(far))
        bits = 0 if self.base is None else self.base_bits(self.base, y, x)
        if self.choose(4, near, around + A * near + B * bits):
            return w
        o = n if n != w else ne if ne != w else nw
        same = sum((value == o) << i for i, value in enumerate([ne, nw, n, nee, nnc, ww]))
        if self.choose(5, 4096 + same + 64 * like, A * w + B * o + C * like + same):
            return o
        third = next((value for value in (ne, nw, nee, nnc, ww) if value not in (w, o)), None)
        if third is not None:
            same = sum((value == third) << i for i, value in enumerate([ne, nw, nee, nnc, ww]))
            if self.choose(6, 3200 + same, A * w + B * third + same):
                return third
        return self.symbol(w, o)

    def symbol(self, w: int, o: int) -> int:
        pair = A * w + B * o
        place = pair * 0x9E3779B1 % WORD >> 22
        if place in self.guesses and self.choose(7, 3180, pair):
            return self.guesses[place]
        known = self.known
        if self.choose(8, 3136 + min(len(known), 40), w):
            if len(known) >= 256**self.itemsize:
                raise Refused("too many values")
            t = 1
            for i in range(8 * self.itemsize - 1, -1, -1):
                t = 2 * t + self.choose(9, 3184 + i, t)
            value = t - 256**self.itemsize
            known.append(value)
        else:
            if not known:
                raise Refused("nothing is known")
            bits = (len(known) - 1).bit_length()
            t = 1
            for _ in range(bits):
                t = 2 * t + self.choose(10, 2048 + min(t, 1023), t + pair)
            if t - 2**bits >= len(known):
                raise Refused("number")
            value = known[t - 2**bits]
        self.guesses[place] = value
        return value
