"""Bytes over a socket: requests that no HTTP client would send, and clients that do not behave."""
import select
import socket
import time


def connect(server, timeout=10):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    sock = socket.create_connection((host, int(port)), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_until_closed(sock, seconds):
    """(bytes, whether the server closed) within so many seconds."""
    end = time.monotonic() + seconds
    data = b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        try:
            piece = sock.recv(65536)
        except ConnectionError:
            return data, True
        if not piece:
            return data, True
        data += piece
    return data, False


def exchange(server, data, seconds=1.0):
    """(status or None, everything that came, whether the server closed)."""
    with connect(server) as sock:
        try:
            sock.sendall(data)
        except ConnectionError:
            pass
        answer, closed = read_until_closed(sock, seconds)
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None
    return status, answer, closed


class Crowd:
    """Many connections at once, watched by one poll."""

    def __init__(self, server, count):
        self.sockets = {}
        self.poll = select.poll()
        for _ in range(count):
            sock = connect(server)
            sock.setblocking(False)
            self.sockets[sock.fileno()] = sock
            self.poll.register(sock, select.POLLIN | select.POLLHUP)

    def send(self, data):
        """The same bytes on every connection that is still there."""
        for sock in self.sockets.values():
            try:
                sock.send(data)
            except OSError:
                pass

    def reap(self):
        """Drops the connections that the server has closed; how many are left."""
        for number, _ in self.poll.poll(0):
            sock = self.sockets[number]
            try:
                if sock.recv(65536):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            self.poll.unregister(number)
            sock.close()
            del self.sockets[number]
        return len(self.sockets)

    def close(self):
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()
