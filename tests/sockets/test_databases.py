"""Real database servers, reached from inside Wasm by their real drivers."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import without
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.conftest import Serve
from tests.sockets.containers import created

from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Module = Callable[..., Bundle]


def need(program: str, package: str) -> None:
    if shutil.which(program, path="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is None:
        without(f"{program} (apt install {package})")


async def test_redis_is_written_and_read(
    launcher: Launcher, guests: Guests, module: Module, serve: Serve, tmp_path: Path
) -> None:
    need("redis-server", "redis-server")
    client = module(guests.go("client"), "redis", "127.0.0.1:6379", "pier")
    async with created(launcher, client) as container:
        folder = tmp_path / "redis"
        folder.mkdir()
        words = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(folder)]
        serve(container, ["redis-cli", "ping"], "redis-server", *words)
        await container.ask("redis-cli", "set", "pier:outside", "from outside")
        await container.start()
        said = [await container.line() for _ in range(5)]
        assert said == [
            "value from inside",
            "outside from outside",
            "counter 1000",
            f"large {1 << 20} true",
            "message a boat",
        ]
        assert await container.ask("redis-cli", "get", "pier") == "from inside\n"
        assert await container.ask("redis-cli", "get", "pier:counter") == "1000\n"
        assert await container.ask("redis-cli", "strlen", "pier:large") == f"{1 << 20}\n"


async def test_mariadb_is_written_and_read(
    launcher: Launcher, guests: Guests, module: Module, serve: Serve, tmp_path: Path
) -> None:
    need("mariadbd", "mariadb-server")
    data = tmp_path / "mariadb"
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}",
         "--auth-root-authentication-method=normal", "--skip-test-db"],
        capture_output=True, check=True,
    )  # fmt: skip
    dsn = "sailor:p%40ss@tcp(127.0.0.1:3306)/harbour"
    async with created(launcher, module(guests.go("client"), "mysql", dsn, "boats")) as container:
        door = f"--socket={tmp_path}/mariadb.sock"
        serve(
            container,
            ["mariadb-admin", "--no-defaults", door, "ping"],
            *("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", door),
            *("--bind-address=127.0.0.1", "--port=3306", "--skip-log-bin"),
            f"--pid-file={tmp_path}/mariadb.pid",
        )

        async def sql(statement: str) -> str:
            words = ("--default-character-set=utf8mb4", "--batch", "--skip-column-names")
            return await container.ask("mariadb", "--no-defaults", door, *words, "-e", statement)

        await sql(
            "CREATE DATABASE harbour CHARACTER SET utf8mb4;"
            "CREATE TABLE harbour.boats (id INT PRIMARY KEY, name VARCHAR(100)) ENGINE=InnoDB;"
            "INSERT INTO harbour.boats VALUES (0, 'from outside');"
            "CREATE USER sailor@127.0.0.1 IDENTIFIED BY 'p%40ss';"
            "GRANT ALL ON harbour.* TO sailor@127.0.0.1"
        )
        await container.start()
        said = [await container.line() for _ in range(4)]
        assert said == [
            "row 99 boat 99 ⛵",
            "row 100 boat 100 ⛵",
            "outside from outside",
            "duplicate 1062",
        ]
        assert await sql("SELECT COUNT(*), MAX(id) FROM harbour.boats") == "101\t100\n"
        assert await sql("SELECT name FROM harbour.boats WHERE id = 7") == "boat 7 ⛵\n"
