"""Recipes: how a named data set is made, one YAML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from data.sources import Source, sources
from spec import yaml
from spec.config import Config
from spec.dataset import check_tokenizer
from spec.errors import InputError, did_you_mean

FOLDER = Path(__file__).parent / "recipes"


class Recipe(Config):
    """One data set."""

    about: str
    """One sentence, as ``--list`` shows it."""
    source: Annotated[Source, sources]
    tokenizer: str = "bytes"
    """Used when none is asked for."""
    val_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Of one file: its last characters. Of several: of the files."""

    @field_validator("tokenizer")
    @classmethod
    def _known(cls, value: str) -> str:
        check_tokenizer(value)
        return value


def names() -> list[str]:
    """The recipes there are."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load(name: str) -> Recipe:
    """One recipe.

    Raises:
        InputError: When there is none of this name.
        ConfigError: When its file is wrong.
    """
    if name not in names():
        raise InputError(
            f"unknown recipe {name!r}{did_you_mean(name, names())} "
            "(for a text file or folder of yours write its path, such as ./notes.txt)"
        )
    return Recipe.read(yaml.read(FOLDER / f"{name}.yaml"))
