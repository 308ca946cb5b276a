"""The measurements run, compare what they say, and refuse what they do not know."""

import re
import tempfile

import pytest

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
    turns = ["--rounds", "1", "--seconds", "1", "--no-fsync"]
    chosen = ["--contender", "images", "--contender", "rowcall"]
    work = ["--workload", "insert@1", "--workload", "bulk delete"]
    said = fine("bench", "capture", *turns, *chosen, *work, COLUMNS="80").out
    for figure in ("insert@1", "insert@1 WAL B", "bulk delete"):
        for contender in ("images", "rowcall"):
            assert re.search(rf"^{figure} +{contender} +[\d,.]+", said, re.MULTILINE), said
