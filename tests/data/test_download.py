"""Fetching a file from a server that behaves well, badly and not at all."""

from __future__ import annotations

import errno
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_course.data import download as module
from llama_course.data.download import CHUNK, download
from llama_course.errors import CourseError

CONTENT = bytes(i * i % 251 for i in range(400_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT, with ranges; `breaks` holds after how many bytes to hang up, each time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.breaks: list[int] = []
        self.ranges = True
        self.status = 200
        self.asked: list[str | None] = []  # the Range header of every request
        self.sent = 0
        self.address = f"http://127.0.0.1:{self.server_port}/text.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(asked.split("=")[1].rstrip("-")) if asked and server.ranges else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks:
            body = body[: server.breaks.pop(0)]
        server.sent += len(body)
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "WAIT", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def fetch(server: Server, path: Path) -> Path:
    return download(server.address, path, len(CONTENT), SHA256)


def test_it_fetches_once_and_keeps_nothing_else(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "text.bin"
    assert fetch(server, path) == path and path.read_bytes() == CONTENT
    assert fetch(server, path) == path
    assert server.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["text.bin"]


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks = [9 * CHUNK, 6 * CHUNK]
    assert fetch(server, tmp_path / "text.bin").read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={9 * CHUNK}-", f"bytes={15 * CHUNK}-"]
    assert server.sent == len(CONTENT)  # no byte was sent twice


def test_what_arrived_is_kept_for_the_next_run(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "text.bin"
    server.breaks = [9 * CHUNK + 5] + [0] * module.TRIES
    with pytest.raises(CourseError) as error:
        fetch(server, path)
    said = str(error.value)
    assert f"{9 * CHUNK} of 400000 bytes are kept" in said and "LLAMA_COURSE_DATA" in said
    assert not path.exists() and (tmp_path / "text.bin.part").stat().st_size == 9 * CHUNK
    server.asked.clear()
    assert fetch(server, path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={9 * CHUNK}-"]


def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [150_000]
    assert fetch(server, tmp_path / "text.bin").read_bytes() == CONTENT
    assert server.sent == 150_000 + len(CONTENT)


@pytest.mark.parametrize(
    "content", [b"x" * len(CONTENT), CONTENT[:-1], CONTENT + b"!" * 70_000, b""]
)
def test_wrong_content_is_set_aside_and_not_trusted(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    path, server.content = tmp_path / "text.bin", content
    with pytest.raises(CourseError) as error:
        fetch(server, path)
    said = str(error.value)
    assert SHA256 in said and "expected 400000 bytes" in said and "text.bin.bad" in said
    assert [p.name for p in tmp_path.iterdir()] == ["text.bin.bad"]
    server.content = CONTENT  # the next try begins afresh
    assert fetch(server, path).read_bytes() == CONTENT


def test_a_damaged_part_is_not_trusted_either(server: Server, tmp_path: Path) -> None:
    (tmp_path / "text.bin.part").write_bytes(b"?" * 1000)
    with pytest.raises(CourseError, match="set aside"):
        fetch(server, tmp_path / "text.bin")
    assert fetch(server, tmp_path / "text.bin").read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "text.bin"
    path.write_bytes(CONTENT[:1000])
    assert fetch(server, path).read_bytes() == CONTENT
    assert (tmp_path / "text.bin.bad").read_bytes() == CONTENT[:1000]


def test_a_complete_part_needs_no_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "text.bin.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "text.bin").read_bytes() == CONTENT
    assert server.asked == []


def test_no_network_and_no_such_file_are_told_in_one_sentence(
    server: Server, tmp_path: Path
) -> None:
    server.status = 404
    with pytest.raises(CourseError, match=r"server answered 404.*LLAMA_COURSE_DATA"):
        fetch(server, tmp_path / "text.bin")
    assert len(server.asked) == 1  # asking again would not help
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/text.bin"
    with pytest.raises(CourseError, match=r"no connection.*put text\.bin in a folder"):
        download(nobody, tmp_path / "text.bin", len(CONTENT), SHA256)


def test_a_full_disk_is_told_before_and_while(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "free_disk", lambda _: 1000)
        with pytest.raises(CourseError, match="400000 bytes are needed and 1000 are free"):
            fetch(server, tmp_path / "text.bin")
        assert server.asked == []

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module._Resuming, "_go_on", full)
    with pytest.raises(CourseError, match=r"no room.*LLAMA_COURSE_CACHE"):
        fetch(server, tmp_path / "text.bin")


def test_a_cache_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(CourseError, match="LLAMA_COURSE_CACHE"):
        fetch(server, tmp_path / "cache" / "text.bin")
