"""What a person does on the Commission rules screen: one core operation each, under the operator's name and reason."""

from __future__ import annotations

from core.audit import Actor
from core.clock import utc_now
from core.commissions import editing, importing
from core.commissions.directory import PartyKind
from core.commissions.drafts import Draft
from core.commissions.importing import Plan
from core.commissions.queries import Settings
from core.db import unit_of_work
from dashboard.actions import Application


def activate(app: Application, shop_id: int, draft: Draft, token: int, actor: Actor) -> int:
    """Save a draft as it was previewed; returns the version. Raises RulesChanged, BadInput."""
    with unit_of_work(app.engine) as conn:
        return editing.save_draft(conn, shop_id, draft, actor, utc_now(), token).version_id


def undo(app: Application, shop_id: int, version_id: int, actor: Actor) -> int:
    """Take a version back; returns the version that does. Raises CannotUndo."""
    with unit_of_work(app.engine) as conn:
        return editing.undo(conn, shop_id, version_id, actor, utc_now()).version_id


def load(app: Application, shop_id: int, plan: Plan, actor: Actor) -> int:
    """Save the assignments of a file as they were previewed; returns the version. Raises RulesChanged, BadFile."""
    with unit_of_work(app.engine) as conn:
        return importing.save(conn, shop_id, plan, actor, utc_now()).version_id


def add_party(
    app: Application, shop_id: int, kind: PartyKind, code: str, name: str, days: int | None, actor: Actor
) -> int:
    """Add a party; returns its id. Raises CodeTaken, BadInput."""
    with unit_of_work(app.engine) as conn:
        return editing.add_party(conn, shop_id, kind, code, name, actor, utc_now(), days)


def edit_party(app: Application, shop_id: int, party_id: int, name: str, days: int | None, actor: Actor) -> None:
    """Change a party's name and return window. Raises BadInput."""
    with unit_of_work(app.engine) as conn:
        editing.edit_party(conn, shop_id, party_id, name, days, actor, utc_now())


def end_party(app: Application, shop_id: int, party_id: int, actor: Actor) -> None:
    """Let a party take part in nothing new. Raises PartyHasEnded."""
    with unit_of_work(app.engine) as conn:
        editing.end_party(conn, shop_id, party_id, actor, utc_now())


def resume_party(app: Application, shop_id: int, party_id: int, actor: Actor) -> None:
    """Take the end of a party back. Raises BadInput."""
    with unit_of_work(app.engine) as conn:
        editing.resume_party(conn, shop_id, party_id, actor, utc_now())


def save_settings(app: Application, shop_id: int, wanted: Settings, actor: Actor) -> None:
    """Save what the shop decides about money. Raises BadInput."""
    with unit_of_work(app.engine) as conn:
        editing.save_settings(conn, shop_id, wanted, actor, utc_now())
