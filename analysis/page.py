"""The page: every section of the report, put into one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from analysis.blocks import Block
from analysis.figures.curves import curves
from analysis.figures.front import front
from analysis.figures.growth import growth
from analysis.figures.rounds import rounds
from analysis.figures.timeline import timeline
from analysis.style import PALETTE
from analysis.summary import summary
from analysis.tables import failures, trials
from analysis.view import View


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    slug: str
    title: str
    blocks: Callable[[View], list[Block]]


SECTIONS = (
    Section("summary", "Summary", summary),
    Section("growth", "Growth path", growth),
    Section("rounds", "Rounds", rounds),
    Section("curves", "Learning curves", curves),
    Section("front", "Pareto front", front),
    Section("timeline", "Timeline", timeline),
    Section("failures", "Failures and rejections", failures),
    Section("trials", "Trials", trials),
)
"""What the report shows, in this order."""


def render(view: View) -> str:
    """The report as HTML.

    Nothing from a study can act in the page: texts are escaped, data are inert, and the page's own
    policy lets only the two scripts run whose hashes it names and no request leave.
    """
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_function"] = compact
    scripts = (get_plotlyjs(), _source(environment, "report.js"))
    html = environment.get_template("report.html.j2").render(
        study=view.opened.exploration.study,
        sections=[(section, section.blocks(view)) for section in SECTIONS],
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        palette=PALETTE,
        style=_source(environment, "report.css"),
        scripts=scripts,
        script_hashes=[_hash(script) for script in scripts],
    )
    return html.encode("utf-8", "replace").decode()  # a broken log may hold half a character


def compact(value: Any, **_: Any) -> str:
    """JSON without spaces, six significant digits, and null for what is no number."""
    return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
