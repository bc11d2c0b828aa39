"""Work for further cores: a process of its own takes one task and answers, one pickled value after another.

No `multiprocessing`: a process that is spawned loads the caller's main module, and one that is forked has its threads'
locks.
"""

import fcntl
import pickle
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

_PIPE_SIZE = 1 << 20
"""Some answers fit in, so that no process waits until they are taken."""


class ProcessDied(RuntimeError):
    """A process ended without an answer: nothing can be said about its share of the work."""


@contextmanager
def started(module: str, task: Any) -> Iterator[IO[bytes]]:
    """The answers of a new process, which calls `main` of that module; it is gone when the block ends.

    In a process group of its own: Ctrl-C is ours to hear, and ends it.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; main()"
    command = [sys.executable, "-P", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(AttributeError, OSError):  # only Linux has it, and its operator may allow less
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        try:
            with suppress(BrokenPipeError):  # it died at once: reading its answers says so
                pickle.dump(task, process.stdin)
                process.stdin.close()
            yield process.stdout
        finally:
            process.kill()


def is_answered(pipe: IO[bytes]) -> bool:
    """Whether an answer is there; of one that was read ahead with the last, this may say no."""
    return bool(select.select([pipe], [], [], 0)[0])


def answer(pipe: IO[bytes]) -> Any:
    """The next answer, waited for. An error is raised; ProcessDied where the process ended without one."""
    try:
        answered = pickle.load(pipe)
    except EOFError as error:
        raise ProcessDied("a process of ours ended without an answer") from error
    if isinstance(answered, Exception):
        raise answered
    return answered


def answering(work: Callable[[Any], Iterator[Any]]) -> None:
    """In the new process: take the task, and send what `work` makes of it, errors that it yields among it."""
    out = sys.stdout.buffer
    for each in work(pickle.load(sys.stdin.buffer)):
        pickle.dump(each, out, pickle.HIGHEST_PROTOCOL)
        out.flush()
