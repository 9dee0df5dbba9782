"""What users did, kept durably in the order it came in; what is learned from it is for jobs."""

from kgrec.events.event import Event
from kgrec.events.event_log import Appended, EventLog
from kgrec.events.reading import StoredEvent, end_of_log, read_events

__all__ = ["Appended", "Event", "EventLog", "StoredEvent", "end_of_log", "read_events"]
