"""Candidate retrieval: the FAISS index, content and tower sources, and their union."""
