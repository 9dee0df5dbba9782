"""Text to mentions and triples: engines behind one interface, validated, cached, accounted."""
