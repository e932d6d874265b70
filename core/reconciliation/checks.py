"""What the audit holds comparisons and discrepancies to."""

from __future__ import annotations

RECONCILIATION_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "discrepancy_has_its_history",
        "what a channel and we say differently of stock was seen before all else, and how it stands is what was said"
        " of it last",
        """
        select d.shop_id, d.id as discrepancy_id, d.state, d.action, first.what as first_event, last.what as last_event
        from discrepancies d
        left join lateral (
            select e.what from discrepancy_events e where e.shop_id = d.shop_id and e.discrepancy_id = d.id
            order by e.id limit 1
        ) first on true
        left join lateral (
            select e.what from discrepancy_events e where e.shop_id = d.shop_id and e.discrepancy_id = d.id
            order by e.id desc limit 1
        ) last on true
        where d.{shop} and d.kind = 'stock' and (first.what is distinct from 'seen'
            or (d.state = 'resolved') <> (last.what is not distinct from 'resolved')
            or (d.state = 'accepted' and not exists (select from discrepancy_events e where e.shop_id = d.shop_id
                and e.discrepancy_id = d.id and e.what = 'accepted')))
        """,
    ),
    (
        "comparison_runs_or_has_ended",
        "a comparison that is open has a run that is, and one that has ended keeps nothing of what it read",
        """
        select r.shop_id, r.id as run_id, r.state, y.state as sync_state, o.staged from reconciliation_runs r
        left join sync_runs y on y.shop_id = r.shop_id and y.id = r.sync_run_id
        cross join lateral (
            select exists (select from reconciliation_observations o where o.shop_id = r.shop_id and o.run_id = r.id)
                as staged
        ) o
        where r.{shop} and ((r.ended_at is null and coalesce(y.state, 'done') not in ('queued', 'running')
                and coalesce(y.ended_at, r.requested_at) < %(now)s - %(patience)s)
            or (r.ended_at is not null and o.staged))
        """,
    ),
    (
        "brake_holds_what_it_says",
        "what a brake holds is asked of a person, and a comparison that says so has something held",
        """
        select r.shop_id, r.id as run_id, r.connection_id from reconciliation_runs r
        where r.{shop} and r.is_held and not exists (
            select from discrepancies d where d.shop_id = r.shop_id and d.connection_id = r.connection_id
                and d.state <> 'resolved' and d.asked_because = 'brake')
        """,
    ),
)
"""(name, sentence, query of the rows that break it), as core.inventory.exposure_checks has them."""
