"""HL7 v2 messages spoilt in every way senders, lines and attackers spoil them; the same seed spoils alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from fixtures.cases import all_cases
from gateway.shipped import shipped

Spoil = Callable[[Random, bytes], bytes]
_CHARSETS = (b"UNICODE UTF-8", b"GB 18030-2000", b"ASCII", b"8859/1", b"BIG-5", b"UNICODE UTF-16", b"KLINGON", b"")
_CODECS = ("utf-8", "gb18030", "big5", "utf-16", "utf-8-sig", "latin-1", "utf-32")
_ESCAPES = (
    b"\\F\\", b"\\S\\", b"\\T\\", b"\\E\\", b"\\X0D0A\\", b"\\XZZ\\", b"\\X\\", b"\\.br\\", b"\\.sp99999\\", b"\\H\\",
    b"\\C2842\\", b"\\M2842AA\\", b"\\\\", b"\\E\\F\\E\\", b"\\X" + b"41" * 1_000 + b"\\", b"\\",
)  # fmt: skip
_TEXTS = (
    b"", b'""', b" ", b"0", b"-", b"/", "阴性(-)".encode(), "＜５".encode(), b"<0.01", b"1:80", b"1e400", b"NaN",
    b"9" * 400, b"00000000", b"20260230", b"20261301", b"2026031008300099", b"20260310083000.123456789+0800",
    b"20260310+9999", b"99991231235959", "二〇二六".encode(), "٢٠٢٦٠٣١٠".encode(),
    b"A&B&C^D&E~F", b"^^^^^^^^^^", b"~~~~~~", b"&&&&",
    b"\xef\xbf\xbf", "👩‍⚕️".encode(),
    b"<script>", b"{\"a\":1}", b"%s%d%n", b"../../etc/passwd", b"'; DROP TABLE x; --",
)  # fmt: skip


@cache
def originals() -> tuple[bytes, ...]:
    """Every HL7 v2 fixture as its sender sends it."""
    return tuple(case.body for case in all_cases(shipped("fixtures")) if case.format == "v2")


def _lines(body: bytes) -> list[bytes]:
    return body.split(b"\r")


def _flip(any_: Random, body: bytes) -> bytes:
    out = bytearray(body)
    for _ in range(any_.randrange(1, 20)):
        out[any_.randrange(len(out))] = any_.randrange(256)
    return bytes(out)


def _segments(any_: Random, body: bytes) -> bytes:
    lines = _lines(body)
    for _ in range(any_.randrange(1, 6)):
        at = any_.randrange(len(lines))
        match any_.randrange(4):
            case 0:
                lines.insert(at, any_.choice(lines))
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                other = any_.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines.insert(at, any_.choice(_lines(any_.choice(originals()))))
    return b"\r".join(lines)


def _cut(any_: Random, body: bytes) -> bytes:
    start = any_.randrange(20) if any_.random() < 0.2 else 0
    return body[start : any_.randrange(len(body) + 1)]


def _fields(any_: Random, body: bytes) -> bytes:
    lines = _lines(body)
    for _ in range(any_.randrange(1, 8)):
        at = any_.randrange(len(lines))
        fields = lines[at].split(b"|")
        place = any_.randrange(len(fields) + 3)
        fields += [b""] * (place + 1 - len(fields))
        fields[place] = any_.choice((any_.choice(_TEXTS), any_.choice(_ESCAPES), any_.choice(fields)))
        lines[at] = b"|".join(fields)
    return b"\r".join(lines)


def _huge(any_: Random, body: bytes) -> bytes:
    """One field of 100 KB: plain, of 10,000 repetitions, components or subcomponents, of escapes, of line breaks."""
    lines = _lines(body)
    at = any_.randrange(len(lines))
    fields = lines[at].split(b"|")
    place = any_.randrange(len(fields))
    one = any_.choice((b"x", b"5.6", "汉".encode(), b"A^B", fields[place] or b"y"))
    between = any_.choice((b"", b"~", b"^", b"&", b"\\.br\\", b"\\E\\", b"\\", b"^~", b"|", b"\n", b" "))
    times = 2_000 if between == b"\n" else 10_000  # lines that look like segments are as many segments
    fields[place] = between.join([one] * min(times, 100_000 // max(len(one + between), 1)))
    lines[at] = b"|".join(fields)
    return b"\r".join(lines)


def _repeated(any_: Random, body: bytes) -> bytes:
    """One or two segments a hundred times over."""
    lines = _lines(body)
    at = any_.randrange(1, len(lines)) if len(lines) > 1 else 0
    block = lines[at : at + any_.randrange(1, 3)]
    times = min(100 // len(block), 100_000 // (len(b"".join(block)) + 1))
    return b"\r".join(lines[:at] + block * times + lines[at:])


def _escapes(any_: Random, body: bytes) -> bytes:
    out = body
    for _ in range(any_.randrange(1, 12)):
        at = any_.randrange(len(out) + 1)
        out = out[:at] + any_.choice(_ESCAPES) * any_.choice((1, 1, 1, 50)) + out[at:]
    return out


def _control(any_: Random, body: bytes) -> bytes:
    out = body
    for _ in range(any_.randrange(1, 12)):
        at = any_.randrange(len(out) + 1)
        bytes_ = any_.choice(
            (b"\0", b"\x0b", b"\x1b$)A", b"\x1a", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0c", b"\t")
        )
        out = out[:at] + bytes_ * any_.choice((1, 1, 3)) + out[at:]
    return out


def _ends(any_: Random, body: bytes) -> bytes:
    return body.replace(b"\r", any_.choice((b"\n", b"\r\n", b"\n\r", b"\r\r", b"\r \r", b"\x85", b"")))


def _charset(any_: Random, body: bytes) -> bytes:
    """MSH-18 says one charset, the bytes are in another."""
    text = body.decode("utf-8") if _is_utf8(body) else body.decode("gb18030", "replace")
    lines = text.encode(any_.choice(_CODECS), "replace").split(b"\r")
    if any_.random() < 0.7:
        fields = lines[0].split(b"|")
        fields += [b""] * (18 - len(fields))
        fields[17] = any_.choice(_CHARSETS)
        lines[0] = b"|".join(fields)
    return b"\r".join(lines)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _delimiters(any_: Random, body: bytes) -> bytes:
    """Other separators, in MSH alone or throughout: rare, the same twice, letters, no ASCII, five of them."""
    kind = any_.randrange(4)
    if kind == 0:
        return body.replace(
            b"^~\\&",
            any_.choice((b"^~\\", b"^", b"", b"^~\\&#", b"^^^^", b"~^\\&", b"|^~\\", b"^~&\\", b"\\\\\\\\")),
            1,
        )
    if kind == 1:
        return body[:3] + any_.choice((b"x", b"^", b"\r", b" ", b"\0", "｜".encode(), b"\xa3", b"1")) + body[4:]
    own = bytes(any_.sample(range(33, 127), 5))
    return body.translate(bytes.maketrans(b"|^~\\&", own))


def _head(any_: Random, body: bytes) -> bytes:
    """MSH empty, short, doubled, headed or followed by what does not belong there."""
    lines = _lines(body)
    match any_.randrange(6):
        case 0:
            lines[0] = any_.choice((b"MSH", b"MSH|", b"MSH|^~\\&", b"MSH|^~\\&|", b"MSH||||||||", b"msh|^~\\&|A|B"))
        case 1:
            fields = lines[0].split(b"|")
            lines[0] = b"|".join(fields[: any_.randrange(1, len(fields) + 1)])
        case 2:
            fields = lines[0].split(b"|")
            fields += [b""] * (18 - len(fields))
            fields[any_.randrange(2, 18)] = any_.choice(_TEXTS)
            lines[0] = b"|".join(fields)
        case 3:
            lines.insert(
                0, any_.choice((b"FHS|^~\\&|A", b"BHS|^~\\&", b"BHS", b"FHS", b"", b"HTTP/1.1 200 OK", b"\xef\xbb\xbf"))
            )
        case 4:
            fields = lines[0].split(b"|")
            fields += [b""] * (18 - len(fields))
            fields[14], fields[15] = any_.choice((b"AL", b"NE", b"ER", b"SU", b"XX")), any_.choice((b"AL", b"NE", b""))
            lines[0] = b"|".join(fields)
        case _:
            lines += [b"BTS|1", b"FTS|1", *lines]
    return b"\r".join(lines)


SPOILS: dict[str, Spoil] = {
    "bytes flipped": _flip, "segments moved": _segments, "cut short": _cut, "fields exchanged": _fields,
    "huge field": _huge, "segments repeated": _repeated, "escapes": _escapes, "control bytes": _control,
    "line ends": _ends, "charset lies": _charset, "delimiters": _delimiters, "head": _head,
}  # fmt: skip


def mutated(seed: int) -> tuple[str, bytes]:
    """One message, and how it was spoilt: usually in one way, sometimes in three."""
    any_ = Random(seed)
    body, names = any_.choice(originals()), []
    for _ in range(any_.choice((1, 1, 1, 2, 3))):
        name = any_.choice(list(SPOILS))
        names.append(name)
        body = SPOILS[name](any_, body) if body else body
    return " + ".join(names), body
