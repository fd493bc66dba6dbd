"""CDA documents as rows: the same facts from every shape vendors write (china-standards §7.4)."""

from __future__ import annotations

import pytest

from gateway.errors import BadXml
from gateway.translate.cda_tables import data_element, document_kind
from gateway.translate.formats import Document
from gateway.translate.read_cda import CdaFormat, read

HEAD = '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'


def observation(code: str, value: str, inner: str = "") -> str:
    return f'<observation><code code="{code}"/>{value}{inner}</observation>'


def number(value: str) -> str:
    return f'<value xsi:type="REAL" value="{value}"/>'


def text(value: str) -> str:
    return f"<value>{value}</value>"


ITEM = observation("DE04.30.019.00", text("WBC")), observation("DE04.30.015.00", number("12.30"))
UNIT = observation("DE04.30.016.00", text("10^9/L"))


def clusters() -> str:
    nested = observation("DE04.30.015.00", number("12.30"), f"<entryRelationship>{UNIT}</entryRelationship>")
    one = f"<organizer classCode='CLUSTER'><component>{ITEM[0]}</component><component>{nested}</component></organizer>"
    return f"<entry>{one}</entry>" * 2


def siblings() -> str:
    return "".join(f"<entry>{part}</entry>" for part in (*ITEM, UNIT)) * 2


def one_organizer() -> str:
    parts = "".join(f"<component>{part}</component>" for part in (*ITEM, UNIT))
    return f"<entry><organizer>{parts * 2}</organizer></entry>"


def typo() -> str:
    nested = observation("DE04.30.015.00", number("12.30"), f"<entryReationship>{UNIT}</entryReationship>")
    return f"<entry>{ITEM[0]}</entry><entry>{nested}</entry>" * 2


def document(entries: str, *, structured: bool = True, head: str = "") -> bytes:
    section = f"<component><section>{entries}</section></component>"
    body = f"<component><structuredBody>{section}</structuredBody></component>" if structured else section
    return f"{HEAD}{head}{body}</ClinicalDocument>".encode()


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("shape", [clusters, siblings, one_organizer, typo])
def test_two_items_are_two_rows_in_every_shape(shape: object, structured: bool) -> None:
    rows = read(document(shape(), structured=structured)).row.tables["items"]  # type: ignore[operator]
    want = {"DE04.30.019": "WBC", "DE04.30.015": "12.30", "DE04.30.016": "10^9/L"}
    assert [row.cells for row in rows] == [want, want]


def test_a_document_inside_soap_is_found_as_xml_and_as_text() -> None:
    inner = document("", head='<code code="C0007"/>').decode()
    escaped = inner.replace("<", "&lt;")
    for body in (f"<Envelope><Body>{inner}</Body></Envelope>", f"<Envelope><Body>{escaped}</Body></Envelope>"):
        assert read(body.encode()).kind == "C0007"
    with pytest.raises(BadXml):
        read(b"<Envelope><Body/></Envelope>")


@pytest.mark.parametrize(
    ("code", "title", "template", "kind"),
    [
        ("C0007", "检查报告", "", "C0007"),
        ("c0053", "", "", "C0053"),
        ("HDSD00.04", "检验报告", "2.16.156.10011.2.1.1.26", "C0007"),
        ("", "急诊留观病历", "", "C0003"),
        ("", "县人民医院检查报告", "", "C0006"),
        ("", "门（急）诊病历", "", "C0002"),
        ("", "", "2.16.156.10011.2.1.1.72", "C0052"),
        ("", "某某记录单", "1.2.3", ""),
    ],
)
def test_the_kind_is_the_code_then_the_title_then_the_template(code: str, title: str, template: str, kind: str) -> None:
    assert document_kind(code, title, template) == kind


def test_data_elements_lose_only_their_empty_sub_code() -> None:
    assert data_element("DE04.30.019.00") == data_element("DE04.30.019") == "DE04.30.019"
    assert data_element("DE02.01.005.01") == "DE02.01.005.01"
    assert data_element("WBC") == ""


def test_misspelt_roots_of_identifiers_are_known() -> None:
    ids = '<id root="2016.156.10011.1.33" extension="R1"/><id root="2.16.156.10011.1.11" extension="V1"/>'
    cells = read(document("", head=f"<recordTarget><patientRole>{ids}</patientRole></recordTarget>")).row.cells
    assert cells["recordTarget/patientRole/id[1.33]"] == "R1"
    assert cells["recordTarget/patientRole/id[1.11]"] == "V1"


def drug(name: str) -> str:
    label = f"<manufacturedLabeledDrug><name>{name}</name></manufacturedLabeledDrug>"
    product = f"<consumable><manufacturedProduct>{label}</manufacturedProduct></consumable>"
    return f"<entry><substanceAdministration>{product}</substanceAdministration></entry>"


DAYS = "<entry>" + observation("DE06.00.294.00", '<value value="30" unit="天"/>') + "</entry>"


def test_days_belong_to_the_drug_before_them() -> None:
    rows = read(document(drug("A") + DAYS + drug("B"))).row.tables["drugs"]
    assert ["DE06.00.294" in row.cells for row in rows] == [True, False]


def test_days_standing_once_at_the_end_are_those_of_the_prescription() -> None:
    rows = read(document(drug("A") + drug("B") + DAYS)).row.tables["drugs"]
    assert [row.cells.get("DE06.00.294") for row in rows] == ["30", "30"]


def test_the_same_element_twice_in_a_document_keeps_both() -> None:
    entries = "".join(f"<entry>{observation('DE04.50.131.00', text(word))}</entry>" for word in ("所见", "结论"))
    found = read(document(entries))
    assert (found.row.cells["DE04.50.131"], found.row.cells["DE04.50.131[2]"]) == ("所见", "结论")


def test_a_section_without_narrative_gets_one_from_its_facts() -> None:
    entry = (
        '<entry><observation><code code="DE04.01.119.00" displayName="主诉"/><value>咳嗽</value></observation></entry>'
    )
    assert read(document(entry)).row.tables["sections"][0].cells["narrative"] == "主诉：咳嗽"


def test_every_populated_leaf_is_used_ignored_or_reported_with_its_line() -> None:
    body = document(
        "\n<entry>" + observation("DE04.01.119.00", text("咳嗽")) + "</entry>", head="<title>检查报告</title>"
    )
    found, form = read(body), CdaFormat()
    assert form.getter("title")(found.row, found.row) == "检查报告"
    unused = form.unused(Document("C0006", found.row), None, {"nothing": "x"})
    assert [(entry.place, entry.lost) for entry in unused] == [("DE04.01.119#2", True)]


def test_a_map_may_write_a_data_element_with_its_empty_sub_code() -> None:
    found, form = read(document(f"<entry>{observation('DE04.01.119', text('咳嗽'))}</entry>")), CdaFormat()
    assert form.getter("DE04.01.119.00")(found.row, found.row) == "咳嗽"
