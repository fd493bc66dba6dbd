"""The person index asked in HL7 v2, over MLLP and HTTP: who is found, who may ask, what is written down."""

from __future__ import annotations

import pytest

from gateway.store.base import AuditQuery, AuditRow
from tests.flow.alliance import Alliance
from tests.flow.test_v2_events import tell

CARD = "990150198809260427"


@pytest.fixture
def known(empty: Alliance) -> Alliance:
    """One resident with a visit, and a namesake of another age."""
    tell(empty, "adt_a01/admission_in_full", "adt_a04/outpatient")
    return empty


def ask(alliance: Alliance, qpd: str, *more: str, kind: str = "QBP^Q22", head: str = "") -> list[str]:
    """The segments of the answer."""
    name = "IHE PDQ Query" if kind == "QBP^Q22" else "IHE PIX Query"
    msh = head or f"MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|20260320||{kind}^QBP_Q21|K1|P|2.5||||||UNICODE UTF-8"
    body = "\r".join([msh, f"QPD|{name}|T1|{qpd}", *(more or ("RCP|I",)), ""])
    return alliance.mllp(body.encode()).decode().split("\r")


def queries(alliance: Alliance) -> list[AuditRow]:
    return [row for _, row in alliance.run(alliance.gateway.store.audits(AuditQuery(kind="query")))]


def segment(answer: list[str], name: str) -> str:
    return next((one for one in answer if one.startswith(name)), "")


def test_a_resident_is_found_by_name_and_birth_date_and_the_disclosure_is_written_down(known: Alliance) -> None:
    answer = ask(known, "@PID.5.1^韩雪*~@PID.7^19880926")
    assert [one[:3] for one in answer[:4]] == ["MSH", "MSA", "QAK", "QPD"] and "RSP^K22^RSP_K21" in answer[0]
    assert segment(answer, "QAK") == "QAK|T1|OK|IHE PDQ Query|1|1|0"
    found = segment(answer, "PID").split("|")
    assert f"{CARD}^^^&2.16.156.10011.1.3&ISO^NI" in found[3] and "^^^CITY1^MR" in found[3]
    assert (found[5].split("^")[0], found[7], found[8]) == ("韩雪梅", "19880926", "F")
    (row,) = queries(known)
    assert row.patients == (known.person(CARD)["id"],)
    assert (row.user, row.outcome, row.action) == ("city_first_hospital", "0", "E")
    assert "韩" not in row.query + row.detail and CARD not in row.query


def test_an_identifier_query_gives_the_other_numbers_and_no_name(known: Alliance) -> None:
    number = known.person(CARD)["identifier"][-1]["value"]
    answer = ask(known, f"{number}^^^CITY1^MR", kind="QBP^Q23")
    assert "RSP^K23^RSP_K23" in answer[0] and segment(answer, "QAK").startswith("QAK|T1|OK")
    assert segment(answer, "PID") == f"PID|||{CARD}^^^&2.16.156.10011.1.3&ISO^NI||~^^^^^^S"
    assert segment(ask(known, f"{CARD}^^^&2.16.156.10011.1.3&ISO", kind="QBP^Q23"), "PID").startswith(
        f"PID|||{number}^^^"
    )


@pytest.mark.parametrize(
    ("qpd", "kind", "place", "code"),
    [
        ("B9^^^CITY1", "QBP^Q23", "QPD^1^3^1^1", "204"),
        ("B9^^^NOWHERE", "QBP^Q23", "QPD^1^3^1^4", "204"),
        ("B9^^^CITY1|^^^CITY1~^^^X", "QBP^Q23", "QPD^1^4^2", "204"),
        ("@PID.3.1^B9|||||^^^X", "QBP^Q22", "QPD^1^8^1", "204"),
        ("@PID.5.1^韩雪梅", "QBP^Q22", "QPD^1^3^1", "103"),
        ("@PID.5.1^韩雪梅~@PID.99^1", "QBP^Q22", "QPD^1^3^2^1", "103"),
    ],
)
def test_what_cannot_be_answered_is_said_with_its_place(
    known: Alliance, qpd: str, kind: str, place: str, code: str
) -> None:
    answer = ask(known, qpd, kind=kind)
    assert answer[1].startswith("MSA|AE|K1") and segment(answer, "QAK").split("|")[2] == "AE"
    error = segment(answer, "ERR").split("|")
    assert (error[2], error[3].split("^")[0]) == (place, code)
    assert segment(answer, "PID") == "" and queries(known)[0].outcome == "4"


def test_nobody_found_is_no_error(known: Alliance) -> None:
    answer = ask(known, "@PID.3.1^B9~@PID.3.4^CITY1")
    assert answer[1] == "MSA|AA|K1" and segment(answer, "QAK").startswith("QAK|T1|NF")


def test_a_long_answer_comes_in_pages(empty: Alliance) -> None:
    head = "MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|20260319||ADT^A28^ADT_A05|P{}|P|2.5"
    for number, name in enumerate(("王一", "王二", "王三"), 1):
        line = f"PID|1||P{number}^^^CITY1^MR||{name}||1988010{number}|F"
        assert b"MSA|AA" in empty.mllp("\r".join([head.format(number), line, ""]).encode())
    empty.drain()
    qpd, seen, pointer = "@PID.5.1^王~@PID.7^1988", set[str](), ""
    for place in range(3):
        more = ("RCP|I|1^RD", f"DSC|{pointer}|I") if pointer else ("RCP|I|1^RD",)
        answer = ask(empty, qpd, *more)
        seen.add(segment(answer, "PID"))
        pointer = segment(answer, "DSC").split("|")[1] if place < 2 else ""
        assert len(pointer) <= 180, "DSC-1 is an ST"
    assert len(seen) == 3 and segment(answer, "DSC") == ""
    assert "AE" in ask(empty, qpd, "RCP|I|1^RD", "DSC|made-up|I")[1]


def test_a_page_holds_a_hundred_at_most(empty: Alliance) -> None:
    head = "MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|20260319||ADT^A28^ADT_A05|P{}|P|2.5"
    told = [f"{head.format(one)}\rPID|1||P{one}^^^CITY1^MR||王{one}||19880101|F\r" for one in range(102)]
    assert empty.mllp(("BHS|^~\\&|ESB|CITY1\r" + "".join(told) + "BTS|102\r").encode()).count(b"MSA|AA") == 102
    empty.drain()
    answer = ask(empty, "@PID.5.1^王~@PID.7^1988", "RCP|I|1000^RD")
    assert sum(one.startswith("PID|") for one in answer) == 100
    assert segment(answer, "QAK") == "QAK|T1|OK|IHE PDQ Query||100"
    pointer = segment(answer, "DSC").split("|")[1]
    rest = ask(empty, "@PID.5.1^王~@PID.7^1988", "RCP|I|1000^RD", f"DSC|{pointer}|I")
    assert sum(one.startswith("PID|") for one in rest) == 2 and not segment(rest, "DSC")


def test_a_query_that_is_cancelled_is_acknowledged(known: Alliance) -> None:
    head = "MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|20260320||QCN^J01^QCN_J01|K9|P|2.5"
    answer = known.mllp(f"{head}\rQID|T1|IHE PDQ Query\r".encode()).decode().split("\r")
    assert "|ACK^J01^ACK|" in answer[0] and answer[1] == "MSA|AA|K9"
    nameless = known.mllp(f"{head}\rQID||IHE PDQ Query\r".encode()).decode()
    assert "MSA|AE|K9" in nameless and "|QID^1^1^1|101^" in nameless
    stranger = head.replace("|ESB|CITY1|", "|LIS|XZYY|")
    assert "MSA|AR|K9" in known.mllp(f"{stranger}\rQID|T1|IHE PDQ Query\r".encode()).decode()


def test_who_may_not_ask_is_refused_and_the_refusal_is_written_down(known: Alliance) -> None:
    head = "MSH|^~\\&|LIS|XZYY|GATEWAY|ALLIANCE|20260320||QBP^Q22^QBP_Q21|K2|P|2.5"
    answer = ask(known, f"@PID.19^{CARD}", head=head)
    assert answer[1].startswith("MSA|AR|K2") and segment(answer, "PID") == ""
    assert [(row.user, row.outcome, row.patients) for row in queries(known)] == [("county_tcm_hospital", "4", ())]


def test_an_answer_comes_in_the_charset_of_the_query_over_http_too(known: Alliance) -> None:
    head = "MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|20260320||QBP^Q22^QBP_Q21|K3|P|2.5"
    text = f"{head}\rQPD|IHE PDQ Query|T1|@PID.5.1^韩雪梅~@PID.7^19880926\rRCP|I\r"
    answer = known.push("city_first_hospital", text.encode("gb18030"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2")
    assert "|韩雪梅^" in answer.content.decode("gb18030")
    assert len(known.run(known.gateway.inbox.messages.entries(limit=50))) == 2, "a query is no message to keep"
