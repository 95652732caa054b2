"""Hidden states against transformers itself; the same alone, in another order, and after a kill; heads; whole runs."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("transformers")

import soundfile
import torch

from sertbench import feature_store, plugins, pretrained, ssl_features
from sertbench.cli import main
from sertbench.errors import AudioError
from sertbench.feature_cache import open_store
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.pretrained_spec import ssl, ssl_frames

FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "wav2vec2-bert", "whisper")
LENGTHS = (16_000, 9_000, 20_001, 9_000, 700)  # samples


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> tuple[list[Path], list[str]]:
    """Files of noise, and what stands for their hashes."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    paths = [folder / f"{i}.wav" for i in range(len(LENGTHS))]
    for path, n in zip(paths, LENGTHS, strict=True):
        soundfile.write(path, 0.1 * rng.standard_normal(n), SAMPLE_RATE, "PCM_16")
    return paths, [f"{i:064x}" for i in range(len(LENGTHS))]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, samples)).astype(np.float32)


def values_of(spec, sounds, cache, order=None, window=None, hop=None):
    """The functionals or items of the store, in the order of the files."""
    paths, sha256 = sounds
    order = list(order or range(len(paths)))
    given = [paths[i] for i in order], [sha256[i] for i in order]
    return open_store(*given, spec, window, hop, "mono", cache)


def resolved(spec):
    return pretrained.resolve(spec, "cpu")


def test_float32_of_an_encoder_is_not_tf32(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's default, for convolutions on a GPU
    ssl_features.Encoder(resolved(ssl(str(tiny_checkpoint("wav2vec2")))))
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_those_of_transformers(tiny_checkpoint, family):
    import transformers

    folder, wave = tiny_checkpoint(family), noise(20_001)
    encoder = ssl_features.Encoder(resolved(ssl(str(folder))))
    states = encoder.hidden_states(wave)

    prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    network = network.get_encoder() if family == "whisper" else network
    with torch.inference_mode():
        expected = network(**prepare(wave[0], sampling_rate=16_000, return_tensors="pt"), output_hidden_states=True)
    frames = {"whisper": 63, "wav2vec2-bert": 61}.get(family, 62)  # ceil(n / 320); pairs of 25 ms; 25 ms every 20 ms
    expected = torch.stack(expected.hidden_states, 1)[:, :, :frames]
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)

    values = encoder.values(wave)[0]
    exact = expected[0].double().numpy()
    both = np.concatenate([exact.mean(1), exact.std(1)], axis=1).T
    assert values.shape == (32, 3)
    np.testing.assert_allclose(values, both, rtol=1e-4, atol=1e-5)
    assert encoder.values(noise(100)).shape == (1, 32, 3)


def test_whisper_is_cut_every_30_seconds_and_keeps_the_frames_of_the_utterance(tiny_checkpoint):
    encoder = ssl_features.Encoder(resolved(ssl(str(tiny_checkpoint("whisper")))))
    wave = noise(31 * SAMPLE_RATE)
    states = encoder.hidden_states(wave)
    assert states.shape[2] == 1550
    assert torch.equal(states[:, :, 1500:], encoder.hidden_states(wave[:, 30 * SAMPLE_RATE :]))


@pytest.mark.parametrize("normalised", [True, False])
def test_the_level_counts_unless_the_preprocessor_normalises(tiny_checkpoint, normalised):
    folder = tiny_checkpoint("wavlm", do_normalize=normalised, feat_extract_norm="layer")
    encoder = ssl_features.Encoder(resolved(ssl(str(folder))))
    a, b = (encoder.hidden_states(level * noise(8000)) for level in (1.0, 0.05))
    assert torch.allclose(a, b, atol=1e-3) == normalised


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_an_utterance_has_the_same_values_alone_in_any_order_and_after_a_kill(
    tiny_checkpoint, sounds, tmp_path, monkeypatch, family
):
    spec, everything = resolved(ssl(str(tiny_checkpoint(family)))), np.arange(len(LENGTHS))
    whole = values_of(spec, sounds, tmp_path / "a").functionals(everything)
    backwards = values_of(spec, sounds, tmp_path / "b", reversed(range(len(LENGTHS)))).functionals(everything)[::-1]
    alone = np.concatenate(
        [values_of(spec, sounds, tmp_path / f"c{i}", [i]).functionals(np.array([0])) for i in range(len(LENGTHS))]
    )
    compute, count = ssl_features.Encoder.values, []

    def killed(self, waves):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return compute(self, waves)

    monkeypatch.setattr(ssl_features.Encoder, "values", killed)
    with pytest.raises(KeyboardInterrupt):
        values_of(spec, sounds, tmp_path / "d")
    kept = len(list((tmp_path / "d" / "ssl").glob("*/*.npy")))
    assert 1 <= kept < len(LENGTHS)
    assert not list((tmp_path / "d" / "features").glob("[!.]*"))
    before = len(count)
    again = values_of(spec, sounds, tmp_path / "d").functionals(everything)
    assert len(count) - before == len(LENGTHS) - kept
    assert np.isfinite(whole).all()
    assert np.ptp(whole, axis=0).all()
    for other in (backwards, alone, again):
        assert np.array_equal(whole, other)


def test_damaged_files_of_the_cache_are_computed_again(tiny_checkpoint, sounds, tmp_path):
    spec, everything = resolved(ssl(str(tiny_checkpoint("hubert")))), np.arange(len(LENGTHS))
    first = values_of(spec, sounds, tmp_path).functionals(everything)
    files = sorted((tmp_path / "ssl").glob("*/*.npy"))
    files[0].write_bytes(files[0].read_bytes()[:90])
    np.save(files[1], np.zeros((3, 3), np.float32))
    other = values_of(replace(spec, layers="0-1"), sounds, tmp_path)
    assert other.input_shape == (32, 2)
    assert np.array_equal(other.functionals(everything).reshape(-1, 32, 2), first.reshape(-1, 32, 3)[:, :, :2])


def test_another_choice_of_layers_computes_nothing(tiny_checkpoint, sounds, tmp_path, monkeypatch):
    spec = resolved(ssl(str(tiny_checkpoint("wavlm"))))
    whole = values_of(spec, sounds, tmp_path)
    monkeypatch.setattr(ssl_features, "Encoder", None)
    last = values_of(replace(spec, layers="last"), sounds, tmp_path)
    assert torch.equal(last.batch(np.arange(3))[0][:, :, 0], whole.batch(np.arange(3))[0][:, :, 2])


def test_equal_lengths_go_together_and_give_the_same_values(tiny_checkpoint, sounds, tmp_path, monkeypatch):
    """As on a GPU: batches of utterances of exactly one length."""
    spec = resolved(ssl(str(tiny_checkpoint("wav2vec2"))))
    alone = values_of(spec, sounds, tmp_path / "a").functionals(np.arange(len(LENGTHS)))
    compute, sizes = ssl_features.Encoder.values, []
    monkeypatch.setattr(
        ssl_features.Encoder, "values", lambda self, waves: sizes.append(len(waves)) or compute(self, waves)
    )
    extraction = ssl_features.Extraction(spec, "mono", tmp_path / "b")
    extraction.fill(list(zip(*sounds, strict=True)))
    assert sorted(sizes) == [1, 1, 1, 2]
    together = values_of(spec, sounds, tmp_path / "b").functionals(np.arange(len(LENGTHS)))
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_moments_are_those_of_the_values(tiny_checkpoint, sounds, tmp_path):
    store = values_of(resolved(ssl(str(tiny_checkpoint("wavlm")))), sounds, tmp_path)
    x, lengths = store.batch(np.array([0, 2, 4]))
    mean, std = store.moments(np.array([0, 2, 4]))
    flat = x.double().transpose(0, 1).flatten(1).numpy()
    assert lengths.tolist() == [3, 3, 3]
    np.testing.assert_allclose(mean[:, 0], flat.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std[:, 0], flat.std(1), rtol=1e-4, atol=1e-5)


def test_frames_are_those_of_the_layers(tiny_checkpoint, sounds, tmp_path):
    spec = resolved(ssl_frames(str(tiny_checkpoint("wav2vec2")), "1-2"))
    store = values_of(spec, sounds, tmp_path)
    assert store.input_shape == (32, 0)
    x, lengths = store.batch(np.array([1, 4]))
    wave = soundfile.read(sounds[0][1], dtype="float32")[0]
    expected = ssl_features.Encoder(spec).hidden_states(wave[None])[0, 1:].transpose(1, 2).flatten(0, 1)
    assert lengths.tolist() == [expected.shape[1], 4]  # 0.1 s at least
    np.testing.assert_allclose(x[0], expected, rtol=2e-3, atol=1e-3)  # kept in 16 bits
    assert not x[1, :, 4:].any()


def test_windows_of_frames_begin_where_windows_of_audio_do(tiny_checkpoint, sounds, tmp_path):
    spec = resolved(ssl_frames(str(tiny_checkpoint("wav2vec2"))))
    whole, cut = values_of(spec, sounds, tmp_path), values_of(spec, sounds, tmp_path, window=0.4, hop=0.2)
    assert cut.input_shape == (16, 20)
    for i, samples in enumerate(LENGTHS):
        starts = feature_store.windows(samples, 0.4, 0.2)
        x, lengths = cut.batch(np.arange(cut.first[i], cut.first[i + 1]))
        frames = whole.batch(np.array([i]))[0][0]
        assert abs(len(x) - len(starts)) <= 1  # the last frame of the encoder ends before the audio does
        for one, start, n in zip(x, starts, lengths, strict=False):
            assert torch.equal(one[:, :n], frames[:, start // 320 : start // 320 + n])
            assert not one[:, n:].any()


def test_values_that_are_no_numbers_name_the_file(tiny_checkpoint, sounds, tmp_path, monkeypatch):
    spec = resolved(ssl(str(tiny_checkpoint("hubert"))))
    monkeypatch.setattr(ssl_features.Encoder, "values", lambda *_: np.full((1, 32, 3), np.nan, np.float32))
    with pytest.raises(AudioError, match=r"0\.wav: hubert gives values that are no numbers"):
        values_of(spec, sounds, tmp_path)


def test_what_an_extraction_takes_is_known_before(tiny_checkpoint, sounds, tmp_path):
    spec, (_, sha256) = resolved(ssl(str(tiny_checkpoint("wavlm")))), sounds
    seconds = [n / SAMPLE_RATE for n in LENGTHS]
    before = ssl_features.outlook(spec, "mono", tmp_path, sha256, seconds, 5, 3)
    store = values_of(spec, sounds, tmp_path)
    after = ssl_features.outlook(spec, "mono", tmp_path, sha256, seconds, 5, 3)
    taken = sum(p.stat().st_size - 128 for p in (tmp_path / "ssl").glob("*/*.npy"))
    assert before.missing == 5
    assert before.bytes == taken + (store.folder / "values.f32").stat().st_size
    assert (after.missing, after.seconds, after.bytes) == (0, 0.0, (store.folder / "values.f32").stat().st_size)


def test_superbs_head_gives_the_same_logits_on_means_as_on_frames(tiny_checkpoint):
    """Yang et al.: weighted sum of layers, projection of each frame, mean over time, linear layer."""
    encoder, wave = ssl_features.Encoder(resolved(ssl(str(tiny_checkpoint("hubert"))))), noise(12_345)
    head = plugins.load_model("superb").cls((32, 3), 4)
    with torch.no_grad():
        head.weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
        states = encoder.hidden_states(wave).clone()
        frames = torch.einsum("l,blth->bth", head.weights.softmax(0), states)
        expected = head.classify(head.project(frames).mean(1))
        found = head(torch.from_numpy(encoder.values(wave)), torch.tensor([3]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "data2vec-audio"])
def test_finetuning_begins_with_the_checkpoint_and_trains_its_blocks_alone(tiny_checkpoint, family):
    from sertbench.pretrained_spec import waveform

    spec = resolved(waveform(str(tiny_checkpoint(family))))
    model = plugins.load_model("finetune").cls((1, 16_000), 4, checkpoint=spec.sha256, dropout=0.0, mask=0.5)
    reference = pretrained.load_network(tiny_checkpoint(family))
    x = torch.from_numpy(noise(16_000))[None]
    with torch.no_grad():
        expected = reference(x[:, 0]).last_hidden_state
        torch.testing.assert_close(model.eval().encoder(x[:, 0]), expected)
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    torch.manual_seed(0)
    first = model.train()(x)
    torch.manual_seed(0)
    assert torch.equal(first, model(x))
    assert not torch.equal(first, model(x))  # another mask
    assert np.array_equal(np.random.get_state()[1], state)
    first.sum().backward()
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    assert all(".feature_extractor." in name for name in frozen)
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty working folder with a small corpus of the user's own: a table and its recordings."""
    monkeypatch.chdir(tmp_path)
    rng, rows = np.random.default_rng(1), []
    for speaker in "abcd":
        for label, pitch in (("calm", 200), ("angry", 1500)):
            for take in range(2):
                name, time = f"{speaker}-{label}-{take}.wav", np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
                tone = np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * time)
                soundfile.write(name, 0.2 * tone + 0.02 * rng.standard_normal(len(time)), SAMPLE_RATE)
                rows.append({"path": name, "label": label, "speaker": speaker})
    with Path("my.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def run(model: str, features: str, *more: str) -> int:
    base = ["run", "--dataset", "csv", "--data", "my.csv", "--trials", "0", "--seeds", "1", "--workers", "1"]
    return main([*base, "--executor", "auto", "--device", "cpu", "--model", model, "--features", features, *more])


def test_a_run_to_a_row(tiny_checkpoint, place, capsys):
    """Two heads on one checkpoint; the second finds the features in the cache. Nobody says what it was trained on."""
    folder = tiny_checkpoint("wavlm")
    assert run("superb", f"ssl:{folder}", "--epochs", "2") == 0
    out = capsys.readouterr().out
    for said in ("16 utterances on cpu, about", "exposure", "not ranked: pre-training exposure is unknown"):
        assert said in out
    assert run("logreg", f"ssl:{folder}:last") == 0
    assert "nothing to compute" in capsys.readouterr().out
    (board,) = (place / "leaderboards").glob("*.csv")
    rows = pd.read_csv(board).set_index("model")
    assert rows["exposure"].tolist() == ["unknown", "unknown"]
    assert rows["ranked"].tolist() == [0, 0]
    assert rows.loc["superb", "features"].startswith("ssl:wavlm@")
    assert rows.loc["logreg", "features"].endswith(":last")
    assert rows["features_version"].str.contains("transformers").all()
    assert str(folder) not in (place / "leaderboards").joinpath(board.name).read_text()
    assert main(["verify", str(board)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "features"),
    [("ssl_attention", "ssl:{}:frames"), ("ssl_glam", "ssl:{}:1-2:frames"), ("finetune", "waveform:{}"),
     ("svm", "ssl:{}"), ("mlp", "ssl:{}:0-1"), ("gbdt", "ssl:{}:1")],
)  # fmt: skip
def test_every_head_runs_to_a_row(tiny_checkpoint, place, model, features):
    more = () if model in ("svm", "mlp", "gbdt") else ("--epochs", "1")
    assert run(model, features.format(tiny_checkpoint("wav2vec2")), *more) == 0
    (board,) = (place / "leaderboards").glob("*.csv")
    assert len(pd.read_csv(board)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_runs_to_a_row_on_the_demo_corpus(tiny_checkpoint, tmp_path, monkeypatch, family):
    monkeypatch.chdir(tmp_path)
    base = ["run", "--dataset", "demo", "--trials", "0", "--seeds", "1", "--epochs", "2", "--device", "cpu"]
    assert main([*base, "--model", "superb", "--features", f"ssl:{tiny_checkpoint(family)}"]) == 0
    (row,) = pd.read_csv("leaderboards/demo.csv").to_dict("records")
    assert (row["n_utt_scored"], row["exposure"]) == (384, "unknown")


@pytest.mark.parametrize(
    ("model", "features", "said"),
    [
        ("ssl_attention", "ssl:{}", "takes ssl_frames"),
        ("superb", "ssl:{}:frames", "takes ssl"),
        ("glam", "ssl:{}", "model glam takes mfcc"),
        ("superb", "ssl:{}:9", "it has 0 to 2"),
        ("superb", "ssl:nowhere/to-be-found", "HF_HUB_OFFLINE is set"),
        ("superb", "functionals", "takes ssl"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(tiny_checkpoint, place, capsys, model, features, said):
    assert run(model, features.format(tiny_checkpoint("wavlm"))) == 2
    assert said in capsys.readouterr().err
