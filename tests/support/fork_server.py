"""Programs of the product that start in milliseconds: each is forked from a process that has imported it.

The imports of a program take longer than most tests of it. A fork server imports one program, and forks for each start
of it, before gRPC is used: gRPC does not survive a fork. The forked process then runs what Python runs, with
arguments, environment, directory and streams of its own, and ends as Python ends.

`start` starts Python instead if an environment has other values for the variables that Python reads at its start.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

_READ_BY_PYTHON = ("PYTHON", "LC_", "LANG", "TZ")
"""Beginnings of the names of variables that Python reads at its start."""
_READ_BY_PROGRAMS = ("CALLBACK_", "GRPC_")
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(_READ_BY_PROGRAMS)}
"""Environment of all fork servers, whatever a test sets when the first program is started."""
_MAX_REQUEST_BYTES = 1 << 20
_servers = {}
_creating = threading.Lock()


class ForkServer:
    """A process that has imported what a program imports."""

    def __init__(self, program, *modules):
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.fork_server", str(theirs.fileno()), program, *modules],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0,
                cwd=Path(__file__).parents[1], env=_ENVIRONMENT,
            )  # fmt: skip

    def fork(self, arguments, environment, streams, *, own_group):
        """Fork, and return the socket that the process id and the wait status arrive on."""
        words = [os.fsdecode(argument) for argument in arguments]
        request = json.dumps([words, dict(environment), str(Path.cwd()), own_group]).encode()
        status, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._requests, [request], [*streams, theirs.fileno()])
        return status

    def stop(self):
        """End the fork server. The programs that it started run on."""
        self._requests.close()
        self._process.wait(60)


class ForkedProgram:
    """A program that a fork server started, with the interface of `subprocess.Popen`."""

    def __init__(self, arguments, status):
        self.args = arguments
        self.returncode = None
        self._status = status
        self.pid = self._receive()

    def _receive(self):
        number = self._status.recv(4)
        assert number, "the fork server has ended"
        return int.from_bytes(number, "little", signed=True)

    def wait(self, timeout=None):
        """Wait for its end, and return its exit code: the number of a signal is negative."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = self._receive()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self._status.close()
        return self.returncode

    def poll(self):
        """Return its exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number):
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Kill it as a crash does."""
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)


def start(
    program, *arguments, env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None, own_group=False,
    preloaded=(), interpreter=None, inherit=(),
):  # fmt: skip
    """Start a Python program, and return it. Each stream is a file, a descriptor, `DEVNULL`, or None to inherit it.

    Args:
        program: A package with a module `main`, or the path of a file.
        arguments: Its arguments.
        env: Its environment.
        stdin: Its standard input.
        stdout: Its standard output.
        stderr: Its standard error.
        own_group: Whether it gets a process group of its own, as a shell gives it.
        preloaded: Modules to import before `main`: those that only this use of the program imports. For a file, all.
        interpreter: The command of an interpreter to start, instead of a fork.
        inherit: File descriptors that this interpreter keeps open.
    """
    command = [program] if is_file(program) else ["-m", program]
    names = [name for name in env.keys() | _ENVIRONMENT.keys() if name.startswith(_READ_BY_PYTHON)]
    if interpreter or any(env.get(name) != _ENVIRONMENT.get(name) for name in names):
        return subprocess.Popen(
            [*(interpreter or [sys.executable]), *command, *arguments],
            stdin=stdin, stdout=stdout, stderr=stderr, env=env, process_group=0 if own_group else None,
            pass_fds=inherit,
        )  # fmt: skip
    # Popen raises this event too: conftest.py watches what quick tests start.
    sys.audit("subprocess.Popen", sys.executable, [*command, *arguments], None, env)
    key = (program, *preloaded)
    with _creating:
        if key not in _servers:
            _servers[key] = ForkServer(*key)
    with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123  # a device, not a file
        streams = [
            nothing.fileno() if stream == subprocess.DEVNULL
            else number if stream is None
            else stream if isinstance(stream, int)
            else stream.fileno()
            for number, stream in enumerate((stdin, stdout, stderr))
        ]  # fmt: skip
        return ForkedProgram(key, _servers[key].fork(arguments, env, streams, own_group=own_group))


def is_file(program):
    return program.endswith(".py")


def stop_all():
    """End all fork servers of this process."""
    while _servers:
        _servers.popitem()[1].stop()


def serve(requests):
    """Fork for each request until the requests end. Return None then, and in a forked process its request."""
    running = {}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is requests:
                    message, streams, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 4)
                    if not message:
                        return None
                    request = json.loads(message)
                    pid = os.fork()
                    if pid == 0:
                        for descriptor, status in running.items():
                            os.close(descriptor)
                            status.close()
                        requests.close()
                        return *request, streams
                    if request[-1]:
                        os.setpgid(pid, pid)  # here too, so that the group exists once the process id is known
                    for stream in streams[:-1]:
                        os.close(stream)
                    ended = os.pidfd_open(pid)
                    running[ended] = socket.socket(fileno=streams[-1])
                    running[ended].send(pid.to_bytes(4, "little", signed=True))
                    selector.register(ended, selectors.EVENT_READ, pid)
                else:
                    _, status = os.waitpid(key.data, 0)
                    code = os.waitstatus_to_exitcode(status)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    with running.pop(key.fd) as waiting, contextlib.suppress(ConnectionError):
                        waiting.send(code.to_bytes(4, "little", signed=True))


def main(requests, program, *modules):
    """Import a program, then serve. In each forked process, run the program."""
    before = dict(os.environ)
    gc.disable()
    for module in (*modules, *([] if is_file(program) else [f"{program}.main"])):
        importlib.import_module(module)
    set_by_import = {name: value for name, value in os.environ.items() if name not in before}
    gc.freeze()  # otherwise each process copies all of it when it collects garbage at its end
    gc.enable()
    request = serve(socket.socket(fileno=int(requests)))
    if request is None:
        return
    arguments, environment, directory, own_group, streams = request
    if own_group:
        os.setpgid(0, 0)
    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.environ.clear()
    os.environ.update(set_by_import | environment)
    os.chdir(directory)
    sys.argv[1:] = arguments
    if is_file(program):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
