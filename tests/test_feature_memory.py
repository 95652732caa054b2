"""A corpus may be larger than memory: features are computed, kept and read in little of it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

PROGRAM = """
import json, os, re, resource, sys
from pathlib import Path
import numpy as np
from sertbench.feature_spec import log_spectrogram
from sertbench.feature_cache import open_store

def memory(name, text=None):
    return int(re.search(name + r":\\s+(\\d+) kB", text or Path("/proc/self/status").read_text())[1]) << 10

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # a few utterances per core are computed ahead
wav, cache = Path(sys.argv[1]), Path(sys.argv[2])

def opened(count):
    return open_store([wav] * count, [str(i) for i in range(count)], log_spectrogram(), None, None, "mono", cache)

opened(9)  # threads, their work arrays and all imports are there from now on
resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + (120 << 20),) * 2)
try:
    np.ones(130 << 20, np.uint8)
    refused = False
except MemoryError:
    refused = True
store = opened(90)
means = [float(store.batch(np.array([i]))[0].mean()) for i in range(90)]
store.moments(np.arange(90))
mapped = [part for part in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
          if "values.f32" in part.partition("\\n")[0]]
print(json.dumps({
    "refused": refused,
    "bytes": (store.folder / "values.f32").stat().st_size,
    "means": means,
    "resident": sum(memory("Rss", part) for part in mapped),
    "private": sum(memory("Private_Dirty", part) + memory("Anonymous", part) for part in mapped),
}))
"""


@pytest.mark.slow
def test_a_store_larger_than_the_memory_it_may_take_is_computed_and_read(tmp_path):
    noise = np.random.default_rng(0).standard_normal(20 * 16_000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "long.wav", noise, 16_000)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "long.wav", tmp_path / "cache"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["refused"], "the limit on memory does not bite here"
    assert found["bytes"] > 150 << 20
    assert len(set(found["means"])) == 1
    # What was read lies in pages of the file, which all processes share; nothing of it was copied.
    assert found["resident"] > 0
    assert found["private"] == 0
