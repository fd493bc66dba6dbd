"""Examinations and the frame viewer."""

from __future__ import annotations

import pytest

from gateway.errors import NotFound
from gateway.model.resource import Json
from gateway.model.systems import EXT_FRAMES
from gateway.outbound.pages.opened import Derived, Opened
from gateway.outbound.pages.views_imaging import Step, Study, imaging_page, viewer_page
from tests.unit.outbound.pages import residents
from tests.unit.outbound.pages.residents import derived_of, opened_of, page
from tests.unit.outbound.pages.test_page_summary import words


def studies(answering: bool = True) -> dict[tuple[str, str], Study]:
    opened = opened_of(residents.wang_xiuying(), answering=answering)
    view = imaging_page(opened, derived_of(opened))
    return {(h.name, s.title): s for h in view.hospitals for s in h.studies}


def test_the_plain_pair_is_a_repeat_and_contrast_is_none() -> None:
    found = studies()
    assert found["市第一人民医院", "胸部CT平扫"].repeat == "4 天内重复"
    assert found["县人民医院", "胸部CT平扫"].repeat == "4 天内重复"
    assert found["市第一人民医院", "胸部CT增强"].repeat == ""


def test_pictures_that_answer_make_it_recognisable_until_the_minute() -> None:
    first = studies()["市第一人民医院", "胸部CT平扫"]
    assert first.mark is not None and first.mark.text == "可互认（需阅片）"
    assert first.until == "至 04-09 11:20"
    assert len(first.thumbs) == 2 and "影像" not in (first.pictures.title if first.pictures else "")


def test_a_silent_pacs_is_said_in_words_and_the_report_stays() -> None:
    first = studies(answering=False)["市第一人民医院", "胸部CT平扫"]
    assert first.pictures is not None and first.pictures.title == "影像系统没有应答"
    assert first.conclusion and first.findings and not first.thumbs and not first.viewer
    assert first.mark is not None and first.mark.text != "可互认（需阅片）"


def test_a_member_without_pacs_is_not_connected() -> None:
    county = studies()["县人民医院", "胸部CT平扫"]
    assert county.pictures is not None and county.pictures.title == "影像：来源未接入"


def test_conclusions_are_named_as_outside_recognition() -> None:
    opened = opened_of(residents.wang_xiuying())
    text = words(page("imaging.html", opened, "imaging", view=imaging_page(opened, derived_of(opened))))
    assert text.count("（医生结论，不属互认范围）") == 3
    assert "县中医院：来源未接入" in text


def test_the_viewer_opens_in_the_middle_and_steps_both_ways() -> None:
    opened = opened_of(residents.wang_xiuying())
    view = viewer_page(opened, derived_of(opened), "s1", Step())
    assert view.place == "序列 1 · 第 2 / 3 幅"
    assert "frame=1" in view.before and "frame=3" in view.after
    assert view.src == "/dicom-web/studies/2.25.100/series/2.25.1/instances/2.25.1.2/rendered"
    assert [w.title for w in view.windows if w.current] == ["原始"]


def test_a_window_of_the_address_is_taken_only_from_the_list() -> None:
    opened = opened_of(residents.wang_xiuying())
    derived = derived_of(opened)
    assert viewer_page(opened, derived, "s1", Step(window="-600,1500")).src.endswith("?window=-600,1500,linear")
    assert "window" not in viewer_page(opened, derived, "s1", Step(window='"><script>')).src


def test_frames_beyond_the_series_are_the_last_one() -> None:
    opened = opened_of(residents.wang_xiuying())
    view = viewer_page(opened, derived_of(opened), "s1", Step(series=9, frame=999))
    assert view.place.endswith("第 3 / 3 幅") and not view.after


def with_series(*instances: Json) -> tuple[Opened, Derived]:
    """王秀英 with a second series of these instances in her plain CT."""
    resources = residents.wang_xiuying()
    s1 = next(one for one in resources if one["id"] == "s1")
    s1["series"] = [s1["series"][0], {"uid": "2.25.9", "number": 9, "instance": list(instances)}]
    opened = opened_of(resources)
    return opened, derived_of(opened)


@pytest.mark.parametrize("sop_class", ["88.59", "88.22", "11.1", "104.1", "9.1.1", "66.4"])
def test_what_is_no_picture_has_no_frame(sop_class: str) -> None:
    code = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:1.2.840.10008.5.1.4.1.1.{sop_class}"}
    opened, derived = with_series({"uid": "2.25.9.1", "sopClass": code})
    assert [link.title for link in viewer_page(opened, derived, "s1", Step()).series] == ["序列 1（3 幅）"]
    shown = {s.id: s for h in imaging_page(opened, derived).hospitals for s in h.studies}
    assert len(shown["r1"].thumbs) == 1


def test_every_frame_of_a_multi_frame_image_can_be_opened() -> None:
    frames = {"url": EXT_FRAMES, "valuePositiveInt": 40}
    opened, derived = with_series({"uid": "2.25.9.1"}, {"uid": "2.25.9.2", "extension": [frames]})
    view = viewer_page(opened, derived, "s1", Step(series=2, frame=3))
    assert view.place == "序列 9 · 第 3 / 41 幅"
    assert view.src.endswith("/series/2.25.9/instances/2.25.9.2/frames/2/rendered")


def test_another_residents_study_is_not_found() -> None:
    opened = opened_of(residents.wang_xiuying())
    with pytest.raises(NotFound):
        viewer_page(opened, derived_of(opened), "somebody-elses", Step())
