"""The stage `submit` with --upload and --kaggle: what it made gets there, verified, replaces nothing, and goes once."""

import calendar
import hashlib
import json
import shlex
import sys
import time

import numpy as np
import pytest
from fixtures.support import SMALL, name_classes, write_shard
from google.cloud import storage
from servers.bucket_emulator import Fault
from servers.kaggle_server import Fault as SiteFault
from servers.kaggle_server import kaggle_site

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import write_json
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import POOLING, Experiment, ModelConfig, to_dict
from pipeline.inputs.index import Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard

PRESET = (
    f"from pipeline.config import *\nMODELS = ('average',)\n"
    f"def experiment(model):\n    return Experiment({SMALL!r}, ModelConfig(model, POOLING[model]()))\n"
)


def predict(folder, seed: int, *splits: str) -> None:
    """What infer leaves behind of the splits, by default of test, with scores drawn from a seed."""
    index = Index.open(folder / "data" / "small" / "index")
    run = folder / "runs" / "small" / "average"
    config = to_dict(Experiment(SMALL, ModelConfig("average", POOLING["average"]())))
    write_json(run / "config.json", {"preset": "small", "run": "average", **config})
    write_json(run / "summary.json", {"seed": seed})
    inputs = {"index": index.digest, "model": f"of seed {seed}"}
    Done(config, {}, inputs["model"]).write(run)
    for split in splits or ("test",):
        ids, chance = index.ids_of(index.rows(split)), np.random.default_rng(seed)
        labels = np.argsort(chance.random((len(ids), SMALL.num_classes)), axis=1)
        scores = -np.sort(-chance.random(labels.shape), axis=1)
        PredictionStore(run / "predictions" / split).write_all(
            {"seed": seed}, inputs, len(ids), Predictions(ids, labels, scores)
        )


def sample_of(tmp_path, *rows: str):
    path = tmp_path / "sample.csv"
    path.write_text("\r\n".join([*rows, ""]), newline="")
    return path


@pytest.fixture
def submit(tmp_path, stage):
    preset = tmp_path / "small.py"
    preset.write_text(PRESET)
    shard, index = tmp_path / "raw" / "a.tfrecord", tmp_path / "data" / "small" / "index"
    write_shard(shard, range(30))
    index.mkdir(parents=True)
    write_index(index, SMALL, [Source(shard, "test")], [check_shard(shard, SMALL)])
    predict(tmp_path, 0)
    return lambda *arguments, **more: stage("submit", "--preset", preset, *arguments, **more)


def objects(url: str) -> dict[str, bytes]:
    bucket, _, prefix = url.removeprefix("gs://").partition("/")
    with storage.Client.create_anonymous_client() as client:
        return {blob.name: blob.download_as_bytes() for blob in client.list_blobs(bucket, prefix=prefix)}


@pytest.mark.parametrize("slash", ["", "/"])
def test_both_files_get_there_and_are_not_sent_again(tmp_path, submit, put, network, slash):
    bucket = put({})
    output = submit("--upload", f"{bucket}/mine/2018{slash}").stdout
    files = {path.name: path.read_bytes() for path in (tmp_path / "submissions").iterdir()}
    (csv,) = (name for name in files if name.endswith(".csv"))
    both = [csv.replace(".csv", ".json"), csv]
    assert set(files) == set(both)
    assert objects(bucket) == {f"mine/2018/{name}": content for name, content in files.items()}
    assert output.splitlines()[1:] == [f"{bucket}/mine/2018/{name}: uploaded, checksum verified" for name in both]
    sent = network.count("WRITE")
    assert submit("--upload", f"{bucket}/mine/2018").stdout == output
    assert network.count("WRITE") == sent
    predict(tmp_path, 1)
    submit("--upload", f"{bucket}/mine/2018")
    assert len(objects(bucket)) == 4


def test_a_network_that_fails_for_a_while(submit, put, network):
    bucket = put({})
    network.faults += [Fault("LOOK", status=503), Fault("WRITE", status=429), Fault("WRITE", lost=True)]
    submit("--upload", bucket)
    assert len(objects(bucket)) == 2


def test_a_file_like_a_sample_gets_there_too(tmp_path, submit, put):
    bucket = put({})
    submit("--like", sample_of(tmp_path, "id,labels", "v001,3 0"), "--upload", bucket)
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    assert objects(bucket)[csv.name] == csv.read_bytes()


def test_another_file_of_the_same_name_is_not_replaced(tmp_path, submit, put):
    submit()
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    bucket = put({f"d/{csv.name}": b"theirs"})
    result = submit("--upload", f"{bucket}/d", check=False)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"{csv} was not uploaded: {bucket}/d/{csv.name} holds something else" in result.stderr
    assert objects(bucket)[f"d/{csv.name}"] == b"theirs"
    assert csv.exists()


@pytest.mark.parametrize("content", ["a\r\nb\r\n", "\ufeffa\nb", "a \r\rb\t\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_of_ids_may_be_of_any_editor(tmp_path, stage, content, encoding):
    csv, ids = tmp_path / "s.csv", tmp_path / "ids.txt"
    csv.write_text("VideoId,LabelConfidencePairs\na,1 0.5\nb,2 0.5\n")
    ids.write_bytes(content.lstrip("\ufeff" if encoding == "utf-16" else "").encode(encoding))
    assert stage("submit", "--check", csv, "--ids", ids).stdout == f"{csv}: valid, 2 videos\n"


def test_what_cannot_work_is_said_clearly(tmp_path, submit, put, network, monkeypatch):
    for arguments, message in (
        (("--upload", "s3://bucket/x"), "write gs://BUCKET/PATH"),
        (("--upload", "gs://no-such-bucket/x"), "there is no such object or bucket"),
        (("--upload", "gs://bucket/x", "--check", "x.csv"), "--check only checks"),
    ):
        result = submit(*arguments, check=False)
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    result = submit("--upload", "gs://bucket/x", check=False)
    assert result.returncode == 1 and "gcloud auth application-default login" in result.stderr
    assert "Traceback" not in result.stderr


# ---------------------------------------------------------------------------------------------------------------- like


def test_a_file_like_a_sample_is_written_checked_and_made_again(tmp_path, submit, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name_classes(tmp_path / "data" / "small" / "index", [*"abcdefgh", "i, j"])
    sample = sample_of(tmp_path, 'clip,b,"i, j"', "v007,0,0", "v003,0,0")
    told = submit("--like", "sample.csv").stdout.splitlines()
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    about = json.loads(csv.with_suffix(".json").read_text())
    assert told == [
        f"{csv}: 2 videos of split test, valid",
        "like sample.csv: one column for each class, named",
        "28 videos of the split left out: the sample does not ask for them",
        "7 classes left out: the sample has no column for 'a', 'c', 'd', 'e', 'f', ...",
    ]
    index, (part,) = (
        Index.open(tmp_path / "data" / "small" / "index"),
        PredictionStore(tmp_path / "runs" / "small" / "average" / "predictions" / "test").read(),
    )
    assert part.ids == index.ids_of(index.rows("test"))
    expected = ['clip,b,"i, j"']
    for video in (7, 3):
        score = dict(zip(part.labels[video].tolist(), part.scores[video].tolist()))
        expected.append(f"v{video:03d},{score[1]:g},{score[8]:g}")
    assert csv.read_bytes() == "".join(f"{line}\r\n" for line in expected).encode()
    assert csv.name == f"small-{about['sha256'][:8]}.csv" and about["videos"] == 2
    assert about["like"]["sha256"] == hashlib.sha256(sample.read_bytes()).hexdigest()
    assert about["commands"][-1].endswith("--run average --split test --like sample.csv")
    before = csv.read_bytes()
    submit(*shlex.split(about["commands"][-1])[5:])
    assert csv.read_bytes() == before
    submit("--like", sample, "--submission.gzip")
    for more in ((), ("--ids", "data/small/index"), ("--num-classes", "9", "--ids", "data/small/index")):
        for file in (csv, f"{csv}.gz"):
            assert submit("--check", file, "--like", sample, *more).stdout == f"{file}: valid, 2 videos\n"
    csv.write_bytes(before.replace(b"v003,0", b"v003,7"))
    result = submit("--check", csv, "--like", sample, check=False)
    assert result.returncode == 1 and f"{csv}: line 3, b: confidence '7." in result.stderr


def test_how_many_labels_is_the_samples_or_as_the_flag_says(tmp_path, submit):
    sample = sample_of(tmp_path, "id,labels", "v001,3 0", "v000,8")
    folder = tmp_path / "submissions"
    for top_k, labels in ((None, 2), (3, 3)):
        asked = [] if top_k is None else ["--submission.top-k", top_k]
        assert f"{labels} labels a row" in submit("--like", sample, *asked).stdout
        newest = max(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        assert ("--submission.top-k" in json.loads(newest.read_text())["commands"][-1]) == (top_k is not None)
        csv = newest.with_suffix(".csv")
        assert [len(line.split(",")[1].split()) for line in csv.read_text().splitlines()[1:]] == [labels] * 2
        assert submit("--check", csv, "--like", sample, *asked).returncode == 0
    assert "3 labels; keep the best 2" in submit("--check", csv, "--like", sample, check=False).stderr


def test_decisions_by_the_thresholds_of_the_run(tmp_path, submit, stage, monkeypatch):
    """Those that are stored, of the hold-out beside the split; the commands that the JSON tells give the same bytes."""
    shards = [tmp_path / "raw" / f"{split}.tfrecord" for split in ("test", "holdout")]
    sources = [Source(path, path.stem) for path in shards]
    for number, shard in enumerate(shards):
        write_shard(shard, range(40 * number, 40 * number + 40))
    write_index(tmp_path / "data" / "small" / "index", SMALL, sources, [check_shard(path, SMALL) for path in shards])
    predict(tmp_path, 0, "test", "holdout")
    sample = sample_of(tmp_path, "id,0,1,2,3,4,5,6,7,8", "v001,0,0,1,0,0,0,0,0,0", "v000,1,0,0,0,0,0,0,0,0")
    assert "for decisions give --threshold" in submit("--like", sample).stdout
    result = submit("--like", sample, "--threshold", "stored", check=False)
    assert result.returncode == 1 and "average has no thresholds: run threshold --run average" in result.stderr
    command = ("threshold", "--preset", tmp_path / "small.py", "--threshold.goal", "recall", "--threshold.value", "0.6")
    stage(*command, "--threshold.least-positives", "3")
    told = submit("--like", sample, "--threshold", "stored").stdout
    csv = max((tmp_path / "submissions").glob("*.csv"), key=lambda path: path.stat().st_mtime_ns)
    thresholds = json.loads((tmp_path / "runs" / "small" / "average" / "thresholds.json").read_text())["thresholds"]
    assert len(set(thresholds)) > 3
    (part,) = PredictionStore(tmp_path / "runs" / "small" / "average" / "predictions" / "test").read()
    wanted = []
    for video in (1, 0):
        scores = dict(zip(part.labels[video].tolist(), part.scores[video].tolist()))
        wanted.append(",".join([f"v00{video}", *(f"{scores[label] >= thresholds[label]:d}" for label in range(9))]))
    assert csv.read_text().splitlines()[1:] == wanted
    without = sum(",1" not in row for row in wanted)
    assert f"1 where a score reaches its threshold, else 0; {without} row{'s' * (without != 1)} without a 1" in told
    about = json.loads(csv.with_suffix(".json").read_text())
    assert about["commands"][-2] == (
        "python -m pipeline.threshold --preset small.py --run average --threshold.goal recall --threshold.value 0.6 "
        "--threshold.least-positives 3"
    )
    assert "--threshold stored" in about["commands"][-1] and about["thresholds"]
    before = csv.read_bytes()
    csv.unlink()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        submit(*shlex.split(about["commands"][-1])[5:])
    assert csv.read_bytes() == before
    assert submit("--check", csv, "--like", sample).returncode == 0
    predict(tmp_path, 1, "test", "holdout")
    result = submit("--like", sample, "--threshold", "stored", check=False)
    assert "chosen from other predictions than average has now: run threshold --run average again" in result.stderr
    assert submit("--like", sample, "--threshold", "0.5").returncode == 0


def test_decisions_are_for_files_like_a_sample(tmp_path, submit):
    sample = sample_of(tmp_path, "id,labels", "v001,3 0", "v000,")
    told = submit("--like", sample, "--threshold", "0.999").stdout
    assert "at most 2 labels a row: as many as" in told
    assert "2 rows of which no label reaches its threshold: empty" in told
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    assert csv.read_text().split() == ["id,labels", "v001,", "v000,"]
    for arguments in (("--threshold", "0.5"), ("--threshold", "0.5", "--check", csv, "--like", sample)):
        result = submit(*arguments, check=False)
        assert result.returncode == 2 and "give --like, and no --check" in result.stderr
    result = submit("--like", sample, "--threshold", "1.5", check=False)
    assert result.returncode == 2 and "--threshold must be stored, or a number from 0 to 1, not '1.5'" in result.stderr


def test_a_sample_that_does_not_fit_leaves_nothing(tmp_path, submit):
    for rows, message in (
        (["id,0,9", "v001,0,0"], "1 of its 2 columns beside the ids not a class of the dataset: '9'"),
        (["id,0,1", "v001.mp4,0,0"], "'v001.mp4' (near: 'v001')"),
    ):
        result = submit("--like", sample_of(tmp_path, *rows), check=False)
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "submissions").exists()


# -------------------------------------------------------------------------------------------------------------- kaggle


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Kaggle, and a token for it in the environment."""
    (tmp_path / "kaggle").mkdir()
    with kaggle_site(tmp_path / "kaggle") as site:
        for name, value in site.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("KAGGLE_API_TOKEN", site.script.token)
        yield site


def told(tmp_path) -> list[dict]:
    """What the JSON beside the CSV says of submissions."""
    (about,) = (tmp_path / "submissions").glob("small-*.json")
    return json.loads(about.read_text(encoding="utf-8"))["submitted"]


def logged(tmp_path) -> list[str]:
    lines = (tmp_path / "submissions" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["status"] for line in lines]


@pytest.mark.wide
def test_a_submission_gets_its_score_and_is_not_sent_again(tmp_path, submit, site):
    site.settle("youtube8m-2018", 2, status="COMPLETE", publicScore="0.87123", privateScore="0.86999")
    site.fail(SiteFault("Start", status=503), SiteFault("Put", reset=True), SiteFault("Create", lost=True))
    begun = time.time()
    outputs = [submit("--kaggle", "--message", "the “best”")]
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    (there,) = site.submissions("youtube8m-2018")
    assert (there["file"], there["message"], there["bytes"]) == (csv.name, "the “best”", csv.read_bytes())
    outcome = "submitted to youtube8m-2018, no. 1000: public score 0.87123, private score 0.86999"
    assert outputs[0].stdout.splitlines()[1:] == [f"{csv}: {outcome}"]
    (entry,) = told(tmp_path)
    assert entry.items() >= {"status": "complete", "ref": 1000, "public_score": 0.87123, "file": csv.name}.items()
    assert begun - 1 <= calendar.timegm(time.strptime(entry["time"], "%Y-%m-%dT%H:%M:%S+00:00")) <= time.time()
    assert logged(tmp_path) == ["sending", "pending", "complete"] and not site.left()
    asked = len(site.seen())
    outputs += [submit("--kaggle", "--submission.gzip"), submit()]
    assert outputs[1].stdout.splitlines()[1:] == [f"{csv}.gz: known since {entry['time']}: {outcome}"]
    assert len(site.seen()) == asked, "the site was asked for what the log knows"
    assert told(tmp_path) == [entry], "forgotten when the file is written anew"
    assert not any(line["kind"] == "Connect" for line in site.seen()), "the real site was asked"
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert site.script.token.encode() not in path.read_bytes(), path
    for output in outputs:
        assert site.script.token not in output.stdout + output.stderr
        assert "upload" not in output.stdout + output.stderr, "an address where anybody could upload"


def test_a_killed_run_only_waits_and_a_rejected_file_says_why(tmp_path, submit, site):
    waiting = submit("--kaggle", "--competition", "other", "--wait", "0")
    assert waiting.stdout.endswith("submitted to other, no. 1000, no score yet: the same command asks again\n")
    assert told(tmp_path)[0]["message"] == "small average" and logged(tmp_path) == ["sending", "pending"]
    log = tmp_path / "submissions" / "log.jsonl"
    log.write_text(log.read_text().splitlines(True)[0])  # as if it was killed before the site had answered
    site.settle("other", status="ERROR", errorDescription="line 3: unknown id")
    rejected = submit("--kaggle", "--competition", "other", check=False)
    assert rejected.returncode == 1 and "no. 1000: line 3: unknown id; --again" in rejected.stderr
    assert "Traceback" not in rejected.stderr
    assert len(site.submissions("other")) == 1 and told(tmp_path)[0]["status"] == "error"


def test_what_cannot_be_submitted_is_said_clearly(tmp_path, submit, site, monkeypatch):
    for token, arguments, message in (
        ("x", ("--message", "x"), "give that too"),
        ("x", ("--kaggle", "--check", "x.csv"), "--check only checks"),
        ("", ("--kaggle",), "there are no credentials for Kaggle: make a new token at https://"),
        ("KGAT_0ld", ("--kaggle",), "the credentials from $KAGGLE_API_TOKEN are expired or wrong"),
    ):
        monkeypatch.setenv("KAGGLE_API_TOKEN", token)
        result = submit(*arguments, check=False)
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
        assert "KGAT" not in result.stdout + result.stderr
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    assert f"{csv} was not submitted" in result.stderr
    assert logged(tmp_path) == ["refused"] and site.submissions("youtube8m-2018") == []


def test_without_kaggles_package_it_names_the_extra(submit, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglesdk", None)
    for name in ("kaggle", "kaggle_client"):
        monkeypatch.delitem(sys.modules, f"pipeline.submission.{name}", raising=False)
    result = submit("--kaggle", check=False)
    assert result.returncode == 1 and "uv sync --inexact --extra kaggle" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_like_a_sample_is_submitted_too(tmp_path, submit, site):
    sample = sample_of(tmp_path, "id,labels", "v001,3 0")
    submit("--like", sample, "--kaggle", "--competition", "birds", "--wait", "0")
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    (there,) = site.submissions("birds")
    assert there["bytes"] == csv.read_bytes() and csv.read_bytes().startswith(b"id,labels\r\nv001,")
    assert set(json.loads(csv.with_suffix(".json").read_text())) >= {"like", "submitted"}
