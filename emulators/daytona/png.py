"""A small picture of a chart, drawn point by point and packed as PNG with the standard library alone."""

from __future__ import annotations

import math
import struct
import zlib
from itertools import pairwise

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 620, 40, 345
_INK, _GREY = (40, 40, 40), (225, 225, 225)
_COLOURS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75))
_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-%()/:+"
_ROWS = (
    "2575565656344436555674647746443455355755722271115255655444475775565555255526564425563656553421672222"
    "5555755552557755525555222712477555726227717477171755711747177475771122757577571700002000240070051245"
    "2444221112112440202002720"
)
"""Five rows of three dots for each sign, each row as an octal digit."""
_GLYPHS = {sign: _ROWS[at * 5 : at * 5 + 5] for at, sign in enumerate(_SIGNS)}

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Canvas:
    """A white sheet of WIDTH × HEIGHT dots."""

    def __init__(self) -> None:
        self._dots = bytearray(b"\xff" * (WIDTH * HEIGHT * 3))

    def dot(self, x: float, y: float, colour: Colour) -> None:
        """Colour one dot; outside the sheet nothing happens."""
        column, row = int(x), int(y)
        if 0 <= column < WIDTH and 0 <= row < HEIGHT:
            at = (row * WIDTH + column) * 3
            self._dots[at : at + 3] = bytes(colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        for row in range(int(top), int(bottom) + 1):
            for column in range(int(left), int(right) + 1):
                self.dot(column, row, colour)

    def line(self, start: Point, end: Point, colour: Colour) -> None:
        """Draw a line of two dots' thickness."""
        steps = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1]))))
        for step in range(steps + 1):
            x = start[0] + (end[0] - start[0]) * step / steps
            y = start[1] + (end[1] - start[1]) * step / steps
            self.dot(x, y, colour)
            self.dot(x, y + 1, colour)

    def text(self, x: float, y: float, text: str, colour: Colour = _INK) -> None:
        """Write in capitals of ten dots' height; signs without a glyph are left blank."""
        for at, sign in enumerate(text.upper()):
            for row, bits in enumerate(_GLYPHS.get(sign, "00000")):
                for column in range(3):
                    if int(bits) >> (2 - column) & 1:
                        left, top = x + at * 8 + column * 2, y + row * 2
                        self.box(left, top, left + 1, top + 1, colour)

    def png(self) -> bytes:
        """The sheet as a PNG file."""
        rows = b"".join(b"\0" + self._dots[at : at + WIDTH * 3] for at in range(0, len(self._dots), WIDTH * 3))
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        )


def plot(kind: str, title: str, series: list[tuple[str, list[Point]]], labels: list[str]) -> bytes:
    """Draw series of points as lines, points or bars over axes; `labels` name the x values, if they are not numbers."""
    canvas = Canvas()
    canvas.text(_LEFT, 12, title[:66])
    points = [point for _, values in series for point in values]
    low_x, high_x = _range([x for x, _ in points], pad=0.5 if kind == "bar" else 0)
    low_y, high_y = _range([y for _, y in points] + ([0.0] if kind == "bar" else []))

    def place(point: Point) -> Point:
        return (
            _LEFT + (point[0] - low_x) / (high_x - low_x) * (_RIGHT - _LEFT),
            _BOTTOM - (point[1] - low_y) / (high_y - low_y) * (_BOTTOM - _TOP),
        )

    for step in range(5):
        value = low_y + (high_y - low_y) * step / 4
        y = place((low_x, value))[1]
        canvas.line((_LEFT, y), (_RIGHT, y), _GREY)
        canvas.text(4, y - 5, f"{value:.4g}"[:8])
    for at in range(len(labels)) if labels else range(5):
        x = float(at) if labels else low_x + (high_x - low_x) * at / 4
        canvas.text(place((x, low_y))[0] - 12, _BOTTOM + 10, labels[at][:8] if labels else f"{x:.4g}")
    for at, (name, values) in enumerate(series):
        colour = _COLOURS[at % len(_COLOURS)]
        _marks(canvas, kind, [place(point) for point in values], place((low_x, 0.0))[1], colour, at, len(series))
        canvas.text(_LEFT + at * 140, HEIGHT - 20, name[:16], colour)
    return canvas.png()


def pie(title: str, shares: list[tuple[str, float]]) -> bytes:
    """Draw shares as slices, clockwise from the top, with a legend."""
    canvas = Canvas()
    canvas.text(_LEFT, 12, title[:66])
    whole, ends, reached = sum(share for _, share in shares) or 1.0, [], 0.0
    for at, (name, share) in enumerate(shares):
        reached += share / whole
        ends.append(reached)
        canvas.text(420, 70 + at * 20, f"{name[:14]} {share / whole:.0%}", _COLOURS[at % len(_COLOURS)])
    for row in range(-140, 141):
        for column in range(-140, 141):
            if row * row + column * column <= 140 * 140:
                turn = math.atan2(column, -row) / math.tau % 1
                at = next((i for i, end in enumerate(ends) if turn <= end), len(ends) - 1)
                canvas.dot(230 + column, 205 + row, _COLOURS[at % len(_COLOURS)])
    return canvas.png()


def _marks(
    canvas: Canvas, kind: str, places: list[Point], floor: float, colour: Colour, at: int, of: int
) -> None:
    """Draw one series; with bars, series `at` of `of` gets its part of the room at each place."""
    if kind == "bar":
        room = min(60.0, 0.8 * (_RIGHT - _LEFT) / max(1, len(places))) / of
        for x, y in places:
            left = x - room * of / 2 + room * at
            canvas.box(left, min(y, floor), left + room - 1, max(y, floor), colour)
    elif kind == "scatter":
        for x, y in places:
            canvas.box(x - 2, y - 2, x + 2, y + 2, colour)
    else:
        for start, end in pairwise(places):
            canvas.line(start, end, colour)


def _range(values: list[float], pad: float = 0.0) -> tuple[float, float]:
    low, high = min(values, default=0.0) - pad, max(values, default=1.0) + pad
    return (low, high) if high > low else (low - 0.5, high + 0.5)
