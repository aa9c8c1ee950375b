"""``python -m search.show DIR``: what a study has found so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A study's folder, such as hp_searches/sweep.")],
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    config: Annotated[
        bool,
        typer.Option(
            "--config", help="Only the incumbent's full config, as YAML for trainer.train."
        ),
    ] = False,
    trial: Annotated[
        int | None,
        typer.Option("--trial", min=0, help="With --config: that of this trial instead."),
    ] = None,
) -> None:
    """Incumbent, rounds, counts, and the best trial by each objective."""
    from search.command import guarded
    from search.summary import config_yaml, summary, summary_lines

    if trial is not None and not config:
        raise typer.BadParameter("--trial goes with --config")

    def work() -> None:
        if config:
            typer.echo(config_yaml(folder, trial), nl=False)
        elif as_json:
            typer.echo(json.dumps(summary(folder), indent=2))
        else:
            told: dict[str, Any] = summary(folder)
            typer.echo("\n".join(summary_lines(told)))

    raise typer.Exit(guarded(work))


if __name__ == "__main__":
    app()
