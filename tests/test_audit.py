"""`make audit`: findings fail, excused ones do not, and an unreachable database is told and no failure."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def fault(identifier, *aliases):
    return {
        "id": identifier,
        "aliases": list(aliases),
        "summary": "A fault.",
        "modified": "2025-01-01T00:00:00Z",
        "published": "2025-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"name": "idna", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.7"}]}],
            }
        ],
    }


KNOWN = {("pillow", "9.0.0"): [fault("PYSEC-0")], ("idna", "3.6"): [fault("GHSA-jjg7-2v4v-x38h", "CVE-2024-3651")]}


class Database(BaseHTTPRequestHandler):
    """An OSV database of two faults; `known` and `status` can be set on the server."""

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        faults = self.server.known.get((query["package"]["name"], query["version"]))
        body = json.dumps({"vulns": faults} if faults else {}).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@contextmanager
def database(known=None, status=200):
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        server.known = KNOWN if known is None else known
        server.status = status
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def audit(tmp_path):
    def run(url, *pins, ignored=""):
        (tmp_path / "pins.txt").write_text("".join(f"{pin}\n" for pin in pins))
        (tmp_path / "ignored.txt").write_text(ignored)
        files = ["--requirements", str(tmp_path / "pins.txt"), "--ignored", str(tmp_path / "ignored.txt")]
        command = [sys.executable, str(ROOT / "scripts" / "audit.py"), *files, "--osv-url", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_packages_that_nothing_is_known_against_pass(audit):
    with database() as url:
        assert audit(url, "attrs==23.1.0", "click==8.1.7") == (
            0,
            "audit: 2 packages, 0 findings, 0 excused in ignored.txt\n",
        )


def test_a_finding_fails_and_is_told_with_its_names_and_the_release_that_mends_it(audit):
    with database() as url:
        status, told = audit(url, "attrs==23.1.0", "idna==3.6")
    assert status == 1
    assert "audit: idna 3.6: CVE-2024-3651, GHSA-jjg7-2v4v-x38h (fixed in 3.7)" in told


def test_a_finding_is_excused_by_any_of_its_names_until_a_date_and_with_a_reason(audit):
    with database() as url:
        excused = audit(url, "idna==3.6", ignored="# why\nCVE-2024-3651 2999-12-31 names of hosts are not read here\n")
        ended = audit(url, "idna==3.6", ignored="CVE-2024-3651 2020-01-01 names of hosts are not read here\n")
        unreasoned = audit(url, "idna==3.6", ignored="CVE-2024-3651 2999-12-31\n")
    assert excused == (0, "audit: 1 packages, 0 findings, 1 excused in ignored.txt\n")
    assert ended[0] == 1
    assert "ended on 2020-01-01: look at it again" in ended[1]
    assert unreasoned == (1, "line 1 of ignored.txt is not: ID YYYY-MM-DD reason (10 letters or more)\n")


def test_a_database_that_cannot_be_reached_is_told_and_is_no_failure(audit):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}/v1/query"
        status, told = audit(nobody, "idna==3.6")
    assert status == 0
    assert "NOT DONE" in told
    assert "refused" in told


@pytest.mark.parametrize(
    ("known", "status", "told"), [(None, 403, "it answers 403"), ({}, 200, "it knows nothing of pillow")]
)
def test_what_answers_in_the_place_of_a_database_is_not_taken_for_one(audit, known, status, told):
    with database(known, status) as url:
        assert audit(url, "idna==3.6")[0] == 0
        assert told in audit(url, "idna==3.6")[1]


def test_an_audit_that_fails_by_itself_is_a_failure(audit):
    with database() as url:
        status, told = audit(url, "this is no pin")
    assert status == 1
    assert "pip-audit failed" in told


def test_the_pins_of_the_project_can_be_audited_and_its_excuses_be_read(audit):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 100
    with database() as url:
        status, told = audit(url, *pins, ignored=(ROOT / "audit-ignore.txt").read_text())
    assert (status, told) == (0, f"audit: {len(pins)} packages, 0 findings, 0 excused in ignored.txt\n")
