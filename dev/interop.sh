#!/bin/sh
# Installs the programs of tests/interop that this machine lacks. Needs Debian and root.
set -eu
cd "$(dirname "$0")/.."

packages=
add() { # FILE PACKAGE...
    [ -e "$1" ] || { shift; packages="$packages $*"; }
}
add /usr/bin/npm nodejs npm
add /usr/sbin/nginx nginx-light
add /usr/bin/amqp-publish amqp-tools

# shellcheck disable=SC2086  # A list of words.
[ -z "$packages" ] || sh dev/bootstrap.sh --as-root $packages
