"""A snapshot as arrays: ids, interactions, histories, the graph, splits and their audit."""
