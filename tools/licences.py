"""Prints docs/licences.md: the license of each package in uv.lock, as its metadata states it, and what brings it.

    .venv/bin/python tools/licences.py [SITE_PACKAGES ...] >docs/licences.md

Metadata come from this Python's packages and from those of further folders. What is installed in none of them keeps
its line; CUDA's libraries are NVIDIA's, whatever they state.
"""

import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
UNKNOWN = "see its page"
NVIDIA = "LicenseRef-NVIDIA-Proprietary"
_HEAD = """# Licenses

You want to know under which licenses the packages are that an installation brings. This page lists what their metadata
state; `tools/licences.py` wrote it from `uv.lock`.

* The default set, those of `base` and `tensorflow`, and `jax` are free software that may be used and sold in products.
  None of these licenses forbids commercial use. The strongest are the MPL 2.0 of `certifi` and `tqdm`, whose own files
  stay under it.
* CUDA's libraries, `nvidia-*`, come with the extras for GPUs and with `torch` for Linux. They are NVIDIA's, under its
  license agreement, which allows commercial use.
* `av`, of the extra `video`, holds the libraries of FFmpeg, under the LGPL or GPL: who passes the package on must pass
  on their sources.
* `dev` is for the tests; nothing of it is needed to train or predict. The models inside `openwakeword` are under CC
  BY-NC-SA 4.0, which forbids commercial use.

| package | license | comes with |
| --- | --- | --- |
"""


def locked_sets() -> dict[str, list[str]]:
    """Return the packages of uv.lock, each with the extras that bring it; `base` is what every installation has."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    base = _exported()
    brought = {name: ["base"] for name in sorted(base)}
    for extra in extras:
        for name in sorted(_exported("--extra", extra) - base):
            brought.setdefault(name, []).append(extra)
    return {name: _without_dev(sets) for name, sets in sorted(brought.items())}


def licence_of(package: Distribution) -> str:
    """Return what a package's metadata say of its license, in one line, or what its text names."""
    stated = package.metadata.get("License-Expression") or ""
    if not stated:
        classes = [
            each.rpartition(" :: ")[2] for each in package.metadata.get_all("Classifier", []) if "License" in each
        ]
        stated = ", ".join(each for each in classes if each != "OSI Approved")
    if not stated:
        stated = (package.metadata.get("License") or "").strip().partition("\n")[0]
    for path in package.files or [] if stated in ("", "UNKNOWN") else []:
        if path.name.upper().startswith(("LICENSE", "LICENCE")) and ".dist-info" in str(path):
            text = package.locate_file(path).read_text(encoding="utf-8")
            stated = next((name for name in ("Apache License", "MIT License", "BSD") if name in text), "")
    return stated.replace("|", "/") if stated != "UNKNOWN" else UNKNOWN


def listed(page: str) -> dict[str, str]:
    """Return the license of each package in the page's table."""
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 2]
    return {row[0].removeprefix("| ").strip("`"): row[1] for row in rows[2:]}


def _exported(*extras: str) -> set[str]:
    command = [Path(sys.executable).with_name("uv"), "export", "--quiet", "--frozen", "--no-hashes", "--no-annotate"]
    command += ["--no-header", "--no-emit-project", *extras]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.partition("==")[0] for line in lines if "==" in line}


def _without_dev(sets: list[str]) -> list[str]:
    return [each for each in sets if each != "dev"] or sets


def main() -> None:
    locked = locked_sets()
    known = listed(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for package in distributions(path=[*sys.argv[1:], *sys.path]):
        if (licence := licence_of(package)) not in ("", UNKNOWN):
            known[(package.metadata["Name"] or "").lower().replace("_", "-").replace(".", "-")] = licence
    known |= {name: NVIDIA for name in locked if name.startswith("nvidia-")}
    rows = [f"| `{name}` | {known.get(name) or UNKNOWN} | {', '.join(sets)} |" for name, sets in locked.items()]
    sys.stdout.write(_HEAD + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
