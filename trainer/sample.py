"""Write text with a trained model: ``python -m trainer.sample --checkpoint DIR --prompt TEXT``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from spec.dataset import load_tokenizer, prepared_folder
from spec.errors import InputError
from trainer import checkpoint
from trainer.arguments import positive, temperature
from trainer.model import GPT


def load_model(folder: Path) -> tuple[GPT, checkpoint.Checkpoint]:
    """The model of a checkpoint, on the CPU and out of training mode.

    Raises:
        InputError: When there is no checkpoint, or it is damaged.
    """
    saved = checkpoint.load(folder)
    model = GPT(saved.config.model)
    model.load_state_dict(saved.model)
    return model.eval(), saved


@dataclass(frozen=True)
class Draw:
    """How the next token is taken.

    Attributes:
        temperature: 0 takes the likeliest token, 1 draws from the model's own distribution.
        top_k: Draw among the likeliest ``top_k`` only; None: among all.
        seed: Of the draws.
    """

    temperature: float = 0.8
    top_k: int | None = None
    seed: int = 1337

    def __call__(self, logits: Tensor, generator: torch.Generator) -> int:
        """One token, from logits (V,)."""
        if self.temperature == 0:
            return int(logits.argmax())
        best, tokens = logits.topk(min(self.top_k or len(logits), len(logits)))
        chances = (best / self.temperature).softmax(0)
        return int(tokens[torch.multinomial(chances, 1, generator=generator)])


@torch.no_grad()
def generate(
    model: GPT, prompt: Sequence[int], draw: Draw, vocab_size: int | None = None
) -> Iterator[int]:
    """Continue a text, without end.

    Args:
        model: In evaluation mode.
        prompt: At least one token; the model looks back on the last ``block_size``.
        draw: How to choose.
        vocab_size: Tokens that exist, where the model's table is padded beyond them; None: all.
    """
    generator = torch.Generator().manual_seed(draw.seed)
    tokens = list(prompt)
    while True:
        tokens = tokens[-model.block_size :]
        logits = model(torch.tensor([tokens]))[0, -1, :vocab_size].float()
        tokens.append(draw(logits, generator))
        yield tokens[-1]


def sample(folder: Path, prompt: str, count: int, draw: Draw) -> str:
    """The prompt and ``count`` tokens after it.

    Raises:
        InputError: When the checkpoint, the data's tokenizer or the prompt cannot be used.
    """
    model, saved = load_model(folder)
    data = saved.config.data
    tokenizer = load_tokenizer(prepared_folder(data.dataset, data.tokenizer))
    start = tokenizer.encode(prompt)
    if not start:
        raise InputError(f"prompt {prompt!r} has no tokens; write at least one character")
    continuation = generate(model, start, draw, tokenizer.vocab_size)
    return tokenizer.decode([*start, *islice(continuation, count)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; None takes the process's own.

    Returns:
        Exit status: 2 for input that cannot be used.
    """
    arguments = _parser().parse_args(argv)
    try:
        draw = Draw(arguments.temperature, arguments.top_k, arguments.seed)
        text = sample(arguments.checkpoint, arguments.prompt, arguments.tokens, draw)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.sample", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="a folder such as trial/checkpoints/last")
    add("--prompt", default="\n", help="the text to continue (default: a line break)")
    add("--tokens", type=positive, default=256, help="how many to write (default %(default)s)")
    add(
        "--temperature",
        type=temperature,
        default=Draw.temperature,
        help="0 takes the likeliest (default %(default)s)",
    )
    add("--top-k", type=positive, help="draw among the likeliest K (default: all)")
    add("--seed", type=int, default=Draw.seed, help="of the draws (default %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
