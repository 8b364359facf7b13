#!/bin/sh
# in_namespace.sh BIN COMMAND…: runs COMMAND as root in a fresh network
# namespace that has only loopback, with IM_BIN=BIN. Exits with 77 and the
# reason where that cannot be had.
set -eu

not_run() { printf 'not run: %s\n' "$*" >&2; exit 77; }

bin=$1
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo > /dev/null ||
    not_run "needs root, and there is no sudo; run ./test as root"
  sudo -n true 2> /dev/null ||
    not_run "needs root, and sudo asks for a password; run 'sudo -v' first, or ./test as root"
  exec "$(dirname "$0")/../as_root.sh" "$0" "$@"
fi
shift
unshare -n true 2> /dev/null ||
  not_run "may not make a network namespace (unshare -n); in a container, give it CAP_SYS_ADMIN or --privileged"
[ -c /dev/net/tun ] ||
  not_run "there is no /dev/net/tun; in a container, give it --device /dev/net/tun"
command -v ip > /dev/null || not_run "the program ip is missing: apt-get install iproute2"

export IM_BIN="$bin" PYTHONDONTWRITEBYTECODE=1
exec unshare -n sh -c 'ip link set lo up && exec "$@"' sh "$@"
