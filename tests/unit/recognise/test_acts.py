"""A doctor's decisions: kept as DetectedIssues, read back, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from gateway.model.resource import dumps
from gateway.model.systems import RECOGNITION_ACT
from gateway.recognise.acts import AGAIN, TAKEN, Act, ActItem, Count, Place, Told, of_issue, reason_of, tally, to_issue
from gateway.recognise.reasons import Verdict
from gateway.validate.structure import decode
from tests.builders import M1, M4, NOW

K, NA = ActItem("LAB-K", "钾", "o1"), ActItem("LAB-NA", "钠", "o2")
TAKEN_OVER = Act("p1", "r1", NOW, "zheng", "郑医生（镇卫生院）", (K, NA), sentence="引用……，予以互认。")
DONE_AGAIN = replace(TAKEN_OVER, reason=reason_of("03"), note="拟行手术")


def told(act: Act, member: str = M4) -> Told:
    return Told(act, member, M1)


def test_a_decision_is_a_detected_issue_and_reads_back_as_it_was() -> None:
    for act in (TAKEN_OVER, DONE_AGAIN, replace(TAKEN_OVER, items=(ActItem("IMG-CT-CHEST-PLAIN", "胸部CT平扫"),))):
        issue = to_issue(act, "d1")
        decode("DetectedIssue", dumps(issue))
        assert of_issue(issue) == act
    assert (TAKEN_OVER.kind, DONE_AGAIN.kind) == (TAKEN, AGAIN)


def test_other_issues_and_those_taken_back_are_no_decisions() -> None:
    issue = to_issue(TAKEN_OVER, "d1")
    assert of_issue({"resourceType": "DetectedIssue", "status": "final"}) is None
    assert of_issue({**issue, "status": "entered-in-error"}) is None
    assert of_issue({key: value for key, value in issue.items() if key != "identifiedDateTime"}) is None


def test_a_repeat_a_client_wrote_without_a_reason_is_counted_as_one_without() -> None:
    bare = {**to_issue(TAKEN_OVER, "d1"), "code": {"coding": [{"system": RECOGNITION_ACT, "code": AGAIN}]}}
    act = of_issue(bare)
    assert act is not None and act.reason is not None and act.reason.code == ""
    assert tally([told(act)])[Place(M4, M1, "LAB-K", "钾")] == Count(again=Counter([""]))


def test_items_are_counted_by_member_origin_and_reason_and_only_the_last_word_counts() -> None:
    later = replace(DONE_AGAIN, at=NOW + timedelta(hours=1), items=(K,))
    elsewhere = replace(TAKEN_OVER, items=(K,))
    found = tally([told(later), told(TAKEN_OVER), told(elsewhere, "other")])
    assert found == {
        Place(M4, M1, "LAB-K", "钾"): Count(again=Counter(["03"])),
        Place(M4, M1, "LAB-NA", "钠"): Count(1),
        Place("other", M1, "LAB-K", "钾"): Count(1),
    }


def test_monitoring_and_missing_images_do_not_count_against_recognition() -> None:
    count = Count(3, Counter({"03": 1, "98": 2, "99": 1}))
    assert (count.counted, count.rate) == (1, 0.75)
    assert Count(0, Counter({"99": 4})).rate is None


def test_to_do_again_what_was_left_to_the_doctor_counts_against_nobody() -> None:
    left = replace(K, verdict=Verdict.JUDGE, because="检验科提示标本或结果有疑问（溶血）")
    act = of_issue(to_issue(replace(DONE_AGAIN, items=(left, replace(NA, verdict=Verdict.YES))), "d1"))
    assert act is not None and act.items[0] == left
    found = tally([told(act)])
    assert [(place.code, count.counted, sum(count.again.values())) for place, count in found.items()] == [
        ("LAB-K", 0, 1),
        ("LAB-NA", 1, 1),
    ]
