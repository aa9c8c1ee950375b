"""What a fork server imports so that its children start trials at once.

Importing it *is* running it, for a fork server offers nothing else: it imports torch and the
trainer, and pays their first-use costs. It keeps the process fit to fork: one thread, for a child
of a process that ever ran a parallel region hangs at its own first one; no backward pass, for
autograd starts threads where there is a GPU; and never a word to the GPU. A child calls
``trainer.train.main(argv)``.
"""

from __future__ import annotations

import numpy as np
import torch

from spec import yaml
from trainer import train
from trainer.batches import Sampler
from trainer.components import linear
from trainer.config import TrainerConfig
from trainer.inventory import inventory
from trainer.model import GPT

main = train.main

_SMALLEST = "model: {n_layer: 1, n_embd: 8, block_size: 8, vocab_size: 8}"


@torch.no_grad()
def _warm_up() -> None:
    """Everything a small trial does up to its first backward pass."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    config = TrainerConfig.read(yaml.parse(_SMALLEST))
    inventory(config, flops=False)
    with cpu:
        model = GPT(config.model)
    model.initialize(seed=0)
    config.optimizer.build(model.named_parameters())
    sampler = Sampler(np.zeros(32, np.uint16), config.model.block_size, seed=0, device=cpu)
    model(*sampler.batches(step=0, count=1, batch_size=1)[0])
    linear.faster()


_warm_up()
