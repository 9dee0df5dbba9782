"""Which Neo4j server a store talks to: the one the environment names, else the local one.

NEO4J_URI, NEO4J_USER, NEO4J_PASSWORD, NEO4J_DATABASE; without NEO4J_URI the one server that
'graph-etl neo4j up' started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from graph_etl.errors import ConfigError, StoreError
from graph_etl.neo4j_server import running_servers

DEFAULT_DATABASE = "neo4j"


@dataclass(frozen=True)
class Neo4jConnection:
    """Where a server is and who asks.

    Attributes:
        uri: bolt:// or neo4j:// address, with +s for TLS.
        user: User name.
        password: Its password; never shown.
        database: Name of the database; always given to the server.
    """

    uri: str
    user: str
    password: str = field(repr=False)
    database: str = DEFAULT_DATABASE


def connection_from_environment(environ: Mapping[str, str] | None = None) -> Neo4jConnection:
    """Return the connection that the environment names, else that of the running local server.

    Args:
        environ: Variables; default those of the process.

    Raises:
        ConfigError: NEO4J_URI is set without NEO4J_PASSWORD, or several local servers run.
        StoreError: Neither is there.
    """
    environ = os.environ if environ is None else environ
    database = environ.get("NEO4J_DATABASE") or DEFAULT_DATABASE
    if uri := environ.get("NEO4J_URI"):
        password = environ.get("NEO4J_PASSWORD")
        if not password:
            raise ConfigError(
                f"Expected the environment variable NEO4J_PASSWORD for the server {uri}, found "
                "none; set it, and NEO4J_USER where the user is not neo4j"
            )
        return Neo4jConnection(uri, environ.get("NEO4J_USER") or "neo4j", password, database)
    servers = running_servers()
    if not servers:
        raise StoreError(
            "Expected a Neo4j server: the environment names none (NEO4J_URI) and no local one "
            "runs; start one with 'graph-etl neo4j up'"
        )
    if len(servers) > 1:
        raise ConfigError(
            f"Expected one running local server, found {[server.uri for server in servers]}; say "
            "which with NEO4J_URI and NEO4J_PASSWORD ('graph-etl neo4j status' names the file)"
        )
    return Neo4jConnection(servers[0].uri, servers[0].user, servers[0].password(), database)
