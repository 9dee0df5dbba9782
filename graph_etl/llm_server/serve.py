"""The server's own process: loads one GGUF into llama.cpp and serves it until it is told to stop.

Run as a script by local.py, with the settings as JSON in the first argument; it imports nothing of
graph_etl, so that nothing but the model takes memory.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def main(settings: dict[str, str | int]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # before threads start, which inherit it
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(settings["model"])
    params.model_alias = {str(settings["name"])}
    params.hostnames = ["127.0.0.1"]
    params.port = int(settings["port"])
    params.n_parallel = int(settings["parallel"])
    params.n_ctx = int(settings["context_tokens"]) * params.n_parallel
    params.cpuparams.n_threads = int(settings["threads"])
    params.cache_ram_mib = 0  # prompts differ from text to text; what they share stays in its slot
    params.ui = False
    params.endpoint_slots = False  # it shows the prompts of others
    params.cors_origins = ""
    server = xllamacpp.Server(params)
    print("READY", server.listening_address, flush=True)
    signal.sigwait(stops)
    os._exit(0)  # nothing to save, and requests under way are not waited for


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
