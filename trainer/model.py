"""The language model: embeddings, layers, a norm and a head."""

from __future__ import annotations

from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.config import ModelConfig
from trainer.layers import Layer

INIT_STD = 0.02  # GPT-2


class Embedding(nn.Module):
    """Token vectors with what the input position adds: (B, T) tokens in, (B, T, C) out."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding.from_pretrained(
            torch.zeros(vocab_size, config.n_embd), freeze=False
        )
        self.position = config.position.build(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.position(self.tokens(tokens)))


class GPT(nn.Module):
    """A decoder of stacked layers, each of which may differ from the others.

    Build it on the device it will run on (``with torch.device(...)``), the meta device included,
    then call ``initialize``: until then its matrices hold whatever the memory held.

    Args:
        config: The model's full form.

    Raises:
        ValueError: When ``vocab_size`` is still null; see ``trainer.config.resolve``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vocab_size is None:
            raise ValueError("model.vocab_size is null; resolve the config with the data first")
        self.block_size = config.block_size
        self.embedding = Embedding(config, config.vocab_size)
        self.layers = nn.ModuleList(
            Layer(layer, config.n_embd, config.block_size) for layer in config.layers
        )
        self.norm = config.norm.build(config.n_embd)
        self.head = config.head.build(config.n_embd, config.vocab_size)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Predict the token after each of ``tokens``.

        Args:
            tokens: (B, T) integers, T at most ``block_size``.
            targets: (B, T) integers, the tokens that do follow.

        Returns:
            Logits (B, T, V); with targets the mean cross-entropy in nats, a float32 scalar.

        Raises:
            ValueError: When the sequence is longer than ``block_size``.
        """
        if tokens.size(1) > self.block_size:
            raise ValueError(f"{tokens.size(1)} tokens are more than block_size {self.block_size}")
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.norm(x), self.embedding.tokens.weight)
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw the initial weights as GPT-2 did; norms keep what their constructors gave them.

        Each matrix depends on the seed, its name and its shape only, so that neighbours in a
        search start alike where they are alike. Products named ``out`` write into the residual
        stream and are scaled down by the root of their number.
        """
        generator = torch.Generator()
        writers = 2 * len(self.layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                if name.endswith("bias"):
                    parameter.zero_()
                continue
            std = INIT_STD / writers**0.5 if name.endswith(".out.weight") else INIT_STD
            generator.manual_seed(
                crc32(f"{seed} {name}".encode())
            )  # torch's generator heeds 32 bits
            values = torch.empty(parameter.shape, device="cpu").normal_(
                0.0, std, generator=generator
            )
            parameter.copy_(values)
