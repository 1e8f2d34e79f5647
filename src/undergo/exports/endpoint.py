"""A few pages over HTTP, for anybody who asks: no client can hold up the others, or whoever serves them.

One thread, one request per connection, little room and little time for each. The pages are made in that thread.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from undergo.errors import UsageError

_MAX_HEAD: Final = 16_384  # bytes of a request's line and headers
_MAX_CLIENTS: Final = 16  # at one time; one more, and the longest there has to go
_TIME: Final = 10.0  # s, for a client to ask and to take the answer
_TEXT: Final = "text/plain; charset=utf-8"

#: Given the Accept header, the body and its content type.
Page = Callable[[str], tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int  # 0: any that is free

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def listen(address: Address) -> socket.socket:
    """A socket that takes connections from now on. Raises UsageError."""
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(where[:2], family=family, backlog=_MAX_CLIENTS)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        # create_server adds the address to its words
        why = why.partition(" (while")[0]
        raise UsageError(f"cannot listen on {address}: {why.lower()}", "choose another ADDR:PORT") from None


def address_of(listener: socket.socket) -> Address:
    """Where it listens, with the port it got."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


@contextmanager
def serving(listener: socket.socket, pages: Mapping[str, Page]) -> Iterator[None]:
    """Answers while this is open, and closes the listener after."""
    server = _Server(listener, pages)
    thread = threading.Thread(target=server.run, name="endpoint", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()


class _Server:
    def __init__(self, listener: socket.socket, pages: Mapping[str, Page]) -> None:
        self._listener, self._pages = listener, pages
        self._clients: dict[asyncio.Task[None], None] = {}  # in the order in which they came
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()

    def run(self) -> None:
        # Clients that go away, or too many of them, are nothing to report.
        self._loop.set_exception_handler(lambda loop, context: None)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, sock=self._listener, limit=_MAX_HEAD)
        await self._stopped.wait()
        # Not `async with`: that waits for clients, who may have time. The end of the loop cancels them.
        server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _MAX_CLIENTS:
            next(iter(self._clients)).cancel()
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = None
        try:
            async with asyncio.timeout(_TIME):
                writer.write(self._answer(await _head(reader)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # its own fault, or it had its time
        finally:
            del self._clients[task]
            writer.transport.abort()

    def _answer(self, head: bytes | None) -> bytes:
        if head is None:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        line, *headers = head.decode("latin-1").split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST)
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED)
        page = self._pages.get(target.partition("?")[0])
        if page is None:
            return _response(HTTPStatus.NOT_FOUND, with_body=method == "GET")
        fields = (header.partition(":") for header in headers)
        accept = ",".join(value for name, _, value in fields if name.lower() == "accept")
        try:
            body, content_type = page(accept)
        except Exception as error:
            # said to who asks: this page has nobody else, and the next request may fare better
            body = f"{type(error).__name__}: {error}\n".encode("utf-8", "replace")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR, body, with_body=method == "GET")
        return _response(HTTPStatus.OK, body, content_type, method == "GET")


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    """What comes before the first empty line; None if that is too much."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None


def _response(
    status: HTTPStatus, body: bytes | None = None, content_type: str = _TEXT, with_body: bool = True
) -> bytes:
    if body is None:
        body = f"{status.value} {status.phrase}\n".encode()
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
    ]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (body if with_body else b"")
