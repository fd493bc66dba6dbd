"""Who looked at this record: audit rows as lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ...model.directory import Directory
from ...store.base import AuditRow
from . import moments
from .guard import PURPOSES
from .moments import When

_ROLES = {
    "doctor": "医生", "vendor": "厂商", "platform": "平台", "admin": "管理员", "monitor": "监控", "source": "来源系统",
}  # fmt: skip
_KINDS = {
    "rest": "接口",
    "export": "导出",
    "login": "登录",
    "merge": "主索引",
    "message": "消息",
    "page": "页面",
    "security": "安全",
}
_SUBTYPES = {
    "summary": "健康摘要",
    "visits": "就诊与文书",
    "labs": "检验累积表",
    "cultures": "微生物",
    "imaging": "检查",
    "viewer": "影像浏览",
    "image": "影像一幅",
    "medication": "用药",
    "recognise": "互认",
    "decide": "记录互认决定",
    "statistics": "互认统计",
    "report": "报告单",
    "document": "文书",
    "original": "原始文档",
    "attachment": "报告附件",
    "access": "调阅记录",
    "glass": "说明破玻璃理由",
    "110127": "破玻璃",
    "prescriptions": "处方",
    "dicom": "影像",
    "search": "查找结果",
    "start": "查找页",
    "read": "读取",
    "vread": "读取旧版",
    "search-type": "查询",
    "operation": "操作",
    "create": "新建",
    "update": "更新",
    "delete": "删除",
}
_RECEIVED = "已收入"
_OUTCOMES = {"0": "已显示", "4": "已拒绝", "8": "出错"}


@dataclass(frozen=True, slots=True)
class AccessRow:
    """One line. emergency: under break-glass or emergency purpose, set apart."""

    at: When
    who: str
    role: str
    member: str
    what: str
    purpose: str
    outcome: str
    emergency: bool


def access_rows(rows: Iterable[AuditRow], directory: Directory, now: datetime) -> tuple[AccessRow, ...]:
    """Lines of the access page, in the order given."""
    return tuple(_line(row, directory, now) for row in rows)


def _line(row: AuditRow, directory: Directory, now: datetime) -> AccessRow:
    member = directory.members.get(row.member)
    kind = _KINDS.get(row.kind, row.kind)
    return AccessRow(
        at=moments.of(row.at, now, full=True),
        who=row.display,
        role=_ROLES.get(row.role, row.role),
        member=member.name if member else row.member,
        what=f"{kind} · {_SUBTYPES.get(row.subtype, row.subtype)}",
        purpose=PURPOSES.get(row.purpose, row.purpose),
        outcome=_RECEIVED if (row.kind, row.outcome) == ("message", "0") else _OUTCOMES.get(row.outcome, row.outcome),
        emergency=row.purpose in ("ETREAT", "BTG"),
    )
