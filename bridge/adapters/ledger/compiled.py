"""SQLAlchemy statements compiled once and run as text: the hot paths' way around compiling and binding every time.

The statements stay SQLAlchemy Core, the same for both databases, inside SQLAlchemy's transactions; only their execution
goes to the driver's cursor. Measured here, an `execute` of a cached Core statement costs four times what its SQL costs,
and a webhook runs a dozen of them. Errors are therefore the driver's own: engine.py knows both kinds.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from operator import itemgetter
from typing import Any

from sqlalchemy import Boolean, Connection, Table, insert, literal_column
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter

from bridge.adapters.ledger.schema import Instant, from_us, to_us

Convert = Callable[[Any], Any]
_VALUES = re.compile(r"(INSERT INTO .* VALUES )(\(.*?\))((?: ON CONFLICT .*)?)", re.DOTALL)
ROWS_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)  # of an insert: few sizes, so that each stays prepared


def in_one_trip(connection: Connection) -> AbstractContextManager[None]:
    """What these statements write goes to PostgreSQL together, and is waited for once: see patience.py."""
    if connection.dialect.name == "sqlite":
        return nullcontext()
    driver: Any = connection.connection.dbapi_connection  # that of SQLAlchemy's pool is none once it is detached
    trip: AbstractContextManager[None] = driver.in_one_trip()
    return trip


def _depart(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        driver: Any = connection.connection.dbapi_connection
        driver.depart()


def _instant_in(value: Any) -> Any:
    return None if value is None else to_us(value)


def _instant_out(value: Any) -> Any:
    return None if value is None else from_us(value)


def _with_constants_written(statement: Any) -> Any:
    """The statement with what never changes (`state = 'pending'`) as text, not as a parameter.

    A partial index serves only a query that is known to ask for what it holds. SQLite looks at the parameters to find
    out, and so plans the statement anew at every execution (measured: 0.15 ms of a claim); a prepared statement of
    PostgreSQL's cannot look.
    """
    written: Any = _constant_written
    return visitors.replacement_traverse(statement, {}, written)


def _constant_written(element: Any, **_options: Any) -> Any:
    """A constant of ours as it stands in SQL; None for what stays as it is."""
    value = element.value if isinstance(element, BindParameter) else None
    if isinstance(value, str):
        return literal_column("'" + value.replace("'", "''") + "'", element.type)
    return literal_column(str(value), element.type) if type(value) is int else None


class _Text:
    """One statement as one database wants it."""

    def __init__(self, statement: Any, connection: Connection) -> None:
        compiled = _with_constants_written(statement).compile(dialect=connection.dialect)
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
        _depart(connection)
        with closing(connection.connection.cursor()) as cursor:
            if len(bound) == 1:
                cursor.execute(text.sql, bound[0])
            else:
                cursor.executemany(text.sql, bound)


class InsertStatement:
    """Inserts rows into a table, up to 64 with one statement.

    SQLite's driver lets go of the interpreter lock for each statement it runs; among a hundred threads getting it back
    costs more than the row.
    """

    def __init__(self, table: Table, statement: Callable[[Table], Any] = insert) -> None:
        """`statement` makes the insert, without its values."""
        self._table, self._insert = table, statement
        self._names = tuple(column.key for column in table.columns)
        self._picked = itemgetter(*self._names)
        self._instants = tuple(n for n, column in enumerate(table.columns) if isinstance(column.type, Instant))
        self._statements: dict[tuple[str, int], tuple[str, bool]] = {}

    def run(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert these rows, columns they do not name as null; nothing without rows."""
        left = [self._values(row) for row in rows]
        if not left:
            return
        with in_one_trip(connection), closing(connection.connection.cursor()) as cursor:
            _depart(connection)
            for size in ROWS_AT_ONCE:
                while len(left) >= size:
                    sql, is_positional = self._statement(connection, size)
                    cursor.execute(sql, self._bound(left[:size], is_positional))
                    del left[:size]

    def _values(self, row: Mapping[str, Any]) -> list[Any]:
        try:
            values = list(self._picked(row))  # a third of the time of asking column by column
        except KeyError:
            values = [row.get(name) for name in self._names]
        for n in self._instants:
            values[n] = _instant_in(values[n])
        return values

    def _bound(self, rows: Sequence[Sequence[Any]], is_positional: bool) -> Any:
        if is_positional:
            return [value for row in rows for value in row]
        return {
            f"{name}_{n}": value for n, row in enumerate(rows) for name, value in zip(self._names, row, strict=True)
        }

    def _statement(self, connection: Connection, size: int) -> tuple[str, bool]:
        """The statement of one row, its values repeated: 64 rows take a tenth of a second to compile, in the lock."""
        key = (connection.dialect.name, size)
        if key not in self._statements:
            row: dict[str, Any] = {name: BindParameter(f"{name}_0") for name in self._names}
            compiled: Any = self._insert(self._table).values(row).compile(dialect=connection.dialect)
            is_positional = compiled.positiontup is not None
            if is_positional and list(compiled.positiontup) != [f"{name}_0" for name in self._names]:
                raise AssertionError(f"{self._table.name}: the values of an insert are in another order")
            before, values, conflict = _VALUES.fullmatch(str(compiled)).groups()  # type: ignore[union-attr]
            rows = [values] * size if is_positional else [values.replace("_0)s", f"_{n})s") for n in range(size)]
            self._statements[key] = (before + ", ".join(rows) + conflict, is_positional)
        return self._statements[key]


class SizedStatement:
    """A query or a change over lists of ids: one Statement per combination of sizes, which `padded` keeps few."""

    def __init__(self, make: Callable[..., Any]) -> None:
        """`make(**sizes)` builds the query with binds `<list name>_<number>`."""
        self._make = make
        self._statements: dict[tuple[int, ...], Statement] = {}

    def rows(self, connection: Connection, **lists: Sequence[str]) -> list[dict[str, Any]]:
        """Run the query over these lists."""
        statement, given = self._of(lists)
        return statement.rows(connection, **given)

    def run(self, connection: Connection, fixed: Mapping[str, Any], **lists: Sequence[str]) -> None:
        """Run the change over these lists; `fixed` has its other binds."""
        statement, given = self._of(lists)
        statement.run(connection, [{**fixed, **given}])

    def _of(self, lists: Mapping[str, Sequence[str]]) -> tuple[Statement, dict[str, Any]]:
        sizes = tuple(len(values) for values in lists.values())
        if sizes not in self._statements:
            self._statements[sizes] = Statement(self._make(**dict(zip(lists, sizes, strict=True))))
        given = {f"{name}_{number}": value for name, values in lists.items() for number, value in enumerate(values)}
        return self._statements[sizes], given


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
