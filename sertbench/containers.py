"""What audio files themselves say of their length, where libsndfile does not look, or guesses.

It reads a truncated wav, aiff or ogg file without complaint, and of one that holds several only the first. The length
of an mp3 file that does not tell it (in a Xing or Info header) it guesses from the bit rate of the first frame, and it
reads no more than that.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

STREAMED = 0x7FFF0000  # programs that write wav to a pipe put 0 or a number near 2^31 or 2^32 where the size should be
SPARE = 8192  # bytes after the audio that may be padding
KBPS = (  # of layer III, by the index in the frame's header: MPEG 1, and MPEG 2 and 2.5
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version
LEAST_FRAME = 24  # bytes: 8 kbit/s at 24 kHz

Fault = tuple[str, str]  # in words, and the `fault` of an AudioError


def length_fault(file: BinaryIO, size: int) -> Fault | None:
    """What is wrong with the length of a wav, aiff or ogg file of `size` bytes; None for nothing, or another format."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _chunks_fault(file, size, "<4sI", b"data")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _chunks_fault(file, size, ">4sI", b"SSND")
    return _pages_fault(file, size) if head[:4] == b"OggS" else None


def _truncated(size: int, promised: int) -> Fault:
    return f"truncated, {size} of {promised} bytes are there", "truncated"


def _chunks_fault(file: BinaryIO, size: int, form: str, audio: bytes) -> Fault | None:
    """Of a file of chunks, with its samples in the chunk `audio`; without it or its length it has none."""
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(form, file.read(8))
        at += 8 + length
        if name == audio:
            if not 0 < length < STREAMED:
                return None
            if at > size:
                return _truncated(size, at)
            if _ends(file, size, form, at) or _ends(file, size, form, at + length % 2):
                return None
            file.seek(at)
            several = file.read(5).lstrip(b"\0")[:4] in (b"RIFF", b"FORM")
            if several or size - at > max(SPARE, length // 10):
                text = f"goes on for {size - at} bytes after the end that its header tells: several files in one, or a"
                return f"{text} header that was not completed", "header"
            return None
        at += length % 2
    return None


def _ends(file: BinaryIO, size: int, form: str, at: int) -> bool:
    """Whether nothing but whole chunks follow."""
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(form, file.read(8))
        at += 8 + length
        if name in (b"RIFF", b"FORM") or not all(32 <= byte < 127 for byte in name) or at > size:
            return False
        at += length % 2
    return True


def _pages_fault(file: BinaryIO, size: int) -> Fault | None:
    """Of an ogg file (RFC 3533). What lies between pages is left to the decoder."""
    at, begun = 0, False
    while at < size:
        file.seek(at)
        page = file.read(27)
        if not page.startswith(b"OggS"[: len(page)]):
            return None
        table = file.read(page[26]) if len(page) == 27 else b""
        if len(page) < 27 or len(table) < page[26]:
            return _truncated(size, at + 27 + (page[26] if len(page) == 27 else 0))
        first = bool(page[5] & 2)  # the first page of a stream; those that sound together all begin before the others
        if first and begun:
            return "several streams one after another, of which the first alone would be read", "header"
        begun = begun or not first
        at += 27 + len(table) + sum(table)
        if at > size:
            return _truncated(size, at)
    return None


def mp3_with_length(content: bytes, guess: int) -> bytes | None:
    """An mp3 file with a frame put before it that tells more samples than can be: all is decoded, however many.

    None for other files, and where none is needed: the file tells its length, or the `guess` of libsndfile (samples)
    is right. Raises ValueError for a file that goes on after the end that it tells.
    """
    at = _first_frame(content)
    if at is None:
        return None
    head = int.from_bytes(content[at : at + 4], "big")
    version, mono = head >> 19 & 3, head >> 6 & 3 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag = content[at + 4 + side : at + 4 + side + 16]
    if tag[:4] in (b"Xing", b"Info") and tag[7] & 1:
        told = int.from_bytes(tag[12:16], "big") if tag[7] & 2 else 0
        end = at + told
        if told and len(content) - end > max(SPARE, told // 10) and _frame(content, end):
            raise ValueError(
                f"it goes on for {len(content) - end} bytes after the end that its header tells: several files in one"
            )
        return None
    n_frames, end = _frames(content, at)
    if guess == n_frames * (1152 if version == 3 else 576):
        return None
    plain = head | 1 << 16  # without a checksum
    plain = plain & ~(0xF << 12) & ~(1 << 9) | (5 if version == 3 else 8) << 12  # 64 kbit/s, without padding
    frame = plain.to_bytes(4, "big") + bytes(side) + b"Info" + struct.pack(">II", 1, len(content) // LEAST_FRAME + 1)
    return frame.ljust(_frame(plain.to_bytes(4, "big"), 0), b"\0") + content[at:end]


def _first_frame(content: bytes) -> int | None:
    """Where the first frame of layer III begins, which another one follows."""
    at = _after_tags(content, 0)
    for start in range(at, min(at + (1 << 16), len(content) - 4)):
        if content[start] == 0xFF and (length := _frame(content, start)):
            end = start + length
            if end >= len(content) or _frame(content, end):
                return start
    return None


def _after_tags(content: bytes, at: int) -> int:
    """Where the ID3v2 tags end that begin there."""
    while content[at : at + 3] == b"ID3" and len(content) >= at + 10:
        bits = content[at + 6 : at + 10]
        at += 10 + sum((bits[i] & 0x7F) << 7 * (3 - i) for i in range(4)) + (10 if content[at + 5] & 0x10 else 0)
    return at


def _frames(content: bytes, at: int) -> tuple[int, int]:
    """How many frames there are from a first one on, and where the last one ends.

    Other bytes may lie between them. Those behind the last one (a tag, padding) would be taken for damage.
    """
    n = end = 0
    while at >= 0:
        while length := _frame(content, at):
            at, n = at + length, n + 1
        end = at
        at = content.find(b"\xff", _after_tags(content, at))
        while at >= 0 and not ((length := _frame(content, at)) and _frame(content, at + length)):
            at = content.find(b"\xff", at + 1)
    return n, end


def _frame(content: bytes, at: int) -> int:
    """How long the frame of layer III is that begins there; 0 if none does."""
    head = int.from_bytes(content[at : at + 4].ljust(4, b"\0"), "big")
    version, kbps, rate = head >> 19 & 3, head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or head >> 17 & 3 != 1 or not 0 < kbps < 15 or rate == 3:
        return 0
    bits = (144 if version == 3 else 72) * 1000 * KBPS[version != 3][kbps]
    return bits // RATES[version][rate] + (head >> 9 & 1)
