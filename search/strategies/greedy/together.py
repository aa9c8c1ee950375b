"""Several neighbours at once: those that are clearly better, as one candidate.

Gains of edits nearly add up, so what one round has found to help may be taken in one step. Each
part is clearly better than the incumbent on the seeds that choose, also when corrected for how many
neighbours were looked at; whether they also help together is measured: see ``Round``.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.moves import Edit
from search.strategies.base import Candidate, Rejected
from search.strategies.greedy.ground import Ground
from search.strategies.neighbourhood import over_limit
from search.strategies.standing import Standing
from spec.path import Path, Span


def together(ground: Ground, parts: Sequence[Standing]) -> Candidate | None:
    """The parts as one candidate, taken in order as long as they go together.

    Left out is what replaces a value or component that another part changes, what moves items of a
    list, and what the trainer refuses or a limit forbids beside the parts before it. None when
    fewer than two are left.
    """
    chosen: list[Edit] = []
    found: Candidate | None = None
    for part in parts:
        edit = part.candidate.edit
        if edit.op != "set" or any(_meet(edit, other) for other in chosen):
            continue
        candidate = _joined(ground, [*chosen, edit])
        if candidate is not None:
            chosen.append(edit)
            found = candidate
    return found if len(chosen) > 1 else None


def _joined(ground: Ground, edits: Sequence[Edit]) -> Candidate | None:
    """Edits of the incumbent as one; None when the result may not be trained."""
    paths = ", ".join(edit.path for edit in edits)
    moves = ", ".join(edit.key for edit in edits)
    edit = Edit(paths, "several", {edit.path: edit.value for edit in edits}, moves)
    (answer,) = ground.problem.describe([edit.apply(ground.incumbent.config)])
    if isinstance(answer, Rejected) or answer.config_id in ground.taken:
        return None
    return None if over_limit(ground.problem, answer) else Candidate(edit, answer)


def _meet(one: Edit, other: Edit) -> bool:
    """Whether one changes what the other changes, or a part of it."""
    steps = zip(Path.parse(one.path).steps, Path.parse(other.path).steps, strict=False)
    return all(a == b or isinstance(a, Span) or isinstance(b, Span) for a, b in steps)
