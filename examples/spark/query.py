"""Queries in the manner of TPC-H over parquet files, on the cluster: query.py DIRECTORY.

Says who its workers are when all have joined, makes the files if they are not there, then prints each query's rows.
Each is a line of JSON.
"""

import json
import os
import socket
import sys

from pyspark.sql import SparkSession

import tables

QUERIES = {
    "Q1": """
        SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice * (100 - l_discount)), count(*)
        FROM lineitem WHERE l_shipday <= 2436 GROUP BY 1, 2 ORDER BY 1, 2""",
    "Q3": """
        SELECT l_orderkey, sum(l_extendedprice * (100 - l_discount)) AS revenue, o_orderday
        FROM orders JOIN lineitem ON l_orderkey = o_orderkey
        WHERE o_segment = 1 AND o_orderday < 1169 AND l_shipday > 1169
        GROUP BY l_orderkey, o_orderday ORDER BY revenue DESC, l_orderkey LIMIT 10""",
    "Q6": """
        SELECT sum(l_extendedprice * l_discount) FROM lineitem
        WHERE l_shipday >= 730 AND l_shipday < 1095 AND l_discount BETWEEN 5 AND 7 AND l_quantity < 24""",
}


def say(what, value):
    print(json.dumps({what: value}), flush=True)


def main():
    directory = sys.argv[1]
    # A join that moves rows from worker to worker.
    spark = SparkSession.builder.appName("query").config("spark.sql.autoBroadcastJoinThreshold", "-1").getOrCreate()
    on = spark.sparkContext.parallelize(range(4), 4).map(lambda _: socket.gethostname())
    say("ready", sorted(on.collect()))
    for name, columns, count in ("lineitem", tables.LINEITEM, tables.LINES), ("orders", tables.ORDER, tables.ORDERS):
        path = os.path.join(directory, f"{name}.parquet")
        if not os.path.exists(os.path.join(path, "_SUCCESS")):
            values = [f"{value} AS {column}" for column, value in columns.items()]
            spark.range(count, numPartitions=4).selectExpr(*values).write.mode("overwrite").parquet(path)
        spark.read.parquet(path).createOrReplaceTempView(name)
    for name, query in QUERIES.items():
        say(name, [list(row) for row in spark.sql(query).collect()])
    spark.stop()


if __name__ == "__main__":
    main()
