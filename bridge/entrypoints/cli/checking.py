"""What `check` proves with real webhooks: paths that no payload has, and keys that do not hold.

The webhooks are those of the ledger, or of a folder that `export` wrote; for sources without any, the shipped samples
of their type.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge.config.folders import visible
from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Reading, Webhook
from bridge.domain.errors import BridgeError, Grade, Place, Problem
from bridge.entrypoints.cli import say
from bridge.entrypoints.cli.sending import sample_bytes, sample_names
from bridge.entrypoints.cli.traffic import Progress, readings_of, traffic
from bridge.keyproof import VIOLATIONS_MAX, KeyProof, Kind, Report, Violation
from bridge.rules.book import Rule, RuleBook
from bridge.rules.payload_paths import SeenPayloads, Unmet, Unseen, sources_of, unseen_paths
from bridge.sources.base import Source

RULE_SUFFIXES = (".yaml", ".yml")
EVENTS_FOR_PATHS = 500  # the newest: enough to know what a sender's payloads hold
SAMPLES_SAY_LITTLE = frozenset({"generic"})  # types whose payloads are whatever their sender likes
TITLE_SHOWN_CHARS = 60
PARTS_SHOWN_CHARS = 200
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)

Event = tuple[str, tuple[Reading, ...]]  # its id, or the name of a sample


@dataclass(slots=True, kw_only=True)
class Known:
    """What was posted, as far as anybody here knows."""

    settings: Any
    folder: Path | None
    offline: bool
    sources: Mapping[str, Source] = field(init=False)

    def __post_init__(self) -> None:
        from bridge import wiring

        self.sources = wiring.sources(self.settings)

    def samples_of(self, name: str) -> Iterator[Event]:
        """The shipped samples of a source's type."""
        source = self.sources[name]
        for sample in _in_order(sample_names(source.type)):
            body = sample_bytes(source.type, sample)
            headers = {"content-type": "application/json"}
            readings = readings_of(self.sources, Webhook(source=name, headers=headers, body=body, received_at=UNDATED))
            if readings is not None:
                yield f"sample {source.type}/{sample}", readings

    def stored(self, last: int | None, *, progress: bool = False) -> Iterator[Event]:
        """Events of the ledger, or of the folder, oldest first; none where there is no ledger to ask."""
        if self.folder is None and (self.offline or not _has_ledger(self.settings)):
            return
        from bridge.adapters.ledger import Stretch

        try:
            with traffic(self.settings, self.folder, Stretch(last=last)) as held:
                shown = Progress("events", held.number) if progress else None
                for event, webhook in held.webhooks:
                    readings = readings_of(self.sources, webhook)
                    if readings is not None:
                        yield event, readings
                    if shown is not None:
                        shown.step()
                if shown is not None:
                    shown.end()
        except BridgeError as error:
            if self.folder is not None:
                raise
            say(f"without the ledger's events: {error}")


def _has_ledger(settings: Any) -> bool:
    place = settings.ledger.removeprefix("sqlite:///")
    return place == settings.ledger or Path(place).exists()


_RANKS = (("resolved", "recovered", "closed", "ok", "up", "solved", "recovery", "succeeded"), 2), (("acknowledged",), 1)


def _in_order(names: Iterable[str]) -> list[str]:
    """Samples in the order a problem takes: firing, acknowledged, over."""

    def rank(name: str) -> int:
        return next((rank for words, rank in _RANKS if any(name.endswith(word) for word in words)), 0)

    return sorted(names, key=lambda name: (rank(name), name))


# -- files


def unread_files(rules_dir: Path, root: Path) -> tuple[Problem, ...]:
    """A warning for each file that looks like rules or tests and is neither: `DB.YAML` would page nobody."""
    hint = "rules are read from *.yaml and *.yml, in small letters: rename it"
    return tuple(
        Problem(
            place=Place(file=path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()),
            message=f"the file is not read: its name ends in '{path.suffix}'",
            hint=hint,
            grade=Grade.WARNING,
        )
        for path in visible(rules_dir)
        if path.suffix not in RULE_SUFFIXES and path.suffix.lower() in RULE_SUFFIXES
    )


def test_problems(loaded: Any) -> tuple[Problem, ...]:
    """What is wrong with the rules' tests, for which a reload is refused; whether they hold is not asked."""
    from bridge.config.rule_tests import test_files
    from bridge.entrypoints.cli.testing import cases_of

    settings = loaded.settings
    _, problems = cases_of(test_files([settings.rules_dir]), settings.config_dir, settings, loaded.book.by_id)
    return tuple(problems)


# -- sources


def sourceless_rules(book: RuleBook, sources: Mapping[str, Source]) -> tuple[Problem, ...]:
    """A warning for each rule whose `source_type` no source has, or none of those that its `source` names."""
    types = {name: source.type for name, source in sources.items()}
    hint = f"sources in bridge.yaml: {', '.join(f'{name} ({kind})' for name, kind in sorted(types.items()))}"
    return tuple(
        Problem(
            place=rule.place,
            message=f"rule '{rule.id}' can never match: no source is of the type that it asks for",
            hint=hint,
            grade=Grade.WARNING,
        )
        for rule in book.rules
        if _asks_for_type(rule) and not any(sources_of(rule, types))
    )


def _asks_for_type(rule: Rule) -> bool:
    pairs = (pair for condition in rule.conditions or () for pair in condition.equalities())
    return any(path.text == "source_type" for path, _ in pairs)


# -- paths


def path_problems(book: RuleBook, known: Known) -> tuple[Problem, ...]:
    """A warning for each path of a rule into payloads that no known payload of its sources has."""
    if not book.paths:
        return ()
    seen = {name: SeenPayloads() for name in known.sources}
    unmet = Unmet(book)
    for _, readings in known.stored(EVENTS_FOR_PATHS):
        _add(seen, unmet, readings)
    for name, source in known.sources.items():
        if source.type not in SAMPLES_SAY_LITTLE:
            for _, readings in known.samples_of(name):
                _add(seen, unmet, readings)
    types = {name: source.type for name, source in known.sources.items()}
    return tuple(dict.fromkeys(_path_warning(one) for one in unseen_paths(book, seen, types, unmet)))


def _add(seen: Mapping[str, SeenPayloads], unmet: Unmet, readings: Iterable[Reading]) -> None:
    for reading in readings:
        if isinstance(reading, Alert) and reading.source in seen:
            seen[reading.source].add(reading.payload)
            unmet.take(reading)


def _path_warning(unseen: Unseen) -> Problem:
    many = len(unseen.sources) > 1
    whose = f"source{'s' * many} {', '.join(unseen.sources)}"
    meant = f"did you mean '{unseen.meant}'? " if unseen.meant is not None else ""
    return Problem(
        place=unseen.use.place,
        message=f"no known payload of {whose} has '{unseen.step}' in '{unseen.use.path.text}'",
        hint=f"{meant}known are the newest events that came in and the shipped samples",
        grade=Grade.WARNING,
    )


# -- keys


def key_proof(book: RuleBook, destinations: Mapping[str, Destination], known: Known) -> KeyProof:
    """The proof over every event there is, and over the samples of sources that had none."""
    proof = KeyProof(book=book, destinations=destinations)
    heard: set[str] = set()
    for event, readings in known.stored(None, progress=True):
        heard |= {reading.source for reading in readings}
        proof.take(event, readings)
    if known.folder is None:
        for name in sorted(known.sources.keys() - heard):
            for event, readings in known.samples_of(name):
                proof.take(event, readings)
    return proof


def key_problems(proof: KeyProof, *, joins: bool) -> tuple[Problem, ...]:
    """What violates it, at the rule, with the two events that prove it; beyond VIOLATIONS_MAX they are only counted."""
    problems = []
    for violation in proof.violations:
        grade = Grade.WARNING if joins and violation.kind is Kind.JOINED else Grade.ERROR
        message = _SAID[violation.kind].format(rule=violation.rule.id, source=violation.first.source)
        hint = "\n".join((_told(violation.first), _told(violation.second), _advice(violation)))
        problems.append(Problem(place=violation.rule.place, message=message, hint=hint, grade=grade))
    for (rule, kind), count in proof.counts.items():
        if count > VIOLATIONS_MAX:
            place = proof.book.by_id[rule].place
            message = f"and {count - VIOLATIONS_MAX:,} more of rule '{rule}' like these: {_KINDS[kind]}"
            grade = Grade.WARNING if joins and kind is Kind.JOINED else Grade.ERROR
            problems.append(Problem(place=place, message=message, grade=grade))
    return tuple(sorted(problems, key=lambda problem: problem.place))


_SAID = {
    Kind.SPLIT: "rule '{rule}' gives one problem of {source} two keys",
    Kind.JOINED: "rule '{rule}' gives two problems of {source} one key",
}
_KINDS = {Kind.SPLIT: "one problem, two keys", Kind.JOINED: "two problems, one key"}


def _told(report: Report) -> str:
    title = report.title if len(report.title) <= TITLE_SHOWN_CHARS else f"{report.title[:TITLE_SHOWN_CHARS]}…"
    problem = f"'{_printable(title)}' ({_printable(report.fingerprint[:60])})"
    return f"{report.event}: {report.status.value} {problem}, key of {_parts(report)}"


def _parts(report: Report) -> str:
    parts = [*report.parts, *([report.scope] if report.scope else [])]
    text = json.dumps(parts, ensure_ascii=True, default=str)
    return text if len(text) <= PARTS_SHOWN_CHARS else f"{text[:PARTS_SHOWN_CHARS]}…"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _advice(violation: Violation) -> str:
    if violation.kind is Kind.JOINED:
        return "name more in 'dedup' (default: [source, fingerprint]); if they are to share an incident, add --joins"
    differs = " and ".join(f"'{name}'" for name in violation.differs) or "the key"
    return f"{differs} differs: take it out of the key, so that the second report finds the incident of the first"
