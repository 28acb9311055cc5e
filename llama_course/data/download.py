"""Fetching one file: with progress, from where an earlier try was cut off, and verified."""

from __future__ import annotations

import errno
import re
import time
from pathlib import Path
from typing import Any

import pooch
import requests
from tqdm.auto import tqdm

from llama_course.errors import CourseError
from llama_course.hardware import free_disk

CHUNK = 2**14  # bytes; so many at most are asked for twice after a break
TRIES = 4  # in a row without one new byte
WAIT = 0.5  # seconds before the second try, and that much more before each further one


def download(address: str, path: Path, size: int, sha256: str) -> Path:
    """The file at `path`, fetched from `address` unless it is there and whole.

    What arrived before an interruption stays in `<name>.part` and is not asked for again. A file
    of the wrong content is set aside as `<name>.bad`. `path` itself is there and right, or is not
    there.

    Raises `CourseError` for no network, wrong content, or too little disk space.
    """
    path = Path(path)
    if path.is_file() and not _is(path, sha256):
        path.replace(path.with_name(path.name + ".bad"))  # damaged in the cache: fetch it anew
    part = path.with_name(path.name + ".part")
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_room(path, part, size)
        pooch.get_logger().setLevel("WARNING")  # the progress bar says it better
        found = pooch.retrieve(
            address,
            known_hash=f"sha256:{sha256}",
            fname=path.name,
            path=path.parent,
            downloader=_Resuming(part, size, sha256),
        )
    except requests.RequestException as error:
        kept = part.stat().st_size if part.is_file() else 0
        raise CourseError(
            f"{path.name} could not be fetched from {address} ({_reason(error)}); {kept} of {size} "
            f"bytes are kept, so run it again with a network, or put {path.name} in a folder and "
            "set LLAMA_COURSE_DATA to that folder."
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(path, size) from None
        raise CourseError(
            f"{path.name} cannot be kept in {path.parent} ({error.strerror or error}); "
            "set LLAMA_COURSE_CACHE to a folder that you may write to."
        ) from None
    return Path(found)


class _Resuming:
    """The downloader that is handed to pooch: it goes on with a `.part` file where there is one."""

    def __init__(self, part: Path, size: int, sha256: str) -> None:
        self.part, self.size, self.sha256 = part, size, sha256

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        name = self.part.name.removesuffix(".part")
        have = self.part.stat().st_size if self.part.is_file() else 0
        with tqdm(
            total=self.size, initial=have, unit="B", unit_scale=True, desc=name, disable=None
        ) as bar:
            failures = 0
            while self._have() < self.size:
                before = self._have()
                try:
                    self._go_on(url, bar)
                except requests.HTTPError:
                    raise  # the server has answered, and would answer the same again
                except requests.RequestException:
                    failures = failures + 1 if self._have() <= before else 0
                    if failures == TRIES:
                        raise
                    time.sleep(failures * WAIT)
                else:
                    break
        if not _is(self.part, self.sha256):
            found, length = pooch.file_hash(str(self.part)), self._have()
            bad = self.part.with_name(name + ".bad")
            self.part.replace(bad)
            raise CourseError(
                f"What came from {url} is not the file that was expected: expected {self.size} "
                f"bytes with SHA-256 {self.sha256}, found {length} bytes with {found}; it is set "
                f"aside as {bad} and not used, so run it again, or on another network."
            )
        self.part.replace(output_file)  # pooch verifies it once more and gives it its name

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _go_on(self, url: str, bar: Any) -> None:
        """One request for what is missing, appended to the part file as it comes."""
        have = self._have()
        # Ranges count the bytes as sent, so they must not be sent compressed.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=(10, 30)) as answer:
            answer.raise_for_status()
            goes_on = answer.status_code == 206 and _first_byte(answer) == have
            if not goes_on:  # the server sends all of it, from the start
                have = 0
            bar.n = have
            with self.part.open("ab" if goes_on else "wb") as file:
                for piece in answer.iter_content(CHUNK):
                    have += len(piece)
                    if have > self.size:
                        break  # longer than it may be: the checksum will say so
                    file.write(piece)
                    bar.update(len(piece))


def _first_byte(answer: requests.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and pooch.file_hash(str(path)) == sha256


def _check_room(path: Path, part: Path, size: int) -> None:
    missing = size - (part.stat().st_size if part.is_file() else 0)
    if free_disk(path.parent) < missing:
        raise _no_room(path, size)


def _no_room(path: Path, size: int) -> CourseError:
    return CourseError(
        f"There is no room for {path.name} on the disk of {path.parent}: {size} bytes are needed "
        f"and {free_disk(path.parent)} are free; free some, or set LLAMA_COURSE_CACHE to a folder "
        "on another disk."
    )


def _reason(error: requests.RequestException) -> str:
    """A few words for a reader, without the library's layers of exceptions."""
    if error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return "no connection"
