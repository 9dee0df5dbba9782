"""Networks of published models that ours are measured against; the scorers are in baselines."""
