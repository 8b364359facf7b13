#!/bin/sh
# One server of the ensemble: its number is the end of its host's name.
set -eu
data=$DATA_ROOT/$HOSTNAME
mkdir -p "$data"
echo "${HOSTNAME##*-}" >"$data/myid"
sed "s|@DATA@|$data|" zoo.cfg >"$data/zoo.cfg"
# shellcheck disable=SC2086  # flags are several words
exec java $JVM_FLAGS -Djava.net.preferIPv4Stack=true -Dzookeeper.log.dir="$data" \
  -cp "$PWD:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar" \
  org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zoo.cfg"
