"""Two names exchange their folders in one step, where the operating system can."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux: linux/fcntl.h, linux/fs.h
RENAME_SWAP = 2  # macOS: sys/stdio.h
CANNOT = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EPERM}


def exchange(one: Path, other: Path) -> bool:
    """Let two names of one file system exchange what they name, at once.

    Returns:
        False, and nothing was done, where the system or the file system cannot.

    Raises:
        OSError: it can, but something is wrong, such as a missing right.
    """
    names = os.fsencode(one), os.fsencode(other)
    sys.audit("exchange", str(one), str(other))  # as Python's own functions tell of renamings
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            result = library.renamex_np(*names, RENAME_SWAP)
        else:
            result = library.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
    except AttributeError:  # an older C library
        return False
    if result == 0:
        return True
    code = ctypes.get_errno()
    if code in CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
