"""Making a silence from what a person gave, for the API, the page and the command alike: read, refused with reasons,
tried over what came in lately, added.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge import wiring
from bridge.adapters.ledger import Ledger, Preview
from bridge.adapters.ledger.rows import dumps
from bridge.config import units
from bridge.config.models import Settings
from bridge.domain.alert import Alert
from bridge.domain.errors import BridgeError, ConfigError
from bridge.domain.silences import Silence, wrongs
from bridge.rules.match import refusal

PREVIEW_WITHIN = timedelta(hours=24)
MATCH_MAX_CHARS = 10_000
STANDING_MAX = 500  # at once: each is tried on every alert
_EXAMPLE = "a length such as 2h or 1d, or a time such as 2026-01-31T08:00:00Z"


class SilenceRefused(BridgeError):
    """Something that cannot be a silence; `sentences` say all that is wrong with it."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A silence as a person gives it."""

    match: Any  # YAML text, or data
    until: str  # a length from its begin, or an instant
    author: str
    reason: str
    criticals: bool = False
    starts: str = ""  # a length from now, or an instant; empty: now


def added(ledger: Ledger, settings: Settings, draft: Draft) -> dict[str, Any]:
    """The silence holds; it is answered as the API shows it. Raises SilenceRefused with everything wrong with it."""
    now = ledger.time()
    found: list[str] = []
    match: Mapping[str, Any] = {}
    try:
        match, _ = wiring.match_of(settings, draft.match)
    except ConfigError as error:
        found += [str(problem) for problem in error.problems]
    if len(dumps(dict(match))) > MATCH_MAX_CHARS:
        found.append(f"'match' is longer than {MATCH_MAX_CHARS:,} characters: say what these alerts have in common")
    if len(ledger.silences_standing()) >= STANDING_MAX:
        found.append(f"{STANDING_MAX} silences hold already: end some, or say in one what their alerts have in common")
    starts_at = _instant("starts_at", draft.starts, now, found) if draft.starts.strip() else now
    ends_at = _instant("ends_at", draft.until, max(starts_at, now), found)
    silence = Silence(
        id=ledger.new_id(),
        match=match or {"?": "?"},  # what is wrong with it is said already
        starts_at=starts_at,
        ends_at=ends_at,
        author=" ".join(draft.author.split()),
        reason=" ".join(draft.reason.split()),
        criticals=draft.criticals,
    )
    said_of_end = any(sentence.startswith(("'ends_at'", "'starts_at'")) for sentence in found)
    found += [one for one in wrongs(silence, now) if not (said_of_end and one.startswith("'ends_at'"))]
    if found:
        raise SilenceRefused(found)
    return ledger.silence_added(silence)


def previewed(
    ledger: Ledger, settings: Settings, match: Any, *, criticals: bool, within: timedelta = PREVIEW_WITHIN
) -> Preview:
    """What a silence would have hidden lately. Raises SilenceRefused."""
    try:
        data, conditions = wiring.match_of(settings, match)
    except ConfigError as error:
        raise SilenceRefused(str(problem) for problem in error.problems) from error

    def matches(alert: Alert) -> bool:
        return refusal(conditions, alert) is None

    reads_payload = "payload" in dumps(dict(data))
    return ledger.silence_preview(matches, criticals=criticals, within=within, reads_payload=reads_payload)


def preview_json(preview: Preview) -> dict[str, Any]:
    """For the API."""
    return {
        "alerts": preview.alerts,
        "opened": preview.opened,
        "criticals_spared": preview.criticals,
        "items": list(preview.items),
        "note": preview.note,
    }


def preview_sentence(preview: Preview, within: str = "the last 24 hours") -> str:
    """In words."""
    if not preview.alerts and not preview.criticals:
        return f"No firing alert of {within} matches."
    alerts = "1 alert" if preview.alerts == 1 else f"{preview.alerts:,} alerts"
    opened = "1 incident" if preview.opened == 1 else f"{preview.opened:,} incidents"
    told = f"In {within} it would have hidden {alerts}, which opened {opened}."
    if preview.criticals:
        spared = (
            "1 critical alert matches" if preview.criticals == 1 else f"{preview.criticals:,} critical alerts match"
        )
        told += f" {spared} too, and would have paged all the same."
    return told


def _instant(name: str, text: str, base: datetime, found: list[str]) -> datetime:
    """A length from `base`, or an instant; what is neither is said."""
    given = text.strip()
    try:
        return base + units.duration(given)
    except (ValueError, OverflowError):
        pass  # no length
    try:
        instant = datetime.fromisoformat(given.replace(" ", "T"))
    except ValueError:
        missing = f"'{name}' is missing" if not given else f"'{name}' cannot be '{given[:40]}'"
        found.append(f"{missing}: give {_EXAMPLE}")
        return base + timedelta(hours=1)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
