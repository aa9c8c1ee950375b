"""The trainer's config: the short form that people write and the full form it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from spec.config import Config, Data, Fault, Seq, explain, problems, refuse
from spec.dataset import Meta, check_tokenizer
from spec.errors import ConfigError, InputError, Problem
from spec.path import Path, PathError, join
from spec.yaml import Document
from trainer.components.head import Head, Tied, heads
from trainer.components.norm import Norm, RMSNorm, norms
from trainer.components.optimizer import Optimizer, optimizers
from trainer.components.optimizer.adamw import AdamW
from trainer.components.position import NoPosition, Position, Slot, positions
from trainer.components.schedule import Cosine, Schedule, schedules
from trainer.layers import LayerConfig

Dtype = Literal["float32", "bfloat16", "float16"]


class ShortForm(Config):
    """``n_layer`` copies of one layer, some of their values in columns; expands to ``layers``."""

    n_layer: int = Field(default=4, ge=1)
    block: LayerConfig = Field(default_factory=LayerConfig)
    """What every layer is made of."""
    per_layer: dict[str, list[Any]] = Field(default_factory=dict)
    """Paths below a layer, each with ``n_layer`` values."""

    @model_validator(mode="after")
    def _one_value_per_layer(self) -> Self:
        faults: list[Fault] = [
            (
                ("per_layer", column),
                values,
                f"{len(values)} values for n_layer {self.n_layer}; "
                f"a column has one value per layer: write {self.n_layer}",
            )
            for column, values in self.per_layer.items()
            if len(values) != self.n_layer
        ]
        if faults:
            raise problems(*faults)
        return self

    def layers(self) -> list[Data]:
        """One mapping per layer."""
        layers = [self.block.full() for _ in range(self.n_layer)]
        for column, values in self.per_layer.items():
            try:
                path = Path.parse(column)
                layers = [
                    path.set(layer, value) for layer, value in zip(layers, values, strict=True)
                ]
            except PathError as error:
                refuse(values, str(error), "per_layer", column)
        return layers


class ModelConfig(Config):
    """The model. What ``ShortForm`` holds may stand in place of ``layers``."""

    n_embd: int = Field(default=128, ge=1)
    """Width of the residual stream."""
    block_size: int = Field(default=128, ge=1)
    """Most tokens the model can look back on, the present one included."""
    vocab_size: int | None = Field(default=None, ge=1)
    """Number of tokens; null in the short form is the data's. More than the data's is padding."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the embeddings dropped in training."""
    position: Annotated[Position, positions] = Field(default_factory=NoPosition)
    """Added to the token embeddings."""
    layers: Seq[LayerConfig]
    norm: Annotated[Norm, norms] = Field(default_factory=RMSNorm)
    """Before the head."""
    head: Annotated[Head, heads] = Field(default_factory=Tied)

    short_keys = frozenset(ShortForm.model_fields)

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        short = {key: data[key] for key in data if key in cls.short_keys}
        rest = {key: data[key] for key in data if key not in cls.short_keys}
        if "layers" not in rest:
            return rest | {"layers": ShortForm.model_validate(short).layers()}
        if short:
            refuse(
                rest["layers"], f"layers says it all; remove it, or {' and '.join(short)}", "layers"
            )
        return rest

    @field_validator("position")
    @classmethod
    def _stands_at_the_input(cls, position: Position) -> Position:
        faults = position.check(Slot.INPUT)
        if faults:
            raise problems(*faults)
        return position

    @field_validator("layers")
    @classmethod
    def _fit_together(cls, layers: Seq[LayerConfig], info: ValidationInfo) -> Seq[LayerConfig]:
        if not layers:
            refuse(layers, "a model needs at least one layer; write one item per layer, or n_layer")
        n_embd = info.data.get("n_embd")
        if n_embd is None:  # itself refused
            return layers
        faults: list[Fault] = [
            ((i, *loc), value, why)
            for i, layer in enumerate(layers)
            for loc, value, why in layer.check(n_embd)
        ]
        if faults:
            raise problems(*faults)
        return tuple(layer.resolve(n_embd) for layer in layers)


class DataConfig(Config):
    """What the model reads."""

    dataset: str = Field(default="pystdlib", min_length=1)
    """A recipe's name, or the path of a text file or folder."""
    tokenizer: str = "bytes"
    """``bytes``, ``chars``, ``tiktoken:NAME`` or ``bpe:N``."""

    @field_validator("tokenizer")
    @classmethod
    def _known(cls, tokenizer: str) -> str:
        try:
            check_tokenizer(tokenizer)
        except InputError as error:
            refuse(tokenizer, str(error))
        return tokenizer


class EvaluationConfig(Config):
    """When and how thoroughly the validation loss is measured; always at the last step as well."""

    interval: int = Field(default=100, ge=1)
    """Steps between evaluations."""
    tokens: int | None = Field(default=None, ge=1)
    """Validation tokens read, always the same; null: all."""


class TrainerConfig(Config):
    """Every decision about one model and its training."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=lambda: ModelConfig.model_validate({}))
    batch_size: int = Field(default=16, ge=1)
    """Sequences of ``block_size`` tokens per forward pass."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Forward passes per optimizer step."""
    max_steps: int = Field(default=1000, ge=1)
    """Optimizer steps; the schedule's horizon."""
    grad_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; null: any."""
    dtype: Dtype = "float32"
    """Of the forward and backward pass; weights stay in float32."""
    compile: bool = False
    """Whether torch.compile is used: slower to start, faster on a GPU."""
    optimizer: Annotated[Optimizer, optimizers] = Field(default_factory=AdamW)
    schedule: Annotated[Schedule, schedules] = Field(default_factory=Cosine)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)

    @field_validator("schedule")
    @classmethod
    def _reaches_its_peak(cls, schedule: Schedule, info: ValidationInfo) -> Schedule:
        warmup, steps = schedule.warmup_steps, info.data.get("max_steps")
        if steps is not None and warmup >= steps:
            refuse(
                warmup,
                f"warmup_steps {warmup} does not end before max_steps {steps}, so the rate never "
                f"reaches its peak; write {steps - 1} or less, or set a larger max_steps",
                "warmup_steps",
            )
        return schedule

    @property
    def tokens_per_step(self) -> int:
        """Training tokens per optimizer step."""
        return self.batch_size * self.gradient_accumulation_steps * self.model.block_size

    @classmethod
    def read(cls, document: Document) -> Self:
        try:
            return cls.model_validate(document.data)
        except ValidationError as error:
            found = [
                _as_written(problem, document) for problem in explain(error, document).problems
            ]
            raise ConfigError(list(dict.fromkeys(found))) from None


def resolve(config: TrainerConfig, meta: Meta) -> TrainerConfig:
    """The full form of a config for the data it will be trained on.

    Raises:
        ConfigError: When the vocabulary is too small for the data.
    """
    size = config.model.vocab_size
    if size is None:
        model = config.model.model_copy(update={"vocab_size": meta.vocab_size})
        return config.model_copy(update={"model": model})
    if size < meta.vocab_size:
        message = (
            f"vocab_size {size} is less than the {meta.vocab_size} tokens of {meta.dataset} with "
            f"{meta.tokenizer}; write {meta.vocab_size} or more, or null to take it from the data"
        )
        raise ConfigError([Problem("model.vocab_size", message)])
    return config


def _as_written(problem: Problem, document: Document) -> Problem:
    """A problem of an expanded layer, at the place in the short form that it came from."""
    model = document.data.get("model") if isinstance(document.data, Mapping) else None
    if (
        not isinstance(model, Mapping)
        or "layers" in model
        or not problem.path.startswith("model.layers[")
    ):
        return problem
    index, *rest = Path.parse(problem.path).steps[2:]
    written_in_column = join(rest) in (model.get("per_layer") or {})
    steps = ("per_layer", join(rest), index) if written_in_column else ("block", *rest)
    loc = tuple(step for step in ("model", *steps) if isinstance(step, str | int))
    return Problem(join(loc), problem.message, document.place(loc))
