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
    want = {"DE04.30.019": "WBC", "DE04.30.015": "12.30", "DE04.30.016": "10^9/L", "item": "WBC"}
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


NULL = '<value nullFlavor="UNK"/>'


def test_what_has_no_value_still_separates_its_row_from_the_next() -> None:
    entries = [("024", NULL), ("025", text("肺癌待排")), ("024", text("I10.x00")), ("025", text("高血压"))]
    written = "".join(f"<entry>{observation(f'DE05.01.{code}.00', value)}</entry>" for code, value in entries)
    rows = read(document(written)).row.tables["diagnoses"]
    assert [(row.cells.get("DE05.01.024"), row.cells["DE05.01.025"]) for row in rows] == [
        (None, "肺癌待排"),
        ("I10.x00", "高血压"),
    ]
    nothing = f"<entry>{observation('DE05.01.024.00', NULL)}</entry>"
    assert read(document(nothing)).row.tables["diagnoses"] == []


def test_what_is_denied_is_in_no_table_but_told_with_its_line_and_in_the_narrative() -> None:
    denied = observation("DE05.01.024.00", text("I63.900")).replace("<observation", '<observation negationInd="true"')
    body = document(f"<entry>{denied}</entry>" + drug("阿司匹林").replace("<subst", "<subst", 1).replace(
        "Administration>", 'Administration negationInd="true">', 1))  # fmt: skip
    row = read(body).row
    assert "diagnoses" not in row.tables and "drugs" not in row.tables
    assert row.cells["negated/observation[DE05.01.024.00]/value"] == "I63.900" and min(row.lines.values()) == 1
    assert row.tables["sections"][0].cells["narrative"].count("（否定）") == 2


def panel(*items: str) -> str:
    parts = "".join(f"<component>{item}</component>" for item in items)
    battery = f'<organizer classCode="BATTERY"><code code="SH" displayName="生化"/>{parts}</organizer>'
    return (
        f"<entry><observation><code code='JYBG'/><entryRelationship>{battery}</entryRelationship></observation></entry>"
    )


def interval(low: str = "", high: str = "", unit: str = "mmol/L", inside: str = "") -> str:
    ends = (f'<{end} value="{value}" unit="{unit}"{inside}/>' for end, value in (("low", low), ("high", high)) if value)
    return f'<value xsi:type="IVL_PQ">{"".join(ends)}</value>'


@pytest.mark.parametrize(
    ("value", "bounds", "result", "limits"),
    [
        ('<value value="6.8" unit="mmol/L"/>', interval("3.5", "5.3"), "6.8", "3.5-5.3"),
        ('<value value="6.8" unit="mmol/L"/>', interval("", "5.3", inside=' inclusive="false"'), "6.8", "<5.3"),
        ('<value value="6.8" unit="mmol/L"/>', interval("14", "21", "mg/dL"), "6.8", "14-21 mg/dL"),
        (interval("1000", inside=' inclusive="false"'), "", ">1000", None),
        (interval("1000"), "", ">=1000", None),
        ('<value xsi:type="CD" code="1" displayName="阴性"/>', "", "阴性", None),
    ],
)
def test_intervals_and_coded_results_are_read_as_a_laboratory_prints_them(
    value: str, bounds: str, result: str, limits: str | None
) -> None:
    ranged = f"<referenceRange><observationRange>{bounds}</observationRange></referenceRange>" if bounds else ""
    item = read(document(panel(observation("K", value, ranged)))).row.tables["items"][0].cells
    assert (item["value"], item.get("range[01]/text")) == (result, limits)
    assert item.get("value@unit") == (None if "阴" in result else "mmol/L")


def test_results_of_one_code_are_told_apart_and_one_said_twice_is_one() -> None:
    first, second = (observation("GLU", number(value)) for value in ("5.1", "11.9"))
    rows = read(document(panel(first, second, first))).row.tables["items"]
    assert [row.cells["item"] for row in rows] == ["GLU", "GLU#2", "GLU"]


def test_a_unit_beside_the_number_is_its_unit_and_a_state_but_done_is_kept() -> None:
    code, value = observation("DE04.30.019", text("K")), '<value value="6.8" unit="mmol/L"/>'
    cluster = (
        f"<organizer><statusCode code='aborted'/><component>{code}</component><component>{{}}</component></organizer>"
    )
    entry = f"<entry>{cluster.format(observation('DE04.30.015', value))}</entry>"
    done = entry.replace("aborted", "completed").replace("6.8", "6.9")
    rows = read(document(entry + done)).row.tables["items"]
    assert [row.cells["DE04.30.016"] for row in rows] == ["mmol/L"] * 2
    assert [row.cells.get("statusCode") for row in rows] == ["aborted", None]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("主诉", "主诉\n主诉：头晕3天"),
        ("头晕 3天，加重", "头晕 3天，加重"),
        ("<table><tr><td>钾</td><td>6.8</td></tr><tr><td>头晕3天</td></tr></table>", "钾 | 6.8\n头晕3天"),
        ("甲<br/>乙<list><item>头晕3天</item></list>", "甲\n乙\n头晕3天"),
    ],
)
def test_a_narrative_keeps_its_cells_apart_and_gets_the_facts_it_lacks(sent: str, shown: str) -> None:
    fact = '<observation><code code="DE04.01.119.00" displayName="主诉"/><value>头晕3天</value></observation>'
    row = read(document(f"<text>{sent}</text><entry>{fact}</entry>")).row
    assert row.tables["sections"][0].cells["narrative"] == shown


def test_a_class_of_orders_is_that_of_the_orders_after_it_and_a_body_that_is_no_xml_is_told() -> None:
    orders = "".join(
        f"<entry><organizer><component>{observation('DE06.00.288', text(drug))}</component></organizer></entry>"
        for drug in ("阿司匹林", "氯吡格雷")
    )
    kind = "<entry>" + observation("DE06.00.286", '<value code="3" displayName="出院带药"/>') + "</entry>"
    rows = read(document(kind + orders)).row.tables["orders"]
    assert [row.cells["DE06.00.286@displayName"] for row in rows] == ["出院带药"] * 2
    pdf = f"{HEAD}<component><nonXMLBody><text>JVBERi0=</text></nonXMLBody></component></ClinicalDocument>"
    assert read(pdf.encode()).row.cells == {"nonXMLBody/text": "JVBERi0="}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("头晕&呕吐", "应写成 &amp;"),
        ("&nbsp;", "没有定义的实体"),
        ("\x0b", "控制字符"),
        ("<a>", "不配对"),
        ("<q:b/>", "前缀"),
    ],
)
def test_what_is_wrong_with_the_xml_is_said_with_its_line(value: str, why: str) -> None:
    with pytest.raises(BadXml) as error:
        read(document(f"\n<entry>{observation('DE04.01.119.00', text(value))}</entry>"))
    assert error.value.place == "line 2" and why in error.value.detail_zh
