"""HL7 v2 messages for tests that need many: synthetic residents, one member, any number of reports."""

from __future__ import annotations

SENDER = ("ESB", "CITY1")  # MSH-3 and MSH-4 of the city hospital
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ITEMS = (
    ("ALT", "丙氨酸氨基转移酶", "U/L", "7-40"), ("AST", "天门冬氨酸氨基转移酶", "U/L", "13-35"),
    ("TP", "总蛋白", "g/L", "65-85"), ("ALB", "白蛋白", "g/L", "40-55"), ("TBIL", "总胆红素", "umol/L", "0-21"),
    ("DBIL", "直接胆红素", "umol/L", "0-8"), ("ALP", "碱性磷酸酶", "U/L", "50-135"),
    ("GGT", "γ-谷氨酰基转移酶", "U/L", "7-45"),
    ("UREA", "尿素", "mmol/L", "3.1-8.8"), ("CREA", "肌酐", "umol/L", "41-81"), ("UA", "尿酸", "umol/L", "155-357"),
    ("GLU", "葡萄糖", "mmol/L", "3.9-6.1"), ("TC", "总胆固醇", "mmol/L", "<5.18"), ("TG", "甘油三酯", "mmol/L", "<1.7"),
    ("HDL-C", "高密度脂蛋白胆固醇", "mmol/L", ">=1.04"), ("LDL-C", "低密度脂蛋白胆固醇", "mmol/L", "<3.37"),
    ("K", "钾", "mmol/L", "3.5-5.3"), ("Na", "钠", "mmol/L", "137-147"), ("Cl", "氯", "mmol/L", "99-110"),
    ("Ca", "总钙", "mmol/L", "2.11-2.52"),
)  # fmt: skip


def card(number: int) -> str:
    """An identity number with the right check digit: area 990102, born 1950–1999, man for odd numbers."""
    born = f"{1950 + number % 50}{1 + number // 50 % 12:02d}{1 + number // 600 % 28:02d}"
    digits = f"990102{born}{100 + number // 16_800 * 2 + number % 2:03d}"
    check = "10X98765432"[sum(int(one) * weight for one, weight in zip(digits, _WEIGHTS, strict=True)) % 11]
    return digits + check


def oru(number: int, resident: int, *, items: int = 20, control: str = "", at: str = "20260319083000") -> bytes:
    """One final report of `items` results; `number` makes control id and report number."""
    person, sender = card(resident), "|".join(SENDER)
    control = control or f"T{number:08d}"
    sex = "M" if int(person[16]) % 2 else "F"
    lines = [
        f"MSH|^~\\&|{sender}|GATEWAY|ALLIANCE|{at}||ORU^R01^ORU_R01|{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||T{resident:06d}^^^CITY1^MR~{person}^^^^NI||测试{resident}||{person[6:14]}|{sex}",
        f"PV1|1|O|||||||||||||||||V{number:08d}",
        f"ORC|RE|A{number:08d}|R{number:08d}",
        f"OBR|1|A{number:08d}|R{number:08d}|BIO^生化^L|||{at}|||||||{at}|S^血清^L|||||||{at}||LAB|F",
    ]
    for index in range(items):
        code, name, unit, band = _ITEMS[index % len(_ITEMS)]
        value = f"{(number * 7 + index * 13) % 90 + 1}.{index % 10}0"
        lines.append(f"OBX|{index + 1}|NM|{code}^{name}^L||{value}|{unit}|{band}||||F|||{at}")
    return ("\r".join(lines) + "\r").encode()
