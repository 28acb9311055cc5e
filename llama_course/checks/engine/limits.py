"""Stopping what does not end: a function is run in another thread, which can be given up.

In the thread that waits, nothing of the learner's runs: whatever the answer does, even
`while True: ... except: pass` or a sleep of an hour, the notebook gets its prompt back.
"""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, no_type_check

# macOS gives threads half a megabyte, too little for a deep recursion to end in RecursionError.
STACK_BYTES = 16 * 2**20
PATIENCE = 0.2  # seconds in which a stopped thread should have ended
# Seconds on the wall for each of processor time. Where processor time is known, the wall is there
# for an answer that sleeps, and generous: a busy machine must not stop a right answer.
WALL, WALL_ALONE = 8.0, 10.0


class TooLong(Exception):
    """The function did not end within its time."""


# Threads that were given up, and whether each has come to rest.
_given_up: weakref.WeakKeyDictionary[threading.Thread, threading.Event] = (
    weakref.WeakKeyDictionary()
)


class _Stopped(BaseException):
    """Raised inside the thread. Not an Exception, so that `except Exception` lets it pass.

    A loop that catches even this makes an instance of it in its own thread; one that was given up
    then waits here for ever, and takes no more processor time from anyone.
    """

    def __init__(self) -> None:
        resting = _given_up.get(threading.current_thread())
        if resting is not None:
            resting.set()
            threading.Event().wait()


@no_type_check
class _Job:
    """One function to run, and what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.value: Any = None
        self.error: BaseException | None = None
        self.start: float | None = None
        self.used = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self.start = time.thread_time()
            try:
                self.value = self.function()
            finally:
                self.used = time.thread_time() - self.start
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()


@no_type_check
class _Worker:
    """A thread that runs one job after the other, and knows its own processor time."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.clock: int | None = None
        self.thread = threading.Thread(target=self._run, daemon=True, name="llama_course check")
        before = threading.stack_size(STACK_BYTES)
        try:
            self.thread.start()
        finally:
            threading.stack_size(before)

    def _run(self) -> None:
        # Not on macOS and Windows: there the clock on the wall alone decides.
        get_clock = getattr(time, "pthread_getcpuclockid", None)
        if get_clock is not None:
            self.clock = get_clock(threading.get_ident())
        try:
            while (job := self.jobs.get()) is not None:
                job.run()
                del job  # while it waits, it holds on to nothing of the learner's
        except _Stopped:
            pass  # one that came late

    def busy(self, job: _Job) -> float | None:
        """Seconds of processor time on this job so far; None where the system cannot tell."""
        try:
            if self.clock is None or job.start is None:
                return None
            return time.clock_gettime(self.clock) - job.start
        except OSError:
            return None

    def stop(self) -> None:
        """Ask the thread to end, by raising in it."""
        ident = ctypes.c_ulong(self.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Stopped))


_idle: list[_Worker] = []


@no_type_check
def run_limited(function: Callable[[], Any], seconds: float) -> tuple[Any, float]:
    """Run `function` and return its value and the processor time it took; what it raises is raised.

    After `seconds` of processor time it is stopped, and TooLong is raised; likewise after many
    times that on the wall, for one that sleeps, or where processor time is unknown. Garbage is not
    collected meanwhile: in a large process that alone can take as long.
    """
    job = _Job(function)
    worker = _idle.pop() if _idle else _Worker()
    if worker.process != os.getpid():  # this process was forked: the thread stayed behind
        worker = _Worker()
    collecting = gc.isenabled()
    gc.disable()
    worker.jobs.put(job)
    began = time.monotonic()
    try:
        while not job.ended.wait(0.02):
            spent = worker.busy(job)
            wall = WALL_ALONE if spent is None else WALL
            over = spent is not None and spent > seconds
            if over or time.monotonic() - began > wall * seconds:
                _put_down(worker, job)
                raise TooLong
    except KeyboardInterrupt:
        _put_down(worker, job)
        raise
    finally:
        if collecting:
            gc.enable()
    _idle.append(worker)
    if job.error is not None:
        raise job.error
    return job.value, job.used


def _put_down(worker: _Worker, job: _Job) -> None:
    """Stop the thread; if it holds on, give it up."""
    worker.jobs.put(None)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        worker.stop()
        # Uneven pauses: a loop with `except: pass` ends when a stop meets it between two tries.
        if job.ended.wait(0.0005 + time.monotonic() % 0.003):
            return
    _given_up[worker.thread] = threading.Event()
    threading.Thread(target=_lay_to_rest, args=(worker,), daemon=True).start()


def _lay_to_rest(worker: _Worker) -> None:
    """Go on stopping a thread until it has ended or rests; a very deep recursion takes a while."""
    resting = _given_up[worker.thread]
    while worker.thread.is_alive():
        worker.stop()
        if resting.wait(0.01):
            return
