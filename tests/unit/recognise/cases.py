"""The shipped rule sheet, the twenty chemistry items of 何春花, and a decision for the township clinic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from gateway.model.directory import Directory
from gateway.model.resource import Json
from gateway.recognise.decide import ReportDecision, Viewer, decide
from gateway.recognise.listing import RuleSheet
from gateway.recognise.newest import Newest
from gateway.recognise.rules import load
from tests.builders import M1, M4, NOW, an_observation, the_directory

SHEET = load(Path(__file__).parents[3] / "profiles/recognition/990101-2026.yaml")
TOWNSHIP = Viewer(M4, "qingshi_county")

CHEMISTRY = [
    ("总蛋白", "72.1", "g/L", "2885-2"),
    ("白蛋白", "43.6", "g/L", "1751-7"),
    ("丙氨酸氨基转移酶", "52", "U/L", "1742-6"),
    ("天门冬氨酸氨基转移酶", "38", "U/L", "1920-8"),
    ("碱性磷酸酶", "88", "U/L", "6768-6"),
    ("γ-谷氨酰转移酶", "61", "U/L", "2324-2"),
    ("总胆红素", "14.2", "μmol/L", "14631-6"),
    ("直接胆红素", "3.9", "μmol/L", "14629-0"),
    ("尿素", "5.6", "mmol/L", "22664-7"),
    ("肌酐", "63", "μmol/L", "14682-9"),
    ("尿酸", "366", "μmol/L", "14933-6"),
    ("葡萄糖", "6.4", "mmol/L", "14749-6"),
    ("总胆固醇", "5.42", "mmol/L", "14647-2"),
    ("甘油三酯", "2.10", "mmol/L", "14927-8"),
    ("高密度脂蛋白胆固醇", "1.18", "mmol/L", "14646-4"),
    ("低密度脂蛋白胆固醇", "3.31", "mmol/L", "22748-8"),
    ("钾", "4.3", "mmol/L", "2823-3"),
    ("钠", "140", "mmol/L", "2951-2"),
    ("氯", "103", "mmol/L", "2075-0"),
    ("钙", "2.31", "mmol/L", "2000-8"),
]


def chemistry() -> list[Json]:
    """The twenty items of 何春花, issued 2026-03-08 10:00."""
    return [
        an_observation(f"o{n}", name, value, unit, loinc=loinc)
        for n, (name, value, unit, loinc) in enumerate(CHEMISTRY)
    ]


def decided(
    report: Json,
    items: Sequence[Json] = (),
    studies: Sequence[Json] = (),
    *,
    producer: str = M1,
    viewer: Viewer = TOWNSHIP,
    sheet: RuleSheet = SHEET,
    directory: Directory | None = None,
    images_answer: bool = True,
    at: datetime = NOW,
    specimens: Sequence[Json] = (),
    newest: Newest | None = None,
) -> ReportDecision:
    return decide(
        report,
        items,
        studies,
        sheet,
        producer=producer,
        viewer=viewer,
        directory=directory or the_directory(),
        images_answer=images_answer,
        at=at,
        specimens={str(one.get("id", "")): one for one in specimens},
        newest=newest,
    )
