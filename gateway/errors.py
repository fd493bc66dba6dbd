"""The table of every error the gateway can answer with: one class each, with its code, place and advice.

A door renders an error as OperationOutcome, as ACK + ERR, as a Chinese sentence or as a log event,
from the class attributes alone. Texts say what failed, where, and what to do next; they never carry
a name, a card number or a phone (design §5, reliability-security T12).

Families: CFG configuration · INB doors and inbox · TRN translation · IDN identity · VAL validation ·
STO store · FHR FHIR interactions · SEC access.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Self

from .model.outcome import Finding, Outcome, State
from .model.resource import Json


class GatewayError(Exception):
    """Base of all. `place` is where the fault is; `detail` completes the sentence."""

    code: ClassVar[str] = "GW-000"
    issue: ClassVar[str] = "exception"  # OperationOutcome.issue.code, FHIR R4 IssueType
    http: ClassVar[int] = 500
    ack: ClassVar[tuple[str, str]] = ("AE", "207")  # HL7 tables 0008 and 0357
    dimse: ClassVar[int] = 0x0110  # C-STORE status, DICOM PS3.4 §B.2.3 and PS3.7 annex C
    rejection: ClassVar[tuple[int, int, int]] = (1, 1, 1)  # result, source, reason: DICOM PS3.8 §9.3.4
    retry: ClassVar[bool] = False  # True: the same bytes may pass later
    zh: ClassVar[str] = "网关内部错误，已记录。"
    en: ClassVar[str] = "Internal error; it was recorded."
    kind: str = ""  # of the message it happened to, `ORU^R01`, as far as known
    mapping: str = ""  # version of the mapping that was tried on that message

    def __init__(self, place: str = "", detail: str = "", *, detail_zh: str = "") -> None:
        self.place = place
        self.detail = detail
        self.detail_zh = detail_zh or detail
        super().__init__(f"{self.code} {place} {self.en} {detail}".strip())

    @staticmethod
    def of(code: str, place: str = "") -> GatewayError:
        """The error of a code, as far as a finding remembers it."""
        todo: list[type[GatewayError]] = [GatewayError]
        while todo:
            one = todo.pop()
            if one.code == code:
                return one(place)
            todo += one.__subclasses__()
        return GatewayError(place)

    def within(self, place: str) -> Self:
        """The same fault seen from further out: `place`, then its own place."""
        self.place = f"{place}.{self.place}" if self.place else place
        return self

    def sentence_zh(self) -> str:
        """One Chinese sentence: what, where, what next."""
        return _sentence(self.zh, self.place, self.detail_zh, "位置：")

    def sentence_en(self) -> str:
        """The same in English."""
        return _sentence(self.en, self.place, self.detail, "at ")

    def about(self, kind: str, mapping: str) -> Self:
        """The same fault, of a message of this kind under this version of its mapping."""
        self.kind, self.mapping = kind, mapping
        return self

    def finding(self) -> Finding:
        """As a finding of severity error, for the outcome kept beside the raw message."""
        return Finding(self.code, "error", self.place, self.sentence_zh(), self.sentence_en())

    def refusal(self, key: str, state: State = State.QUARANTINED) -> Outcome:
        """As the outcome of a message that made nothing because of it."""
        return Outcome(key, state, self.kind, self.mapping, (self.finding(),))

    def operation_outcome(self) -> Json:
        """FHIR R4 OperationOutcome with one issue."""
        return operation_outcome(self.finding(), issue=self.issue)


def _sentence(text: str, place: str, detail: str, at: str) -> str:
    tail = f" [{at}{place}]" if place else ""
    return f"{text} {detail}{tail}".strip() if detail else f"{text}{tail}"


def operation_outcome(*findings: Finding, issue: str = "invalid") -> Json:
    """OperationOutcome from findings; Chinese in `details.text`, English in `diagnostics`."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(f, issue) for f in findings]}


def _issue(finding: Finding, issue: str) -> Json:
    out: Json = {
        "severity": finding.severity,
        "code": "informational" if finding.severity == "information" else issue,
        "details": {
            "coding": [{"system": "urn:alliance-gateway:codesystem:error", "code": finding.code}],
            "text": finding.zh,
        },
        "diagnostics": finding.en,
    }
    if finding.place:
        out["expression"] = [finding.place]
    return out


# ---- CFG ------------------------------------------------------------------------------------
class ConfigError(GatewayError):
    """The configuration cannot be used; the start is refused."""

    code = "GW-CFG-001"
    issue = "invalid"
    zh = "配置无法使用，没有执行。"
    en = "The configuration cannot be used; nothing was started."


class UnsafeStore(ConfigError):
    """The database engine or its settings could lose acknowledged data."""

    code = "GW-CFG-002"
    zh = "数据库设置不安全，可能丢失已应答的数据。"
    en = "The database is set up in a way that may lose acknowledged data."


class MappingError(ConfigError):
    """A mapping file is wrong; place is file:line."""

    code = "GW-CFG-003"
    zh = "映射文件有错。"
    en = "A mapping file is wrong."


class StoreInUse(UnsafeStore):
    """Another process has this home open; one home belongs to one gateway."""

    code = "GW-CFG-004"
    zh = "这个数据目录正由另一个进程使用。请先停止它，或换一个 gateway.home。"
    en = "Another process uses this home; stop it first, or set another gateway.home."


class BrokenArchive(ConfigError):
    """A backup that cannot be restored; nothing was restored from it."""

    code = "GW-CFG-005"
    zh = "备份文件不完整、被改动过，或不适用于这里；没有恢复任何数据。"
    en = "The backup is incomplete, was changed, or does not fit here; nothing was restored."


class MappingUnfit(ConfigError):
    """New mappings compile but must not serve yet; place names what speaks against them."""

    code = "GW-CFG-006"
    zh = "新映射没有启用，仍用原来的映射。"
    en = "The new mappings were not put to use; the present ones go on serving."


class NewerRelease(UnsafeStore):
    """Data, or a backup of it, whose schema this release does not know."""

    code = "GW-CFG-007"
    zh = "数据由更新的版本写成，本版本不能使用，没有改动任何内容。请装回那个版本。"
    en = "The data was written by a newer release, which this one cannot use; nothing was changed. Install that one."


# ---- INB ------------------------------------------------------------------------------------
class InboundError(GatewayError):
    """A door could not take the bytes."""

    code = "GW-INB-001"
    issue = "structure"
    http = 400
    ack = ("AR", "207")
    dimse = 0xC000
    zh = "收到的内容无法识别。"
    en = "What was received cannot be recognised."


class BrokenFrame(InboundError):
    """MLLP framing is broken: no start byte, or the end never came."""

    code = "GW-INB-002"
    zh = "MLLP 帧不完整：缺少起始符 0x0B 或结束符 0x1C 0x0D。"
    en = "The MLLP frame is broken: start byte 0x0B or end bytes 0x1C 0x0D are missing."


class TooLarge(InboundError):
    """Body above the limit of the door."""

    code = "GW-INB-003"
    issue = "too-long"
    http = 413
    zh = "内容超过大小上限。请拆分后再发。"
    en = "The body is larger than allowed; split it and send again."


class UnknownSource(InboundError):
    """No configured source fits this sender."""

    code = "GW-INB-004"
    issue = "not-found"
    http = 404
    ack = ("AR", "207")
    dimse = 0x0124
    zh = "没有登记的来源与此发送方相符。请核对 MSH-3/MSH-4 或推送地址里的来源名。"
    en = "No configured source fits this sender; check MSH-3/MSH-4 or the source name in the address."


class ControlIdReused(InboundError):
    """The same control or document id came with different content."""

    code = "GW-INB-005"
    issue = "duplicate"
    http = 409
    ack = ("AE", "205")
    zh = (
        "同一消息编号带来了不同内容，已单独保存，没有处理。"
        "请换新编号重发；编号会重复使用的来源，请设 control_id: untrusted。"
    )
    en = (
        "The same control id came with different content; it was kept apart and not processed. "
        "Send it under a new id, or set control_id: untrusted for a source that reuses ids."
    )


class InboxFull(InboundError):
    """Back-pressure: nothing was kept; send again later."""

    code = "GW-INB-006"
    issue = "throttled"
    http = 503
    ack = ("AE", "207")
    dimse = 0xA700
    retry = True
    zh = "收件箱已满，请 30 秒后重发。"
    en = "The inbox is full; send again in 30 seconds."


class StorageFull(InboxFull):
    """The disk took no more bytes; nothing was acknowledged."""

    code = "GW-INB-007"
    http = 507
    zh = "存储空间不足，未保存，请稍后重发。"
    en = "No space left, nothing was kept; send again later."


class SlowRequest(InboundError):
    """Head or body did not arrive within its time."""

    code = "GW-INB-008"
    issue = "timeout"
    http = 408
    ack = ("AE", "207")
    retry = True
    zh = "请求接收超时，请重新发送。"
    en = "The request took too long to arrive; send it again."


class MissingFile(InboundError):
    """A file or folder named on the command line is not there."""

    code = "GW-INB-009"
    issue = "not-found"
    http = 404
    zh = "没有这个文件或目录。"
    en = "There is no such file or folder."


class BadRequest(InboundError):
    """A request line or head that is not HTTP."""

    code = "GW-INB-020"
    zh = "请求行或请求头不是合法的 HTTP。"
    en = "The request line or a header is not HTTP."


class HeadTooLarge(InboundError):
    """Request line and headers are longer or more than anybody needs."""

    code = "GW-INB-021"
    issue = "too-long"
    http = 431
    zh = "请求头过长：上限 32 KB、100 行。"
    en = "The request head is too large: at most 32 KB and 100 lines."


class TooManyConnections(InboundError):
    """Every connection allowed is at work."""

    code = "GW-INB-022"
    issue = "throttled"
    http = 503
    ack = ("AE", "207")
    rejection = (2, 3, 2)
    retry = True
    zh = "连接数已满，请稍后再试。"
    en = "Too many connections are at work; try again soon."


class Busy(InboundError):
    """Admission control: more writes wait than the gateway takes on; nothing was kept."""

    code = "GW-INB-023"
    issue = "throttled"
    http = 429
    ack = ("AE", "207")
    retry = True
    zh = "等待处理的写入过多，本次未受理，请稍后重发。"
    en = "Too many writes are waiting; this one was not taken, send it again soon."


class NotPrepared(InboundError):
    """The preparing process was lost twice at work on this write; nothing was kept."""

    code = "GW-INB-027"
    issue = "transient"
    http = 503
    ack = ("AE", "207")
    retry = True
    zh = "准备写入的进程两次异常退出，本次未保存，请稍后重发；若再次出现，请把大的 Bundle 拆开。"
    en = "The process that prepares writes was lost twice; nothing was kept. Send again, a large Bundle in parts."


class WrongCertificate(InboundError):
    """The line's client certificate is not the one this sender is bound to; kept, not processed."""

    code = "GW-INB-024"
    issue = "security"
    http = 403
    ack = ("AR", "207")
    zh = "线路的客户端证书与该发送方（MSH-3 与 MSH-4，或 AE Title）登记的不符，没有处理。"
    en = "The line's client certificate is not the one bound to this sender (MSH-3 and MSH-4, or AE titles)."


class NotYetProcessed(InboundError):
    """Kept, but without an outcome within the time a sender waits for it; a resend gets the answer."""

    code = "GW-INB-025"
    issue = "throttled"
    http = 503
    ack = ("AE", "207")
    retry = True
    zh = "消息已保存，尚未处理完；请 30 秒后重发以取得结果。"
    en = "The message is kept and not yet processed; send it again in 30 seconds for its outcome."


class WorkerKilled(InboundError):
    """The process died several times while it worked on this message; it is kept apart, the others go on."""

    code = "GW-INB-026"
    issue = "exception"
    http = 500
    ack = ("AE", "207")
    zh = "处理这条消息时进程多次异常退出，已单独隔离，其他消息照常处理。请把原文交给网关维护人员，修复后再重放。"
    en = (
        "The process died several times at work on this message; it is kept apart. Have it looked into, then replay it."
    )


class ViewError(InboundError):
    """A member's database view cannot be read now; what was read before is kept, reading goes on by itself."""

    code = "GW-INB-050"
    issue = "transient"
    http = 503
    ack = ("AE", "207")
    retry = True
    zh = "数据库视图读不到，网关会自动再试，其他来源不受影响。"
    en = "The database view cannot be read; it is tried again, other sources go on."


class ViewDenied(ViewError):
    """The database refuses the account, or what it asks for."""

    code = "GW-INB-051"
    issue = "security"
    zh = "数据库拒绝了网关的账号：请核对用户、口令和权限（视图的 SELECT；用 claim 的还要标记列的 UPDATE）。"
    en = (
        "The database refuses the account: check user, password and rights (SELECT; with a claim UPDATE of its column)."
    )


class ViewChanged(ViewError):
    """The view is not what source.yaml says, or not what it was."""

    code = "GW-INB-052"
    issue = "structure"
    zh = "视图与 source.yaml 写的或原来的不一样，没有往下读；改好视图或 source.yaml 后自动继续。"
    en = "The view is not what source.yaml says, or not what it was; reading goes on once either is mended."


class ViewSlow(ViewError):
    """A statement took longer than the source allows."""

    code = "GW-INB-053"
    issue = "timeout"
    zh = "视图的一次查询超过了时限（timeout_s），已中止：请给 changed 列建索引，或减小 page_rows。"
    en = "A statement took longer than timeout_s and was cancelled: index the changed column, or lower page_rows."


class ViewRowsLeftOut(ViewError):
    """Rows nobody can go on from: their key or the column that says when they changed is empty."""

    code = "GW-INB-054"
    issue = "incomplete"
    zh = "视图里有 key 或 changed 列为空的行，读不到这些行，其余照常：请补上值。"
    en = "Rows of the view have an empty key or changed column and cannot be read, the others are: fill them in."


class AwaitsOther(InboundError):
    """What the message presupposes has not come yet; it is parked, and taken up again when it comes.

    awaits: names of what it waits for, any of which wakes it. until: when it is given up, None for never again by time.
    """

    code = "GW-INB-030"
    issue = "not-found"
    http = 422
    ack = ("AE", "204")
    zh = "它所依据的登记或就诊还没有收到，已挂起；那条消息到达后自动处理。"
    en = "What it presupposes has not been received yet; it is parked and taken up by itself when that comes."

    def __init__(self, place: str = "", detail: str = "", *, detail_zh: str = "") -> None:
        super().__init__(place, detail, detail_zh=detail_zh)
        self.awaits: tuple[str, ...] = ()
        self.until: datetime | None = None

    def finding(self) -> Finding:
        """Nothing is wrong yet."""
        return replace(super().finding(), severity="warning")


class NeverCame(AwaitsOther):
    """What the message presupposes did not come in time."""

    code = "GW-INB-031"
    zh = "它所依据的登记或就诊在期限内没有到达，未处理。请核对号码，或补发那条消息，本条随后自动处理。"
    en = (
        "What it presupposes did not come in time. Check the number, or send the missing message: "
        "this one is taken up by itself then."
    )

    def finding(self) -> Finding:
        """An error by now."""
        return replace(super().finding(), severity="error")


class UnknownCalledTitle(InboundError):
    """An association calls an AE title under which no source is served."""

    code = "GW-INB-040"
    issue = "not-found"
    http = 404
    rejection = (1, 1, 7)
    zh = "没有来源用这个被叫 AE Title。请核对发送节点里填的网关 AE Title（区分大小写）。"
    en = "Nobody is called by this AE title; check the AE title of the gateway in the sender's node (case matters)."


class UnknownCallingTitle(InboundError):
    """An association comes from an AE title no source is configured for."""

    code = "GW-INB-041"
    issue = "not-found"
    http = 404
    rejection = (1, 1, 3)
    zh = "没有来源登记这个主叫 AE Title。请核对发送方自己的 AE Title（区分大小写），或登记到来源的 calling_ae。"
    en = "No source has this calling AE title; check it (case matters), or add it to the source's calling_ae."


class WrongAddress(InboundError):
    """A line from an address the door, or the source that calls, does not allow."""

    code = "GW-INB-042"
    issue = "security"
    http = 403
    zh = "发送方的地址不在允许之列。请核对 dicom.allow 或来源的 calling_hosts。"
    en = "The sender's address is not allowed; check dicom.allow or the source's calling_hosts."


class BrokenAssociation(InboundError):
    """Bytes that are no DICOM upper layer protocol, or not what may come now."""

    code = "GW-INB-043"
    zh = "不合 DICOM 通信协议，连接已中止。"
    en = "This is not the DICOM upper layer protocol; the association was aborted."


class WrongInstance(InboundError):
    """The data set of a C-STORE is not the instance its command names; kept, not processed."""

    code = "GW-INB-044"
    dimse = 0xA900
    zh = "数据集里的 UID 与 C-STORE 命令里的不同，已保存，没有处理。"
    en = "The data set has another UID than the C-STORE command; kept, not processed."


class NotStorage(InboundError):
    """A C-STORE of what is no composite storage SOP class."""

    code = "GW-INB-045"
    issue = "not-supported"
    dimse = 0x0122
    zh = "不接收这种 SOP Class。厂商私有的存储类请登记到 dicom.sop_classes。"
    en = "This SOP class is not taken; a private storage class has to be listed in dicom.sop_classes."


class TlsFailed(InboundError):
    """A handshake that failed; place is OpenSSL's reason."""

    code = "GW-INB-046"
    issue = "security"
    http = 403
    zh = "TLS 没有谈成，没有建立连接。"
    en = "The TLS handshake failed; there is no connection."


# ---- TRN ------------------------------------------------------------------------------------
class TranslateError(GatewayError):
    """A kept message could not be translated; it is quarantined."""

    code = "GW-TRN-001"
    issue = "structure"
    http = 422
    ack = ("AE", "207")
    dimse = 0xC000
    zh = "消息无法解析，原文已保存，等待处理。"
    en = "The message cannot be read; the original is kept for replay."


class MissingField(TranslateError):
    """A field the target resource cannot exist without is empty."""

    code = "GW-TRN-002"
    issue = "required"
    ack = ("AE", "101")
    zh = "必填字段为空。"
    en = "A required field is empty."


class UnknownTrigger(TranslateError):
    """No mapping serves this message type."""

    code = "GW-TRN-003"
    issue = "not-supported"
    ack = ("AR", "201")
    zh = "没有映射能处理这种消息类型或事件，原文已保存；补上映射后可重新处理。"
    en = "No mapping serves this message type or event; the original is kept for replay once a mapping does."


class BadValue(TranslateError):
    """A value cannot be what its field says: a date that does not exist, a number that is none."""

    code = "GW-TRN-004"
    issue = "value"
    ack = ("AE", "102")
    zh = "字段的值不合规。"
    en = "A field holds a value it cannot have."


class WrongCharset(TranslateError):
    """Bytes are valid in no charset of the ladder."""

    code = "GW-TRN-005"
    zh = "字符编码无法判定，请按 UTF-8 或 GB18030 发送。"
    en = "The bytes are valid in no known charset; send UTF-8 or GB18030."


class BadXml(TranslateError):
    """XML is not well-formed, or carries a DOCTYPE (refused: a CDA never needs one)."""

    code = "GW-TRN-006"
    zh = "XML 不完整或含有 DOCTYPE。"
    en = "The XML is not well-formed or carries a DOCTYPE."


class ShiftedColumns(TranslateError):
    """A CSV row has another number of columns than its header."""

    code = "GW-TRN-007"
    zh = "CSV 行的列数与表头不符。"
    en = "A CSV row has another number of columns than the header."


class BadDicom(TranslateError):
    """Not a DICOM file, cut off, or beyond the limits for depth and size."""

    code = "GW-TRN-008"
    zh = "DICOM 文件不完整或超出解析上限。"
    en = "The DICOM file is cut off or beyond the parsing limits."


class FutureDate(TranslateError):
    """A clinical time lies in the future by more than the tolerance."""

    code = "GW-TRN-009"
    issue = "value"
    ack = ("AE", "102")
    zh = "时间在未来，超出允许的偏差。"
    en = "A clinical time lies in the future beyond the tolerance."


class BadJson(TranslateError):
    """JSON that cannot be read: syntax, depth, duplicate keys."""

    code = "GW-TRN-010"
    zh = "JSON 无法解析。"
    en = "The JSON cannot be read."


# ---- IDN ------------------------------------------------------------------------------------
class IdentityError(GatewayError):
    """The person index refused."""

    code = "GW-IDN-001"
    issue = "business-rule"
    http = 422
    zh = "主索引拒绝了这次操作。"
    en = "The person index refused this."


class UnknownNumber(IdentityError):
    """A merge names a local number nobody ever sent."""

    code = "GW-IDN-002"
    issue = "not-found"
    ack = ("AE", "204")
    zh = "要合并的本地号不存在。"
    en = "The local number to be merged is unknown."


class NumberReused(IdentityError):
    """A local number whose name and birth date or sex became another resident's, or their newborn's."""

    code = "GW-IDN-003"
    ack = ("AE", "204")
    zh = "本地号已属于另一位居民：姓名和出生日期（或性别）都变了，或者是其新生儿。请核对后改用新号。"
    en = "The local number belongs to another resident: name and birth date or sex all changed, or it is their newborn."


class QueryDenied(IdentityError):
    """A source that may not query the person index."""

    code = "GW-IDN-005"
    issue = "forbidden"
    http = 403
    ack = ("AR", "207")
    zh = "该来源没有查询主索引的权限，须由管理员在 source.yaml 中设 queries。"
    en = "This source may not query the person index; its source.yaml has to say queries."


class UnknownKey(IdentityError):
    """A query names a number or an assigning authority nobody knows."""

    code = "GW-IDN-006"
    issue = "not-found"
    http = 404
    ack = ("AE", "204")
    zh = "查询的号码或发号机构不认识。"
    en = "The query names a number or an assigning authority that is not known:"


class BadQuery(IdentityError):
    """A query by parameters nobody can answer, or by too few."""

    code = "GW-IDN-007"
    issue = "value"
    http = 400
    ack = ("AE", "103")
    zh = "查询条件不支持或不足。"
    en = "The query parameters are not supported, or too few:"


class StudyOfAnother(IdentityError):
    """An image of a known Study Instance UID under another patient."""

    code = "GW-IDN-004"
    zh = "同一检查 UID 下出现了另一位患者的影像，未归档。请核对影像的患者号。"
    en = "An image of a known study names another patient; it was not filed."


# ---- VAL ------------------------------------------------------------------------------------
class Invalid(GatewayError):
    """A resource breaks R4; `findings` lists every fault with its path."""

    code = "GW-VAL-001"
    issue = "invalid"
    http = 422
    ack = ("AE", "207")
    zh = "资源不符合 FHIR R4。"
    en = "The resource breaks FHIR R4."

    def __init__(self, findings: tuple[Finding, ...], place: str = "") -> None:
        super().__init__(place or (findings[0].place if findings else ""))
        self.findings = findings

    def refusal(self, key: str, state: State = State.QUARANTINED) -> Outcome:
        """With every fault of the resource: the sentence alone tells nobody what to mend."""
        made = super().refusal(key, state)
        return replace(made, findings=(*made.findings, *self.findings))

    def within(self, place: str) -> Self:
        """Every finding with its place in an entry of a Bundle: `Bundle.entry[1].resource.code`."""

        def seen(own: str) -> str:
            return ".".join(filter(None, (place, "resource", own.partition(".")[2])))

        self.findings = tuple(replace(one, place=seen(one.place)) for one in self.findings)
        self.place = seen(self.place)
        return self

    def operation_outcome(self) -> Json:
        """One issue a fault."""
        return operation_outcome(*(self.findings or (self.finding(),)), issue=self.issue)


class Unparseable(GatewayError):
    """A FHIR body is not JSON, nests too deep, or repeats a key."""

    code = "GW-VAL-002"
    issue = "structure"
    http = 400
    zh = "请求体不是可解析的 JSON。"
    en = "The body is not JSON that can be read."


# ---- STO ------------------------------------------------------------------------------------
class StoreError(GatewayError):
    """The store could not do it."""

    code = "GW-STO-001"
    retry = True
    zh = "存储暂时不可用，请稍后再试。"
    en = "The store is not available; try again."
    http = 503
    issue = "transient"


class Conflict(GatewayError):
    """Another write came first, also after our own retries."""

    code = "GW-STO-002"
    issue = "conflict"
    http = 409
    retry = True
    zh = "数据刚被他人修改，请重新读取后再试。"
    en = "Somebody else changed it meanwhile; read again and retry."


class PreconditionFailed(GatewayError):
    """If-Match or a conditional criterion does not hold."""

    code = "GW-STO-003"
    issue = "conflict"
    http = 412
    zh = "前提条件不成立：版本不符，或条件匹配到多条。"
    en = "A precondition failed: another version, or more than one match."


class TooCostly(GatewayError):
    """The query would need more than its limits."""

    code = "GW-STO-004"
    issue = "too-costly"
    http = 400
    zh = "查询过大，请加上居民或日期条件。"
    en = "The query is too costly; add a patient or a date."


class PacsSilent(GatewayError):
    """The member's PACS did not answer, or not with a picture."""

    code = "GW-STO-010"
    issue = "transient"
    http = 502
    retry = True
    zh = "来源机构的影像系统没有应答，报告仍可阅读，请稍后再试。"
    en = "The member's PACS did not answer with a picture; the report can still be read."


# ---- FHR ------------------------------------------------------------------------------------
class NotFound(GatewayError):
    """No such resource, or none the caller may know of."""

    code = "GW-FHR-001"
    issue = "not-found"
    http = 404
    zh = "没有这个资源。"
    en = "There is no such resource."


class Gone(GatewayError):
    """The resource was deleted."""

    code = "GW-FHR-002"
    issue = "deleted"
    http = 410
    zh = "资源已删除。"
    en = "The resource was deleted."


class UnknownParameter(GatewayError):
    """A search parameter this server does not know (D16)."""

    code = "GW-FHR-003"
    issue = "not-supported"
    http = 400
    zh = "不支持的查询参数。"
    en = "Unknown search parameter."


class BadParameter(GatewayError):
    """A parameter or another value of a request that it cannot have."""

    code = "GW-FHR-004"
    issue = "value"
    http = 400
    zh = "参数或请求中的一个值不正确。"
    en = "A parameter, or a value of the request, is not what it can be."


class NotSupported(GatewayError):
    """A method, media type or interaction that is not offered here."""

    code = "GW-FHR-005"
    issue = "not-supported"
    http = 405
    zh = "不支持这种操作。"
    en = "This interaction is not supported."


class ExpiredPage(GatewayError):
    """A paging link older than its life."""

    code = "GW-FHR-006"
    issue = "expired"
    http = 410
    zh = "翻页链接已过期，请重新查询。"
    en = "The paging link has expired; search again."


class NotAcceptable(NotSupported):
    """The client asks for a format other than JSON."""

    code = "GW-FHR-007"
    http = 406
    zh = "只提供 JSON 格式。"
    en = "Only JSON is offered."


class BadReference(GatewayError):
    """A reference that cannot be resolved where it must be."""

    code = "GW-FHR-008"
    issue = "not-found"
    http = 422
    zh = "引用无法解析。"
    en = "A reference cannot be resolved."


class UnsupportedMedia(GatewayError):
    """A body in a format other than JSON."""

    code = "GW-FHR-009"
    issue = "not-supported"
    http = 415
    zh = "请求体只接受 JSON（application/fhir+json 或 application/json，UTF-8）。"
    en = "A body must be JSON: application/fhir+json or application/json, UTF-8."


class PatchFailed(GatewayError):
    """A JSON Patch that cannot be applied to the resource as it is now; place is the operation."""

    code = "GW-FHR-010"
    issue = "processing"
    http = 422
    zh = "补丁无法应用，资源未改动。"
    en = "The patch cannot be applied; the resource was not changed."


class KeyReused(GatewayError):
    """An Idempotency-Key that came with another request before."""

    code = "GW-FHR-011"
    issue = "duplicate"
    http = 422
    zh = "同一幂等键此前用于另一请求，请换新键。"
    en = "The Idempotency-Key was used for another request; use a new key."


# ---- SEC ------------------------------------------------------------------------------------
class NotSignedIn(GatewayError):
    """No token, or one nobody knows."""

    code = "GW-SEC-001"
    issue = "login"
    http = 401
    ack = ("AR", "207")
    zh = "需要登录或有效令牌。"
    en = "Sign in or send a valid token."


class Forbidden(GatewayError):
    """The caller's role does not reach here."""

    code = "GW-SEC-002"
    issue = "forbidden"
    http = 403
    ack = ("AR", "207")
    zh = "当前角色无权进行此操作。"
    en = "Your role does not allow this."


class ActiveNarrative(GatewayError):
    """Narrative with script, `on*` handlers or `javascript:` links (D27)."""

    code = "GW-SEC-003"
    issue = "security"
    http = 422
    zh = "叙述文本含有可执行内容，已拒绝。"
    en = "The narrative carries active content and was refused."
