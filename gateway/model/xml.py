"""XML in and out: the only home of lxml, and the only parser settings the gateway has.

Bytes are decoded by us before the parser sees them, a DOCTYPE in whatever encoding ends the reading, and
nothing is ever fetched or expanded. Source: reliability-security T18; XML 1.0 §2.8, §4.3.3 and appendix F.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from lxml import etree

from ..errors import BadXml, TooLarge, WrongCharset
from .outcome import Finding

Element = etree._Element

MAX_BYTES = 16 * 1024 * 1024
"""A CDA with an embedded PDF fits; text nodes above 10 MB are refused by libxml2 itself."""

_ATTRIBUTES = 1_000  # of one element
_MANY = 5_000  # equals signs of a document, below which no element can have too many to be worth a look

V3 = "urn:hl7-org:v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

_CHINESE = {"gb2312", "gb18030", "gbk", "gb_2312-80", "cp936", "gb18030-2000", "gb18030-2005", "hz-gb-2312"}
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_DECLARATION = re.compile(r"""\A\s*<\?xml\s[^>]*?\?>""")
_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][\w.:-]*)["']""")
_AMPERSAND = ("an & that is not written &amp;, or a < that is not &lt;", "“&”应写成 &amp;，“<”应写成 &lt;。")
_PREFIX = ("a prefix that is not declared, like xmlns:xsi", "用了没有声明的前缀，如缺 xmlns:xsi。")
_FAULTS = {  # libxml2's codes of what vendors' documents have wrong
    4: ("it is empty", "内容是空的。"),
    5: ("something follows the end of the document", "文档结束之后还有内容：一次只发一份。"),
    9: ("a control character XML does not allow", "含有 XML 不允许的控制字符。"),
    23: _AMPERSAND,
    26: ("an entity XML does not know, like &nbsp;", "用了 XML 没有定义的实体，如 &nbsp;。"),
    68: _AMPERSAND,
    76: ("tags that do not match", "开始和结束标签不配对。"),
    77: ("it is cut off", "文档不完整，被截断了。"),
    114: ("more than 256 levels", "嵌套超过 256 层。"),
    201: _PREFIX,
}
_SKIP = re.compile(r"\s+|<!--.*?-->|<\?.*?\?>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: `declared` and `charset` are lower-case names, `declared` is "" when nothing was declared."""

    root: Element
    declared: str
    charset: str
    findings: tuple[Finding, ...] = ()


def parse(body: bytes, *, max_bytes: int = MAX_BYTES) -> Document:
    """The document in `body`, read in the charset its bytes are in, whatever it declares.

    Raises TooLarge, WrongCharset, and BadXml with the line for a DOCTYPE or for anything not well-formed.
    """
    if len(body) > max_bytes:
        raise TooLarge(detail=f"{len(body)} > {max_bytes} bytes")
    text, declared, charset = decode(body)
    text = _DECLARATION.sub(_blank, text, count=1)
    _refuse_doctype(text)
    root = _root(text)
    if text.count("=") > _MANY:
        _refuse_bulky(root)
    return Document(root, declared, charset, _charset_finding(declared, charset))


def decode(body: bytes) -> tuple[str, str, str]:
    """(text, declared charset, actual charset) of XML bytes.

    Ladder: byte order mark, UTF-16 without one, strict UTF-8, GB18030. A declared Chinese charset wins over UTF-8
    only for so few bytes beyond ASCII that they may be valid in both. Raises WrongCharset when nothing fits.
    """
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return _strictly(body[len(mark) :], charset), _declared(body), charset
    if body[:2] in (b"<\x00", b"\x00<"):
        charset = "utf-16-le" if body[0] == 0x3C else "utf-16-be"
        return _strictly(body, charset), "", charset
    declared = _declared(body)
    for charset in _ladder(body, declared):
        try:
            return body.decode(charset), declared, charset
        except UnicodeDecodeError:
            continue
    raise WrongCharset(detail=f"declared {declared or 'nothing'}", detail_zh=f"声明的是 {declared or '（无）'}。")


def _ladder(body: bytes, declared: str) -> tuple[str, str]:
    few = sum(1 for byte in body if byte > 0x7F) < 12 if declared in _CHINESE else False
    return ("gb18030", "utf-8") if few else ("utf-8", "gb18030")


def _strictly(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise WrongCharset(
            detail=f"byte {error.start} is not {charset}", detail_zh=f"第 {error.start} 字节不是 {charset}。"
        ) from None


def _declared(body: bytes) -> str:
    found = _ENCODING.search(body[:300].replace(b"\x00", b""))
    return found.group(1).decode().lower() if found else ""


def _blank(declaration: re.Match[str]) -> str:
    # The declaration speaks of bytes that are gone; its line breaks stay, so that line numbers stay right.
    return "\n" * declaration.group().count("\n")


def _refuse_doctype(text: str) -> None:
    """A document type can only stand before the root element; a CDATA text that shows one is no DOCTYPE."""
    at = 0
    while found := _SKIP.match(text, at):
        at = found.end()
    if text.startswith("<!", at):
        raise BadXml(f"line {text.count(chr(10), 0, at) + 1}", "DOCTYPE", detail_zh="文件含有 DOCTYPE，已拒绝。")


def _refuse_bulky(root: Element) -> None:
    """The parser walks all attributes of an element for the value of each: 100,000 would take minutes."""
    bulky = next((one for one in root.iter() if len(one.attrib) > _ATTRIBUTES), None)
    if bulky is not None:
        text, zh = f"an element of more than {_ATTRIBUTES} attributes", f"一个元素有超过 {_ATTRIBUTES} 个属性。"
        raise BadXml(f"line {bulky.sourceline}", text, detail_zh=zh)


def _root(text: str) -> Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError as error:
        # The parser's own words may quote the document, so only its place goes on.
        en, zh = _FAULTS.get(getattr(error, "code", 0), ("not well-formed", "格式不完整。"))
        raise BadXml(f"line {error.lineno}", en, detail_zh=zh) from None
    except UnicodeEncodeError:
        raise WrongCharset(detail="lone surrogates", detail_zh="含有不成对的代理字符。") from None


def _charset_finding(declared: str, charset: str) -> tuple[Finding, ...]:
    family = "gb18030" if declared in _CHINESE else declared.replace("utf8", "utf-8").replace("us-ascii", "utf-8")
    if not declared or family == charset or (family == "utf-16" and charset.startswith("utf-16")):
        return ()
    zh = f"声明的编码是 {declared}，实际内容是 {charset}；已按实际内容读取。"
    en = f"Declared as {declared}, in fact {charset}; read as what it is."
    return (Finding("GW-TRN-005", "warning", "line 1", zh, en),)


class Node:
    """An element as plain data, its name without namespace: three times quicker to walk than the parser's own.

    text: everything between its tags where it has no children, else the text before the first child; tails of
    children are kept in `tail`. attrs: names as written, `xsi:type` as `{…}type`.
    """

    __slots__ = ("attrs", "children", "line", "name", "tail", "text")

    name: str
    attrs: dict[str, str]
    text: str
    tail: str
    children: list[Node]
    line: int

    def child(self, name: str) -> Node | None:
        """The first child of that name."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def all_text(self) -> str:
        """The text of this node and everything in it, white space at both ends removed."""
        return self._joined().strip() if self.children else self.text.strip()

    def _joined(self) -> str:
        return self.text + "".join(child._joined() + child.tail for child in self.children)


def nodes(document: Document) -> Node:
    """The document as nodes. The parser allows 256 levels at most, so recursion is safe."""
    return _node(document.root)


def _node(element: Element) -> Node:
    out = Node()
    out.name = _local_name(element.tag)
    out.attrs = cast(dict[str, str], dict(element.items()))
    out.text = element.text or ""
    out.tail = element.tail or ""
    out.line = cast(int, element.sourceline or 0)
    out.children = [_node(child) for child in element]
    return out


@lru_cache(2048)
def _local_name(tag: str) -> str:
    return tag.rpartition("}")[2]
