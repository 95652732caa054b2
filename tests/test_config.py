"""Defaults < TOML file < flags, and every way in which a value can be wrong."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sertbench import claim_file, config, needed_checkpoint, pretrained_spec, status
from sertbench.config import RunConfig
from sertbench.errors import ConfigError, SertbenchError

BARE = RunConfig(model="glam", dataset="demo")

text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
)  # TOML is UTF-8, which has no lone surrogates
maybe = st.none() | text
configs = st.builds(
    RunConfig,
    model=text,
    dataset=text,
    data=maybe,
    labels=maybe,
    subset=text,
    protocol=maybe,
    trials=st.integers(0, 10**6),
    seeds=st.integers(1, 10**6),
    features=maybe,
    epochs=st.none() | st.integers(1, 10**6),
    device=text,
    precision=text,
    workers=st.none() | st.integers(1, 64),
    allow_leak=st.booleans(),
    runs=text,
    leaderboards=text,
)


@pytest.fixture
def toml(tmp_path):
    def write(content: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def test_flags_beat_the_file_and_the_file_beats_the_defaults(toml):
    path = toml('model = "glam"\ndataset = "demo"\ntrials = 3\nseeds = 2\n')

    loaded = config.load(path, {"seeds": 7})

    assert loaded == replace(BARE, trials=3, seeds=7)


def test_without_a_file_what_was_typed_and_the_defaults_are_taken():
    assert config.load(None, {"model": "glam", "dataset": "demo"}) == BARE


@settings(max_examples=60, deadline=None)
@given(original=configs)
def test_a_dumped_configuration_loads_as_it_was(original, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "dumped.toml"
    path.write_text(config.dump(original), encoding="utf-8")

    assert config.load(path, {}) == original


def test_an_option_of_the_file_that_does_not_exist_is_met_with_the_nearest_one(toml):
    path = toml('model = "glam"\ndataset = "demo"\nepoch = 3\n')

    with pytest.raises(ConfigError, match=r"run\.toml: no option is called 'epoch'\. Did you mean 'epochs'"):
        config.load(path, {})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trials": "ten"}, "trials = 'ten' is not accepted: expected int"),
        ({"trials": 2.0}, "trials = 2.0 is not accepted: expected int"),
        ({"trials": True}, "trials = True is not accepted: expected int"),
        ({"allow_leak": 1}, "allow_leak = 1 is not accepted: expected bool"),
        ({"epochs": "5"}, "epochs = '5' is not accepted: expected int or nothing"),
        ({"data": 5}, "data = 5 is not accepted: expected str or nothing"),
        ({"epochs": -3}, "epochs = -3 is not accepted: expected a whole number of at least 1"),
        ({"epochs": 0}, "epochs = 0 is not accepted: expected a whole number of at least 1"),
        ({"trials": -1}, "trials = -1 is not accepted: expected a whole number of at least 0"),
        ({"seeds": 0}, "seeds = 0 is not accepted: expected a whole number of at least 1"),
        ({"workers": 0}, "workers = 0 is not accepted: expected a whole number of at least 1"),
        ({"seeds": 10**9}, "seeds = 1000000000 is not accepted: expected a whole number of at most 1000000"),
        ({"accept_missing": ""}, "accept_missing is empty: give it a value, or leave --accept-missing out"),
        ({"runs": ""}, "runs is empty: give it a value, or leave --runs out"),
        ({"model": "a\0.py"}, "model = 'a\\x00.py' is not accepted: no name on a disk has a null character"),
        (
            {"data": "/old/gef\udcfchl"},
            "data = '/old/gef\\udcfchl' is not accepted: its bytes are no UTF-8 (1 of them). Files of a run and boards "
            "name it in UTF-8: rename it, or give it through a link with another name",
        ),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused(values, said):
    with pytest.raises(ConfigError) as caught:
        config.load(None, {**asdict(BARE), **values})

    assert str(caught.value) == said


@pytest.mark.parametrize(("name", "command"), [("model", "list models"), ("dataset", "list datasets")])
def test_a_missing_name_is_asked_for_with_the_command_that_lists_them(name, command):
    with pytest.raises(ConfigError, match=f"--{name} is missing.*{command}"):
        config.load(None, {**asdict(BARE), name: ""})


def test_a_file_that_is_not_toml_is_refused_with_its_name_and_line(toml):
    path = toml("model = glam\n")

    with pytest.raises(ConfigError, match=r"run\.toml is not TOML.*line 1"):
        config.load(path, {})


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000])
def test_a_value_that_python_cannot_read_is_no_toml(toml, value):
    with pytest.raises(ConfigError, match="is not TOML"):
        config.load(toml(f"epochs = {value}"), {})


def test_a_file_that_an_editor_began_with_a_byte_order_mark_is_read(toml):
    assert config.load(toml("\ufeffmodel = 'glam'\ndataset = 'emodb'\n"), {}).model == "glam"


@pytest.mark.parametrize(
    "read",
    [
        lambda path: pretrained_spec.parse(f"ssl:{path}"),
        lambda path: needed_checkpoint.resolved(pretrained_spec.SslSpec("x"), path),
        claim_file.load,
    ],
)
def test_a_home_folder_of_nobody_is_told(read):
    with pytest.raises(SertbenchError, match="a user that this machine does not know"):
        read("~nobody-at-all/x.toml")


def test_the_state_of_a_run_in_a_home_folder_of_nobody_can_be_kept(tmp_path):
    """In a grid it is kept that this run failed, and the others go on."""
    failed = replace(BARE, model="~nobody-at-all/x.py", data="~nobody-at-all/x", runs=str(tmp_path))
    status.fail(failed, ConfigError("no"))
    assert status.has_failed(failed)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b"model = \xff\xfe\n")

    with pytest.raises(ConfigError, match="is not TOML"):
        config.load(path, {})


def test_a_file_is_read_as_utf_8_whatever_the_locale(toml, monkeypatch):
    path = toml('model = "glam"\ndataset = "demo"\ndata = "Übung"\n')
    monkeypatch.setattr("io.text_encoding", lambda encoding, *_: encoding or "latin-1")

    assert config.load(path, {}).data == "Übung"


@pytest.mark.parametrize(("place", "said"), [("absent.toml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path, place, said):
    with pytest.raises(ConfigError, match=f"--config .*: {said}"):
        config.load(tmp_path / place, {})


@pytest.mark.parametrize(
    ("values", "typed"),
    [
        ({"executor": "dask", "scheduler": "tcp://1"}, ()),
        ({"executor": "slurm", "slurm": "queue=a"}, ("slurm",)),
        ({"executor": "auto", "slurm": "queue=a"}, ("executor",)),  # a file's cluster, not today
        ({"scheduler": None, "slurm": "", "wait": 600}, ()),
    ],
)
def test_options_of_a_cluster_where_it_is_meant_pass(values, typed):
    config.refuse_idle(values, {name: values[name] for name in typed})


@pytest.mark.parametrize(
    ("values", "typed", "said"),
    [
        (
            {"scheduler": "tcp://1"},
            ("scheduler",),
            "--scheduler tcp://1 is for --executor dask, but the executor is auto",
        ),
        ({"slurm": "foo=1"}, (), "Type `--executor slurm --slurm foo=1`, or leave --slurm out"),
        ({"executor": "processes", "scheduler": "tcp://1"}, ("executor", "scheduler"), "the executor is processes"),
        ({"executor": "dask", "slurm": "a=1"}, ("slurm",), "is for --executor slurm, but the executor is dask"),
    ],
)
def test_options_of_a_cluster_where_fits_run_elsewhere_are_refused(values, typed, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        config.refuse_idle(values, {name: values[name] for name in typed})


def test_open_choices_are_filled_in_and_checked_again():
    assert config.resolved(BARE, labels="emotions") == replace(BARE, labels="emotions")
    with pytest.raises(ConfigError, match="seeds = 0"):
        config.resolved(BARE, seeds=0)


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "SERTBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # nobody's number

    with pytest.raises(ConfigError, match="export SERTBENCH_CACHE=FOLDER"):
        config.cache_folder()


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path / "own"))
    assert config.cache_folder() == tmp_path / "own"

    monkeypatch.delenv("SERTBENCH_CACHE")
    assert config.cache_folder() == tmp_path / "xdg" / "sertbench"

    monkeypatch.delenv("XDG_CACHE_HOME")
    assert config.cache_folder() == Path.home() / ".cache" / "sertbench"
