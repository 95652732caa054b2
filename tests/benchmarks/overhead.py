"""Start-up, harness overhead and memory of runs, a line each. Each is a process of its own, as a user types it.

    python tests/benchmarks/overhead.py emodb glam --data DIR --epochs 2
    python tests/benchmarks/overhead.py iemocap glam --data DIR --stop 60 --workers 2

The first training step is timed from the start of the command: a first run fills the caches and is not counted.
Memory is the proportional set size (PSS) of all processes of a run, five times a second: `own` is what they allocated,
`with files` counts in the parts of files (libraries, features) that are mapped, which the system can take back.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def family(root: int) -> Iterator[int]:
    """A process and all that came of it, also of the process that workers are forked from."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(entry.parent.name))
    todo = [root]
    while todo:
        yield (process := todo.pop())
        todo += parents.get(process, [])


def memory(root: int) -> tuple[float, float]:
    """MB that a process and its family have allocated, and with what they have mapped."""
    own = whole = 0
    for process in family(root):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        own += int(re.search(r"^Pss_Anon:\s+(\d+)", text, re.M)[1])
        whole += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return own / 1024, whole / 1024


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Run until its end, or for `--stop` seconds of training; peaks of memory by phase, in MB, and seconds."""
    command = [sys.executable, "-m", "sertbench", "run", "--model", arguments.model, "--dataset", arguments.dataset]
    command += ["--trials", "0", "--seeds", "1", "--workers", str(arguments.workers), "--profile", "--device", "cpu"]
    command += ["--epochs", str(arguments.epochs), "--runs", f"{folder}/runs", "--leaderboards", f"{folder}/boards"]
    command += ["--data", arguments.data] if arguments.data else []
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found: dict[str, float] = {}
    training = 0.0
    while process.poll() is None:
        journal = next(folder.glob("runs/*/fits.jsonl"), None)
        if not training and journal is not None and '"begun"' in journal.read_text():
            training = time.monotonic()
        phase = "training" if training else "before"
        for kind, megabytes in zip(("own", "with files"), memory(process.pid), strict=True):
            name = f"{phase} {kind} MB"
            found[name] = max(found.get(name, 0.0), megabytes)
        if training and arguments.stop and time.monotonic() - training > arguments.stop:
            process.send_signal(signal.SIGINT)
            process.wait()
        time.sleep(0.2)
    if process.returncode and not (arguments.stop and training):
        raise SystemExit(process.stderr.read())
    found["seconds"] = time.monotonic() - started
    profile = next(folder.glob("runs/*/profile.json"), None)
    if profile is not None:
        figures = json.loads(profile.read_text())
        found |= {"first step": figures["first_step_seconds"], "overhead %": 100 * figures["overhead"]}
    return found


def main() -> None:
    """Print a line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("model")
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--stop", type=float, help="end each run after so many seconds of training")
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder), arguments)
        print("  ".join(f"{name} {value:.1f}" for name, value in found.items()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
