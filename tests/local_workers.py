"""Addresses and environments of workers on this machine."""

import contextlib
import json
import random
import socket


def free_addresses(n_addresses):
    """Find ports nobody uses, below those the system gives to outgoing connections."""
    ports = []
    while len(ports) < n_addresses:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            if port not in ports:
                ports.append(port)
    return [f"127.0.0.1:{port}" for port in ports]


def tf_config(addresses, rank):
    """Environment of one worker."""
    task = {"type": "worker", "index": rank}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
