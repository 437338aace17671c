"""The webhook against what the world sends: forged, replayed, malformed, huge, slow, too many."""
import http.client
import json
import os
import pathlib
import re
import resource
import threading
import time

import pytest

from tests.support.argon import SECRET, Server, wait_for
from tests.support.forge import deliver, pull_request_payload, push_payload, sign
from tests.support.raw import Crowd, connect, exchange, read_until_closed

MIB = 1024 * 1024
BODY_MAX = 25 * MIB
HONEST_S = 0.2
PIPELINE = """\
version: 1
jobs:
  job:
    image: x
    steps:
      - run: echo built
"""


@pytest.fixture(name="one")
def fixture_one(server):
    return server()


@pytest.fixture(name="shared", scope="module")
def fixture_shared(tmp_path_factory):
    """One server for all tests whose requests are refused: it never stores anything."""
    one = Server(tmp_path_factory.mktemp("shared"))
    yield one
    one.stop()


@pytest.fixture(name="repo")
def fixture_repo(repository):
    return repository({".runnerci.yml": PIPELINE})


def headers_for(body, event="push", delivery="d-1", secret=SECRET, kind="application/json"):
    return {"Content-Type": kind, "X-GitHub-Event": event, "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": sign(body, secret)}


def post(one, body, headers, path="/webhook"):
    status, answer_headers, answer = one.request(path, "POST", body, headers, token=False)
    return status, answer_headers, answer


def head_of(body, **options):
    """A request's head as bytes, for raw sockets."""
    lines = ["POST /webhook HTTP/1.1", "Host: argon"]
    lines += [f"{name}: {value}" for name, value in headers_for(body, **options).items()]
    return "\r\n".join(lines).encode() + b"\r\n"


def metric(one, result):
    _, _, text = one.request("/metrics")
    found = re.search(rf'^argon_\w*deliver\w*{{result="{result}"}} (\d+)', text.decode(), re.M)
    assert found, text.decode()[:3000]
    return int(found.group(1))


def deliveries(one):
    return one.get("/api/v1/deliveries")["deliveries"]


# W2, W3: who signed


@pytest.mark.parametrize("what", [
    "none", "wrong", "another secret", "another body", "sha1", "sha1 header", "sha512", "upper",
    "63 digits", "65 digits", "empty", "no prefix", "a space behind", "two"])
def test_what_is_not_signed_rightly_is_401_and_leaves_nothing(shared, repo, what):
    body = json.dumps(push_payload(repo)).encode()
    right = sign(body)
    value = {
        "none": None, "wrong": "sha256=" + "0" * 64, "another secret": sign(body, "other"),
        "another body": sign(body + b" "), "sha1": "sha1=" + "0" * 40, "sha1 header": None,
        "sha512": right.replace("sha256", "sha512"), "upper": "sha256=" + right[7:].upper(),
        "63 digits": right[:-1], "65 digits": right + "0", "empty": "sha256=",
        "no prefix": right[7:], "a space behind": right + " ", "two": right}[what]
    head = head_of(body).replace(f"X-Hub-Signature-256: {right}\r\n".encode(), b"")
    if what == "sha1 header":
        head += b"X-Hub-Signature: sha1=" + b"0" * 40 + b"\r\n"
    if value is not None:
        head += f"X-Hub-Signature-256: {value}\r\n".encode() * (2 if what == "two" else 1)
    before = metric(shared, "bad_signature")
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    status, answer, _ = exchange(shared, head + body)
    assert status == 401, answer
    assert b"acme" not in answer and b"refs/heads" not in answer
    assert deliveries(shared) == [] and shared.builds() == []
    assert metric(shared, "bad_signature") == before + 1


def test_an_unsigned_request_is_not_told_what_else_is_wrong_with_it(shared):
    for body, kind in [(b"not JSON", "application/json"), (b"x", "text/plain")]:
        headers = headers_for(body, kind=kind, secret="wrong")
        del headers["X-GitHub-Delivery"]
        assert post(shared, body, headers)[0] == 401


# W10: rotation


def test_two_secrets_are_accepted_and_a_dropped_one_is_not(server, repo, tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    one = server(folder=folder, WEBHOOK_SECRET="new secret\nold secret")
    for number in range(200):
        secret = "old secret" if number % 3 else "new secret"
        status, answer = deliver(one, dict(push_payload(repo), n=number), event="star",
                                 secret=secret)
        assert status == 400 or answer["result"] == "ignored", answer
        status, answer = deliver(one, {"n": number}, event="star", secret=secret)
        assert (status, answer["result"]) == (200, "ignored")
    one.stop()
    two = server(folder=folder, WEBHOOK_SECRET="new secret")
    assert deliver(two, push_payload(repo), secret="old secret")[0] == 401
    assert deliver(two, push_payload(repo), secret="new secret")[0] == 202


# W4 and the table of bad input: bodies


@pytest.mark.parametrize("what, body", [
    ("not JSON", b"{not JSON"),
    ("cut off", b'{"ref":"refs/heads/ma'),
    ("empty", b""),
    ("a list", b"[]"),
    ("1000 deep", b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"),
    ("a million deep", b"[" * 1000000),
    ("NUL", b'{"ref":"a\0b"}'),
    ("escaped NUL", b'{"ref":"a\\u0000b"}'),
    ("invalid UTF-8", b'{"ref":"\xff\xfe"}'),
    ("overlong UTF-8", b'{"ref":"\xc0\xaf"}'),
    ("a surrogate", b'{"ref":"\xed\xa0\x80"}'),
    ("another event", b'{"zen":"Keep it","hook_id":1}'),
    ("a name twice", b'{"ref":"a","ref":"b"}'),
])
def test_a_body_that_is_not_its_event_is_400_and_the_connection_goes_on(shared, what, body):
    host = shared.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("POST", "/webhook", body, headers_for(body))
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 400, (what, text)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(text)["status"] == 400
    sock = connection.sock
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    assert connection.sock is sock, "the connection was closed"
    connection.close()
    assert deliveries(shared) == []


def test_each_missing_header_and_each_wrong_kind_is_told(shared, repo):
    body = json.dumps(push_payload(repo)).encode()
    for name in ("X-GitHub-Event", "X-GitHub-Delivery"):
        headers = headers_for(body)
        del headers[name]
        status, _, answer = post(shared, body, headers)
        assert status == 400 and name in json.loads(answer)["detail"]
    for name, value in [("X-GitHub-Delivery", "a b"), ("X-GitHub-Delivery", "x" * 65),
                        ("X-GitHub-Delivery", "../../etc"), ("X-GitHub-Event", "p" * 65)]:
        assert post(shared, body, dict(headers_for(body), **{name: value}))[0] == 400
    assert post(shared, body, headers_for(body, kind="text/plain"))[0] == 415
    assert post(shared, body, dict(headers_for(body), **{"Content-Encoding": "gzip"}))[0] == 415
    status, headers, _ = shared.request("/webhook", token=False)
    assert status == 405 and "POST" in headers["Allow"]
    assert deliveries(shared) == []


def test_the_header_must_claim_the_event_that_the_body_is(shared, repo):
    push, pull = push_payload(repo), pull_request_payload(repo)
    for payload, event in [(push, "pull_request"), (push, "ping"), (push, "create"),
                           (push, "issues"), (pull, "push"), (pull, "delete")]:
        status, answer = deliver(shared, payload, event=event)
        assert status == 400, (event, answer)
    assert shared.builds() == [] and deliveries(shared) == []


def padded(repo, size, n=0):
    """A push of exactly so many bytes; n makes it another one."""
    payload = json.dumps(dict(push_payload(repo, message=f"number {n}"), padding="")).encode()
    return payload[:-2] + b"x" * (size - len(payload)) + payload[-2:]


def high_water(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024


def test_25_mib_is_taken_ten_at_once_within_40_mb_and_one_byte_more_is_413(server, repo,
                                                                          monkeypatch):
    # What a sanitizer keeps of freed memory is not the server's.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") +
                       ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64")
    one = server()
    pid = one.child()
    bodies = [padded(repo, BODY_MAX, n) for n in range(10)]
    assert len(bodies[0]) == BODY_MAX
    post(one, b"{}", headers_for(b"{}", event="star"))
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    before = high_water(pid)
    answers = [None] * 10

    def send(n):
        answers[n] = post(one, bodies[n], headers_for(bodies[n], delivery=f"large-{n}"))[0]

    threads = [threading.Thread(target=send, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 10
    grown = high_water(pid) - before
    assert grown <= 40 * MIB, f"{grown / MIB:.1f} MiB"
    over = padded(repo, BODY_MAX + 1)
    status, answer, closed = exchange(
        one, head_of(over) + f"Content-Length: {len(over)}\r\n\r\n".encode() + over, 10)
    assert status == 413 and closed, answer
    assert len([row for row in deliveries(one) if row["event"] == "push"]) == 10


def test_413_is_told_before_the_body_is_sent(shared):
    with connect(shared) as sock:
        sock.sendall(head_of(b"") + f"Content-Length: {BODY_MAX + 1}\r\n"
                     "Expect: 100-continue\r\n\r\n".encode())
        answer, closed = read_until_closed(sock, 5)
    assert answer.startswith(b"HTTP/1.1 413 ") and closed


def test_a_body_in_chunks_is_taken_up_to_the_limit_and_broken_off_beyond(one, repo):
    body = padded(repo, 100_000)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7777]), body[i:i + 7777])
                      for i in range(0, len(body), 7777)) + b"0\r\n\r\n"
    head = head_of(body) + b"Transfer-Encoding: chunked\r\n\r\n"
    assert exchange(one, head + chunks)[0] == 202
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent, status = 0, None
    with connect(one) as sock:
        sock.sendall(head)
        try:
            while sent < 4 * BODY_MAX:
                sock.sendall(piece)
                sent += 65536
        except ConnectionError:
            pass
        answer, closed = read_until_closed(sock, 5)
        status = answer[9:12]
    assert closed and status in (b"413", b""), answer
    assert sent < 3 * BODY_MAX
    assert one.request("/healthz")[0] == 200


def test_a_length_that_lies_makes_no_delivery(shared, repo):
    body = json.dumps(push_payload(repo)).encode()
    with connect(shared) as sock:
        sock.sendall(head_of(body) + f"Content-Length: {len(body) + 10}\r\n\r\n".encode() + body)
    head = head_of(body) + f"Content-Length: {len(body) - 10}\r\n\r\n".encode()
    status, _, _ = exchange(shared, head + body)
    assert status == 401, "the signature is of the whole body"
    time.sleep(0.3)
    assert deliveries(shared) == []


# W6: duplicates and replays


def test_100_deliveries_of_the_same_id_at_once_make_one_build(one, repo):
    body = json.dumps(push_payload(repo)).encode()
    answers = []

    def send():
        status, _, answer = post(one, body, headers_for(body, delivery="same"))
        answers.append((status, json.loads(answer)["result"]))

    threads = [threading.Thread(target=send) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(200, "duplicate")] * 99 + [(202, "accepted")]
    one.wait_build()
    assert len(one.builds()) == 1 and len(deliveries(one)) == 1


def test_the_same_body_under_new_ids_is_a_replay(one, repo):
    payload = push_payload(repo)
    assert deliver(one, payload, delivery="first")[0] == 202
    for n in range(5):
        status, answer = deliver(one, payload, delivery=f"replay-{n}")
        assert (status, answer["result"]) == (200, "duplicate") and "first" in answer["reason"]
    one.wait_build()
    assert len(one.builds()) == 1


def test_a_delivery_that_could_not_be_made_durable_is_503_and_taken_when_it_comes_again(
        server, repo, monkeypatch):
    monkeypatch.setenv("ARGON_FAIL", "webhook.before_commit=error:1")
    one = server()
    body = json.dumps(push_payload(repo)).encode()
    status, headers, _ = post(one, body, headers_for(body, delivery="again"))
    assert status == 503 and int(headers["Retry-After"]) > 0, "a build with failpoints is needed"
    assert deliveries(one) == []
    assert deliver(one, push_payload(repo), delivery="again")[0] == 202
    one.wait_build()
    assert len(one.builds()) == 1


@pytest.mark.parametrize("place, second", [
    ("webhook.before_commit", 202), ("webhook.after_commit", 200),
    ("webhook.before_publish", 200), ("webhook.after_publish", 200)])
def test_a_crash_at_any_place_loses_nothing_and_doubles_nothing(server, repo, monkeypatch, place,
                                                                second):
    monkeypatch.setenv("ARGON_FAIL", f"{place}=kill:1")
    one = server()
    child = one.child()
    body = json.dumps(push_payload(repo)).encode()
    try:
        status = post(one, body, headers_for(body, delivery="crash"))[0]
    except (OSError, http.client.HTTPException):
        status = None
    wait_for(lambda: not pathlib.Path(f"/proc/{child}").exists() or one.child() != child,
             why="no crash; a build with failpoints is needed")
    # The child that was started anew has the rule too: end it with its parent.
    one.process.kill()
    one.process.wait()
    monkeypatch.delenv("ARGON_FAIL")
    del one.environment["ARGON_FAIL"]
    one.start()
    assert status is None or (status == 202 and place.endswith("publish"))
    status, _, answer = post(one, body, headers_for(body, delivery="crash"))
    assert status == second, answer
    one.wait_build()
    assert len(one.builds()) == 1 and len(deliveries(one)) == 1


# W8, W9


def test_pushes_out_of_order_are_both_built_at_their_own_commit(one, repo):
    old = push_payload(repo, message="old")
    new_commit = repo.commit({"more.txt": "x"}, "new")
    assert deliver(one, push_payload(repo, message="new"))[0] == 202
    one.wait_build(number=1)
    assert deliver(one, old)[0] == 202
    one.wait_build(number=2)
    assert {(build["number"], build["commit"]) for build in one.builds()} == {
        (1, new_commit), (2, old["head_commit"]["id"])}


def test_a_form_makes_the_same_build_as_its_json(server, repo):
    builds = []
    for form in (False, True):
        one = server()
        status, _ = deliver(one, push_payload(repo, message="A + b & c=d %41 \u00e9\n\nmore"),
                            form=form)
        assert status == 202
        build = one.wait_build()
        builds.append({key: build[key] for key in
                       ("repo", "ref", "branch", "commit", "message", "author", "pusher", "event",
                        "state")})
    assert builds[0] == builds[1]
    assert builds[0]["message"] == "A + b & c=d %41 \u00e9\n\nmore"


@pytest.mark.parametrize("body", [b"", b"x=1", b"payload=%7B", b"payload=%zz", b"payload=%7B%7D%",
                                  b"payload=%7B%7D&payload=%7B%7D", b"payload=%00"])
def test_a_form_that_is_broken_is_400(shared, body):
    status, _, answer = post(shared, body, headers_for(
        body, event="star", kind="application/x-www-form-urlencoded"))
    assert status == 400, answer


def test_every_kind_of_delivery_is_recorded_with_its_reason(one, repo):
    cases = [
        ("ping", {"zen": "Keep it simple", "hook_id": 3}, "pong", None),
        ("push", push_payload(repo, deleted=True), "ignored", "branch was deleted"),
        ("push", push_payload(repo, message="No [ci skip] today"), "ignored", "[skip ci]"),
        ("pull_request", pull_request_payload(repo, action="closed"), "ignored", "closed"),
        ("create", {"ref": "x", "ref_type": "branch", "repository": {}}, "ignored", "branch"),
        ("workflow_job", {"action": "queued"}, "ignored", "workflow_job"),
    ]
    for event, payload, result, reason in cases:
        status, answer = deliver(one, payload, event=event)
        assert (status, answer["result"]) == (200, result), answer
        assert reason is None or reason in answer["reason"]
    rows = deliveries(one)
    assert [row["event"] for row in reversed(rows)] == [case[0] for case in cases]
    for row, case in zip(reversed(rows), cases):
        assert row["result"] == "ignored" and (case[3] or "") in row["reason"]
        assert not row["builds"]
    assert one.builds() == []


def test_a_pull_request_of_a_fork_is_recorded_as_one(one, repo):
    status, answer = deliver(one, pull_request_payload(repo, fork=True), event="pull_request")
    assert (status, answer["result"]) == (202, "accepted") and "fork" in answer["reason"]
    one.wait_build()
    assert "fork" in deliveries(one)[0]["reason"]
    status, answer = deliver(one, pull_request_payload(repo), event="pull_request")
    assert status == 202 and "reason" not in answer


# W12: smuggling

HIDDEN = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
START = b"POST /webhook HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("shape", [
    b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nhello",
    b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"Content-Length: 5, 5\r\n\r\nhello",
    b"Content-Length: +5\r\n\r\nhello",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Content-Length : 5\r\n\r\nhello",
    b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    b"X\0: a\r\nContent-Length: 5\r\n\r\nhello",
    b"X: a\0\r\nContent-Length: 5\r\n\r\nhello",
    b"X: a\nContent-Length: 5\r\n\r\nhello",
    b"X: a\r\n\tContent-Length: 9\r\nContent-Length: 5\r\n\r\nhello",
    b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello",
    b"X: " + b"a" * 65536 + b"\r\n\r\n",
    b"".join(b"X-%d: 1\r\n" % n for n in range(1000)) + b"\r\n",
])
def test_a_shape_that_smuggles_is_refused_closed_and_never_two_requests(shared, shape):
    status, answer, closed = exchange(shared, START + shape + HIDDEN)
    assert closed
    assert status in (400, 431, None), answer
    assert b"200 OK" not in answer and b"version" not in answer
    assert shared.request("/healthz")[0] == 200


# F26: slow clients and many of them


def honest(one, count):
    """So many honest signed requests, one every 20 ms; the slowest but one (the slowest may be a
    pause of the machine itself)."""
    times = []
    for number in range(count):
        begun = time.monotonic()
        status, _ = deliver(one, {"n": number, "t": begun}, event="star")
        times.append(time.monotonic() - begun)
        assert status == 200
        time.sleep(0.02)
    return sorted(times)[-2]


@pytest.fixture(name="descriptors")
def fixture_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
def test_2000_idle_connections_and_2000_dripping_heads_are_ended_and_keep_nobody_waiting(one):
    honest(one, 30)
    idle, drip = Crowd(one, 2000), Crowd(one, 2000)
    begun, slowest, most = time.monotonic(), 0.0, 0
    drip.send(START)
    while idle.reap() + drip.reap() and time.monotonic() < begun + 20:
        drip.send(b"X")
        slowest = max(slowest, honest(one, 15))
        most = max(most, idle.reap() + drip.reap())
    assert most > 3900, "the crowd was not there"
    assert idle.reap() == 0 and drip.reap() == 0, "they are still open"
    assert 5 < time.monotonic() - begun < 16
    assert slowest < HONEST_S
    assert honest(one, 30) < HONEST_S


def drip_bodies(one, repo):
    """A body of 3 kB/s and one of 2 B/s at once; (the answer to the first, seconds of the other)."""
    body = padded(repo, 40_000)
    head = head_of(body) + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with connect(one) as fair, connect(one) as drip:
        fair.sendall(head)
        drip.sendall(head)
        begun, sent, ended = time.monotonic(), 0, None
        while time.monotonic() < begun + 14:
            fair.sendall(body[sent:sent + 1400])
            sent += 1400
            try:
                if ended is None:
                    drip.sendall(b"x")
                    ended = time.monotonic() - begun if read_until_closed(drip, 0.05)[1] else None
            except ConnectionError:
                ended = time.monotonic() - begun
            time.sleep(0.45)
        fair.sendall(body[sent:])
        return read_until_closed(fair, 2)[0], ended


def test_who_sends_or_reads_too_slowly_is_cut_off_and_a_fair_rate_is_not(one, repository):
    repo = repository({".runnerci.yml": PIPELINE.replace("echo built", "seq 1 2000000")})
    assert deliver(one, push_payload(repo))[0] == 202
    job = one.wait_build()["jobs"][0]
    with connect(one, timeout=30) as reader:
        reader.sendall(f"GET /api/v1/jobs/{job['id']}/log.txt HTTP/1.1\r\nHost: a\r\n"
                       f"Authorization: Bearer {one.token}\r\n\r\n".encode())
        answer, ended = drip_bodies(one, repo)
        got = 0
        try:
            while piece := reader.recv(1 << 20):
                got += len(piece)
        except ConnectionError:
            pass
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    assert ended is not None and 9 < ended < 13, ended
    assert 0 < got < job["log_bytes"], "the whole log came although nobody read"
