"""The databases views are read from, each behind DB-API 2.0 (PEP 249), in one table.

Every connection reads only: the account should be allowed nothing else, and the session asks for it where a database
knows how. A statement has a time limit, kept by the database or the driver. Nothing here defines or drops anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import ViewChanged, ViewDenied, ViewError, ViewSlow
from ...model.view import View
from ...security import redact

Connect = Callable[[ModuleType, View, str, bool], Any]
"""(driver module, view, password, writing) → connection; each statement commits by itself unless it writes."""
_CONNECT_S = 10
_STEPS = 10_000
"""Steps of SQLite between two looks at the clock."""


VALUE = "\0"
"""Stands in a statement for each of its values, until the driver's own mark does."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What differs between databases.

    extra: the extra of this package that installs the module. mark: of a value in a statement. quotes: around a name.
    limit: a select of no more than some rows. begin: what a reading transaction begins with, where no session does.
    codes: the database's own code of a fault → what it means; code_of: that code.
    """

    module: str
    extra: str
    mark: str
    quotes: tuple[str, str]
    limit: str
    connect: Connect
    code_of: Callable[[BaseException], str]
    codes: Mapping[str, type[ViewError]] = field(default_factory=dict)
    begin: str = ""

    def opened(self, view: View, password: str, *, writing: bool = False) -> Any:
        """A connection. Raises a ViewError."""
        try:
            module = import_module(self.module)
        except ImportError as fault:
            zh = f"没有安装 {self.module}：pip install 'alliance-gateway[{self.extra}]'。"
            raise ViewError(view.address, f"{self.module} is not installed", detail_zh=zh) from fault
        try:
            return self.connect(module, view, password, writing)
        except Exception as fault:  # a driver raises what it likes
            raise self.told(fault, view.address) from None

    def execute(self, cursor: Any, sql: str, values: tuple[Any, ...], limit_s: int) -> None:
        """Run a statement written with VALUE for its values; `%` in it is itself."""
        if self.module == "sqlite3":
            end = time.monotonic() + limit_s
            cursor.connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        if self.mark == "%s" and values:
            sql = sql.replace("%", "%%")
        first, *others = sql.split(VALUE)
        sql = first + "".join(self.mark.format(number) + text for number, text in enumerate(others, 1))
        cursor.execute(sql, *([values] if values else []))

    def name(self, name: str) -> str:
        """A column as the database spells it."""
        begin, end = self.quotes
        return f"{begin}{name.replace(end, end * 2)}{end}"

    def told(self, fault: BaseException, place: str) -> ViewError:
        """A driver's fault as ours, with the database's own words, in which numbers of persons are masked."""
        if isinstance(fault, ViewError):
            return fault
        code = self.code_of(fault)
        said = (
            fault.args[1] if len(fault.args) == 2 and isinstance(fault.args[0], int) else fault
        )  # pymysql: (code, text)
        text = redact.text(" ".join(str(said).split()))[:200]
        return self.codes.get(code, ViewError)(place, f"{code} {text}".strip(), detail_zh=f"数据库说：{text}")


# ---- connecting ------------------------------------------------------------------------------
def _sqlite(module: ModuleType, view: View, password: str, writing: bool) -> Any:
    path = Path(view.database).absolute()
    mode = "rw" if writing else "ro"
    opened = module.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, timeout=_CONNECT_S, check_same_thread=False,
        isolation_level="IMMEDIATE" if writing else None,
    )  # fmt: skip
    opened.text_factory = _utf8_or_bytes
    return opened


def _utf8_or_bytes(text: bytes) -> str | bytes:
    """SQLite keeps what it was given: old programs gave it GBK."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _postgresql(module: ModuleType, view: View, password: str, writing: bool) -> Any:
    limits = f"-cstatement_timeout={view.timeout_s * 1000}" + ("" if writing else " -cdefault_transaction_read_only=on")
    return module.connect(
        host=view.host, port=view.port or 5432, dbname=view.database, user=view.user, password=password or None,
        connect_timeout=_CONNECT_S, autocommit=not writing, options=limits, **view.options,
    )  # fmt: skip


def _mysql(module: ModuleType, view: View, password: str, writing: bool) -> Any:
    given = {"charset": "utf8mb4"} | dict(view.options)
    opened = module.connect(
        host=view.host, port=view.port or 3306, database=view.database, user=view.user, password=password,
        connect_timeout=_CONNECT_S, read_timeout=view.timeout_s + 5, autocommit=not writing,
        use_unicode=given["charset"] != "latin1",  # GBK bytes in latin1 columns are read as bytes
        **given,
    )  # fmt: skip
    maria = "MariaDB" in opened.get_server_info()
    limit = f"max_statement_time = {view.timeout_s}" if maria else f"max_execution_time = {view.timeout_s * 1000}"
    with opened.cursor() as cursor:
        cursor.execute(f"SET SESSION {limit}")
        if not writing:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
    return opened


def _sqlserver(module: ModuleType, view: View, password: str, writing: bool) -> Any:
    return module.connect(
        view.host, view.database, view.user, password, port=view.port or 1433, login_timeout=_CONNECT_S,
        timeout=view.timeout_s, autocommit=not writing, readonly=not writing, **view.options,
    )  # fmt: skip


def _oracle(module: ModuleType, view: View, password: str, writing: bool) -> Any:
    defaults = module.__dict__["defaults"]
    defaults.fetch_lobs, defaults.fetch_decimals = False, True  # CLOB as text; digits as they are stored
    dsn = f"{view.host}:{view.port or 1521}/{view.database}"
    opened = module.connect(user=view.user, password=password, dsn=dsn, tcp_connect_timeout=_CONNECT_S, **view.options)
    opened.call_timeout = view.timeout_s * 1000
    return opened


# ---- what their faults mean ------------------------------------------------------------------
def _sqlite_code(fault: BaseException) -> str:
    text = str(fault)
    return next((one for one in DRIVERS["sqlite"].codes if one in text), "")


def _postgresql_code(fault: BaseException) -> str:
    found = str(getattr(fault, "sqlstate", None) or "")
    return "28P01" if not found and "authentication failed" in str(fault) else found  # refused before there is a state


def _first_argument(fault: BaseException) -> str:
    return str(fault.args[0]) if fault.args and isinstance(fault.args[0], int) else ""


def _sqlserver_code(fault: BaseException) -> str:
    number = getattr(fault, "number", 0) or getattr(fault, "msg_no", 0)
    return str(number or ("timeout" if "timed out" in str(fault).lower() else ""))


def _oracle_code(fault: BaseException) -> str:
    return str(getattr(fault.args[0], "full_code", "")) if fault.args else ""


def _codes(denied: str, changed: str, slow: str) -> dict[str, type[ViewError]]:
    words: dict[type[ViewError], str] = {ViewDenied: denied, ViewChanged: changed, ViewSlow: slow}
    return {code: kind for kind, codes in words.items() for code in codes.split("|")}


# SQLite takes a name in double quotes that is no column for a text.
DRIVERS: dict[str, Driver] = {
    "sqlite": Driver(
        "sqlite3", "", "?", ("`", "`"), "SELECT {columns} {rest} LIMIT {rows}", _sqlite, _sqlite_code,
        _codes("readonly", "no such table|no such column|not a database", "interrupted"),
    ),
    "postgresql": Driver(
        "psycopg", "postgres", "%s", ('"', '"'), "SELECT {columns} {rest} LIMIT {rows}", _postgresql, _postgresql_code,
        _codes("28000|28P01|42501|25006", "42P01|42703|42804|42883|22007|22P02|3F000", "57014"),
    ),
    "mysql": Driver(
        "pymysql", "mysql", "%s", ("`", "`"), "SELECT {columns} {rest} LIMIT {rows}", _mysql, _first_argument,
        _codes("1044|1045|1142|1143|1227|1370", "1054|1146|1356", "1969|3024|1317"),
    ),
    "sqlserver": Driver(
        "pytds", "sqlserver", "%s", ("[", "]"), "SELECT TOP {rows} {columns} {rest}", _sqlserver,
        _sqlserver_code, _codes("18456|229|230|916|4060", "207|208|245", "timeout"),
    ),
    "oracle": Driver(
        "oracledb", "oracle", ":{}", ('"', '"'), "SELECT * FROM (SELECT {columns} {rest}) WHERE ROWNUM <= {rows}",
        _oracle, _oracle_code, _codes("ORA-01017|ORA-01031|ORA-28000", "ORA-00904|ORA-00942", "DPY-4024"),
        begin="SET TRANSACTION READ ONLY",
    ),
}  # fmt: skip
