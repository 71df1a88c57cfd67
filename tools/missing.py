"""Names what a Python lacks of what the project needs, in one line with the command that installs it.

    python tools/missing.py [--list] [EXTRA ...]

The exit status is 1 where something is missing or of another version. With --list it is 0, and each such requirement
has a line of its own. It imports nothing but the standard library and, for versions, `packaging`, which Keras brings.
"""

import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def missing(requirements: list[str]) -> list[str]:
    """Return those of the requirements that this Python does not have, with the version that is there, if any."""
    lacking = []
    for requirement in requirements:
        name, allowed = re.fullmatch(r"([\w.-]+)(?:\[.*\])?(.*)", requirement).groups()
        try:
            found = version(name)
        except PackageNotFoundError:
            lacking.append(requirement)
            continue
        if not _is_allowed(found, allowed):
            lacking.append(f"{requirement} ({found} is here)")
    return lacking


def _is_allowed(found: str, allowed: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:  # then Keras is not here either, and is named
        return True
    return SpecifierSet(allowed).contains(found, prereleases=True)


def main() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        sys.exit(f"error: {sys.executable} is Python {sys.version.split()[0]}; 3.11 to 3.14 is needed: set PYTHON")
    import tomllib  # which Python 3.10 has not

    with PYPROJECT.open("rb") as file:
        project = tomllib.load(file)["project"]
    requirements = [*project["dependencies"]]
    listed = sys.argv[1:2] == ["--list"]
    for extra in sys.argv[1 + listed :]:
        requirements += project["optional-dependencies"][extra]
    if lacking := missing(requirements):
        unmet = [each.split(" (")[0] for each in lacking]
        if listed:
            print("\n".join(unmet))
            return
        install = shlex.join([sys.executable, "-m", "pip", "install", *unmet])
        sys.exit(f"error: {sys.executable} lacks {', '.join(lacking)}: {install}")


if __name__ == "__main__":
    main()
