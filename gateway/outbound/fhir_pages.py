"""Paging links of histories and whole records: the question, its moment and its place, sealed into the link."""

from __future__ import annotations

import msgspec

from ..errors import BadParameter, ExpiredPage
from ..model.rest import Call
from .fhir_parts import FhirParts, On
from .fhir_query import MAX_COUNT

_LINKS = "fhir-pages"


class Token(msgspec.Struct):
    """What a link carries. place: what it is about; query: the first page's own; as_of, at: the moment shown.

    born: when the first page was given (epoch s). below: the place of the last one given. about: of a superseded
    Patient the survivor.
    """

    place: str
    query: str
    user: str
    as_of: int
    at: int
    born: float
    below: tuple[int, ...]
    about: str = ""


_decode = msgspec.json.Decoder(Token).decode


def opened(parts: FhirParts, call: Call, on: On, page: str, *, life_s: int = 0) -> Token:
    """The token of a link this server gave this user. life_s: how old it may be, 0 = any age.

    Raises BadParameter, ExpiredPage.
    """
    clear = parts.seal(_LINKS).open(page)
    if clear is None:
        raise BadParameter("_page", "not a link of this server", detail_zh="不是本服务器的翻页链接。")
    token = _decode(clear)
    if token.place != _place(on) or token.user != call.who.user:
        raise BadParameter("_page", "another question or another user", detail_zh="链接属于另一查询或另一用户。")
    if life_s and parts.clock().timestamp() - token.born > life_s:
        raise ExpiredPage("_page")
    return token


def closed(parts: FhirParts, token: Token) -> str:
    """The text of `_page`."""
    return parts.seal(_LINKS).close(msgspec.json.encode(token))


def token_of(parts: FhirParts, call: Call, on: On, query: str) -> Token:
    """The token of a question that is asked now, without moment and place yet."""
    return Token(_place(on), query, call.who.user, 0, 0, parts.clock().timestamp(), ())


def count_of(text: str) -> int:
    """`_count` of a page. Raises BadParameter."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise BadParameter("_count", "a whole number above 0", detail_zh="应为正整数。")
    return min(int(text), MAX_COUNT)


def _place(on: On) -> str:
    return f"{on.place}/{on.operation}" if on.operation else on.place
