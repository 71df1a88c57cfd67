#!/usr/bin/env bash
# Fills a folder with every wheel that an installation without a network needs.
set -euo pipefail

case " $* " in
*" -h "* | *" --help "* | "  ")
    cat <<'HELP'
tools/fetch_wheels.sh DIR [EXTRA ...]

Loads into DIR what ./run_all.sh installs, with the backend that KERAS_BACKEND names, by default tensorflow, or with
these extras: those that uv.lock pins, for machines of this system, this processor and this Python. Then, without a
network: PIPELINE_WHEELS=DIR ./run_all.sh
HELP
    exit 0
    ;;
esac

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
folder=$1
shift
if [ "$#" = 0 ]; then set -- "$(backend_extra "${KERAS_BACKEND:-tensorflow}")"; fi
extras=()
for extra in "$@"; do extras+=(--extra "$extra"); done
unset PIPELINE_WHEELS
make_venv
pins=$(pinned --no-emit-project "${extras[@]}")
any_pip download --no-deps --only-binary :all: --require-hashes --dest "$folder" \
    -r <(echo "$pins") -r "$project/tools/uv.txt"
echo "$folder: all that $* needs; on the other machine: PIPELINE_WHEELS=$folder ./run_all.sh" >&2
