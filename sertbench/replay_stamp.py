"""The stamp of a replayed setting: which of its rules make its score optimistic."""

from __future__ import annotations

from collections.abc import Sequence

from sertbench import gate
from sertbench.corpus import Manifest
from sertbench.model import Estimator
from sertbench.protocols import ROLES, Split
from sertbench.replay_plan import Setting


def dishonest(setting: Setting) -> list[str]:
    """Which of its rules make a setting's score optimistic, worked out from the folds and rules themselves."""
    manifest, split, rule = setting.plan.manifest, setting.plan.split, setting.rule
    found = []
    speakers = [u.speaker for u in manifest.utterances]
    tested = shared = judged = 0
    for fold in split.folds:
        train, val, test = ({speakers[i] for i in fold.part(role)} for role in ROLES)
        tested, shared, judged = tested + len(test), shared + len(test & train), judged + len(test & val)
    if shared:
        found.append(f"{100 * shared / tested:.0f} % of the test speakers are in training")
    elif sessions := sessions_shared(manifest, split):
        found.append(sessions)
    if rule.epoch == "best on test":
        found.append("the epoch is chosen on the test part")
    flags = gate.flags(manifest, split)
    cls = setting.plan.model.cls
    chooses = issubclass(cls, Estimator) and not cls.diagnostic
    if chooses and flags.val_is_test and rule.epoch != "best on test":
        found.append("the model chooses among its own candidates on the test part")
    if rule.epoch == "best on validation" and judged and not shared:
        found.append(f"the epoch is chosen on {100 * judged / tested:.0f} % of the test speakers")
    if rule.epoch == "best on validation" and flags.val_speaker_overlap and not shared:
        found.append("validation shares speakers with training")
    if setting.dropped:
        found.append(f"{len(setting.dropped)} of {setting.n_before} utterances are dropped, test utterances too")
    return found


def sessions_shared(manifest: Manifest, split: Split) -> str:
    """How many of the test part's recording sessions are in training, in words; empty if none is.

    They matter where speakers are kept apart: the partner in a dialogue is then in training, room and scene with them.
    """
    tested = shared = 0
    for fold in split.folds:
        train, test = ({manifest.utterances[i].session for i in part} - {None} for part in (fold.train, fold.test))
        tested, shared = tested + len(test), shared + len(test & train)
    return f"{100 * shared / tested:.0f} % of the test part's recording sessions are in training" if shared else ""


def optimistic(settings: Sequence[Setting]) -> list[str]:
    """What makes each split optimistic, in a line per split and subset."""
    lines = (
        f"{s.rule.name}, {s.subset}: {'; '.join(dishonest(s)) or 'nothing that shows in the folds'}" for s in settings
    )
    return list(dict.fromkeys(lines))
