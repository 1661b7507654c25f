"""`manage.py up`: servers, preparation, then our processes, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from alphastrat import env
from alphastrat.servers import options, readiness
from alphastrat.servers.console import Console
from alphastrat.servers.embedded import EmbeddedServers
from alphastrat.servers.environment import demo_account, page_address, process_environment
from alphastrat.servers.errors import ServerError
from alphastrat.servers.guard import run_guarded
from alphastrat.servers.keeper import ServerKeeper
from alphastrat.servers.ports import listen
from alphastrat.servers.probe import PageProbe
from alphastrat.servers.state import Lock
from alphastrat.servers.supervisor import Program, Supervisor, how_it_ended

MANAGE = env.BASE_DIR / "manage.py"
HEAD_START = 20.0
KERNELS = "monitoring.quant.warming"
# The first command that exists is run.
COMMANDS = {
    "worker": ("run_worker", "qcluster"),
    "monitor": ("run_monitor",),
    "feed": ("run_feed",),
}


def main(arguments: Sequence[str]) -> int:
    """Run until stopped; return the exit status."""
    try:
        chosen = options.parse(arguments)
        var = env.var_dir()
        # The guard holds it as well: nobody starts here before all of ours has ended.
        Lock(var).acquire()
    except (ServerError, env.ConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return run_guarded(lambda: Up(chosen).run())


class Up:
    """One run of the product on this machine."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen
        self._var = env.var_dir()
        self._console = Console()
        self._supervisor = Supervisor(self._console, self._var / "log")
        self._listener: socket.socket | None = None
        self._servers: EmbeddedServers | None = None
        self._env: dict[str, str] = {}
        self._mark = ""
        self._is_prepared = False
        self._is_compiled = True
        self._record: dict[str, Any] = {}
        self._known_commands: set[str] | None = None
        self._has_answered = "web" not in chosen.only

    def run(self) -> int:
        """Start, then supervise until asked to stop."""
        try:
            self._start()
            keeper = ServerKeeper(self._servers, self._console) if self._servers else None
            while True:
                self._supervisor.turn()
                self._start_waiting()
                if keeper:
                    keeper.look()
        except KeyboardInterrupt:
            self._console.say("stopping")
            status = 0
        except (ServerError, env.ConfigurationError) as error:
            self._console.say(str(error))
            status = 1
        finally:
            self._stop()
        return status

    def _start(self) -> None:
        if "web" in self._chosen.only:
            self._listener = listen(self._chosen.host, self._chosen.port)
        self._servers = self._make_servers()
        self._env = process_environment(self._var, self._servers.urls, host=self._chosen.host)
        given = [self._env[name] for name in ("DATABASE_URL",) if not self._servers.has("postgres")]
        self._mark = readiness.fingerprint(env.BASE_DIR, str(self._chosen.no_demo), *given)
        record = readiness.read_record(self._var)
        is_current = record.get("fingerprint") == self._mark
        if not is_current:
            # Importing Django, compiling and creating the cluster go on side by side.
            self._prepare()
            self._compile()
        self._servers.start()
        if not is_current:
            return
        applied = readiness.applied_migrations(self._env["DATABASE_URL"])
        if applied is None or applied != record.get("migrations"):
            self._prepare()
            return
        self._is_prepared = True
        self._start_web()
        self._known_commands = set(record["commands"])

    def _make_servers(self) -> EmbeddedServers:
        given = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
        servers = EmbeddedServers(
            self._var,
            [name for name, variable in given.items() if not env.env_secret(variable)],
            announce=self._console.say,
            wait=self._supervisor.turn,
        )
        servers.remember(page=page_address(self._chosen.host, self._chosen.port))
        self._supervisor.other_children = servers.process_ids
        return servers

    def _prepare(self) -> None:
        """Migrate, collect static files and load the demo in a process of its own."""
        self._console.say("preparing the database (migrations, static files, sample market)")
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        command = [sys.executable, MANAGE, "up", "--prepare", "--notices", str(write_end)]
        if self._chosen.no_demo:
            command.append("--no-demo")
        program = self._program("prepare", command, pass_fds=(write_end,))
        program.on_end = self._note_preparation
        self._supervisor.start(program)
        os.close(write_end)
        self._supervisor.watch(read_end, lambda: self._read_notice(read_end))

    def _read_notice(self, descriptor: int) -> None:
        content = os.read(descriptor, 65536)
        if not content:
            self._supervisor.unwatch(descriptor)
            os.close(descriptor)
        for line in content.decode().splitlines():
            notice: dict[str, Any] = json.loads(line)
            if notice["step"] == "migrated":
                self._start_web()
            else:
                self._finish_preparation(notice)

    def _finish_preparation(self, notice: dict[str, Any]) -> None:
        record = {"fingerprint": self._mark, "commands": notice["commands"]}
        record["migrations"] = readiness.applied_migrations(self._env["DATABASE_URL"])
        self._record = record
        self._keep_record()
        self._is_prepared = True
        self._known_commands = set(notice["commands"])
        self._greet()

    def _keep_record(self) -> None:
        """Let the next start skip what is done, once all of it is."""
        if self._record and self._is_compiled:
            readiness.write_record(self._var, self._record)

    def _note_preparation(self, code: int) -> None:
        if code != 0:
            raise ServerError(
                f"The preparation {how_it_ended(code)}: see {self._var / 'log' / 'prepare.log'}."
            )

    def _compile(self) -> None:
        """Compile the kernels once, where several processes would at the same time."""
        if not set(self._chosen.only) - {"web"}:
            return
        self._console.say("compiling the kernels (half a minute the first time)")
        self._is_compiled = False
        program = self._program("compile", [sys.executable, "-m", KERNELS])
        program.on_end = self._note_compilation
        self._supervisor.start(program)

    def _note_compilation(self, code: int) -> None:
        self._is_compiled = True
        self._keep_record()
        if code != 0:
            self._console.say(f"compiling the kernels {how_it_ended(code)}: left to each process")

    def _program(self, name: str, command: Sequence[Any], pass_fds: Sequence[int] = ()) -> Program:
        return Program(name, command, env=self._env, cwd=env.BASE_DIR, pass_fds=pass_fds)

    def _start_web(self) -> None:
        if self._listener is None:
            return
        descriptor = self._listener.fileno()
        command = [sys.executable, "-m", "alphastrat.servers.web", "--fd", str(descriptor)]
        self._supervisor.start(self._program("web", command, pass_fds=(descriptor,)))
        PageProbe(self._supervisor, self._listener, self._note_answer)

    def _start_waiting(self) -> None:
        """Start the others once the first page is out and the kernels are compiled.

        Side by side all of them start slower.
        """
        if self._known_commands is None or not self._is_compiled:
            return
        if not self._has_answered and self._console.elapsed < HEAD_START:
            return
        available, self._known_commands = self._known_commands, None
        for name in self._chosen.only:
            if name == "web":
                continue
            command = next((c for c in COMMANDS[name] if c in available), None)
            if command is None:
                self._console.say(f"{name} is not part of this build: left out")
                continue
            self._supervisor.start(self._program(name, [sys.executable, MANAGE, command]))

    def _note_answer(self) -> None:
        self._has_answered = True
        self._greet()

    def _greet(self) -> None:
        if not (self._is_prepared and self._has_answered):
            return
        say = self._console.say
        if self._listener is not None:
            address = page_address(self._chosen.host, self._chosen.port)
            say(f"ready in {self._console.elapsed:.1f} s at {address}")
        account = {} if self._chosen.no_demo else demo_account(self._var)
        for key, value in account.items():
            say(f"  {key.lower().replace('_', ' ')}: {value}")
        if account:
            say(f"  (kept in {self._var / 'demo.env'})")
        say("Ctrl-C stops everything")

    def _stop(self) -> None:
        self._supervisor.stop()
        if self._listener is not None:
            self._listener.close()
        if self._servers is not None:
            self._servers.stop()
            self._console.say("stopped")
