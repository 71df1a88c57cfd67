"""Hostile files against the stages that meet them: an exit status, one line, and nothing that a terminal obeys."""

import http.server
import io
import json
import shutil
import struct
import subprocess
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fixtures.made_runs import make_all
from fixtures.made_up_runs import make_index, make_run
from fixtures.support import frames_of, run_here, stage_here

from pipeline.artifacts.files import write_json
from pipeline.inputs.records import encoding, tfrecord
from pipeline.runtime.output import printable

CONTROLS = "\x1b]0;owned\x07\x1b[2J\r\b\x9b31m\u202egnp.\u2066"
SECRET = "s3cr3t"
JSON = {
    "html": "<html>please log in</html>",
    "nothing": "",
    "deep": '{"a":' * 100_000,
    "digits": f'{{"format": {"9" * 5000}}}',
    "wide number": f'{{"format": {10**400}}}',
    "large float": '{"format": 1e999}',
    "no number": '{"format": NaN}',
    "list": "[1, 2]",
    "text": json.dumps(CONTROLS),
    "other object": json.dumps({CONTROLS: CONTROLS}),
    "wrong types": "{}",  # see `hostile_json`
    "wrong fields": "{ }",
    "newer": json.dumps({"format": 99, "version": CONTROLS}),
}


def quiet(text: str) -> bool:
    """Whether a terminal only shows a text; a bar may go back to the start of its line."""
    return printable(text.replace("\r", "")) == text.replace("\r", "")


def check(result: subprocess.CompletedProcess, said: str = "", harmless: bool = False) -> None:
    """The stage ended with one error, or well where that is harmless, and printed nothing that is obeyed."""
    for text in (result.stdout, result.stderr):
        assert quiet(text) and SECRET not in text and "Traceback" not in text, text
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if harmless and result.returncode == 0:
        return
    assert result.returncode in (1, 2) and len(errors) == 1 and len(errors[0]) < 2000, result.stderr
    assert said in errors[0], errors[0]


def hostile_json(path: Path, text: str) -> str:
    """The text or, for an empty object, the file with each value of another type; its format stays or does not."""
    if text not in ("{}", "{ }"):
        return text
    fields = json.loads(path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text())
    if text == "{ }":
        return json.dumps({name: value if name == "format" else [CONTROLS] for name, value in fields.items()})
    return json.dumps({name: 7 if isinstance(value, list) else [CONTROLS] for name, value in fields.items()})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An index, two runs and their ensemble, all of which were scored."""
    folder = tmp_path_factory.mktemp("hostile")
    index = make_index(folder)
    for name, noise in {"average": 2.0, "netvlad": 3.0}.items():
        run = make_run(folder, index, name, noise)
        write_json(run / "summary.json", {"parameters": 5, "steps": 3, "batch_size": 16, "examples_per_second": 1.5})
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0, "gap": 0.1}\n')
    run_here("ensemble", folder)
    run_here("evaluate", folder)
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "made"))


STAGES = {"report": ("--no-frames",), "infer": ("--run", "average"), "export": ("--run", "average")}
"""Flags of some stages."""
MET = {
    "data/small/index/dataset.json": ("evaluate", "submit", "infer"),
    "runs/small/average/config.json": ("soup", "report", "infer", "export"),
    "runs/small/average/done.json": ("evaluate", "infer"),
    "runs/small/average/summary.json": ("evaluate", "report"),
    "runs/small/average/predictions/holdout/done.json": ("evaluate", "ensemble"),
    "runs/small/average/predictions/holdout/scores.json": ("evaluate",),
    "runs/small/ensemble/weights.json": ("evaluate", "submit", "ensemble", "report"),
}
"""Files, and stages that read them."""
HARMLESS = {"scores.json", "summary.json"}
"""Files that may lack everything: what they tell is left out, or computed anew."""


@pytest.mark.wide
@pytest.mark.parametrize(("name", "stage"), [(name, stage) for name, stages in MET.items() for stage in stages])
def test_json_that_a_stage_meets(folder, name, stage):
    """All values for the first of a file's stages, those of wrong types for the others."""
    path = folder / name
    before = path.read_text()
    for kind, text in JSON.items():
        if stage == MET[name][0] or kind == "wrong fields":
            path.write_text(hostile_json(path, text))
            result = stage_here(stage, folder, "--preset", folder / "small.py", *STAGES.get(stage, ()))
            check(result, harmless=path.name in HARMLESS)
            path.write_text(before)


ARRAY = {
    "pickle": ("|O", "(1,)", b"x"),
    "shape": ("|u1", "(4611686018427387904, 6)", b""),
    "negative": ("|u1", "(-1, 6)", b""),
    "code": ("|u1", "__import__('os')", b""),
}


def npz(path: Path, descr: str, shape: str, data: bytes) -> Path:
    """The user's own file: an array with a header of a stranger's."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("rgb", "audio", CONTROLS):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
    return path


def test_own_files_and_bundles_of_strangers(tmp_path):
    """In one go: starting a model is what takes the time."""
    make_all(tmp_path)
    names = f'index,name\n0,"{CONTROLS}$\\frac$ https://me:{SECRET}@h/?sig={SECRET}"\n'
    names += "".join(f"{number},\n" for number in range(1, 9))
    (tmp_path / "names.csv").write_text(names, encoding="utf-8", newline="")
    own = [npz(tmp_path / f"{kind}{CONTROLS}.npz", *array) for kind, array in ARRAY.items()]
    long = encoding.encode_sequence_example({"id": "v"}, {CONTROLS: frames_of(2), "audio": frames_of(2)[:, 6:]})
    good = encoding.encode_sequence_example(
        {"id": "https://h/?sig=a"}, {"rgb": frames_of(2)[:, :6], "audio": frames_of(2)[:, 6:]}
    )
    own.append(tmp_path / "mixed.tfrecord")
    with own[-1].open("wb") as file:
        tfrecord.write_records(file, [long, good])
        file.write(struct.pack("<Q", 1 << 60) + struct.pack("<I", tfrecord.masked_crc(struct.pack("<Q", 1 << 60))))
    arguments = ("--preset", tmp_path / "small.py", "--run", "average", "--top", 9)
    result = stage_here("predict", tmp_path, *own, *arguments, "--json", "--vocabulary", tmp_path / "names.csv")
    check(result, "6 of 7 videos or files could not be read")
    (line,) = result.stdout.splitlines()
    assert any("\x9b31m\u202egnp" in label["name"] for label in json.loads(line)["labels"])
    result = stage_here("predict", tmp_path, own[-1], *arguments, "--vocabulary", tmp_path / "names.csv")
    check(result)
    assert "\\x1b]0;owned\\x07" in result.stdout and "$\\frac$" in result.stdout
    for content in (b"", b"<html>", b"PK\x03\x04" + CONTROLS.encode()):
        (tmp_path / f"b{CONTROLS}.zip").write_bytes(content)
        check(stage_here("predict", tmp_path, own[-1], "--run", tmp_path / f"b{CONTROLS}.zip"), "not a bundle")


def test_submissions_and_ids_that_are_checked(tmp_path):
    path = tmp_path / f"a{CONTROLS}.csv"
    path.write_bytes(f"VideoId,LabelConfidencePairs\n{CONTROLS},0 {CONTROLS}\n{CONTROLS},{'9' * 5000} 1e999\n".encode())
    result = stage_here("submit", tmp_path, "--check", path)
    assert result.returncode == 1 and quiet(result.stderr) and "\\x1b]0;owned" in result.stderr
    (tmp_path / "ids").write_bytes(b"a\xff\n")
    check(stage_here("submit", tmp_path, "--check", path, "--ids", tmp_path / "ids"), "is not UTF-8")
    path.write_bytes(b"VideoId,LabelConfidencePairs\n" + b"a" * (6 << 20))
    result = stage_here("submit", tmp_path, "--check", path)
    assert result.returncode == 1 and "the line has more than 4 MiB" in result.stderr and len(result.stderr) < 1000


def test_records_that_are_indexed(tmp_path):
    """Ids and keys in quarantine; the name of a shard, which is not UTF-8 either."""
    raw = tmp_path / "data" / "demo" / "raw" / "train"
    raw.mkdir(parents=True)
    for keys in ({"id": CONTROLS, "labels": [1]}, {CONTROLS: "v", "labels": [1]}):
        features = {"rgb": np.zeros((2, 1024), np.uint8), "audio": np.zeros((2, 128), np.uint8)}
        payload = encoding.encode_sequence_example(keys, features)
        with (raw / f"a{CONTROLS}\udcff{len(keys)}.tfrecord").open("ab") as file:
            tfrecord.write_records(file, [payload])
    result = stage_here("ingest", tmp_path, "--workers", 1, "--preset", "demo", "--max-quarantined", 5)
    check(result)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with a hostile reason, or with a plan that is none."""

    answer: tuple[int, str, bytes]

    def do_GET(self):
        code, reason, body = self.answer
        self.send_response_only(code, reason)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


QUICK = ("--attempts", 1, "--pause", 0, "--timeout", 5, "--preset", "youtube8m")


@pytest.mark.parametrize("kind", ["html", "deep", "digits", "list", "text", "other object"])
def test_a_mirror_that_answers_with_something_else(tmp_path, server, kind):
    Handler.answer = 200, "OK", JSON[kind].encode()
    port = server.server_address[1]
    result = stage_here("download", tmp_path, *QUICK, "--mirror", f"http://me:{SECRET}@127.0.0.1:{port}/")
    check(result, "download_plans")


def test_no_secret_of_an_address_is_told_or_kept(tmp_path, server):
    """Of a list of signed addresses; the same command goes on from that list, by the names of the files."""
    Handler.answer = 403, "\x1b[2J\x9bno", b""
    port = server.server_address[1]
    signed = [f"X-Amz-Signature={SECRET}", f"sig={SECRET}&token={SECRET}", f"GoogleAccessId={SECRET}#key={SECRET}"]
    names = [f"train/train{digits}.tfrecord" for digits in ("aa", "pj", "Z9")]
    urls = tmp_path / "urls.txt"
    places = [f"http://me:{SECRET}@127.0.0.1:{port}/{name}?{query}" for name, query in zip(names, signed)]
    urls.write_text("\n".join(place.partition("#")[0] for place in places))
    arguments = (*QUICK, "--from", urls)
    result = stage_here("download", tmp_path, *arguments)
    assert result.returncode == 1 and "missing: 3 of 3 files" in result.stderr
    assert quiet(result.stderr) and "\\x1b[2J" in result.stderr and "127.0.0.1" in result.stderr
    listed = (tmp_path / "data" / "youtube8m" / "download-missing.txt").read_text()
    assert all(name in listed for name in names) and quiet(listed)
    shard = io.BytesIO()
    tfrecord.write_records(shard, [b"record"])
    Handler.answer = 200, "OK", shard.getvalue()
    again = stage_here("download", tmp_path, *arguments)
    assert again.returncode == 0, again.stderr
    for text in (result.stdout, result.stderr, listed, again.stdout, again.stderr):
        assert SECRET not in text
    for path in (tmp_path / "data").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    server.shutdown()
    server.server_close()
    others = f"http://me:{SECRET}@[::1/a.tfrecord?sig={SECRET}", f"s3://b/a?sig={SECRET}", f"http://h/a {SECRET}"
    for url in (places[0], *others):
        urls.write_text(f"{url.partition('#')[0]}x")
        check(stage_here("download", tmp_path / "other", *arguments, "--splits", "train"))
