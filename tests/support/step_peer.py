"""The executor's end of argon-step's line, written from the description in src/wire/step_frame.h
alone: what it understands does not depend on the code that is tested."""
import os
import socket
import struct
import subprocess
import time

PROTOCOL = 1
MARK = 0xA5
ATTACH, PLAN, GO, ACK, CANCEL, STOP = range(1, 7)
HELLO, STARTED, OUTPUT, FINISHED, END = range(16, 21)
CAUSES = ["", "timeout", "job timeout", "oom", "pids", "disk", "cancelled", "stopped", "orphaned",
          "start", "internal"]
RESULTS = ["success", "failed", "timeout", "cancelled", "orphaned", "stopped", "error"]
KEEP = 0xFFFFFFFF


def frame(kind, payload=b""):
    return struct.pack("<BBI", MARK, kind, len(payload)) + payload


def text(value):
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw + b"\0"


def variables(values):
    return struct.pack("<I", len(values)) + b"".join(
        text(name) + text(value) for name, value in values.items())


def plan(steps, workspace="/workspace", env=None, secrets=None, timeout_ms=0, orphan_max_ms=0,
         grace_ms=0, uid=KEEP, supervisor=KEEP, strict=False):
    """steps: dictionaries with run and, if wanted, shell, folder, timeout_ms, continues, env."""
    out = text(workspace) + struct.pack("<QQQIIIB", timeout_ms, orphan_max_ms, grace_ms, uid, uid,
                                        supervisor, strict)
    out += variables(env or {}) + variables(secrets or {}) + struct.pack("<I", len(steps))
    for step in steps:
        out += text(step.get("name", "a step")) + text(step["run"])
        out += text(step.get("shell", "sh")) + text(step.get("folder", ""))
        out += struct.pack("<QB", step.get("timeout_ms", 0), step.get("continues", False))
        out += variables(step.get("env", {}))
    return out


def checksum(data):
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


class Reader:
    """Takes values out of a payload, in order."""

    def __init__(self, payload):
        self.payload = payload
        self.at = 0

    def take(self, shape):
        values = struct.unpack_from("<" + shape, self.payload, self.at)
        self.at += struct.calcsize("<" + shape)
        return values

    def text(self):
        (length,) = self.take("I")
        value = self.payload[self.at:self.at + length].decode()
        assert self.payload[self.at + length] == 0
        self.at += length + 1
        return value


class Follower:
    """Takes a job's stream, from any connection, and keeps what was said."""

    def __init__(self):
        self.out = b""
        self.errors = b""
        self.steps = []
        self.end = None
        self.offset = 0

    def take(self, kind, payload):
        reader = Reader(payload)
        self.offset += 6 + len(payload)
        if kind == OUTPUT:
            _, stream, _ = reader.take("IBQ")
            if stream == 1:
                self.out += payload[reader.at:]
            else:
                self.errors += payload[reader.at:]
        elif kind == FINISHED:
            (_, code, signal, _, duration, cpu, memory, blocked, killed,
             cause) = reader.take("IiiQQQQQIB")
            self.steps.append({"code": code, "signal": signal, "duration": duration, "cpu": cpu,
                               "memory": memory, "blocked": blocked, "killed": killed,
                               "cause": CAUSES[cause], "text": reader.text(),
                               "warning": reader.text()})
        elif kind == END:
            result, step, code, signal, _, killed, cause = reader.take("BiiiQIB")
            self.end = {"result": RESULTS[result], "step": step, "code": code, "signal": signal,
                        "killed": killed, "cause": CAUSES[cause], "text": reader.text(),
                        "warning": reader.text()}


class Peer(Follower):
    """Listens in a folder and follows one job to its end."""

    def __init__(self, folder):
        super().__init__()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(folder / "sock"))
        os.chmod(folder / "sock", 0o777)
        self.listener.listen(8)

    def close(self):
        self.listener.close()

    def frames(self, connection, patience):
        pending = b""
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            while len(pending) >= 6:
                mark, kind, length = struct.unpack_from("<BBI", pending)
                assert mark == MARK, pending[:32]
                if len(pending) < 6 + length:
                    break
                yield kind, pending[6:6 + length]
                pending = pending[6 + length:]
            connection.settimeout(limit - time.monotonic())
            got = connection.recv(1 << 18)
            assert got, "argon-step hung up"
            pending += got
        raise AssertionError("argon-step does not come to an end")

    def follow(self, encoded, patience=60, on_output=None):
        """Gives it the plan and follows the job to its end; returns JOB_END as a dictionary."""
        self.listener.settimeout(patience)
        connection, _ = self.listener.accept()
        nonce = os.urandom(16)
        connection.sendall(frame(ATTACH, struct.pack("<I16sQ", PROTOCOL, nonce, 0)))
        for kind, payload in self.frames(connection, patience):
            if kind == HELLO:
                assert payload[:16] == nonce
                for at in range(0, len(encoded), 32768):
                    connection.sendall(frame(PLAN, encoded[at:at + 32768]))
                connection.sendall(frame(GO, struct.pack("<II", len(encoded), checksum(encoded))))
                continue
            self.take(kind, payload)
            if kind == OUTPUT and on_output:
                on_output(self)
            connection.sendall(frame(ACK, struct.pack("<Q", self.offset)))
            if kind == END:
                connection.close()
                return self.end
        return None


class AttachedPeer(Follower):
    """The same over standard input and output of a container, by `docker attach`."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def follow(self, encoded, until, patience=60):
        """One connection: until(self) says when to kill it; True when the job has ended."""
        with subprocess.Popen(["docker", "attach", "--sig-proxy=false", self.container],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            try:
                return self.talk(client, encoded, until, time.monotonic() + patience)
            finally:
                client.kill()

    def talk(self, client, encoded, until, limit):
        nonce = os.urandom(16)
        client.stdin.write(bytes(6 + 65536))
        client.stdin.write(frame(ATTACH, struct.pack("<I16sQ", PROTOCOL, nonce, self.offset)))
        client.stdin.flush()
        pending = b""
        greeting = struct.pack("<BBI", MARK, HELLO, 38) + nonce
        greeted = False
        while time.monotonic() < limit:
            got = os.read(client.stdout.fileno(), 1 << 16)
            if not got:
                return False  # as if it had been killed: the next one goes on
            pending += got
            if not greeted:
                if greeting not in pending[:-22]:
                    continue
                pending = pending[pending.index(greeting):]
            while len(pending) >= 6:
                mark, kind, length = struct.unpack_from("<BBI", pending)
                assert mark == MARK, pending[:32]
                if len(pending) < 6 + length:
                    break
                payload, pending = pending[6:6 + length], pending[6 + length:]
                if kind == HELLO:
                    greeted = True
                    if not payload[20]:
                        client.stdin.write(frame(PLAN, encoded) + frame(
                            GO, struct.pack("<II", len(encoded), checksum(encoded))))
                else:
                    self.take(kind, payload)
                    client.stdin.write(frame(ACK, struct.pack("<Q", self.offset)))
                client.stdin.flush()
                if kind == END:
                    # A client that is killed may take the last acknowledgement along; argon-step
                    # would wait for it. With it the container ends, and the client with that.
                    client.wait(30)
                    return True
                if until(self):
                    return False
        raise AssertionError("argon-step does not come to an end")
