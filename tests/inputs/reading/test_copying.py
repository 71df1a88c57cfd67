"""Records by machine code against the general parser, on good, odd and damaged ones, and on every real one."""

import os
import runpy
import time
import types

import numpy as np
import pytest
from reference import mutations
from reference.records import (
    FRAME,
    REAL,
    UNKNOWN,
    VIDEO,
    by_tensorflow,
    field,
    frame_record,
    frames,
    in_bytes,
    in_floats,
    in_integers,
    rows,
    sequence,
    video_record,
)

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.reading import copying
from pipeline.inputs.reading.copying import Encoding, read_records
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.encoding import encode_sequence_example, encode_varint
from pipeline.inputs.records.parsing import ParseError, parse_features

GUARD = 4096


def guarded(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Zeros, and the whole array around them, in which a write beyond either end shows."""
    whole = np.full(size + 2 * GUARD, 171, np.uint8)
    inner = whole[GUARD : GUARD + size]
    inner[:] = 0
    return inner, whole


def untouched(whole: np.ndarray) -> bool:
    return bool((whole[:GUARD] == 171).all() and (whole[-GUARD:] == 171).all())


def read(path, dataset, places, num_frames, chosen, counts, buffer_size=None) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 [B,T,bytes of a row], and which records were left; `places` are offsets and lengths."""
    offsets, lengths = np.array(places, np.int64).reshape(-1, 2).T.copy()
    width = dataset.width * np.dtype(dataset.dtype).itemsize
    shape = (*chosen.shape, width)
    inner, whole = guarded(int(np.prod(shape)))
    buffer, whole_buffer = guarded(int(lengths.max()) if buffer_size is None else buffer_size)
    frames, left = inner.reshape(shape), np.ones(len(chosen), bool)
    frames[:] = 99  # what is not written is seen
    descriptor = os.open(path, os.O_RDONLY)
    descriptors = np.full(len(chosen), descriptor, np.int32)
    counts, num_frames = np.asarray(counts, np.int32), np.asarray(num_frames, np.int32)
    encoding = Encoding.of(dataset)
    read_records(descriptors, offsets, lengths, num_frames, chosen, counts, encoding, 1, buffer, frames, left)
    os.close(descriptor)
    assert untouched(whole) and untouched(whole_buffer)
    assert (frames[left] == 99).all(), "a record that is left writes nothing"
    return frames, left


def read_whole(folder, dataset, payloads, num_frames, length=None) -> tuple[np.ndarray, np.ndarray]:
    """All frames of some payloads, as `read`; their bytes lie one behind the other in a file."""
    path = folder / "payloads"
    path.write_bytes(b"".join(payloads))
    lengths = np.array([len(payload) for payload in payloads])
    places = np.stack([np.cumsum(lengths) - lengths, lengths], 1)
    length = length or max(num_frames)
    chosen = np.broadcast_to(np.arange(length, dtype=np.int32), (len(payloads), length)).copy()
    return read(path, dataset, places, num_frames, chosen, num_frames)


def assert_rows(frames: np.ndarray, features: list[np.ndarray]) -> None:
    """Frames [T,bytes] are the features side by side, then zeros."""
    expected = np.concatenate([np.ascontiguousarray(rows).view(np.uint8) for rows in features], axis=1)
    np.testing.assert_array_equal(frames[: len(expected)], expected)
    assert not frames[len(expected) :].any()


# ------------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("counts", [[1, 2, 39, 40], [60, 3]])
def test_frame_level_as_tensorflow_reads_it(tmp_path, counts):
    payloads = [frame_record(count) for count in counts]
    frames, left = read_whole(tmp_path, FRAME, payloads, counts, length=65)
    assert not left.any()
    for payload, row in zip(payloads, frames):
        assert_rows(row, by_tensorflow(payload, FRAME)["features"])


def test_floats(tmp_path):
    frames, left = read_whole(tmp_path, VIDEO, [video_record()] * 3, [1, 1, 1])
    assert not left.any()
    for row in frames:
        assert_rows(row, by_tensorflow(video_record(), VIDEO)["features"])
    values = np.random.default_rng(0).normal(size=(6, 24)).astype(np.float32)
    dataset = DatasetConfig("floats", (FeatureConfig("rgb", 24, "float32"),), 10)
    payload = sequence({"id": in_bytes(b"a")}, {"rgb": [in_floats(*row) for row in values]})
    frames, left = read_whole(tmp_path, dataset, [payload], [6])
    assert not left.any()
    assert_rows(frames[0], [values])


@pytest.mark.parametrize("sizes", [(512, 16), (7, 1)])
def test_halves(tmp_path, sizes):
    dataset = DatasetConfig("halves", tuple(FeatureConfig(f"f{size}", size, "float16") for size in sizes), 10)
    random = np.random.default_rng(0)
    videos = [{f.key: random.normal(size=(n, f.size)).astype(np.float16) for f in dataset.features} for n in (7, 1, 5)]
    payloads = [encode_sequence_example({"id": "a"}, video) for video in videos]
    read, left = read_whole(tmp_path, dataset, payloads, [7, 1, 5])
    assert not left.any()
    for video, row in zip(videos, read):
        assert_rows(row, list(video.values()))


@pytest.mark.parametrize("sizes", [(64, 32), (96, 1), (1, 96), (1024, 128)])
def test_sizes_that_are_streamed_and_sizes_that_are_not(tmp_path, sizes):
    dataset = DatasetConfig("sizes", (FeatureConfig("rgb", sizes[0]), FeatureConfig("audio", sizes[1])), 3862)
    videos = [{f.key: frames(count, f.size, count) for f in dataset.features} for count in (7, 1, 5)]
    payloads = [encode_sequence_example({"id": "a", "labels": [1]}, video) for video in videos]
    read, left = read_whole(tmp_path, dataset, payloads, [7, 1, 5])
    assert not left.any()
    for video, row in zip(videos, read):
        assert_rows(row, list(video.values()))


def test_any_frames_in_any_order(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before" + frame_record(30))
    chosen = np.array([[29, 0, 0, 7, 5], [3, 1, 99, -1, 7]], np.int32)
    frames, left = read(path, FRAME, [(6, len(frame_record(30)))] * 2, [30, 30], chosen, [5, 2])
    assert not left.any()
    expected = np.concatenate(parse_features(frame_record(30), FRAME), axis=1)
    np.testing.assert_array_equal(frames[0], expected[[29, 0, 0, 7, 5]])
    np.testing.assert_array_equal(frames[1, :2], expected[[3, 1]])
    assert not frames[1, 2:].any()


def short(tag: int, value: bytes) -> bytes:
    """One field, as every writer encodes it."""
    return bytes([tag]) + encode_varint(len(value)) + value


def feature_list(key: bytes, size: int, values: range) -> bytes:
    rows = b"".join(short(0x0A, short(0x0A, short(0x0A, bytes([value]) * size))) for value in values)
    return short(0x0A, short(0x0A, key) + short(0x12, rows))


def test_sections_and_entries_in_any_order(tmp_path):
    """And in pieces; of equal keys the last counts; keys that begin alike are different."""
    others = feature_list(b"rgb", 24, range(2)) + feature_list(b"rg", 24, range(9)) + feature_list(b"rgb2", 8, range(5))
    audio, rgb = feature_list(b"audio", 8, range(3)), feature_list(b"rgb", 24, range(7, 10))
    context = short(0x0A, short(0x0A, short(0x0A, b"id") + short(0x12, short(0x0A, short(0x0A, b"aDoE")))))
    payload = short(0x12, others + audio) + context + short(0x12, rgb)
    frames, left = read_whole(tmp_path, FRAME, [payload], [3])
    assert not left.any()
    assert_rows(frames[0], by_tensorflow(payload, FRAME)["features"])
    assert frames[0, :, 0].tolist() == [7, 8, 9]


# ------------------------------------------------------------------------------------------------------- what is left


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        frame_record(4)[:-1],
        frame_record(5),  # more frames than were indexed
        frame_record(3),
        frame_record(4, audio=[in_bytes(bytes(8))] * 3),
        frame_record(4, rgb=[in_bytes(bytes(24))] * 3 + [in_bytes(bytes(20))]),
        frame_record(4, rgb=[in_floats(*range(6))] * 4),  # as long as bytes
        sequence({"id": in_bytes(b"a")}, {"rgb": [in_bytes(bytes(24))] * 4}),
        frame_record(4) + UNKNOWN,
        field(0x12, field(0x0A, field(0x0A, b"rgb") + field(0x12, rows(24, range(4))))),  # longer lengths
        frame_record(4, context={"id": in_bytes(b"a"), "ключ": in_integers(1)}),
        video_record(),
    ],
)
def test_left_to_the_general_parser(tmp_path, payload):
    _, left = read_whole(tmp_path, FRAME, [frame_record(4), payload, frame_record(4)], [4, 4, 4])
    assert left.tolist() == [False, True, False]


def test_frames_that_are_not_there_are_left(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(frame_record(30))
    for wrong in (-1, 30, 2**31 - 1, -(2**31)):
        chosen = np.array([[0, wrong]], np.int32)
        _, left = read(path, FRAME, [(0, len(frame_record(30)))], [30], chosen, [2])
        assert left.all()


def test_a_buffer_or_a_file_that_is_too_short_and_no_file(tmp_path):
    path = tmp_path / "a"
    payload = frame_record(5)
    path.write_bytes(payload)
    chosen = np.zeros((1, 1), np.int32)
    for place, size in (((0, len(payload)), len(payload) - 1), ((1, len(payload)), None), ((10**12, 50), None)):
        _, left = read(path, FRAME, [place], [5], chosen, [1], size)
        assert left.all()
    left = np.zeros(1, bool)
    one = np.ones(1, np.int64)
    frames, buffer = np.zeros((1, 1, 32), np.uint8), np.zeros(9, np.uint8)
    read_records(
        np.array([-1], np.int32), one, one, np.ones(1, np.int32), chosen, np.ones(1, np.int32), Encoding.of(FRAME),
        1, buffer, frames, left,
    )  # fmt: skip
    assert left.all()


def test_what_is_asked_for_comes_from_the_disk(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(os.urandom(3 << 20))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    place, size = 1_000_000, 300_000
    one = np.ones(1, np.int64)
    copying.advise_readahead(np.full(1, descriptor, np.int32), place * one, size * one)
    deadline = time.monotonic() + 20
    while True:
        try:
            if os.preadv(descriptor, [bytearray(size)], place, os.RWF_NOWAIT) == size:
                break
        except BlockingIOError:
            pass
        except OSError:
            pytest.skip("this file system does not tell what it has in memory")
        assert time.monotonic() < deadline, "nobody reads it"
        time.sleep(0.05)
    os.close(descriptor)


@pytest.mark.parametrize("lacking", ["posix_fadvise", "preadv2"])
def test_a_system_that_cannot_be_asked_is_not_asked(lacking, monkeypatch):
    """On macOS both functions are missing: code that names them would end the process where it is compiled."""
    monkeypatch.setattr(
        "ctypes.CDLL", lambda _: types.SimpleNamespace(**{"posix_fadvise": 1, "preadv2": 1, lacking: 1})
    )
    assert runpy.run_path(copying.__file__)["_CAN_ADVISE"]
    left = {"posix_fadvise", "preadv2"} - {lacking}
    monkeypatch.setattr("ctypes.CDLL", lambda _: types.SimpleNamespace(**dict.fromkeys(left, 1)))
    there = runpy.run_path(copying.__file__)
    there["advise_readahead"](*np.zeros((3, 1), np.int64))
    assert not there["_advise"].signatures, "it was compiled"


@pytest.mark.parametrize("case", range(8))
def test_mutated_records(tmp_path, case):
    """What is not left is what the general parser reads; what it refuses is left; nothing is written beyond."""
    dataset, payloads = mutations.payloads(case, 1500)
    expected = []
    for payload in payloads:
        try:
            expected.append(parse_features(payload, dataset))
        except ParseError:
            expected.append(None)
    num_frames = [len(features[0]) if features else 3 for features in expected]
    frames, left = read_whole(tmp_path, dataset, payloads, num_frames)
    for row, gone, features in zip(frames, left, expected):
        if features is None:
            assert gone
        elif not gone:
            assert_rows(row, features)
    assert 100 < (~left).sum() < 1400, "the mutations are too mild or too strong to tell anything"


def test_every_byte_of_the_structure_damaged(tmp_path):
    payload = frame_record(3)
    payloads = [
        payload[:place] + bytes([value]) + payload[place + 1 :]
        for place in range(len(payload))
        for value in (0, 0x7F, 0x80, 0xFF, payload[place] ^ 1)
    ]
    frames, left = read_whole(tmp_path, FRAME, payloads, [3] * len(payloads))
    for damaged, row, gone in zip(payloads, frames, left):
        try:
            features = parse_features(damaged, FRAME)
        except ParseError:
            assert gone
            continue
        if not gone:
            assert_rows(row, features)
    assert (~left).any() and left.any()


# ---------------------------------------------------------------------------------------------------------- real files


@pytest.mark.wide
@pytest.mark.real_data
@pytest.mark.parametrize("folder", REAL)
def test_every_real_record_as_the_general_parser_reads_it(shared_data, folder):
    """Which reads every one as TensorFlow does, see test_parsing.py; none is left."""
    _, dataset = REAL[folder]
    for path in sorted((shared_data / folder).iterdir()):
        records = list(tfrecord.scan_records(path))
        expected = [parse_features(record.payload, dataset) for record in records]
        places = [(record.offset, len(record.payload)) for record in records]
        counts = [len(features[0]) for features in expected]
        chosen = np.broadcast_to(np.arange(max(counts), dtype=np.int32), (len(counts), max(counts))).copy()
        frames, left = read(path, dataset, places, counts, chosen, counts)
        assert not left.any()
        for row, features in zip(frames, expected):
            assert_rows(row, features)
