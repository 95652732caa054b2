"""What is kept of a run's state says the same from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertbench import status
from sertbench.config import RunConfig


def a_run(**options: str) -> RunConfig:
    return RunConfig(model="cnn", dataset="demo", **options)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same names in them."""
    for name in ("one", "other"):
        (tmp_path / name / "encoders" / "mine").mkdir(parents=True)
        (tmp_path / name / "left_out.txt").write_text("u1\n")
    return tmp_path / "one", tmp_path / "other"


@pytest.mark.parametrize(
    "options",
    [
        {"accept_missing": "left_out.txt"},
        {"features": "ssl:encoders/mine"},
        {"features": "ssl:encoders/mine:0-12:frames"},
        {"features": "waveform:encoders/mine"},
    ],
)
def test_files_that_a_run_names_are_its_own_from_any_folder(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    one, other = places
    config = a_run(runs=str(one.parent / "runs"), **options)
    monkeypatch.chdir(one)
    status.write(config, "failed", "no network")
    mine = status.path_of(config)
    monkeypatch.chdir(other)

    assert status.path_of(config) != mine  # another list, or another checkpoint
    assert not status.has_failed(config)
    (again,) = status.failed_configs(one.parent / "runs")
    assert status.path_of(again) == mine
    (name,) = options
    assert str(one / options[name].removeprefix("ssl:").removeprefix("waveform:")) in str(getattr(again, name))


@pytest.mark.parametrize(
    "features", ["egemaps", "ssl:facebook/hubert-base-ls960:9", "waveform:a/b", "nonsense", "ssl:"]
)
def test_features_that_name_no_folder_stay_as_they_are(features: str) -> None:
    assert status.settled(a_run(features=features)).features == features
