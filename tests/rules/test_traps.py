"""Every trap of HL7 v2 feeds we know of, and the test that holds it: a trap without a living test fails here."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TRAPS = {
    # ---- bytes, charset, separators
    "a separator as second byte": "test_a_name_whose_second_byte_looks_like_a_bar_survives",
    "framing bytes inside characters": "test_no_byte_that_frames_a_message_occurs_inside_a_chinese_character",
    "short GBK texts are valid UTF-8": "test_a_charset_is_never_guessed_by_one_field",
    "MSH-18 says anything": "test_whatever_msh_18_says_the_bytes_decide",
    "declared and actual charset differ": "test_a_wrongly_declared_charset_is_remarked_and_the_bytes_decide",
    "bytes of no charset": "test_what_fits_nothing_is_latin_1_and_says_so",
    "five characters in MSH-2": "test_a_fifth_separator_in_msh_2_is_accepted",
    "separators of the sender's own": "test_other_separators_are_read_and_data_that_looks_like_the_usual_ones_is_kept",
    "letters as separators": "test_what_cannot_separate_is_no_separator",
    "LF, CRLF, no last CR": "test_any_line_end_separates_segments",
    "NUL, framing bytes, text after the end": "test_framing_bytes_and_nuls_inside_the_body_do_no_harm",
    "lines broken inside a field": "test_a_text_broken_into_lines_inside_its_field_stays_whole",
    "escapes": "test_escapes_are_undone_in_texts",
    "times of every precision": "test_a_time_is_as_precise_as_it_was_sent_and_gets_a_zone_only_with_a_time_of_day",
    '`""` against empty': "test_a_v2_null_deletes_its_element_and_an_empty_field_says_nothing",
    "batches in files": "test_a_batch_falls_into_its_messages",
    "batches over MLLP": "test_a_batch_is_answered_message_by_message_in_one_frame",
    "versions nobody knows": "test_an_unknown_version_is_read_like_any_other",
    # ---- people
    "name and pinyin in one field": "test_pinyin_is_kept_as_a_second_name",
    "name and sex in one field": "test_names_are_whole_however_they_are_cut",
    "sex in words and digits": "test_every_spelling_of_sex_is_understood",
    "patient class in words": "test_every_spelling_of_the_patient_class_is_understood",
    "card number in PID-3, PID-4 or PID-19": "test_the_card_is_found_in_pid_3_4_and_19",
    "card number without a type": "test_a_national_number_without_a_type_is_still_the_card",
    "numbers that stand for nothing": "test_placeholders_are_no_numbers",
    "wards as free text": "test_a_ward_in_free_text_is_a_place",
    "addresses in one piece": "test_addresses_are_told_apart_by_their_words",
    # ---- groups by position
    "OBX behind SPM": "test_a_result_behind_the_specimen_is_still_a_result",
    "SPM above its orders": "test_specimens_above_their_orders_stay_with_them",
    "NTE below anything": "test_a_note_belongs_to_the_segment_above_it",
    "several orders in a message": "test_two_orders_are_two_reports_with_their_own_results",
    "several patients in a message": "test_two_patients_in_a_message_keep_their_results_apart",
    "segments before their PID": "test_a_segment_before_its_patient_belongs_to_it",
    "antibiograms by OBR-26": "test_susceptibilities_hang_below_their_isolate",
    "several RXA without ORC": "test_several_doses_without_an_orc_are_several_vaccinations",
    "Z segments": "test_a_z_segment_is_in_the_account_of_unused_fields",
    # ---- values
    "OBX-5 by OBX-2, odd and empty types": "test_a_value_finds_its_element_whatever_its_type_says",
    "comparators, full width, arrows, titres": "test_numbers_keep_their_digits_and_comparators",
    "words in a numeric field": "test_text_in_a_numeric_field_is_kept_and_remarked",
    "text of several OBX": "test_text_rows_of_one_item_are_one_text",
    "repetitions inside OBX-5": "test_repetitions_inside_a_value_are_lines",
    "a PDF beside items (ED)": "test_a_pdf_is_the_printed_report_and_no_result",
    "a page kept elsewhere (RP)": "test_a_page_the_laboratory_keeps_is_the_printed_report_and_no_result",
    "the same item twice": "test_the_same_item_twice_in_a_report_stays_two_results",
    "`G/L`, `10*9/L` and their kin": "test_every_spelling_of_the_cell_count_unit_is_known",
    # ---- corrections and time
    "OBX-11 C X D W": "test_a_corrected_item_is_the_same_observation",
    "wrong patient, deleted items": "test_deleted_and_wrong_items_leave_the_report",
    "a late preliminary": "test_a_late_preliminary_becomes_history_and_the_final_stays",
    "a correction appends nothing": "test_a_correction_replaces_the_value_in_a_second_version",
    "discharge cancelled": "test_a_cancelled_discharge_takes_end_and_disposition_back",
    "A40 with several pairs": "test_each_pair_of_a_merge_message_is_its_own_merge",
    "messages for a retired number": "test_two_numbers_merge_and_later_messages_for_the_old_one_find_the_survivor",
    # ---- events and answers
    "an event nobody mapped": "test_an_event_without_a_map_is_served_by_its_structure_and_the_outcome_says_so",
    "an empty trigger": "test_an_empty_trigger_is_read_from_evn_1",
    "enhanced acknowledgement": "test_enhanced_mode_accepts_first_and_says_later_what_came_of_it",
    "senders that repeat for ever on AE": "test_a_source_that_always_wants_aa_gets_it",
    "answers in the sender's charset": "test_the_answer_comes_in_the_charset_of_the_question",
    "answers in the sender's separators": "test_a_separator_of_the_sender_s_own_is_escaped_where_it_is_data",
}


@cache
def known() -> frozenset[str]:
    """Names of all tests there are."""
    texts = (path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_test(trap: str) -> None:
    assert TRAPS[trap] in known()
