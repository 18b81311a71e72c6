"""A server of TensorFlow that hears what is for its own address alone, and whether another one answers."""

import contextlib
import ctypes
import os
import socket
import struct
import sys

import tensorflow as tf

from dcgan_tf1.errors import UsageError
from dcgan_tf1.tf_config import split_address

PATIENCE = 1.5  # in seconds: a server that does not greet for so long hangs, or is cut off


def start_server(
    resolver: tf.distribute.cluster_resolver.ClusterResolver, address: str, options: tf.compat.v1.ConfigProto
) -> tf.compat.v1.train.Server:
    """The server of this worker, which answers at `address` alone. It is started.

    Raises UsageError: the address is not of this machine, or its port is taken.
    """
    host, port = split_address(address)
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(found)
        spec = resolver.cluster_spec()
        server = tf.compat.v1.train.Server(spec, resolver.task_type, resolver.task_id, config=options, start=False)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or "its port is taken"
        raise UsageError(
            f"TF_CONFIG: {resolver.task_type} {resolver.task_id} cannot listen at {address} ({reason}), "
            "expected a free port of an address of this machine"
        ) from error
    if sys.platform == "linux":
        listen_at(str(found[0]), port)
    server.start()
    return server


def listen_at(host: str, port: int) -> None:
    """Let the kernel drop what comes to `port` of this process for any address but `host`.

    TensorFlow's server listens at all addresses of a machine, whichever it is given. A filter on the listening socket,
    which every connection inherits, makes it deaf to all others (`man 7 socket`, SO_ATTACH_FILTER).
    """
    version = 6 if ":" in host else 4
    packed = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, host)
    words = struct.unpack(f"!{len(packed) // 4}I", packed)
    network, destination = 0xFFF00000, 24 if version == 6 else 16  # SKF_NET_OFF; where the header has the address
    tests = [(network, 0xF0000000, version << 28)]
    tests += [(network + destination + 4 * i, 0xFFFFFFFF, word) for i, word in enumerate(words)]
    program = []  # instructions of classic BPF: operation, jump if true, jump if false, operand
    for i, (offset, mask, value) in enumerate(tests):
        to_drop = 3 * (len(tests) - 1 - i) + 1
        program += [(0x20, 0, 0, offset), (0x54, 0, 0, mask), (0x15, 0, to_drop, value)]  # load, and, equal?
    program += [(0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]  # keep; drop
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    filter_ = struct.pack("HL", len(program), ctypes.addressof(code))
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as found:
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockname()[1] == port:
                found.setsockopt(socket.SOL_SOCKET, 26, filter_)  # SO_ATTACH_FILTER


def why_absent(address: str) -> str | None:
    """Why nobody greets at HOST:PORT; None: somebody does, as a gRPC server does however busy its process is."""
    try:
        with socket.create_connection(split_address(address), PATIENCE) as connection:
            return None if connection.recv(1) else "has ended"
    except TimeoutError:
        return "does not answer: it hangs or is cut off"
    except ConnectionError:
        return "has ended"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
