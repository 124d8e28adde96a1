"""The processes of a run: each starts at its first use, and runs until the end."""

from bench.kit import programs
from support.store import StoreProcess, free_port
from support.wait import wait_until

CASES = 64
"""Number of cases that are called, unless their number is what is measured."""
WARM_UP_S = 2
PUSH, PULL = "push", "pull"
PUSH_NODE, PULL_NODE, PULL_GO = "push-node", "pull-node", "pull-go"
_OTHERS = {
    "hello": programs.hello,
    "chain": programs.chain,
    "webhook": programs.webhook,
    "restate": programs.restate,
}


class Stage:
    """The subjects of a run: baselines, rivals, and Callback's activities, which share one deployment.

    The activity `record` has no handler, `push` has a handler that listens, and `pull` has a worker. `push-node`,
    `pull-node` and `pull-go` have the same in other languages.

    Args:
        directory: Directory for all files.
        stack: `AsyncExitStack` that ends all started processes.
        rounds: Number of measurements of each subject.
        seconds: Duration of a measurement.
        case_counts: Numbers of open cases to measure calls with, one after the other.
    """

    def __init__(self, directory, stack, *, rounds, seconds, case_counts):
        self.directory = directory
        self.rounds = rounds
        self.seconds = seconds
        self.case_counts = case_counts
        self.stack = stack
        self._subjects = {}
        self._deployment = None
        self._echo = None
        self._node_port = free_port()
        self._installed = {}

    async def subject(self, name):
        """Return the subject of that name, started if necessary."""
        if name not in self._subjects:
            if name in _OTHERS:
                self._subjects[name] = await self.stack.enter_async_context(_OTHERS[name](self.directory))
            else:
                self._subjects[name] = await self._of_ours(name)
        return self._subjects[name]

    async def _of_ours(self, activity):
        ours = await self.deployment()
        processes = ours.processes
        if activity in (PULL, PULL_NODE, PULL_GO):
            token = self.directory / "worker.token"
            token.write_text(ours.tokens["worker"])
            command = {
                PULL: lambda: ["kit/accepting.py", PULL],
                PULL_NODE: lambda: [*self._install("Node"), "pull", activity],
                PULL_GO: lambda: [*self._install("Go"), activity],
            }[activity]()
            before = await ours.metric("callback_workers")
            worker = await self.stack.enter_async_context(
                programs.running(*command, ours.grpc[0], token, directory=self.directory)
            )

            async def is_connected():
                return await ours.metric("callback_workers") > before

            await wait_until(is_connected, what="the worker to connect")
            processes |= {"worker": worker.process.pid}
        if activity == PUSH_NODE:
            command, port = [*self._install("Node"), "push", activity], self._node_port
            handler = await self.stack.enter_async_context(
                programs.running(*command, port, directory=self.directory, ports=[port])
            )
            processes |= {"handler": handler.process.pid}
        if activity == PUSH:
            processes |= {"handler": self._handler.process.pid}
        return programs.Subject(activity, ours.ports[0], await ours.paths(activity, CASES), processes)

    def _install(self, language):
        if language not in self._installed:
            self._installed[language] = programs.install(language, self.directory)
        return self._installed[language]

    async def echo(self):
        """Return the process and the port of the bare gRPC server, started if necessary."""
        if self._echo is None:
            program, port = await self.stack.enter_async_context(
                programs.listening("baselines/echo.py", directory=self.directory)
            )
            self._echo = program.process.pid, port
        return self._echo

    async def deployment(self):
        """Return the Callback deployment, one server and one edge, started if necessary."""
        if self._deployment is None:
            port = free_port()
            self._handler = await self.stack.enter_async_context(
                programs.running("kit/accepting.py", PUSH, port, directory=self.directory, ports=[port])
            )
            store = self.stack.enter_context(StoreProcess(self.directory / "store"))
            self._deployment = await self.stack.enter_async_context(
                programs.running_deployment(
                    self.directory / "ours",
                    store,
                    config="".join(
                        f'[activities.{activity}]\ntarget = "127.0.0.1:{listening}"\n'
                        for activity, listening in ((PUSH, port), (PUSH_NODE, self._node_port))
                    ),
                )
            )
        return self._deployment

    async def measure_in_rounds(self, measurements, *, in_order=False):
        """Measure each subject once per round, after a warm-up round.

        Args:
            measurements: By name, functions that measure for a number of seconds and return the results.
            in_order: Whether each round has the same order; otherwise every other round is reversed.

        Returns:
            By name, the results of each round.
        """
        rounds = {name: [] for name in measurements}
        for number in range(self.rounds + 1):
            for name in measurements if in_order or number % 2 else reversed(measurements):
                seen = await measurements[name](self.seconds if number else WARM_UP_S)
                if number:
                    rounds[name].append(seen)
                    print(f"  {name:24} {in_words(seen)}", flush=True)
        return rounds


def in_words(seen):
    """Return the results of a measurement as one line of text."""
    words = [f"{seen['per_second']:8.1f}/s"]
    words += [f"{name} {seen[f'{name}_us'] / 1000:.2f} ms" for name in ("p50", "p99") if f"{name}_us" in seen]
    if "answered" in seen:
        due = f" of {seen['due_per_second']:.0f}/s due, {seen['late']} late" if "late" in seen else ""
        words.append(f"of {seen['sent_per_second']:.0f}/s sent{due}; {seen['answered']}")
    if "resident_bytes" in seen:
        was = seen["resident_bytes_before"]
        sizes = (f"{name} {was[name] >> 20} to {size >> 20} MiB" for name, size in seen["resident_bytes"].items())
        words.append(", ".join(sizes))
    if "bytes_each" in seen:
        words.append(f"{seen['bytes_each']:.0f} bytes of the store each")
    if used := seen["processor_us"]:
        each = ", ".join(f"{name} {us:.0f}" for name, us in used.items())
        words.append(f"µs of processor {sum(used.values()):.0f}: {each}")
    return "  ".join(words)


def quotients(ours, baseline, metric="per_second"):
    """Return, for each round, Callback's metric divided by the baseline's."""
    return [a[metric] / b[metric] for a, b in zip(ours, baseline, strict=True)]
