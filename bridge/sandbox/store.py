"""What the stand-ins remember: incidents, in memory and, if wanted, in a journal that survives a restart."""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

PAGERDUTY = "pagerduty"
INCIDENT_IO = "incident_io"
APIS = (PAGERDUTY, INCIDENT_IO)


@dataclass(slots=True, kw_only=True)
class Record:
    """One incident of one stand-in. `incident` is the document the vendor's API answers with, links aside."""

    api: str
    id: str
    number: int
    key: str
    incident: dict[str, Any]
    body: str = ""  # PagerDuty's details; incident.io keeps its summary in `incident`
    notes: list[dict[str, Any]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)


class Store:
    """Every incident of both stand-ins. Hold `lock` around a decision and the `put` that follows from it."""

    def __init__(self, journal: Path | None = None) -> None:
        self.lock = threading.RLock()
        self._records: dict[tuple[str, str], Record] = {}
        self._by_key: dict[tuple[str, str], list[Record]] = {}
        self._by_number: dict[tuple[str, int], Record] = {}
        self._last_number: dict[str, int] = {}
        self._journal: TextIO | None = None
        if journal is not None:
            self._replay(journal)
            journal.touch(mode=0o600)
            self._journal = journal.open("a", encoding="utf-8")
            self._journal.write("\n")  # ends a line that a kill cut short

    def next_number(self, api: str) -> int:
        """The number the next incident of a stand-in gets; they count from 1."""
        with self.lock:
            return 1 + self._last_number.get(api, 0)

    def put(self, record: Record) -> None:
        """Remember an incident, or what has become of it."""
        with self.lock:
            self._index(record)
            if self._journal is not None:
                self._journal.write(json.dumps(asdict(record), ensure_ascii=True) + "\n")
                self._journal.flush()

    def find(self, api: str, id_or_number: str) -> Record | None:
        """The incident with this id or number; both vendors take either."""
        with self.lock:
            record = self._records.get((api, id_or_number))
            if record is None and id_or_number.isascii() and id_or_number.isdigit() and len(id_or_number) < 12:
                record = self._by_number.get((api, int(id_or_number)))
            return record

    def with_key(self, api: str, key: str) -> list[Record]:
        """The incidents created under a key, oldest first."""
        with self.lock:
            return list(self._by_key.get((api, key), ()))

    def records(self, api: str) -> list[Record]:
        """Every incident of a stand-in, oldest first."""
        with self.lock:
            return [record for record in self._records.values() if record.api == api]

    def reset(self) -> None:
        """Forget everything, the journal included."""
        with self.lock:
            self._records.clear()
            self._by_key.clear()
            self._by_number.clear()
            self._last_number.clear()
            if self._journal is not None:
                self._journal.truncate(0)

    def close(self) -> None:
        """Let go of the journal; the store is not used afterwards."""
        with self.lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def _index(self, record: Record) -> None:
        is_new = (record.api, record.id) not in self._records
        self._records[record.api, record.id] = record
        self._by_number[record.api, record.number] = record
        self._last_number[record.api] = max(record.number, self._last_number.get(record.api, 0))
        if is_new:
            self._by_key.setdefault((record.api, record.key), []).append(record)

    def _replay(self, journal: Path) -> None:
        journal.parent.mkdir(parents=True, exist_ok=True)
        latest: dict[tuple[str, str], Record] = {}
        for record in _records_in(journal):
            latest[record.api, record.id] = record
        for record in latest.values():
            self._index(record)


def _records_in(journal: Path) -> Iterator[Record]:
    """The records of a journal; a line that a kill cut short is skipped."""
    if not journal.exists():
        return
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield Record(**json.loads(line))
            except (ValueError, TypeError):
                continue
