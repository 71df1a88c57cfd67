"""One pass over a shard: every checksum and every record verified, and what the index keeps of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import ParseError, parse_record, readable_id

LONGEST = 2**31 - 1
SAMPLED = 256
"""Videos of a shard, its first, whose middle frames are counted by value: nothing is read twice for it."""


@dataclass(frozen=True)
class Quarantined:
    """A record that is left out, or a file: then `offset` is 0 and the file gave no record."""

    file: str
    offset: int
    """Of the payload, in bytes; of the header where that is damaged."""
    reason: str


@dataclass(frozen=True)
class ShardReport:
    """What a shard holds, by column; n good records, in the file's order."""

    path: str
    size: int
    """Bytes of the file; 0 where it cannot be read."""
    modified: int
    """When the file was last changed, in nanoseconds; 0 where it cannot be read."""
    records: int
    """All that were met, the quarantined included."""
    ids: list[str]
    offsets: np.ndarray
    """int64 [n], of the payload from the start of the file."""
    lengths: np.ndarray
    """int32 [n], bytes of the payload."""
    checksums: np.ndarray
    """uint32 [n], of the payload."""
    num_frames: np.ndarray
    """int32 [n], at most the dataset's max_frames."""
    cut: int
    """Records that have more frames."""
    labels: np.ndarray
    """int32, of all records in a row."""
    label_offsets: np.ndarray
    """int64 [n+1]: labels[label_offsets[i]:label_offsets[i+1]] are those of record i."""
    quarantined: list[Quarantined]
    values: np.ndarray
    """int64 [features,256]: how often each quantized value occurs in one frame of each of the first videos."""
    peaks: np.ndarray
    """float32 [n,features], the largest absolute value of each; 0 for bytes, which have bounds."""

    @property
    def readable(self) -> bool:
        """Whether the file gave what it holds, be it damaged; else another try may do better."""
        return self.records > 0 or not self.quarantined


def check_shard(path: Path, dataset: DatasetConfig) -> ShardReport:
    """Read a shard once. What is wrong with it is in the report: a bad record or an unreadable file raises nothing."""
    ids, offsets, lengths, checksums, num_frames, labels, peaks = [], [], [], [], [], [], []
    quarantined: list[Quarantined] = []
    sampled: list[list[np.ndarray]] = [[] for _ in dataset.features]
    size = modified = records = cut = 0
    try:
        status = path.stat()
        for record in tfrecord.scan_records(path):
            records += 1
            fault = record.fault
            if len(record.payload) > LONGEST:
                fault = f"{len(record.payload)} bytes are more than protobuf allows a record, 2 GiB"
            if fault is None:
                try:
                    parsed = parse_record(record.payload, dataset)
                except ParseError as error:
                    id = readable_id(record.payload, dataset)
                    fault = f"video {id!r}: {error}" if id else str(error)
            if fault is not None:
                quarantined.append(Quarantined(str(path), record.offset, fault))
                continue
            ids.append(parsed.id)
            offsets.append(record.offset)
            lengths.append(len(record.payload))
            checksums.append(record.checksum)
            num_frames.append(parsed.num_frames)
            labels.append(parsed.labels)
            peaks.append(parsed.peaks)
            cut += parsed.available > parsed.num_frames
            if len(ids) <= SAMPLED:
                for rows, frames in zip(sampled, parsed.features):
                    rows.append(frames[parsed.num_frames // 2].copy())  # a view would keep the record in memory
        size, modified = status.st_size, status.st_mtime_ns
    except OSError as error:
        quarantined.append(Quarantined(str(path), 0, f"the file cannot be read: {error.strerror or error}"))
    return ShardReport(
        path=str(path),
        size=size,
        modified=modified,
        records=records,
        ids=ids,
        offsets=np.array(offsets, np.int64),
        lengths=np.array(lengths, np.int32),
        checksums=np.array(checksums, np.uint32),
        num_frames=np.array(num_frames, np.int32),
        cut=cut,
        labels=np.concatenate([np.empty(0, np.int32), *labels]),
        label_offsets=np.concatenate([[0], np.cumsum([len(row) for row in labels], dtype=np.int64)]),
        quarantined=quarantined,
        values=np.stack([count_values(np.array(rows)) for rows in sampled]),
        peaks=np.array(peaks, np.float32).reshape(len(ids), len(dataset.features)),
    )


def count_values(frames: np.ndarray) -> np.ndarray:
    """How often each value 0..255 occurs in frames, int64 [256]; floats count as the challenge would quantize them.

    A quantized q stands for 4 q / 255 + 4 / 512 - 2; what lies beyond is clipped.
    """
    if frames.dtype.kind == "f":
        frames = np.rint((frames.clip(-2, 2) + (2 - 4 / 512)) * (255 / 4))
    return np.bincount(frames.astype(np.uint8).ravel(), minlength=256)
