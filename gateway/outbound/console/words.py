"""The console's words: states, formats, and what to do about each code."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import GatewayError
from ...model.outcome import Finding, State
from ..pages.words import Mark

STATES = {
    State.RECEIVED: Mark("judge", "late", "等待处理"),
    State.PROCESSED: Mark("yes", "ok", "已处理"),
    State.QUARANTINED: Mark("no", "no", "已隔离"),
    State.PARKED: Mark("judge", "late", "挂起待关联"),
}
FORMATS = {"v2": "HL7 v2", "cda": "CDA", "csv": "CSV", "json": "JSON", "dicom": "DICOM", "fhir": "FHIR"}
_SEVERITIES = {
    "fatal": Mark("no", "no", "严重"),
    "error": Mark("no", "no", "错误"),
    "warning": Mark("judge", "judge", "提示"),
    "information": Mark("", "ok", "说明"),
}
_ADVICE = {
    "GW-INB-003": "拆成较小的文件或消息后重发。",
    "GW-INB-004": "核对 MSH-3、MSH-4 或推送地址中的来源名；新来源先写进成员的 source.yaml，启用后重新处理这些消息。",
    "GW-INB-005": "同一控制号不能承载两份内容：换新号重发；每天从 1 编号的系统请管理员设 control_id: untrusted。",
    "GW-INB-030": "一般无须处理：所依据的登记或就诊到达后自动处理；久等不到时请来源系统补发那条消息。",
    "GW-INB-031": "核对被引用的号码；补发缺少的登记或就诊后，本条自动处理。",
    "GW-INB-050": "核对数据库是否开着、地址和端口是否可达；恢复后自动接着读，不丢行。",
    "GW-INB-051": "核对用户、口令文件和权限；改好后自动接着读。",
    "GW-INB-052": "核对视图名、列名和类型，改视图或 source.yaml；可用 gateway try --view 来源 先看。",
    "GW-INB-053": "请数据库管理员给 changed 列建索引，或减小 page_rows、加大 timeout_s。",
    "GW-INB-054": "请来源系统补上 key 和 changed 的值；补上之前读不到这些行。",
    "GW-TRN-001": "按位置核对原文的结构；可在试译页修改后再试。",
    "GW-TRN-002": "请来源系统补上该字段后重发；若标准不要求它，请管理员改映射后重新处理。",
    "GW-TRN-003": "核对消息类型；需要接入的新类型先写映射，再重新处理。",
    "GW-TRN-004": "按位置核对该值的写法（数字、日期、代码），改正后重发；该系统一直这样写的，请改映射后重新处理。",
    "GW-TRN-005": "按实际字符集发送，或请管理员改来源的 charset 后重新处理。",
    "GW-TRN-006": "按行号修正 XML；不要带 DOCTYPE。",
    "GW-TRN-007": "该行的列数与表头不同：核对引号与分隔符，改正后重发。",
    "GW-TRN-008": "核对影像文件是否完整，患者与检查的标识是否齐全。",
    "GW-TRN-009": "核对发送系统的时钟与该日期，改正后重发。",
    "GW-TRN-010": "按位置修正 JSON 后重发。",
    "GW-IDN-002": "先发送登记该号码的消息，再重新处理本条。",
    "GW-IDN-003": "本地号被换了人：请核对登记后重发，身份由复核确定。",
    "GW-IDN-004": "该影像的检查号属于另一位居民：请核对检查登记后重发。",
    "GW-IDN-010": "一般无须处理：由人工复核决定是否同一人；来源补上证件号可免去复核。",
    "GW-IDN-011": "请来源系统核对并更正证件号后重发（A08 等）；更正之前只凭本地号认人。",
    "GW-IDN-012": "请来源系统核对：急诊无名患者补登姓名的无须处理；号码给了另一位居民的，请改用新号并通知管理员。",
    "GW-REV-004": "无须处理：后来的消息说过的内容保持不变。",
    "GW-REV-005": "无须处理；请来源系统按就诊现在的患者发送。",
    "GW-REV-006": "同一人的，请来源系统发合并消息（A40）或由主索引复核认定，引用随即补上；不是的，请核对单号。",
    "GW-REV-008": "是更正的无须处理；不是的，请核对号码，双方都重发；号码会重复的，映射的 id 里要加能区分的字段。",
    "GW-REV-007": "无须处理；若撤回有误，请影像归档以新的 UID 重发正确的影像。",
    "GW-VAL-001": "映射产出的资源不合结构：请管理员按位置改映射后重新处理。",
    "GW-MAP-001": "在该成员的码表中补上这个代码，再重新处理；补上之前结果照常显示。",
    "GW-MAP-002": "在提示的码表中补上这个取值，再重新处理。",
    "GW-MAP-003": "请来源系统把数值与文字分开；在此之前按文字显示，不能成图。",
    "GW-MAP-004": "在该成员的 codes/units.csv 中补上这个单位写法（结果旁边的 OBX-6 等），再重新处理。",
    "GW-MAP-005": "请来源系统声明并使用 UTF-8 或 GB18030。",
    "GW-MAP-006": "让声明与实际一致可免去此说明；内容已按实际读取。",
    "GW-MAP-007": "在映射的标识里加上能区分两行的字段。",
    "GW-MAP-008": "该事件按同结构的映射处理；需要不同的含义时，为它写一个映射后重新处理。",
    "GW-MAP-009": "该事件只按段读取；合并、移动等含义须写映射后重新处理才会生效。",
    "GW-MAP-011": "请来源系统在该字段发送带钟点的时间（如 202603090805）后重发；在此之前不显示该时间，原文照常保存。",
    "GW-MAP-012": "一般无须处理：FHIR R4 在此只有日期；需要钟点的，请在映射中写明它的去处。",
    "GW-MAP-013": "请来源系统把单位写进结果文字，或以数值发送结果；原文照常保存。",
    "GW-MAP-014": "请在影像设备或影像归档中改正该值后重发；影像已照常入库。",
}
_GENERAL = "查看错误手册；需要帮助时请提供消息号。"


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding as it is shown: how bad, where, what, what to do."""

    mark: Mark
    code: str
    place: str
    text: str
    advice: str


def remark(finding: Finding) -> Remark:
    """A finding in words; of the Chinese sentence without the place, which stands beside it."""
    text = finding.zh.partition(" [位置：")[0] if finding.place else finding.zh
    return Remark(_SEVERITIES[finding.severity], finding.code, finding.place, text, advice(finding.code))


def advice(code: str) -> str:
    """What to do about a code."""
    return _ADVICE.get(code, _GENERAL)


def sentence(code: str) -> str:
    """What a code says, "" for one that is no error of ours."""
    return next((one.zh for one in _family(GatewayError) if one.code == code), "")


def _family(root: type[GatewayError]) -> list[type[GatewayError]]:
    return [root, *(found for child in root.__subclasses__() for found in _family(child))]


def size_text(size: int) -> str:
    """`456 字节`, `3.2 KB`, `1.4 MB`."""
    if size < 1024:
        return f"{size} 字节"
    return f"{size / 1024:.1f} KB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.1f} MB"
