"""Messages translated a second on one core: a 20-item ORU, bytes to serialised drafts with ids and account.

The ceiling of the same run: the same bytes decoded and split to components with the standard library alone.
Rounds of both take turns and processor time is counted, so that the ratio holds on a busy machine too.
Run: `python -m tests.bench.bench_translate`. Target: 8,000 messages/s, which is 23 % of the ceiling.

The second population has values of six random digits: no result comes twice, nothing remembered helps with it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from gateway.model.ids import Ids
from gateway.model.message import Draft, RawMessage
from gateway.model.times import CHINA
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from tests.bench.machine import machine

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=CHINA)
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


def messages(count: int) -> list[bytes]:
    """Different reports of different residents; every third has a raised item."""
    return [_message(number, _steps).encode() for number in range(count)]


def unlike(count: int) -> list[bytes]:
    """As `messages`, with values that hardly come twice."""
    any_ = random.Random(20)
    return [_message(number, lambda _, __: any_.random()).encode() for number in range(count)]


def _steps(number: int, place: int) -> float:
    return (number * 7 + place) % 13 / 40


def _message(number: int, above: Callable[[int, int], float]) -> str:
    rows = []
    for place, item in enumerate(_ITEMS, 1):
        name, value, unit, band = item.split("|")
        value = f"{float(value) * (1 + above(number, place)):.{2 if above is _steps else 5}f}"
        flag = "H" if (number + place) % 3 == 0 else ""
        rows.append(f"OBX|{place}|NM|{name}^L||{value}|{unit}|{band}|{flag}|||F")
    minute = f"202603{number % 19 + 1:02d}08{number % 60:02d}00"
    return "\r".join(
        (
            f"MSH|^~\\&|LIS|CITY1|GATEWAY|ALLIANCE|{minute}||ORU^R01^ORU_R01|M{number}|P|2.5.1||||||UNICODE UTF-8",
            f"PID|1||A{number:06d}^^^CITY1^MR||居民{number}||19680101|F|||东河村^青石镇^青石县",
            f"ORC|RE|S{number}|R{number}",
            f"OBR|1|S{number}|R{number}|SH20^生化全套^L|||{minute}|||||||{minute}|血清|||||||{minute}||LAB|F",
            *rows,
            "",
        )
    )


def split_only(body: bytes) -> int:
    """The ceiling: decode, segments, fields, components."""
    cells = 0
    for line in body.decode().split("\r"):
        for field in line.split("|"):
            cells += len(field.split("^"))
    return cells


def rates(calls: Sequence[Callable[[int], object]], count: int, rounds: int = 20) -> list[float]:
    """Calls a second of processor time: the best of many short rounds, for a neighbour's load comes and goes."""
    best = [0.0] * len(calls)
    for _ in range(rounds):
        for which, call in enumerate(calls):
            start = time.process_time()
            for number in range(count):
                call(number)
            best[which] = max(best[which], count / (time.process_time() - start))
    return best


def main(count: int = 500) -> None:
    """Print the figures and the machine."""
    mappings = Mappings.load([shipped("mappings")], check=False)
    source = mappings.directory.sources["sandbox"]
    ids = Ids(b"bench" * 6)
    bodies = messages(count)

    def translate(number: int, body: bytes) -> Draft:
        return mappings.translate(RawMessage(f"k{number}", source.name, "v2", body, NOW), source, ids, NOW)

    ceiling, ours = rates((lambda n: split_only(bodies[n]), lambda n: translate(n, bodies[n])), count)
    other = iter(unlike(5 * count))
    (cold,) = rates((lambda n: translate(n, next(other)),), count, rounds=5)
    print(machine())
    print(f"{len(bodies[0])} bytes, {len(translate(0, bodies[0]).resources)} resources a message")
    print(f"split with the standard library: {ceiling:,.0f} messages/s")
    print(f"translate: {ours:,.0f} messages/s, {1e6 / ours:.0f} us each, {ours / ceiling:.1%} of the split")
    print(f"values never seen before: {cold:,.0f} messages/s, {1e6 / cold:.0f} us each")


if __name__ == "__main__":
    main()
