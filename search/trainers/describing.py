"""What a foreign config is and costs, without a trainer that could be asked in our protocol."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from search.failures import telling
from search.history import Description
from search.strategies.base import Rejected
from search.trainers.arguments import given
from spec.config import Data, identity
from spec.errors import InputError

if TYPE_CHECKING:
    from search.trainers.foreign import Foreign

PATIENCE = 600.0
"""Seconds one describe command may take."""


class ForeignDescriber:
    """Takes a config for its own full form; asks the ``describe`` command, if there is one, once.

    Raises:
        InputError: When the script's folder is not there.
    """

    fingerprint: str | None = None

    def __init__(self, trainer: Foreign) -> None:
        self._trainer = trainer
        self._cwd = trainer.folder()
        self._known: dict[str, Description | Rejected] = {}

    def __call__(self, configs: Sequence[Data]) -> list[Description | Rejected]:
        """See ``Describer``."""
        return [self._one(config) for config in configs]

    def remember(self, description: Description) -> None:
        """See ``Describer.remember``."""
        self._known[description.config_id] = description

    def _one(self, config: Data) -> Description | Rejected:
        config_id = identity(given(config))
        if config_id not in self._known:
            inventory = self._ask(config)
            self._known[config_id] = (
                inventory
                if isinstance(inventory, Rejected)
                else Description(config, config_id, inventory)
            )
        return self._known[config_id]

    def _ask(self, config: Data) -> Data | Rejected:
        """The inventory, which is empty without a describe command."""
        trainer = self._trainer
        with tempfile.TemporaryDirectory() as folder:
            facts = {"out": folder, "seed": "0", "device": "cpu", "threads": "1"}
            try:
                trainer.args.write(trainer.args.spread(config))
                argv = trainer.argv(trainer.describe, config, Path(folder), facts)
            except InputError as error:
                return Rejected(str(error))
            return self._run(argv) if argv else {}

    def _run(self, argv: tuple[str, ...]) -> Data | Rejected:
        try:
            done = subprocess.run(
                argv,
                cwd=self._cwd,
                env={**os.environ, **self._trainer.env},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"trainer.describe: {error}; mend the command") from None
        if done.returncode:
            return Rejected(_reason(done.stderr) or f"{argv[0]} refused it")
        return _inventory(done.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left running."""


def _reason(said: str) -> str:
    """The line that tells why; a bare ``AssertionError`` with the code that raised it."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" ^~")]
    lines = [line for line in lines if not line.startswith(("File ", "Traceback "))]
    reason = telling(lines)
    bare = bool(lines) and reason == lines[-1] and reason.isidentifier()
    return f"{reason}: {lines[-2]}" if bare and len(lines) > 1 else reason


def _inventory(said: str) -> dict[str, Any]:
    """The last JSON object that was printed.

    Raises:
        InputError: When there is none.
    """
    for line in reversed(said.splitlines()):
        if line.startswith("{"):
            try:
                told: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return told
    raise InputError(
        'trainer.describe printed no JSON object on one line, such as {"parameters": 1000}; '
        f"it said: {said[-200:]!r}"
    )
