"""Answers the Task `inventory`: one JSON line in, one JSON line out.

A request is {"resource": …, "input": …, "attempt": n, "state": …, "execution": …}, an answer {"result": …} or
{"error": …, "cause": …}. What happens depends on the article's number alone, so every run gives the same outputs:
some articles are busy when first asked for, some are out of stock, and some break when five or more are wanted.
"""

import json
import sys

WAREHOUSES = ["Leipzig", "Łódź", "Lyon"]


def is_busy(sku):
    """Busy articles answer from the second attempt on."""
    return int(sku[4:]) % 29 == 0


def reserve(line):
    """What reserving `line` comes to once the warehouse answers."""
    number = int(line["sku"][4:])
    if number % 23 == 0:
        return {"error": "Inventory.OutOfStock", "cause": f"{line['sku']} is sold out"}
    if number % 40 == 1 and line["qty"] >= 5:
        return {"error": "Inventory.Corrupt", "cause": f"{line['sku']}: stock and ledger differ"}
    return {
        "result": {
            "line": line["line"],
            "sku": line["sku"],
            "reserved": line["qty"],
            "warehouse": WAREHOUSES[number % len(WAREHOUSES)],
        }
    }


def answer(request):
    line = request["input"]
    if is_busy(line["sku"]) and request["attempt"] < 2:
        return {"error": "Inventory.Busy", "cause": "another order is being packed"}
    return reserve(line)


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    for request in sys.stdin:
        print(json.dumps(answer(json.loads(request)), ensure_ascii=False), flush=True)
