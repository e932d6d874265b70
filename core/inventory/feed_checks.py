"""What must hold of feeds and of the writes in them; part of `core.invariants.CHECKS`, in the form of
core.inventory.exposure_checks."""

from __future__ import annotations

FEED_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "feed_holds_its_writes",
        "a feed that may have left has one sent write of its connection for each of its messages; of one that has not"
        " nothing was sent, and nothing stays open once it is given up",
        """
        select f.shop_id, f.id as feed_id, f.state, f.messages, w.writes, w.sent, w.places, w.open
        from channel_feeds f
        cross join lateral (
            select count(*) as writes, count(v.sent_at) as sent, count(*) filter (where v.outcome is null) as open,
                count(distinct v.batch_position) filter (where v.batch_position between 0 and f.messages - 1) as places,
                count(*) filter (where v.connection_id <> f.connection_id) as strangers
            from listing_writes v where v.shop_id = f.shop_id and v.feed_id = f.id
        ) w
        where f.{shop} and (w.strangers > 0
            or (f.submitted_at is not null
                and (w.writes <> f.messages or w.sent <> f.messages or w.places <> f.messages))
            or (f.submitted_at is null and (w.sent > 0 or (f.ended_at is not null and w.open > 0))))
        """,
    ),
    (
        "feed_is_put_together_or_looked_at",
        "a feed is submitted or given up soon after it was begun, and looked at again and again until it ends",
        """
        select f.shop_id, f.id as feed_id, f.state, f.planned_at, f.next_look_at
        from channel_feeds f join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
        where f.{shop} and f.ended_at is null and c.state = 'active'
            and coalesce(f.next_look_at, f.submitted_at, f.planned_at) < %(now)s - %(patience)s
        """,
    ),
)
