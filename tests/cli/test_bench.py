"""The measurements run, compare what they say, and refuse what they do not know."""

import re
import tempfile

import pytest

from rowcall.bench import capture, gate
from tests.command import fine, refused
from tests.conftest import memory


def test_what_it_does_not_know_is_refused_with_what_there_is() -> None:
    assert "Nothing is called updates: choose from update@1, update@8" in refused(
        2, "bench", "capture", "--workload", "updates"
    )
    assert "choose from none, noop, images" in refused(2, "bench", "capture", "--contender", "nobody")


@pytest.mark.timeout(120)
def test_capture_beside_its_yardsticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", memory())
    monkeypatch.setattr(capture, "_ROWS", 5000)
    turns = ["--rounds", "1", "--seconds", "1", "--no-fsync"]
    chosen = ["--contender", "images", "--contender", "unindexed", "--contender", "rowcall"]
    work = ["--workload", "insert@1", "--workload", "bulk delete"]
    said = fine("bench", "capture", *turns, *chosen, *work, COLUMNS="80").out
    for figure in ("insert@1", "insert@1 WAL B", "bulk delete"):
        for contender in ("images", "unindexed", "rowcall"):
            assert re.search(rf"^{figure} +{contender} +[\d,.]+", said, re.MULTILINE), said


@pytest.mark.timeout(120)
def test_the_gate_beside_writes_that_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", memory())
    for name, few in (("CLIENTS", (2,)), ("_SAMPLES", 20), ("_BULK", 20), ("_CUTS", 1)):
        monkeypatch.setattr(gate, name, few)
    said = fine("bench", "gate", "--rounds", "1", "--seconds", "1", "--no-fsync", COLUMNS="80").out
    for figure in ("@2 p50, ms", "@2 writes/s"):
        for contender in ("ungated", "rule", "sync", "async"):
            assert re.search(rf"^{figure} +{contender} +[\d,.]+", said, re.MULTILINE), said
    for figure in ("asked to handler", "bare dblink", "bare NOTIFY", "frozen: after the deadline", "missing: after"):
        assert figure in said
