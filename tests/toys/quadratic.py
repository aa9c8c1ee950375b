"""A trainer of a few milliseconds: its loss is a formula of the config, with noise of the seed.

python quadratic.py OUT SEED CONFIG_JSON STEPS. Imports next to nothing, to be quick.
"""

import json
import math
import os
import random
import signal
import sys
import time
from pathlib import Path


def loss_of(config: dict, seed: int) -> float:
    """Lower with more width and depth, with diminishing returns; best at rate 4."""
    size = 0.3 / math.sqrt(config["width"]) + 0.5 / (1 + len(config["layers"]))
    rate = 0.2 * abs(math.log(config["rate"] / 4.0))
    common = random.Random(seed).gauss(0.0, 0.05)
    own = random.Random(f"{json.dumps(config, sort_keys=True)} {seed}").gauss(0.0, config["noise"])
    return 1.0 + size + rate + common + own


def main() -> None:
    out, seed, config, steps = (
        Path(sys.argv[1]),
        int(sys.argv[2]),
        json.loads(sys.argv[3]),
        int(sys.argv[4]),
    )
    metrics = (out / "metrics.jsonl").open("a")

    def tell(**record: object) -> None:
        metrics.write(json.dumps(record) + "\n")
        metrics.flush()

    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    tell(event="start", protocol=1, device="cpu", seed=seed)
    mode = config["mode"]
    if mode == "crash" or (mode == "crash above 1" and config["rate"] > 1):
        sys.exit("ValueError: this config always crashes")
    if mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "oom":
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")
        sys.exit(1)
    if mode == "full":
        sys.exit("OSError: [Errno 28] No space left on device")
    if mode == "silent":
        sys.exit(0)
    if mode == "garbage":
        metrics.write("not json at all\n")
        metrics.flush()
    final = math.nan if mode == "nan" else loss_of(config, 0 if mode == "seedless" else seed)
    for step in range(1, steps + 1):
        time.sleep(config["seconds"])
        loss = final + (3.0 - final) * 0.5 ** (8 * step / steps)
        tell(
            event="eval",
            step=step,
            tokens=step * 10,
            train_seconds=step * 0.1 * config["width"],
            val_loss=loss,
        )
        if stopped:
            break
    status = "stopped" if stopped else ("diverged" if mode == "nan" else "completed")
    tell(event="end", status=status, best_step=steps, step_ms=1.0, peak_memory_bytes=2**20)


if __name__ == "__main__":
    main()
