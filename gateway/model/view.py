"""A database view of a member that is read like a file: what `source.yaml` says of it, and how reading it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DRIVERS = ("sqlite", "postgresql", "mysql", "sqlserver", "oracle")


@dataclass(frozen=True, slots=True)
class Claim:
    """A column of an intermediate table that says whether a row was taken. open "": NULL."""

    column: str
    taken: str
    open: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """One view or table, `view:` of a source.

    name: `V_MZJL` or `his.V_MZJL`. columns: column → heading in the CSV its rows become; empty = all, under their own
    names. key: columns that tell a row from all others. changed: the column whose value grows with every change of a
    row, a time or a number ("" only with a claim); since: where the first reading begins. overlap: how far below the
    newest `changed` every reading begins, in seconds of a time or in steps of a number.
    password_env, password_file: where the password is; never the password itself. options: handed to the driver.
    """

    driver: str
    database: str
    name: str
    key: tuple[str, ...]
    host: str = ""
    port: int = 0
    user: str = ""
    password_env: str = ""
    password_file: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    changed: str = ""
    since: str = ""
    overlap: int = 600
    page_rows: int = 500
    every_s: int = 30
    timeout_s: int = 30
    claim: Claim | None = None

    def heading(self, column: str) -> str:
        """What a column is called in the CSV."""
        return self.columns.get(column, column)

    @property
    def address(self) -> str:
        """`mysql 10.1.2.3:3306/his`, for places of errors; no user, no password."""
        at = f"{self.host}{f':{self.port}' if self.port else ''}/" if self.host else ""
        return f"{self.driver} {at}{self.database}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a view is not read, or not all of it, as the operator is told."""

    code: str
    place: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How reading a view goes. read_at: epoch seconds of the last reading to the end, 0 = never; rows: taken so far.

    fault: what stops it now, since `failing_at`. left_out: what it cannot read although it reads the rest.
    """

    view: str
    read_at: float = 0.0
    rows: int = 0
    fault: Fault | None = None
    failing_at: float = 0.0
    left_out: Fault | None = None
