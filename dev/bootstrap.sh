#!/bin/sh
# Prepares this machine for the local stack; does only what is missing, so every make target calls it first.
#
#   sh dev/bootstrap.sh EXTRA [broker]    .venv with the packages of locks/EXTRA.txt, and RabbitMQ if asked for
#   sh dev/bootstrap.sh --as-root PKG...  the system packages; it calls itself with this, through sudo if need be

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
            || die "Python 3.11 or newer is needed, and $PYTHON does not run."
        "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
            || die "Python 3.11 or newer is needed, $PYTHON is $version: make PYTHON=python3.12 names another."
        # Debian and Ubuntu keep this part of the standard library in a package of its own.
        "$PYTHON" -c 'import ensurepip' 2>/dev/null || missing="python$version-venv"
    fi
    if [ "$1" = broker ] && [ -z "${AMQP_URL:-}" ] && ! has_rabbitmq; then
        missing="$missing rabbitmq-server"
    fi
    # shellcheck disable=SC2086  # A list of words.
    [ -z "$missing" ] || install_packages $missing
}

has_venv() { # Not if the Python it was made with has gone, nor if making it was interrupted.
    [ -x .venv/bin/python ] && [ -x .venv/bin/pip ]
}

has_rabbitmq() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null
}

install_packages() { # PKG...
    command -v apt-get >/dev/null || die "Please install $*, then run make again."
    say "Installing $* with apt-get"
    if [ "$(id -u)" -eq 0 ]; then
        install_as_root "$@"
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        sudo sh "$0" --as-root "$@"
    else
        die "That needs root. Please run as root: apt-get install $*"
    fi
}

install_as_root() ( # PKG... In a subshell, whose end removes the policy again.
    # Debian starts a service as it installs it, and at each boot from then on. The stack runs a node of its own,
    # so a broker that came with it must not take the standard ports.
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
    # What was installed last; locks/check.txt holds everything that the others do.
    installed=.venv/installed.txt
    if cmp -s "$lock" "$installed" || cmp -s locks/check.txt "$installed"; then return; fi
    say "Installing the packages of $lock into .venv"
    rm -f "$installed"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
    cp "$lock" "$installed"
}

main "$@"
