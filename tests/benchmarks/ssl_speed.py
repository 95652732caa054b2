"""Extraction speed and cache size of BASE-size encoders with random weights, on one thread and real recordings.

    python tests/benchmarks/ssl_speed.py --data ~/corpora/emodb --files 40

Speed is seconds of speech per second of CPU time, so that other work on the machine hardly counts; the wall clock is
shown beside it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers

from sertbench import audio, pretrained, ssl_features
from sertbench.pretrained_spec import ssl

MODELS = {
    "wav2vec2": (transformers.Wav2Vec2Model, transformers.Wav2Vec2Config),
    "hubert": (transformers.HubertModel, transformers.HubertConfig),
    "wavlm": (transformers.WavLMModel, transformers.WavLMConfig),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with .wav files, at any depth")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    paths = sorted(options.data.rglob("*.wav"))
    paths = paths[:: max(1, len(paths) // options.files)][: options.files]
    waves = [audio.load(path, "mono") for path in paths]
    seconds = sum(map(len, waves)) / 16_000
    print(f"{len(waves)} files, {seconds:.0f} s of speech; torch {torch.__version__}, one thread")  # noqa: T201
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["SERTBENCH_CACHE"] = place
        for name in options.models:
            folder, (network, config) = Path(place) / name, MODELS[name]
            with pretrained.quiet():
                network(config()).save_pretrained(folder)
                transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
            encoder = ssl_features.Encoder(pretrained.resolve(ssl(str(folder)), "cpu"))
            encoder.values(waves[0][None])
            wall, cpu = time.perf_counter(), time.process_time()
            size = sum(encoder.values(wave[None]).nbytes for wave in waves)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(  # noqa: T201
                f"{name}: {seconds / cpu:.1f} x real time per CPU second ({seconds / wall:.1f} by the wall clock); "
                f"{size / len(waves) / 1000:.0f} kB per utterance"
            )


if __name__ == "__main__":
    main()
