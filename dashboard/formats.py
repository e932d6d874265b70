"""How numbers, money, times and states are shown: one function each, for screens, charts, exports and mails alike."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.money import MINUS, shown

UNKNOWN = "–"


class State(NamedTuple):
    """How one state is shown everywhere: never by colour alone."""

    word: str
    icon: str
    colour: str
    look: str


# look: ok, attention, danger, paused, unknown; colour is Streamlit's name of the same tone.
_LOOKS = {
    "ok": ("check_circle", "green"),
    "attention": ("warning", "orange"),
    "danger": ("error", "red"),
    "paused": ("pause_circle", "violet"),
    "unknown": ("help", "gray"),
    "busy": ("sync", "gray"),
}

_WORDS = {
    # connections
    "in_step": ("In step", "ok"),
    "behind": ("Behind", "danger"),
    "attention": ("Attention", "attention"),
    "danger": ("Danger", "danger"),
    "paused": ("Paused", "paused"),
    "unknown": ("Unknown", "unknown"),
    # whether what differs is written to a connection
    "live": ("Live", "ok"),
    "shadow": ("Shadow", "attention"),
    "stopped": ("Stopped", "danger"),
    # a listing once its channel is written to
    "equal": ("Equal", "ok"),
    "raised": ("Raised", "busy"),
    "lowered": ("Lowered", "attention"),
    "zeroed": ("To zero", "danger"),
    "unread": ("Not read", "unknown"),
    "waiting": ("Not written", "unknown"),
    "untracked": ("Not counted there", "unknown"),
    "unmapped": ("No SKU", "unknown"),
    "ambiguous": ("Ambiguous", "attention"),
    "gone": ("Gone", "unknown"),
    # what a channel calls us for
    "standing": ("Stands", "ok"),
    "missing": ("Missing", "attention"),
    # listings
    "to_push": ("To push", "busy"),
    "writing": ("Being written", "busy"),
    "refused": ("Refused", "attention"),
    "doubtful": ("Doubtful", "attention"),
    "off": ("Not published", "unknown"),
    # stock
    "short": ("Short", "danger"),
    "scarce": ("Scarce", "attention"),
    "enough": ("Enough", "ok"),
    "unstocked": ("No stock by nature", "unknown"),
    "unlisted": ("Not listed", "unknown"),
    # what could be sold that is not there
    "oversold": ("Oversold", "danger"),
    "at_risk": ("Oversell risk", "danger"),
    "close": ("Close", "attention"),
    "unwatched": ("Unknown", "unknown"),
    "safe": ("Safe", "ok"),
    "ended": ("Over", "unknown"),
    # runs and writes
    "queued": ("Queued", "busy"),
    "running": ("Running", "busy"),
    "done": ("Done", "ok"),
    "failed": ("Failed", "danger"),
    "confirmed": ("Confirmed", "ok"),
    "stale": ("Overtaken", "unknown"),
    "withdrawn": ("Withdrawn", "unknown"),
    "open": ("Open", "busy"),
    # bulk submissions of quantities; done and cancelled are elsewhere
    "planned": ("Planned", "busy"),
    "uploaded": ("Uploaded", "busy"),
    "submitted": ("Submitted", "busy"),
    "in_progress": ("Being applied", "busy"),
    "fatal": ("Came to nothing", "danger"),
    "lost": ("Never arrived", "danger"),
    # legs of changes; open, confirmed and refused are above
    "stuck": ("Stuck", "danger"),
    "compensated": ("Not needed", "unknown"),
    # orders
    "under_way": ("On its way", "busy"),
    "reached": ("Everywhere", "ok"),
    "cancelled": ("Cancelled", "unknown"),
    # packages; refused and late are there too
    "known": ("Known there", "ok"),
    "to_tell": ("To be told", "busy"),
    "held": ("Held", "attention"),
    "recall": ("Call back", "danger"),
    "over": ("Over", "unknown"),
    # calls; refused and unknown are above
    "ok": ("Succeeded", "ok"),
    "throttled": ("Throttled", "attention"),
    "error": ("Failed", "danger"),
    # whom we call, by its last call
    "answers": ("Answers", "ok"),
    "says_no": ("Says no", "attention"),
    "no_answer": ("No answer", "danger"),
    "not_called": ("Not called", "unknown"),
    # lanes, queues, workers, schedules
    "clear": ("Clear", "ok"),
    "draining": ("Draining", "busy"),
    "growing": ("Growing", "danger"),
    "still": ("Stands still", "danger"),
    "served": ("Served", "ok"),
    "unserved": ("Nobody serves it", "danger"),
    "idle": ("Idle", "ok"),
    "busy": ("At work", "busy"),
    "silent": ("Silent", "unknown"),
    "on_time": ("On time", "ok"),
    "late": ("Late", "danger"),
    "never": ("Never ran", "unknown"),
    "skipped": ("Skipped", "attention"),
    # kinds of sync
    "fails": ("Fails", "danger"),
    "shaky": ("Failed lately", "attention"),
    "put_off": ("Put off", "unknown"),
    "well": ("Succeeds", "ok"),
    "asleep": ("Nothing to do", "unknown"),
    # failed jobs and parked messages
    "finished": ("Done", "ok"),
    "abandoned": ("Worker gone", "danger"),
    "requeued": ("Requeued", "busy"),
    "discarded": ("Discarded", "unknown"),
    "superseded": ("Done since", "ok"),
    "unneeded": ("Not needed", "unknown"),
    "recovering": ("Being done again", "busy"),
    "parked": ("Parked", "attention"),
    # alerts
    "acknowledged": ("Taken", "busy"),
    "resolved": ("Over", "unknown"),
    "regressed": ("Came back", "danger"),
    # who is told, and what became of what was said
    "heard": ("Heard", "ok"),
    "untried": ("Never tried", "unknown"),
    "failing": ("Not heard", "danger"),
    "flawed": ("Not by all", "attention"),
    "muted": ("Paused", "paused"),
    "sent": ("Told", "ok"),
    "dead": ("Not delivered", "danger"),
    "unheard": ("Nobody told", "attention"),
    "digest": ("For a digest", "busy"),
    "crowded": ("Waits for room", "busy"),
    "sending": ("Being told", "busy"),
    "info": ("Info", "unknown"),
}


def state(name: str | None) -> State:
    """Icon, colour and word of a state; one that is not known here is shown as unknown, with its own name."""
    word, look = _WORDS.get(name or "unknown", ((name or "unknown").replace("_", " ").capitalize(), "unknown"))
    icon, colour = _LOOKS[look]
    return State(word, icon, colour, look)


def badge(name: str | None, word: str | None = None) -> str:
    """A state as a Markdown badge; `word` replaces the usual one."""
    shown = state(name)
    return f":{shown.colour}-badge[:material/{shown.icon}: {word or shown.word}]"


def count(number: int | None) -> str:
    """1,284; a dash when it is not known."""
    if number is None:
        return UNKNOWN
    return f"{number:,}".replace("-", MINUS)


def signed(number: int | None) -> str:
    """A change: +9, −3, 0."""
    if number is None:
        return UNKNOWN
    return f"+{number:,}" if number > 0 else count(number)


_SMALL = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def in_words(number: int) -> str:
    """Three for 3, so that a sentence may begin with it; figures above ten."""
    return _SMALL[number] if 0 <= number < len(_SMALL) else count(number)


def share(well: int, total: int) -> str:
    """One of three channels is in step."""
    verb = "is" if well == 1 else "are"
    return f"{in_words(well)} of {in_words(total).lower()} channels {verb} in step."


def plural(number: int, one: str, many: str | None = None) -> str:
    """1 order, 17 orders."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def money(minor: int | None, currency: str) -> str:
    """£843.10 from 84310 minor units; the currency always shows."""
    return UNKNOWN if minor is None else shown(minor, currency)


def change(now: int, before: int) -> str | None:
    """+12 % of `before`; None when there is nothing to compare with."""
    if before <= 0:
        return None
    percent = round((now - before) * 100 / before)
    return f"{signed(percent)} %"


def delta(now: int | None, before: int | None) -> str | None:
    """A change for st.metric, which knows less by a hyphen only; None where there is nothing to compare with."""
    found = change(now, before) if now is not None and before is not None else None
    return found.replace(MINUS, "-") if found else None


def percent(part: int, whole: int) -> str:
    """0.3 %, 12 %, and never 0 % of something that happened."""
    if whole <= 0:
        return UNKNOWN
    value = part * 100 / whole
    if 0 < value < 0.1:
        return "< 0.1 %"
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %"


def milliseconds(value: int | None) -> str:
    """140 ms, 1.2 s, 20 s."""
    if value is None:
        return UNKNOWN
    if value < 1_000:
        return f"{value} ms"
    return f"{value / 1_000:.1f} s" if value < 10_000 else f"{value / 1_000:.0f} s"


def duration(seconds: float | None) -> str:
    """6 s, 19 min, 2 h 05 min, 3 d 4 h: at most two units."""
    if seconds is None:
        return UNKNOWN
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def estimate(seconds: float | None) -> str:
    """≈ 2 min; a dash when there is nothing to estimate from."""
    return UNKNOWN if seconds is None else f"≈ {duration(seconds)}"


def days(seconds: float) -> str:
    """12 days, 9 months: a long time, roughly."""
    whole = max(int(seconds // 86_400), 0)
    return plural(whole, "day") if whole < 60 else plural(whole // 30, "month")


def day(instant: datetime, zone: str) -> str:
    """1 Oct 2027."""
    there = instant.astimezone(ZoneInfo(zone))
    return f"{there.day} {there:%b %Y}"


def rate(a_minute: float | None) -> str:
    """12 a minute's worth: 0, 0.4, 12, 1,284; a dash when it is not known."""
    if a_minute is None:
        return UNKNOWN
    return f"{a_minute:.1f}" if 0 < a_minute < 10 and a_minute % 1 else count(round(a_minute))


def ago(instant: datetime | None, now: datetime, zone: str) -> str:
    """19 min ago; from a day on, the day and time in the shop's zone."""
    if instant is None:
        return UNKNOWN
    seconds = (now - instant).total_seconds()
    if seconds >= 86_400:
        return moment(instant, now, zone)
    # "2 h ago" is enough when the exact time is one hover away.
    return f"{duration(seconds)} ago"


def moment(instant: datetime | None, now: datetime, zone: str) -> str:
    """14:13 today, else 27 Nov 14:13; with the year when it is another one."""
    if instant is None:
        return UNKNOWN
    there, today = instant.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone))
    if there.date() == today.date():
        return f"{there:%H:%M}"
    if there.year == today.year:
        return f"{there.day} {there:%b %H:%M}"
    return f"{there.day} {there:%b %Y %H:%M}"


def moment_with_seconds(instant: datetime, now: datetime, zone: str) -> str:
    """14:13:10 today, else 27 Nov 14:13:10: where many things happen within a minute."""
    return f"{moment(instant, now, zone)}:{instant:%S}"


def exact(instant: datetime | None, zone: str) -> str:
    """Fri 27 Nov 2026, 14:13:10 GMT."""
    if instant is None:
        return UNKNOWN
    there = instant.astimezone(ZoneInfo(zone))
    return f"{there:%a} {there.day} {there:%b %Y, %H:%M:%S %Z}"


def clock(instant: datetime, zone: str) -> str:
    """14:32:10."""
    return f"{instant.astimezone(ZoneInfo(zone)):%H:%M:%S}"


def hour(instant: datetime, zone: str) -> int:
    """The hour of the shop's day."""
    return instant.astimezone(ZoneInfo(zone)).hour


def place(zone: str) -> str:
    """London, from Europe/London: how people name the shop's zone."""
    return zone.rpartition("/")[2].replace("_", " ")


def as_of(instant: datetime, zone: str) -> str:
    """As of 14:32:10 · London."""
    return f"As of {clock(instant, zone)} · {place(zone)}"


def key(*parts: object) -> str:
    """A short name for foreign words, the same in every process, for keys of widgets."""
    return sha256(repr(parts).encode()).hexdigest()[:10]


_MARKDOWN = str.maketrans({mark: "\\" + mark for mark in "\\`*_{}[]()<>#+!|~:$"})


def number(text: str) -> int | None:
    """A number that an address names; None for what is none, or for one that no id can be."""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def shortened(text: str, most: int) -> str:
    """At most so many characters, with … where something is left off."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def plain(text: str | None) -> str:
    """Foreign text for Markdown: shown letter by letter, never as markup."""
    return UNKNOWN if text is None else text.translate(_MARKDOWN)


def sentence(text: str | None) -> str:
    """Foreign text closed as a sentence, safe in Markdown."""
    cleaned = (text or "").strip().rstrip(".")
    return f"{plain(cleaned[:1].upper() + cleaned[1:])}." if cleaned else ""


_REASONS = {
    "receipt": "Received",
    "shipment": "Shipped",
    "customer_return": "Came back",
    "adjustment": "Adjusted",
    "count": "Counted",
    "relocation": "Moved",
    "write_off": "Written off",
    "quarantine": "Quarantine",
}


def movement(reason: str) -> str:
    """A movement's reason as people say it."""
    return _REASONS.get(reason, reason.replace("_", " ").capitalize())
