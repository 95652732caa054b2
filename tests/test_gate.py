"""The leakage gate names what two roles share, whatever it is, and lets clean folds pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertbench import audio, gate
from sertbench.corpus import Manifest, Utterance
from sertbench.errors import LeakError, ProtocolError
from sertbench.protocols import Fold, GroupFolds, Split

PROMISE = {"speaker": "all"}


def utterance(number: int) -> Utterance:
    """One of 18: six speakers in three sessions, each says three sentences of its own in a dialogue of its own."""
    speaker = number // 3
    return Utterance(
        id=f"u{number:02d}",
        path=Path(f"u{number:02d}.wav"),
        label="neutral",
        speaker=f"s{speaker}",
        session=f"ses{speaker // 2}",
        dialogue=f"d{speaker}",
        text=f"t{number}",
        recording=f"r{speaker}",
    )


def manifest(**changes: dict[str, str | None]) -> Manifest:
    """The 18 utterances, with fields changed: {"u03": {"text": "t0"}}."""
    utterances = tuple(replace(utterance(n), **changes.get(f"u{n:02d}", {})) for n in range(18))
    hashes = tuple(f"{n:064x}" for n in range(18))
    return Manifest("toy", "all", "all", ("neutral",), utterances, (0,) * 18, hashes, (2.0,) * 18)


def split_of(data: Manifest, *folds: Fold) -> Split:
    return Split("toy/1", tuple(u.id for u in data.utterances), folds)


def three_folds() -> tuple[Fold, ...]:
    """Sessions in turn: test k, validation k + 1, training on the third."""
    parts = [tuple(range(6 * k, 6 * k + 6)) for k in range(3)]
    return tuple(Fold(str(k + 1), parts[(k + 2) % 3], parts[(k + 1) % 3], parts[k]) for k in range(3))


def leaks(found: tuple[gate.Overlap, ...]) -> set[tuple[str, str, tuple[str, str]]]:
    return {(o.fold, o.key, o.roles) for o in found if o.forbidden}


def test_clean_folds_pass() -> None:
    data = manifest()
    found = gate.overlaps(data, split_of(data, *three_folds()), {"speaker": "all", "session": "all", "text": "all"})
    assert not any(o.values for o in found)
    assert gate.enforce(found, allow=False) is False


@pytest.mark.parametrize(
    ("key", "value"), [("speaker", "s0"), ("session", "ses0"), ("dialogue", "d0"), ("text", "t0"), ("recording", "r0")]
)
def test_a_shared_value_is_named_with_fold_roles_and_number(key: str, value: str) -> None:
    data = manifest(u06={key: value}, u07={key: value})
    promised = {} if key == "recording" else {key: "all"}
    found = gate.overlaps(data, split_of(data, *three_folds()), promised)
    leak = next(o for o in found if o.forbidden and o.fold == "1")
    assert (leak.key, leak.roles, leak.values, leak.utterances[0]) == (key, ("val", "test"), (value,), 2)
    assert leaks(found) == {("1", key, ("val", "test")), ("2", key, ("train", "test")), ("3", key, ("train", "val"))}
    with pytest.raises(LeakError, match=rf"1 +{key} +val and test +1 .*{value}"):
        gate.enforce(found, allow=False)


def test_a_value_that_is_not_promised_is_reported_and_allowed() -> None:
    data = manifest(u06={"text": "t0"})
    found = gate.overlaps(data, split_of(data, *three_folds()), PROMISE)
    assert [o.values for o in found if o.values] == [("t0",)] * 3
    assert gate.enforce(found, allow=False) is False


def test_a_promise_for_the_test_part_lets_training_and_validation_share() -> None:
    data = manifest()
    fold = Fold("1", (0, 1, 3, 4, 6, 7, 9, 10), (2, 5, 8, 11), tuple(range(12, 18)))
    split = split_of(data, fold)
    recordings = {f"u{n:02d}": {"recording": None} for n in range(18)}
    data = manifest(**recordings)
    assert leaks(gate.overlaps(data, split, {"speaker": "test"})) == set()
    assert leaks(gate.overlaps(data, split, {"speaker": "all"})) == {("1", "speaker", ("train", "val"))}


def test_an_utterance_in_two_roles_is_forbidden_without_any_promise() -> None:
    data = manifest(**{f"u{n:02d}": {"recording": None} for n in range(18)})
    first, second, third = three_folds()
    found = gate.overlaps(data, split_of(data, replace(first, train=(*first.train, 0)), second, third), {})
    assert leaks(found) == {("1", "utterance", ("train", "test"))}


def test_values_that_are_not_known_never_match() -> None:
    data = manifest(**{f"u{n:02d}": {"text": None} for n in range(0, 18, 2)})
    assert leaks(gate.overlaps(data, split_of(data, *three_folds()), {"text": "all"})) == set()


def test_a_file_under_another_name_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(8000).astype(np.float32) / 10 for _ in range(18)]
    waves[13] = waves[2]
    paths = [tmp_path / f"u{n:02d}.wav" for n in range(18)]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave, 16000)
    data = replace(manifest(), audio_sha256=tuple(info.sha256 for info in audio.probe_all(paths)))
    found = gate.overlaps(data, split_of(data, *three_folds()), PROMISE)
    assert {(o.fold, o.values) for o in found if o.key == "audio" and o.values} == {
        ("1", (("u13", "u02"),)),
        ("2", (("u02", "u13"),)),
        ("3", (("u02", "u13"),)),
    }
    with pytest.raises(LeakError, match="u13 = u02"):
        gate.enforce(found, allow=False)


def test_many_equal_clips_are_all_counted() -> None:
    data = manifest()
    data = replace(data, audio_sha256=("0" * 64,) * 18)
    found = gate.overlaps(data, split_of(data, *three_folds()), {})
    audio_leaks = [o for o in found if o.key == "audio"]
    assert all(o.utterances == (6, 6) and o.forbidden for o in audio_leaks)
    assert len(audio_leaks) == 9


def test_near_copies_count_once_and_only_across_roles() -> None:
    data = manifest()
    data = replace(data, audio_sha256=(*data.audio_sha256[:17], data.audio_sha256[0]))
    near = [(0, 1), (5, 6), (0, 17)]  # in one role; across; the same audio, which has a row of its own
    found = gate.overlaps(data, split_of(data, *three_folds()), PROMISE, near)
    assert {(o.fold, o.roles): o.values for o in found if o.key == "near audio" and o.values} == {
        ("1", ("val", "test")): (("u06", "u05"),),
        ("2", ("train", "test")): (("u05", "u06"),),
        ("3", ("train", "val")): (("u06", "u05"),),
    }
    assert all(o.forbidden for o in found if o.key == "near audio" and o.values)


def test_allowed_leaks_stamp_the_row() -> None:
    data = manifest(u06={"speaker": "s0"})
    found = gate.overlaps(data, split_of(data, *three_folds()), PROMISE)
    assert gate.enforce(found, allow=True) is True


def test_the_message_says_what_to_type() -> None:
    data = manifest(**{f"u{n:02d}": {"speaker": "s0"} for n in range(18)})
    with pytest.raises(LeakError, match=r"(?s)3 of 3 .*fold +what +between .*--allow-leak"):
        gate.enforce(gate.overlaps(data, split_of(data, *three_folds()), PROMISE), allow=False)


def test_the_table_has_every_key_fold_and_pair_and_survives_json() -> None:
    data = manifest(u06={"text": "t0"}, **{f"u{n:02d}": {"dialogue": None} for n in (0, 1, 2)})
    rows = gate.table(gate.overlaps(data, split_of(data, *three_folds()), PROMISE))
    assert json.loads(json.dumps(rows)) == rows
    assert len({(r["fold"], r["key"], *r["roles"]) for r in rows}) == len(rows) == 3 * 3 * 8
    assert [r["shared"] for r in rows if r["key"] == "text"].count(1) == 3


def test_a_key_that_the_corpus_does_not_know_is_left_out_and_cannot_be_promised() -> None:
    data = manifest(**{f"u{n:02d}": {"session": None} for n in range(18)})
    split = split_of(data, *three_folds())
    assert "session" not in {o.key for o in gate.overlaps(data, split, PROMISE)}
    with pytest.raises(ProtocolError, match="promises to keep every session in one role"):
        gate.overlaps(data, split, {"session": "all"})


@pytest.mark.parametrize(("promised", "message"), [({"speakr": "all"}, "'speaker'"), ({"speaker": "tests"}, "'test'")])
def test_a_misspelt_promise_is_refused(promised: dict[str, str], message: str) -> None:
    data = manifest()
    with pytest.raises(ProtocolError, match=message):
        gate.overlaps(data, split_of(data, *three_folds()), promised)


def test_folds_that_are_no_split_are_refused() -> None:
    data = manifest()
    first, second, third = three_folds()

    def refused(message: str, *folds: Fold) -> None:
        with pytest.raises(ProtocolError, match=message):
            gate.overlaps(data, split_of(data, *folds), {})

    refused("no folds")
    refused("fold 1: no utterance to val", replace(first, val=()), second, third)
    refused("more than one fold: u06", replace(first, test=(*first.test, 6)), second, third)
    without = {role: tuple(set(first.part(role)) - {0, 17}) for role in gate.ROLES}
    refused("2 utterances in no fold: u00, u17", replace(first, **without))
    refused("outside 0 ... 17", replace(first, train=(18,)), second, third)
    refused("names an utterance twice", replace(first, train=(12, 12)), second, third)


def test_folds_of_other_utterances_are_refused() -> None:
    data = manifest()
    split = split_of(data, *three_folds())
    with pytest.raises(ProtocolError, match="another order"):
        gate.overlaps(data, replace(split, ids=split.ids[::-1]), {})


def test_flags_come_from_the_folds() -> None:
    data = manifest(u06={"text": "t0"})
    by_session = GroupFolds("sessions", 1, "session", {f"ses{k}": (f"ses{k}",) for k in range(3)})
    assert gate.flags(data, by_session.split(data.utterances)) == gate.SplitFlags(
        speaker_independent=True,
        text_independent=False,
        session_independent=True,
        val_speaker_overlap=False,
        val_is_test=False,
    )
    mixed = Fold("1", tuple(range(0, 18, 3)), tuple(range(1, 18, 3)), tuple(range(1, 18, 3)))
    assert gate.flags(data, split_of(data, mixed)) == gate.SplitFlags(
        speaker_independent=False,
        text_independent=False,
        session_independent=False,
        val_speaker_overlap=True,
        val_is_test=True,
    )


def test_what_the_corpus_does_not_know_is_not_called_independent() -> None:
    data = manifest(**{f"u{n:02d}": {"text": None} for n in range(18)})
    assert gate.flags(data, split_of(data, *three_folds())).text_independent is False


@pytest.mark.parametrize("unknown", [0, 8, 12])  # in the fold's test, validation and training part
def test_one_utterance_of_any_role_that_is_not_known_is_enough_not_to_call_folds_independent(unknown: int) -> None:
    assert gate.flags(manifest(), split_of(manifest(), three_folds()[0])).text_independent is True
    data = manifest(**{f"u{unknown:02d}": {"text": None}})
    assert gate.flags(data, split_of(data, three_folds()[0])).text_independent is False


def test_folds_of_one_name_are_refused() -> None:
    """Fits are known by their fold's name: the second fold would be predicted by what its test part trained."""
    data = manifest()
    first, second, third = three_folds()
    with pytest.raises(ProtocolError, match="several folds that are called 1"):
        gate.overlaps(data, split_of(data, first, replace(second, name="1"), third), PROMISE)
