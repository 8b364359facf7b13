"""Pi by throwing darts, as Spark's own example has it: pi.py PARTITIONS."""

import random
import sys

from pyspark.sql import SparkSession

DARTS = 100_000


def hits(seed):
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(DARTS))


if __name__ == "__main__":
    partitions = int(sys.argv[1])
    context = SparkSession.builder.appName("pi").getOrCreate().sparkContext
    total = context.parallelize(range(partitions), partitions).map(hits).sum()
    print(f"Pi is roughly {4 * total / DARTS / partitions}")
