"""`sertbench profile`: what it counts is right; what it measures is there, positive and told in words."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sertbench import plugins, profiling
from sertbench.cli import main
from sertbench.compute import Compute

SMALL = """
from torch import nn
from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe

class {name}(NeuralModel):
    \"\"\"Two layers.\"\"\"

    recipe = Recipe(features=log_mel(8, n_fft=256, hop_length=160), {cut} batch_size=4)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.frozen = nn.Linear(8, 16).requires_grad_(False)
        self.last = nn.Linear(16, n_classes)

    def forward(self, x, *lengths):
        {forward}
"""
FORWARD = "return self.last(self.frozen(x.transpose(1, 2)).relu().mean(1))"
CPU = Compute("cpu", "fp32")


@pytest.fixture
def plugin(tmp_path: Path):
    def write(name: str = "Small", cut: str = "window=0.5, hop=0.25,", forward: str = FORWARD) -> str:
        path = tmp_path / f"{name.lower()}.py"
        path.write_text(SMALL.format(name=name, cut=cut, forward=forward))
        return str(path)

    return write


def test_windows_are_counted_by_hand(plugin):
    """0.5 s at 100 frames a second are 51 frames; 2 s hold seven windows every quarter of a second."""
    one = profiling.profile(plugins.load_model(plugin()), 2.0, 3, None, CPU)
    assert (one.kind, one.item, one.input_shape, one.items, one.batch) == ("network", "window", (8, 51), 7, 4)
    assert (one.n_parameters, one.n_trainable) == (9 * 16 + 17 * 3, 17 * 3)
    assert one.size == pytest.approx(4 * one.n_parameters / 1e6)
    assert one.item_macs == 51 * 8 * 16 + 16 * 3
    assert one.second_macs == 7 * one.item_macs / 2.0
    assert one.throughput == pytest.approx(4 / one.step_ms * 1000)
    for time in (one.step_ms, one.feature_ms, one.network_ms):
        assert 0 < time < math.inf
    assert one.latency_ms == one.feature_ms + one.network_ms
    assert one.real_time_factor == pytest.approx(one.latency_ms / 2000)
    assert 0 < one.feature_share < 1


def test_whole_utterances_grow_with_their_duration(plugin):
    loaded = plugins.load_model(plugin(cut=""))
    short, long = (profiling.profile(loaded, seconds, 3, 2, CPU) for seconds in (1.0, 2.0))
    assert (short.item, short.items, short.input_shape, long.input_shape) == ("utterance", 1, (8, 101), (8, 201))
    assert (short.item_macs, long.item_macs) == (101 * 8 * 16 + 48, 201 * 8 * 16 + 48)
    assert long.step_memory > short.step_memory > short.size


def test_the_memory_of_a_step_holds_the_optimisers_state(plugin):
    """Adam keeps two values per trained weight; a batch of two is next to nothing."""
    wide = plugin(forward="x = x[:, :, :1]; " + FORWARD)
    text = Path(wide).read_text().replace("nn.Linear(8, 16)", "nn.Linear(8, 100_000)").replace("(16, n", "(100_000, n")
    Path(wide).write_text(text)
    one = profiling.profile(plugins.load_model(wide), 1.0, 2, 2, CPU)
    trained = 4 * one.n_trainable / 1e6
    assert one.size + 3 * trained < one.step_memory < one.size + 3 * trained + 10 * 4 * 2 * 0.1


def test_one_model_is_a_list_and_several_are_a_table(plugin, capsys):
    first, second = plugin("First"), plugin("Second", cut="")
    assert main(["profile", first, "--seconds", "1", "--device", "cpu"]) == 0
    alone = capsys.readouterr().out
    assert "first: an utterance of 1.00 s, 4 classes, cpu" in alone
    assert "log_mel 8, 8 x 51 per window, 3 per utterance" in alone
    assert f"{9 * 16 + 17 * 4}, of which {17 * 4} are trained" in alone
    assert "real-time factor" in alone

    assert main(["profile", first, second, "majority", "--seconds", "1", "--classes", "3", "--batch", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert "8 x 51, 3 windows" in rows["first"]
    assert "8 x 101, 1 utterance " in rows["second"]
    assert "ms / 3" in rows["second"]
    assert "no network" in rows["majority"]


def test_the_figures_go_to_a_file(plugin, tmp_path, capsys):
    out = tmp_path / "new/figures.json"
    assert main(["profile", plugin(), "majority", "--seconds", "1", "--device", "cpu", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["environment"]["torch"]
    network, estimator = found["models"]
    assert network["item_macs"] == 51 * 8 * 16 + 16 * 4
    assert network["real_time_factor"] > 0
    assert estimator == {"model": "majority", "kind": "estimator"}


def test_a_corpus_gives_duration_and_classes(plugin, capsys, tmp_path):
    import numpy as np
    import soundfile

    table = ["path,label,speaker"]
    for i, label in enumerate(("a", "b", "c")):
        soundfile.write(
            tmp_path / f"{label}.wav", 0.1 * np.random.default_rng(i).standard_normal(16000 * (i + 1)), 16000
        )
        table.append(f"{label}.wav,{label},s{i}")
    (tmp_path / "mine.csv").write_text("\n".join(table) + "\n")
    assert main(["profile", plugin(), "--dataset", "csv", "--data", str(tmp_path / "mine.csv")]) == 0
    assert "an utterance of 2.00 s, 3 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seconds", "0"], "--seconds 0.0 is not accepted: expected a number of at least 0.1"),
        (["--seconds", "nan"], "--seconds nan is not accepted"),
        (["--classes", "1"], "--classes 1 is not accepted: expected a number of at least 2"),
        (["--batch", "1"], "--batch 1 is not accepted"),
        (["--data", "somewhere"], "--dataset NAME"),
        (["--dataset", "emobd"], "Did you mean 'emodb'"),
        (["--device", "tpu"], "no device is called 'tpu'"),
        (["nowhere.py"], "nowhere.py cannot be read"),
        (["--json", "/proc/nowhere/x.json", "--seconds", "1"], "/proc/nowhere"),
    ],
)
def test_bad_input_is_said_in_words(plugin, capsys, flags, said):
    assert main(["profile", plugin(), *flags]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sertbench: error: ")
    assert said in err


@pytest.mark.parametrize(
    ("forward", "said"),
    [("return self.last(x)", "RuntimeError"), ("return self.last(self.frozen(x.mT))[:, 0, :1]", "gives the shape")],
)
def test_a_model_that_fails_is_told_in_words(plugin, capsys, forward, said):
    assert main(["profile", plugin(forward=forward), "--seconds", "1"]) == 2
    assert said in capsys.readouterr().err
