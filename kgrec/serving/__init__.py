"""Answers out of a published artifact: recommendations, similar items, search and reasons."""
