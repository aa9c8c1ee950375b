"""A training script that knows nothing of us: ``--key=value`` in, printed losses out.

Its loss is a formula: best at rate 4, lower with more width, with noise of the seed. ``talk`` says
how it prints, ``mode`` how it ends. Imports next to nothing.
"""

import json
import math
import os
import random
import sys
import time
from pathlib import Path

OPTIONS = {
    "rate": "1.0",
    "width": "4",
    "steps": "4",
    "seed": "0",
    "pause": "0",
    "talk": "plain",
    "mode": "fine",
    "out": ".",
    "stop_file": "",
}


def main() -> None:
    options = dict(OPTIONS)
    for word in sys.argv[1:]:
        key, _, value = word.removeprefix("--").partition("=")
        if key not in options:
            raise ValueError(f"Unknown config key: {key}")
        options[key] = value
    rate, width = float(options["rate"]), int(options["width"])
    if width % 7 == 0:
        raise ValueError(f"width {width} is a multiple of 7")
    if options["mode"] == "silent":
        return
    print(f"number of parameters: {width * 1000 / 1e6:.3f}M", flush=True)
    noise = random.Random(options["seed"]).gauss(0.0, 0.05)
    final = 1.0 + 0.3 / math.sqrt(width) + 0.2 * abs(math.log(rate / 4.0)) + noise
    for step in range(int(options["steps"]) + 1):
        loss = final + 1.0 / (1 + step)
        if options["mode"] == "nan" and step > 1:
            loss = math.nan
        if options["mode"] == "crash" and step > 1:
            sys.exit("this config always crashes")
        tell(options["talk"], Path(options["out"]), step, loss)
        if options["stop_file"] and Path(options["stop_file"]).exists():
            Path(options["out"], "stopped").touch()
            return
        time.sleep(float(options["pause"]))


def tell(talk: str, out: Path, step: int, loss: float) -> None:
    seconds = 2.0 * step
    if talk == "plain":
        print(f"step {step}: train loss {loss - 0.1:.4f}, val loss {loss:.4f}", flush=True)
    elif talk == "timed":
        print(f"iter {step}: time {seconds * 1000:.1f}ms", flush=True)
        print(f"step {step}: val loss {loss:.4f}", flush=True)
    elif talk == "colours":
        print(f"\r 10%\r 90%\r\x1b[32mstep {step}:\x1b[0m val loss \x1b[1m{loss:.4f}\x1b[0m")
    elif talk == "broken":
        os.write(1, b"\xff\xfe broken \xc3\x28\n" + f"step {step}: val loss {loss:.4f}".encode())
        os.write(1, b"" if step else b"\n")
        os.write(1, b"\n" if 0 < step < 4 else b"")
    elif talk == "flood":
        os.write(1, b"a line of very many\n" * 250_000)
        print(f"step {step}: val loss {loss:.4f}", flush=True)
    elif talk == "halves":
        line = f"{'' if step == 0 else chr(10)}step {step}: val loss {loss:.4f}".encode()
        for half in (line[:-3], line[-3:]):
            os.write(1, half)
            time.sleep(0.3 if step == 0 else 0.0)
    elif talk == "jsonl":
        append(out / "log.jsonl", json.dumps({"iter": step, "eval": {"loss": loss}}))
    elif talk == "csv":
        if step == 0:
            append(out / "log.csv", "iter;loss;minutes")
        append(out / "log.csv", f"{step};{loss};{seconds / 60}")
    elif talk == "final":
        (out / "best.txt").write_text(f"{loss}, {step}, 4000\n")


def append(file: Path, line: str) -> None:
    with file.open("a") as stream:
        stream.write(line + "\n")


if __name__ == "__main__":
    main()
