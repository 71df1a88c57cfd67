"""Tasks on a cluster of Ray: the bytes of one process, also when a node is lost; errors as of one process."""

import os
import shutil
import sys
import types
from pathlib import Path

import pytest
from fixtures.cluster import nodes
from fixtures.made_runs import make_all
from fixtures.support import run_here, stage_environment, stage_here, write_shard

from pipeline.config.errors import StageError
from pipeline.runtime.engine import Cluster, Processes
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
        Cluster("ray")


def fake_ray(nodes: list[dict], fault: Exception | None = None) -> types.ModuleType:
    def init(*_: object, **__: object) -> None:
        if fault:
            raise fault

    ray = types.ModuleType("ray")
    ray.is_initialized, ray.init, ray.nodes = (lambda: False), init, (lambda: nodes)
    return ray


def test_without_a_cluster_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake_ray([], ConnectionError("nobody is there\nmore")))
    with pytest.raises(StageError, match=r"--engine ray: no cluster answers \(nobody is there\)\. .*ray start --head"):
        Cluster("ray")


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
    cluster = Cluster("ray", processors, gpus, models)
    assert (cluster._slots, cluster._gpus) == (slots, taken)


def test_a_task_that_fits_no_node_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake_ray([{"Alive": True, "Resources": {"CPU": 8.0}}]))
    with pytest.raises(StageError, match=r"9 processors and 0 GPUs, and no node .* \(the largest has 8 processors"):
        Cluster("ray", 9)


@pytest.mark.first
def test_a_cluster_gives_the_bytes_of_one_process_though_a_node_is_lost(tmp_path, monkeypatch):
    """ingest loses a node; infer runs on those that are left; errors and surroundings are asked of the same cluster."""
    make_all(tmp_path / "one")
    raw = tmp_path / "raw"
    for shard in range(8):
        write_shard(raw / f"train{shard}.tfrecord", range(10 * shard, 10 * shard + 10))
    write_shard(raw / "test" / "test.tfrecord", range(80, 120))
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
    found = list(Cluster("ray").map(surroundings, [1]))
    assert found == [(1, "1", "1", os.environ.get("KERAS_BACKEND"), str(folder / "far" / "data"), str(Path.cwd()))]
    results = Cluster("ray").map(squared, range(20), shared=(1,))
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
