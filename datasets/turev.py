"""TurEV-DB, the Turkish emotion-voice database (2020): 1735 utterances of one word, 6 speakers, Turkish.

Amateur actors say 82 words in four emotions, each once; one speaker has no calm and no happy words, another 29 happy
ones. 0.46 h, 44.1 kHz: about one second each. There is calm and no neutral. All speaker folds share the words.

A file is `Sound Source/Calm/1984_sk_eger.wav`: speaker 1984, emotion sk, word. One file has a word of the name `ogul1`:
it is counted as `ogul`. The spectrograms that the repository holds as well are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {"kz": "angry", "mt": "happy", "hl": "sad", "sk": "calm"}
SPEAKERS = ("1157", "1234", "1358", "1984", "6783", "7895")
FIVE = {"1157-7895": ("1157", "7895"), **{speaker: (speaker,) for speaker in SPEAKERS[1:-1]}}  # all emotions in each
WORD_LIST = """
    acik algi beste bugu cay cekirge cene ceren cilek defne demet demir deve deyim dil dizge dugun eger elmacik eski
    firildak gezi gicik goz gunes gurbuz hekim igde isirgan japon kagit karton kedi kemik kibir kiler kirgin koku konuk
    koy kulac kusluk kustah lokma lufer melek mujde nasil nicin odenek ogul okul olcut ordek orgu pamuk pas pihti rihtim
    saf sarap sarj satir senlik sepet serin sevgi simit soba sucuk tahta tembel tirtil turev unlu utanc vurgu yanki
    yazim yigilmak yigin zeytin
"""
WORDS = tuple(WORD_LIST.split())
TEXTS = {str(k + 1): WORDS[k::5] for k in range(5)}
UNPUBLISHED = {
    "1157_kz": "defne kirgin koy nasil orgu",
    "1157_hl": "cekirge ceren demir deve okul olcut ordek sarap senlik",
    "1157_sk": WORD_LIST,
    "1157_mt": WORD_LIST,
    "7895_sk": "elmacik okul",
    "7895_mt": """
        acik algi beste cay cekirge ceren defne demet deve deyim dil dugun eger elmacik firildak gezi gicik
        goz gurbuz igde isirgan japon kagit karton kedi kiler koku koy lokma mujde nicin odenek olcut ordek
        orgu pamuk pihti rihtim saf sarap sarj senlik sepet serin simit soba tahta tirtil vurgu yanki
        yigilmak yigin zeytin
    """,
}
NAME = re.compile(rf"(?P<id>(?P<speaker>{'|'.join(SPEAKERS)})_(?P<code>[a-z]+)_(?P<word>[a-z]+))1?")


class TurEV(Corpus):
    """TurEV-DB: 1735 acted Turkish words, 6 speakers, 4 emotions."""

    citation = (
        "S. F. Canpolat, Z. Ormanoglu, D. Zeyrek: Turkish Emotion Voice Database (TurEV-DB). "
        "SLTU-CCURL at LREC 2020, 368-375"
    )
    licence = "CC BY-NC-ND 4.0"
    access = "Type `git clone https://github.com/Xeonen/TurEV-DB.git` and give its folder `Sound Source`."
    language = "Turkish"
    hours = 0.46
    archives = (
        Archive(
            "https://codeload.github.com/Xeonen/TurEV-DB/tar.gz/be9873eccbc40538acbeb5e67c718bda96763cf3",
            "TurEV-DB.tar.gz",
            "git:81a632d8a3b05135a28f1f9f6b8e5dcae9cc5eb3",
            size=348_313_059,
            inside="TurEV-DB-be9873eccbc40538acbeb5e67c718bda96763cf3/Sound Source",
        ),
    )
    layout = "folders Angry, Calm, Happy and Sad with 1735 files in all, such as Calm/1984_sk_eger.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "4class",
            mapping={label: label for label in LABELS.values()},
            counts={"angry": 487, "happy": 357, "sad": 483, "calm": 408},
            speakers={"1157": 150, "1234": 328, "1358": 328, "1984": 328, "6783": 328, "7895": 273},
            note="calm, not neutral",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=FIVE,
            summary="5 folds of one speaker, the two incomplete ones together; the next validates",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of 16 or 17 words; the next ones validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text25",
            version=1,
            key="speaker",
            groups=FIVE,
            texts=TEXTS,
            summary="25 folds of one or two speakers saying 16 or 17 words; no role shares a speaker or a word",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["word"] not in WORDS:
                raise CorpusError(f"{path} is not named like a file of TurEV-DB. Expected: {self.layout}")
            yield Utterance(
                id=parts["id"],
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                text=parts["word"],
                language="tr",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 1735 published names: 6 speakers x 4 emotions x 82 words, without what was not published."""
        names = set()
        for speaker, code in product(SPEAKERS, LABELS):
            cell = f"{speaker}_{code}"
            words = set(WORDS) - set(UNPUBLISHED.get(cell, "").split())
            names |= {f"{cell}_{word}" for word in words}
        return frozenset(names)
