"""A family of swappable components: one slot's contract, and what can fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, model_serializer
from pydantic_core import CoreSchema, core_schema

from spec.config import Config, refuse
from spec.errors import did_you_mean


class Component(Config):
    """The options of one variant. Every variant works with no options given, unless told by one."""

    kind: ClassVar[str] = ""
    told_by: ClassVar[str] = ""
    """A required option that tells the variant where no kind is written; empty for most."""

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}


C = TypeVar("C", bound=Component)


class Family(Generic[C]):
    """A slot and what can fill it.

    Use as the annotation of a config field, ``norm: Annotated[Norm, norms]``; ``{kind: rmsnorm}``
    and the bare string ``rmsnorm`` are the same thing.

    Args:
        name: The word for the slot, as in error messages.
        contract: One sentence every variant keeps, with shapes; the contract tests read the
            registry.
    """

    def __init__(self, name: str, contract: str) -> None:
        self.name = name
        self.contract = contract
        self._variants: dict[str, type[C]] = {}

    def variant(self, kind: str) -> Callable[[type[C]], type[C]]:
        """Register a config class under ``kind``.

        Raises:
            ValueError: When the name is taken.
        """

        def register(cls: type[C]) -> type[C]:
            if kind in self._variants:
                raise ValueError(f"{self.name} {kind!r} is registered twice")
            cls.kind = kind
            self._variants[kind] = cls
            return cls

        return register

    def __getitem__(self, kind: str) -> type[C]:
        return self._variants[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._variants))

    def __len__(self) -> int:
        return len(self._variants)

    def parse(self, value: Any) -> C:
        """A variant's config from its name, its mapping, or itself.

        Raises:
            pydantic.ValidationError: When the kind is unknown or an option is wrong.
        """
        if isinstance(value, Component):
            if self._variants.get(value.kind) is not type(value):
                refuse(
                    value,
                    f"{type(value).__name__} is no {self.name}{did_you_mean(value.kind, self)}",
                )
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            refuse(value, f"{value!r} is no {self.name}: write a name or {{kind: name, ...}}")
        if "kind" not in value:
            value = {"kind": self._told(value), **value}
        options = {key: item for key, item in value.items() if key != "kind"}
        kind = value["kind"]
        if not isinstance(kind, str) or kind not in self._variants:
            refuse(kind, f"unknown {self.name} {kind!r}{did_you_mean(kind, self)}", "kind")
        return self._variants[kind].model_validate(options)

    def _told(self, value: dict[str, Any]) -> str:
        for kind, variant in self._variants.items():
            if variant.told_by in value:
                return kind
        telling = [f"or {v.told_by}" for v in self._variants.values() if v.told_by]
        way = " ".join(["a kind", *telling])
        return refuse(value, f"a {self.name} needs {way}{did_you_mean('', self)}")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(Component.full),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Any:
        options = []
        bare = [kind for kind in self if not self._variants[kind].told_by]
        for kind in self:
            variant = dict(
                handler.resolve_ref_schema(handler(self._variants[kind].__pydantic_core_schema__))
            )
            variant["properties"] = {"kind": {"const": kind}, **variant.get("properties", {})}
            if kind in bare:
                variant["required"] = ["kind", *variant.get("required", [])]
            options.append(variant)
        return {"anyOf": [{"enum": bare}, *options], "description": self.contract}
