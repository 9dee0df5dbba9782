"""The second stage: features, rankers, cross-fitted training, and the pipeline that serves."""
