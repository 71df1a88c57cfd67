# Makes .venv with what uv.lock pins. Sourced by run_all.sh and run_tests.sh, in the project's folder:
#   . tools/environment.sh && make_environment [extra ...]
# A second run changes nothing. Extras that are installed already stay.

uv_version=0.13.9

find_python() {
    for python in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
        if [ -n "$python" ] && "$python" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "error: Python 3.11, 3.12 or 3.13 with venv is needed; install one, or name one: PYTHON=/path/to/python $0" >&2
    return 1
}

make_environment() {
    local python extras=() extra
    for extra in "$@"; do extras+=(--extra "$extra"); done
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then extras+=(--extra tensorflow-gpu); fi
    if [ ! -x .venv/bin/uv ] || [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$uv_version" ]; then
        python=$(find_python) || return 1
        echo "Making .venv with $("$python" --version)" >&2
        "$python" -m venv .venv || return 1
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version" || return 1
    fi
    # Nothing to do is found out in a moment; otherwise uv says what it installs.
    if ! .venv/bin/uv sync --quiet --locked --inexact --check "${extras[@]}" 2>/dev/null; then
        echo "Installing what uv.lock pins into .venv (about 3 GB, once)" >&2
        # Compiled at once: importing TensorFlow from source alone takes ten seconds, at every start.
        .venv/bin/uv sync --locked --inexact --compile-bytecode "${extras[@]}" >&2 || return 1
    fi
}
