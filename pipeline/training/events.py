"""Write numbers as TensorBoard reads them: a file of TFRecords, each with an event.

TensorBoard's own writer has a thread, and files of TensorFlow, which take an interrupted system call for a failure.
"""

import os
import socket
import time
from pathlib import Path

from pipeline.inputs.records.tfrecord import write_records

_VERSION = "brain.Event:2"


class EventFile:
    """A new file of events in a folder, which is made. Raises OSError, as its methods do."""

    def __init__(self, folder: Path):
        from tensorboard.compat.proto import event_pb2, tensor_pb2, types_pb2

        self._event, self._tensor, self._float = event_pb2.Event, tensor_pb2.TensorProto, types_pb2.DT_FLOAT
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._file = self.path.open("wb")
        self._write(file_version=_VERSION)

    def add(self, name: str, value: float, step: int) -> None:
        """Add a number of a step."""
        tensor = self._tensor(dtype=self._float, tensor_shape={}, float_val=[value])
        metadata = {"plugin_data": {"plugin_name": "scalars"}, "data_class": "DATA_CLASS_SCALAR"}
        self._write(step=step, summary={"value": [{"tag": name, "tensor": tensor, "metadata": metadata}]})

    def flush(self) -> None:
        """Let readers see what was added."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, **fields: object) -> None:
        write_records(self._file, [self._event(wall_time=time.time(), **fields).SerializeToString()])
