"""Check a shard in one pass: verify every checksum and every record, and collect what the index keeps of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.file_kinds import why_not_tfrecords
from pipeline.inputs.records.parsing import ParseError, parse_record, readable_id
from pipeline.inputs.records.quantized import quantize

SAMPLED = 256
"""The values of the middle frame are counted for this many videos, the first of a shard; no frame is read twice."""


@dataclass(frozen=True)
class Quarantined:
    """A record that is left out, or a whole file that gave no record; for a file `offset` is 0."""

    file: str
    offset: int
    """The offset of the payload in bytes; if the record's header is damaged, that of the header."""
    reason: str


@dataclass(frozen=True)
class ShardReport:
    """What a shard holds: columns over its n good records, in the file's order."""

    path: str
    size: int
    """The size of the file in bytes; 0 if it cannot be read."""
    modified: int
    """When the file was last changed, in nanoseconds; 0 if it cannot be read."""
    records: int
    """The number of all records in the file, including the quarantined."""
    ids: list[str]
    offsets: np.ndarray
    """int64 [n], where each payload begins in the file."""
    lengths: np.ndarray
    """int32 [n], the size of each payload in bytes."""
    checksums: np.ndarray
    """uint32 [n], the checksum of each payload."""
    num_frames: np.ndarray
    """int32 [n], the number of rows of each feature."""
    cut: int
    """The number of records that have more frames than max_frames."""
    labels: np.ndarray
    """int32, the labels of all records, one record after the other."""
    labeled: np.ndarray
    """bool [n], whether each record says which labels it has, be it none; others have an empty list."""
    groups: list[str]
    """What each record belongs to; empty if the dataset declares no `group_key`."""
    label_offsets: np.ndarray
    """int64 [n+1]: record i has labels[label_offsets[i]:label_offsets[i+1]]."""
    quarantined: list[Quarantined]
    values: np.ndarray
    """int64 [features,256]: how often each quantized value occurs in one frame of each of the first videos."""
    peaks: np.ndarray
    """float32 [n,features], the largest absolute value of each feature; 0 for bytes, which are bounded anyway."""

    @property
    def readable(self) -> bool:
        """Whether the file could be read, even if its content is damaged; if not, another try may succeed."""
        return self.records > 0 or not self.quarantined


def check_shard(path: Path, dataset: DatasetConfig) -> ShardReport:
    """Check a shard by reading it once. Bad records and an unreadable file are reported; they raise no exception."""
    ids, offsets, lengths, checksums, num_frames, labels, peaks = [], [], [], [], [], [], []
    labeled: list[bool] = []
    groups: list[str] = []
    quarantined: list[Quarantined] = []
    sampled: list[list[np.ndarray]] = [[] for _ in dataset.features]
    size = modified = records = cut = 0
    try:
        status = path.stat()
        for record in tfrecord.scan_records(path):
            records += 1
            fault = record.fault
            if fault and not record.offset:  # not even the first record begins as one
                fault = why_not_tfrecords(path) or fault
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
            labeled.append(parsed.labeled)
            if dataset.group_key:
                groups.append(parsed.group)
            peaks.append(parsed.peaks)
            cut += dataset.level == "frame" and parsed.num_frames > dataset.max_frames
            if len(ids) <= SAMPLED:
                for rows, frames in zip(sampled, parsed.features):
                    rows.append(frames[parsed.num_frames // 2].copy())  # a view would keep the whole record in memory
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
        labeled=np.array(labeled, bool),
        groups=groups,
        label_offsets=np.concatenate([[0], np.cumsum([len(row) for row in labels], dtype=np.int64)]),
        quarantined=quarantined,
        values=np.stack([count_values(np.array(rows)) for rows in sampled]),
        peaks=np.array(peaks, np.float32).reshape(len(ids), len(dataset.features)),
    )


def count_values(frames: np.ndarray) -> np.ndarray:
    """Count how often each value 0..255 occurs in frames, int64 [256]; floats are quantized as in YouTube-8M."""
    if frames.dtype.kind == "f":
        frames = quantize(frames, -2, 2)
    return np.bincount(frames.ravel(), minlength=256)
