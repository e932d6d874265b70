"""Any findings under any outages: each is told of by itself or part of an outage that is told of, and none twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.alerts.outages import ROOTS, gather
from core.alerts.rules import Episode, Finding, Found
from core.alerts.terms import CONNECTION, FAILURE, REFUSED_CREDENTIAL, STUCK_SYNC, policy
from tests.factories import NOW

KINDS = (REFUSED_CREDENTIAL, CONNECTION, STUCK_SYNC, FAILURE)
CHANNELS = st.sampled_from([1, 2, 3])


def finding(kind: str, channel: int, follows: int | None) -> Finding:
    return Finding(f"{kind}:{channel}", "danger", "h", "s", "n", "jobs", 1, connection_id=channel, follows=follows)


def episode(kind: str, channel: int, gone_minutes: int | None, relapses: int) -> Episode:
    gone = None if gone_minutes is None else NOW - timedelta(minutes=gone_minutes)
    return Episode(1, kind, f"{kind}:{channel}", "danger", "h", 1, relapses, gone, None, True, channel)


FINDINGS = st.lists(
    st.builds(
        lambda kind, channel, follows: finding(
            kind, channel, None if kind == REFUSED_CREDENTIAL else channel if kind == CONNECTION or follows else None
        ),
        st.sampled_from(KINDS),
        CHANNELS,
        st.booleans(),
    ),
    unique_by=lambda each: each.fingerprint,
)
EPISODES = st.lists(
    st.builds(episode, st.sampled_from(KINDS), CHANNELS, st.sampled_from([None, None, 0, 1, 5, 30]), st.integers(0, 5)),
    unique_by=lambda each: each.fingerprint,
)


@given(findings=FINDINGS, episodes=EPISODES, soon=st.frozensets(CHANNELS), is_on=st.booleans())
def test_nothing_is_lost_nothing_is_doubled_and_nothing_is_held_by_what_is_not_told(
    findings: Sequence[Finding], episodes: Sequence[Episode], soon: frozenset[int], is_on: bool
) -> None:
    failing = {each.connection_id for each in findings if each.kind == CONNECTION}
    found = {
        kind: Found(
            [each for each in findings if each.kind == kind],
            soon=frozenset(soon - failing) if kind == CONNECTION else frozenset(),
        )
        for kind in KINDS
    }
    is_open = {each.fingerprint: each for each in episodes}
    rules = {kind: policy(kind, is_on or kind != CONNECTION) for kind in KINDS}
    told = gather(found, is_open, rules, NOW)

    alone = [each.fingerprint for seen in told.found.values() for each in seen.findings]
    parts = [each.fingerprint for under in told.parts.values() for each in under]
    assert len({*alone, *parts}) == len(alone) + len(parts), "each once"
    for each in findings:
        if each.fingerprint in is_open or each.follows is None:
            assert each.fingerprint in alone, "what is an alert, or stands for itself, is told as ever"
        elif each.fingerprint not in alone and each.fingerprint not in parts:
            assert each.follows in soon - failing, "put off only while it is not known whether that is an outage"
            assert each.kind not in ROOTS
    for root, under in told.parts.items():
        kind, _, channel = root.partition(":")
        assert rules[kind].is_on
        assert {each.follows for each in under} <= {int(channel)}
        before = is_open.get(root)
        is_standing = before is not None and (
            before.clear_since is None or NOW - before.clear_since < rules[kind].minutes("hold_minutes")
        )
        assert is_standing or root in alone or root in [each.fingerprint for each in findings]
        if not is_standing and under:
            assert root in alone or root in parts, "it becomes an alert at this very look"
