"""Makes the orders of this example and, by plain Python, what must become of them.

    python3 examples/orders/generate.py

writes events.ndjson, expected.ndjson (the outputs of the orders that succeed, in the order of the events) and
failures.ndjson (the orders that fail: line number from 1, error, cause). The same files on every run.
"""

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "tasks"))
import inventory  # noqa: E402  (the mock's own rules; everything else is computed here)

EVENTS = 1500

PEOPLE = {
    "DE": ["Ana Weber", "Jürgen Groß", "Änne Müller-Lüdenscheidt"],
    "AT": ["Sepp Öller", "Liesl Gruber"],
    "FR": ["Zoé Lefèvre", "François d'Arc"],
    "PL": ["Łukasz Żółć", "Małgorzata Wójcik"],
    "GR": ["Ελένη Παπαδοπούλου"],
    "JP": ["山田 太郎", "佐藤 花子"],
    "US": ["Grace O'Neil", 'Bob "Bobby" Tables'],
    "BR": ["João da Conceição"],
}
CURRENCIES = {"DE": "EUR", "AT": "EUR", "FR": "EUR", "GR": "EUR", "PL": "PLN", "JP": "JPY", "US": "USD", "BR": "BRL"}
CITIES = {
    "DE": ["Berlin", "Köln"], "AT": ["Wien"], "FR": ["Saint-Étienne"], "PL": ["Łódź"], "GR": ["Αθήνα"],
    "JP": ["東京", "大阪"], "US": ["Portland, OR"], "BR": ["São Paulo"],
}
ARTICLES = [
    "Mechanical keyboard", "USB-C cable 2m", "Desk mat XL", "Laptop stand", 'Monitor 27" 4K', "Kaffeebecher",
    "Carte mémoire 128 Go", "Füller", "LED strip 5 m / RGB", "Notebook A5 (dotted)",
]
NOTES = [
    "Happy birthday! 🎂",
    'For "the best" dad\n— Tim & Tom',
    "Alles Gute zur Hochzeit,\n\tEure Müllers",
    "C:\\gifts\\2026",
    "お誕生日おめでとう 🎉👨‍👩‍👧",
    "Merci / thank you",
    "",
]


def pick(rng, weighted):
    names, weights = zip(*weighted.items())
    return rng.choices(names, weights)[0]


def order(number, rng):
    """One event, before some are damaged."""
    country = pick(rng, {"DE": 8, "AT": 3, "FR": 3, "PL": 2, "GR": 1, "JP": 2, "US": 3, "BR": 1})
    items = []
    for _ in range(pick(rng, {1: 5, 2: 5, 3: 3, 4: 2, 7: 1})):
        article = rng.randrange(120)
        price = rng.randrange(100, 20000)
        items.append({
            "sku": f"SKU-{1000 + article}",
            "name": ARTICLES[article % len(ARTICLES)],
            "qty": pick(rng, {1: 8, 2: 4, 3: 2, 5: 1, 12: 1}),
            "price": price if country == "JP" else price / 100,
        })
    total = sum(item["qty"] * item["price"] for item in items)
    event = {
        "orderId": f"ord-{number:06d}-{rng.randrange(16**6):06x}",
        "createdAt": f"2026-11-{1 + number // 60:02d}T{rng.randrange(24):02d}:{number % 60:02d}:{rng.randrange(60):02d}Z",
        "channel": pick(rng, {"web": 5, "app": 4, "phone": 1}),
        "customer": {
            "id": f"cus-{rng.randrange(100000)}",
            "name": rng.choice(PEOPLE[country]),
            "tier": pick(rng, {"basic": 5, "silver": 3, "gold": 2, "staff": 1}),
            "country": country,
        },
        "items": items,
        "payment": {
            "method": pick(rng, {"card": 12, "invoice": 5, "voucher": 1}),
            "currency": CURRENCIES[country],
            "total": total if country == "JP" else round(total, 2),
        },
        "shipping": {
            "method": pick(rng, {"standard": 10, "express": 4, "pickup": 2}),
            "address": {"city": rng.choice(CITIES[country]), "zip": f"{rng.randrange(100000):05d}"},
        },
        "risk": {"score": pick(rng, {3: 30, 17.5: 30, 41: 15, 64: 10, 79.9: 3, 92: 3})},
    }
    if rng.random() < 0.25:
        event["giftNote"] = rng.choice(NOTES)
    if rng.random() < 0.1:
        event["coupon"] = None
    return event


def damage(event, rng):
    """Optional fields go missing in some orders, required ones in a few."""
    if rng.random() < 0.2:
        del event["risk"]
    if rng.random() < 0.08:
        del event["customer"]["tier"]
    fate = rng.random()
    if fate < 0.01:
        event["items"] = []
    elif fate < 0.02:
        del event["customer"]["country"]
    elif fate < 0.03:
        event["payment"]["total"] = str(event["payment"]["total"])
    elif fate < 0.04:
        event["shipping"]["method"] = rng.choice(["drone", "drone-express"])
    elif fate < 0.045:
        event["items"] = None
    return event


def text(number, event):
    """Producers write JSON differently: compact or spaced, with raw or escaped letters, with `\\/`."""
    if number % 3 == 0:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    if number % 3 == 1:
        return json.dumps(event, ensure_ascii=True, separators=(",", ":"))
    return json.dumps(event, ensure_ascii=False).replace("/", "\\/")


class Failure(Exception):
    """An execution that fails: error, cause."""


def gift(event):
    return {"wrap": True, "note": event["giftNote"]} if "giftNote" in event else {"wrap": False}


def lines(event):
    """The Map: reserved or back-ordered lines. Busy articles are asked for again and then answer."""
    result = []
    for index, item in enumerate(event["items"]):
        answer = inventory.reserve({"sku": item["sku"], "qty": item["qty"], "line": index})
        if answer.get("error") == "Inventory.OutOfStock":
            result.append({"line": index, "sku": item["sku"], "backorder": True, "reason": answer["cause"]})
        elif "error" in answer:
            raise Failure(answer["error"], answer["cause"])
        else:
            result.append(answer["result"])
    return result


def shipping(event):
    if event["customer"]["country"] == "DE":
        return {"carrier": "DHL", "cost": 4.9, "days": 1}
    if event["shipping"]["method"] == "pickup":
        return {"carrier": "Abholung", "cost": 0, "days": 0}
    return {"carrier": "Österreichische Post", "cost": 12.5, "days": 3}


def payment(event):
    paid = dict(event["payment"])
    if paid["method"] == "voucher":
        paid["problem"] = {"Error": "Voucher.Unavailable", "Cause": "the voucher service is closed"}
    paid["receipt"] = {"status": "captured", "provider": "acme-pay"}
    return paid


def outcome(event):
    """What the state machine must make of `event`; raises Failure."""
    total = event["payment"]["total"]
    if not event["items"] or "country" not in event["customer"] or isinstance(total, str):
        raise Failure("Order.Invalid", f"order {event['orderId']} lacks items, a country or a total")
    if event["shipping"]["method"].startswith("drone"):
        raise Failure("Order.UnsupportedShipping", "nothing flies yet")
    customer = event["customer"]
    risk = event.get("risk", {"score": 64, "model": "baum-3"})
    score = risk["score"]
    if score > 80 or (score >= 60 and total > 250 and customer.get("tier") != "gold"):
        return {
            "orderId": event["orderId"],
            "status": "REVIEW",
            "customer": customer["name"],
            "risk": risk,
            "reason": f"score {score} on {total} {event['payment']['currency']}",
        }
    try:
        reserved = lines(event)
    except Failure as failure:
        error, cause = failure.args
        return {"orderId": event["orderId"], "status": "ESCALATED", "error": error, "cause": cause}
    carried = shipping(event)
    return {
        "orderId": event["orderId"],
        "status": "CONFIRMED",
        "reference": f"{customer['country']}/{event['orderId']}",
        "customer": {"name": customer["name"], "country": customer["country"]},
        "skus": [item["sku"] for item in event["items"]],
        "lineCount": len(event["items"]),
        "lines": reserved,
        "shipping": carried,
        "deliveredInDays": carried["days"] + 1,
        "discount": {"gold": 10, "silver": 5, "staff": 5}.get(customer.get("tier"), 0),
        "gift": gift(event),
        "payment": payment(event),
    }


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main():
    rng = random.Random(20261120)
    events, outputs, failures = [], [], []
    for number in range(EVENTS):
        event = damage(order(number, rng), rng)
        events.append(text(number, event))
        try:
            outputs.append(compact(outcome(event)))
        except Failure as failure:
            error, cause = failure.args
            failures.append(compact({"line": number + 1, "error": error, "cause": cause}))
    for name, rows in [("events", events), ("expected", outputs), ("failures", failures)]:
        (HERE / f"{name}.ndjson").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
