"""Verdicts and reasons of 互认, with stable codes.

01–08, 98, 99 are the reasons a doctor may give for repeating what could be recognised (the first five
recur in the national regulation 国卫医发〔2022〕6号 and local notices). The worded codes say why the rules
do not recognise a result. Published as `profiles/codesystem/recognition-*.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Verdict(StrEnum):
    """What the rules say of one result. A doctor's conclusion never gets one."""

    YES = "yes"
    YES_IMAGES = "yes-images"
    JUDGE = "judge"
    NO = "no"

    @property
    def zh(self) -> str:
        """The words a doctor reads."""
        return _VERDICTS[self][0]

    @property
    def en(self) -> str:
        """The same in English."""
        return _VERDICTS[self][1]

    @property
    def recognisable(self) -> bool:
        """True for both kinds of yes."""
        return self in (Verdict.YES, Verdict.YES_IMAGES)


_VERDICTS = {
    Verdict.YES: ("可互认", "Recognisable"),
    Verdict.YES_IMAGES: ("可互认（需阅片）", "Recognisable after viewing the images"),
    Verdict.JUDGE: ("需医生判断", "For the doctor to judge"),
    Verdict.NO: ("不可互认", "Not recognisable"),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. zh is short and goes into the copied sentence; `detail` is what only the page shows.

    counts: a repeat for this reason counts as "not recognised" in statistics (98 and 99 do not).
    """

    code: str
    zh: str
    en: str
    detail: str = ""
    counts: bool = True

    @property
    def text(self) -> str:
        """`已过时效（电解质 7 天）`."""
        return f"{self.zh}（{self.detail}）" if self.detail else self.zh

    def because(self, detail: str) -> Reason:
        """The same reason with this detail."""
        return replace(self, detail=detail)

    def worded(self, zh: str) -> Reason:
        """The same code in the area's own short words."""
        return replace(self, zh=zh)


FOR_REPEATING: tuple[Reason, ...] = (
    Reason(
        "01",
        "病情变化，结果与临床表现或诊断不符，不能满足诊疗需要",
        "The condition changed; the result does not fit the clinical picture or cannot meet the need",
    ),
    Reason("02", "结果在疾病发展过程中变化较快", "The result changes quickly in the course of the disease"),
    Reason(
        "03",
        "对治疗措施选择意义重大（手术、输血等前）",
        "Decisive for the treatment (before operation, transfusion and other major measures)",
    ),
    Reason("04", "急诊、急救等紧急状态", "Emergency or rescue"),
    Reason("05", "司法、伤残、病退等鉴定", "Judicial, disability or retirement appraisal"),
    Reason("06", "须由有资质的机构检查", "Reserved to qualified institutions"),
    Reason("07", "主诊医师认为确有必要", "The attending doctor considers it necessary"),
    Reason("08", "其他，请写明", "Other, to be stated"),
    Reason("98", "未收到院外影像或报告", "Outside images or report not received", counts=False),
    Reason("99", "需连续监测", "Continuous monitoring is needed", counts=False),
)
"""What a doctor chooses from when repeating a recognisable item, in the order shown."""

EXPIRED = Reason("expired", "已过时效", "Older than its window")
EQA_FAILED = Reason("eqa-failed", "质评未通过", "External quality assessment failed")
EQA_MISSING = Reason("eqa-missing", "无质评证据", "No evidence of external quality assessment")
EQA_LAPSED = Reason("eqa-lapsed", "质评已过期", "The quality assessment had lapsed when the result was made")
MARK_WITHOUT_EVIDENCE = Reason(
    "mark-without-evidence", "有互认标识而无质评证据", "Carries a recognition mark without quality evidence"
)
NOT_FINAL = Reason("not-final", "非终审", "Not a final result")
CANCELLED = Reason("cancelled", "已取消或作废", "Cancelled or void")
NO_RESULT = Reason("no-result", "无结果", "No result was measured")
DOUBTFUL = Reason("doubtful", "检验科提示标本或结果有疑问", "The laboratory doubts the specimen or the result")
OTHER_SPECIMEN = Reason("other-specimen", "标本与项目不符", "The specimen is not one the item is measured in")
NO_SPECIMEN = Reason("no-specimen", "只凭名称认出，标本未写明", "Known by its name alone, of an unknown specimen")
POINT_OF_CARE = Reason(
    "point-of-care",
    "床旁检测，检验科的质评不涵盖",
    "Tested at the bedside; the laboratory's assessment does not cover it",
)
NEWER = Reason("newer", "已有更新的结果", "There is a newer result of the same item")
NOT_LISTED = Reason("not-listed", "规则未列", "The rules do not list this item")
OUT_OF_SCOPE = Reason("out-of-scope", "不在互认范围", "Producer and viewer share no scope of recognition")
LOWER_LEVEL = Reason("lower-level", "来源机构级别较低", "The producing member is of a lower level")
NO_IMAGES = Reason("no-images", "无影像", "The images cannot be viewed")
BODY_PART = Reason("body-part", "部位或设备与项目不符", "Body part or modality does not fit the item")
POSITIVE = Reason("positive", "不是明确的阴性，须复核", "What is not plainly negative needs confirmation")
NO_TIME = Reason("no-time", "缺起算时间", "The time the window starts from is missing")
FUTURE = Reason("future", "报告时间在未来", "The report time lies in the future")
NO_ITEMS = Reason("no-items", "无逐项结果", "The report has no structured items")
UNKNOWN_MEMBER = Reason("unknown-member", "来源机构未登记", "The producing member is not in the directory")

WHY_NOT: tuple[Reason, ...] = (
    EXPIRED,
    EQA_FAILED,
    EQA_MISSING,
    EQA_LAPSED,
    MARK_WITHOUT_EVIDENCE,
    NOT_FINAL,
    CANCELLED,
    NO_RESULT,
    DOUBTFUL,
    OTHER_SPECIMEN,
    NO_SPECIMEN,
    POINT_OF_CARE,
    NEWER,
    NOT_LISTED,
    OUT_OF_SCOPE,
    LOWER_LEVEL,
    NO_IMAGES,
    BODY_PART,
    POSITIVE,
    NO_TIME,
    FUTURE,
    NO_ITEMS,
    UNKNOWN_MEMBER,
)
"""What the rules say when a result is not simply recognisable (besides 02)."""

IN_WINDOW = Reason("in-window", "时效内", "Within its window")
EQA_PASSED = Reason("eqa-passed", "质评合格", "External quality assessment passed")
VIEW_IMAGES = Reason("view-images", "须阅片后采用", "To be used after viewing the images")
OWN_RESULT = Reason("own-result", "本机构结果", "Made by the viewer's own member")

WHY: tuple[Reason, ...] = (IN_WINDOW, EQA_PASSED, VIEW_IMAGES, OWN_RESULT)
"""What speaks for a recognisable result."""

BY_CODE = {reason.code: reason for reason in (*FOR_REPEATING, *WHY_NOT, *WHY)}
"""Every reason by its code."""
