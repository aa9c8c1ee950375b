"""``python -m analysis.report DIR``: a study as one HTML page that opens anywhere, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder, such as hp_searches/sweep.")],
    out: Annotated[
        Path | None, typer.Option(help="The page to write.", show_default="DIR/report.html")
    ] = None,
) -> None:
    """Write a study's report; a search may be running on it.

    Exit status: 0 written, 2 no such study, or the page cannot be written.
    """
    from analysis.page import render
    from analysis.view import load
    from search.command import guarded
    from search.results import replace_text
    from spec.errors import InputError

    def work() -> None:
        page = out or folder / "report.html"
        text = render(load(folder))
        try:
            replace_text(page, text)
        except OSError as error:
            raise InputError(
                f"{page} cannot be written ({error.strerror}); choose another file with --out"
            ) from None
        typer.echo(page)

    raise typer.Exit(guarded(work))


if __name__ == "__main__":
    app()
