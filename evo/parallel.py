"""A pool of ranks: submit tasks, collect their results, over this process alone or over MPI. Only home of mpi4py.

A task is a module-level function with picklable arguments, named by a key. Tasks are independent and pure, so which rank
runs one, and when, never changes a result. Rank 0 coordinates; with few ranks it also works, because on two cores an idle
coordinator would be half the machine. A thread serves the others meanwhile: a DFT calculation may take half an hour.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import stat
import sys
import termios
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

EXIT_INTERNAL = 70
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # ranks of the job as MPICH's and Open MPI's launchers say
LAUNCHER_VARIABLES = ("PMI_SIZE", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_PROCID")
PREFETCH = 2  # tasks sent to a rank at once, so that it need not wait while rank 0 is busy otherwise
SLOW_S = (
    1.0  # tasks of a function that takes longer are sent one at a time: a second one would wait while others are idle
)
PARENT = os.getppid()  # as early as can be; 1 in a container, where it tells of no orphan
LARGEST_WORKING_COORDINATOR = 8  # with more ranks than this, rank 0 only coordinates
POLL_S = 0.001
LAST_WORDS_S = 0.5  # between what a rank said, read by its launcher, and the end of all ranks
SLOWEST_POLL_S = 0.02  # while rank 0 has a task of its own

Task = tuple[str, Callable[..., Any], tuple[Any, ...]]
Results = list[tuple[str, Any]]


class MpiAbsent(RuntimeError):
    """An MPI launcher started this process, but Python has no MPI."""

    exit_code = 69


class MpiMismatch(RuntimeError):
    """The launcher and mpi4py belong to different MPI libraries, so that each rank believes to be alone."""

    exit_code = 69


class Pool(Protocol):
    """Where tasks run."""

    size: int  # ranks

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None: ...

    def collect(self) -> Results:
        """Results that have come; waits (or works) until at least one has, unless nothing is under way."""
        ...

    def attach(self, stopped: Callable[[], bool], keep: Callable[[Results], None]) -> None:
        """What the caller wants to be asked and told while `collect` lasts.

        stopped: once it is true no task is begun; `collect` returns what is under way, then nothing. keep: takes results at once,
        perhaps from another thread, where it would last before `collect` returns; it does not return those.
        """
        ...

    def cancel(self) -> None:
        """Forget the tasks that no rank has started or been sent."""
        ...

    def close(self) -> None: ...


class SerialPool:
    """This process alone; MPI need not be installed."""

    size = 1

    def __init__(self) -> None:
        self._queue: deque[Task] = deque()
        self._stopped: Callable[[], bool] = bool

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        self._queue.append((key, function, arguments))

    def attach(self, stopped: Callable[[], bool], keep: Callable[[Results], None]) -> None:
        self._stopped = stopped

    def collect(self) -> Results:
        if not self._queue or self._stopped():
            return []
        key, function, arguments = self._queue.popleft()
        return [(key, function(*arguments))]

    def cancel(self) -> None:
        self._queue.clear()

    def close(self) -> None:
        self._queue.clear()


class MpiPool:
    """Rank 0's side of the ranks of an MPI job."""

    def __init__(self, communicator: Any, threads: bool) -> None:
        """threads: whether another thread than the first may call MPI, one at a time."""
        self._comm = communicator
        self.size = communicator.Get_size()
        self._threads = threads
        self._queue: deque[Task] = deque()
        self._held: dict[int, dict[str, Callable[..., Any]]] = {rank: {} for rank in range(1, self.size)}  # by key
        self._slow: dict[Callable[..., Any], bool] = {}  # whether a task of it took long
        self._outgoing: list[Any] = []  # requests of tasks that may still be on their way
        self._works = self.size <= LARGEST_WORKING_COORDINATOR
        self._stopped: Callable[[], bool] = bool
        self._keep: Callable[[Results], None] | None = None

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        self._queue.append((key, function, arguments))
        self._send()

    def attach(self, stopped: Callable[[], bool], keep: Callable[[Results], None]) -> None:
        self._stopped, self._keep = stopped, keep

    def collect(self) -> Results:
        while True:
            results = self._receive()
            self._send()
            waiting = bool(self._queue) and not self._stopped()
            if results or not (waiting or any(self._held.values())):
                return results
            if waiting and self._works:
                return self._work(self._queue.popleft())
            time.sleep(POLL_S)

    def cancel(self) -> None:
        self._queue.clear()

    def close(self) -> None:
        self._queue.clear()
        while any(self._held.values()):  # a rank that hands over a large result would otherwise wait for ever
            self._receive()
            time.sleep(POLL_S)
        for rank in self._held:
            self._comm.send(None, dest=rank)

    def _work(self, task: Task) -> Results:
        """The result of this task, done here; those that come meanwhile are kept, or returned with it."""
        key, function, arguments = task
        start = time.monotonic()
        others: Results = []
        with self._serving(others):
            result = function(*arguments)
        self._took(function, time.monotonic() - start)
        return [(key, result), *others]

    @contextmanager
    def _serving(self, others: Results) -> Iterator[None]:
        """A thread receives and sends in here. Tasks stay in the first thread: calculators may use signals."""
        over, errors = threading.Event(), []

        def serve() -> None:
            wait = POLL_S
            try:
                while not over.wait(wait):
                    wait = min(1.2 * wait, SLOWEST_POLL_S)
                    if (results := self._receive()) and self._keep is not None:
                        self._keep(results)  # a kill must not lose them, and the task here may last
                    else:
                        others.extend(results)
                    self._send()
            except Exception as error:  # noqa: BLE001 - raised where the task ends
                errors.append(error)

        thread = threading.Thread(target=serve, daemon=True)
        if self._threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if self._threads:
                thread.join()
        if errors:
            raise errors[0]

    def _send(self) -> None:
        self._outgoing = [request for request in self._outgoing if not request.test()[0]]
        while self._queue and not self._stopped():
            key, function, _ = self._queue[0]
            rank = min(self._held, key=lambda r: (len(self._held[r]), r))
            holds = self._held[rank]
            # nothing behind a task that may take long, where others may be idle soon
            if holds and (len(holds) >= PREFETCH or any(self._slow.get(f, True) for f in (function, *holds.values()))):
                return
            # never a blocking send: a large task would wait for a rank that itself waits to hand over a large result
            self._outgoing.append(self._comm.isend(self._queue.popleft(), dest=rank))
            holds[key] = function

    def _receive(self) -> Results:
        results = []
        while self._comm.iprobe():
            rank, key, result, seconds = self._comm.recv()
            self._took(self._held[rank].pop(key), seconds)
            results.append((key, result))
        return results

    def _took(self, function: Callable[..., Any], seconds: float) -> None:
        self._slow[function] = self._slow.get(function, False) or seconds > SLOW_S


def launched_by_mpi() -> bool:
    """Whether an MPI launcher started this process (told by its environment, without loading MPI)."""
    return any(name in os.environ for name in LAUNCHER_VARIABLES)


def only_a_batch_script() -> bool:
    """Whether Slurm alone speaks of ranks, and of no more than one: its batch scripts have SLURM_PROCID too."""
    others = [name for name in LAUNCHER_VARIABLES if name != "SLURM_PROCID" and name in os.environ]
    return not others and os.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1"


def open_pool() -> Pool | None:
    """The pool on rank 0; on every other rank serve tasks until the job ends, then None."""
    if not launched_by_mpi():
        return SerialPool()
    try:
        from mpi4py import MPI
    except ImportError:
        if only_a_batch_script():
            return SerialPool()
        raise MpiAbsent(
            "started by mpirun, but mpi4py is not installed; pip install 'outcrop[mpi]', or start without mpirun"
        ) from None
    communicator = MPI.COMM_WORLD
    if communicator.Get_size() == 1:
        if (ranks := max(int(os.environ.get(name, 1)) for name in SIZE_VARIABLES)) > 1:
            library = MPI.Get_library_version().splitlines()[0].strip()
            raise MpiMismatch(
                f"started as one of {ranks} ranks, but mpi4py has found another MPI than the launcher's ({library}) and sees "
                "itself alone; start with the mpirun of that MPI, or name the launcher's libmpi by MPI4PY_LIBMPI=/PATH/libmpi.so"
            )
        return SerialPool()
    die_with_parent()
    if communicator.Get_rank() == 0:
        return MpiPool(communicator, MPI.Query_thread() >= MPI.THREAD_SERIALIZED)
    _serve(communicator)
    return None


def abort(code: int) -> None:
    """End every rank of the job at once with this exit code; does nothing outside MPI."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.COMM_WORLD.Get_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        # the launcher ends every rank at once and drops what it has not passed on by then: the reason, of all things
        with suppress(OSError, ValueError):  # a closed descriptor is read by nobody
            _wait_until_read(2)
        time.sleep(LAST_WORDS_S)
        mpi.COMM_WORLD.Abort(code)


def _wait_until_read(descriptor: int, seconds: float = 5.0) -> None:
    """Until whoever reads this pipe has emptied it, for so long at most; at once when it is none."""
    end = time.monotonic() + seconds
    while stat.S_ISFIFO(os.fstat(descriptor).st_mode) and time.monotonic() < end:
        if not int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder):
            return
        time.sleep(POLL_S)


def _serve(communicator: Any) -> None:
    # a drain is rank 0's decision: the launcher forwards the signal to every rank, and the others finish their task
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    rank = communicator.Get_rank()
    try:
        while True:
            while not communicator.iprobe(source=0):  # a blocking receive would burn a core
                time.sleep(POLL_S)
            task = communicator.recv(source=0)
            if task is None:
                return
            key, function, arguments = task
            start = time.monotonic()
            result = function(*arguments)
            request = communicator.isend((rank, key, result, time.monotonic() - start), dest=0)
            while not request.test()[
                0
            ]:  # rank 0 may be minutes into a calculation; a blocking send would burn a core as well
                time.sleep(POLL_S)
    except Exception:  # noqa: BLE001 - an unforeseen error of one rank must end all, with its trace
        sys.stderr.write(traceback.format_exc())  # in one piece: other ranks write too
        abort(EXIT_INTERNAL)


def die_with_parent(parent: int = PARENT) -> None:
    """Ask the kernel to kill this process when the one that started it dies (Linux), so that a kill leaves no orphan.

    parent: its process id; when this one has another by now, it is an orphan.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), signal.SIGKILL)
