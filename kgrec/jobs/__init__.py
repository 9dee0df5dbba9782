"""Whole jobs from tables to answers; the one place of kgrec that drives graph_etl's pipeline."""

from kgrec.jobs.run import RunResult, run

__all__ = ["RunResult", "run"]
