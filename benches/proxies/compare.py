#!/usr/bin/env python3
"""Measures netstackd beside other programs that bring a network's flows out: tun2proxy, pasta, slirp4netns.

    cargo build --release --bin netstackd
    benches/proxies/compare.py --netstackd target/release/netstackd --tun2proxy tun2proxy-bin

Needs root, iperf3 and microsocks; a program that is not there is left out. Everything happens in two network namespaces
that end with the script: `clients`, whose only network is the program that is measured, and `outside`, with the servers and
the SOCKS5 proxy. In each round every program has its turn, so that a disturbance of the machine affects all of them; the
medians are printed.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

SERVER = "203.0.113.9"
SOCKS = "127.0.0.1:1080"
ECHO_PORT = 7000
PATIENCE = 60


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, **more).stdout


class Namespaces:
    """The two namespaces."""

    def __init__(self):
        self.clients, self.outside = (f"{name}-{os.getpid()}" for name in ("clients", "outside"))

    def __enter__(self):
        for name in (self.clients, self.outside):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.outside, "addr", "add", f"{SERVER}/32", "dev", "lo")
        # pasta takes addresses and routes from an interface with a default route.
        run("ip", "-n", self.outside, "link", "add", "up0", "type", "veth", "peer", "name", "up1")
        run("ip", "-n", self.outside, "link", "set", "up1", "up")
        run("ip", "-n", self.outside, "addr", "add", "192.0.2.2/24", "dev", "up0")
        run("ip", "-n", self.outside, "link", "set", "up0", "up")
        run("ip", "-n", self.outside, "route", "add", "default", "via", "192.0.2.1")
        return self

    def __exit__(self, *_):
        for name in (self.clients, self.outside):
            subprocess.run(["ip", "netns", "del", name], check=False)

    def command(self, name, *words):
        return ["ip", "netns", "exec", name, *words]


def start(namespaces, *words):
    """Starts a program outside. Nothing that is measured prints more than a pipe takes."""
    return subprocess.Popen(
        namespaces.command(namespaces.outside, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop(process):
    """Ends a process and those that it started."""
    process.stdout.close()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(what, done):
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.05)


def has_link(namespace, name):
    shown = subprocess.run(["ip", "-n", namespace, "link", "show", name], capture_output=True)
    return shown.returncode == 0


class Program:
    """A program that is measured, and how its network gets into the namespace of the clients."""

    def __init__(self, name, version, words, device=None, says_ready=False):
        self.name, self.version, self.words, self.device = name, version, words, device
        self.says_ready = says_ready

    def begin(self, namespaces):
        words = [word.format(clients=f"/run/netns/{namespaces.clients}") for word in self.words]
        process = start(namespaces, *words)
        inside = namespaces.clients
        if self.device:
            wait_for(f"{self.name}: its device", lambda: has_link(namespaces.outside, self.device))
            if self.says_ready:
                process.stdout.readline()
            else:
                time.sleep(1)
            run("ip", "-n", namespaces.outside, "link", "set", self.device, "netns", inside)
            run("ip", "-n", inside, "link", "set", self.device, "up")
            run("ip", "-n", inside, "addr", "replace", "10.77.0.1/24", "dev", self.device)
            run("ip", "-n", inside, "route", "replace", "default", "dev", self.device)
        wait_for(f"{self.name}: its route", lambda: "default" in run("ip", "-n", inside, "route"))
        wait_for(f"{self.name}: an answer", lambda: probe(namespaces, "ask", "1").returncode == 0)
        return process


def programs(arguments):
    """Returns the programs that are there, through the SOCKS5 proxy and directly."""

    def version(*words):
        shown = subprocess.run(words, capture_output=True, text=True)
        return (shown.stdout + shown.stderr).strip().split("\n")[0]

    def package(name):
        shown = subprocess.run(["dpkg-query", "-W", name], capture_output=True, text=True)
        return shown.stdout.replace("\t", " ").strip()

    ours, theirs = arguments.netstackd, arguments.tun2proxy
    found = []
    if shutil.which(ours):
        proxy = [ours, "proxy", "--tun", "bench0", "--addr", "10.77.0.2/24", "--control", "none"]
        known = version(ours, "--version")
        found.append(Program("netstackd, SOCKS5", known, [*proxy, "--upstream", f"socks5://{SOCKS}"], "bench0", True))
        found.append(Program("netstackd, direct", known, proxy, "bench0", True))
    if shutil.which(theirs):
        words = [theirs, "--tun", "bench0", "--proxy", f"socks5://{SOCKS}", "--max-sessions", "20000", "--verbosity", "off"]
        found.append(Program("tun2proxy, SOCKS5", version(theirs, "--version"), words, "bench0"))
    if shutil.which("pasta"):
        words = ["pasta", "--foreground", "--quiet", "--runas", "0", "-4", "--config-net", "--netns", "{clients}"]
        found.append(Program("pasta, direct", package("passt"), words))
    if shutil.which("slirp4netns"):
        words = ["slirp4netns", "--configure", "--mtu", "1500", "--netns-type", "path", "{clients}", "tap0"]
        found.append(Program("slirp4netns, direct", package("slirp4netns"), words))
    return found


def probe(namespaces, *words):
    """Runs a part of this script in the namespace of the clients."""
    return subprocess.run(
        namespaces.command(namespaces.clients, sys.executable, __file__, "--inside", *words),
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )


def descendants(pid):
    """Returns a process and those that it started."""
    found = [pid]
    for task in found:
        try:
            with open(f"/proc/{task}/task/{task}/children") as children:
                found.extend(int(child) for child in children.read().split())
        except OSError:
            pass
    return found


def resident_kib(pid):
    total = 0
    for task in descendants(pid):
        try:
            with open(f"/proc/{task}/status") as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        except OSError:
            pass
    return total


def processor_seconds(pid):
    ticks = 0
    for task in descendants(pid):
        try:
            with open(f"/proc/{task}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def throughput(namespaces, pid, seconds, *more):
    """Returns the rate in Gbit/s, and the processor time of the program for each GiB."""
    words = ["iperf3", "-J", "-c", SERVER, "-t", str(seconds), "--connect-timeout", "5000", *more]
    error = ""
    # The server may still be busy with the test before.
    for _ in range(5):
        before = processor_seconds(pid)
        output = subprocess.run(
            namespaces.command(namespaces.clients, "timeout", str(seconds + PATIENCE), *words),
            capture_output=True,
            text=True,
        )
        result = json.loads(output.stdout or "{}")
        received = result.get("end", {}).get("sum_received")
        if received and received["bytes"]:
            used = processor_seconds(pid) - before
            return received["bits_per_second"] / 1e9, used / (received["bytes"] / 2**30)
        error = result.get("error", output.stderr)
        time.sleep(2)
    print(f"iperf3 {' '.join(more)}: {error}", file=sys.stderr, flush=True)
    return 0.0, 0.0


class Turn:
    """A turn of a program, which begins anew: what it did before is in no number."""

    def __init__(self, namespaces, program):
        self.namespaces, self.program = namespaces, program

    def __enter__(self):
        self.process = self.program.begin(self.namespaces)
        return self.process.pid

    def __exit__(self, *_):
        stop(self.process)
        inside = self.namespaces.clients
        for name in (self.program.device, "tap0", "up0"):
            if name and has_link(inside, name):
                subprocess.run(["ip", "-n", inside, "link", "del", name], capture_output=True)


def measure(namespaces, program, arguments):
    """Returns the numbers of one turn of a program."""
    row = {}
    with Turn(namespaces, program) as pid:
        asked = probe(namespaces, "ask", str(arguments.asks))
        row["connect+echo µs"], row["p99 µs"] = json.loads(asked.stdout or "[0, 0]")
        row["up Gbit/s"], row["up s/GiB"] = throughput(namespaces, pid, arguments.seconds)
        row["down Gbit/s"], row["down s/GiB"] = throughput(namespaces, pid, arguments.seconds, "-R")
    with Turn(namespaces, program) as pid:
        before, load = resident_kib(pid), processor_seconds(pid)
        holding = subprocess.Popen(
            namespaces.command(namespaces.clients, sys.executable, __file__, "--inside", "hold", str(arguments.flows)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # It ends by itself if flows do not come about.
        held = int(holding.stdout.readline() or 0)
        row["flows"] = held
        row["KiB a flow"] = (resident_kib(pid) - before) / max(held, 1)
        row["CPU ms a flow"] = (processor_seconds(pid) - load) * 1000 / max(held, 1)
        holding.stdin.close()
        holding.wait(PATIENCE)
    return row


def ask(count):
    """Connects and exchanges a byte, one connection after the other; prints the median and the 99th percentile."""
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        with socket.create_connection((SERVER, ECHO_PORT), 2) as stream:
            stream.sendall(b"x")
            if stream.recv(1) != b"x":
                raise SystemExit(1)
        times.append((time.perf_counter_ns() - begin) / 1000)
    times.sort()
    print(json.dumps([statistics.median(times), times[min(len(times) - 1, len(times) * 99 // 100)]]))


def hold(count):
    """Opens connections, exchanges a byte on each, and holds them until standard input ends."""
    streams, failed = [], 0
    deadline = time.monotonic() + 5 * PATIENCE
    while len(streams) < count and failed < 5 and time.monotonic() < deadline:
        try:
            stream = socket.create_connection((SERVER, ECHO_PORT), 3)
            stream.sendall(b"x")
            if stream.recv(1) != b"x":
                raise OSError("no echo")
            streams.append(stream)
        except OSError:
            failed += 1
    time.sleep(1)
    print(len(streams), flush=True)
    sys.stdin.read()


def echo():
    """Echoes on many connections."""
    import selectors

    selector = selectors.DefaultSelector()
    listener = socket.create_server((SERVER, ECHO_PORT), backlog=4096)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                stream, _ = listener.accept()
                selector.register(stream, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
                key.fileobj.sendall(data)
            except OSError:
                data = b""
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def raise_limits():
    for limit in (200_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return
        except (ValueError, OSError):
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--netstackd", default="target/release/netstackd", help="path of netstackd")
    parser.add_argument("--tun2proxy", default="tun2proxy-bin", help="path of tun2proxy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="length of each transfer")
    parser.add_argument("--asks", type=int, default=300, help="connections to measure latency with")
    parser.add_argument("--flows", type=int, default=10_000, help="connections that are held at once")
    parser.add_argument("--only", help="a part of the names of the programs to measure")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    raise_limits()
    match arguments.inside:
        case ["ask", count]:
            return ask(int(count))
        case ["hold", count]:
            return hold(int(count))
        case ["echo"]:
            return echo()
    found = [one for one in programs(arguments) if not arguments.only or arguments.only in one.name]
    rows = {one.name: [] for one in found}
    with Namespaces() as namespaces:
        servers = [
            start(namespaces, "iperf3", "-s", "--logfile", "/dev/null"),
            start(namespaces, "microsocks", "-i", "127.0.0.1", "-p", SOCKS.split(":")[1]),
            start(namespaces, sys.executable, __file__, "--inside", "echo"),
        ]
        try:
            time.sleep(0.5)
            for number in range(arguments.rounds):
                # Another one begins each round.
                for one in found[number % len(found) :] + found[: number % len(found)]:
                    row = measure(namespaces, one, arguments)
                    rows[one.name].append(row)
                    print(number + 1, one.name, json.dumps(row), file=sys.stderr, flush=True)
        finally:
            for server in servers:
                stop(server)
    keys = list(next(iter(rows.values()))[0])
    print("| | " + " | ".join(keys) + " |")
    print("|---|" + "---|" * len(keys))
    for one in found:
        medians = [statistics.median(row[key] for row in rows[one.name]) for key in keys]
        print(f"| {one.name} | " + " | ".join(f"{median:.2f}" if median < 100 else f"{median:.0f}" for median in medians) + " |")
    for one in found:
        print(f"{one.name}: {one.version}")
    return None


if __name__ == "__main__":
    main()
