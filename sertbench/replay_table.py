"""What a replay shows at its end: published, replayed and honest side by side, and what differs, in a line each."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from sertbench.board_rows import Row, text_of
from sertbench.claim import SCORES, Published
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.replay import Outcome
from sertbench.replay_plan import Setting
from sertbench.replay_stamp import optimistic


def show(outcome: Outcome, display: Display) -> None:
    """The table published / replayed / honest, and what differs, in a line each."""
    plan = outcome.plan
    lines = [line for s, row in zip(plan.settings, outcome.rows, strict=True) for line in lines_of(s, row)]
    for entry, rule, subset, figures in plan.absent:
        lines += absent_lines(plan.claim.names, rule.name, subset, entry.name, figures)
    columns = ["split", "subset", "model", "score", "published", "replayed", "last epoch", "honest", "optimism"]
    caption = (
        "Percent; mean ± SD over seeds. Last epoch: of the same fits, with no choice of the epoch. "
        "Honest: pooled over all utterances. Optimism: replayed minus honest, so the larger training part of the "
        "replay, the utterances that it drops and a mean of its folds are in it. Never ranked."
    )
    title = f"replay of {plan.claim.name} on {plan.corpus_name}, {plan.label_set}"
    display.table(title, columns, lines, caption)
    for text in optimistic(plan.settings):
        display.say(f"optimistic: {text}")
    for text in differences(outcome):
        display.say(f"differs: {text}")
    for text in plan.claim.not_known:
        display.say(f"not known: {text}")
    for text in lacking(outcome):
        display.say(text)
    display.say(f"rows in {outcome.board}: {len(outcome.rows)}" if outcome.rows else "nothing was replayed")


def lines_of(setting: Setting, row: Row) -> list[list[str]]:
    """The lines of one setting: a score each."""
    found = []
    for name in SCORES:
        cell = {kind: text_of(row.get(f"{kind}_{name}")) for kind in ("published", "replayed", "last_epoch", "honest")}
        for kind in ("published", "replayed"):
            sd = text_of(row.get(f"{kind}_{name}_sd"))
            cell[kind] += f" ± {sd}" if sd else ""
        optimism = row.get(f"optimism_{name}")
        found.append([
            setting.rule.name, setting.subset, setting.label, called(name, setting.claim.names),
            *(cell[kind] or "-" for kind in cell), "-" if optimism is None else f"{optimism:+.2f}",
        ])  # fmt: skip
    return found


def absent_lines(
    names: Mapping[str, str], rule: str, subset: str, model: str, figures: Published | None
) -> list[list[str]]:
    """The lines of a model that the registry lacks: what was published for it, or one line without."""
    said = {name: getattr(figures, name) for name in SCORES if figures is not None and getattr(figures, name)}
    if not said:
        return [[rule, subset, model, "-", "-", "not in the registry", "-", "-", "-"]]
    return [
        [rule, subset, model, called(n, names), " ± ".join(f"{x:.2f}" for x in v), "not in the registry", "-", "-", "-"]
        for n, v in said.items()
    ]


def called(name: str, names: Mapping[str, str]) -> str:
    """A score's name, with the paper's if that is another one."""
    return SCORES[name] + (f" ({names[name]!r} there)" if name in names else "")


def differences(outcome: Outcome) -> list[str]:
    """What differs, of the claim, of the splits and of the models that were replayed."""
    said = list(outcome.plan.claim.differs)
    for s in outcome.plan.settings:
        said += [f"{s.rule.name}: {text}" for text in s.rule.differs]
        said += [f"{s.plan.model.name}: {text}" for text in s.model.differs]
    return list(dict.fromkeys(said))


def lacking(outcome: Outcome) -> list[str]:
    """What to type for the honest rows that are missing, or why there can be none."""
    said = []
    for s, row in zip(outcome.plan.settings, outcome.rows, strict=True):
        if "honest_wa" not in row:
            plan, config = s.plan, s.plan.config
            if reason := never_ranked(plan):
                said.append(f"no honest row: {plan.model.name} on {plan.corpus_name} is never ranked ({reason})")
                continue
            words = ["sertbench", "run", "--model", config.model, "--dataset", config.dataset]
            words += ["--labels", str(config.labels)]
            words += ["--subset", s.subset] if s.subset != "all" else []
            words += ["--data", config.data] if config.data else []
            said.append(f"no honest row yet: {shlex.join(words)}")
    return list(dict.fromkeys(said))


def never_ranked(plan: Plan) -> str:
    """Why no run of this model on this corpus is ranked, whatever its protocol; empty if one can be."""
    if getattr(plan.model.cls, "diagnostic", False):
        return "diagnostic"
    return "synthetic corpus" if plan.corpus.synthetic else plan.corpus.unranked
