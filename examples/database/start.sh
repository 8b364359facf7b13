#!/bin/sh
# PostgreSQL, the newest that is installed; the first time it makes its files.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
data=/var/lib/postgresql/imaginary
if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data.new"
  "$bin/initdb" -D "$data.new" -A trust -E UTF8 --no-locale > /dev/null
  echo 'host all all samenet trust' >> "$data.new/pg_hba.conf"
  mv "$data.new" "$data"
fi
# The package's folder for its socket need not be there.
exec "$bin/postgres" -D "$data" -h '*' -k "$data" -c max_connections=200
