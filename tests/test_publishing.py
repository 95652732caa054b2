"""`sertbench publish`: bundles beside the boards that verify by themselves and say nothing about the machine."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sertbench import board_files, board_rows, bundle, files, leaderboard, publishing
from sertbench.bundles import Bundles
from sertbench.cli import main


def call(command: str, root: Path, *more: str) -> int:
    return main([command, *more, "--runs", str(root / "runs"), "--leaderboards", str(root / "boards")])


def speak(folder: Path, **config: Any) -> None:
    """Make a bundle name folders, as a run with --data does."""
    run = bundle.load_run(folder)
    toml = (folder / "config.toml").read_text() + "".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items())
    (folder / "config.toml").write_text(toml)
    (folder / "audio.parquet").write_bytes(b"which audio was in it")
    run["files"]["audio.parquet"] = files.sha256(folder / "audio.parquet")
    run["config"] |= config
    run["environment"]["command"] = f"sertbench run --data {config['data']} --config /home/ada/my/grid.toml --seeds 2"
    run["files"]["config.toml"] = files.sha256(folder / "config.toml")
    bundle.save_run(folder, run)


@pytest.fixture
def root(tmp_path: Path, made_bundle) -> Path:
    for draw, (model, accuracy) in enumerate({"strong": 0.9, "weak": 0.2}.items()):
        speak(made_bundle(tmp_path / "runs", model, "one", accuracy, draw), data="/home/ada/corpora/one")
    made_bundle(tmp_path / "runs", "strong", "toy", 0.9, 7, changes={"corpus": {"synthetic": True}})
    return tmp_path


def test_a_published_board_verifies_without_the_runs_and_names_no_folder(root: Path, capsys) -> None:
    assert call("publish", root, "--all") == 0
    shutil.rmtree(root / "runs")

    assert call("leaderboard", root, "--check") == 0
    assert main(["verify", str(root / "boards" / "one.csv"), "--runs", str(root / "runs")]) == 0
    rows = board_files.read(root / "boards" / "one.csv")
    assert [(r["model"], r["rank"]) for r in rows] == [("strong", "1"), ("weak", "2")]
    for path in (root / "boards").rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            assert b"/home/" not in path.read_bytes(), path
    public = root / "boards" / "bundles" / rows[0]["bundle"]
    assert bundle.load_run(public)["environment"]["command"] == "sertbench run --config grid.toml --seeds 2"
    assert tomllib.loads((public / "config.toml").read_text())["model"] == "strong"
    kept = {"run.json", "config.toml", "predictions.parquet", "split.parquet", "audio.parquet"}
    assert {p.name for p in public.iterdir()} == kept


def test_a_published_run_that_is_published_again_is_never_without_its_record(root: Path, monkeypatch) -> None:
    call("publish", root, "--all")
    shutil.rmtree(root / "runs")
    public = next((root / "boards" / "bundles").glob("one-0-*"))

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert call("publish", root, public.name) == 2
    assert bundle.is_whole(public)
    monkeypatch.undo()
    assert call("publish", root, public.name) == 0


def test_a_synthetic_corpus_is_left_out_and_refused_by_name(root: Path, capsys) -> None:
    call("publish", root, "--all")
    assert not (root / "boards" / "toy.csv").exists()
    toy = next((root / "runs").glob("toy-*"))
    assert call("publish", root, str(toy)) == 2
    assert "synthetic: its scores are not published" in capsys.readouterr().err


def test_publishing_again_changes_no_byte_and_keeps_the_rows(root: Path) -> None:
    call("publish", root, "--all")
    before = {p: p.read_bytes() for p in (root / "boards").rglob("*") if p.is_file()}
    assert call("publish", root, "strong", "weak") == 2  # `strong` ran on two corpora: which one?
    assert call("publish", root, "--all") == 0
    assert {p: p.read_bytes() for p in (root / "boards").rglob("*") if p.is_file()} == before


def test_with_the_runs_still_there_every_check_passes(root: Path) -> None:
    call("publish", root, "--all")
    shutil.rmtree(next((root / "runs").glob("toy-*")))
    assert call("leaderboard", root, "--check") == 0
    before = (root / "boards" / "one.csv").read_bytes()
    assert call("leaderboard", root) == 0
    assert (root / "boards" / "one.csv").read_bytes() == before


def test_what_is_said_of_the_evidence_names_the_published_bundles(root: Path, capsys) -> None:
    call("publish", root, "--all")
    shutil.rmtree(root / "runs")
    named = str(root / "boards" / "bundles")
    capsys.readouterr()

    assert call("leaderboard", root, "--check") == 0
    assert named in "".join(capsys.readouterr().out.split())
    path = root / "boards" / "one.csv"
    path.write_text(path.read_text().replace(",strong,", ",stronger,"))
    assert call("report", root, "--out", str(root / "report")) == 2
    assert named in "".join(capsys.readouterr().err.split())


def test_a_run_made_again_has_a_row_of_its_own_bundle(root: Path, made_bundle) -> None:
    """Somebody reproduces a published row: the row then is theirs, and so is what it is checked against."""
    call("publish", root, "--all")
    shutil.rmtree(root / "runs")
    mine = made_bundle(root / "runs", "strong", "one", 0.85, 0, date="2026-03-01T00:00:00+00:00")
    row = board_rows.row_of(bundle.load_run(mine), mine)
    _, rows = leaderboard.add(root / "boards", row, root / "runs")

    assert len(rows) == 2
    assert Bundles.of(root / "runs", root / "boards").find(row) == mine
    assert call("leaderboard", root, "--check") == 1  # the published copy is the older of the two, and that is said
    assert main(["verify", str(root / "boards" / "one.csv"), "--runs", str(root / "runs")]) == 0


def test_a_run_that_was_made_again_is_published_by_its_name(root: Path, made_bundle) -> None:
    call("publish", root, "--all")
    for spoilt in ("one-0-*", "toy-*"):
        shutil.rmtree(next((root / "runs").glob(spoilt)))
    mine = made_bundle(root / "runs", "strong", "one", 0.85, 0, date="2026-03-01T00:00:00+00:00")
    assert call("publish", root, mine.name) == 0
    assert bundle.load_run(root / "boards" / "bundles" / mine.name)["date_utc"].startswith("2026-03")
    assert call("leaderboard", root, "--check") == 0


def test_of_two_runs_of_one_row_the_newest_stands_in_the_published_table(root: Path, made_bundle) -> None:
    """A model that was edited and run again has another bundle with another hash in its name."""
    for draw, day in enumerate(("02", "04", "03")):
        made_bundle(root / "runs", "edited", "two", 0.5, draw + 20, date=f"2026-01-{day}T00:00:00+00:00")
    assert call("publish", root, "--all") == 0
    assert [r["date_utc"][:10] for r in board_files.read(root / "boards" / "two.csv")] == ["2026-01-04"]


def test_what_was_measured_after_publishing_is_in_the_row_and_published_by_the_run_s_name(root: Path) -> None:
    call("publish", root, "--all")
    shutil.rmtree(next((root / "runs").glob("toy-*")))
    mine, boards = next((root / "runs").glob("one-0-*")), root / "boards"
    run = bundle.load_run(mine)
    bundle.save_run(mine, {**run, "optimism": {"test_epoch": 91.0, "oracle_gap": 1.5}})

    assert Bundles.of(root / "runs", boards).settled(mine) == mine  # what `sertbench run --optimism` makes the row of
    assert call("publish", root, mine.name) == 0
    assert [r["oracle_gap"] for r in board_files.read(boards / "one.csv")] == ["1.50", ""]
    assert bundle.load_run(boards / "bundles" / mine.name)["optimism"]["oracle_gap"] == 1.5
    assert call("leaderboard", root, "--check") == 0


def test_a_damaged_bundle_or_one_with_a_folder_in_it_is_not_published(root: Path, made_bundle, capsys) -> None:
    altered = made_bundle(root / "runs", "altered", "two", 0.5, 8)
    (altered / "predictions.parquet").write_bytes((altered / "split.parquet").read_bytes())
    assert call("publish", root, str(altered)) == 2
    speaking = made_bundle(root / "runs", "speaking", "two", 0.5, 9)
    run = bundle.load_run(speaking)
    bundle.save_run(speaking, {**run, "alarms": ["see /home/ada/secret/notes"]})
    assert call("publish", root, str(speaking)) == 2
    assert "names folders of this machine" in capsys.readouterr().err
    assert not (root / "boards" / "bundles" / speaking.name / "run.json").exists()


def test_nothing_named_and_all_together_are_refused(root: Path, capsys) -> None:
    assert call("publish", root) == 2
    assert call("publish", root, "strong", "--all") == 2
    assert call("publish", root, "nobody") == 2
    assert "nobody is not a finished run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("/home/ada/corpora/emodb", "emodb"),
        ("~/corpora/emodb", "emodb"),
        ("C:\\Users\\Ada\\emodb", "emodb"),
        ("--accept-missing=/home/ada/x.txt", "--accept-missing=x.txt"),
        ("/home/ada/my.py:Net", "my.py:Net"),
        ("ssl:/home/ada/wavlm:all", "ssl:wavlm:all"),
        ("models/my.py:Net", "models/my.py:Net"),
        ("https://emodb.bilderbar.info/docu/index.html", "https://emodb.bilderbar.info/docu/index.html"),
        ("either/or", "either/or"),
    ],
)
def test_only_absolute_paths_are_cut(text: str, public: str) -> None:
    assert publishing.last_name(text) == public
    assert not list(publishing.private_words(publishing.public({"x": [text]})))
