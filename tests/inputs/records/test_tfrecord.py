"""The container: what is written is TensorFlow's, and every kind of damage is found."""

import io
import struct
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.inputs.records import tfrecord

PAYLOADS = [b"first", b"", b"third record", b"\x00" * 40]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def framed(payloads: list[bytes]) -> bytes:
    file = io.BytesIO()
    assert tfrecord.write_records(file, payloads) == len(payloads)
    return file.getvalue()


def scanned(path: Path) -> list[tuple[int, bytes, bool]]:
    return [(record.offset, bytes(record.payload), record.fault is None) for record in tfrecord.scan_records(path)]


def test_reads_what_tensorflow_writes(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    records = scanned(path)
    assert [payload for _, payload, good in records if good] == PAYLOADS
    data = path.read_bytes()
    assert all(data[offset : offset + len(payload)] == payload for offset, payload, _ in records)


def test_tensorflow_reads_what_is_written(tmp_path):
    path = write(tmp_path / "a.tfrecord", framed(PAYLOADS))
    assert [bytes(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()] == PAYLOADS


def test_records_are_counted_as_they_are_scanned(tmp_path):
    """Whole, cut anywhere, and with a wrong length in the middle."""
    data = framed(PAYLOADS)
    wrong = bytearray(data)
    wrong[len(framed(PAYLOADS[:2])) + 1] ^= 1
    for content in (*(data[:size] for size in range(len(data) + 1)), bytes(wrong)):
        path = write(tmp_path / "a.tfrecord", content)
        assert tfrecord.count_records(path) == len(scanned(path)), len(content)


def test_known_checksum():
    # CRC32C of 32 zero bytes is 0x8a9136aa (RFC 3720, B.4); the rest is TFRecord's mask
    crc = 0x8A9136AA
    assert tfrecord.masked_crc(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecord.masked_crc(memoryview(bytes(32))) == tfrecord.masked_crc(bytes(32))


def test_empty_file_has_no_records(tmp_path):
    assert scanned(write(tmp_path / "a.tfrecord", b"")) == []


def test_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(tfrecord.scan_records(tmp_path / "a.tfrecord"))


def test_every_flipped_bit_is_found(tmp_path):
    payloads = [b"abc", b"defg"]
    data = framed(payloads)
    second = 12 + 3 + 4  # where the second record's header starts
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        records = scanned(write(tmp_path / "a.tfrecord", bytes(damaged)))
        position = bit // 8
        if position < 12:  # a wrong length ends the file
            assert [good for *_, good in records] == [False], bit
        elif position < second:  # a wrong payload or its checksum costs that record alone
            assert records == [(12, b"", False), (second + 12, b"defg", True)], bit
        else:
            assert records[0] == (12, b"abc", True) and [good for *_, good in records] == [True, False], bit


def test_truncation_at_every_byte_is_found(tmp_path):
    data = framed(PAYLOADS)
    ends = [0]
    for payload in PAYLOADS:
        ends.append(ends[-1] + 12 + len(payload) + 4)
    assert ends[-1] == len(data)
    for length in range(len(data) + 1):
        records = scanned(write(tmp_path / "a.tfrecord", data[:length]))
        whole = sum(end <= length for end in ends[1:])
        assert [payload for _, payload, good in records if good] == PAYLOADS[:whole]
        assert sum(not good for *_, good in records) == (length not in ends), length


def test_a_length_beyond_the_file_allocates_nothing(tmp_path):
    length = struct.pack("<Q", 1 << 62)
    path = write(tmp_path / "a.tfrecord", length + struct.pack("<I", tfrecord.masked_crc(length)) + b"abc")
    (record,) = tfrecord.scan_records(path)
    assert record.fault == f"file ends {(1 << 62) + 1} bytes before the record does"


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["audioset/train/--.tfrecord", "youtube8m-2018-video/validate0000.tfrecord"])
def test_real_files_read_as_tensorflow_reads_them(shared_data, name):
    path = shared_data / name
    expected = [bytes(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    assert [payload for _, payload, good in scanned(path) if good] == expected
    assert framed(expected) == path.read_bytes()
