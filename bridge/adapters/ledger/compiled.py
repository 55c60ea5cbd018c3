"""SQLAlchemy statements compiled once and run as text: the hot paths' way around compiling and binding every time.

The statements stay SQLAlchemy Core, the same for both databases, inside SQLAlchemy's transactions; only their execution
goes to the driver's cursor. Measured here, an `execute` of a cached Core statement costs four times what its SQL costs,
and a webhook runs a dozen of them. Errors are therefore the driver's own: engine.py knows both kinds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Boolean, Connection
from sqlalchemy.sql.elements import BindParameter

from bridge.adapters.ledger.schema import Instant, from_us, to_us

Convert = Callable[[Any], Any]


def _instant_in(value: Any) -> Any:
    return None if value is None else to_us(value)


def _instant_out(value: Any) -> Any:
    return None if value is None else from_us(value)


class _Text:
    """One statement as one database wants it."""

    def __init__(self, statement: Any, connection: Connection) -> None:
        compiled = statement.compile(dialect=connection.dialect)
        self.sql = str(compiled)
        self._order: tuple[str, ...] | None = None if compiled.positiontup is None else tuple(compiled.positiontup)
        self._fixed: dict[str, Any] = {
            name: value for name, value in compiled.construct_params(_check=False).items() if value is not None
        }
        binds: Mapping[str, BindParameter[Any]] = compiled.binds
        self._in = tuple(name for name, bind in binds.items() if isinstance(bind.type, Instant))
        columns = getattr(statement, "selected_columns", ())
        self.columns = tuple(column.key for column in columns)
        self._out: tuple[tuple[str, Convert], ...] = tuple(
            (column.key, _instant_out if isinstance(column.type, Instant) else bool)
            for column in columns
            if isinstance(column.type, Instant | Boolean)
        )

    def bound(self, given: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them: a tuple in order, or a mapping."""
        values = {**self._fixed, **given}
        for name in self._in:
            values[name] = _instant_in(values.get(name))
        return values if self._order is None else tuple([values.get(name) for name in self._order])

    def row(self, found: Sequence[Any]) -> dict[str, Any]:
        """One row by column name, with its instants and truths."""
        row = dict(zip(self.columns, found, strict=True))
        for name, convert in self._out:
            row[name] = convert(row[name])
        return row


class Statement:
    """A statement that is compiled at its first use on each database."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def _text(self, connection: Connection) -> _Text:
        name = connection.dialect.name
        if name not in self._texts:
            self._texts[name] = _Text(self._statement, connection)
        return self._texts[name]

    def rows(self, connection: Connection, **given: Any) -> list[dict[str, Any]]:
        """Run a query; its rows."""
        text = self._text(connection)
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(text.sql, text.bound(given))
            return [text.row(row) for row in cursor.fetchall()]

    def run(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run a change for each of these rows; nothing without rows."""
        text = self._text(connection)
        bound = [text.bound(row) for row in rows]
        if not bound:
            return
        with closing(connection.connection.cursor()) as cursor:
            if len(bound) == 1:
                cursor.execute(text.sql, bound[0])
            else:
                cursor.executemany(text.sql, bound)


class SizedStatement:
    """A query over lists of ids: one Statement per combination of sizes, which `padded` keeps few."""

    def __init__(self, make: Callable[..., Any]) -> None:
        """`make(**sizes)` builds the query with binds `<list name>_<number>`."""
        self._make = make
        self._statements: dict[tuple[int, ...], Statement] = {}

    def rows(self, connection: Connection, **lists: Sequence[str]) -> list[dict[str, Any]]:
        """Run the query over these lists."""
        sizes = tuple(len(values) for values in lists.values())
        if sizes not in self._statements:
            self._statements[sizes] = Statement(self._make(**dict(zip(lists, sizes, strict=True))))
        given = {f"{name}_{number}": value for name, values in lists.items() for number, value in enumerate(values)}
        return self._statements[sizes].rows(connection, **given)


def listed(name: str, size: int) -> list[BindParameter[Any]]:
    """The binds of one list of a SizedStatement."""
    return [BindParameter(f"{name}_{number}") for number in range(size)]


def padded(values: Iterable[str]) -> list[str]:
    """Sorted, distinct, and repeated up to the next power of two: few sizes, so that statements stay prepared."""
    wanted = sorted(set(values))
    size = 1
    while size < len(wanted):
        size *= 2
    return wanted + wanted[-1:] * (size - len(wanted))
