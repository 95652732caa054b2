"""Checkpoints: what `--features ssl:…` may say, what is found, what is refused, and how one is known again."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file

from sertbench import pretrained
from sertbench.errors import ConfigError
from sertbench.feature_spec import FeatureSpec, columns, parse, pooled, width
from sertbench.pretrained_spec import SslSpec, ssl, ssl_frames, waveform


@pytest.fixture
def copy(tiny_checkpoint, tmp_path):
    """A checkpoint that may be spoilt."""
    return Path(shutil.copytree(tiny_checkpoint("wav2vec2"), tmp_path / "mine"))


def edit(path: Path, **changes: object) -> None:
    """Change a JSON file; None removes a key."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize(
    ("text", "checkpoint", "layers", "kind"),
    [
        ("ssl:facebook/hubert-base-ls960", "facebook/hubert-base-ls960", "all", "ssl"),
        ("ssl:a/b:last", "a/b", "last", "ssl"),
        ("ssl:a/b:12", "a/b", "12", "ssl"),
        ("ssl:/my/folder:0-12", "/my/folder", "0-12", "ssl"),
        ("ssl:a/b:frames", "a/b", "last", "ssl_frames"),
        ("ssl:../b:3-4:frames", "../b", "3-4", "ssl_frames"),
    ],
)
def test_features_of_a_checkpoint_are_parsed(text, checkpoint, layers, kind):
    spec = parse(text)
    assert isinstance(spec, SslSpec)
    assert (spec.checkpoint, spec.layers, spec.kind) == (checkpoint, layers, kind)


def test_waveforms_of_a_checkpoint_are_parsed():
    assert parse("waveform:a/b") == waveform("a/b")


@pytest.mark.parametrize(
    "text", ["ssl", "ssl:", "ssl::12", "ssl:a/b:top", "ssl:a/b:1,2", "ssl:a/b:12:all", "waveform:"]
)
def test_what_is_no_such_feature_is_refused_with_what_to_type(text):
    with pytest.raises(ConfigError, match=r"Type (ssl:CHECKPOINT\[:LAYERS\]\[:frames\]|waveform:FOLDER)"):
        parse(text)


def test_sizes_follow_from_the_layers():
    spec = SslSpec("a/b", "2-4", hidden=10, depth=6, sha256="0123456789")
    assert (spec.chosen, spec.rows, spec.frames(99_999), width(spec)) == ((2, 3, 4), 20, 3, 60)
    assert (columns(spec, None), pooled(spec), spec.label) == (3, True, "ssl:a/b@01234567:2-4")
    frames = ssl_frames("a/b", "0-1", hidden=10, depth=6)
    assert (frames.rows, frames.frames(16_000), columns(frames, None), pooled(frames)) == (20, 50, 0, False)
    assert ssl("a/b", "last", depth=6).chosen == (6,)
    assert not isinstance(spec, FeatureSpec)


@pytest.mark.parametrize("layers", ["7", "5-9", "4-2"])
def test_layers_that_are_not_there_are_refused(layers):
    with pytest.raises(ConfigError, match="it has 0 to 6"):
        _ = SslSpec("a/b", layers, depth=6).chosen


def test_a_checkpoint_fills_in_the_specification(tiny_checkpoint):
    spec = pretrained.resolve(ssl(str(tiny_checkpoint("hubert"))), "cpu")
    assert (spec.checkpoint, spec.hidden, spec.depth, spec.family) == ("hubert", 16, 2, "hubert")
    assert len(spec.sha256) == 64
    raw = pretrained.resolve(waveform(str(tiny_checkpoint("hubert", do_normalize=False))), "cpu")
    assert (raw.normalise, raw.sha256 != spec.sha256) == (False, True)


@pytest.mark.parametrize("family", ["wav2vec2-bert", "whisper"])
def test_a_spectrum_cannot_be_trained_from_waveforms(tiny_checkpoint, family):
    with pytest.raises(ConfigError, match=r"cannot be trained from waveforms here.*--features ssl:"):
        pretrained.resolve(waveform(str(tiny_checkpoint(family))), "cpu")


def test_a_checkpoint_is_known_by_its_content_wherever_it_lies(tiny_checkpoint, copy):
    def sha256() -> str:
        return pretrained.fingerprint(copy)

    first = sha256()
    assert first == pretrained.fingerprint(tiny_checkpoint("wav2vec2"))
    edit(copy / "config.json", hidden_act="relu")
    second = sha256()
    edit(copy / "preprocessor_config.json", do_normalize=False)
    third = sha256()
    weights = load_file(copy / "model.safetensors")
    name = sorted(weights)[0]
    save_file({**weights, name: weights[name] + 1}, copy / "model.safetensors", {"format": "pt"})
    assert len({first, second, third, sha256()}) == 4


def test_a_checkpoint_that_was_changed_meanwhile_is_refused(copy):
    spec = pretrained.resolve(ssl(str(copy)), "cpu")
    assert pretrained.folder_of(spec.sha256) == copy
    edit(copy / "config.json", hidden_act="relu")
    with pytest.raises(ConfigError, match=r"moved or changed.*same command again"):
        pretrained.folder_of(spec.sha256)


def test_without_the_network_a_sentence_says_which_files_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as refused:
        pretrained.find("facebook/hubert-base-ls960")
    for part in ("HF_HUB_OFFLINE is set", "config.json preprocessor_config.json model.safetensors", "ssl:FOLDER"):
        assert part in str(refused.value)


def test_a_failing_network_is_a_sentence_too(monkeypatch):
    def down(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.snapshot_download", down)
    with pytest.raises(ConfigError, match=r"cannot be fetched \(ConnectionError: no route to host\)"):
        pretrained.find("some/checkpoint")


def test_a_snapshot_in_the_cache_of_the_hub_is_found(tiny_checkpoint, tmp_path, monkeypatch):
    commit = "0" * 40
    home = tmp_path / "models--some--checkpoint"
    shutil.copytree(tiny_checkpoint("wavlm"), home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    folder, name = pretrained.find("some/checkpoint")
    assert (folder.name, name) == (commit, "some/checkpoint")


@pytest.mark.parametrize("text", ["/nowhere/at/all", "nothing", "./a/b/c", "a b/c"])
def test_what_is_neither_folder_nor_hub_id_is_refused(text):
    with pytest.raises(ConfigError, match="no such folder, and it is no hub id"):
        pretrained.find(text)


class Trap:
    """An object that touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_and_not_read(copy, tmp_path, name):
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ConfigError, match=r"safetensors only\. Convert it once"):
        pretrained.resolve(ssl(str(copy)), "cpu")
    assert not (tmp_path / "sprung").exists()


def test_the_conversion_that_is_offered_works(copy, tmp_path, monkeypatch):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    expected = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ConfigError) as refused:
        pretrained.resolve(ssl(str(copy)), "cpu")
    command = re.search(r'python -c "(.*?)" and', str(refused.value))
    monkeypatch.chdir(tmp_path)
    with pretrained.quiet():
        exec(command[1], {})
    made = load_file(tmp_path / "safe" / "model.safetensors")
    assert all(torch.equal(expected[name], value) for name, value in made.items())
    assert pretrained.resolve(ssl("safe"), "cpu").checkpoint == "safe"


def cut_short(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def point_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../other/model.safetensors"}})
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json: it needs config.json, preprocessor_config.json"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "has no preprocessor_config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
        (
            lambda f: edit(f / "config.json", model_type="bert"),
            "type 'bert', which is not supported. Supported: wav2vec",
        ),
        (lambda f: edit(f / "config.json", model_type=None), "type None, which is not supported"),
        (lambda f: edit(f / "config.json", auto_map={"AutoModel": "evil.Model"}), "code of its own"),
        (lambda f: edit(f / "config.json", num_hidden_layers="two"), "config.json cannot be used"),
        (lambda f: edit(f / "preprocessor_config.json", auto_map={"x": "evil.X"}), "code of its own"),
        (lambda f: edit(f / "preprocessor_config.json", sampling_rate=8000), "wants 8000 Hz"),
        (cut_short, "cut short or damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64), "cut short or damaged"),
        (point_outside, "does not name files of this folder"),
    ],
)
def test_incomplete_and_hostile_checkpoints_are_refused(copy, spoil, said):
    spoil(copy)
    with pytest.raises(ConfigError, match=said):
        pretrained.resolve(ssl(str(copy)), "cpu")


def test_emotion2vec_is_said_to_be_unsupported(tmp_path):
    folder = tmp_path / "emotion2vec_base"
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match="emotion2vec and other FunASR or fairseq checkpoints are not supported"):
        pretrained.resolve(ssl(str(folder)), "cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w, n: {k: v for k, v in w.items() if k != n}, "lacks weights that config.json asks for"),
        (lambda w, n: {**w, n: torch.cat([w[n], w[n]])}, "do not fit config.json|another shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(copy, change, said):
    """transformers alone would fill them with random numbers."""
    weights = load_file(copy / "model.safetensors")
    name = "encoder.layers.1.attention.k_proj.weight"
    save_file(
        {k: v.contiguous() for k, v in change(weights, name).items()}, copy / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ConfigError, match=said):
        pretrained.load_network(copy)


def test_a_checkpoint_with_another_head_is_taken_without_it(tiny_checkpoint, tmp_path):
    import transformers

    config = transformers.AutoConfig.from_pretrained(tiny_checkpoint("wav2vec2"), vocab_size=9)
    with pretrained.quiet():
        model = transformers.Wav2Vec2ForCTC(config)
        model.save_pretrained(tmp_path)
    loaded = pretrained.load_network(tmp_path)
    assert torch.equal(
        loaded.encoder.layers[0].attention.k_proj.weight, model.wav2vec2.encoder.layers[0].attention.k_proj.weight
    )


def test_without_transformers_a_sentence_says_what_to_install(monkeypatch):
    def absent(name: str) -> str:
        raise pretrained.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(pretrained.metadata, "version", absent)
    with pytest.raises(ConfigError, match=r"pip install 'sertbench\[ssl\]'"):
        pretrained.versions()
