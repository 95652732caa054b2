"""Real disks that are full, read-only or gone: small ones in memory, in a mount namespace that ends with the test."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sertbench.cli import main

HERE = Path(__file__).parent
RUN = "run --model plain.py --dataset tones.py --data data --trials 0 --seeds 2 --workers 1"


def in_namespace(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount; `sertbench` in it is this checkout's."""
    sertbench = f'sertbench() {{ "{sys.executable}" -P -m sertbench "$@"; }}\n'
    command = ["unshare", "-rm", "sh", "-uc", sertbench + script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def can_mount() -> bool:
    return bool(shutil.which("unshare")) and in_namespace("mount -t tmpfs tmpfs /mnt").returncode == 0


pytestmark = [
    pytest.mark.slow,  # each command is a process of its own
    pytest.mark.skipif(not can_mount(), reason="this system lets nobody mount a disk of their own"),
]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, HERE / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path / "cache"))
    load("benchmarks/kill_runs.py").prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    for word in words:
        assert word in done.stderr, (done.stdout, done.stderr)


def fits(folder: Path) -> set[str]:
    return {path.name for path in (folder / "fits").iterdir() if (path / "fit.json").exists()}


def test_a_disk_that_fills_up_in_the_middle_stops_the_run_and_more_space_completes_it(place: Path) -> None:
    assert main(RUN.split()) == 0
    whole = json.loads(next(Path("runs").glob("*/run.json")).read_text())["figures"]
    every = fits(Path("runs"))
    shutil.move("runs", "expected")
    pages = sum(-(-path.stat().st_size // 4096) for path in Path("expected/fits").rglob("*") if path.is_file())

    done = in_namespace(f"""
        mkdir runs && mount -t tmpfs -o size={4 * pages // 2}k tmpfs runs
        sertbench {RUN}; echo "status $?"
        cp -r runs before
        mount -o remount,size=50m runs
        sertbench {RUN}; echo "status $?"
        cp -r runs after
    """)

    told(done, "Free some space")
    assert "status 2" in done.stdout
    assert done.stdout.rstrip().endswith("status 0")
    assert set() < fits(Path("before")) < every
    assert fits(Path("after")) == every
    assert json.loads(next(Path("after").glob("*/run.json")).read_text())["figures"] == whole
    assert not list(Path("before").glob("*/run.json"))


@pytest.mark.parametrize("folder", ["runs", "leaderboards", "cache"])
def test_a_disk_that_is_read_only_is_an_error_with_a_way_out_and_a_writable_one_completes_it(
    place: Path, folder: str
) -> None:
    done = in_namespace(f"""
        mkdir -p {folder} && mount -t tmpfs tmpfs {folder} && mount -o remount,ro {folder}
        sertbench {RUN}; echo "status $?"
        mount -o remount,rw {folder}
        sertbench {RUN}; echo "status $?"
    """)

    told(done, "cannot" if folder != "cache" else "cache")
    assert "status 2" in done.stdout
    assert done.stdout.rstrip().endswith("status 0")


def test_a_disk_that_becomes_read_only_after_the_fits_loses_none_of_them(place: Path) -> None:
    done = in_namespace(f"""
        mkdir leaderboards && mount -t tmpfs tmpfs leaderboards
        sertbench {RUN}; echo "status $?"
        mount -o remount,ro leaderboards
        sertbench {RUN.replace("--seeds 2", "--seeds 3")}; echo "status $?"
        cp -r runs/fits before
        mount -o remount,rw leaderboards
        sertbench {RUN.replace("--seeds 2", "--seeds 3")}; echo "status $?"
        cp leaderboards/tones.csv board.csv
    """)

    told(done, "cannot write")
    assert done.stdout.count("status 0") == 2
    assert "status 2" in done.stdout
    assert {p.name for p in Path("before").iterdir()} <= {p.name for p in Path("runs/fits").iterdir()}
    assert len(Path("board.csv").read_text().splitlines()) == 3  # header and two rows: nothing was lost


def test_a_cache_on_a_disk_that_goes_away_is_made_anew(place: Path) -> None:
    done = in_namespace(f"""
        mkdir -p cache && mount -t tmpfs tmpfs cache
        sertbench {RUN}; echo "status $?"
        umount cache
        sertbench {RUN.replace("--seeds 2", "--seeds 3")}; echo "status $?"
    """)

    told(done)
    assert done.stdout.count("status 0") == 2
    assert list(Path("cache").iterdir())
