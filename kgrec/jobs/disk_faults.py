"""Errors that mean a full disk, or one that may not be written to, told as one kind."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgrec.errors import DiskError

_CODES = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
)
_PARQUET_END = "Invalid thrift: transport error"
_IN_TEXT = re.compile(r"\(os error (\d+)\)")


def is_disk_fault(error: Exception) -> bool:
    """Return whether an error came from the disk.

    Libraries written in Rust (polars, safetensors) raise types of their own whose text holds the
    system's error: "No space left on device (os error 28)"; where the end of a Parquet file is
    what has no room, polars speaks of the transport alone.
    """
    if isinstance(error, OSError):
        return error.errno in _CODES
    told = str(error)
    return _PARQUET_END in told or any(int(code) in _CODES for code in _IN_TEXT.findall(told))


@contextmanager
def disk_faults_told(folder: Path) -> Iterator[None]:
    """Turn an error that came from the disk into one that says what to do.

    Raises:
        DiskError: In place of the library's or the system's own error.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_fault(error):
            raise
        raise DiskError(
            f"Expected to write to {folder} (got {error}); make room on the disk and start again: "
            "it goes on where it stood, and what was published stands"
        ) from error
