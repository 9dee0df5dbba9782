"""A Neo4j Community server of one's own, on loopback, for a laptop and for the tests."""

from graph_etl.neo4j_server.local import LocalServer, down, running_servers, status, up

__all__ = ["LocalServer", "down", "running_servers", "status", "up"]
