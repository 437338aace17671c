"""What people read: which builds are told, to whom, in which words, and what cannot be smuggled in."""
import time

from tests.support.argon import wait_for
from tests.support.forge import deliver, push_payload

GOOD = "version: 1\njobs:\n  job:\n    steps:\n      - run: echo fine\n"
BAD = """\
version: 1
jobs:
  job:
    steps:
      - name: check
        run: |
          echo 'error: 7'
          exit 7
"""


def run(one, repo, text, number):
    repo.commit({".runnerci.yml": text})
    assert deliver(one, push_payload(repo))[0] == 202
    return one.wait_build(number=number)


def wait_mails(smtp, count):
    return wait_for(lambda: len(smtp.mails()) >= count and smtp.mails(), 30,
                    why=f"{len(smtp.mails())} mails, not {count}")


def test_the_policy_change_tells_one_incident_from_red_to_green(server, repository, smtp):
    one = server(MAIL=smtp.url, MAIL_POLICY="change")
    repo = repository({"README.md": "x"})
    for number, text in enumerate([GOOD, BAD, BAD, GOOD, GOOD], start=1):
        run(one, repo, text, number)
    mails = wait_mails(smtp, 3)
    time.sleep(0.5)
    assert len(smtp.mails()) == 3
    words = ["FAILED #2", "STILL FAILING #3", "FIXED #4"]
    for mail, word in zip(mails, words):
        assert mail["Subject"].startswith(f"[acme/demo] {word} main"), mail["Subject"]
        assert mail["References"] == mails[0]["References"]
        assert mail["In-Reply-To"] == mail["References"]
    assert len({mail["Message-ID"] for mail in mails}) == 3
    text = mails[0].get_body(("plain",)).get_content()
    assert "First failure since #1" in text
    assert "job > check   exited with 7" in text and "error: 7" in text
    assert f"{one.url}/r/acme/demo/builds/2/jobs/job#L" in text
    assert "Red since #2" in mails[2].get_body(("plain",)).get_content()


def test_a_file_may_only_narrow_who_is_told(server, repository, smtp):
    one = server(MAIL=smtp.url, MAIL_POLICY="failure")
    repo = repository({"README.md": "x"})
    run(one, repo, BAD + "notify: { email: never }\n", 1)
    run(one, repo, GOOD + "notify: { email: always }\n", 2)
    run(one, repo, BAD + "notify: { email: always }\n", 3)
    mails = wait_mails(smtp, 1)
    time.sleep(0.5)
    assert [mail["X-Argon-Build"] for mail in smtp.mails()] == ["3"], mails


def test_a_file_with_errors_is_told_with_its_places(server, repository, smtp):
    one = server(MAIL=smtp.url)
    repo = repository({"README.md": "x"})
    run(one, repo, "version: 1\njobs:\n  job:\n    stpes: []\n", 1)
    mail = wait_mails(smtp, 1)[0]
    assert "ERROR #1" in mail["Subject"] and mail["X-Argon-Result"] == "error"
    text = mail.get_body(("plain",)).get_content()
    assert "stpes" in text and "steps" in text and "^" in text


def test_names_and_output_of_anybodys_making_stay_text(server, repository, smtp):
    one = server(MAIL=smtp.url)
    repo = repository({".runnerci.yml": "version: 1\njobs:\n  job:\n    steps:\n      - name: >-\n"
                                        "          <script>alert(1)</script>\n        run: |\n"
                                        "          printf '\\033[31m<b>red</b>\\033[0m\\r\\n--argon=_x\\n'\n"
                                        "          exit 1\n"})
    evil = "x\r\nBcc: mallory@example.org\r\n\r\n<img src=x>"
    payload = push_payload(repo, message=evil, pusher=("ada\r\nX-Evil: 1", "ada@example.org"))
    payload["head_commit"]["author"]["name"] = "Jörg <script> \"x\"\r\nX-Evil: 2"
    assert deliver(one, payload)[0] == 202
    one.wait_build()
    mail = wait_mails(smtp, 1)[0]
    assert mail["Bcc"] is None and mail["X-Evil"] is None and mail["To"] == "ada@example.org"
    parts = [part.get_content_type() for part in mail.walk()]
    assert parts == ["multipart/alternative", "text/plain", "text/html"]
    html = mail.get_body(("html",)).get_content()
    assert "<script" not in html and "<img" not in html and "<b>red" not in html
    assert "&lt;b&gt;red&lt;/b&gt;" in html and "Jörg" in html
    text = mail.get_body(("plain",)).get_content()
    assert "<b>red</b>" in text and "\033" not in text and "--argon=_x" in text
