"""A stand-in for the ancestor's ``train.py``: its kind of options, its lines, its final file."""

import argparse
import math
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--n_layer", type=int, default=1)
parser.add_argument("--mlp_size_layerlist", type=int, nargs="+", default=[16])
parser.add_argument("--learning_rate", type=float, default=1e-3)
parser.add_argument("--bias", action="store_true")
parser.add_argument("--device", required=True)
parser.add_argument("--seed", type=int, default=1337)
parser.add_argument("--out_dir", type=Path, required=True)
options = parser.parse_args()

assert len(options.mlp_size_layerlist) == options.n_layer
size = sum(options.mlp_size_layerlist)
luck = random.Random(options.seed).gauss(0.0, 0.02)
loss = 2.0 + 3.0 / math.sqrt(size) + abs(math.log(options.learning_rate / 4e-3)) / 5 + luck
options.out_dir.mkdir(parents=True)
for step in (0, 10):
    now = loss + (10 - step) / 10
    print(f"step {step}:, {size}, train loss {now:.4f}, btc_val 1e+00, val loss {now:.4f}, lr 0.0")
    print(f"iter {step}, 3.0 ms, {size}, loss {now:.4f}")
best = f"{loss}, 10, {size}, 1.0e+00, 1.0e-03, 7.0, 3.0,"
(options.out_dir / "best_val_loss_and_iter.txt").write_text(best)
