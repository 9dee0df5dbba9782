"""Snapshot to models, index and recommendations that explain themselves."""
