#!/bin/sh
# as_root.sh COMMAND…: runs COMMAND as root, by sudo if that asks nothing; else
# as it is, and the command says what it cannot do.
set -eu

if [ "$(id -u)" -eq 0 ] || ! sudo -n true 2> /dev/null; then exec "$@"; fi

# ThreadSanitizer wants to know where memory lies, which sudo makes forget.
where=
if [ -n "${TSAN_OPTIONS:-}" ] && setarch -R true 2> /dev/null; then where="setarch -R"; fi

exec sudo -n env PYTHONDONTWRITEBYTECODE=1 "IM_LONG=${IM_LONG:-}" "IM_SLOW_FACTOR=${IM_SLOW_FACTOR:-}" \
  "IM_SOAK_SECONDS=${IM_SOAK_SECONDS:-}" "ASAN_OPTIONS=${ASAN_OPTIONS:-}" \
  "TSAN_OPTIONS=${TSAN_OPTIONS:-}" "UBSAN_OPTIONS=${UBSAN_OPTIONS:-}" $where "$@"
