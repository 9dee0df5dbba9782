"""What a run made and found, as one page that opens anywhere: no network, no scripts."""

from kgrec.report.inputs import MeasuredTable, ReportInput
from kgrec.report.page import render_report, write_report

__all__ = ["MeasuredTable", "ReportInput", "render_report", "write_report"]
