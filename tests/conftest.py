"""Shared by all tests: nothing of the user's own is read or written, and bundles that are made up, not trained."""

from __future__ import annotations

import gc
import os
import signal

# Before torch is loaded: a process that has shared work among OpenMP's threads cannot be forked, and kill_runs forks.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sertbench import bundle
from sertbench.config import RunConfig, dump
from sertbench.protocols import Fold, Split
from sertbench.results import Predictions, figures

SPEAKERS, PER_SPEAKER = "abcdef", 12

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background by a shell; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Iterator[object]:
    """Python's search for garbage leaves alone what was imported and collected: it was a seventh of the tests' time."""
    gc.freeze()
    try:
        return (yield)
    finally:
        gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Features and the demo corpus go to a cache of this session; a corpus of the user's is not picked up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("SERTBENCH_DATA", raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")  # no test goes to the network
        patch.setattr(os, "fsync", lambda _: None)  # no test cuts the power
        yield


@pytest.fixture(scope="session")
def made_bundle():
    """A function that writes a bundle as a run does, from drawn predictions; it gives the bundle's folder."""
    return write_bundle


def write_bundle(
    runs: Path,
    model: str = "cnn",
    corpus: str = "made",
    accuracy: float = 0.7,
    draw: int = 0,
    *,
    classes: tuple[str, ...] = ("angry", "happy", "sad"),
    seeds: int = 2,
    trials: int = 0,
    date: str = "2026-01-01T00:00:00+00:00",
    folder: str = "",
    prefix: str = "",
    changes: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> Path:
    """`prefix` begins utterance ids, `changes` replaces entries of run.json's sections, `more` adds sections."""
    split = made_split(prefix)
    predictions = drawn_predictions(split, classes, accuracy, draw, seeds)
    config = RunConfig(model=model, dataset=corpus, trials=trials, seeds=seeds)
    row_id = f"{sum(map(ord, model + corpus)) * 7919 + draw * 31 + trials:010x}"
    curve = [{"epoch": e, "loss": 1 / e, "val_uar": 0.4 + e / 20, "val_loss": 1.2 / e, "learning_rate": 0.001,
              "seconds": 0.1} for e in (1, 2, 3)]  # fmt: skip
    trial = {"state": "complete", "val_uar": 0.5, "val_uar_final": None, "hidden": 32}
    run: dict[str, Any] = {
        "row_id": row_id,
        "date_utc": date,
        "config": asdict(config),
        "model": {
            "name": model, "origin": "built in", "source_sha256": "0" * 64, "family": "CNN", "year": 2026,
            "paper": "Nobody, 2026", "diagnostic": False, "n_parameters": 1000 + draw,
            "recipe": {
                "features": {"kind": "mfcc"}, "window": 1.8, "hop": 0.2, "normalise": "none", "mixup": 0.0,
                "average": "logits", "optimiser": "adam", "class_weights": False, "epochs": 5,
            },
        },
        "corpus": {
            "name": corpus, "label_set": f"{len(classes)}class", "subset": "all", "classes": list(classes),
            "n_utterances": len(split.ids), "n_tested": len(split.ids), "manifest_sha256": "1" * 64, "licence": "none",
            "synthetic": False, "unranked": "",
        },
        "protocol": {
            "name": split.protocol, "sha256": split.sha256,
            "flags": {"speaker_independent": True, "text_independent": False, "val_speaker_overlap": False},
            "overlaps": [{"fold": f.name, "key": "text", "roles": ["train", "test"], "shared": 4,
                          "utterances": [3, 2], "forbidden": False} for f in split.folds],
            "leaky": False, "shuffled_labels": False, "covers": "all", "refit": False,
        },
        "compute": {"device": "cpu", "precision": "fp32", "workers": 1},
        "tuning": [
            {"fold": f.name, "choice": {"hidden": 32} if trials else {}, "scope": "perfold" if trials else "fixed",
             "curve": [0.4 + t / 10 for t in range(trials)],
             "trials": [{"trial": t, "chosen": t == 0, **trial} for t in range(trials)]}
            for f in split.folds
        ],
        "frozen": [
            {"fold": f.name, "choice": {}, "epochs": {str(s): 3 for s in range(seeds)},
             "fits": {str(s): "0" * 16 for s in range(seeds)}, "frozen_at": "2026-01-01T00:00:00+00:00"}
            for f in split.folds
        ],
        "test_reads": [{"fold": f.name, "seed": s, "fit": "0" * 16, "read_at": "2026-01-01T00:00:01+00:00"}
                       for f in split.folds for s in range(seeds)],
        "fits": [
            {"fold": f.name, "seed": s, "identity": "0" * 16, "best_epoch": 3, "val_uar": 0.55, "history": curve,
             "seconds": 0.5, "n_parameters": 1000, "pruned": False, "reused": False}
            for f in split.folds for s in range(seeds)
        ],
        "val_uar": 55.0,
        "timing": {"wall_seconds": 1.0, "train_seconds_per_fit": 0.5 + draw, "predict_rtf": 0.001 * (1 + draw)},
        "environment": environment(),
        "figures": figures(predictions),
    }  # fmt: skip
    for section, values in (changes or {}).items():
        run[section] = {**run[section], **values}
    place = runs / (folder or f"{corpus}-{draw}-{row_id}")
    bundle.save(place, dump(config), split, predictions, {**run, **more})
    return place


@cache
def environment() -> dict[str, Any]:
    """The environment of all made bundles: asking git takes a while."""
    return bundle.environment()


def made_split(prefix: str = "") -> Split:
    """Three folds of two speakers each; the next fold's speakers validate."""
    ids = tuple(f"{prefix}{s}{i:02d}" for s in SPEAKERS for i in range(PER_SPEAKER))
    pairs = [tuple(range(2 * k * PER_SPEAKER, 2 * (k + 1) * PER_SPEAKER)) for k in range(3)]
    folds = (Fold(str(k + 1), pairs[(k + 2) % 3], pairs[(k + 1) % 3], pairs[k]) for k in range(3))
    return Split("pairs/1", ids, tuple(folds))


def drawn_predictions(split: Split, classes: tuple[str, ...], accuracy: float, draw: int, seeds: int) -> Predictions:
    """Predictions that are right about as often as `accuracy` says."""
    rng, targets = np.random.default_rng(draw), np.arange(len(split.ids)) % len(classes)
    fold_of = {i: fold.name for fold in split.folds for i in fold.test}
    frames = []
    for seed in range(seeds):
        logits = rng.normal(size=(len(targets), len(classes)))
        right = rng.random(len(targets)) < accuracy
        logits[right, targets[right]] = logits[right].max(1) + 1
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        columns = {f"p_{name}": p[:, k].astype(np.float32) for k, name in enumerate(classes)}
        frames.append(
            pd.DataFrame(
                {
                    "utterance": split.ids,
                    "fold": [fold_of[i] for i in range(len(targets))],
                    "seed": seed,
                    "speaker": [i[-3] for i in split.ids],
                    "style": "",
                    "target": targets,
                    "epoch": 3,
                    **columns,
                }
            )
        )
    return Predictions(pd.concat(frames, ignore_index=True), classes)


@pytest.fixture(scope="session")
def stressed():
    """A function that leaves in a bundle's folder what `sertbench stress` and `sertbench gaps` do, of drawn answers."""
    return write_stress


def write_stress(folder: Path, source: str = "") -> None:
    """`source` names the user's own noise."""
    from sertbench import gaps, gaps_groups, gaps_record, stress_record
    from sertbench.stress_kinds import CLEAN, Cell
    from sertbench.stress_scores import row

    run = bundle.load_run(folder)
    published = bundle.load_predictions(folder, run)
    rng, columns = np.random.default_rng(0), [f"p_{name}" for name in published.classes]
    cells = [Cell("white", 20), Cell("white", 0), Cell("own", 10, source=source), Cell("telephone", 1), Cell("alaw", 1)]
    cells += [
        Cell("opus", 32),
        Cell("opus", 8),
        Cell("gain", -20),
        Cell("gain", 20),
        Cell("reverb", 0.6),
        Cell("loss", 5),
    ]
    rows = [row(CLEAN, [published], published)]
    for k, cell in enumerate(cells):
        frame = published.frame.copy()
        mixed = rng.random(len(frame)) < (k + 1) / 20
        frame.loc[mixed, columns] = rng.dirichlet(np.ones(len(columns)), int(mixed.sum())).astype(np.float32)
        rows.append(row(cell, [Predictions(frame, published.classes)], published))
    stress_record.write(folder, rows, {})
    speakers = gaps_groups.speakers(published)
    groupings = {"gender": {u: "female" if s in "abc" else "male" for u, s in speakers.items()}, "speaker": speakers}
    measured = [gaps.measure(published, name, group_of, draws=50) for name, group_of in groupings.items()]
    gaps_record.write(folder, run, [gap for gap in measured if gap])


FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "wav2vec2-bert", "whisper")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A function that gives a folder with a tiny random checkpoint of a family, not to be changed."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("checkpoints")

    def get(family: str, **settings: Any) -> Path:
        name = "-".join([family, *(f"{key}-{value}" for key, value in settings.items())])
        if not (folder / name).exists():
            write_checkpoint(folder / name, family, **settings)
        return folder / name

    return get


def write_checkpoint(folder: Path, family: str, do_normalize: bool = True, **settings: Any) -> None:
    """Two blocks of 16 units with random weights, written by transformers itself."""
    import torch
    import transformers as hf

    from sertbench.pretrained import quiet

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    waves = {**small, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    whisper = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "vocab_size": 8}
    whisper |= {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in
                (("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
    whisper |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    raw = lambda: hf.Wav2Vec2FeatureExtractor(do_normalize=do_normalize)  # noqa: E731
    network, config, sizes, extractor = {
        "wav2vec2": (hf.Wav2Vec2Model, hf.Wav2Vec2Config, waves, raw),
        "hubert": (hf.HubertModel, hf.HubertConfig, waves, raw),
        "wavlm": (hf.WavLMModel, hf.WavLMConfig, waves, raw),
        "data2vec-audio": (hf.Data2VecAudioModel, hf.Data2VecAudioConfig, {**waves, "conv_pos_kernel_size": 5}, raw),
        "wav2vec2-bert": (hf.Wav2Vec2BertModel, hf.Wav2Vec2BertConfig, small, hf.SeamlessM4TFeatureExtractor),
        "whisper": (hf.WhisperModel, hf.WhisperConfig, whisper, hf.WhisperFeatureExtractor),
    }[family]
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(FAMILIES.index(family))
        network(config(**{**sizes, **settings})).save_pretrained(folder)
        extractor().save_pretrained(folder)
