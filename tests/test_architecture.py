"""The rules of the tree: who may import whom, and what every file says of itself."""

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.support import ROOT

from pipeline.cli.stages import STAGES

FILES = sorted((ROOT / "pipeline").rglob("*.py"))
RUNNABLE = {
    "pipeline.__main__",  # the list of them
    *(f"pipeline.{stage}" for stage in STAGES),
}
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
UNMIRRORED = {
    "a stage's tests, and those of what it is made of": (
        "infer.py",
        *("cli/flags.py", "cli/overrides.py", "cli/running.py", "cli/stages.py"),
    ),
    "tests/config: every field of every section": (
        *(f"config/{name}.py" for name in ("data", "errors", "model", "output", "pooling", "ranges", "training")),
        *(f"presets/{name}.py" for name in ("demo", "youtube8m", "youtube8m_video")),
    ),
    "tests/models/test_contract.py, and families": (
        "models/netrvlad.py",
        "models/layers/assignment.py",
        "models/layers/clustered.py",
        "models/windowed.py",
    ),
    "tests/training/test_loop.py": ("training/compiled.py", "training/holdout.py"),
    "tests/test_train.py and tests/training/test_folds.py": ("training/run_plan.py",),
    "tests/runtime/test_hosts.py: the hold-out that hosts predict in parts": ("training/local_model.py",),
    "tests/inputs/index/test_index.py": ("inputs/index/build.py", "inputs/index/tables.py"),
    "the tests of the file that calls it": (
        "ensembling/loops.py",
        "inference/answers/answering.py",
        "inference/answers/giving.py",
        "inference/answers/tag_files.py",
        "inference/bundle/header.py",
        "inference/bundle/ingredients.py",
        "inference/bundle/onnx_model.py",
        "inference/bundle/opening.py",
        "inference/bundle/writing.py",
        "inference/ensemble.py",
        "inference/given/reading.py",
        "inference/given/videos.py",
        "inference/unloaded.py",
        "inference/windows/scores.py",
        "inputs/reading/streaming.py",
        "inputs/records/wire.py",
        "packing/sources/hdf5_walk.py",
        "packing/sources/parquet_columns.py",
        "submission/kaggle_client.py",
        "submission/lines.py",
        "submission/upload.py",
        "transfer/missing.py",
        "training/events.py",
        "training/teacher.py",
    ),
    "tests/test_metrics.py": ("metrics/precision.py", "metrics/ranking.py", "metrics/streaming.py"),
    "tests/test_pack.py, with real files": tuple(
        f"packing/{name}.py" for name in ("dataset", "labels/annotations", "settings", "summary")
    ),
    "tests/packing/test_writing.py": ("packing/record.py",),
    "tests/features/test_extraction.py, with real files": ("features/decoding.py",),
    "tests/features/test_video.py and test_audio.py": (
        "features/as_needed.py",
        "features/media.py",
        "features/packets.py",
    ),
    "tests/features/test_finding.py": ("features/known.py",),
    "tests/inference/test_scoring.py: the best run": ("inference/comparing.py",),
    "tests/test_predict.py": ("inference/given/all_videos.py",),
    "tests/test_extract.py": (
        "features/estimate.py",
        "features/store.py",
        "features/tasks.py",
        "inference/given/media.py",
    ),
    "tests/packing/sources/test_source.py": ("packing/sources/files_source.py",),
    "tests/test_report.py: the page as a browser shows it": tuple(
        f"reporting/{name}.py" for name in ("page", "runs", "sections", "templates", "videos")
    ),
}
"""Where files without a test of their own name are tested."""
LOW_TO_HIGH = (
    {"config", "metrics", "runtime"},
    {"presets", "artifacts", "models"},
    {"cli", "inputs", "transfer", "features"},
    {"packing", "ensembling", "submission"},
    {"inference"},
    {"training"},
    {"reporting"},
)
"""No import runs up this list; the commands are above it."""
OF_LINUX = {
    *("sched_getaffinity", "sched_setaffinity", "memfd_create", "posix_fadvise", "posix_fallocate", "copy_file_range"),
    *("eventfd", "pidfd_open", "splice", "getrandom", "unshare", "renameat2", "fdatasync", "sched_getscheduler"),
    *("O_DIRECT", "O_TMPFILE", "O_NOATIME", "O_PATH", "RWF_NOWAIT", "MADV_HUGEPAGE", "MAP_POPULATE", "F_SETPIPE_SZ"),
    *("EREMOTEIO", "ENOKEY", "EUCLEAN", "ENOMEDIUM", "SIGPWR", "SIGRTMIN", "sigtimedwait", "pthread_getcpuclockid"),
}
"""Names of the standard library, and of C's, that macOS lacks."""
OF_NO_MODULE = {
    *("architecture", "benchmarks", "docs", "end_to_end", "environment", "full_disk", "hostile", "installed"),
    *("library", "start_here"),
    *("contract", "degenerate", "fuzz", "stored"),
}
"""What tests ask of many modules at once; so do all of tests/faults."""


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@functools.cache
def bound(path: Path) -> set[str]:
    """The names that a file binds anywhere, and the modules of a room."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    inside = path.parent.iterdir() if path.stem == "__init__" else ()
    return names | {each.stem for each in inside}


@pytest.mark.parametrize("folder", ["benchmarks", "notebooks"])
def test_every_name_of_the_pipeline_that_is_imported_is_there(folder):
    """No other test runs all of these."""
    lacking, asked = [], 0
    for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            lines = "".join("".join(cell["source"]) + "\n" for cell in cells).splitlines()
            text = "\n".join(line for line in lines if line.startswith("from pipeline"))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "pipeline":
                module = ROOT / node.module.replace(".", "/")
                file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
                there = bound(file) if file.exists() else set()
                asked += len(node.names)
                lacking += [f"{path}: {node.module}.{alias.name}" for alias in node.names if alias.name not in there]
    assert asked and not lacking


def test_what_linux_alone_has_is_asked_for_before_it_is_used():
    """`os.O_DIRECT` ends a stage on macOS; `getattr(os, "O_DIRECT", 0)` does not, nor what follows `hasattr`."""
    guarded = {
        ("pipeline/inputs/reading/buffers.py", "MADV_HUGEPAGE"),
        ("pipeline/runtime/parallel.py", "sched_getaffinity"),
        ("pipeline/artifacts/files.py", "renameat2"),
    }
    used = {
        (str(path.relative_to(ROOT)), node.attr)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in OF_LINUX
    }
    assert used == guarded


def test_no_file_imports_a_stage():
    for path in FILES:
        assert not imported(path) & RUNNABLE, path


def test_every_file_beside_the_rooms_is_a_command_and_nothing_else_is():
    beside = {path.stem for path in (ROOT / "pipeline").glob("*.py")} - {"__init__", "__main__"}
    assert beside == set(STAGES)


def rooms_that_are_too_high(path: Path, names: set[str]) -> set[str]:
    """What a file imports from rooms above its own; rooms of a level may import each other, but not in a circle."""
    return {name for name in names if level(name) > level(module_of(path))}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def level(module: str) -> int:
    """Of a module's room, from 0; of commands the highest."""
    room = (module.split(".") + [""])[1]
    found = [number for number, rooms in enumerate(LOW_TO_HIGH) if room in rooms]
    return found[0] if found else len(LOW_TO_HIGH)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_runs_up(path):
    if module_of(path) in ("pipeline", "pipeline.__main__"):
        return
    names = {name for name in imported(path) if name.startswith("pipeline.")}
    assert not rooms_that_are_too_high(path, names)


def test_an_import_that_runs_up_is_found():
    """So that the test above can fail."""
    path = ROOT / "pipeline" / "metrics" / "precision.py"
    assert rooms_that_are_too_high(path, {"pipeline.config", "pipeline.training.loop"}) == {"pipeline.training.loop"}
    assert rooms_that_are_too_high(ROOT / "pipeline" / "inputs" / "index" / "__init__.py", {"pipeline.train"})
    assert not rooms_that_are_too_high(ROOT / "pipeline" / "train.py", {"pipeline.training.loop"})


def test_every_room_has_its_level():
    rooms = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert rooms == {room for rooms in LOW_TO_HIGH for room in rooms}


def test_there_is_no_circle_of_rooms():
    """Of rooms of one level too."""
    arrows = {}
    for path in FILES:
        room = module_of(path).split(".")[1] if "." in module_of(path) else ""
        if level(module_of(path)) < len(LOW_TO_HIGH):
            met = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
            arrows.setdefault(room, set()).update(met - {room})
    left = dict(arrows)
    while free := [room for room, met in left.items() if not met & left.keys()]:
        for room in free:
            del left[room]
    assert not left, f"a circle: {left}"


@pytest.mark.parametrize(("room", "other"), [("models", "inputs"), ("inputs", "models")])
def test_rooms_that_know_nothing_of_each_other(room, other):
    for path in (ROOT / "pipeline" / room).rglob("*.py"):
        assert not {name for name in imported(path) if name.startswith(f"pipeline.{other}")}, path


def test_inputs_need_no_keras():
    for path in (ROOT / "pipeline" / "inputs").rglob("*.py"):
        assert not {name for name in imported(path) if name.partition(".")[0] in ("keras", "tensorflow", "jax")}, path


def test_no_command_imports_a_backend_until_it_needs_one():
    """Seconds of every `--help`; and what a backend logs is set before it is imported."""
    code = f"""import importlib, sys
for stage in {list(STAGES)}:
    importlib.import_module(f"pipeline.{{stage}}")
    print(*({{"keras", "tensorflow", "jax"}} & sys.modules.keys() and [stage]), end="")"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == ""


@pytest.mark.parametrize("room", ["metrics", "config"])
def test_rooms_that_import_nothing_else_of_the_project(room):
    paths = list((ROOT / "pipeline" / room).rglob("*.py"))
    assert len(paths) > 3
    for path in paths:
        names = {name for name in imported(path) if name.startswith("pipeline")}
        assert not {name for name in names if not f"{name}.".startswith(f"pipeline.{room}.")}, path


def test_metrics_need_numpy_only():
    allowed = {"numpy", "pipeline", *sys.stdlib_module_names}
    for path in (ROOT / "pipeline" / "metrics").rglob("*.py"):
        packages = {name.partition(".")[0] for name in imported(path)}
        assert packages <= allowed, path


def test_no_file_imports_pandas():
    """Which only the extra `notebooks` brings."""
    for path in FILES:
        assert "pandas" not in {name.partition(".")[0] for name in imported(path)}, path


def test_models_are_pure_keras():
    """No backend by name, so that all of them run the models."""
    for path in (ROOT / "pipeline" / "models").rglob("*.py"):
        assert not {name for name in imported(path) if name.partition(".")[0] in ("tensorflow", "jax", "numpy")}, path


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_the_flags_that_the_table_says_and_no_flag_is_declared_twice(name):
    """`run_all` hands on by the table; what two stages have is declared in one group."""
    import dataclasses
    import importlib

    from pipeline.cli import flags

    own = importlib.import_module(f"pipeline.{name}").Flags
    groups = {group for group in vars(flags).values() if isinstance(group, type) and issubclass(group, flags.BaseFlags)}
    most = {group for group in groups if issubclass(own, group)}
    assert {group for group in most if not any(group in other.__mro__[1:] for other in most)} == set(STAGES[name].flags)
    inherited = {field.name for group in STAGES[name].flags for field in dataclasses.fields(group)}
    assert not inherited & set(vars(own).get("__annotations__", {})) - ({"preset"} if name == "cost" else set())


def test_every_stage_is_listed_and_every_listed_stage_is_there():
    runnable = {path for path in FILES if "run_stage(main)" in path.read_text(encoding="utf-8")}
    assert {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in runnable} == RUNNABLE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_first_line_says_what_a_file_knows(path):
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert documentation and documentation.splitlines()[0].endswith((".", ":"))


def test_presets_are_short():
    presets = [path for path in FILES if path.parent.name == "presets" and path.stem != "__init__"]
    assert len(presets) >= 4
    for path in presets:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path


def test_tests_mirror_the_code():
    for path in (ROOT / "tests").rglob("test_*.py"):
        relative = path.relative_to(ROOT / "tests")
        if relative.stem.removeprefix("test_") in OF_NO_MODULE or relative.parts[0] == "faults":
            continue
        mirrored = ROOT / "pipeline" / relative.parent / relative.stem.removeprefix("test_")
        assert mirrored.is_dir() or mirrored.with_suffix(".py").exists(), f"{path} mirrors nothing"


def test_the_code_is_mirrored_by_tests():
    """A file has a test of its own, or its room has, or it is tested where UNMIRRORED says."""
    tests = {path.relative_to(ROOT / "tests").with_name(path.stem.removeprefix("test_")) for path in TESTS}
    files = [path.relative_to(ROOT / "pipeline") for path in FILES if path.stem not in ("__init__", "__main__")]
    lacking = {str(path) for path in files if path.with_suffix("") not in tests}
    named = {name for names in UNMIRRORED.values() for name in names}
    assert lacking == named, "test it, or say in UNMIRRORED where it is"


@pytest.mark.parametrize("script", ["run_all.sh", "run_tests.sh"])
def test_the_scripts_explain_themselves(script):
    result = subprocess.run([f"./{script}", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith(f"./{script} [")
