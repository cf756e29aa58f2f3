#!/bin/sh
# Installs what the local stack needs and this machine lacks. Every make target calls it first.
#
#   sh dev/bootstrap.sh EXTRA [broker]    makes .venv with the packages of locks/EXTRA.txt; `broker` adds RabbitMQ
#   sh dev/bootstrap.sh --as-root PKG...  installs system packages; the script calls itself so, with sudo if needed

set -eu

PYTHON=${PYTHON:-python3}
POLICY=/usr/sbin/policy-rc.d

main() {
    case $1 in
    --as-root)
        shift
        install_as_root "$@"
        ;;
    *)
        install_missing_packages "${2:-}"
        has_venv || make_venv
        install_locked "$1"
        ;;
    esac
}

say() { printf '%s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

install_missing_packages() { # [broker]
    missing=
    if ! has_venv; then
        version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
            || die "Python 3.11 or newer is required, and $PYTHON does not run."
        "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
            || die "Python 3.11 or newer is required, but $PYTHON is $version. Choose another with: make PYTHON=python3.12"
        # Debian and Ubuntu package this part of the standard library separately.
        "$PYTHON" -c 'import ensurepip' 2>/dev/null || missing="python$version-venv"
    fi
    if [ "$1" = broker ] && [ -z "${AMQP_URL:-}" ] && ! has_rabbitmq; then
        missing="$missing rabbitmq-server"
    fi
    # shellcheck disable=SC2086  # A list of words.
    [ -z "$missing" ] || install_packages $missing
}

has_venv() { # False if its Python was removed, or if its creation was interrupted.
    [ -x .venv/bin/python ] && [ -x .venv/bin/pip ]
}

has_rabbitmq() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null
}

install_packages() { # PKG...
    command -v apt-get >/dev/null || die "Install $*, then run make again."
    say "Installing $* with apt-get"
    if [ "$(id -u)" -eq 0 ]; then
        install_as_root "$@"
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        sudo sh "$0" --as-root "$@"
    else
        die "This needs root. Run as root: apt-get install $*"
    fi
}

install_as_root() ( # PKG... Runs in a subshell, whose exit removes the policy.
    # Debian starts a service when it installs it, and at each boot. The stack runs its own node, so the
    # installed broker must not start and occupy the standard ports.
    if [ ! -e "$POLICY" ]; then
        trap 'rm -f "$POLICY"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 755 "$POLICY"
    fi
    had_epmd=$(command -v epmd || true)
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly apt-get install --yes --no-install-recommends "$@"
    command -v systemctl >/dev/null || return 0
    case " $* " in *" rabbitmq-server "*) quietly systemctl disable rabbitmq-server.service ;; esac
    [ -n "$had_epmd" ] || ! command -v epmd >/dev/null || quietly systemctl disable epmd.socket epmd.service
)

quietly() { # COMMAND...
    output=$("$@" 2>&1) || die "$output" "
$* failed."
}

make_venv() {
    say "Making .venv with $PYTHON"
    "$PYTHON" -m venv --clear .venv
}

install_locked() { # EXTRA
    lock=locks/$1.txt
    # Copy of the last installed lock file. locks/check.txt is a superset of the others.
    installed=.venv/installed.txt
    if cmp -s "$lock" "$installed" || cmp -s locks/check.txt "$installed"; then return; fi
    say "Installing the packages of $lock into .venv"
    rm -f "$installed"
    # A minute or more on a slow network: a terminal shows pip's own progress, a log only its errors.
    if [ -t 1 ]; then quiet=; else quiet=--quiet; fi
    .venv/bin/python -m pip install $quiet --disable-pip-version-check --require-hashes --requirement "$lock"
    cp "$lock" "$installed"
}

main "$@"
