"""The model card of an exported model: README.md as Hugging Face reads it, with its `model-index`.

After Mitchell et al., Model cards for model reporting, FAT* 2019.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sertbench import gate
from sertbench.cards import table
from sertbench.errors import counted
from sertbench.feature_spec import Features, SslSpec, WaveformSpec
from sertbench.model_config import ModelConfig
from sertbench.pretrained import HUB_ID

NOT_FOR = (
    "surveillance, or telling the emotions of people who do not know of it or have not agreed to it",
    "detecting lies, and deciding on people: recruitment, schools, credit, insurance, police, borders, courts",
    "diagnosis, or anything else of medicine",
    "emotion at work and in education, which the EU's AI Act (Regulation 2024/1689, article 5) prohibits but for "
    "medical and safety reasons",
)


def markdown(config: ModelConfig, run: Mapping[str, Any], corpus: Mapping[str, str], onnx: str, no_onnx: str) -> str:
    """The whole card."""
    name, about = f"{config.name}-{run['corpus']['name']}", run["corpus"]
    acted = "It is synthetic: nothing here says anything about people." if about["synthetic"] else ""
    parts = [
        f"---\n{front_matter(name, config, run)}---",
        f"# {name}\n\nSpeech emotion recognition: {', '.join(config.classes)}. Model `{config.name}` "
        f"({run['model']['family']}; {run['model']['paper']}), trained on {about['name']} (label set "
        f"{about['label_set']}, subset {about['subset']}) by sertbench {run['environment']['sertbench']}.",
        f"## Use\n\n{use(config, onnx, no_onnx)}",
        f"## How it was evaluated\n\n{evaluated(config, run)}",
        "## Intended use\n\nResearch on speech emotion recognition: to repeat the figures above, to compare with, to "
        "study errors. Not for:\n\n" + "\n".join(f"- {one};" for one in NOT_FOR[:-1]) + f"\n- {NOT_FOR[-1]}.",
        f"## Limits\n\n{limits(config, run, acted)}",
        f"## Training data and licence\n\n{data(run, corpus)}",
        f"## What is in the folder\n\n{contents(config, onnx)}",
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(name: str, config: ModelConfig, run: Mapping[str, Any]) -> str:
    """YAML, whose texts are written as JSON writes them."""
    corpus, figures = run["corpus"], run["figures"]
    text = json.dumps
    interval = f"95 % interval {figures['uar_ci95_lo']} to {figures['uar_ci95_hi']}"
    metrics = [
        ("recall", f"UAR, percent, pooled over the test folds, mean over seeds; {interval}", "uar_pooled_mean"),
        ("accuracy", "WA (accuracy), percent", "wa"),
        ("f1", "macro F1, percent", "macro_f1"),
    ]
    lines = [
        "library_name: sertbench",
        "pipeline_tag: audio-classification",
        "tags: [speech-emotion-recognition, sertbench]",
        "license: other",
        f"license_name: {text('as the corpus allows: ' + str(corpus['licence']), ensure_ascii=False)}",
        f"datasets: [{text(corpus['name'])}]",
        *([f"base_model: {text(base)}"] if (base := hub_id(config)) else []),
        "model-index:",
        f"- name: {text(name)}",
        "  results:",
        "  - task: {type: audio-classification, name: Speech Emotion Recognition}",
        f"    dataset: {{name: {text(corpus['name'])}, type: {text(corpus['name'])}, "
        f"config: {text(corpus['label_set'])}, split: {text(run['protocol']['name'])}}}",
        "    metrics:",
    ]
    for kind, words, figure in metrics:
        lines += [f"    - type: {kind}", f"      name: {text(words)}", f"      value: {figures[figure]}"]
    return "\n".join(lines) + "\n"


def hub_id(config: ModelConfig) -> str:
    """The checkpoint that it needs, if that has a page on the hub; else empty."""
    name = config.needs_checkpoint.name if config.needs_checkpoint else ""
    return name if HUB_ID.fullmatch(name) else ""


def use(config: ModelConfig, onnx: str, no_onnx: str) -> str:
    """What to type."""
    extra = "" if config.plugin else " --model FILE.py"
    needed = "export,ssl" if config.needs_checkpoint else "export"
    example = f"    pip install 'sertbench[{needed}]'\n    sertbench predict FOLDER file.wav{extra}"
    recipe = config.members[0].recipe
    heard = "whole utterances"
    if recipe.window is not None:
        heard = f"windows of {recipe.window} s every {recipe.hop} s; an utterance's answer is the mean of the "
        heard += f"{recipe.average} of its windows"
    normaliser = "; the normaliser's mean and deviation are tensors of the weights file" * normalises(config)
    assert recipe.features is not None, "models without features are not exported"
    lines = [
        example,
        *checkpoint(config),
        f"It takes {config.sample_rate} Hz mono (other rates are resampled with soxr HQ, channel rule "
        f"`{config.channel}`), {recipe.features.summary}, {heard}. `config.json` has every setting{normaliser}.",
        f"`model.onnx`: {onnx}. It takes {onnx_input(recipe.features)} and, if it asks, `lengths` (valid frames of "
        "each), and gives `logits`."
        if onnx
        else f"There is no `model.onnx`: {no_onnx}.",
    ]
    return "\n\n".join(lines)


def normalises(config: ModelConfig) -> bool:
    """Whether what was trained has a normaliser in front of it."""
    return config.kind == "network" and config.members[0].recipe.normalise == "train"


def checkpoint(config: ModelConfig) -> list[str]:
    """What the folder does not hold and a prediction needs."""
    needs, features = config.needs_checkpoint, config.members[0].recipe.features
    if needs is None:
        return []
    where = "the hub" if hub_id(config) else "its trainers' own folder; whoever has this one needs that one too"
    what = "its frozen hidden states are the features"
    if isinstance(features, WaveformSpec):
        what = "the network is made by its configuration; the trained weights of all blocks are in this folder"
    return [
        f"**It needs the pre-trained checkpoint `{needs.name}`** (from {where}; SHA-256 `{needs.sha256}` over "
        f"configuration, preprocessor and weights), which is not in this folder: {what}. `sertbench predict` looks for "
        "it where it was seen last and by its name, and refuses another one; `--checkpoint FOLDER` says where it is. "
        "The licence of the checkpoint holds as well."
    ]


def onnx_input(features: Features) -> str:
    """What the ONNX file is given, in words."""
    if isinstance(features, WaveformSpec):
        level = " (each window brought to mean 0 and variance 1)" if features.normalise else ""
        return f"`features` (batch, 1, samples), the waveform at 16 kHz{level}"
    if isinstance(features, SslSpec):
        first, *_, last = (features.chosen[0], *features.chosen)
        layers = f"layer {first}" if first == last else f"layers {first} to {last} in this order"
        shape, what = f"{features.rows}, frames", f"{features.hidden} hidden units of {layers}, 50 frames per second"
        if features.kind == "ssl":
            shape = f"{features.rows}, {len(features.chosen)}"
            what = f"mean and deviation over time of {features.hidden} hidden units, a column per layer, {layers}"
        return (
            f"`features` (batch, {shape}) before normalisation, hidden states of the checkpoint ({what}; the encoder, "
            "which computes them from audio, is not in it)"
        )
    return "`features` (batch, rows, frames) before normalisation"


def evaluated(config: ModelConfig, run: Mapping[str, Any]) -> str:
    """The figures and what they are of."""
    figures, protocol, flags = run["figures"], run["protocol"], run["protocol"]["flags"]
    names = {"uar_pooled_mean": "UAR", "wa": "WA", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
    rows = [(words, figures[name]) for name, words in names.items()]
    rows[0] = ("UAR", f"{figures['uar_pooled_mean']} [{figures['uar_ci95_lo']}, {figures['uar_ci95_hi']}]")
    rows += [(f"recall, {c}", figures[f"recall_{c}"]) for c in config.classes]
    apart = "no speaker of a test fold was in its training or validation part"
    told = gate.flag_in_words("speaker_independent", flags["speaker_independent"], protocol["overlaps"])
    warning = f" **Whether test speakers were in training is {told}.**"
    if told == "no":
        warning = " **Test speakers were in training: these figures are too high.**"
    parts = [
        f"Cross-validated under `{protocol['name']}` (hash {protocol['sha256'][:12]}): "
        f"{counted(figures['n_folds'], 'fold')}, {counted(figures['n_seeds'], 'seed')}, {figures['n_utt_scored']} "
        f"utterances. Hyperparameters and epochs were chosen on "
        f"validation parts, and each test part was read once" + (f"; {apart}." if told == "yes" else f".{warning}"),
        table(("percent", "pooled over folds, mean over seeds [95 % interval over speakers and seeds]"), rows),
    ]
    if run["protocol"]["leaky"] or run["protocol"]["shuffled_labels"]:
        parts.append("**The run leaks, or its labels were shuffled: the figures are no evidence.**")
    if len(config.members) == 1:
        one = config.members[0]
        own = figures.get(f"uar_fold_{one.fold}")
        parts.append(
            f"They are of all fits of the run. This one is of fold {one.fold}, seed {one.seed} (UAR "
            f"{100 * one.val_uar:.2f} on its validation part, by which it may have been chosen; the fold's test part: "
            f"{own}, mean over seeds)."
        )
    else:
        heard = len({member.fold for member in config.members}) > 1  # those of a single fold share its test part
        parts.append(
            f"They are of single fits. The ensemble of the {len(config.members)} here has no figure of its own"
            + (": what one of them was tested on, another one may have been trained on." if heard else ".")
        )
    return "\n\n".join(parts)


def limits(config: ModelConfig, run: Mapping[str, Any], acted: str) -> str:
    """What it cannot do."""
    figures = run["figures"]
    worst = f"The speaker with whom it does worst has a UAR of {figures['worst_speaker_uar']} percent."
    lines = [
        acted,
        f"It always answers with one of {len(config.classes)} classes, also for music, noise and silence, and for "
        "emotions that are none of them.",
        "Its classes are what the corpus's actors were asked for or its raters heard, not what anybody felt.",
        "In another corpus, language, room or microphone expect much less; `sertbench cross` measures how "
        "much on the corpora that you have.",
        worst,
        f"Alarms of the run: {figures['alarms']}." if figures["alarms"] else "",
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def data(run: Mapping[str, Any], corpus: Mapping[str, str]) -> str:
    """Which corpus, and on which terms."""
    lines = [
        f"{run['corpus']['name']}, {run['corpus']['n_utterances']} utterances"
        + (f", {corpus['language']}" if corpus["language"] not in ("", "none") else "")
        + f". Licence of the corpus: {run['corpus']['licence']}. Whether weights that were trained on it may be passed "
        "on depends on it: read it before you publish this folder. No audio is in it.",
        corpus["citation"],
    ]
    if licence := run.get("features", {}).get("licence", ""):
        lines.append(f"Its features: {licence}")
    return "\n\n".join(line for line in lines if line)


def contents(config: ModelConfig, onnx: str) -> str:
    """The files."""
    files = ", ".join(f"`{m.weights}`" for m in config.members)
    normaliser = normalises(config)
    what = f"weights{' and normaliser' * normaliser}" if config.kind == "network" else "what the estimator learnt"
    rows = [
        ("`config.json`", "model, features, windows, classes, versions; `sertbench predict` refuses unknown keys"),
        (files, f"{what}, safetensors; the hash is in `config.json`"),
        ("`audio.json`", "hashes of the corpus's recordings, so that a file that was in training is recognised"),
    ]
    if onnx:
        head = isinstance(config.members[0].recipe.features, SslSpec)
        said = " with its normaliser" * normaliser + ", without the encoder" * head
        rows.append(("`model.onnx`", f"the same network{said}"))
    return table(("file", "what"), rows)
