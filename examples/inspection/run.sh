#!/bin/sh
# The whole example in one command, from a clean clone: sh examples/inspection/run.sh
# PYTHON=... takes an environment of yours instead of making one.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${PYTHON:-}" ]; then
  make -s examples-environment
  PYTHON=.venv-examples/bin/python
fi
exec "$PYTHON" examples/inspection/main.py "$@"
