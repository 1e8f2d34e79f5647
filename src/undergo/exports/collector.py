"""Sends to an OpenTelemetry collector, and again where it asks for that."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from undergo import __version__
from undergo.errors import UndergoError, UsageError
from undergo.varint import varint

_AGAIN: Final = (429, 502, 503, 504)  # what the specification calls retryable
_TRIES: Final = 6
_LONGEST: Final = 30.0  # s, between two tries
_TIMEOUT: Final = 30.0  # s, for an answer


class Collector:
    """A connection to one, for one request after the other."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        """`endpoint` is its base URL. Raises UsageError."""
        parts = urlsplit(endpoint)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise UsageError(f"{endpoint} is no endpoint", "write http://HOST:4318")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._endpoint = endpoint
        self._connection = kind(parts.hostname, port, timeout=_TIMEOUT)
        self._path = parts.path.rstrip("/")
        if not self._path.endswith("/v1/traces"):
            self._path += "/v1/traces"
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"undergo/{__version__}",
            **headers,
        }
        self._sent = 0
        self._rejected = 0
        self._reason = ""

    def send(self, body: bytes, spans: int) -> None:
        """Sends so many spans. Raises UndergoError."""
        for tried in range(1, _TRIES + 1):
            pause = min(2.0 ** (tried - 1), _LONGEST)
            try:
                self._connection.request("POST", self._path, body, self._headers)
                answer = self._connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                # a connection that was kept may have been closed meanwhile; nobody there at all is another matter
                if not self._sent or tried == _TRIES:
                    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    self._fail(f"no collector answers at {self._endpoint}: {why.lower()}")
                time.sleep(pause)
                continue
            if answer.status == 200:
                self._sent += spans
                self._partly(said)
                return
            if answer.status not in _AGAIN:
                text = said[:200].decode("utf-8", "replace").strip()
                printable = "".join(c if c.isprintable() else " " for c in text)
                self._fail(
                    f"{self._endpoint} refused spans: {answer.status} {answer.reason} {printable}".rstrip()
                )
            asked = answer.headers.get("Retry-After", "")
            time.sleep(min(float(asked), _LONGEST) if asked.isdecimal() else pause)
        self._fail(f"{self._endpoint} took no more spans: {answer.status} {answer.reason}, {_TRIES} times")

    def close(self) -> list[str]:
        """Ends it; what there is to say."""
        self._connection.close()
        if not self._rejected:
            return []
        return [
            f"the collector rejected {self._rejected:,} of {self._sent:,} spans: {self._reason or 'no reason given'}"
        ]

    def _fail(self, message: str) -> None:
        self._connection.close()
        hint = f"{self._sent:,} spans were sent before" if self._sent else "--endpoint says where one is"
        raise UndergoError(message, hint)

    def _partly(self, said: bytes) -> None:
        """Reads ExportTraceServiceResponse: the spans it rejected, and why."""
        for field, value in _fields(said):
            if field == 1 and isinstance(value, bytes):
                for inner, part in _fields(value):
                    if inner == 1 and isinstance(part, int):
                        self._rejected += part
                    elif inner == 2 and isinstance(part, bytes):
                        text = part.decode("utf-8", "replace")
                        self._reason = "".join(c if c.isprintable() else " " for c in text)[:200]


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Varints and bytes of a message; nothing of one that is damaged."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(message):
        tag = varint(message, at)
        value = tag and varint(message, tag[1])
        if tag is None or value is None:
            return []
        number, kind = divmod(tag[0], 8)
        told, at = value
        if kind == 0:
            found.append((number, told))
        elif kind == 2:
            found.append((number, message[at : at + told]))
            at += told
        else:
            return []
    return found
