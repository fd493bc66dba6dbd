"""HL7 v2 messages of twenty repetitions, one population for each base map: what hospitals send on a busy morning.

Every message has its own patient, numbers, times and values; items, drugs and departments recur, as they do.
"""

from __future__ import annotations

import random
from collections.abc import Callable

_ITEMS = """
ALT^丙氨酸氨基转移酶|23|U/L|9-50
AST^天门冬氨酸氨基转移酶|21|U/L|15-40
ALP^碱性磷酸酶|80|U/L|45-125
GGT^γ-谷氨酰基转移酶|31|U/L|10-60
TP^总蛋白|71.2|g/L|65-85
ALB^白蛋白|44.1|g/L|40-55
TBIL^总胆红素|12.3|μmol/L|0-26
DBIL^直接胆红素|3.1|μmol/L|0-8
UREA^尿素|5.4|mmol/L|3.1-8.0
CREA^肌酐|76|μmol/L|57-97
URIC^尿酸|380|μmol/L|208-428
GLU^葡萄糖|5.21|mmol/L|3.9-6.1
TC^总胆固醇|4.90|mmol/L|<5.2
TG^甘油三酯|1.32|mmol/L|<1.7
K^钾|4.1|mmol/L|3.5-5.3
Na^钠|141|mmol/L|137-147
Cl^氯|103|mmol/L|99-110
Ca^总钙|2.31|mmol/L|2.11-2.52
CK^肌酸激酶|120|U/L|50-310
LDH^乳酸脱氢酶|180|U/L|120-250
""".strip().splitlines()
_DRUGS = """
ATFT^阿托伐他汀钙片|20|mg|片
ASPL^阿司匹林肠溶片|100|mg|片
FSM^呋塞米片|20|mg|片
EJSG^二甲双胍片|500|mg|片
AMLD^氨氯地平片|5|mg|片
""".strip().splitlines()
_FAMILY, _GIVEN = "赵钱孙李周吴郑王冯陈", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平"
_VILLAGES = ("东河村", "西岭村", "南塘村", "北山村", "城关社区")


class Morning:
    """One message's own patient, numbers, times and values."""

    def __init__(self, kind: str, number: int) -> None:
        self.any = random.Random(f"{kind} {number}")
        self.number = number
        self.minute = f"202603{number % 19 + 1:02d}{self.any.randrange(7, 18):02d}{self.any.randrange(60):02d}"

    def time(self) -> str:
        """A time of that morning, to the second."""
        return f"{self.minute}{self.any.randrange(60):02d}"

    def digits(self, count: int) -> str:
        """A number nobody else has, or hardly."""
        return f"{self.any.randrange(10**count):0{count}d}"

    def head(self, kind: str) -> list[str]:
        """MSH, PID and PV1."""
        one = self.any
        born = f"{one.randrange(1940, 2015)}{one.randrange(1, 13):02d}{one.randrange(1, 28):02d}"
        name = one.choice(_FAMILY) + one.choice(_GIVEN) + one.choice(_GIVEN)
        home = f"{one.choice(_VILLAGES)}{one.randrange(300)}号^^青石镇^青石县"
        return [
            f"MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|{self.time()}||{kind}|M{self.number}|P|2.5.1||||||UNICODE UTF-8",
            f"PID|1||B{self.digits(6)}^^^CITY1^MR~990150{born}{self.digits(4)}^^^^NI||{name}||{born}|F|||{home}"
            f"||139{self.digits(8)}",
            f"PV1|1|I|N5^08^2^CITY1||||D021^钱内科^^^^^^^CITY1||||||||||||ZY{self.digits(9)}",
        ]

    def results(self) -> list[str]:
        """Twenty OBX with values of five decimals; a third of them are flagged."""
        rows = []
        for place, item in enumerate(_ITEMS, 1):
            name, value, unit, band = item.split("|")
            flag = "H" if self.any.random() < 0.3 else ""
            shown = f"{float(value) * (0.7 + self.any.random()):.5f}"
            rows.append(f"OBX|{place}|NM|{name}^L||{shown}|{unit}|{band}|{flag}|||F")
        return rows

    def order(self) -> list[str]:
        """ORC and OBR of a laboratory report."""
        asked, filled = f"S{self.digits(8)}", f"R{self.digits(8)}"
        times = f"|||{self.time()}|||||||{self.time()}|血清|||||||{self.time()}||LAB|F|||||||&钟检验"
        return [f"ORC|RE|{asked}|{filled}", f"OBR|1|{asked}|{filled}|SH20^生化全套^L{times}"]

    def drugs(self) -> list[tuple[str, str, str, str]]:
        """Twenty drugs: code and name, dose, unit of the dose, unit dispensed."""
        code, dose, unit, form = zip(*(drug.split("|") for drug in _DRUGS), strict=True)
        return [(f"{code[n % 5]}^L", dose[n % 5], unit[n % 5], form[n % 5]) for n in range(20)]


def _report(kind: str) -> Callable[[Morning], list[str]]:
    return lambda m: [*m.head(kind), *m.order(), *m.results()]


def _specimen_first(m: Morning) -> list[str]:
    specimen = f"SPM|1|B{m.digits(8)}||SER^血清^L|||||||||||||{m.time()}|{m.time()}"
    orc, obr = m.order()
    return [*m.head("OUL^R22^OUL_R22"), specimen, obr, orc, *m.results()]


def _specimen_last(m: Morning) -> list[str]:
    orc, obr = m.order()
    specimen = f"SPM|1|B{m.digits(8)}||SER^血清^L|||||||||||||{m.time()}"
    return [*m.head("OUL^R24^OUL_R24"), obr, orc, *m.results(), specimen]


def _admission(m: Morning) -> list[str]:
    return [*m.head("ADT^A01^ADT_A01"), *m.results(), f"DG1|1||I21.900^急性心肌梗死^ICD10CN||{m.time()}|A"]


def _orders(m: Morning) -> list[str]:
    out = m.head("OML^O21^OML_O21")
    for place, item in enumerate(_ITEMS, 1):
        asked = f"S{m.digits(8)}"
        out.append(f"ORC|NW|{asked}||SQD{m.digits(6)}|||||{m.time()}|||D025^冯医生")
        out.append(f"OBR|{place}|{asked}||{item.partition('|')[0]}^L")
    return out


def _with_results(m: Morning) -> list[str]:
    orc = f"ORC|NW|S{m.digits(8)}|||||||{m.time()}|||D025^冯医生"
    obr = f"OBR|1|S{m.digits(8)}||XZCS^心脏超声^L||||||||||||||||||||CUS|||||||I21^心肌梗死后评估"
    return [*m.head("OMG^O19^OMG_O19"), orc, obr, *m.results()]


def _prescription(m: Morning) -> list[str]:
    out = m.head("RDE^O11^RDE_O11")
    for drug, dose, unit, form in m.drugs():
        out.append(f"ORC|NW|Y{m.digits(8)}|||||||{m.time()}|||D025^冯医生")
        out.append(f"RXE||{drug}|{dose}||{unit}||^睡前服|||{m.any.randrange(7, 60)}|{form}|0|||CF{m.digits(8)}")
        out += [f"TQ1|1||QN|||14|{m.time()}||R", "RXR|PO^口服^L"]
    return out


def _dispensed(m: Morning) -> list[str]:
    out = m.head("RDS^O13^RDS_O13")
    for place, (drug, _, _, form) in enumerate(m.drugs(), 1):
        out.append(f"ORC|RE|Y{m.digits(8)}|F{m.digits(8)}||||||{m.time()}")
        many = m.any.randrange(7, 60)
        out.append(f"RXD|{place}|{drug}|{m.time()}|{many}|{form}||CF{m.digits(8)}||已交代用法|Y01^药师周")
        out.append("RXR|PO^口服^L")
    return out


def _given(m: Morning) -> list[str]:
    out = m.head("RAS^O17^RAS_O17")
    for drug, dose, unit, _ in m.drugs():
        out.append(f"ORC|RE|Y{m.digits(8)}|||||||{m.time()}")
        out.append(f"RXA|0|1|{m.time()}||{drug}|{dose}|{unit}|||H01^护士郑||||||||||CP")
        out.append("RXR|PO^口服^L")
    return out


def _doses(m: Morning) -> list[str]:
    out = m.head("VXU^V04^VXU_V04")
    for place in range(20):
        out.append(f"ORC|RE||J{m.digits(8)}||||||{m.time()}|||D025^冯医生")
        lot = f"{m.digits(8)}A|20270610"
        vaccine = ("MMR^麻腮风疫苗", "HEPB^乙肝疫苗", "FLU^流感疫苗")[place % 3]
        out.append(
            f"RXA|0|1|{m.time()}||{vaccine}^L|0.5|mL||00^新接种^L|H07^护士何|城关镇卫生院||||{lot}|BJSW^北京生物^L|||CP|A"
        )
        out.append("RXR|SC^皮下^L|LA^左上臂^L")
    return out


def _vaccinated(m: Morning) -> list[str]:
    dose = f"RXA|0|1|{m.time()}||MMR^麻腮风疫苗^L|0.5|mL||00^新接种^L|H07^护士何"
    return [*m.head("VXU^V04^VXU_V04"), f"ORC|RE||J{m.digits(8)}", dose, *m.results()]


def _problems(m: Morning) -> list[str]:
    out = m.head("PPR^PC1^PPR_PC1")
    for place in range(20):
        problem = ("I50.900^心力衰竭", "I10.x00^高血压病", "E11.900^2型糖尿病")[place % 3]
        out.append(
            f"PRB|AD|{m.time()}|{problem}^ICD10CN|W{m.digits(8)}|||{m.time()}||||||CONFIRMED|ACTIVE||{m.time()[:8]}"
        )
    return out


def _charges(m: Morning) -> list[str]:
    out = m.head("DFT^P03^DFT_P03")
    for place, item in enumerate(_ITEMS, 1):
        cost = f"{m.any.random() * 100:.2f}"
        out.append(
            f"FT1|{place}|F{m.digits(8)}||{m.time()}|{m.time()}|CG|{item.partition('|')[0]}^L|||1|{cost}&CNY"
            f"||JYK^检验科^L||||||||D025^冯医生||S{m.digits(8)}"
        )
    return out


def _account(m: Morning) -> list[str]:
    out = [*m.head("BAR^P01^BAR_P01")]
    for place in range(1, 21):
        problem = ("I50.900^心力衰竭", "I10.x00^高血压病", "E11.900^2型糖尿病")[place % 3]
        out.append(f"DG1|{place}||{problem}^ICD10CN||{m.time()}|F|||||||||{place}")
    return out


def _document(m: Morning) -> list[str]:
    number = f"WD{m.digits(8)}"
    txa = f"TXA|1|CY^出院小结^L|TX|{m.time()}|D021^钱内科|{m.time()}|||D021^钱内科|||{number}|||||PA|N|AV"
    text = [f"OBX|{n}|TX|CY^出院小结^L||第{n}段：患者{m.digits(6)}，恢复良好。||||||F" for n in range(1, 21)]
    return [*m.head("MDM^T02^MDM_T02"), txa, *text]


def _referral(m: Morning) -> list[str]:
    msh, *patient = m.head("REF^I12^REF_I12")
    rf1 = f"RF1|P|A|SZ^上转^L|||ZZ{m.digits(8)}|20260310|20260324|{m.time()}|XT^胸痛待查^L"
    return [msh, rf1, "PRD|RP|吴全科|青石县白塔镇|白塔镇卫生院", *patient, "OBR|1|||SM^生命体征^L", *m.results()]


def _appointment(m: Morning) -> list[str]:
    msh, *patient = m.head("SIU^S12^SIU_S12")
    sch = f"SCH|Y{m.digits(8)}|H{m.digits(8)}|||||FZ^复诊^L|PTMZ^普通门诊^L||||||||G01^挂号员|||||||||Booked"
    with_whom = [f"AIP|{n}||D{n:03d}^冯医生|ZZ^主治^L" for n in range(1, 21)]
    return [msh, sch, *patient, "RGS|1", f"AIS|1||NFM^内分泌科门诊^L|{m.time()}|||15|MIN", *with_whom]


def _staff(m: Morning) -> list[str]:
    msh, *_ = m.head("MFN^M02^MFN_M02")
    out = [msh, "MFI|STF^职工^HL70175||UPD|||AL"]
    for _ in range(20):
        who, name = f"D{m.digits(5)}", m.any.choice(_FAMILY) + m.any.choice(_GIVEN)
        out.append(f"MFE|MAD|ZG{m.digits(5)}|20260301|{who}^^L|CE")
        out.append(f"STF|{who}|{who}|{name}|YS^医师^L|M||A|XNK^心内科^L||057{m.digits(8)}||20260301||||||主治医师")
        out.append(f"PRA|{who}||||XN^心血管内科^L")
    return out


def _wards(m: Morning) -> list[str]:
    msh, *_ = m.head("MFN^M05^MFN_M05")
    out = [msh, "MFI|LOC^位置^HL70175||UPD|||AL"]
    for _ in range(20):
        ward = f"N{m.digits(5)}"
        out.append(f"MFE|MAD|WZ{m.digits(5)}|20260301|{ward}^^^CITY1|PL")
        out.append(f"LOC|{ward}^^^CITY1|{ward}病区|N^护理单元^L|||057{m.digits(6)}")
    return out


POPULATIONS: dict[str, Callable[[Morning], list[str]]] = {
    "oru_r01: 20 OBX": _report("ORU^R01^ORU_R01"),
    "oru_r30: 20 OBX": _report("ORU^R30^ORU_R30"),
    "oru_r32: 20 OBX": _report("ORU^R32^ORU_R30"),
    "oul_r22: 20 OBX": _specimen_first,
    "oul_r24: 20 OBX": _specimen_last,
    "adt: 20 OBX": _admission,
    "orm_o01: 20 OBX": _with_results,
    "vxu_v04: 20 OBX": _vaccinated,
    "ref: 20 OBX": _referral,
    "mdm: 20 OBX of text": _document,
    "segments: 20 OBX": _report("ORU^Z99^ORU_Z99"),
    "orm_o01: 20 orders": _orders,
    "rx_order: 20 drugs": _prescription,
    "rds_o13: 20 dispensed": _dispensed,
    "ras_o17: 20 given": _given,
    "vxu_v04: 20 doses": _doses,
    "ppr: 20 problems": _problems,
    "dft: 20 charges": _charges,
    "bar: 20 diagnoses": _account,
    "siu: 20 participants": _appointment,
    "mfn_m02: 20 of the staff": _staff,
    "mfn_m05: 20 wards": _wards,
}


def messages(name: str, count: int, first: int = 0) -> list[bytes]:
    """`count` different messages of a population; another `first` gives others."""
    make = POPULATIONS[name]
    return [("\r".join(make(Morning(name, first + number))) + "\r").encode() for number in range(count)]
