# Makes the environment with what uv.lock pins. Sourced by ./run_all.sh, ./run_tests.sh and tools/fetch_wheels.sh:
#   . tools/environment.sh && make_environment [extra ...]
# It lies in .venv, or in $PIPELINE_VENV. A second run changes nothing, and extras that are installed already stay.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${PIPELINE_VENV:-$project/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

# The extra of a backend, by its name in KERAS_BACKEND; with an NVIDIA driver the one that brings CUDA's libraries.
backend_extra() {
    case $1 in
        tensorflow | jax) if nvidia-smi >/dev/null 2>&1; then echo "$1-gpu"; else echo "$1"; fi ;;
        torch) echo torch ;;  # for Linux it comes with CUDA
        *) echo "error: KERAS_BACKEND is $1: set it to tensorflow, jax or torch, or unset it for tensorflow" >&2; return 1 ;;
    esac
}

find_python() {
    for python in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python3.14; do
        if [ -n "$python" ] && "$python" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
            2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "error: Python 3.11 to 3.14 with venv is needed; install one, or name one: PYTHON=/path/to/python $0" >&2
    return 1
}

# Leave out what is set for other projects: where they install to, which Python they run on, what they import. What the
# network needs stays: indexes, certificates, caches, time-outs.
forget_other_projects() {
    local name network='INDEX|FIND_LINKS|CERT|TLS|PROXY|HOST|KEYRING|CREDENTIALS|CACHE|TIMEOUT|RETRIES|CONCURRENT'
    network+='|OFFLINE|CONFIG_FILE|LINK_MODE'
    for name in $(compgen -e | grep -E '^(PIP|UV)_' | grep -vE "$network"); do unset "$name"; done
    unset PYTHONHOME PYTHONPATH PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX
    export PYTHONNOUSERSITE=1  # nor what lies in ~/.local
}

# Let a pip of Python's own or the new environment's run: some machines, such as Colab, have only the former. It installs
# nothing into that Python, so that a pip.conf with `require-virtualenv` need not stop it.
any_pip() {
    local each
    for each in "$venv/bin/python" "$(find_python)"; do
        if "$each" -m pip --version >/dev/null 2>&1; then
            PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=0 "$each" -m pip "$@"
            return
        fi
    done
    echo "error: neither ensurepip nor pip nor uv is here; install python3-venv, python3-pip or uv" >&2
    return 1
}

# Make the environment with nothing but uv, which is downloaded and unpacked: what pip's settings say of where and how
# to install does not matter then.
make_venv() {
    local python wanted fetched
    forget_other_projects
    wanted=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' "$project/tools/uv.txt")
    if [ -x "$venv/bin/uv" ] && [ "$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" = "$wanted" ]; then return; fi
    python=$(find_python) || return 1
    echo "Making $venv with $("$python" --version)" >&2
    if [ ! -x "$venv/bin/python" ]; then
        if "$python" -c 'import ensurepip' 2>/dev/null; then
            "$python" -m venv "$venv" || return 1
        else
            "$python" -m venv --without-pip "$venv" || return 1
        fi
    fi
    fetched=${PIPELINE_WHEELS:-}
    if [ -z "$fetched" ]; then
        fetched=$venv/uv-wheel
        if command -v uv >/dev/null && ! any_pip --version >/dev/null 2>&1; then
            uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$project/tools/uv.txt" || return 1
            return
        fi
        any_pip download --quiet --no-deps --only-binary :all: --require-hashes --dest "$fetched" \
            -r "$project/tools/uv.txt" || return 1
    fi
    "$venv/bin/python" - "$fetched" "$wanted" "$venv/bin/uv" <<'PYTHON' || return 1
import pathlib, sys, zipfile
folder, version, program = sys.argv[1:]
found = sorted(pathlib.Path(folder).glob(f"uv-{version}-*.whl"))
if not found:
    sys.exit(f"error: {folder} has no wheel of uv {version}; fill it with tools/fetch_wheels.sh {folder}")
with zipfile.ZipFile(found[0]) as wheel:
    content = wheel.read(f"uv-{version}.data/scripts/uv")
part = pathlib.Path(f"{program}.part")
part.write_bytes(content)
part.chmod(0o755)
part.replace(program)
PYTHON
    if [ -z "${PIPELINE_WHEELS:-}" ]; then rm -r "$fetched"; fi
}

# What uv.lock pins of the project with these extras, with hashes.
pinned() {
    "$venv/bin/uv" export --quiet --directory "$project" --frozen --no-annotate --no-header "$@"
}

make_environment() {
    local extras=() extra pins from=()
    for extra in "$@"; do extras+=(--extra "$extra"); done
    make_venv || return 1
    # Nothing to do is found out in a moment.
    if UV_PROJECT_ENVIRONMENT=$venv "$venv/bin/uv" sync --quiet --directory "$project" --frozen --inexact --check \
        ${extras[@]+"${extras[@]}"} 2>/dev/null; then
        return
    fi
    echo "Installing what uv.lock pins into $venv, once" >&2
    pins=$(pinned --no-emit-project ${extras[@]+"${extras[@]}"}) || return 1
    if [ -n "${PIPELINE_WHEELS:-}" ]; then from=(--no-index --find-links "$PIPELINE_WHEELS"); fi
    # `uv sync` would load from where uv.lock says and nowhere else: not from a folder, nor from another index.
    "$venv/bin/uv" pip install --python "$venv/bin/python" --require-hashes --no-deps \
        ${from[@]+"${from[@]}"} -r - <<<"$pins" >&2 || return 1
    # Compiled at once: importing TensorFlow from source alone takes ten seconds, at every start. Tests of packages not.
    "$venv/bin/python" -m compileall -qq -j 0 -x '/(tests?|pip|setuptools)/' "$venv/lib" || :
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable "$project" >&2
}
