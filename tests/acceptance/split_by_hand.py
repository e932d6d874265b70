"""What every party earned of a file of the Online Retail form, month by month: a plain script over the CSV.

    python tests/acceptance/split_by_hand.py FILE.csv[.gz] RULES.json

It shares no code with the product, so that both can be held against each other: it reads the file, finds what each
cancellation takes back, splits every line's pence, and prints {month: {share: {party: pence}}} as JSON.

RULES.json: {"sellers": {code: party}, "categories": {code: category}, "creators": {code: party},
"category_creators": {category: party}, "referrers": {customer: party}, "rules": [{"kind", "rank", "when": {...},
"form", ...}]}. Of the rules of a kind whose "when" holds, the one of the highest rank counts.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

SERVICE = {"POST", "DOT", "C2", "M", "m", "D", "S", "BANK CHARGES", "AMAZONFEE", "CRUK", "B"}
KINDS = ("platform_fee", "creator_commission", "referrer_fee", "channel_fee")
SHARES = ("seller", "platform", "creator", "referrer", "channel")


def read(path):
    """Invoices in order of first appearance: (number, lines), lines as (code, units, price, month, time, customer)."""
    opener = gzip.open if path.endswith(".gz") else open
    invoices = {}
    with opener(path, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            customer = row["CustomerID"].removesuffix(".0").strip()
            at = row["InvoiceDate"]
            line = (row["StockCode"], int(row["Quantity"]), Decimal(row["UnitPrice"]), at[:7], at, customer)
            invoices.setdefault(row["InvoiceNo"].strip(), []).append(line)
    return list(invoices.items())


def pence(units, price):
    """Rounded once, half away from zero."""
    return int((price * units * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))


class Splitter:
    """Books sales, refunds and returns, and sums what each party has of them."""

    def __init__(self, rules):
        self.rules = rules
        self.months = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
        self.volumes = defaultdict(int)
        self.total = 0

    def whom(self, code, customer):
        category = self.rules["categories"].get(code)
        seller = self.rules["sellers"].get(code)
        creator = self.rules["creators"].get(code) or self.rules["category_creators"].get(category)
        referrer = self.rules["referrers"].get(customer) if customer else None
        return seller, creator, referrer, category

    def terms(self, code, customer, at):
        """The parties, and of each kind the rule that counts, or None."""
        seller, creator, referrer, category = self.whom(code, customer)
        payee = {"creator_commission": creator, "referrer_fee": referrer}
        due = {
            "platform_fee": seller is not None,
            "creator_commission": creator is not None,
            "referrer_fee": referrer is not None,
            "channel_fee": True,
        }
        chosen = {}
        for kind in KINDS:
            fitting = [
                rule
                for rule in self.rules["rules"]
                if due[kind]
                and rule["kind"] == kind
                and rule["when"].get("sku", code) == code
                and rule["when"].get("payee", payee.get(kind)) == payee.get(kind)
                and rule["when"].get("category", category) == category
                and rule["when"].get("seller", seller) == seller
                and rule["when"].get("from", at) <= at
                and at < rule["when"].get("to", "9999")
            ]
            chosen[kind] = max(fitting, key=lambda rule: rule["rank"], default=None)
        return (seller, creator, referrer), chosen

    def volumes_before(self, parties, chosen, month, sold):
        """The month's volume before this line, of each tiered rule; and counts the line."""
        before = {}
        owners = dict(zip(KINDS, (*parties, None), strict=True))
        for kind, rule in chosen.items():
            if rule is not None and rule["form"] == "tiered":
                key = (kind, owners[kind], month)
                before[kind] = self.volumes[key]
                self.volumes[key] += max(0, sold)
        return before

    @staticmethod
    def fee(rule, sold, left, units, before):
        """Exact, in pence."""
        if rule is None:
            return Fraction(0)
        if rule["form"] == "fixed":
            fee = Fraction(rule["pence"] * units)
        elif rule["form"] == "tiered":
            fee = Fraction(0)
            for number, (begins, percent) in enumerate(rule["tiers"]):
                ends = rule["tiers"][number + 1][0] if number + 1 < len(rule["tiers"]) else before + sold
                part = max(0, min(before + sold, ends) - max(before, begins))
                fee += part * Fraction(percent) / 100
        else:
            fee = sold * Fraction(rule["percent"]) / 100
        if rule.get("kept") or left == sold or sold == 0:
            return fee
        return fee * left / sold

    def split(self, parties, chosen, sold, left, units, before):
        """Pence of seller, platform, creator, referrer and channel, rounded together by the largest remainder."""
        if sold < 0:
            return [-part for part in self.split(parties, chosen, -sold, -left, units, before)]
        fees = {kind: self.fee(rule, sold, left, units, before.get(kind, 0)) for kind, rule in chosen.items()}
        has_seller = parties[0] is not None
        borne = sum(
            fees[kind]
            for kind in KINDS[1:]
            if chosen[kind] is not None and (chosen[kind].get("borne_by") == "platform" or not has_seller)
        )
        others = sum(fees[kind] for kind in KINDS[1:])
        if has_seller:
            platform = fees["platform_fee"] - borne
            seller = left - platform - others
        else:
            seller, platform = Fraction(0), left - others
        exact = [seller, platform, *(fees[kind] for kind in KINDS[1:])]
        whole = [value.__floor__() for value in exact]
        by_remainder = sorted(range(5), key=lambda at: (whole[at] - exact[at], at))
        for at in by_remainder[: left - sum(whole)]:
            whole[at] += 1
        return whole

    def add(self, month, parties, changed):
        named = (parties[0], "platform", parties[1], parties[2], "channel")
        for share, party, amount in zip(SHARES, named, changed, strict=True):
            if amount:
                self.months[month][share][party] += amount
        self.total += sum(changed)


def run(path, rules):
    """The sums, and the pence of the whole file."""
    splitter = Splitter(rules)
    open_lines = defaultdict(list)
    for number, lines in read(path):
        first = lines[0]
        if number.startswith(("C", "A")):
            for line in lines:
                take_back(splitter, open_lines, line, is_debt=number.startswith("A"))
        elif not (len(lines) == 1 and first[2] == 0 and not first[5]):
            for code, units, price, _, _, customer in lines:
                sold = pence(units, price)
                # Lines of an invoice that spans a minute belong to its first time, and its first customer.
                parties, chosen = splitter.terms(code, first[5], first[4])
                before = splitter.volumes_before(parties, chosen, first[3], sold)
                shares = splitter.split(parties, chosen, sold, sold, units, before)
                splitter.add(first[3], parties, shares)
                if customer and units > 0:
                    booked = [units, sold, sold, parties, chosen, before, shares, units]
                    open_lines[customer, code, price].append(booked)
    return splitter


def take_back(splitter, open_lines, line, is_debt):
    code, units, price, month, at, customer = line
    back = -units
    for booked in reversed(open_lines[customer, code, price] if customer and not is_debt else []):
        if booked[0] >= back:
            booked[0] -= back
            _, sold, left, parties, chosen, before, shares, bought = booked
            left -= min(left, pence(back, price))
            after = splitter.split(parties, chosen, sold, left, bought, before)
            splitter.add(month, parties, [new - old for new, old in zip(after, shares, strict=True)])
            booked[2], booked[6] = left, after
            return
    given = pence(abs(units), -price if units > 0 else price)
    parties, chosen = splitter.terms(code, customer, at)
    splitter.add(month, parties, splitter.split(parties, chosen, -given, -given, abs(units), {}))


def main():
    with open(sys.argv[2], encoding="utf-8") as text:
        splitter = run(sys.argv[1], json.load(text))
    print(json.dumps({"total": splitter.total, "months": splitter.months}, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
