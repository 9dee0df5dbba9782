"""Texts to vectors with a BERT encoder; what models make of the vectors is theirs."""
