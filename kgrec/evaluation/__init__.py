"""The referee: metrics, evaluator, statistics, the test ledger, run records and tables."""
