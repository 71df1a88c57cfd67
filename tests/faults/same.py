"""What the folders of two runs hold, without what differs between any two runs."""

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_TIMES = {"seconds", "examples_per_second", "evaluation_seconds", "began", "begun", "started", "ended"}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(part) for name, part in value.items() if name not in _TIMES}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def _json(content: bytes) -> bytes:
    return json.dumps(_without_times(json.loads(content))).encode()


def _json_lines(content: bytes) -> bytes:
    return b"\n".join(map(_json, content.splitlines()))


def _model(content: bytes) -> bytes:
    """Keras numbers shared objects by their address, and notes the date."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        architecture = re.sub(rb'"shared_object_id": \d+', b"", archive.read("config.json"))
        return architecture + archive.read("model.weights.h5")


def _checkpoint(content: bytes) -> bytes:
    """How many steps were timed depends on where training stopped."""
    with np.load(io.BytesIO(content)) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    state = json.loads(values.pop("state").tobytes())
    state.pop("timed_examples")
    parts = [_json(json.dumps(state).encode()), *(name.encode() + values[name].tobytes() for name in sorted(values))]
    return b"\n".join(parts)


def _ledger(content: bytes) -> bytes:
    """The last line of a name counts; a killed download may leave some twice, and one cut short."""
    lines = {}
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            lines[values["name"]] = {name: value for name, value in values.items() if name != "mtime_ns"}
    return json.dumps(lines, sort_keys=True).encode()


def _events(content: bytes) -> bytes:
    return b""


def _index(content: bytes) -> bytes:
    """An index knows its shards by their times, and digests these."""
    values = _without_times(json.loads(content))
    for shard in values.get("shards", ()):
        shard.pop("modified", None)
    values.get("inputs", {}).pop("files", None)
    return json.dumps(values).encode()


def _page(content: bytes) -> bytes:
    content = re.sub(rb'name="made-from" content="\w+"', b"", content)  # it digests summaries
    return re.sub(rb"\d{4}-\d\d-\d\d( \d\d:\d\d)?", b"DATE", content)


EXCEPT: dict[str, Callable[[bytes], bytes]] = {
    r"data/\w+/download\.jsonl": _ledger,  # the times of files
    r"data/\w+/index/(dataset|done)\.json": _index,  # the times of shards
    r"runs/\w+/[\w/-]+/summary\.json": _json,  # how many seconds training took
    r"runs/\w+/[\w/-]+/metrics\.jsonl": _json_lines,  # the same of each range of steps
    r"submissions/.*\.json": _json,  # it quotes the summaries
    r"runs/\w+/[\w/-]+/tensorboard/events": _events,  # the time of each scalar
    r"runs/.*\.keras": _model,  # the date
    r"runs/\w+/[\w/-]+/checkpoint\.npz": _checkpoint,  # how many seconds training took so far
    r"reports/\w+\.html": _page,  # the date
}
"""Files whose bytes may differ between two runs, and what of them may not. All others are the same, byte for byte."""


def content(folder: Path) -> dict[str, bytes]:
    """Return what lies below a folder, by name: files' content that two runs share, and folders, which are empty.

    Temporary files and locks are among it.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        name = re.sub(r"(tensorboard/events)\.out\.tfevents\..*", r"\1", name)  # it names the time and the machine
        data = path.read_bytes() if path.is_file() else b""
        rules = [rule for pattern, rule in EXCEPT.items() if re.fullmatch(pattern, name)]
        found[name] = rules[0](data) if rules and path.is_file() else data
    return found


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """List what is left over, what is missing, and what differs."""
    return [
        *(f"left over: {name}" for name in sorted(found.keys() - expected.keys())),
        *(f"missing: {name}" for name in sorted(expected.keys() - found.keys())),
        *(f"differs: {name}" for name in sorted(found.keys() & expected.keys()) if found[name] != expected[name]),
    ]
