"""What users did, kept durably in the order it came in; what is learned from it is for jobs."""

from kgrec.events.event import Event
from kgrec.events.event_log import Appended, EventLog
from kgrec.events.purging import PurgedLog, purge_events
from kgrec.events.reading import StoredEvent, end_of_log, read_events
from kgrec.events.tail import LogTail

__all__ = [
    "Appended",
    "Event",
    "EventLog",
    "LogTail",
    "PurgedLog",
    "StoredEvent",
    "end_of_log",
    "purge_events",
    "read_events",
]
