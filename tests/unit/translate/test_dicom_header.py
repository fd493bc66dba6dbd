"""DICOM headers: what is read, in which charset, and what hostile files meet (T32)."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

from gateway.errors import BadDicom
from gateway.translate.read_dicom import header_of, read

EXPLICIT = "1.2.840.10008.1.2.1"
NAMES = {"StudyInstanceUID", "SOPInstanceUID", "PatientID", "Modality", "SeriesNumber", "StudyDate"}


def a_file(syntax: str = EXPLICIT, **elements: object) -> bytes:
    """A small file with these elements."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in elements.items():
        setattr(dataset, name, value)
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def raw_file(*elements: bytes, syntax: str = EXPLICIT) -> bytes:
    """A file whose data set are these bytes; group 2 names only the transfer syntax."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\0" * 128 + b"DICM" + element(0x0002, 0x0010, b"UI", uid) + b"".join(elements)


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """One explicit little-endian element."""
    if vr in (b"SQ", b"OB", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def named(charset: bytes, name: bytes) -> bytes:
    return raw_file(element(8, 5, b"CS", charset), element(0x10, 0x10, b"PN", name))


@pytest.mark.parametrize("syntax", [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_every_uncompressed_transfer_syntax_reads_alike(syntax: str) -> None:
    body = a_file(syntax, PatientID="A1", StudyInstanceUID="2.25.7", SeriesNumber=3, Rows=512)
    cells = read(body).row.cells
    assert (cells["PatientID"], cells["StudyInstanceUID"], cells["SeriesNumber"], cells["Rows"]) == (
        "A1",
        "2.25.7",
        "3",
        "512",
    )


def test_our_reading_equals_that_of_pydicom_on_its_own_test_files() -> None:
    compared = 0
    for path in sorted(name for name in get_testdata_files() if name.endswith(".dcm")):
        try:
            cells = read(Path(path).read_bytes()).row.cells
            other = pydicom.dcmread(path, stop_before_pixels=True)
        except (BadDicom, pydicom.errors.InvalidDicomError, OSError):
            continue
        for name in NAMES:
            value = other.get(name)
            assert cells.get(name, "") == ("" if value is None else str(value)), (path, name)
        compared += 1
    assert compared > 50


def test_sequences_become_lists_of_items() -> None:
    item = Dataset()
    item.AccessionNumber = "CT1"
    body = a_file(RequestAttributesSequence=Sequence([item, Dataset()]), PatientID="A1")
    assert [row.cells for row in read(body).row.tables["RequestAttributesSequence"]] == [{"AccessionNumber": "CT1"}]


CHARSETS = {
    "GB18030": (b"GB18030", "张珅".encode("gb18030"), True),
    "GBK": (b"GBK", "张珅".encode("gbk"), True),
    "UTF-8": (b"ISO_IR 192", "张珅".encode(), True),
    "undeclared GBK": (b"", "张珅^放射".encode("gb18030"), False),
    "undeclared UTF-8": (b"", "张珅".encode(), False),
    "GBK under UTF-8": (b"ISO_IR 192", "张珅".encode("gb18030"), False),
    "GBK under Latin-1": (b"ISO_IR 100", "张珅^主任".encode("gb18030"), False),
    "GBK under Latin-2": (b"ISO_IR 101", "张珅^主任".encode("gb18030"), False),
    "UTF-8 under Latin-1": (b"ISO_IR 100", "张珅".encode(), False),
    "UTF-8 under GB18030": (b"GB18030", "张珅^主任".encode(), False),
    "GB2312 by its name": (b"GB2312", "张珅".encode("gb18030"), True),
}


@pytest.mark.parametrize("case", CHARSETS.values(), ids=CHARSETS.keys())
def test_a_chinese_name_is_read_under_every_charset(case: tuple[bytes, bytes, bool]) -> None:
    charset, name, trusted = case
    found = read(named(charset, name))
    assert str(found.row.cells["PatientName"]).startswith("张珅")
    assert bool(found.findings) is not trusted


def test_the_escapes_of_iso_2022_ir_58_are_dropped() -> None:
    name = b"Li^Jianguo=\x1b$)A\xc0\xee^\x1b$)A\xbd\xa8\xb9\xfa"
    found = read(named(rb"\ISO 2022 IR 58", name))
    assert found.row.cells["PatientName"] == "Li^Jianguo=李^建国"
    assert not found.findings


def test_gb2312_under_latin_1_is_chinese_and_western_names_stay_western() -> None:
    for name in ("赵丽", "魏"):  # 魏 is κ in UTF-8
        assert read(named(b"ISO_IR 100", name.encode("gbk"))).row.cells["PatientName"] == name
    assert read(named(b"ISO_IR 100", "Müller^Jürgen".encode("latin-1"))).row.cells["PatientName"] == "Müller^Jürgen"


def test_a_backslash_inside_a_gb18030_character_does_not_split_the_name() -> None:
    assert "乗".encode("gb18030")[1:] == b"\\"
    assert read(named(b"GB18030", "乗马".encode("gb18030"))).row.cells["PatientName"] == "乗马"


def deep(levels: int) -> bytes:
    inner = element(0x0008, 0x0050, b"SH", b"X1")
    for _ in range(levels):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        inner = element(0x0040, 0x0275, b"SQ", item)
    return raw_file(inner)


def open_sequences(count: int) -> bytes:
    start = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return raw_file(start * count)


def bomb() -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(element(0x10, 0x20, b"LO", b"A1"))
    zeros = b"\0" * (1 << 20)
    packed += b"".join(engine.compress(zeros) for _ in range(80)) + engine.flush()
    return raw_file(packed, syntax="1.2.840.10008.1.2.1.99")


HOSTILE = {
    "not DICOM": lambda: b"PK\x03\x04" + b"\0" * 500,
    "empty": lambda: b"",
    "ELF preamble": lambda: b"\x7fELF" + b"\0" * 124 + b"DICM" + a_file(PatientID="1")[132:],
    "PE preamble": lambda: b"MZ" + b"\0" * 126 + b"DICM" + a_file(PatientID="1")[132:],
    "deflate bomb": bomb,
    "sequences 33 deep": lambda: deep(33),
    "50,000 open sequences": lambda: open_sequences(50_000),
    "length lie of 4 GB": lambda: raw_file(struct.pack("<HH2sHI", 0x10, 0x4000, b"UT", 0, 0xFFFFFFF0), b"x" * 10),
    "text of 2 MB": lambda: raw_file(element(0x10, 0x4000, b"UT", b"x" * (2 << 20))),
    "cut inside a header": lambda: a_file(PatientID="A1", PatientName="X")[:-11],
    "200,000 elements": lambda: raw_file(element(8, 0x1140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 200_000)),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused_quickly(make: object) -> None:
    body = make()  # type: ignore[operator]
    began = time.perf_counter()
    with pytest.raises(BadDicom):
        read(body)
    assert time.perf_counter() - began < 2


def test_thirty_two_levels_are_read() -> None:
    assert "RequestAttributesSequence" in read(deep(32)).row.tables


def test_a_file_cut_off_inside_its_pixels_still_has_its_header() -> None:
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 1 << 20) + b"\0" * 100
    assert read(raw_file(element(0x10, 0x20, b"LO", b"A1"), pixels)).row.cells["PatientID"] == "A1"


@pytest.mark.parametrize("syntax", [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_the_header_alone_reads_as_the_whole_file(syntax: str) -> None:
    dataset = a_file(syntax, PatientID="A1", Rows=512)
    big = syntax.endswith(".2.2")
    tag = struct.pack(">HH" if big else "<HH", 0x7FE0, 0x0010)
    size = struct.pack(">I" if big else "<I", 100_000)
    pixels = tag + (size if syntax == "1.2.840.10008.1.2" else b"OW\0\0" + size) + b"\x55" * 100_000
    kept = header_of(dataset + pixels)
    assert kept == dataset and read(kept).row.cells == read(dataset + pixels).row.cells
    assert header_of(b"no image") == b"no image"


def test_random_damage_never_ends_in_another_error() -> None:
    body = a_file(PatientID="A1", PatientName="张珅", SpecificCharacterSet="GB18030", StudyInstanceUID="2.25.7")
    for at in range(132, len(body)):
        for value in (0, 0xFF, body[at] ^ 0x55):
            try:
                read(body[:at] + bytes([value]) + body[at + 1 :])
            except BadDicom:
                continue
