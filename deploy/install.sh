#!/usr/bin/env bash
# Make a host ready to be a node: the pinned packages and this checkout in a virtual environment whose
# programs come first on the path of every login. Run again, it does nothing unless pins changed.
#
#   bash deploy/install.sh [ENVIRONMENT]      default: ~/rllib-tactical-env; PYTHON names the interpreter
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=${1:-$HOME/rllib-tactical-env}
python=${PYTHON:-python3}
stamp=$environment/.rllib-tactical

if [ ! -x "$environment/bin/python" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "install.sh: Python 3.11 or newer is required on $(hostname); set PYTHON to one" >&2
        exit 1
    }
    "$python" -m venv "$environment" || {
        echo "install.sh: '$python -m venv' failed on $(hostname); some systems package it separately (python3-venv)" >&2
        exit 1
    }
fi

# The path belongs to it because an editable installation records where the checkout is.
state=$(printf '%s\n' "$checkout" | cat - "$checkout/pyproject.toml" "$checkout/constraints.txt" | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
    rm -f "$stamp"
    pip() { "$environment/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
    # The build tool is pinned as well: pip would otherwise fetch the newest for each build.
    pip install -c "$checkout/constraints.txt" setuptools
    pip install -c "$checkout/constraints.txt" --no-build-isolation -e "$checkout[serve,train]"
    printf '%s\n' "$state" >"$stamp"
fi

# For every login, so also for what `ray up` and `ray submit` run. Whoever reaches a node's ports can
# run programs on it; in token mode only with the content of ~/.ray/auth_token. A job that is stopped
# gets a minute to end its iteration and write a checkpoint; Ray would give it three seconds.
while read -r line; do
    grep -qxF "$line" "$HOME/.bashrc" 2>/dev/null || printf '%s\n' "$line" >>"$HOME/.bashrc"
done <<EOT
export PATH="$environment/bin:\$PATH"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_JOB_STOP_WAIT_TIME_S=60
EOT
