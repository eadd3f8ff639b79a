#!/bin/sh
# Prints a Python that can make the environment: 3.11 or later, with venv. Says what is missing otherwise.
#
# usage: find_python.sh VENV [PYTHON]
set -u

venv=$1
wanted=${2:-}

fits() {
    # Running it is the only proof: version managers leave commands that only say "not installed".
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -x "$venv/bin/python" ] && fits "$venv/bin/python"; then
    echo "$venv/bin/python"
    exit 0
fi
if [ -e "$venv" ]; then
    echo "env: $venv does not work (moved, or its Python is gone); remove it with 'make distclean' and try again" >&2
    exit 1
fi

for python in ${wanted:-python3.14 python3.13 python3.12 python3.11 python3}; do
    if fits "$python"; then
        if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            command -v "$python"
            exit 0
        fi
        lacking=$python
    fi
done

if [ -n "${lacking:-}" ]; then
    echo "env: $lacking has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2
elif [ -n "$wanted" ]; then
    echo "env: $wanted is not Python 3.11 or later: $("$wanted" --version 2>&1 | head -n 1)" >&2
else
    echo "env: qpq needs Python 3.11 or later; found: $(python3 --version 2>&1 | head -n 1)" >&2
    echo "env: install one (Debian 12, Ubuntu 24.04 and later have it) or say where: make PYTHON=/path/to/python3.11" >&2
fi
exit 1
