"""One request on a line and its answer: uvicorn's cycle with a sender that costs a third.

The head waits for the body behind it, so that an answer known as a whole is one write. Names and values are not
searched one by one for what HTTP forbids: the lines of the finished head are counted. Source: RFC 9112 §2.2, §6, §7.1,
§9.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NO_BODY = frozenset({204, 304})


class HttpCycle(RequestResponseCycle):
    """`send` takes the two ASGI messages of a response. Raises RuntimeError for a response that is none."""

    _head = b""
    _left: int | None = None  # of the body, as declared; None: in chunks

    async def send(self, message: Any) -> None:
        """Head, or body, or a piece of it."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self._begin(message["status"], (*self.default_headers, *message.get("headers", ())))
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._go_on(message)
        else:
            raise RuntimeError(f"{kind} out of its turn")

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        found = dict(headers)
        size = found.get(b"content-length")
        bare = self.scope["method"] == "HEAD" or status in _NO_BODY
        lines = [STATUS_LINE[status], *[b"%b: %b\r\n" % header for header in headers]]
        if size is None and not bare:
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines):
            raise RuntimeError("a header of more than one line")
        self._left = 0 if bare else None if size is None else int(size)
        if b"close" in found.get(b"connection", b""):
            self.keep_alive = False
        elif not self.keep_alive:
            head += b"connection: close\r\n"
        self._head = head + b"\r\n"
        self.response_started, self.waiting_for_100_continue = True, False

    def _go_on(self, message: Mapping[str, Any]) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._left is None:
            body = b"%b%b" % (b"%x\r\n%b\r\n" % (len(body), body) if body else b"", b"" if more else b"0\r\n\r\n")
        else:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("a body of another length than declared")
        if self._head:
            self.transport.writelines((self._head, body) if body else (self._head,))
            self._head = b""
        elif body:
            self.transport.write(body)
        if not more:
            self._finish()

    def _finish(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
