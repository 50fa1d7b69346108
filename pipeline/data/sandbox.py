"""Work on files of others in child processes: bounded in time and memory, and ended beyond.

    sandbox = Sandbox(children=2, limit_s=10.0, memory_mib=2048)
    pixels, changes = sandbox.do(decode, data, 3)

No library that decodes can be told to stop, and a thread cannot be ended: a process can.  This
keeps a file from taking the machine's time and memory, not a broken library from being taken over.
"""

import multiprocessing
import os
import queue
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from stylealae.errors import DataError, UserError

__all__ = ["Sandbox"]

P = ParamSpec("P")
T = TypeVar("T")

START_S = 60.0
"""A child may take so long to start, on a machine with other work."""


class Sandbox:
    """Some child processes, started when they are first wanted; any number of threads may ask."""

    def __init__(self, children: int = 1, *, limit_s: float, memory_mib: int) -> None:
        """Nothing is started yet.

        Args:
            children: files that are worked on at the same time.
            limit_s: seconds after which work is ended.
            memory_mib: what work may allocate.
        """
        self._limit_s, self._memory_mib = limit_s, memory_mib
        self._idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        self._children = children
        for _ in range(children):
            self._idle.put(None)

    def do(self, work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> T:
        """What `work` gives back, or raises; it and what it is given are sent, pickled.

        Raises:
            DataError: it took too long, or too much memory, or ended its process.
        """
        child, kept = self._idle.get(), False
        try:
            if child and not child.lives():  # ended meanwhile, by the system for its memory perhaps
                child.end()
                child = None
            child = child or _Child(self._memory_mib)
            answer = child.ask((work, given, named), self._limit_s)
            kept = True
        finally:
            if child and not kept:
                child.end()
            self._idle.put(child if kept else None)
        if isinstance(answer, UserError):
            raise answer
        return cast(T, answer)

    def close(self) -> None:
        """Ends the children, once their work is done."""
        for _ in range(self._children):
            if child := self._idle.get():
                child.end()
        for _ in range(self._children):
            self._idle.put(None)


class _Child:
    """One process, which answers one question after the other."""

    def __init__(self, memory_mib: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would hold all that this one holds
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, memory_mib), daemon=True)
        self._process.start()
        theirs.close()
        if not self._has_started():
            self.end()
            raise DataError("no process could be started to read it in: try again")

    def _has_started(self) -> bool:
        try:
            return self._connection.poll(START_S) and self._connection.recv() is True
        except (EOFError, OSError):  # it has ended before
            return False

    def lives(self) -> bool:
        """Whether the process is there still."""
        return self._process.is_alive()

    def ask(self, question: object, limit_s: float) -> object:
        """The answer, which may be a UserError."""
        try:
            self._connection.send(question)
            if not self._connection.poll(limit_s):
                raise DataError(f"it takes more than {limit_s:g} seconds to read: save it anew")
            return self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise DataError("reading it ends the process that does: it is damaged") from error

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection, memory_mib: int) -> None:
    """What a child does, until whoever asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send(True)
    while True:
        try:
            work, given, named = connection.recv()
        except (EOFError, OSError):
            return
        _bound(memory_mib)  # when what the work needs has been imported
        try:
            answer = work(*given, **named)
        except MemoryError:
            answer = DataError(f"it takes more than {memory_mib:,} MiB to read: save it anew")
        except UserError as error:
            answer = error
        except Exception as error:  # its traceback is of no use elsewhere
            answer = DataError(f"it cannot be read ({type(error).__name__}: {error})")
        connection.send(answer)
        del work, given, named, answer  # freed while waiting


def _bound(memory_mib: int) -> None:
    """Lets this process allocate so much beyond what it holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        return
    most = pages * os.sysconf("SC_PAGE_SIZE") + (memory_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
