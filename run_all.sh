#!/usr/bin/env bash
# From nothing to a scored, validated submission: makes the environment, then runs every stage.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/tools/environment.sh"

case " $* " in
*" -h "* | *" --help "*)
    cat <<'HELP'
./run_all.sh [--no-venv] [--preset P] [--models a,b] [--raw SPLIT=DIR_OR_GLOB ...] [--SECTION.FIELD VALUE ...]

Makes .venv if it is missing, then runs every stage: synthesize (where there is no real data), ingest, train and infer
for each model, ensemble, submit, evaluate, report. Without flags: the demo, on synthetic data, within minutes.
Run it again after a kill, and it goes on; stages that are up to date are skipped.

  KERAS_BACKEND=jax ./run_all.sh    installs and takes JAX, or torch, in place of tensorflow
  PYTHON=python3.12 ./run_all.sh    makes .venv with this Python
  PIPELINE_VENV=DIR ./run_all.sh    makes the environment there, where the project's folder is read-only
  PIPELINE_WHEELS=DIR ./run_all.sh  installs from a folder that tools/fetch_wheels.sh filled, without a network
  ./run_all.sh --no-venv            installs nothing, takes $PYTHON, by default python3, and names what it lacks

HELP
    if [ -x "$venv/bin/python" ]; then
        PYTHONPATH=$project exec "$venv/bin/python" -m pipeline.run_all --help
    fi
    echo "Every flag is listed here once the environment is made: run ./run_all.sh once"
    exit 0
    ;;
esac

backend=${KERAS_BACKEND:-tensorflow}
extra=$(backend_extra "$backend")
if [ "${1:-}" = --no-venv ]; then
    shift
    python=${PYTHON:-python3}
    "$python" "$project/tools/missing.py" "$backend"
else
    python=$venv/bin/python
    make_environment "$extra"
fi
echo "Running every stage: python -m pipeline.run_all $*" >&2
# Paths in the flags, data/, runs/ and submissions/ are those of the folder that the user is in.
PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m pipeline.run_all "$@"
