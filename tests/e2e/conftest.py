"""What the end-to-end tests share: a real server, real repositories, a forge that signs."""
import pytest

from tests.support.argon import Server
from tests.support.forge import Repository
from tests.support.mail import SmtpServer


@pytest.fixture
def repository(tmp_path):
    """A factory: repository(files) makes a git repository with one commit."""
    made = []

    def make(files, name="demo"):
        made.append(Repository(tmp_path / f"repository-{len(made)}", files, name=name))
        return made[-1]

    return make


@pytest.fixture
def server(tmp_path_factory):
    """A factory: server(**settings) starts `argon up` in a folder of its own; all are ended."""
    started = []

    def start(**options):
        folder = options.pop("folder", None) or tmp_path_factory.mktemp("data")
        started.append(Server(folder, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def smtp(tmp_path):
    """A real SMTP server (aiosmtpd) that keeps what it gets."""
    sink = SmtpServer(tmp_path / "mails")
    yield sink
    sink.stop()
