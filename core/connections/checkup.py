"""Pure rules of a check-up: what was found out about a part, what that means, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from core.clock import CLOCK_MARGIN
from core.connections.switches import Standing
from core.ports import ChannelAccount

State = Literal["ok", "warning", "problem"]

ENDS_SOON = timedelta(days=60)
"""So long before a version of a vendor's interface ends, somebody should know."""

LAG_ALLOWED = timedelta(minutes=15)
"""Orders are polled every minute; a watermark older than that is worth a look."""


_GRANT_STEP = "add {right} to the app's Admin API scopes, release that version and install it in the shop again"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in words; `next_step` says what to do where it is not well. Never a secret."""

    about: str
    state: State
    says: str
    next_step: str | None = None

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.next_step:
            raise ValueError(f"{self.about}: what is not well needs a next step")


def ok(about: str, says: str) -> Finding:
    """Well."""
    return Finding(about, "ok", says)


def warning(about: str, says: str, next_step: str) -> Finding:
    """Works, and somebody should know."""
    return Finding(about, "warning", says, next_step)


def problem(about: str, says: str, next_step: str) -> Finding:
    """Does not work."""
    return Finding(about, "problem", says, next_step)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a channel's real answer told: the account, and what was overheard (None: nothing was said)."""

    account: ChannelAccount
    answered_version: str | None
    clock_ahead: timedelta | None
    token_lives: timedelta | None
    quotas: Mapping[str, str] = field(default_factory=dict)
    """What was said to be left, or to be allowed, by operation."""


def of_probe(probe: Probe, account_ref: str, currency: str, now: datetime) -> list[Finding]:
    """What a real answer says of the connection to `account_ref`, whose shop thinks in `currency`."""
    return [*_of_account(probe.account, account_ref, currency), *_of_scopes(probe.account), *_of_answer(probe, now)]


def _of_account(account: ChannelAccount, account_ref: str, currency: str) -> Iterable[Finding]:
    details = ", ".join(part for part in (account.currency, account.time_zone, account.plan) if part)
    if account.ref.lower() == account_ref.lower():
        yield ok("account", f"{account.name} answers" + (f" ({details})" if details else ""))
    else:
        yield problem(
            "account",
            f"the credentials open {account.ref}, not {account_ref}",
            f"give the credentials of {account_ref}, or connect {account.ref}",
        )
    yield from _of_market(account)
    if account.currency is not None and account.currency != currency:
        yield problem(
            "currency",
            f"it sells in {account.currency}, and the shop here thinks in {currency}",
            f"connect it to a shop in {account.currency}: name one with --shop",
        )


def _of_market(account: ChannelAccount) -> Iterable[Finding]:
    """Whether the seller takes part in the marketplace that was asked for."""
    if account.market_ref is None or not account.markets:
        return
    here = next((market for market in account.markets if market.ref == account.market_ref), None)
    taken = ", ".join(f"{market.name} ({market.ref})" for market in account.markets if market.is_open)
    elsewhere = f"it takes part in {taken}: connect one of these" if taken else "it takes part in none here"
    if here is None:
        yield problem(
            "marketplace",
            f"the seller has no marketplace {account.market_ref} in this region",
            f"{elsewhere}, or give the region that it belongs to",
        )
    elif not here.is_open:
        yield problem("marketplace", f"the seller does not take part in {here.name}", elsewhere)
    elif here.is_suspended:
        yield warning(
            "marketplace",
            f"{here.name}: the seller's listings are suspended, buyers do not see them",
            "see the account's health in Seller Central; what is written there is shown once that is over",
        )
    else:
        others = [market for market in account.markets if market.is_open and market.ref != here.ref]
        more = f", as in {len(others)} more of the region" if others else ""
        yield ok("marketplace", f"the seller takes part in {here.name}{more}")


def _of_scopes(account: ChannelAccount) -> Iterable[Finding]:
    about = f"{account.right}s"
    if account.granted is None:
        yield ok(about, "the channel does not tell what it granted; what is needed has answered")
        return
    how = account.grant_step or _GRANT_STEP
    for right, why in sorted(account.missing.items()):
        yield problem(about, f"{right} is not granted: it is needed {why}", how.format(right=right))
    for right, why in sorted(account.advised.items()):
        yield warning(about, f"{right} is not granted", f"add it where you want {why}")
    if not account.missing:
        yield ok(about, f"all that is needed is granted ({len(account.granted)} {about})")


def _of_answer(probe: Probe, now: datetime) -> Iterable[Finding]:
    account = probe.account
    if probe.token_lives is not None:
        yield ok("token", f"a token was given, it lives {_lasts(probe.token_lives)} and is fetched again by itself")
    else:
        yield ok("token", "a token was given")
    if probe.answered_version is not None and probe.answered_version != account.api_version:
        yield problem(
            "API version",
            f"{account.api_version} was asked for and {probe.answered_version} answered: the version asked for is gone",
            "update Switchyard: what the answers mean may have changed",
        )
    else:
        yield ok("API version", f"{account.api_version} answers")
    yield from _of_support(account, now)
    yield from _of_clock(probe.clock_ahead)
    if probe.quotas:
        yield ok("quota", "; ".join(f"{name} {said}" for name, said in sorted(probe.quotas.items())))


def _of_support(account: ChannelAccount, now: datetime) -> Iterable[Finding]:
    until = account.supported_until
    if until is None:
        return
    day = f"{until:%Y-%m-%d}"
    if until <= now:
        yield problem("API version", f"{account.api_version} is not supported since {day}", "update Switchyard")
    elif until - now < ENDS_SOON:
        yield warning("API version", f"{account.api_version} is supported until {day}", "update Switchyard before")
    else:
        yield ok("API version", f"{account.api_version} is supported until {day} at least")


def _of_clock(ahead: timedelta | None) -> Iterable[Finding]:
    if ahead is None:
        return
    seconds = ahead.total_seconds()
    says = f"the vendor's clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} ours"
    if abs(ahead) > CLOCK_MARGIN:
        yield problem("clock", says, "let this machine follow a time server: sales are put in order by these clocks")
    else:
        yield ok("clock", says)


def of_standing(standing: Standing) -> Finding:
    """Whether it is written to."""
    why = standing.held()
    if why is None:
        return ok("writes", "quantities are written")
    if standing.is_stopped:
        scope = "" if standing.stop_scope == "shop" else " with --connection"
        return warning("writes", f"nothing is written: {why}", f"`switchyard resume-writes`{scope} when that is over")
    if not standing.is_active:
        return warning("writes", "it is neither polled nor written to: it is paused", "`switchyard resume`")
    return warning("writes", "shadow mode: it is compared and not written", "`switchyard compare`, then `go-live`")


def of_reading(facts: Mapping[str, Any], now: datetime) -> Iterable[Finding]:
    """How far a connection's catalogue and orders are read; facts as the columns of `connections`."""
    if facts["catalogue_read_at"] is None:
        yield problem("catalogue", "it was never read to the end", "`Sync now` on the connection's screen")
    else:
        yield ok("catalogue", f"read whole {_ago(facts['catalogue_read_at'], now)} ago")
    if not facts["reads_orders"]:
        yield warning("orders", "its orders are not read: what it sells cannot be known", "keep its buffer generous")
        return
    watermark = facts["watermark_at"]
    if watermark is None:
        yield warning("orders", "not yet read through once", "wait for the next poll; look at parked messages")
    elif now - watermark > LAG_ALLOWED and facts["state"] == "active":
        yield problem(
            "orders",
            f"every order is known and handled only up to {_ago(watermark, now)} ago",
            "`switchyard parked` and the Jobs screen say what it waits for",
        )
    else:
        yield ok("orders", f"every order is known and handled up to {_ago(watermark, now)} ago")
    if facts["last_error"]:
        yield warning("last error", str(facts["last_error"]), "the API calls screen shows the calls around it")


def of_subscriptions(topics: Sequence[Mapping[str, Any]], needs_them: bool) -> Iterable[Finding]:
    """Whether the channel calls us; rows of `channel_subscriptions`."""
    if not needs_them:
        return
    bad = [row for row in topics if row["state"] != "standing"]
    if not topics:
        yield warning("subscriptions", "none is on record", "they are made by `switchyard connect` and hourly after it")
    for row in bad:
        why = f": {row['problem']}" if row.get("problem") else ""
        says = f"{row['topic']} is {row['state']}{why}"
        if row["is_advised"]:
            yield warning("subscriptions", says, "grant one where you want to be told; until then it is asked for")
        else:
            yield problem("subscriptions", says, "they are mended hourly while writes may leave")
    if topics and not bad:
        yield ok("subscriptions", f"{len(topics)} topics call us")


def of_mailbox(facts: Mapping[str, Any], now: datetime) -> Iterable[Finding]:
    """Whether what a channel tells comes out of the queue.

    `facts`: `read_at`, `problem` and `problem_at` of `channel_mailboxes` (all None where it was never read), `told_at`,
    when it last told of an order, and `untold_orders`, those placed since and more than an hour ago that came by polls
    alone.
    """
    read_at, told_at, untold = facts["read_at"], facts["told_at"], facts["untold_orders"]
    if facts["problem"]:
        since = _ago(facts["problem_at"], now)
        yield problem("queue", f"it cannot be read since {since}: {facts['problem']}", "mend it; it forgets after days")
    elif read_at is None or now - read_at > LAG_ALLOWED:
        says = "it was never read" if read_at is None else f"it was last read {_ago(read_at, now)} ago"
        yield problem("queue", says, "look at the worker of `polls` and at the schedule poll.notices")
    else:
        yield ok("queue", f"read {_ago(read_at, now)} ago")
    if untold:
        many = "1 order" if untold == 1 else f"{untold:,} orders"
        last = "never told of any" if told_at is None else f"last told of one {_ago(told_at, now)} ago"
        yield warning(
            "queue",
            f"{many} came by polls alone: the queue {last}",
            "look below whether ORDER_CHANGE stands, at the queue's policy, and whether somebody else reads the queue",
        )


def of_packages(packages: Mapping[str, int], says: Mapping[str, str]) -> Iterable[Finding]:
    """Whether the channel knows what left; packages that need a person by why, in the words of `says`."""
    if not packages:
        yield ok("shipments", "every package that left is confirmed, or will be within the hour")
    for state, count in sorted(packages.items()):
        many = "1 package is" if count == 1 else f"{count:,} packages are"
        yield problem("shipments", f"{many} not confirmed: {says[state]}", "`switchyard confirm-shipment --list`")


def of_queue(
    settings: Mapping[str, Any], secrets: Collection[str], bad: str | None, aws_region: str | None = None
) -> Finding:
    """Whether a channel that tells things by a queue of ours has one; `secrets` are the names of those there are.

    `bad`: why what is set cannot be a queue. `aws_region` is where it is best kept, for channels of which that is
    known.
    """
    url = str(settings.get("queue_url") or "")
    where = f" in {aws_region}" if aws_region else ""
    if not url:
        return warning(
            "notifications",
            "no queue is set: orders come by polls only, minutes later, and what Amazon lowers is seen when it is read",
            f"make a standard queue{where} and give its address and keys (docs/amazon.md)",
        )
    if bad is not None:
        return problem("notifications", bad, "give the URL of a standard queue as AWS shows it (docs/amazon.md)")
    lacking = sorted({"aws_access_key_id", "aws_secret_access_key"} - set(secrets))
    if lacking:
        return problem("notifications", f"the queue cannot be read without {' and '.join(lacking)}", "give both keys")
    return ok("notifications", f"they come by the queue {urlsplit(url).path.rstrip('/').rsplit('/', 1)[-1]}")


def of_public_address(api_url: str) -> Finding:
    """Whether channels outside can reach us."""
    parts = urlsplit(api_url)
    if parts.hostname in (None, "127.0.0.1", "localhost", "::1"):
        return warning(
            "public address",
            f"channels are told to call {api_url}, which only this machine can reach",
            "set SWITCHYARD_API_URL to the address under which the api is public; until then orders come by polls only",
        )
    if parts.scheme != "https":
        return problem("public address", f"{api_url} is not https: channels refuse it", "put the api behind TLS")
    return ok("public address", f"channels call {api_url}")


def of_queues(queues: Mapping[str, int]) -> Iterable[Finding]:
    """Whether every queue has a worker; live workers by queue."""
    idle = sorted(name for name, workers in queues.items() if not workers)
    if idle:
        names = ", ".join(idle)
        yield problem("workers", f"nobody works on {names}", "start workers: `switchyard up`, or one more host's")
    else:
        yield ok("workers", f"every one of {len(queues)} queues has a worker")


def of_schedules(late: Sequence[str], known: int) -> Finding:
    """Whether the clock rings; names of schedules that have not ended well for several of their periods."""
    if not late:
        return ok("schedules", f"all {known} ring and end well")
    return problem(
        "schedules",
        f"late: {', '.join(late)}",
        "look at the scheduler and at the Jobs screen: nothing is polled meanwhile",
    )


def _ago(moment: datetime, now: datetime) -> str:
    return _lasts(max(timedelta(0), now - moment))


def _lasts(span: timedelta) -> str:
    """A duration as people say it."""
    seconds = span.total_seconds()
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (word != "d" and seconds >= size):
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
