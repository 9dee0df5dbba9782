"""Train, validation and test: five kinds of split behind one class, and the lock on test."""

from kgrec.data.splits.config import Part, SplitConfig, SplitName
from kgrec.data.splits.cuts import user_window
from kgrec.data.splits.files import read_split, write_split
from kgrec.data.splits.published import published_labels, read_published
from kgrec.data.splits.split import Split, make_split
from kgrec.data.splits.tasks import make_task
from kgrec.data.splits.test_lock import OpeningLog, test_forbidden

__all__ = [
    "OpeningLog",
    "Part",
    "Split",
    "SplitConfig",
    "SplitName",
    "make_split",
    "make_task",
    "published_labels",
    "read_published",
    "read_split",
    "test_forbidden",
    "user_window",
    "write_split",
]
