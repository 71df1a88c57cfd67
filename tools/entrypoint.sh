#!/bin/sh
# In a container: runs a stage, by default run_all, in the bound folder and as its owner, so that it may be written and
# what lies in it afterwards is the owner's.
#   docker run -v "$PWD/workspace:/workspace" IMAGE [STAGE] [FLAGS]
set -eu
case "${1:-}" in '' | -*) set -- run_all "$@" ;; esac
owner=$(stat -c %u .) group=$(stat -c %g .)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    exec setpriv --reuid "$owner" --regid "$group" --clear-groups learnable-pooling "$@"
fi
exec learnable-pooling "$@"
