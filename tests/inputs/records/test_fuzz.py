"""Mutated records and files: never a crash, and nothing is accepted that TensorFlow does not read alike."""

import signal
import struct
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from reference import mutations
from reference.records import FRAME, VIDEO, assert_agrees, frame_record

from pipeline.inputs.index.check import check_shard
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import parse_record
from pipeline.inputs.records.schema import SchemaError, check_first_record

RECORDS = 500
"""Of each case."""
ALWAYS, LONG = 10, 200
"""Cases: the long ones are 100,000 records, those that always run a twentieth of it."""
CASES = [*range(ALWAYS), *(pytest.param(ALWAYS + case, marks=pytest.mark.long) for case in range(LONG))]


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", CASES)
def test_mutated_records(tmp_path, case):
    """All in one file whose checksums are right: each is read as TensorFlow reads it, or quarantined with a reason."""
    dataset, payloads = mutations.payloads(case, RECORDS)
    path = tmp_path / "a.tfrecord"
    with path.open("wb") as file:
        tfrecord.write_records(file, payloads)
    tracemalloc.start()
    report = check_shard(path, dataset)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000, "a wrong length was believed"
    assert len(report.ids) + len(report.quarantined) == report.records == RECORDS
    assert all(fault.reason for fault in report.quarantined)
    assert 60 < len(report.ids) < 300, "the mutations are too mild or too strong to tell anything"
    by_offset = dict(zip(report.offsets.tolist(), range(len(report.ids))))
    position = 12
    for payload in payloads:
        row = by_offset.get(position)
        position += len(payload) + 16
        if row is None:
            continue
        assert_agrees(payload, dataset)
        parsed = parse_record(payload, dataset)
        labels = report.labels[report.label_offsets[row] : report.label_offsets[row + 1]]
        assert (report.ids[row], report.num_frames[row]) == (parsed.id, parsed.num_frames)
        assert labels.tolist() == parsed.labels.tolist()


@pytest.mark.parametrize("case", CASES[:: ALWAYS // 2])
def test_preflight_of_mutated_records(case):
    dataset, random = (FRAME, VIDEO)[case % 2], np.random.default_rng(case)
    for _ in range(RECORDS):
        try:
            check_first_record(mutations.misshapen(dataset, random), dataset, "first record")
        except SchemaError as error:
            assert str(error).startswith("first record: ")


@pytest.mark.wide
@pytest.mark.parametrize("case", CASES[:: ALWAYS // 2])
def test_mutated_files(tmp_path, case):
    """Bits flipped, bytes cut out or doubled: what is read before the first fault is what TensorFlow reads."""
    random = np.random.default_rng(case)
    path, good = tmp_path / "a.tfrecord", [frame_record(n) for n in (2, 1, 4)]
    for _ in range(RECORDS // 5):
        whole = _file(path, good)
        path.write_bytes(mutations.damaged(whole, random))
        records = _scanned(path)
        first = next((i for i, record in enumerate(records) if record.fault), len(records))
        assert [record.payload for record in records[:first]] == _as_tensorflow_reads(path)
        assert all(record.payload in good for record in records if record.fault is None)
        assert all(record.payload == b"" for record in records if record.fault)


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 20, (1 << 64) - 1])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_wrong_lengths_whose_checksum_is_right(tmp_path, length, number):
    """TensorFlow's own reader ends the process at some of these."""
    path, good = tmp_path / "a.tfrecord", [frame_record(n) for n in (2, 1, 4)]
    data = _file(path, good)
    place = sum(len(payload) + 16 for payload in good[:number])
    header = struct.pack("<Q", length)
    path.write_bytes(data[:place] + header + struct.pack("<I", tfrecord.masked_crc(header)) + data[place + 12 :])
    records = _scanned(path)
    assert [record.payload for record in records[:number]] == good[:number]
    assert records[number].fault == (
        f"file ends {place + 16 + length - len(data)} bytes before the record does"
        if place + 16 + length > len(data)
        else "checksum of the record is wrong"
    )


def _file(path, payloads: list[bytes]) -> bytes:
    with path.open("wb") as file:
        tfrecord.write_records(file, payloads)
    return path.read_bytes()


def _scanned(path) -> list[tfrecord.Record]:
    tracemalloc.start()
    records = list(tfrecord.scan_records(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000, "a wrong length was believed"
    return records


def _as_tensorflow_reads(path) -> list[bytes]:
    found = []
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            found.append(record.numpy())
    except tf.errors.OpError:
        pass
    return found
