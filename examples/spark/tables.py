"""Two tables in the manner of TPC-H. All values are whole numbers (cents, percents, days) made of the row's number."""

ORDERS = 100_000
LINES = 4 * ORDERS

# Column → its value as SQL of `id`, which is Python, too.
LINEITEM = {
    "l_orderkey": "id - id % 4",
    "l_quantity": "1 + id % 50",
    "l_extendedprice": "900 + id * 7919 % 100000",
    "l_discount": "id * 31 % 11",
    "l_returnflag": "id % 3",
    "l_linestatus": "id % 2",
    "l_shipday": "id * 37 % 2526",
}
ORDER = {
    "o_orderkey": "id * 4",
    "o_orderday": "id * 53 % 2406",
    "o_segment": "id % 5",
}
