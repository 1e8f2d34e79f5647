"""The endpoint answers, whatever others do to it meanwhile."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from undergo.errors import UsageError
from undergo.exports import endpoint
from undergo.exports.endpoint import Address, address_of, listen, serving

LIMIT = 30  # s
ALL = b"x" * 20_000_000  # more than any buffer of a socket


def page(accept: str) -> tuple[bytes, str]:
    return f"accepts {accept.strip()}\n".encode(), "text/plain; charset=utf-8"


def broken(accept: str) -> tuple[bytes, str]:
    raise ValueError("no such table")


@pytest.fixture
def address() -> Iterator[Address]:
    listener = listen(Address("127.0.0.1", 0))
    at = address_of(listener)
    pages = {"/metrics": page, "/broken": broken, "/all": lambda accept: (ALL, "text/plain")}
    with serving(listener, pages):
        yield at


def ask(at: Address, method: str, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(at.host, at.port, timeout=LIMIT)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def raw(at: Address, sent: bytes) -> bytes:
    """All that is answered to some bytes."""
    with socket.create_connection((at.host, at.port), timeout=LIMIT) as client:
        client.sendall(sent)
        found = b""
        try:
            while part := client.recv(65_536):
                found += part
        except ConnectionResetError:
            pass  # it was told before it had sent all
        return found


def test_a_page(address: Address) -> None:
    """With its length and type, and the client's Accept passed on; a query is not part of the path."""
    status, body, headers = ask(address, "GET", "/metrics?a=b", Accept="text/x")
    assert (200, b"accepts text/x\n") == (status, body)
    assert "text/plain; charset=utf-8" == headers["Content-Type"]
    assert str(len(body)) == headers["Content-Length"]


def test_head_is_the_same_without_the_body(address: Address) -> None:
    """The length is that of what GET would give."""
    status, body, headers = ask(address, "HEAD", "/metrics", Accept="text/x")
    assert (200, b"", "15") == (status, body, headers["Content-Length"])


def test_other_paths_and_methods(address: Address) -> None:
    """404 and 405."""
    assert 404 == ask(address, "GET", "/other")[0]
    assert 404 == ask(address, "HEAD", "/other")[0]
    status, _, headers = ask(address, "POST", "/metrics")
    assert (405, "GET, HEAD") == (status, headers["Allow"])


def test_a_page_that_fails_says_so(address: Address) -> None:
    """One line, and the next request is answered."""
    assert (500, b"ValueError: no such table\n") == ask(address, "GET", "/broken")[:2]
    assert 200 == ask(address, "GET", "/metrics")[0]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET /metrics FTP/1.1\r\n\r\n", b"400"),
        (b"GET  HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics HTTP/1.0\r\n:\r\n\xff\xff\r\n: :\r\n\r\n", b"200"),
    ],
)
def test_odd_requests(address: Address, sent: bytes, status: bytes) -> None:
    """Each is answered with a status of its own."""
    assert raw(address, sent).split(b" ")[1] == status


def test_endless_headers_are_refused(address: Address) -> None:
    """At some length nobody reads on."""
    answer = raw(address, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 10_000)
    assert not answer or answer.startswith(b"HTTP/1.1 431")
    assert 200 == ask(address, "GET", "/metrics")[0]


def test_the_slow_do_not_hold_up_others(address: Address) -> None:
    """Clients that say nothing, or do not read their answer, more of them than there is room for."""
    clients = [socket.create_connection((address.host, address.port)) for _ in range(100)]
    try:
        for client in clients[::2]:
            client.sendall(b"GET /all HTTP/1.1\r\n\r\n")
        for _ in range(3):
            assert 200 == ask(address, "GET", "/metrics")[0]
    finally:
        for client in clients:
            client.close()


def test_one_too_many_and_the_longest_there_has_to_go(
    monkeypatch: pytest.MonkeyPatch, address: Address
) -> None:
    """The others stay: what there is room for is theirs."""
    monkeypatch.setattr(endpoint, "_TIME", 1000)
    clients = []
    for _ in range(endpoint._MAX_CLIENTS + 1):
        clients.append(socket.create_connection((address.host, address.port), timeout=LIMIT))
    try:
        assert b"" == clients[0].recv(1)
        clients[1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"HTTP/1.1 200" == clients[1].recv(12)
    finally:
        for client in clients:
            client.close()


def test_the_slow_are_let_go(monkeypatch: pytest.MonkeyPatch, address: Address) -> None:
    """After their time, even those who say something now and then."""
    monkeypatch.setattr(endpoint, "_TIME", 0.2)
    with socket.create_connection((address.host, address.port), timeout=LIMIT) as client:
        client.sendall(b"GET /metr")
        assert b"" == client.recv(1)


def test_many_at_once(address: Address) -> None:
    """All of them are answered."""
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(address, "GET", "/metrics")[0])) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert [200] * 10 == found


def test_the_port_is_closed_at_the_end() -> None:
    """At once, though a client is still there; and it can be had again."""
    listener = listen(Address("127.0.0.1", 0))
    at = address_of(listener)
    with serving(listener, {}), socket.create_connection((at.host, at.port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((at.host, at.port))
    listen(at).close()


def test_a_port_in_use() -> None:
    """One line with the address and the reason."""
    with (
        listen(Address("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1:.*in use"),
    ):
        listen(address_of(taken))


def test_a_host_that_is_not_ours() -> None:
    """The same."""
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:9464: "):
        listen(Address("192.0.2.1", 9464))
