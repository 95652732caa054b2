from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertbench import audio
from sertbench.errors import AudioError, StorageError

RAMP = (np.arange(-800, 800) * 20).astype(np.int16)  # 0.1 s at 16 kHz


def write(path: Path, samples: np.ndarray = RAMP, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def wav_bytes(data: bytes, declared: int | None = None, before: bytes = b"", bits: int = 16) -> bytes:
    """A mono 16 kHz wav whose `data` chunk declares a size of its own, with other chunks before it."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 16_000 * bits // 8, bits // 8, bits)
    size = len(data) if declared is None else declared
    body = b"WAVE" + form + before + struct.pack("<4sI", b"data", size) + data
    return b"RIFF" + struct.pack("<I", len(body) if declared is None else min(declared + 36, 0xFFFFFFFF)) + body


def tone(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


# --- what is read


def test_16_khz_samples_come_as_they_are(tmp_path):
    samples = audio.load(write(tmp_path / "a.wav"))

    assert samples.dtype == np.float32
    assert samples.shape == (1600,)
    np.testing.assert_array_equal(samples * 32768, RAMP)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_to_16_khz(tmp_path, rate):
    samples = audio.load(write(tmp_path / "a.wav", tone(1000, rate), rate))

    assert samples.shape == (8000,)
    np.testing.assert_allclose(samples[1000:7000], tone(1000, 16_000)[1000:7000], atol=1e-3)


def test_resampling_leaves_no_alias(tmp_path):
    samples = audio.load(write(tmp_path / "a.wav", tone(9000, 44_100), 44_100, "FLOAT"))

    assert np.abs(samples[1000:7000]).max() < 0.5 * 10 ** (-100 / 20)


@pytest.mark.parametrize(("rule", "expected"), [("left", 0.25), ("right", -0.75), ("mean", -0.25)])
def test_channel_rules(tmp_path, rule, expected):
    stereo = np.tile([0.25, -0.75], (400, 1))

    samples = audio.load(write(tmp_path / "a.wav", stereo), rule)

    np.testing.assert_array_equal(samples, np.full(400, expected, dtype=np.float32))


def test_several_channels_are_refused_without_a_rule(tmp_path):
    path = write(tmp_path / "two.wav", np.zeros((400, 2)))

    with pytest.raises(AudioError, match=r'two\.wav: 2 channels.*`channel = "mean"`'):
        audio.load(path)


@pytest.mark.parametrize("rule", ["left", "right", "mean", "mono"])
def test_one_channel_is_itself_under_every_rule(tmp_path, rule):
    path = write(tmp_path / "a.wav")

    assert audio.probe(path, rule) == audio.probe(path)


def test_an_unknown_channel_rule_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"'centre' is unknown. Accepted: mono, left, right, mean"):
        audio.load(write(tmp_path / "a.wav"), "centre")


# --- what a probe says


def test_probe_tells_duration_rate_and_channels(tmp_path):
    info = audio.probe(write(tmp_path / "a.wav", np.zeros((4410, 2)), 44_100), "left")

    assert (info.seconds, info.rate, info.channels) == (0.1, 44_100, 2)


def test_a_wav_and_its_flac_have_equal_hashes(tmp_path):
    wav, flac = write(tmp_path / "a.wav"), write(tmp_path / "a.flac")

    assert wav.read_bytes() != flac.read_bytes()
    assert audio.probe(wav) == audio.probe(flac)


def test_one_other_sample_or_another_rate_is_another_hash(tmp_path):
    other = RAMP.copy()
    other[-1] += 1

    hashes = {
        audio.probe(write(tmp_path / "a.wav")).sha256,
        audio.probe(write(tmp_path / "b.wav", other)).sha256,
        audio.probe(write(tmp_path / "c.wav", rate=8000)).sha256,
    }

    assert len(hashes) == 3


# --- headers that are odd but right


@pytest.mark.parametrize("declared", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x80000000])
def test_a_wav_that_was_written_to_a_pipe_is_read(tmp_path, declared):
    path = tmp_path / "piped.wav"
    path.write_bytes(wav_bytes(RAMP.tobytes(), declared))

    assert audio.load(path).shape == (1600,)


def test_chunks_of_odd_size_before_the_data_are_skipped(tmp_path):
    path = tmp_path / "tagged.wav"
    whole = wav_bytes(RAMP.tobytes(), before=b"LIST" + struct.pack("<I", 5) + b"INFOx\0")
    path.write_bytes(whole)
    assert audio.load(path).shape == (1600,)

    path.write_bytes(whole[:-100])
    with pytest.raises(AudioError, match="truncated"):
        audio.load(path)


def test_a_missing_padding_byte_is_no_truncation(tmp_path):
    path = tmp_path / "odd.wav"
    path.write_bytes(wav_bytes(bytes([128] * 801), bits=8))

    assert audio.load(path).shape == (801,)


# --- faults


def with_value(value: float) -> np.ndarray:
    samples = np.zeros(100, dtype=np.float32)
    samples[7] = value
    return samples


FAULTS = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "no samples": (wav_bytes(b""), "holds no samples"),
    "truncated": (wav_bytes(RAMP.tobytes())[:2000], r"truncated, 2000 of 3244 bytes"),
    "one sample short": (wav_bytes(RAMP.tobytes())[:-2], "truncated"),
    "header only": (wav_bytes(RAMP.tobytes())[:44], "truncated"),
    "cut in the header": (wav_bytes(RAMP.tobytes())[:20], "cannot be decoded"),
    "web page": (b"\n<!DOCTYPE html><html><body>Quota exceeded</body></html>", "web page"),
    "text": (b"404: Not Found", r"text, not audio \(it begins '404: Not Found'\)"),
    "git-LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
    "AppleDouble": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ", "AppleDouble"),
    "noise": (bytes(range(128, 256)) * 20, "cannot be decoded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_audio_is_refused_with_the_reason(tmp_path, fault):
    content, reason = FAULTS[fault]
    path = tmp_path / "bad.wav"
    path.write_bytes(content)

    with pytest.raises(AudioError, match=rf"bad\.wav: .*{reason}") as caught:
        audio.load(path)

    assert str(caught.value).endswith((".", "`"))  # the remedy follows the fault
    assert "archive" not in str(caught.value)  # a file of the user's own comes in none
    with pytest.raises(AudioError, match=reason):
        audio.probe(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    path = write(tmp_path / "bad.wav", with_value(value), subtype="FLOAT")

    with pytest.raises(AudioError, match=r"bad\.wav: 1 samples are NaN or infinite"):
        audio.load(path)


def test_samples_that_no_scale_has_are_refused(tmp_path):
    """They are finite, but the features of them are not: the run would blame the learning rate."""
    assert audio.load(write(tmp_path / "32-bit.wav", with_value(-(2.0**31)), subtype="FLOAT")).min() == -(2.0**31)
    swapped = write(tmp_path / "swapped.wav", with_value(-1e30), subtype="FLOAT")

    with pytest.raises(AudioError, match=r"swapped\.wav: 1 samples are beyond any scale") as caught:
        audio.load(swapped)
    assert caught.value.fault == "not-finite"


@pytest.mark.parametrize(
    ("kind", "fault"), [("flac", "cannot be decoded"), ("mp3", r"truncated, \d+ of 40000 samples")]
)
def test_a_truncated_file_of_another_format_is_refused(tmp_path, kind, fault):
    path = tmp_path / f"bad.{kind}"
    soundfile.write(path, np.random.default_rng(0).integers(-9000, 9000, 40_000).astype(np.int16), 16_000)
    assert audio.probe(path).seconds == 2.5

    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(AudioError, match=rf"bad\.{kind}: {fault}"):
        audio.load(path)


def test_a_truncated_aiff_or_ogg_file_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(-9000, 9000, 40_000).astype(np.int16)
    for kind in ("aiff", "ogg"):
        path = tmp_path / f"bad.{kind}"
        soundfile.write(path, noise, 16_000)
        assert audio.probe(path).seconds == 2.5
        whole = path.read_bytes()

        for part in (0.5, 0.9):
            path.write_bytes(whole[: int(part * len(whole))])
            with pytest.raises(AudioError, match=rf"bad\.{kind}: truncated, \d+ of \d+ bytes") as caught:
                audio.load(path)
            assert caught.value.fault == "truncated"


@pytest.mark.parametrize("kind", ["wav", "aiff", "ogg", "opus", "mp3"])
def test_a_file_that_goes_on_after_its_end_is_refused(tmp_path, kind):
    """libsndfile reads the first of several that were put into one (`cat`), and says nothing of the others."""
    noise = np.random.default_rng(0).integers(-9000, 9000, 60_000).astype(np.int16)
    path = tmp_path / f"two.{kind}"
    soundfile.write(path, noise, 16_000, **({"format": "OGG", "subtype": "OPUS"} if kind == "opus" else {}))
    assert audio.load(path).shape == (60_000,)

    path.write_bytes(path.read_bytes() * 2)

    with pytest.raises(AudioError, match=r"several (files|streams)"):
        audio.load(path)


def test_a_header_that_was_not_completed_is_refused(tmp_path):
    """A recorder that was switched off leaves the length that it began with."""
    path = tmp_path / "off.wav"
    path.write_bytes(wav_bytes(bytes(range(1, 251)) * 100, 500))

    with pytest.raises(AudioError, match=r"goes on for 24500 bytes after the end .* was not completed") as caught:
        audio.load(path)
    assert caught.value.fault == "header"


@pytest.mark.parametrize(
    "after",
    [
        b"LIST" + struct.pack("<I", 4) + b"INFO",
        b"id3 " + struct.pack("<I", 90_001) + bytes(90_001),
        b"TAG" + bytes(125),
        bytes(4096),
        b"\0" * 3,
    ],
    ids=["list", "large and odd", "tag", "zeros", "few"],
)
def test_what_follows_the_samples_beside_audio_is_left_alone(tmp_path, after):
    path = tmp_path / "more.wav"
    path.write_bytes(wav_bytes(RAMP.tobytes()) + after)
    assert audio.load(path).shape == (1600,)
    path.write_bytes(wav_bytes(bytes([128] * 801), bits=8) + after)
    assert audio.load(path).shape == (801,)


def without_first_frame(mp3: bytes) -> bytes:
    """An mp3 file of MPEG 1 or 2 without its Xing or Info header, as many encoders write it."""
    head = int.from_bytes(mp3[:4], "big")
    second = mp3.index(mp3[:2], 60)
    while (int.from_bytes(mp3[second : second + 4], "big") ^ head) & 0xFFFE0C00:
        second = mp3.index(mp3[:2], second + 1)
    return mp3[second:]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("loud", [0, 1], ids=["quiet first", "loud first"])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 1), (44_100, 2), (48_000, 1)])
def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path, mode, loud, rate, channels):
    """libsndfile guesses the length from the first frame: a third of this was read, or it was called truncated."""
    rng = np.random.default_rng(1)
    parts = [np.zeros(2 * rate), rng.normal(0, 0.1, 2 * rate)]
    sound = np.concatenate(parts[:: -1 if loud else 1]).astype(np.float32)
    path, bare = tmp_path / "told.mp3", tmp_path / "bare.mp3"
    soundfile.write(
        path,
        np.stack([sound] * channels, 1),
        rate,
        bitrate_mode=mode,
        compression_level=0.5 if mode == "CONSTANT" else 0,
    )
    bare.write_bytes(without_first_frame(path.read_bytes()))

    whole, found = audio.decode(path, "mean")[0], audio.decode(bare, "mean")[0]

    assert whole.shape == sound.shape
    assert 0 <= len(found) - len(whole) <= 3 * 1152  # what an encoder adds and, told of, a decoder takes away
    rest = range(len(found) - len(whole) + 1)
    later = max(rest, key=lambda k: float(np.dot(whole, found[k : k + len(whole)])))
    np.testing.assert_allclose(found[later : later + len(whole)], whole, atol=1e-4)


@pytest.mark.parametrize("before", [b"", bytes(3000)], ids=["", "padded before"])
@pytest.mark.parametrize("after", [b"", bytes(30_000), b"APETAGEX" + b"\1" * 20_000], ids=["", "padded", "tagged"])
def test_an_mp3_without_a_length_is_read_whatever_lies_around_its_frames(tmp_path, before, after):
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000) * np.linspace(0, 1, 48_000)
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise.astype(np.float32), 16_000, bitrate_mode="VARIABLE", compression_level=0)
    bare = without_first_frame(path.read_bytes())
    path.write_bytes(bare)
    whole = audio.decode(path)[0]

    path.write_bytes(before + bare + after)

    np.testing.assert_array_equal(audio.decode(path)[0], whole)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "folder.wav").mkdir()

    with pytest.raises(AudioError, match=r"gone\.wav: does not exist"):
        audio.load(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match=r"folder\.wav: a folder, not an audio file"):
        audio.load(tmp_path / "folder.wav")


def test_what_resamples_to_nothing_is_refused(tmp_path):
    path = write(tmp_path / "click.wav", np.ones(1, dtype=np.int16), 192_000)

    with pytest.raises(AudioError, match=r"click\.wav: shorter than one sample"):
        audio.load(path)


# --- many files


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"{n}.wav", RAMP[: 400 * n]) for n in (3, 1, 2)]


def forbid_decoding(monkeypatch):
    def probe(path, channel="mono", on_samples=None):
        raise AssertionError(f"{path} is decoded again")

    monkeypatch.setattr(audio, "probe", probe)


def test_many_files_are_probed_in_their_order_and_progress_is_told(files):
    told: list[int] = []

    infos = audio.probe_all(files, on_progress=told.append)

    assert infos == [audio.probe(path) for path in files]
    assert told == [1, 2, 3]


def test_the_second_run_decodes_nothing(files, tmp_path, monkeypatch):
    index = tmp_path / "cache" / "audio.json"
    first = audio.probe_all(files, cache=index)
    forbid_decoding(monkeypatch)
    told: list[int] = []

    assert audio.probe_all(files, cache=index, on_progress=told.append) == first
    assert told == [3]


def test_the_index_knows_a_file_by_where_it_really_lies(files, tmp_path, monkeypatch):
    index = tmp_path / "audio.json"
    first = audio.probe_all(files, cache=index)
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path, target_is_directory=True)
    forbid_decoding(monkeypatch)

    assert audio.probe_all([link / path.name for path in files], cache=index) == first


def test_a_changed_file_is_decoded_again(files, tmp_path):
    index = tmp_path / "audio.json"
    before = audio.probe_all(files, cache=index)
    stamp = files[0].stat()
    write(files[0], RAMP[:1200][::-1].copy())
    os.utime(files[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))

    after = audio.probe_all(files, cache=index)

    assert after[0].sha256 != before[0].sha256
    assert after[1:] == before[1:]


def tick(*paths: Path) -> None:
    """Change the files' time of change until the file system's clock, which goes in steps, has gone on."""
    for path in paths:
        before = path.stat()
        while path.stat().st_ctime_ns == before.st_ctime_ns:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_files_that_changed_places_are_decoded_again(files, tmp_path):
    index = tmp_path / "audio.json"
    (one, other), shape = files[:2], RAMP[:1200]
    for path, samples in ((one, shape), (other, shape[::-1].copy())):
        write(path, samples)
        os.utime(path, ns=(0, 1_700_000_000_000_000_000))  # as an archive unpacks them
    before = audio.probe_all([one, other], cache=index)
    one.rename(spare := tmp_path / "spare.wav")
    other.rename(one)
    spare.rename(other)
    tick(one, other)

    after = audio.probe_all([one, other], cache=index)

    assert before[0].sha256 != before[1].sha256
    assert after == before[::-1]


def test_a_file_that_was_overwritten_with_its_time_kept_is_decoded_again(files, tmp_path):
    index = tmp_path / "audio.json"
    before, stamp = audio.probe_all(files, cache=index), files[0].stat()
    write(files[0], audio.decode(files[0])[0][::-1].copy())
    os.utime(files[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    tick(files[0])
    assert files[0].stat().st_size == stamp.st_size

    assert audio.probe_all(files, cache=index)[0] == audio.probe(files[0]) != before[0]


def test_another_channel_rule_is_another_probe(tmp_path):
    stereo = write(tmp_path / "a.wav", np.tile([0.25, -0.75], (400, 1)))
    index = tmp_path / "audio.json"

    left, right = (audio.probe_all([stereo], rule, index)[0] for rule in ("left", "right"))

    assert left.sha256 != right.sha256


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"version": 0, "files": {}}', b'{"version": 1, "files": [1]}', b"null"],
)
def test_an_index_that_cannot_be_read_is_rebuilt(files, tmp_path, content):
    index = tmp_path / "audio.json"
    index.write_bytes(content)

    infos = audio.probe_all(files, cache=index)

    assert infos == [audio.probe(path) for path in files]
    assert len(json.loads(index.read_text())["files"]) == 3


def test_an_index_row_of_another_shape_is_decoded_again(files, tmp_path):
    index = tmp_path / "audio.json"
    audio.probe_all(files, cache=index)
    content = json.loads(index.read_text())
    content["files"] = {where: row[:-1] for where, row in content["files"].items()}
    index.write_text(json.dumps(content))

    assert audio.probe_all(files, cache=index) == [audio.probe(path) for path in files]


def test_all_bad_files_are_named_at_once_and_the_good_ones_are_kept(files, tmp_path, monkeypatch):
    index = tmp_path / "audio.json"
    bad = [tmp_path / f"bad{n}.wav" for n in range(7)]
    for path in bad:
        path.touch()

    with pytest.raises(AudioError, match=r"7 of 10 audio files cannot be used") as caught:
        audio.probe_all([*bad, *files], cache=index)

    assert all(str(path) in str(caught.value) for path in bad)
    forbid_decoding(monkeypatch)
    assert len(audio.probe_all(files, cache=index)) == 3


def test_a_cache_that_cannot_be_written_is_named(files, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")

    with pytest.raises(StorageError, match=r"audio\.json: cannot be written"):
        audio.probe_all(files, cache=tmp_path / "cache" / "audio.json")


def test_two_containers_with_the_same_process_number_can_write_one_index(files, tmp_path, monkeypatch):
    index, put = tmp_path / "cache" / "audio.json", Path.replace

    def put_late(self, target):
        monkeypatch.setattr(Path, "replace", put)
        audio.probe_all(files[1:], cache=index)  # the other one is faster
        return put(self, target)

    monkeypatch.setattr(Path, "replace", put_late)
    monkeypatch.setattr(os, "getpid", lambda: 7)
    audio.probe_all(files, cache=index)

    assert len(json.loads(index.read_text())["files"]) == 3


def test_nothing_is_left_beside_the_index(files, tmp_path):
    audio.probe_all(files, cache=tmp_path / "cache" / "audio.json")

    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["audio.json"]
