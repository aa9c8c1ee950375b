"""How figures look: palette, layout, safe texts, and what to do with too many points."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from analysis.blocks import Figure
from spec.words import counted

T = TypeVar("T")

# Names of colours; the page's style sheet gives each a value for light and for dark. The hues are
# those of Okabe and Ito, Color Universal Design, 2008, which colour-blind readers tell apart.
PALETTE = (
    "text", "soft", "line", "panel", "grey",
    "blue", "sky", "green", "orange", "vermillion", "purple",
)  # fmt: skip

QUADRANTS = {
    "better-cheaper": ("better, not dearer", "green", "circle"),
    "better-dearer": ("better, dearer", "blue", "triangle-up"),
    "worse-cheaper": ("worse, not dearer", "orange", "square"),
    "worse-dearer": ("worse, dearer", "purple", "diamond"),
    None: ("not compared", "grey", "x-thin-open"),
}
"""Quadrant -> words, colour, symbol."""

MOST_POINTS = 2000
"""Points of one figure that a browser still moves smoothly."""


def safe(text: object, most: int = 160) -> str:
    """Text that plotly shows as it is: it reads some HTML in every text it draws."""
    words = str(text)
    words = words if len(words) <= most else words[: most - 1] + "…"
    return html.escape(words, quote=False)


def lines(*parts: object) -> str:
    """Lines of a text that appears under the pointer; empty ones are left out."""
    return "<br>".join(safe(part) for part in parts if part not in (None, ""))


def sentences(*parts: str) -> str:
    """A caption of several sentences; empty ones are left out."""
    return " ".join(filter(None, parts))


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash when there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}" if abs(value) < 1e6 else f"{value:,.0f}"


def loss(value: float | None) -> str:
    """A loss with four decimals; a dash when there is none."""
    return number(value) if value is None or not math.isfinite(value) else f"{value:.4f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference for people."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text.replace("-", "−")


def percent(share: float, sign: str = "") -> str:
    """A share for people; with ``sign="+"`` a change."""
    return f"{100 * share:{sign}.3g}\u00a0%".replace("-", "−")


def duration(seconds: float) -> str:
    """A stretch of time in its natural unit."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g}\u00a0{unit}"
    return f"{seconds:.3g}\u00a0s"


def thin(items: Sequence[T], important: Iterable[T], most: int = MOST_POINTS) -> list[T]:
    """The important ones and an even sample of the others, in order."""
    if len(items) <= most:
        return list(items)
    kept = {id(item) for item in important}
    others = [item for item in items if id(item) not in kept]
    room = max(most - len(kept), 1)
    kept |= {id(others[index * len(others) // room]) for index in range(min(room, len(others)))}
    return [item for item in items if id(item) in kept]


def drawn(amount: int, thing: str) -> str:
    """A sentence about points that ``thin`` left out; empty when it left out none."""
    return f"Of {counted(amount, thing)} {MOST_POINTS:,} are drawn." if amount > MOST_POINTS else ""


def window(values: Iterable[float], always: Iterable[float] = ()) -> list[float] | None:
    """A range for an axis that a few wild values do not stretch; None without a value.

    The upper end is the third quartile and three times the middle half's width, or the largest
    of the values to show always.
    """
    found = sorted(value for value in values if math.isfinite(value))
    must = [value for value in always if math.isfinite(value)]
    if not found and not must:
        return None
    middle = found or must
    low, high = middle[len(middle) // 4], middle[(3 * len(middle)) // 4]
    top = max([min(middle[-1], high + 3 * (high - low)), *must])
    bottom = min([middle[0], *must])
    pad = 0.06 * (top - bottom) or 0.05 * abs(top) or 0.05
    return [bottom - pad, top + pad]


def figure(traces: list[dict[str, Any]], x: str, y: str, height: int = 440, **more: Any) -> Figure:
    """A plotly figure with the page's layout; ``more`` is merged into it, axes key by key."""
    axis = {
        "gridcolor": "line", "linecolor": "line", "zerolinecolor": "line",
        "automargin": True, "ticks": "",
    }  # fmt: skip
    layout = {
        "height": height,
        "margin": {"l": 16, "r": 16, "t": 16, "b": 16},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "text", "size": 13},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "panel", "bordercolor": "grey", "font": {"color": "text"}, "align": "left",
        },
        "modebar": {"bgcolor": "panel", "color": "grey", "activecolor": "text"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        **{key: value for key, value in more.items() if key not in ("xaxis", "yaxis")},
        "xaxis": {**axis, "title": {"text": x}, **more.get("xaxis", {})},
        "yaxis": {**axis, "title": {"text": y}, **more.get("yaxis", {})},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def points(name: str, x: list[Any], y: list[Any], hover: list[str], **more: Any) -> dict[str, Any]:
    """A trace of markers with texts under the pointer; the texts are safe already."""
    return {
        "type": "scatter", "mode": "markers", "name": safe(name), "x": x, "y": y,
        "hovertext": hover, "hoverinfo": "text", **more,
    }  # fmt: skip
