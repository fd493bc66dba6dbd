"""Which facts of a CDA document stand together in one row: items, drugs, orders, diagnoses, procedures.

A row is recognised by data-element codes, never by nesting: vendors write one laboratory item as an
organizer, as flat siblings in order, or all items in one organizer, and mean the same.
Sources: WS/T 500-2016 entries per document (china-standards §4.4), WS/T 363 data-element codes.
"""

from __future__ import annotations

import re

_SPELLING = re.compile(r"DE\d\d\.\d\d\.\d{3}(\.\d\d)?")

ROW_OF: dict[str, str] = {
    "DE04.30.019": "items",  # 检验项目代码
    "DE04.50.134": "items",  # 标本类别
    "DE04.50.135": "items",  # 标本状态
    "DE08.50.027": "items",  # 固定液
    "DE04.30.017": "items",  # 检查/检验结果代码
    "DE04.30.015": "items",  # 检查/检验定量结果
    "DE04.30.016": "items",  # 计量单位
    "DE05.01.024": "diagnoses",  # 诊断代码
    "DE05.01.025": "diagnoses",  # 诊断名称
    "DE05.01.058": "diagnoses",  # 诊断日期
    "DE05.01.080": "diagnoses",  # 诊断顺位
    "DE09.00.104": "diagnoses",  # 入院病情
    "DE06.00.289": "orders",  # 医嘱项目类型
    "DE06.00.288": "orders",  # 医嘱项目内容
    "DE06.00.290": "orders",  # 医嘱执行状态
    "DE01.00.008": "orders",  # 申请单号
}
"""Data elements that are columns of a table; every other one is a column of the document itself."""

BESIDE_DRUG = frozenset({"DE08.50.043", "DE06.00.135", "DE06.00.294", "DE08.50.056", "DE06.00.136", "DE06.00.179"})
"""规格, 总剂量, 有效天数, 处方组号, 用药方法, 备注: they belong to the drug before them in the same section."""

BESIDE_ORDER = frozenset({"DE06.00.179", "DE08.50.056", "DE06.00.286"})
"""备注, 组号, 类别 belong to the order they stand in."""

ORDER_CLASS = "DE06.00.286"
"""医嘱类别 (长期, 临时, 出院带药) stands once before the orders it is of."""

ROW_ELEMENTS = {"substanceAdministration": "drugs", "procedure": "procedures"}
"""Entries that are a row by themselves."""


def data_element(code: str) -> str:
    """`DE04.30.019` of `DE04.30.019.00`, sub-codes other than `.00` kept; "" for a code of another kind."""
    if not _SPELLING.fullmatch(code):
        return ""
    return code[:-3] if code.endswith(".00") and len(code) == 14 else code


TITLES = [
    "病历概要",
    "门(急)诊病历",
    "急诊留观病历",
    "西药处方",
    "中药处方",
    "检查报告",
    "检验报告",
    "治疗记录",
    "一般手术记录",
    "麻醉术前访视记录",
    "麻醉记录",
    "麻醉术后访视记录",
    "输血记录",
    "待产记录",
    "阴道分娩记录",
    "剖宫产记录",
    "一般护理记录",
    "病重(病危)护理记录",
    "手术护理记录",
    "生命体征测量记录",
    "出入量记录",
    "高值耗材使用记录",
    "入院评估",
    "护理计划",
    "出院评估与指导",
    "手术知情同意书",
    "麻醉知情同意书",
    "输血治疗同意书",
    "特殊检查及特殊治疗同意书",
    "病危(重)通知书",
    "其他知情告知同意书",
    "住院病案首页",
    "中医住院病案首页",
    "入院记录",
    "24h内入出院记录",
    "24h内入院死亡记录",
    "首次病程记录",
    "日常病程记录",
    "上级医师查房记录",
    "疑难病例讨论记录",
    "交接班记录",
    "转科记录",
    "阶段小结",
    "抢救记录",
    "会诊记录",
    "术前小结",
    "术前讨论",
    "术后首次病程记录",
    "出院记录",
    "死亡记录",
    "死亡病例讨论记录",
    "住院医嘱",
    "出院小结",
]
"""Titles of the 53 shared documents; the n-th is document C00nn, template …2.1.1.(20+n) (WS/T 500-2016)."""

_DOCUMENT_CODE = re.compile(r"C00(0[1-9]|[1-4]\d|5[0-3])")
_TEMPLATE = re.compile(r"2\.16\.156\.10011\.2\.1\.1\.(\d\d)")
_BRACKETS = str.maketrans("（）", "()", " \u3000\t\n")


def document_kind(code: str, title: str, template: str) -> str:
    """`C0007` from the document's code, else its title, else its template id; "" when none of them is known.

    In this order, because published templates carry wrong template ids (china-standards §4.1).
    """
    if _DOCUMENT_CODE.fullmatch(code.strip().upper()):
        return code.strip().upper()
    plain = title.translate(_BRACKETS)
    named = [number for number, known in enumerate(TITLES, 1) if plain == known or plain.endswith(known)]
    if named:
        return f"C{max(named, key=lambda number: len(TITLES[number - 1])):04d}"
    found = _TEMPLATE.fullmatch(template.strip())
    number = int(found[1]) - 20 if found else 0
    return f"C{number:04d}" if 1 <= number <= len(TITLES) else ""
