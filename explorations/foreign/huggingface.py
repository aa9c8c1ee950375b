"""A Hugging Face Trainer script: a small GPT-2 over the bytes of a text, logged to TensorBoard."""

import argparse
from pathlib import Path

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)

parser = HfArgumentParser(TrainingArguments)
parser.add_argument("--text", type=Path, required=True)
for name in ("n_layer", "n_head", "n_embd", "n_positions"):
    parser.add_argument(f"--{name}", type=int, required=True)
arguments: tuple[TrainingArguments, argparse.Namespace] = parser.parse_args_into_dataclasses()
training, own = arguments

data = list(own.text.read_bytes())
size = own.n_positions
windows = [data[start : start + size] for start in range(0, len(data) - size, size)]
examples = [{"input_ids": window, "labels": window} for window in windows]
held_out = len(examples) // 10

set_seed(training.seed)
shape = {name: getattr(own, name) for name in ("n_layer", "n_head", "n_embd", "n_positions")}
model = GPT2LMHeadModel(GPT2Config(vocab_size=256, **shape))
print(f"parameters: {model.num_parameters()}", flush=True)
trainer = Trainer(
    model, training, train_dataset=examples[held_out:], eval_dataset=examples[:held_out]
)
trainer.train()
