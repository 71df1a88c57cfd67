#!/usr/bin/env bash
# Makes the environment with what the tests need, checks style and types, and runs the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

case " $* " in
*" -h "* | *" --help "*)
    cat <<'HELP'
./run_tests.sh [pytest arguments]

Makes .venv with the extras dev and jax if it is missing, then runs ruff, mypy and pytest, in parallel.
Real data is looked for in $YT8M_SHARED_DATA (default ../shared/data); tests that need it say so where it is missing.

The tests run in one process more than there are processors, because some wait for processes of their own, and in no
more than the free memory has room for, at 2 GB each. -n NUMBER takes another number; -n 0 runs them in this process.

  ./run_tests.sh tests/test_metrics.py -k ties    some of them
  ./run_tests.sh --wide                           more of them, as in continuous integration
  ./run_tests.sh -m long                          those that take minutes each
HELP
    exit 0
    ;;
esac

. tools/environment.sh
make_environment dev jax "$(backend_extra tensorflow)"
echo "Checking style and types, then running the tests: pytest $*" >&2
"$venv/bin/uv" lock --quiet --check --offline || { echo "error: run $venv/bin/uv lock" >&2; exit 1; }
"$venv/bin/ruff" check --quiet .
"$venv/bin/ruff" format --quiet --check . || { echo "error: run $venv/bin/ruff format" >&2; exit 1; }
"$venv/bin/mypy" --no-error-summary || { echo "error: mend the types above" >&2; exit 1; }
exec "$venv/bin/python" -m pytest --numprocesses "$("$venv/bin/python" tools/workers.py)" --dist worksteal "$@"
