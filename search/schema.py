"""``python -m search.schema``: the JSON schema of the exploration file, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from search.exploration import Exploration

SCHEMA_FILE = Path(__file__).parent.parent / "explorations" / "exploration.schema.json"


def schema_text() -> str:
    """The schema as it should stand in the file.

    A file may leave out ``study`` (its own name counts) and may name its baseline by a path.
    """
    schema = Exploration.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["required"].remove("study")
    baseline = schema["properties"]["baseline"]
    kinds = [{"type": "string"}, {"type": "object", "additionalProperties": True}]
    schema["properties"]["baseline"] = {"anyOf": kinds, "description": baseline["description"]}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
