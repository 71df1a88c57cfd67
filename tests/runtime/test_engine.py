"""Tasks on a cluster of Ray: the bytes of one process, also when a node is lost; errors as of one process."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import same
from fixtures.backbones import tiny_pictures
from fixtures.clips import even, write_clip
from fixtures.cluster import nodes
from fixtures.made_runs import make_all
from fixtures.support import (
    ROOT,
    TINY,
    of_one_feature,
    run_here,
    stage_command,
    stage_environment,
    stage_here,
    write_shard,
)

from pipeline.config.errors import StageError
from pipeline.runtime.engine import Processes, RayCluster, _work
from pipeline.runtime.parallel import default_workers, limit_processors


def squared(offset: int, value: int) -> int:
    if value == 13:
        raise StageError("v013: unlucky; take 12")
    return value**2 + offset


def surroundings(_: int) -> tuple:
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "KERAS_BACKEND", "PIPELINE_DATA")
    return default_workers(), *map(os.environ.get, names), str(Path.cwd())


def test_processes_give_results_in_order():
    assert list(Processes(1).map(squared, range(5), shared=(1,))) == [1, 2, 5, 10, 17]


@pytest.fixture
def limited():
    yield
    limit_processors(0)


def test_a_task_counts_on_its_own_processors(limited):
    limit_processors(3)
    assert default_workers() == 3


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StageError, match=r"Ray runs --engine ray and is not installed .*uv sync --inexact --extra ray"):
        RayCluster("ray")


def fake_ray(nodes: list[dict], fault: Exception | None = None) -> types.ModuleType:
    def init(*_: object, **__: object) -> None:
        if fault:
            raise fault

    ray = types.ModuleType("ray")
    ray.is_initialized, ray.init, ray.nodes = (lambda: False), init, (lambda: nodes)
    return ray


def test_without_a_cluster_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake_ray([], ConnectionError("nobody is there. Set this\nmore")))
    with pytest.raises(StageError, match=r"--engine ray: no cluster answers \(nobody is there\)\. .*ray start --head"):
        RayCluster("ray")


@pytest.mark.parametrize(
    "processors, gpus, models, slots, taken",
    [
        (1, None, False, 10, 0.0),
        (4, None, False, 2, 0.0),
        (1, None, True, 2, 1.0),  # a model takes a GPU where there is one
        (1, 0.5, True, 4, 0.5),
        (1, 0.0, True, 10, 0.0),
    ],
)
def test_a_cluster_has_room_for_as_many_tasks_as_its_nodes(monkeypatch, processors, gpus, models, slots, taken):
    resources = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0}, {"memory": 1.0}]
    there = [{"Alive": True, "Resources": each} for each in resources]
    there.append({"Alive": False, "Resources": {"CPU": 100.0, "GPU": 100.0}})
    monkeypatch.setitem(sys.modules, "ray", fake_ray(there))
    cluster = RayCluster("ray", processors, gpus, models)
    assert (cluster._slots, cluster._gpus) == (slots, taken)


def test_a_task_that_fits_no_node_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake_ray([{"Alive": True, "Resources": {"CPU": 8.0}}]))
    with pytest.raises(StageError, match=r"9 processors and 0 GPUs, and no node .* \(the largest has 8 processors"):
        RayCluster("ray", 9)


def test_a_task_that_is_lost_again_and_again_is_told_with_a_remedy(monkeypatch):
    class RayError(Exception):
        pass

    def get(task: object) -> None:
        raise RayError("the worker died\nmore")

    ray = fake_ray([{"Alive": True, "Resources": {"CPU": 1.0}}])
    ray.exceptions = types.SimpleNamespace(RayError=RayError, RayTaskError=type("RayTaskError", (RayError,), {}))
    ray.get = get
    monkeypatch.setitem(sys.modules, "ray", ray)
    told = r"^Ray lost a task 4 times \(RayError: the worker died\), .*: raise --task-cpus, .*the same command goes on$"
    with pytest.raises(StageError, match=told):
        RayCluster("ray")._result("task")


def test_a_folder_that_a_node_lacks_is_named_with_the_node(limited, monkeypatch, tmp_path):
    ray = types.ModuleType("ray")
    ray.util = types.SimpleNamespace(get_node_ip_address=lambda: "192.0.2.7")
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(StageError, match=r"nowhere is not on node 192\.0\.2\.7 \(No such file or directory\): start"):
        _work(str(tmp_path / "nowhere"), 1, squared, [], [1])


def write_shards(raw: Path, videos: int) -> None:
    """80 videos to train on in 8 shards, and the others to predict."""
    for shard in range(8):
        write_shard(raw / f"train{shard}.tfrecord", range(10 * shard, 10 * shard + 10))
    write_shard(raw / "test" / "test.tfrecord", range(80, videos))


@pytest.mark.wide
@pytest.mark.first
def test_a_cluster_gives_the_bytes_of_one_process_though_a_node_is_lost(tmp_path, monkeypatch):
    """ingest loses a node; infer runs on those that are left; errors and surroundings are asked of the same cluster."""
    make_all(tmp_path / "one")
    raw = tmp_path / "raw"
    write_shards(raw, 120)
    shutil.copytree(tmp_path / "one", tmp_path / "far")
    monkeypatch.setattr("pipeline.ingest._MOST_TOGETHER", 1)
    with nodes(3) as cluster:
        for folder, engine_flags in ((tmp_path / "one", ()), (tmp_path / "far", ("--engine", "ray"))):
            named = ("--raw", f"train={raw}/*.tfrecord", "--raw", f"test={raw}/test", *engine_flags)
            if engine_flags:
                with cluster.lost_midway() as results:
                    run_here("ingest", folder, *named)
                assert results == [1] * 9
            else:
                run_here("ingest", folder, *named, "--workers", 1)
            run_here("infer", folder, "--model", "average", *engine_flags)
        assert_same(tmp_path / "far", tmp_path / "one")
        check_errors_and_surroundings(monkeypatch, tmp_path)


def check_errors_and_surroundings(monkeypatch, folder: Path) -> None:
    """Of a cluster that is there; it takes seconds to start another one. Its processes know this environment."""
    for name, value in stage_environment(folder / "far").items():
        monkeypatch.setenv(name, value)
    found = list(RayCluster("ray").map(surroundings, [1]))
    assert found == [(1, "1", "1", os.environ.get("KERAS_BACKEND"), str(folder / "far" / "data"), str(Path.cwd()))]
    results = RayCluster("ray").map(squared, range(20), shared=(1,))
    assert [next(results) for _ in range(13)] == [value**2 + 1 for value in range(13)]
    with pytest.raises(StageError, match=r"^v013: unlucky; take 12$"):
        next(results)
    (folder / "far" / "runs" / "small" / "average" / "model.keras").write_bytes(b"")
    told = [
        stage_here("infer", folder / name, "--preset", folder / name / "small.py", "--model", "average", *flags)
        for name, flags in (("far", ("--engine", "ray")), ("far", ()))
    ]
    assert told[0].returncode == told[1].returncode == 1 and told[0].stderr == told[1].stderr


def assert_same(found: Path, expected: Path) -> None:
    """The files of both folders are the same, byte for byte."""
    files = {str(path.relative_to(expected)): path.read_bytes() for path in expected.rglob("*") if path.is_file()}
    others = {str(path.relative_to(found)): path.read_bytes() for path in found.rglob("*") if path.is_file()}
    assert sorted(others) == sorted(files)
    assert [name for name, content in files.items() if others[name] != content] == []


# -------------------------------------------------------------------------------------------- more of it, with -m long


@pytest.mark.long
def test_each_stage_bears_the_loss_of_a_node(tmp_path, monkeypatch):
    make_all(tmp_path / "one")
    tiny_pictures(tmp_path / "seeing.onnx")
    (tmp_path / "videos").mkdir()
    for number in range(12):
        write_clip(tmp_path / "videos" / f"clip{number:02}.mkv", even(8, 4), rate=4, options={"preset": "ultrafast"})
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *(f"clip{n:02},{'ab'[n % 2]}" for n in range(12))]))
    raw = tmp_path / "raw"
    write_shards(raw, 400)
    shutil.copytree(tmp_path / "one", tmp_path / "far")
    monkeypatch.setattr("pipeline.ingest._MOST_TOGETHER", 1)
    chosen = ("--name", "clips", "--backbones", tmp_path / "seeing.onnx", "--labels", tmp_path / "labels.csv")
    stages: dict[str, tuple] = {
        "ingest": ("--preset", "PRESET", "--raw", f"train={raw}/*.tfrecord", "--raw", f"test={raw}/test"),
        "infer": ("--preset", "PRESET", "--model", "netvlad", "--split", "test"),
        "extract": (tmp_path / "videos", *chosen),
    }
    for name, arguments in stages.items():
        stage_here(name, tmp_path / "one", *_with_preset(arguments, tmp_path / "one"))
    with nodes(3) as cluster:
        for name, arguments in stages.items():
            with cluster.lost_midway() as results:
                own = (*_with_preset(arguments, tmp_path / "far"), "--engine", "ray")
                result = stage_here(name, tmp_path / "far", *own)
            assert result.returncode == 0, result.stderr
            assert len(results) >= 6, name
            cluster.add()
    for folder in ("one", "far"):
        for noted in (tmp_path / folder / "data" / "clips").rglob(
            "*.json"
        ):  # the times of shards, which are written here
            noted.write_bytes(b"")
        (tmp_path / folder / "data" / "clips" / "clips.py").write_bytes(b"")  # it names its folder
    assert_same(tmp_path / "far", tmp_path / "one")


def _with_preset(arguments: tuple, folder: Path) -> list[object]:
    return [folder / "small.py" if each == "PRESET" else each for each in arguments]


def on_one_processor() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.mark.long
def test_five_trainings_run_at_once_and_give_what_one_after_the_other_does(tmp_path):
    (tmp_path / "one").mkdir()
    preset = tmp_path / "tiny.py"
    preset.write_text(of_one_feature(TINY))
    asked = ("--preset", preset, "--model", "average", "--dataset.folds", 5, "--training.epochs", 40)
    for name in ("synthesize", "ingest"):
        stage_here(name, tmp_path / "one", *asked[:2], *(asked[4:6] if name == "ingest" else ()))
    shutil.copytree(tmp_path / "one", tmp_path / "far")
    result = subprocess.run(
        stage_command("train", *asked),
        env=stage_environment(tmp_path / "one"),
        capture_output=True,
        text=True,
        preexec_fn=on_one_processor,  # as a task
    )
    assert result.returncode == 0, result.stderr
    with nodes(5):
        result = stage_here("train", tmp_path / "far", *asked, "--engine", "ray")
    assert result.returncode == 0, result.stderr
    folds = [tmp_path / "far" / "runs" / "tiny" / "average" / f"fold-{number}" for number in range(1, 6)]
    begun, ended = ([(fold / name).stat().st_mtime for fold in folds] for name in ("config.json", "done.json"))
    assert max(begun) < min(ended)
    assert not same.differences(same.content(tmp_path / "far"), same.content(tmp_path / "one"))


SLEEP = (
    "import sys\nfrom pipeline.runtime import signals\nfrom pipeline.runtime.engine import RayCluster\n"
    "from runtime.test_parallel import sleep_beside\n"
    "signals.watch()\nlist(RayCluster('ray').map(sleep_beside, [sys.argv[1]] * 6))\n"
)


@pytest.mark.long
def test_an_interrupt_ends_the_tasks(tmp_path):
    with nodes(2):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        command = [sys.executable, "-c", SLEEP, tmp_path]
        driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        tasks = _wait_for(lambda: list(tmp_path.iterdir()), lambda found: len(found) == 2)
        driver.send_signal(signal.SIGINT)
        assert driver.communicate()[1].strip() == "stopped by SIGINT; the same command goes on from here"
        assert driver.returncode == 130
        _wait_for(lambda: [task for task in tasks if Path(f"/proc/{task.name}").exists()], lambda left: not left)
        assert len(list(tmp_path.iterdir())) == 2  # no other task began


def _wait_for(what: Callable[[], list], enough: Callable[[list], bool]) -> list:
    deadline = time.monotonic() + 120
    while not enough(found := what()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


@pytest.mark.long
def test_a_cluster_is_reached_from_outside(tmp_path):
    """By an address of the form ray://HOST:PORT."""
    make_all(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_shard(tmp_path / "raw" / "train.tfrecord", range(60))
    named = ("--preset", tmp_path / "small.py", "--raw", f"train={tmp_path}/raw", "--force")
    stage_here("ingest", tmp_path, *named)
    index = tmp_path / "data" / "small" / "index"
    whole = {path.name: path.read_bytes() for path in index.iterdir()}
    with nodes(1, ray_client_server_port=port):
        environment = {name: value for name, value in stage_environment(tmp_path).items() if name != "RAY_ADDRESS"}
        command = stage_command("ingest", *named, "--engine", f"ray://127.0.0.1:{port}")
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert {path.name: path.read_bytes() for path in index.iterdir()} == whole
