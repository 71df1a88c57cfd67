"""What the tests share: real data where it lies, a small synthetic dataset, stages run as a user runs them."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script; the stages would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The tests run in parallel processes: one thread each is what the machine has.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
# Compiled code that runs once need not be fast, and what one process has compiled another need not compile again.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import pytest
from fixtures.support import ROOT, TINY, make_small_index, stage_here
from servers.bucket_emulator import Network, emulator

from pipeline.inputs.index import Index

CHROMIUM = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wide", action="store_true", help="run those marked wide too, as continuous integration does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = {"long": "takes minutes; runs with -m long"}
    if not config.getoption("--wide"):
        left_out["wide"] = "runs with --wide"
    for marker, reason in left_out.items():
        if marker not in config.getoption("-m"):
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=reason))
    items[:] = in_shares(items, getattr(config, "workerinput", {}).get("workercount", 1))


def in_shares(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """As `--dist worksteal` deals them out, in equal parts one after the other, each beginning with its long tests."""
    first = [item for item in items if item.get_closest_marker("first")]
    others = [item for item in items if not item.get_closest_marker("first")]
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        size = (len(items) - len(dealt)) // (workers - worker)
        own = first[worker::workers]
        dealt += own + others[: max(size - len(own), 0)]
        del others[: max(size - len(own), 0)]
    return dealt + others


def pytest_collection_finish() -> None:
    """What runs once need not be optimized first, and what was imported is not garbage: a quarter of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data. Skips where it is missing; in continuous integration that is a failure."""
    folder = Path(os.environ.get("YT8M_SHARED_DATA") or ROOT / ".." / "shared" / "data").resolve()
    if not (folder / "MANIFEST.md").exists():
        message = f"needs the real data, which is not at {folder}; set YT8M_SHARED_DATA"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a stage with its folders below the test's own; fails the test where the stage fails."""

    def run(name: str, *arguments: object, check: bool = True, folder: Path = tmp_path):
        result = stage_here(name, folder, *arguments)
        if check:
            assert result.returncode == 0, f"{name} failed:\n{result.stdout}\n{result.stderr}"
        return result

    return run


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium; it has a new folder of its own each time it starts."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        message = f"opens the page in a browser, and none of {', '.join(names)} is installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=CHROMIUM.split())
        yield started
        started.close()


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset file as a user would write one: the demo, shrunk to seconds."""
    path = tmp_path_factory.mktemp("presets") / "tiny.py"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture
def small_index(tmp_path: Path) -> Index:
    """40 training videos in 4 shards."""
    return make_small_index(tmp_path)


@pytest.fixture(scope="session")
def storage_emulator() -> Iterator[str]:
    """The address of an emulator of Google Cloud Storage."""
    with emulator() as address:
        yield address


@pytest.fixture
def network(storage_emulator, monkeypatch) -> Iterator[Network]:
    """What lies between a client and the emulator; $STORAGE_EMULATOR_HOST leads there."""
    between = Network(storage_emulator)
    with between.running() as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield between


@pytest.fixture
def put(network) -> Callable[[dict[str, bytes]], str]:
    """Makes a bucket of objects, name -> content; its address."""
    from google.cloud import storage

    def make(objects: dict[str, bytes]) -> str:
        bucket = f"test-{uuid4().hex}"
        with storage.Client.create_anonymous_client() as client:
            client.project = "test"
            created = client.create_bucket(bucket)
            for name, content in objects.items():
                created.blob(name).upload_from_string(content, content_type="application/octet-stream")
        network.seen.clear()
        return f"gs://{bucket}"

    return make
