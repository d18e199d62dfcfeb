#!/bin/sh
# Makes .venv, or completes it: sh tools/make_env.sh core|dev|all
#
#   core  what `verict` itself needs        dev  and the test tools        all  and every optional extra
#
# A stamp inside .venv, named after the level and a checksum of pyproject.toml, constraints.txt and of this folder, is
# written only after everything is installed. A mark, .venv/unfinished, is set before the first step and
# taken away after the last, so what an interrupted run leaves behind is never used: it is made anew.
# PYTHON=/path/to/python chooses the interpreter. Needs no git.
set -eu
cd "$(dirname "$0")/.."

level=${1:-core}
case $level in
    core) extras="" ;;
    dev) extras="[dev]" ;;
    all) extras="[dev,train,bench,tamper,jpeg-lossless]" ;;
    *) echo "make_env: unknown level '$level': core, dev or all" >&2; exit 2 ;;
esac

checksum=$({ cat pyproject.toml tools/constraints.txt; pwd; } | cksum | cut -d ' ' -f 1)
is_new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

# A wider level covers a narrower one.
has_stamp() {
    case $1 in
        core) [ -e ".venv/complete-core-$checksum" ] || has_stamp dev ;;
        dev) [ -e ".venv/complete-dev-$checksum" ] || has_stamp all ;;
        all) [ -e ".venv/complete-all-$checksum" ] ;;
    esac
}

# The one line that installs what is missing, for this system's package manager. $1: venv or python.
install_line() {
    as_root="sudo "
    [ "$(id -u)" = 0 ] && as_root=""
    if command -v apt-get >/dev/null 2>&1; then
        [ "$1" = venv ] && packages="python$version-venv" || packages="python3.11 python3.11-venv"
        echo "${as_root}apt-get install $packages"
    elif command -v dnf >/dev/null 2>&1; then
        echo "${as_root}dnf install python3.12"
    elif command -v apk >/dev/null 2>&1; then
        echo "${as_root}apk add python3 py3-pip"
    elif command -v brew >/dev/null 2>&1; then
        echo "brew install python@3.12"
    else
        echo "install Python 3.11 or newer from python.org"
    fi
}

# Sets $python. A name on the PATH may still not run (pyenv shims), so each candidate is run.
find_python() {
    without_venv=""
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        "$candidate" -c "$is_new_enough" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            python=$candidate
            return
        fi
        [ -n "$without_venv" ] || without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "make: $without_venv cannot make a virtual environment (ensurepip or venv is missing). Run:" >&2
        echo "    $(install_line venv)" >&2
    else
        echo "make: no Python 3.11 or newer found. Run:" >&2
        echo "    $(install_line python)" >&2
    fi
    exit 1
}

runs() { [ -x .venv/bin/python ] && .venv/bin/python -c "$is_new_enough" >/dev/null 2>&1; }

if [ ! -e .venv/unfinished ] && runs && has_stamp "$level"; then
    exit 0
fi

if [ -e .venv/unfinished ] || ! runs; then
    find_python
    [ -e .venv ] && echo "make: .venv is incomplete; making it anew" >&2
    rm -rf .venv
    mkdir .venv
    : > .venv/unfinished
    "$python" -m venv .venv
fi

echo "make: installing verict$extras into .venv (a few minutes the first time)" >&2
: > .venv/unfinished
rm -f .venv/complete-*
if ! .venv/bin/python -m pip --disable-pip-version-check --no-input install -q -c tools/constraints.txt -e ".$extras"; then
    echo "make: the installation failed; its reason stands above. Mend it and run the same command again." >&2
    exit 1
fi
: > ".venv/complete-$level-$checksum"
rm -f .venv/unfinished
