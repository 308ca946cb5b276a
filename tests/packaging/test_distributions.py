"""What is published: a wheel with everything in it, made from a sdist with everything in it."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The wheel is built from the sdist here, as an installer without our wheel would do it.
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={target}", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def info(wheel: zipfile.ZipFile) -> str:
    return next(name for name in wheel.namelist() if name.endswith("/METADATA")).split("/")[0]


def committed(folder: str, pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern)}


def test_the_wheel_has_every_sql_file_and_migration(wheel: zipfile.ZipFile) -> None:
    prefix = "rowcall/_resources/"
    resources = {name.removeprefix(prefix) for name in wheel.namelist() if name.startswith(prefix)}
    expected = committed("sql", "*.sql") | committed("migrations", "*.py")
    assert "migrations/env.py" in expected
    assert any(name.startswith("sql/") for name in expected)
    assert expected <= resources


def test_the_wheel_has_every_module_and_its_types(wheel: zipfile.ZipFile) -> None:
    modules = {name.removeprefix("src/") for name in committed("src", "*.py")}
    assert modules | {"rowcall/py.typed"} <= set(wheel.namelist())


def test_the_wheel_has_nothing_else(wheel: zipfile.ZipFile, info: str) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {"rowcall", info}
    assert not [name for name in wheel.namelist() if "__pycache__" in name]


def test_the_wheel_installs_the_command_and_names_its_licence(wheel: zipfile.ZipFile, info: str) -> None:
    assert b"rowcall = rowcall.cli:main" in wheel.read(f"{info}/entry_points.txt")
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "embedded" in metadata.get_all("Provides-Extra", [])


def test_the_sdist_can_be_tested(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    needed = {"Makefile", "pyproject.toml", "tests/conftest.py", "tests/requirements.lock"}
    assert needed <= names
