"""The scripts that make the environment, on machines that have settings for other projects, or lack something."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from fixtures.support import ROOT
from packaging.markers import Marker

ENVIRONMENT = ROOT / "tools" / "environment.sh"
UV = next(line.split()[0].removeprefix("uv==") for line in (ROOT / "tools" / "uv.txt").open() if line.startswith("uv="))
OF_OTHER_SYSTEMS = {"colorama", "appnope"}
"""Packages of Windows and of macOS that no metadata here tell of."""
NVIDIA = "#!/bin/sh\nexit {status}\n"


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """What bash says of a script that follows tools/environment.sh, in a folder; its PATH begins with this one."""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    text = f"set -euo pipefail; . '{ENVIRONMENT}'; {script}"
    return subprocess.run(["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True)


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_settings_of_other_projects_are_forgotten_and_those_of_the_network_are_not(tmp_path):
    foreign = {
        **{f"PIP_{name}": "1" for name in ("TARGET", "USER", "PREFIX", "REQUIRE_VIRTUALENV", "CONSTRAINT", "NO_DEPS")},
        **{
            f"UV_{name}": "1"
            for name in ("PROJECT_ENVIRONMENT", "PYTHON", "SYSTEM_PYTHON", "FROZEN", "PROJECT", "NO_SYNC")
        },
        **dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"), "/elsewhere"),
    }
    network = {
        **{f"PIP_{name}": "1" for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "CERT", "PROXY", "NO_INDEX")},
        **{f"UV_{name}": "1" for name in ("DEFAULT_INDEX", "INDEX", "CACHE_DIR", "HTTP_TIMEOUT", "INSECURE_HOST")},
        "UV_INDEX_OURS_PASSWORD": "1",
        "HTTPS_PROXY": "1",
    }
    left = shell("forget_other_projects; env", tmp_path, **foreign, **network)
    names = {line.partition("=")[0] for line in left.stdout.splitlines()}
    assert not names & set(foreign)
    assert set(network) <= names


@pytest.mark.parametrize(
    ("backend", "driver", "extra"),
    [
        ("tensorflow", 1, "tensorflow"),
        ("tensorflow", 0, "tensorflow-gpu"),
        ("jax", 1, "jax"),
        ("jax", 0, "jax-gpu"),
        ("torch", 1, "torch"),
        ("torch", 0, "torch"),
    ],
)
def test_the_extra_of_a_backend_is_the_one_for_the_machine(backend, driver, extra, tmp_path):
    program(tmp_path / "nvidia-smi", NVIDIA.format(status=driver))
    assert shell(f"backend_extra {backend}", tmp_path).stdout.strip() == extra
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert extra in tomllib.load(file)["project"]["optional-dependencies"]


def test_an_unknown_backend_is_refused_before_anything_is_installed(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "mxnet", "PIPELINE_VENV": str(tmp_path / "venv")}
    result = subprocess.run([ROOT / "run_all.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "error: KERAS_BACKEND is mxnet: set it to tensorflow, jax or torch, or unset it for tensorflow\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ensurepip", [True, False])
def test_uv_comes_from_a_folder_of_wheels_with_and_without_ensurepip(ensurepip, tmp_path):
    with zipfile.ZipFile(tmp_path / f"uv-{UV}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"uv-{UV}.data/scripts/uv", f"#!/bin/sh\necho 'uv {UV} (made)'\n")
    asked, real = tmp_path / "asked", f'exec "{sys.executable}"'
    python = program(
        tmp_path / "python",
        f"""#!/bin/sh
        case "$*" in
            *"import ensurepip"*) exit {0 if ensurepip else 1} ;;
            "-m venv "*) echo "$2 $3" >>'{asked}'; shift 2; {real} -m venv --without-pip "$@" ;;  # pip takes seconds
        esac
        {real} "$@"
        """,
    )
    variables = {"PYTHON": str(python), "PIPELINE_WHEELS": str(tmp_path), "PIPELINE_VENV": "made"}
    result = shell("make_venv; make_venv", tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Making ") == 1  # the second call finds it
    assert asked.read_text() == (f"venv {tmp_path}/made\n" if ensurepip else "venv --without-pip\n")
    version = subprocess.run([tmp_path / "made" / "bin" / "uv", "--version"], capture_output=True, text=True)
    assert version.stdout == f"uv {UV} (made)\n"


def test_a_folder_without_uv_names_the_command_that_fills_it(tmp_path):
    program(tmp_path / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "made" / "bin").mkdir(parents=True)
    (tmp_path / "python").rename(tmp_path / "made" / "bin" / "python")
    result = shell("make_venv", tmp_path, PIPELINE_WHEELS="wheels", PIPELINE_VENV="made", PYTHON=sys.executable)
    assert result.returncode == 1
    assert result.stderr.endswith(f"error: wheels has no wheel of uv {UV}; fill it with tools/fetch_wheels.sh wheels\n")


@pytest.mark.wide
def test_pip_loads_where_its_settings_ask_for_a_virtual_environment(tmp_path):
    """By the pip of a Python that is none, as where ensurepip is missing."""
    python = sys._base_executable
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip(f"{python} has no pip")
    with zipfile.ZipFile(tmp_path / "made-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("made-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: made\nVersion: 1\n")
        wheel.writestr("made-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nrequire-virtualenv = true\n")
    variables = {"PYTHON": python, "PIPELINE_VENV": "none", "PIP_CONFIG_FILE": str(settings)}
    load = "download --quiet --no-index --find-links . --dest loaded made"
    assert "virtualenv (required)" in shell(f'"$PYTHON" -m pip {load}', tmp_path, **variables).stderr
    result = shell(f"forget_other_projects; any_pip {load}", tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (tmp_path / "loaded").iterdir()] == ["made-1-py3-none-any.whl"]


def test_the_python_at_hand_is_told_what_it_lacks(tmp_path):
    python = program(tmp_path / "bare", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without packages
    environment = {**os.environ, "PYTHON": str(python), "KERAS_BACKEND": "jax"}
    result = subprocess.run(
        [ROOT / "run_all.sh", "--no-venv"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert " lacks cattrs>=" in result.stderr and "keras>=" in result.stderr and "jax>=" in result.stderr
    assert "tensorflow>=" not in result.stderr
    assert "-m pip install 'cattrs>=" in result.stderr


def test_the_tests_run_in_as_many_processes_as_memory_has_room_for(tmp_path):
    counted = tool("workers")
    assert [counted.workers(2, gigabytes * 10**9) for gigabytes in (1, 3, 5, 6, 60)] == [1, 1, 2, 3, 3]
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    assert counted.free_memory(tmp_path / "meminfo") == 5 * 1024
    assert counted.free_memory(tmp_path / "nothing") > 1 << 20  # as on macOS


def licensed() -> dict[str, list[str]]:
    """Name of a package -> its license, and what brings it."""
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs" / "licences.md").read_text().splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`") and len(row) == 3}


def locked_packages() -> list[dict]:
    with (ROOT / "uv.lock").open("rb") as file:
        return tomllib.load(file)["package"]


def test_the_page_of_licenses_lists_what_is_locked_and_the_default_set_may_be_sold():
    listed = licensed()
    locked = {package["name"] for package in locked_packages()} - {"learnable-pooling"}
    assert set(listed) == locked & set(listed) and not locked - set(listed) - OF_OTHER_SYSTEMS
    for name, (license, sets) in listed.items():
        if {"base", "tensorflow", "jax"} & set(sets.split(", ")) and name not in OF_OTHER_SYSTEMS:
            assert re.search(r"Apache|MIT|BSD|MPL|Mozilla|Python Software|PSF|HPND|Unlicense|ISC", license), name
            assert not re.search(r"NonCommercial|Non-Commercial|-NC-|GPL|Proprietary", license), name


@pytest.mark.parametrize("minor", range(11, 15))
def test_what_jax_needs_has_wheels_for_every_python(minor):
    """TensorFlow has none for 3.14."""
    wanted = {name for name, (_, sets) in licensed().items() if {"base", "jax"} & set(sets.split(", "))}
    machine = {"python_full_version": f"3.{minor}.0", "sys_platform": "linux"}
    older = "|".join(f"cp3{each}" for each in range(2, minor + 1))
    fits = re.compile(rf"-(cp3{minor}-cp3{minor}|({older})-abi3|(py2\.)?py3-none)-(any|manylinux\S+x86_64\S*)\.whl$")
    found = set()
    for package in locked_packages():
        markers = package.get("resolution-markers", ["python_full_version > '3'"])
        if package["name"] in wanted and any(Marker(marker).evaluate(machine) for marker in markers):
            assert any(fits.search(wheel["url"]) for wheel in package["wheels"]), package["name"]
            found.add(package["name"])
    assert found == wanted


@pytest.mark.parametrize(
    ("user", "owner", "becomes"),
    [(0, 12345, "--reuid 12345 --regid 12345 --clear-groups learnable-pooling "), (0, 0, ""), (777, 12345, "")],
)
def test_a_container_runs_a_stage_as_the_owner_of_the_bound_folder(user, owner, becomes, tmp_path):
    program(tmp_path / "learnable-pooling", '#!/bin/sh\necho "$*"\n')
    program(tmp_path / "setpriv", '#!/bin/sh\necho "$*"\n')
    program(tmp_path / "id", f"#!/bin/sh\necho {user}\n")
    program(tmp_path / "stat", f"#!/bin/sh\necho {owner}\n")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for given, run in (([], "run_all"), (["--preset", "demo"], "run_all --preset demo"), (["train", "-h"], "train -h")):
        command = [ROOT / "tools" / "entrypoint.sh", *given]
        told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert told.stdout == f"{becomes}{run}\n", told.stderr


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def missing():
    return tool("missing")


def test_what_is_there_is_not_missing_and_other_versions_are(missing, monkeypatch):
    versions = {"numpy": "2.1.0", "torch": "2.6.0+cu124", "tensorflow": "2.18.0"}

    def version(name):
        if name not in versions:
            raise missing.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(missing, "version", version)
    asked = ["numpy>=2.0", "torch>=2.6", "tensorflow[and-cuda]>=2.19,<3", "tyro>=1"]
    assert missing.missing(asked) == ["tensorflow[and-cuda]>=2.19,<3 (2.18.0 is here)", "tyro>=1"]


def test_a_python_that_is_too_old_is_named(missing, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    with pytest.raises(SystemExit, match=r"3\.11 to 3\.14 is needed"):
        missing.main()


@pytest.mark.long
def test_wheels_of_a_folder_are_enough_without_a_network(tmp_path):
    """It loads what uv.lock pins of JAX from the package index once; then no index, no cache, no pip of the user's."""
    variables = {"PIPELINE_VENV": "first", "PYTHON": sys.executable}
    environment = {**os.environ, **variables}
    subprocess.run([ROOT / "tools" / "fetch_wheels.sh", "wheels", "jax"], cwd=tmp_path, env=environment, check=True)
    shutil.rmtree(tmp_path / "first")
    offline = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/", "UV_CACHE_DIR": str(tmp_path / "cache"), "PIP_NO_INDEX": "1"}
    foreign = {"UV_PYTHON": "3.8", "PIP_TARGET": "/nowhere", "PYTHONPATH": str(tmp_path), "UV_NO_SYNC": "1"}
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    result = shell(
        "make_environment jax; make_environment jax",
        tmp_path,
        **{**variables, **offline, **foreign, "PIPELINE_VENV": "second", "PIPELINE_WHEELS": "wheels"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Installing ") == 1
    listed = subprocess.run(
        [tmp_path / "second" / "bin" / "learnable-pooling", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    assert sum(path.lstat().st_size for path in (tmp_path / "second").rglob("*")) <= 1.3e9, "docs/getting-started.md"
