"""Messages to try, read from the shipped fixtures; their times are moved to today."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import NotFound
from ...model.times import CHINA

_PLACE = re.compile(r"\[\[([0-9T:+-]+)\|([^\]]+)\]\]")
_WRITTEN = datetime(2026, 3, 20, tzinfo=CHINA)  # the day the fixtures are written for


@dataclass(frozen=True, slots=True)
class Sample:
    """`charset`: what its sender uses."""

    key: str
    title: str
    source: str
    charset: str
    path: str


SAMPLES = (
    Sample("hello", "第一条消息", "city_first_hospital", "utf-8", "hello.hl7"),
    Sample(
        "pct", "同名项目 PCT（马晓梅）", "county_tcm_hospital", "gb18030",
        "county_tcm_hospital/oru_r01/ma_xiaomei_pct_twice/input.hl7",
    ),
    Sample(
        "rare", "生僻字（张珅）", "county_tcm_hospital", "gb18030",
        "county_tcm_hospital/oru_r01/zhang_shen_liver/input.hl7",
    ),
    Sample(
        "units", "旧单位（刘桂兰）", "county_tcm_hospital", "gb18030",
        "county_tcm_hospital/oru_r01/liu_guilan_kidney_old_units/input.hl7",
    ),
    Sample(
        "document", "共享文档（周敏）", "county_people_hospital", "utf-8",
        "county_people_hospital/c0007/kidney_wrong_patient/input.xml",
    ),
    Sample(
        "table", "门诊表格", "township_health_centre", "gb18030",
        "township_health_centre/visits/morning/input.csv",
    ),
)  # fmt: skip


def sample(key: str) -> Sample:
    """The sample of that key. Raises NotFound."""
    found = next((one for one in SAMPLES if one.key == key), None)
    if found is None:
        raise NotFound(f"/console/try?sample={key[:24]}")
    return found


def text_of(one: Sample, folder: Path, now: datetime) -> str:
    """Its text with every time spelled out, as many whole days later as today is. Raises NotFound without the file."""
    path = folder / one.path
    if not path.is_file():
        raise NotFound(one.path)
    later = timedelta(days=(now.astimezone(CHINA).date() - _WRITTEN.date()).days)

    def spelled(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[1]) + later).strftime(found[2])

    return _PLACE.sub(spelled, path.read_text(encoding="utf-8"))
