# Of the master and the workers. A master that was paused for long must not take its workers for dead because
# their heartbeats are old; one that is gone is known by its connection.
SPARK_DAEMON_MEMORY=256m
SPARK_DAEMON_JAVA_OPTS="-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
SPARK_MASTER_OPTS="-Dspark.worker.timeout=2592000"
