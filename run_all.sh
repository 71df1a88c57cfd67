#!/usr/bin/env bash
# From nothing to a scored, validated submission: makes the environment, then runs every stage.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case " $* " in
*" -h "* | *" --help "*)
    cat <<'HELP'
./run_all.sh [--preset P] [--models a,b] [--raw SPLIT=DIR_OR_GLOB ...] [--SECTION.FIELD VALUE ...]

Makes .venv if it is missing, then runs every stage: synthesize (where there is no real data), ingest, train and infer
for each model, ensemble, submit, evaluate, report. Without flags: the demo, on synthetic data, within minutes.
Run it again after a kill, and it goes on; stages that are up to date are skipped.

HELP
    if [ -x "$project/.venv/bin/python" ]; then
        PYTHONPATH=$project exec "$project/.venv/bin/python" -m pipeline.run_all --help
    fi
    echo "Every flag is listed here once the environment is made: run ./run_all.sh once"
    exit 0
    ;;
esac

. "$project/tools/environment.sh"
(cd "$project" && make_environment tensorflow)
echo "Running every stage: python -m pipeline.run_all $*" >&2
# Paths in the flags, data/, runs/ and submissions/ are those of the folder that the user is in.
PYTHONPATH=$project exec "$project/.venv/bin/python" -m pipeline.run_all "$@"
