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
add /usr/lib/nginx/modules/ngx_http_lua_module.so libnginx-mod-http-lua lua-cjson
add /usr/lib/apache2/modules/mod_auth_openidc.so apache2-bin libapache2-mod-auth-openidc
add /usr/lib/apache2/modules/mod_oauth2.so apache2-bin libapache2-mod-oauth2

# shellcheck disable=SC2086  # A list of words.
[ -z "$packages" ] || sh dev/bootstrap.sh --as-root $packages
