"""What kind of file a file is, by its first bytes whatever its name says, and what to do with one of that kind."""

import zipfile
from pathlib import Path
from typing import NamedTuple

from pipeline.inputs.records import tfrecord

_LOOKED_AT = 1024
"""Bytes of the beginning: a tar names itself at byte 257, a transport stream repeats its mark at byte 188."""
_MEDIA = "features are read here, not pictures or sound: python -m pipeline.extract makes features of it"
_IMAGE = "extract its features first: features are read here, not pictures"
_UNPACK = "unpack it, and name the files that were in it"
_EMPTY = "it was not written or not copied to its end: make it again"
_ANSWER = "a server sent it in place of the file: read it to see why, and download the file again"
_POINTER = "the file itself is still on the server: `git lfs pull` brings it"
_SHEET = "save it as plain text (CSV)"
_BY_BEGINNING = (
    (b"\x93NUMPY", "npy", "a NumPy array (.npy)", ""),
    (b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file", ""),
    (b"PAR1", "parquet", "a Parquet table", ""),
    (b"ARROW1", "arrow", "an Arrow table", ""),
    (b"MATLAB 5.0", "matlab", "a MATLAB file", ""),
    (b"\x1f\x8b", "gzip", "gzipped", "unpack it with gunzip"),
    (b"\xfd7zXZ\x00", "xz", "an xz archive", _UNPACK),
    (b"BZh", "bzip2", "a bzip2 archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "7z", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "rar", "a RAR archive", _UNPACK),
    (b"\x1a\x45\xdf\xa3", "matroska", "a video (Matroska or WebM)", _MEDIA),
    (b"OggS", "ogg", "a video or sound file (Ogg)", _MEDIA),
    (b"fLaC", "flac", "a sound file (FLAC)", _MEDIA),
    (b"ID3", "mp3", "a sound file (MP3)", _MEDIA),
    (b"FLV\x01", "flv", "a video (FLV)", _MEDIA),
    (b"\x00\x00\x01\xba", "mpeg", "a video (MPEG)", _MEDIA),
    (b"\x89PNG\r\n\x1a\n", "png", "a picture (PNG)", _IMAGE),
    (b"\xff\xd8\xff", "jpeg", "a picture (JPEG)", _IMAGE),
    (b"GIF8", "gif", "a picture (GIF)", _IMAGE),
    (b"%PDF-", "pdf", "a PDF document", ""),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls", "an Excel workbook", _SHEET),
    (b"SQLite format 3\x00", "sqlite", "an SQLite database", ""),
)
"""Beginning, format, name and remedy. A remedy that depends on what the reader wants is empty."""
_IN_RIFF = {b"WAVE": "a sound file (WAV)", b"AVI ": "a video (AVI)", b"WEBP": "a picture (WebP)"}
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""Types of the first box of an MP4 or QuickTime file."""
_ONNX = tuple(bytes([0x08, version, follows]) for version in range(3, 33) for follows in (0x12, 0x3A, 0x42, 0x72))
"""An ONNX model begins with its version, field 1, and its maker, graph, operations or metadata follow."""
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in (2, 3, 4, 5))


class FileKind(NamedTuple):
    """What a file is."""

    format: str
    """A short name to compare with: npy, npz, hdf5, gzip, ..."""
    name: str
    """In words, to say after "the file is"."""
    remedy: str = ""
    """What to do with it; empty where this depends on what is wanted."""

    def is_not(self, wanted: str, otherwise: str) -> str:
        """Return the message that the file is of this kind and not what is `wanted`; `otherwise` is what to do then."""
        return f"the file is {self.name}, not {wanted}; {self.remedy or otherwise}"


TFRECORDS = FileKind("tfrecord", "TFRecords")


def kind_of_file(path: Path) -> FileKind | None:
    """Return what kind of file lies at a path, or None if its first bytes are of no kind that is known.

    Raises OSError if it cannot be read.
    """
    if path.is_dir():
        return FileKind("folder", "a folder", "name the files in it")
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    if not head:
        return FileKind("empty", "empty", _EMPTY)
    if tfrecord.begins_record(head):  # first: the length of a record may look like the mark of another kind
        return TFRECORDS
    if text := _text(head):  # before the marks: some of them are letters, with which a text may begin
        return text
    for beginning, *kind in _BY_BEGINNING:
        if head.startswith(beginning):
            return FileKind(*kind)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _in_zip(path)
    if head[257:262] == b"ustar":
        return FileKind("tar", "a tar archive", "unpack it with tar -xf, and name the files that were in it")
    if head.startswith(_ONNX):
        return FileKind("onnx", "an ONNX model", "predict takes one that `export --onnx` made as --run")
    if head.startswith(_PICKLES):
        return FileKind("pickle", "a Python pickle")
    return _medium(head)


def why_not_tfrecords(path: Path) -> str | None:
    """Return why a file that does not begin with a whole record is none of TFRecords; None if it may be a damaged one.

    Raises OSError if it cannot be read.
    """
    kind = kind_of_file(path)
    if kind is None or kind == TFRECORDS:
        return None
    return kind.is_not("TFRecords", "write what it holds as TFRecords")


def _in_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        return FileKind("zip", f"a zip archive that is damaged ({error})", "copy or make it again")
    if names and all(name.endswith(".npy") for name in names):
        return FileKind("npz", "a NumPy archive (.npz)")
    if "bundle.json" in names:
        return FileKind("bundle", "a bundle, which `export` made", "predict takes it as --run")
    if {"config.json", "model.weights.h5"} <= names:
        return FileKind("keras", "a Keras model")
    if any(name.endswith("/data.pkl") for name in names):
        return FileKind("pytorch", "a PyTorch file (.pt)")
    if any(name.startswith("xl/") for name in names):
        return FileKind("xlsx", "an Excel workbook", _SHEET)
    return FileKind("zip", "a zip archive", _UNPACK)


def _medium(head: bytes) -> FileKind | None:
    if head.startswith(b"RIFF") and head[8:12] in _IN_RIFF:
        return FileKind("riff", _IN_RIFF[head[8:12]], _IMAGE if head[8:12] == b"WEBP" else _MEDIA)
    if head[4:8] in _BOXES:
        return FileKind("mp4", "a video or sound file (MP4 or QuickTime)", _MEDIA)
    if head[0] == 0x47 and head[188:189] == b"\x47" and head[376:377] == b"\x47":
        return FileKind("mpeg", "a video (MPEG transport stream)", _MEDIA)
    if head[0] == 0xFF and head[1:2] in (b"\xfb", b"\xf3", b"\xf2"):
        return FileKind("mp3", "a sound file (MP3)", _MEDIA)
    return None


def _text(head: bytes) -> FileKind | None:
    """Return what kind of text a file is, from its beginning; None if it is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and len(head) % 2 == 0:
        text = head.decode("utf-16", errors="replace")
    else:
        text = head.decode("utf-8-sig", errors="replace")
        if len(head) == _LOOKED_AT:  # a character may be cut
            text = text[:-3] + text[-3:].rstrip("\ufffd")
    if any(not (character.isprintable() or character in "\t\r\n\f") or character == "\ufffd" for character in text):
        return None
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return FileKind("html", "a web page (HTML)", _ANSWER)
    if start.startswith("<"):
        return FileKind("xml", "XML text", "if it tells of an error, " + _ANSWER)
    if start.startswith("version https://git-lfs.github.com/spec/"):
        return FileKind("lfs", "a pointer of git LFS", _POINTER)
    if start.startswith("%pdf-"):
        return FileKind("pdf", "a PDF document")
    if start.startswith(("{", "[")):
        return FileKind("json", "JSON text")
    if any(separator in start.partition("\n")[0] for separator in ",;\t"):
        return FileKind("csv", "a table in text (CSV)")
    return FileKind("text", "plain text")
