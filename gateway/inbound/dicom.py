"""DICOM over its own protocol: C-ECHO, and C-STORE of which the header is kept and durable before it is answered.

On the event loop like every other door, a message of an association at a time: a PACS that sends faster than the
disk takes is read no further. Source: DICOM PS3.8 §9 (upper layer), PS3.7 §9 (DIMSE), PS3.4 annexes A and B.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from functools import partial
from typing import Any, cast

from ..errors import BrokenAssociation, GatewayError, NotStorage, TooManyConnections, UnknownSource, WrongAddress
from ..model.directory import Directory
from ..security.associations import Associations, Met
from ..security.certificates import Certificates
from ..settings import Dicom
from . import dicom_pdu as pdu
from .dicom_callers import caller, proven
from .dicom_dimse import C_CANCEL, C_ECHO, C_STORE, SUCCESS, UNRECOGNISED, Command, command_of, response
from .dicom_head import Head, answers, taken
from .intake import Intake
from .lines import HANDSHAKE_S, Line, allowed, line_of, listen

_COMMAND_BYTES = 64 * 1024
_MESSAGE_BYTES_S = 16 * 1024
"""A message that comes at least this fast may take longer than its deadline."""
_PARTING = 64
"""Connections beside those within the limit: to be told that it is reached, or told the last word already."""
_APPLICATION = "1.2.840.10008.3.1.1.1"
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)

log = logging.getLogger("gateway.dicom")


class _Association(asyncio.Protocol):
    """One association, from its request to its release or abort."""

    def __init__(self, door: DicomDoor) -> None:
        self._door = door
        self._pdus = pdu.Pdus()
        self._contexts: dict[int, str] = {}  # transfer syntax of the accepted ones
        self._met: Met | None = None
        self._calling = ""
        self._letters = bytearray()  # of a command that has begun
        self._command: Command | None = None  # whose data set comes in
        self._head: Head | None = None
        self._work: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begun = 0.0  # when the message that comes in began
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports only look like asyncio's
        self._socket: Any = transport.get_extra_info("socket")
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self._line = line_of(transport)
        self._full = self._door.admit(self, self._line)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if _QUICKACK is not None:  # a sender with Nagle's algorithm waits 40 ms for each delayed acknowledgement
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        if not self._over:
            self._pdus.feed(data)
            self._go_on()

    def _go_on(self) -> None:
        """Take PDUs in their order until one asks for work that takes time."""
        try:
            while self._work is None and not self._over and (found := self._pdus.next()):
                self._take(*found)
        except GatewayError as fault:
            self._abort(fault, 6)
        self._watch()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == pdu.ABORT:
            self._transport.close()
        elif kind == pdu.ASSOCIATE and self._met is None:
            self._associate(pdu.request_of(body))
        elif kind == pdu.DATA and self._met is not None:
            for fragment in pdu.fragments(body):
                self._add(fragment)
        elif kind == pdu.RELEASE and self._met is not None:
            self._end(pdu.released())
        else:
            raise BrokenAssociation(f"PDU {kind:02x}", "not expected now", detail_zh="此时不该出现的 PDU。")

    def _associate(self, request: pdu.Request) -> None:
        door, given, name = self._door, self._door.settings, ""
        self._calling = request.calling
        try:
            if self._full is not None:
                raise self._full
            if request.application != _APPLICATION:
                raise BrokenAssociation("A-ASSOCIATE-RQ", "application context", detail_zh="应用上下文不是 DICOM。")
            source = caller(door.directory, request, given.ae_title)
            name = source.name
            proven(source, self.address, self._line)
        except GatewayError as fault:
            door.met.refused(self.address, request.called, request.calling, fault, name)
            self._end(pdu.rejected(fault))
            return
        self._met = door.met.accepted(self.address, request.called, request.calling, name)
        said = answers(request, given.sop_classes)
        self._contexts = {number: transfer for number, (result, transfer) in said.items() if result == 0}
        if not self._contexts:
            first = request.contexts[0].abstract
            self._met.wrong = NotStorage(
                first, f"{len(said)} contexts", detail_zh=f"{len(said)} 个表示上下文均不接受。"
            )
        self._transport.write(pdu.accepted(request, said))

    def _abort(self, fault: GatewayError, reason: int = 0) -> None:
        called, source = (self._met.called, self._met.source) if self._met else ("", "")
        self._door.met.refused(self.address, called, self._calling, fault, source)
        self._end(pdu.aborted(reason))

    def _end(self, answer: bytes) -> None:
        """The last word; the peer hangs up first (PS3.8 §9.2.3), because some forget what they have not read yet."""
        self._over = True
        self._transport.write(answer)
        if not self._door.part(self):
            self._transport.close()

    # ---- messages ------------------------------------------------------------------------------
    def _add(self, one: pdu.Fragment) -> None:
        if one.context not in self._contexts or self._work is not None or one.command == (self._command is not None):
            raise BrokenAssociation("P-DATA-TF", "not expected now", detail_zh="此时不该出现的数据。")
        if not one.command:
            assert self._head is not None
            self._head.feed(one.data)
            if one.last:
                self._whole(one.context)
            return
        self._letters += one.data
        if len(self._letters) > _COMMAND_BYTES:
            raise BrokenAssociation("command set", "too long", detail_zh="命令集过长。")
        if one.last:
            command, self._letters = command_of(bytes(self._letters)), bytearray()
            self._command = command
            self._head = Head(command, self._contexts[one.context], self._calling)
            if not command.data_set:
                self._whole(one.context)

    def _whole(self, context: int) -> None:
        """A message with its data set is here."""
        assert self._command is not None and self._head is not None and self._met is not None
        command, head, self._command, self._head = self._command, self._head, None, None
        if command.field == C_STORE:
            self._transport.pause_reading()
            self._work = asyncio.ensure_future(self._store(context, command, head, self._met))
        elif command.field != C_CANCEL:
            status = SUCCESS if command.field == C_ECHO else UNRECOGNISED
            self._say(context, response(command, status))

    async def _store(self, context: int, command: Command, head: Head, met: Met) -> None:
        fault = await self._door.store(command, head, met.source)
        status = fault.dimse if fault else SUCCESS
        self._door.met.stored(met, status, fault)
        self._say(context, response(command, status, fault))
        self._work = None
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._go_on()

    def _say(self, context: int, command: bytes) -> None:
        if not self._over and not self._transport.is_closing():
            self._transport.write(pdu.command(context, command))

    # ---- the end -------------------------------------------------------------------------------
    def _watch(self) -> None:
        if self._timer:
            self._timer.cancel()
        loop, given = asyncio.get_running_loop(), self._door.settings
        if self._work is not None or self._transport.is_closing():
            self._timer, self._begun = None, 0.0
            return
        if self._over:
            self._timer = loop.call_later(HANDSHAKE_S, self._transport.close)
            return
        if self._met is None:  # ARTIM, PS3.8 §9.1.5
            self._begun = self._begun or loop.time()
            until = self._begun + HANDSHAKE_S
        elif self._head or self._letters or self._pdus.begun:
            self._begun = self._begun or loop.time()
            received = self._head.received if self._head else 0
            until = self._begun + given.message_s + received / _MESSAGE_BYTES_S
        else:
            self._begun, until = 0.0, loop.time() + given.idle_s
        self._timer = loop.call_at(until, self._too_slow)

    def _too_slow(self) -> None:
        if self._met is None or not self._begun:  # nothing was asked, or nothing is under way
            self.close()
            return
        fault = BrokenAssociation("P-DATA-TF", "a message did not end in time", detail_zh="消息没有在时限内收完。")
        self._abort(fault)
        self._watch()

    def close(self) -> None:
        """Hang up."""
        if self._met is not None and not self._over:
            self._transport.write(pdu.aborted())
        self._over = True
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._door.leave(self)
        if self._met is not None:
            if self._head is not None:
                self._met.wrong = BrokenAssociation("P-DATA-TF", "cut off", detail_zh="一幅影像没有传完就断开了。")
            self._door.met.ended(self._met)

    async def finished(self) -> None:
        """What it is keeping is kept and answered; then it is hung up on."""
        if self._work is not None:
            await asyncio.wait({self._work})
        self.close()


class DicomDoor:
    """The listening side."""

    def __init__(self, intake: Intake, directory: Directory, settings: Dicom, met: Associations) -> None:
        self._intake = intake
        self.directory, self.settings, self.met = directory, settings, met
        self._open: set[_Association] = set()
        self._parting: set[_Association] = set()
        self._by_address: Counter[str] = Counter()
        self._server: asyncio.Server | None = None

    async def start(
        self,
        host: str,
        port: int,
        listener: socket.socket | None = None,
        certificates: Certificates | None = None,
    ) -> int:
        """Listen; returns the port (useful when `port` is 0). Raises ConfigError where it cannot.

        listener: a socket several processes share, bound already.
        """
        self._server = await listen(
            lambda: _Association(self),
            self.settings,
            (host, port),
            listener=listener,
            refused=partial(self.met.refused, "", "", ""),
            certificates=certificates,
        )
        self.met.port = int(self._server.sockets[0].getsockname()[1])
        return self.met.port

    async def stop(self) -> None:
        """Stop listening, answer what is being kept, hang up."""
        if self._server:
            self._server.close()
        await asyncio.gather(*(one.finished() for one in (*self._open, *self._parting)))

    async def store(self, command: Command, head: Head, source: str) -> GatewayError | None:
        """Keep one instance; what was wrong with it, None once its header is on disk."""
        try:
            sender = self.directory.sending(source)
            if sender is None:  # its mapping was taken away while it was connected
                raise UnknownSource(source)
            if not taken(command.sop_class, self.settings.sop_classes):
                raise NotStorage(command.sop_class)
            receipt = await self._intake.instance(sender, bytes(head.body), command.sop_class, command.instance)
            return receipt.error
        except GatewayError as fault:
            return fault
        except Exception:  # an association must be answered, whatever happens to its message
            log.exception("instance not kept")
            return GatewayError()

    def admit(self, association: _Association, line: Line) -> GatewayError | None:
        """What its request will be refused with when the house is full; hangs up on who may not even ask."""
        given, address = self.settings, association.address
        if not line.tls and not allowed(address, given):
            self.met.refused(address, "", "", WrongAddress(address))
            association.close()
        elif len(self._open) < given.connections and self._by_address[address] < given.connections_per_address:
            self._open.add(association)
            self._by_address[address] += 1
        elif self.part(association):
            return TooManyConnections(address)
        else:
            association.close()
        return None

    def part(self, association: _Association) -> bool:
        """It counts no more among the open ones; False where so many are leaving that this one is hung up on."""
        self.leave(association)
        if len(self._parting) < _PARTING:
            self._parting.add(association)
        return association in self._parting

    def leave(self, association: _Association) -> None:
        """The connection is gone."""
        self._parting.discard(association)
        if association in self._open:
            self._open.discard(association)
            self._by_address -= Counter((association.address,))
