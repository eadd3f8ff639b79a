"""Plots as plain SVG: lines, steps and bars on two axes; no library needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
MIDDLE = (TOP + HEIGHT - BOTTOM) / 2
TICKS = 6
COLOURS = ("#0b6fb8", "#c8451b", "#2a8f4f", "#8a4fb3", "#b38a1e", "#555555")

_FONT = 'font-family="sans-serif" font-size="12"'
_OPEN = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" {_FONT}>'

Series = tuple[str, list[tuple[float, float]]]


def plot(
    title: str, across: str, up: str, series: Sequence[Series], *, logarithmic: bool = False, bars: bool = False
) -> str:
    """Return an SVG document; with ``logarithmic`` the horizontal axis counts in powers of ten."""
    points = [point for _, line in series for point in line]
    if logarithmic:
        points = [(x, y) for x, y in points if x > 0]
    if not points:
        points = [(1.0, 0.0)]
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    if logarithmic:
        low_x, high_x = 10 ** math.floor(math.log10(low_x)), 10 ** math.ceil(math.log10(high_x) + 1e-9)
    frame = _Frame(low_x, high_x if high_x > low_x else low_x + 1, max(y for _, y in points) or 1.0, logarithmic)
    parts = [
        _OPEN,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="15">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>',
        f'<text transform="translate(16 {MIDDLE}) rotate(-90)" text-anchor="middle">{escape(up)}</text>',
        *frame.axes(),
    ]
    for index, (name, line) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        parts += frame.bars(line, colour) if bars else [frame.line(line, colour)]
        if len(series) > 1:
            y = TOP + 16 * index + 10
            parts.append(f'<rect x="{LEFT + 10}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + 25}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


class _Frame:
    def __init__(self, low: float, high: float, top: float, logarithmic: bool) -> None:
        self.low, self.high, self.top, self.logarithmic = low, high, top, logarithmic

    def x(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top

    def axes(self) -> list[str]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="black"/>']
        for value in self._ticks():
            x = self.x(value)
            parts.append(f'<path d="M{x:.1f} {bottom}v5" stroke="black"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:.3g}</text>')
        for step in range(TICKS):
            value = self.top * step / (TICKS - 1)
            y = self.y(value)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#dddddd"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        return parts

    def _ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        return [self.low + (self.high - self.low) * step / (TICKS - 1) for step in range(TICKS)]

    def line(self, points: list[tuple[float, float]], colour: str) -> str:
        shown = [(x, y) for x, y in points if x > 0 or not self.logarithmic]
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in shown)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'

    def bars(self, points: list[tuple[float, float]], colour: str) -> list[str]:
        width = max(1.0, (WIDTH - LEFT - RIGHT) / max(len(points), 1) * 0.8)
        bottom = HEIGHT - BOTTOM
        return [
            f'<rect x="{self.x(x):.1f}" y="{self.y(y):.1f}" width="{width:.1f}" '
            f'height="{max(0.0, bottom - self.y(y)):.1f}" fill="{colour}"/>'
            for x, y in points
        ]
