"""A trainer with bad habits; it writes to its working directory.

python -m tests.toys.trainer HABIT [OPTION ...]
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FOREVER = 120


def completes() -> None:
    write({"event": "start", "protocol": 1})
    write({"event": "eval", "step": 1, "train_seconds": 0.1, "val_loss": 2.0})
    write({"event": "end", "status": "completed", "best_val_loss": 2.0, "best_step": 1})


def emits_nan() -> None:
    write({"event": "eval", "step": 1, "train_seconds": 0.1, "val_loss": "NaN"})
    write({"event": "end", "status": "diverged"})


def crashes() -> None:
    raise ValueError("the seventh layer is missing")


def exits(code: str) -> None:
    sys.exit(int(code))


def exits_with_a_message() -> None:
    sys.exit("no data here")


def dies_of(number: str) -> None:
    os.kill(os.getpid(), int(number))
    time.sleep(FOREVER)


def runs_out_of_gpu_memory() -> None:
    class OutOfMemoryError(RuntimeError):
        __module__ = "torch"

    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def runs_out_of_host_memory() -> None:
    raise MemoryError


def fills_the_disk() -> None:
    raise OSError(28, "No space left on device", "checkpoint.pt")


def hangs() -> None:
    print("hanging", flush=True)
    time.sleep(FOREVER)


def ignores_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hangs()


def ends_with_grace() -> None:
    def end(number: int, frame: object) -> None:
        write({"event": "end", "status": "stopped"})
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    hangs()


def talks(seconds: str, pause: str) -> None:
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        print("still here", flush=True)
        time.sleep(float(pause))


def prints_a_million_lines() -> None:
    os.write(1, b"a line of the million\n" * 1_000_000)
    raise ValueError("after a million lines")


def prints_garbage() -> None:
    os.write(1, b"\xff\xfe\x00\x1b[31mred\x1b[0m 10%\r 20%\r 30%\n")
    os.write(1, b"\x1b[1mRuntimeError: \xc3\x28 broken\x1b[0m\n")
    os._exit(3)


def reports(*words: str) -> None:
    """What a trial can see of how it was started."""
    seen = {
        "argv": sys.argv[1:],
        "env": dict(os.environ),
        "cwd": str(Path.cwd()),
        "path": sys.path[0],
        "main": sys.modules["__main__"].__spec__.name,
        "session": os.getsid(0) == os.getpid(),
        "stdin": sys.stdin.read(),
        "preloaded": "tests.toys.preload" in sys.modules,
        "pid": os.getpid(),
    }
    print(json.dumps(seen))
    print("to stderr", file=sys.stderr)


def leaves(*kinds: str) -> None:
    """Leaves processes behind, then exits."""
    starts(*kinds)


def keeps(*kinds: str) -> None:
    """Starts processes, then hangs."""
    starts(*kinds)
    hangs()


def starts(*kinds: str) -> None:
    """Starts a process of each kind and writes its pid to a file of that name."""
    for kind in kinds:
        KINDS[kind]()
    wait_until(lambda: all(Path(kind).is_file() and Path(kind).read_text() for kind in kinds))


def worker() -> None:
    """A fork, as a data loader makes them."""
    fork("worker")


def stubborn() -> None:
    """The same, deaf to SIGTERM."""
    fork("stubborn", before=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))


def orphan() -> None:
    """The child of a child that has died: it belongs to init."""
    if os.fork() == 0:
        fork("orphan")
        os._exit(0)


def daemon() -> None:
    """A fork in a session of its own, whose parent is alive."""
    fork("daemon", before=os.setsid)


def stray() -> None:
    """A program in a session of its own, that belongs to init: only its environment tells."""
    script = "import os, time; open('stray', 'w').write(str(os.getpid())); time.sleep(120)"
    if os.fork() == 0:
        subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
        os._exit(0)


KINDS: dict[str, Callable[[], None]] = {
    kind.__name__: kind for kind in (worker, stubborn, orphan, daemon, stray)
}


def fork(name: str, before: Callable[[], object] = lambda: None) -> None:
    if os.fork() == 0:
        before()
        Path(name).write_text(str(os.getpid()))
        time.sleep(FOREVER)
        os._exit(0)


def wait_until(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.005)


def write(record: dict[str, object]) -> None:
    with Path("metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
