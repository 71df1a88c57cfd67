#!/usr/bin/env bash
# Tests the project with the lowest or the highest versions that pyproject.toml allows, in an environment of its own.
set -euo pipefail

case " $* " in
*" lowest "* | *" highest "*) ;;
*)
    cat <<'HELP'
tools/test_versions.sh lowest|highest [pytest arguments]

Makes .venv-lowest or .venv-highest with TensorFlow, JAX and the tests' tools, and runs tests in it: by default those
of the settings, the models, the training and whole runs.
HELP
    exit 0
    ;;
esac

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
versions=$1
shift
cd "$project"
if [ "$#" = 0 ]; then set -- tests/config tests/models tests/training tests/test_end_to_end.py; fi
venv=${PIPELINE_VENV:-$project/.venv}-$versions
make_venv
# `lowest-direct` takes the lowest versions of what pyproject.toml names. It would pass over TensorFlow's first releases,
# since other packages, at their newest, do not fit them.
named=(--editable '.[dev,jax]')
if [ "$versions" = lowest ]; then named+=(tensorflow==2.19.0 --resolution lowest-direct); fi
"$venv/bin/uv" pip install --python "$venv/bin/python" --prerelease disallow --upgrade "${named[@]}"
exec "$venv/bin/python" -m pytest --numprocesses "$("$venv/bin/python" tools/workers.py)" --dist worksteal "$@"
