"""``python -m search.run EXPLORATION``: run a search, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    exploration: Annotated[Path, typer.Argument(help="The exploration YAML.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of all studies.")] = Path("hp_searches"),
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Change the exploration; may be repeated."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List what is tried first and its cost; train nothing."),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="With --dry-run: one JSON line for each combination or change."
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; the old study is kept under another name.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; overrides executor.workers.")
    ] = None,
    max_trials: Annotated[
        int | None, typer.Option(min=0, help="Most trials this run may start; run again to go on.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials of the open round again.")
    ] = False,
) -> None:
    """Search from a baseline, one significant step at a time.

    Exit status: 0 finished or nothing left to do, 2 invalid input, 3 the study is in use, 4 the
    baseline failed or trials fail in a row, 130 interrupted (run again to go on).
    """
    from search.command import Options, guarded, search

    changes = [*(changes or []), *([f"executor.workers={workers}"] if workers else [])]
    if as_json and not dry_run:
        raise typer.BadParameter(
            "--json goes with --dry-run; a study's state is search.show --json"
        )
    options = Options(
        exploration, out, tuple(changes), dry_run, as_json, fresh, max_trials, retry_failed
    )
    raise typer.Exit(guarded(lambda: search(options)))


if __name__ == "__main__":
    app()
