"""What the queries must answer, computed in plain Python."""

import collections
import functools

import tables


@functools.cache
def table(lineitem):
    columns, count = (tables.LINEITEM, tables.LINES) if lineitem else (tables.ORDER, tables.ORDERS)
    make = eval("lambda id: (" + ", ".join(columns.values()) + ")")  # values are Python, too
    return [make(id) for id in range(count)]


def rows(query):
    return {"Q1": q1, "Q3": q3, "Q6": q6}[query]()


def q1():
    groups = collections.defaultdict(lambda: [0, 0, 0])
    for _, quantity, price, discount, flag, status, day in table(True):
        if day <= 2436:
            group = groups[flag, status]
            group[0] += quantity
            group[1] += price * (100 - discount)
            group[2] += 1
    return [[*key, *sums] for key, sums in sorted(groups.items())]


def q3():
    orders = {key: day for key, day, segment in table(False) if segment == 1 and day < 1169}
    revenue = collections.Counter()
    for key, _, price, discount, _, _, day in table(True):
        if day > 1169 and key in orders:
            revenue[key] += price * (100 - discount)
    best = sorted(revenue.items(), key=lambda item: (-item[1], item[0]))[:10]
    return [[key, sum_, orders[key]] for key, sum_ in best]


def q6():
    return [[sum(price * discount for _, quantity, price, discount, _, _, day in table(True)
                 if 730 <= day < 1095 and 5 <= discount <= 7 and quantity < 24)]]
