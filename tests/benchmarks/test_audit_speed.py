"""How long an audit takes beside reading the same files, and how much memory, for 1,000 and 10,000 files.

`extra_info` of the JSON report has the rates, the ratio to decoding and hashing alone (`audio.probe`, what a run does
to read a corpus) by wall time and by CPU time, and the peak of resident memory. Each measurement is a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000
PROGRAM = """
import json, os, re, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sertbench import audio, audit
from sertbench.corpus import wav_files
from sertbench.datasets.csv import Csv

table, what = Path(sys.argv[1]), sys.argv[2]
paths = wav_files(table.parent)
for path in paths:
    path.read_bytes()  # both read from the page cache
audio.probe(paths[0])
def spent():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

wall, cpu = time.monotonic(), spent()
if what == "audit":
    report = audit.audit("csv", Csv(), table)
    assert report.files == len(paths)
else:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for first in range(0, len(paths), 256):
            for _ in pool.map(audio.probe, paths[first : first + 256]):
                pass
print(json.dumps({
    "wall": time.monotonic() - wall,
    "cpu": spent() - cpu,
    "megabytes": sum(path.stat().st_size for path in paths) / 1e6,
    # ru_maxrss would count the process that started this one
    "peak_rss_mb": int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024,
}))
"""


def corpus(folder: Path, files: int) -> Path:
    """A table of `files` clips of 1 to 4 s: noise in syllables, no two alike."""
    rng = np.random.default_rng(0)
    colour = rng.standard_normal((50, 5 * RATE)).astype(np.float32)
    rows = ["path,label,speaker"]
    for k in range(files):
        length = int(rng.uniform(1, 4) * RATE)
        levels = rng.choice([0.003, 0.1, 0.3], 60) * rng.uniform(0.3, 1, 60)
        shape = np.repeat(levels, rng.integers(800, 4000, 60))[:length]
        start = rng.integers(0, RATE)
        wave = colour[k % 50, start : start + len(shape)] * shape * 0.5
        soundfile.write(folder / f"{k}.wav", wave, RATE)
        rows.append(f"{k}.wav,{'angry' if k % 2 else 'sad'},speaker{k % 9}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


def measured(table: Path, what: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, table, what], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("files", [1000, 10_000])
def test_an_audit_beside_reading(benchmark, tmp_path, files):
    table = corpus(tmp_path, files)
    read = measured(table, "read")
    audited = benchmark.pedantic(measured, args=(table, "audit"), rounds=1)
    benchmark.extra_info.update(
        files_per_second=round(files / audited["wall"]),
        megabytes_per_second=round(audited["megabytes"] / audited["wall"], 1),
        ratio_to_reading_wall=round(audited["wall"] / read["wall"], 2),
        ratio_to_reading_cpu=round(audited["cpu"] / read["cpu"], 2),
        peak_rss_mb=round(audited["peak_rss_mb"]),
        peak_rss_mb_reading=round(read["peak_rss_mb"]),
        seconds={"audit": audited, "read": read},
    )
