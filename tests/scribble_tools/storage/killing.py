"""A child process that is killed in the middle: by SIGKILL before its Nth change of a name."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

# what gives, takes or changes the name of a file or folder
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "exchange"}


def run_killed(function: Callable[[], object], number: int, prefix: str) -> bool:
    """Run a function in a forked process that is killed before its Nth change below ``prefix``.

    Returns:
        whether it was killed; else it has ended well.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event, arguments):
            nonlocal seen
            if event in EVENTS and any(str(a).startswith(prefix) for a in arguments):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert status == 0, "the child failed, see above"
    return False


def kill_everywhere(function, prefix, before, after, most: int = 300) -> int:
    """Kill a function at every change in turn.

    Args:
        before: prepares what the function works on, anew for every kill.
        after: takes how many changes were made; checks what the kill has left.

    Returns:
        the number of changes that the function makes.
    """
    for number in range(1, most):
        before()
        if not run_killed(function, number, str(prefix)):
            return number - 1
        after(number)
    raise AssertionError(f"more than {most} changes")
