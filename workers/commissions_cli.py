"""Commission rules on the command line: `switchyard commissions parties|rules|assign|try|settings`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import click
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from core.audit import Actor
from core.clock import utc_now
from core.commissions import editing, importing, queries
from core.commissions.checking import Finding, check
from core.commissions.directory import KIND_WORDS, Directory, PartyKind, directory, named_skus
from core.commissions.drafts import NO_DRAFT, Draft
from core.commissions.replaying import LINES_MAX, Earning, Replayed, replay
from core.commissions.rules import KINDS, Rule
from core.commissions.sentences import say_assignment, say_money, say_rule
from core.commissions.standing import standing
from core.commissions.typed import ASSIGNMENT_FIELDS, RULE_FIELDS, read_assignment, read_rule
from core.db import fetch, read_only, unit_of_work
from core.errors import BadInput
from workers import console

Command = Callable[..., Any]

_SHOP = click.option("--shop", "shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_RULE = (
    click.option("--kind", help="platform fee, creator commission, referrer fee or channel fee."),
    click.option("--of", "base", help="Of items or of carriage.  [default: items]"),
    click.option("--seller", help="Only for lines of this seller, by its code."),
    click.option("--payee", help="Only for this creator or referrer, by its code."),
    click.option("--connection", help="Only on this channel connection, by name."),
    click.option("--category", help="Only SKUs of this category, as the catalogue spells it."),
    click.option("--sku", help="Only this SKU, by code."),
    click.option("--fee", help="12.5 %, or 0.30 GBP per unit, or tiers: 0: 12 %, 10000: 10 %."),
    click.option("--currency", help="Of tiers; of a percentage: only in this currency."),
    click.option("--borne-by", help="Whose share it comes out of: seller or platform."),
    click.option("--on-refund", help="returned with the goods, or kept."),
    click.option("--taxes", "tax_basis", help="Taken of amounts without taxes or with taxes."),
    click.option("--taxes-to", "tax_to", help="Who takes a line's taxes: tax authority or seller."),
    click.option("--from", "valid_from", help="First day, in the shop's zone: 2026-12-01."),
    click.option("--until", "valid_to", help="Last day, which counts in full."),
    click.option("--end", "ends", type=int, multiple=True, help="End the rule of this number; may be repeated."),
)
_ASSIGNMENT = (
    click.option("--role", help="seller, creator or referrer."),
    click.option("--party", help="Who, by its code."),
    click.option("--connection", help="Only on this channel connection, by name."),
    click.option("--category", help="Only SKUs of this category."),
    click.option("--sku", help="Only this SKU, by code."),
    click.option("--customer", help="Only of this buyer, by the channel's id."),
    click.option("--code", help="Only orders with this discount or referral code."),
    click.option("--from", "valid_from", help="First day, in the shop's zone."),
    click.option("--until", "valid_to", help="Last day, which counts in full."),
    click.option("--end", "ends", type=int, multiple=True, help="End the assignment of this number; may be repeated."),
)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group()
def commissions() -> None:
    """Who sells and promotes what, what the platform, creators, referrers and channels get of it, and what if."""


# --- parties ----------------------------------------------------------------------------------------------------------


@commissions.group()
def parties() -> None:
    """Sellers, creators and referrers. Each has a code, by which files and statements call it."""


@parties.command("list")
@_SHOP
@_JSON
def list_parties(shop: str | None, as_json: bool) -> None:
    """Show the parties, and how many lines of the last 90 days concern each."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        rows = [dict(row) for row in fetch(conn, _PARTIES, shop=shop_id)]
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    for row in rows:
        window = "" if row["return_window_days"] is None else f", return window {row['return_window_days']} days"
        ended = "" if row["ended_at"] is None else f", ended {console.moment(row['ended_at'])}"
        click.echo(f"{row['code']}: {KIND_WORDS[row['kind']]} {row['name']}, {row['lines']:,} lines{window}{ended}")
    if not rows:
        click.echo("There are no parties: the company sells everything itself.")


@parties.command("add")
@click.argument("code")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(sorted(KIND_WORDS)), help="What it is.")
@click.option("--return-window", type=int, help="Days in which buyers may return what it sells; else the company's.")
@_SHOP
@_REASON
def add_party(code: str, name: str, kind: str, return_window: int | None, shop: str | None, reason: str) -> None:
    """Add a party with that CODE and NAME."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    actor = Actor(console.person(), reason)
    with unit_of_work(app.engine) as conn:
        editing.add_party(conn, shop_id, cast(PartyKind, kind), code, name, actor, utc_now(), return_window)
    click.echo(f"{code} is added: {KIND_WORDS[kind]} {name}.")


@parties.command("edit")
@click.argument("code")
@click.option("--name", help="Another name.")
@click.option("--return-window", type=int, help="Days in which buyers may return what it sells.")
@click.option("--company-window", is_flag=True, help="The company's return window again.")
@_SHOP
@_REASON
def edit_party(
    code: str, name: str | None, return_window: int | None, company_window: bool, shop: str | None, reason: str
) -> None:
    """Give the party CODE another name or return window."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        number = editing.party_of(conn, shop_id, code)
        there = next(row for row in fetch(conn, _PARTIES, shop=shop_id) if row["id"] == number)
        kept = None if company_window else there["return_window_days"]
        days = return_window if return_window is not None else kept
        actor = Actor(console.person(), reason)
        editing.edit_party(conn, shop_id, number, name or there["name"], days, actor, utc_now())
    click.echo(f"{code} is changed.")


@parties.command("end")
@click.argument("code")
@click.option("--undo", "is_undone", is_flag=True, help="Take its end back.")
@_SHOP
@_REASON
def end_party(code: str, is_undone: bool, shop: str | None, reason: str) -> None:
    """Let the party CODE take part in no order placed from now on; what it earned stays."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    act = editing.resume_party if is_undone else editing.end_party
    with unit_of_work(app.engine) as conn:
        act(conn, shop_id, editing.party_of(conn, shop_id, code), Actor(console.person(), reason), utc_now())
    click.echo(f"{code} takes part again." if is_undone else f"{code} has ended: it takes part in nothing new.")


# --- rules ------------------------------------------------------------------------------------------------------------


@commissions.group()
def rules() -> None:
    """What the platform, creators, referrers and channels get. The most specific rule of a kind wins."""


@rules.command("list")
@_SHOP
@_JSON
def list_rules(shop: str | None, as_json: bool) -> None:
    """Show the rules as sentences with their numbers, most general first, and the last versions."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        living = queries.living_rules(conn, shop_id)
        names = directory(conn, shop_id, sku_ids=named_skus(living))
        versions = [dict(row) for row in fetch(conn, _VERSIONS, shop=shop_id)]
    living.sort(key=lambda rule: (KINDS.index(rule.kind), rule.breadth, rule.id))
    if as_json:
        said = [{**asdict(rule), "says": say_rule(rule, names)} for rule in living]
        click.echo(json.dumps({"rules": said, "versions": versions}, default=str, indent=2))
        return
    for rule in living:
        click.echo(f"{rule.id:>6}  {say_rule(rule, names)}")
    if not living:
        click.echo("There are no rules: whoever sells keeps everything.")
    for row in versions:
        undone = f", undone by {row['undone_by_id']}" if row["undone_by_id"] else ""
        when = console.moment(row["saved_at"])
        click.echo(f"version {row['version_id']}  {when}{undone}  {row['saved_by']}: {row['reason']}")


@rules.command()
@_options(*_RULE)
@_SHOP
@_REASON
def save(shop: str | None, reason: str, **given: Any) -> None:
    """Begin a rule, end others with --end, or both at once, as one version."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        draft = _draft(conn, shop_id, given)
        saved = editing.save_draft(conn, shop_id, draft, Actor(console.person(), reason), utc_now(), None)
        after = queries.living_rules(conn, shop_id)
        names = directory(conn, shop_id, sku_ids=named_skus(after))
    for rule in after:
        if rule.id in saved.rule_ids:
            click.echo(f"{rule.id:>6}  {say_rule(rule, names)}")
    click.echo(f"Saved as version {saved.version_id}. It is for lines that are booked from now on.")


@rules.command()
@click.argument("version", type=int)
@_SHOP
@_REASON
def undo(version: int, shop: str | None, reason: str) -> None:
    """Take VERSION back: end what it began, begin anew what it ended."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        saved = editing.undo(conn, shop_id, version, Actor(console.person(), reason), utc_now())
    click.echo(f"Version {version} is undone by version {saved.version_id}. Lines booked meanwhile stay as they are.")


@rules.command("check")
@_SHOP
@_JSON
def check_rules(shop: str | None, as_json: bool) -> None:
    """Show what is at odds among rules and assignments, and what they leave out, each with the next step."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        found = check(standing(conn, shop_id, utc_now()))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], default=str, indent=2))
        return
    _say_findings(found)
    if not found:
        click.echo("Nothing is at odds, and nothing is left out.")


def _say_findings(found: list[Finding]) -> None:
    for finding in found:
        click.echo(f"{finding.level}: {finding.about}. {finding.what}\n  -> {finding.step}.")


# --- assignments ------------------------------------------------------------------------------------------------------


@commissions.command()
@_options(*_ASSIGNMENT)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Many SKUs at once: a CSV with the columns sku, role and party (codes).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would change, and what is wrong.")
@_SHOP
@click.option("--reason", help="Why; kept on record. Needed unless it is a dry run.")
def assign(shop: str | None, file: Path | None, dry_run: bool, reason: str | None, **given: Any) -> None:
    """Say which lines concern a party, one assignment or a file of them; --end ends some."""
    if not dry_run and not (reason or "").strip():
        raise click.UsageError("give --reason, which is kept on record, or --dry-run")
    app = console.application()
    shop_id = console.shop_of(app, shop)
    if file is not None:
        if any(given.values()):
            raise click.UsageError("--file says it all: leave the other options out")
        _assign_file(app, shop_id, file, dry_run, reason or "")
        return
    with unit_of_work(app.engine) as conn:
        draft, names = _assignment_draft(conn, shop_id, given)
        for one in draft.assignments:
            click.echo(say_assignment(one, names) + ".")
        if dry_run:
            click.echo(f"{draft.changes} changes would be saved.")
            return
        saved = editing.save_draft(conn, shop_id, draft, Actor(console.person(), reason or ""), utc_now(), None)
    click.echo(f"Saved as version {saved.version_id}. It is for lines that are booked from now on.")


def _assign_file(app: Any, shop_id: int, file: Path, dry_run: bool, reason: str) -> None:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{file.name} is not UTF-8: save it as “CSV UTF-8”") from None
    with unit_of_work(app.engine) as conn:
        planned = importing.plan(conn, shop_id, text)
        for problem in planned.problems[:50]:
            click.echo(f"line {problem.line}, {problem.column or 'row'}: {problem.what}")
        begins, ends = len(planned.draft.assignments), len(planned.draft.ended_assignments)
        click.echo(
            f"{planned.rows:,} rows: {begins:,} assignments begin, {ends:,} end, {planned.unchanged:,} are so already, "
            f"{len(planned.problems):,} problems."
        )
        if dry_run:
            return
        saved = importing.save(conn, shop_id, planned, Actor(console.person(), reason), utc_now())
    click.echo(f"Saved as version {saved.version_id}. It is for lines that are booked from now on.")


def _assignment_draft(conn: Connection, shop_id: int, given: dict[str, Any]) -> tuple[Draft, Directory]:
    ends = frozenset(given.pop("ends"))
    said = {name: given[name] for name in ASSIGNMENT_FIELDS if given.get(name)}
    names = directory(conn, shop_id, codes=[said["sku"]] if "sku" in said else [])
    assignments = (read_assignment(said, names),) if said else ()
    if not assignments and not ends:
        raise click.UsageError("give --role and --party, a --file, or --end to end an assignment")
    return Draft(assignments=assignments, ended_assignments=ends), names


# --- what if ----------------------------------------------------------------------------------------------------------


@commissions.command("try")
@_options(*_RULE)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Orders of so many past days.")
@click.option("--lines", type=click.IntRange(1), default=LINES_MAX, show_default=True, help="At most so many lines.")
@_SHOP
@_JSON
def try_(shop: str | None, days: int, lines: int, as_json: bool, **given: Any) -> None:
    """Show what parties would have earned under a rule, against what was booked; nothing is saved.

    Without a rule it tries those in force.
    """
    app = console.application()
    shop_id = console.shop_of(app, shop)
    now = utc_now()
    with read_only(app.engine) as conn:
        draft = _draft(conn, shop_id, given) if any(given.values()) else NO_DRAFT
        found = replay(conn, shop_id, draft, now - timedelta(days=days), now, lines)
        names = directory(conn, shop_id, sku_ids={one.sku_id for one in found.examples if one.sku_id is not None})
    if as_json:
        click.echo(json.dumps({**asdict(found), "changes": [asdict(one) for one in found.changes]}, default=str))
        return
    _draw(found, names)


def _draft(conn: Connection, shop_id: int, given: dict[str, Any]) -> Draft:
    """The rule of the options, and those that they end. Raises BadRule."""
    ends = frozenset(given.pop("ends"))
    said = {name: given[name] for name in RULE_FIELDS if given.get(name)}
    names = directory(conn, shop_id, codes=[said["sku"]] if "sku" in said else [])
    rules: tuple[Rule, ...] = (read_rule(said, names),) if said else ()
    if not rules and not ends:
        raise click.UsageError(
            "give what the rule says, such as --kind “platform fee” --fee “12 %”, or --end to end one"
        )
    return Draft(rules=rules, ended_rules=ends)


def _draw(found: Replayed, names: Directory) -> None:
    since, until = console.moment(found.since), console.moment(found.until)
    click.echo(
        f"{since} to {until}: orders: {found.orders:,}, lines: {found.lines:,}, "
        f"lines that would have come to something else: {found.changed_lines:,}."
    )
    if found.is_cut:
        click.echo("There were more lines: the earlier ones are left out (--lines).")
    if found.is_volume_cut:
        click.echo(f"Volumes of tiers are counted from {since}, not from the beginning of that month.")
    if found.asked_at is not None:
        click.echo(f"All of it holds from {console.moment(found.asked_at)} on: orders are taken as if placed then.")
    if found.left_out:
        click.echo(f"{found.left_out:,} lines are not mapped or not booked yet, and left out.")
    if not found.changes:
        click.echo("Nobody would have earned another amount.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("who", "as booked", "under the draft", "difference"):
        table.add_column(name, justify="left" if name == "who" else "right")
    for one in found.changes:
        table.add_row(_who(one, names), *_three(one))
    Console().print(table)
    for line in found.examples:
        who = "; ".join(f"{_who(one, names)} {_three(one)[2]}" for one in line.earnings)
        sku = f" {names.sku(line.sku_id)}" if line.sku_id is not None else ""
        click.echo(f"order {line.order_name}{sku}: {who}")


def _who(one: Earning, names: Directory) -> str:
    if one.who.role == "party":
        return names.party(one.who.id)
    if one.who.role == "channel":
        return f"Channel {names.connection(one.who.id)}"
    return "Platform" if one.who.role == "platform" else "Tax authority"


def _three(one: Earning) -> tuple[str, str, str]:
    sign = "+" if one.change_minor > 0 else ""
    booked, draft, change = (
        say_money(minor, one.currency) for minor in (one.booked_minor, one.draft_minor, one.change_minor)
    )
    return booked, draft, sign + change


# --- settings ---------------------------------------------------------------------------------------------------------


@commissions.command("settings")
@click.option("--return-window", type=int, help="Days in which buyers may return, unless a seller has its own.")
@click.option("--window-from", help="Counted since goods were shipped, or the order was placed.")
@click.option("--approval-limit", type=int, help="Adjustments above it need a second person; in minor units.")
@_SHOP
@click.option("--reason", help="Why; kept on record. Needed to change something.")
def settings(
    return_window: int | None, window_from: str | None, approval_limit: int | None, shop: str | None, reason: str | None
) -> None:
    """Show what the shop decided about money, or change it."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    changes = {"return_window_days": return_window, "window_from": window_from, "approval_limit_minor": approval_limit}
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes and not (reason or "").strip():
        raise click.UsageError("give --reason, which is kept on record")
    with unit_of_work(app.engine) as conn:
        if changes:
            wanted = replace(queries.settings(conn, shop_id), **cast(dict[str, Any], changes))
            editing.save_settings(conn, shop_id, wanted, Actor(console.person(), reason or ""), utc_now())
        there = queries.settings(conn, shop_id)
    click.echo(f"Buyers may return for {there.return_window_days} days after an order is {there.window_from}.")
    click.echo(f"Adjustments above {there.approval_limit_minor:,} minor units need a second person.")


_PARTIES = "select * from commission_party_list where shop_id = %(shop)s order by kind, code"
_VERSIONS = "select * from commission_version_list where shop_id = %(shop)s order by version_id desc limit 10"
