"""The tables of the ledger. One schema for SQLite and PostgreSQL; migrations/ holds the steps that lead here.

Instants are unix microseconds (BIGINT), so that both databases compare and index them alike. Structured values that no
query looks into are canonical JSON in TEXT.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

IDS_AT_ONCE = 1000  # in one statement: both databases bound the number of parameters
UNFINISHED = ("pending", "sending")  # states of a delivery that is still owed; each has an index of its own


def to_us(instant: datetime) -> int:
    """Unix microseconds of an aware instant."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware UTC instant of unix microseconds."""
    return _EPOCH + timedelta(microseconds=us)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as unix microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else to_us(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_us(value)


def _only(condition: str) -> dict[str, Any]:
    """The rows that a partial index holds, in the same words for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),  # ULID: sorts by time
    Column("source", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("state", Text, nullable=False),  # accepted | rejected
    Column("reason", Text),  # of a rejection, a sentence
    Column("delivery_key", Text),  # source and the sender's own delivery id
    Column("headers", Text, nullable=False),  # JSON; credentials and signatures left out
    Column("body", LargeBinary),  # zlib; null once retention let go of it
    Column("body_bytes", Integer, nullable=False),
    Column("alerts", Integer, nullable=False),
    Column("book", Text),  # hash of the rule book that decided it
)
Index("events_delivery_key", events.c.delivery_key, unique=True)
Index("events_source", events.c.source, events.c.id)

alerts = Table(
    "alerts",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text),
    Column("status", Text),
    Column("severity", Text),
    Column("title", Text, nullable=False),
    Column("outcome", Text, nullable=False),  # of the first decision
    Column("rule", Text),
    Column("incident_id", Text),
    Column("decisions", Text, nullable=False),  # JSON: one {rule, account, outcome, reason, incident} per rule
    Column("document", Text, nullable=False),  # JSON: the alert but for its payload, and the rules tried
)
Index("alerts_fingerprint", alerts.c.fingerprint, alerts.c.event_id)
Index("alerts_incident", alerts.c.incident_id, alerts.c.event_id)
Index("alerts_silenced", alerts.c.event_id, **_only("outcome = 'silenced'"))

problems = Table(
    "problems",
    metadata,
    Column("id", Text, primary_key=True),  # hash of source and fingerprint
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("status", Text, nullable=False),  # the last applied report
    Column("episode", Text),
    Column("reported_at", Instant),
    Column("updated_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

series = Table(
    "series",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("next_no", Integer, nullable=False),  # of its next delivery: the order within the series
    Column("last_incident", Text),  # the live one, else the one that ended last
    sqlite_with_rowid=False,
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("key_rule", Text, nullable=False),
    Column("key_text", Text),
    Column("episode_id", Text, nullable=False),
    Column("episode_n", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("firing", Integer, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
    Column("claimed", Boolean, nullable=False),
    Column("resolve_claimed", Boolean, nullable=False),
    Column("renewal", Text),
    Column("upstream_id", Text),
    Column("upstream_url", Text),
    Column("opened_at", Instant, nullable=False),
    Column("confirmed_at", Instant),
    Column("resolved_at", Instant),
    Column("reason", Text),
    Column("telling", Text),  # JSON: what its notes said and have to say; null for nothing
    Column("summary", Text),  # as the upstream has it, where notes become a part of it
    Column("carrier", Text),  # the incident it is folded into
    Column("folded", Integer, nullable=False, server_default="0"),  # incidents folded into this one
    Column("renews_at", Instant),  # closed upstream while it fires: when its members open a new episode
    Column("stands_for", Text),  # the incident of another account that it is plan B of
)
Index("incidents_one_live", incidents.c.series, unique=True, **_only("live"))
Index("incidents_series", incidents.c.series, incidents.c.episode_id)
Index("incidents_carrier", incidents.c.carrier, incidents.c.id, **_only("carrier IS NOT NULL"))
Index("incidents_carriers", incidents.c.account, incidents.c.live, **_only("folded > 0"))
Index("incidents_quiet", incidents.c.renews_at, **_only("renews_at IS NOT NULL"))
# with the state, though it is always the same: SQLite takes an equality for narrower than any span of time, and would
# go through everything that was ever resolved (0.2 s of a million, under the lock that everybody writes by)
Index("incidents_resolved", incidents.c.state, incidents.c.resolved_at, **_only("state = 'resolved'"))
Index("incidents_upstream", incidents.c.upstream_id, **_only("upstream_id IS NOT NULL"))
Index("incidents_stands_for", incidents.c.stands_for, unique=True, **_only("stands_for IS NOT NULL"))
Index("incidents_state", incidents.c.state, incidents.c.id)
Index("incidents_key", incidents.c.key)

members = Table(
    "members",
    metadata,
    Column("incident_id", Text, primary_key=True),
    Column("problem_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("firing", Boolean, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("joined_at", Instant, nullable=False),
    Column("left_at", Instant),
    sqlite_with_rowid=False,
)
# SQLite takes a partial index only for the very words of a query, and there a truth is written as `firing = 1`
Index("members_problem", members.c.problem_id, sqlite_where=text("firing = 1"), postgresql_where=text("firing"))

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("incident_id", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("no", Integer, nullable=False),
    Column("lane", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("class", Text, nullable=False),  # create | update: follows action and phase
    Column("phase", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("order_key", BigInteger, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("give_up_at", Instant, nullable=False),
    Column("first_attempt_at", Instant),
    Column("done_at", Instant),
    Column("attempts", Integer, nullable=False),
    Column("sent", Boolean, nullable=False),  # an attempt may have reached the upstream
    Column("strikes", Integer, nullable=False),
    Column("lease_token", Text),
    Column("lease_until", Instant),
    Column("key", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("ids", Text, nullable=False),  # JSON: what its names came to, names.Lookup
    Column("notes", Text, nullable=False),  # JSON: what rendering left to say
    Column("fold_key", Text),  # of a create: what it may fold with,
    Column("fold_target", Text),  # and whom all of these would reach; null: it never folds
)
Index("deliveries_series", deliveries.c.series, deliveries.c.no, unique=True)
# what is owed of a series: else each claim goes through all that was ever told of it (50 ms of 100,000)
Index("deliveries_owed", deliveries.c.series, deliveries.c.no, **_only("state IN ('pending', 'sending')"))
Index(
    "deliveries_waiting",
    deliveries.c.lane,
    deliveries.c["class"],
    deliveries.c.order_key,
    **_only("state = 'pending'"),
)
Index("deliveries_in_flight", deliveries.c.lane, **_only("state = 'sending'"))
Index("deliveries_dead", deliveries.c.id, **_only("state = 'dead'"))
Index("deliveries_dead_of", deliveries.c.account, deliveries.c.action, **_only("state = 'dead'"))
Index("deliveries_done", deliveries.c.done_at, **_only("done_at IS NOT NULL"))
Index("deliveries_incident", deliveries.c.incident_id)
Index(
    "deliveries_folding",
    deliveries.c.fold_target,
    deliveries.c.fold_key,
    deliveries.c.order_key,
    **_only("state = 'pending' AND fold_target IS NOT NULL"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("no", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("call", Text, nullable=False),  # method and path
    Column("status", Integer),
    Column("reason", Text),
    Column("detail", Text),
    Column("duration_s", Float, nullable=False),
    Column("request_id", Text),
    Column("response", Text),  # the first 4 KiB
    sqlite_with_rowid=False,
)
Index("attempts_at", attempts.c.at)

lanes = Table(
    "lanes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("create_tat", Instant, nullable=False),
    Column("update_tat", Instant, nullable=False),
    Column("create_parked_until", Instant),
    Column("create_parked_why", Text),
    Column("update_parked_until", Instant),
    Column("update_parked_why", Text),
    Column("slowed_to", Float, nullable=False),
    Column("slowed_at", Instant),
    Column("failures", Integer, nullable=False),
    Column("probe_at", Instant),
    Column("paused_at", Instant),
    Column("armed_until", Instant),
    Column("behind_since", Instant),  # its creates would wait longer than max_wait, and fold
    sqlite_with_rowid=False,
)

name_lists = Table(
    "name_lists",
    metadata,
    Column("account", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("fetched_at", Instant, nullable=False),
    Column("things", Text, nullable=False),  # JSON: [[id, name, extra, aliases], ...], complete
    sqlite_with_rowid=False,
)

name_fetches = Table(
    "name_fetches",
    metadata,
    Column("account", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("due_at", Instant, nullable=False),  # when the list may be asked for next
    Column("asked_until", Instant),  # a job was sent for it
    Column("lease_token", Text),
    Column("lease_until", Instant),
    Column("failures", Integer, nullable=False),  # in a row
    Column("refused_since", Instant),  # the upstream answers, but gives no list
    Column("detail", Text),  # of the last failure
    Column("began_at", Instant),  # when the first of the pages below was asked for
    Column("next_cursor", Text),  # where the page after them begins
    Column("things", Text, nullable=False),  # JSON, as in name_lists: the pages so far
    sqlite_with_rowid=False,
)

rule_books = Table(
    "rule_books",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("stored_at", Instant, nullable=False),  # or until when it was in force last
    Column("content", Text, nullable=False),
    Column("files", Text),  # JSON: config.rule_files.RuleFiles, every text it is compiled from; null before 0007
)

in_force = Table(  # one row: what every process asks for once a second
    "in_force",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("book", Text),  # hash of the current rule book; null until a process has started with one
    Column("book_no", Integer, nullable=False),  # one more with each book that becomes current
    Column("taken_at", Instant),  # when it became current
    Column("taken_by", Text),
    Column("checked_at", Instant),  # the last reload that found nothing wrong, whether it changed anything or not
    Column("refused_at", Instant),  # the last reload was refused; null when it was not
    Column("refused_by", Text),
    Column("refused", Text),  # JSON: its problems
    Column("silences_no", Integer, nullable=False),  # one more with each change of the silences
)

book_places = Table(
    "book_places",
    metadata,
    Column("place", Text, primary_key=True),  # host and configuration
    Column("digest", Text, nullable=False),  # of the files as they were last taken, or refused, from there
    Column("seen_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

silences = Table(
    "silences",
    metadata,
    Column("id", Text, primary_key=True),  # ULID: sorts by the time it was made
    Column("match", Text, nullable=False),  # JSON: conditions, as a rule's `match`
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("criticals", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),  # a person ended it before its time
    Column("ended_by", Text),
    sqlite_with_rowid=False,
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("account", Text, primary_key=True),
    Column("swept_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

alarms = Table(
    "alarms",
    metadata,
    Column("cause", Text, primary_key=True),  # domain.alarms.Cause.key
    Column("told_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("process", Text, primary_key=True),  # kind@host:pid
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("id", Text, primary_key=True),  # ULID
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("how", Text, nullable=False),  # domain.access.How
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON, without secrets
    Column("address", Text, nullable=False),
    sqlite_with_rowid=False,
)

guesses = Table(
    "guesses",
    metadata,
    Column("key", Text, primary_key=True),  # an address, or a hash of a user's name
    Column("spent_until", Instant, nullable=False),
    sqlite_with_rowid=False,
)

ended_sessions = Table(
    "ended_sessions",
    metadata,
    Column("id", Text, primary_key=True),  # a hash of the one in the cookie
    Column("until", Instant, nullable=False),  # when every copy of the cookie has ended anyway
    sqlite_with_rowid=False,
)

tallies = Table(
    "tallies",
    metadata,
    Column("what", Text, primary_key=True),  # tallies.py
    Column("hour", Instant, primary_key=True),  # 1970-01-01: ever
    Column("labels", Text, primary_key=True),  # JSON: a list of texts
    Column("number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

marks = Table(
    "marks",
    metadata,
    Column("what", Text, primary_key=True),  # what goes through a table in pieces,
    Column("reached", Text, nullable=False),  # and where the next piece begins
    sqlite_with_rowid=False,
)
