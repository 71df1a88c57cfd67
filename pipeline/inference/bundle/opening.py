"""Open a bundle, whichever form it has: a zip of weights, or an .onnx file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.inference.bundle.container import Container, open_zip
from pipeline.inference.bundle.onnx_container import OnnxContainer, open_onnx
from pipeline.inputs.records.file_kinds import kind_of_file


def is_onnx(path: Path) -> bool:
    """Return whether a file is an ONNX model, by its content; a file that is not there is none."""
    if not path.is_file():
        return False
    kind = kind_of_file(path)
    return kind is not None and kind.format == "onnx"


@contextlib.contextmanager
def open_bundle(path: Path) -> Iterator[Container | OnnxContainer]:
    """Open a bundle's container. Raises BundleError if the file is faulty, also for faults found inside the block.

    Raises StageError if it is an .onnx file and the package onnx is not installed.
    """
    with open_onnx(path) if is_onnx(path) else open_zip(path) as container:
        yield container
