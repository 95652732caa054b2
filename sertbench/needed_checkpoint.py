"""The pre-trained checkpoint that a trained model needs and does not hold: known by its hash, wherever it lies now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sertbench import pretrained
from sertbench.errors import ConfigError
from sertbench.feature_spec import Features
from sertbench.pretrained_spec import Pretrained, refuse_unknown_user


def located(features: Features | None, source: str, place: str = "", asked: str | None = None) -> Features | None:
    """The same features, with their checkpoint found and its sizes read from it; features without one as they are.

    `asked`, a folder or hub id, is what the user says. Otherwise the checkpoint is looked for where it was seen last,
    at `place`, and under its own name. `source` is what needs it, in words. ConfigError, with what to type, if the
    checkpoint with the hash of `features` is at none of them, or if nothing needs the one that was asked for.
    """
    if not isinstance(features, Pretrained):
        if asked is not None:
            raise ConfigError(f"--checkpoint {asked}: {source} needs no checkpoint. Leave --checkpoint out")
        return features
    pretrained.versions()
    if asked is not None:
        found = resolved(features, asked)
        if found.sha256 != features.sha256:
            raise ConfigError(sentence(features, source, another(asked, found)))
        return replace(found, checkpoint=features.checkpoint)
    noted = pretrained.noted(features.sha256)
    places = [str(noted)] if noted else []
    places += [place] if place else []
    if pretrained.HUB_ID.fullmatch(features.checkpoint) or Path(features.checkpoint).name == features.checkpoint:
        places.append(features.checkpoint)  # an exported model may come from anywhere, and names no folder elsewhere
    wrong = ""
    for where in places:
        try:
            found = resolved(features, where)
        except ConfigError as error:
            wrong = wrong or (f", and what lies there cannot be used: {error}" if Path(where).is_dir() else "")
            continue
        if found.sha256 == features.sha256:
            return replace(found, checkpoint=features.checkpoint)
        wrong = wrong or another(where, found)
    gone = dict.fromkeys(Path(place).expanduser().resolve() for place in places if place != features.checkpoint)
    absent = ", which is not at hand" + "".join(f"; it is not in {folder} any more" for folder in gone)
    raise ConfigError(sentence(features, source, wrong or absent))


def resolved(features: Pretrained, place: str) -> Pretrained:
    """The features by whatever checkpoint lies at a place."""
    refuse_unknown_user(place)
    return pretrained.resolve(replace(features, checkpoint=place), getattr(features, "device", "cpu"))


def another(place: str, found: Pretrained) -> str:
    """The clause for a checkpoint that has another hash."""
    return f", and {place} is another one, or was changed since: its hash is {found.sha256[:12]}"


def sentence(features: Pretrained, source: str, wrong: str) -> str:
    """What is needed, what is wrong with it, and what to type."""
    need = f"{source} needs the checkpoint {features.checkpoint} with the hash {features.sha256[:12]}{wrong}"
    if pretrained.HUB_ID.fullmatch(features.checkpoint):
        download = f"hf download {features.checkpoint} {' '.join(pretrained.FILES)} --local-dir FOLDER"
        return f"{need}. Where there is a network, type `{download}`, then this command with --checkpoint FOLDER"
    return f"{need}. Say where its folder lies now: --checkpoint FOLDER"
