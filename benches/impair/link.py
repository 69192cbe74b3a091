#!/usr/bin/env python3
"""Measures the program impair: how many small datagrams pass a link without rules, and how exact its delay is.

Run as root. It makes network namespaces of its own, and runs each of the programs that are named in turn, round by round,
so that what else the machine does concerns all of them. It prints medians over the rounds.

    cargo build --release --bin impair
    benches/impair/link.py target/release/impair
    benches/impair/link.py before/impair target/release/impair --rounds 7 --seconds 5
    benches/impair/link.py target/release/impair "chrt -r 1 target/release/impair" --only delay

Datagrams have 64 bytes of payload, each a packet of its own, sent as fast as sendmmsg takes them. Times are from the sender's
stamp, taken before its call, to the kernel's stamp where the packet is put into the receiver's queue. The error of the delay
is what a link with a delay takes longer than one without, less the delay and, at a rate, the time that a datagram takes to
be sent.
"""

import argparse
import ctypes
import os
import shlex
import socket
import statistics
import struct
import subprocess
import sys
import time

PORT, PAYLOAD, IP_BYTES = 7000, 64, 92
BATCH = 64
MSG_WAITFORONE = 0x10000
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
DELAY, RATE = 0.010, 100_000_000
LINKS = {"none": 0.0, "delay=10ms": DELAY, "rate=100mbit,delay=10ms": DELAY + IP_BYTES * 8 / RATE}
QUANTILES = [0.5, 0.9, 0.99, 0.999, 1.0]


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Header(ctypes.Structure):
    """A struct msghdr."""
    _fields_ = [("name", ctypes.c_void_p), ("name_len", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)),
                ("iov_len", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_len", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Message(ctypes.Structure):
    """A struct mmsghdr."""
    _fields_ = [("header", Header), ("len", ctypes.c_uint)]


def messages(count):
    """Returns so many messages of 64 bytes, and what they point to."""
    buffers = [ctypes.create_string_buffer(PAYLOAD) for _ in range(count)]
    vectors = [Iovec(ctypes.addressof(buffer), PAYLOAD) for buffer in buffers]
    array = (Message * count)()
    for message, vector in zip(array, vectors):
        message.header.iov, message.header.iov_len = ctypes.pointer(vector), 1
    return array, (buffers, vectors)


def flood(address, seconds):
    """Sends as fast as it can, and prints the number of datagrams a second."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((address, PORT))
    call, descriptor = ctypes.CDLL(None).sendmmsg, sender.fileno()
    array, _kept = messages(BATCH)
    sent, begin = 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        sent += max(call(descriptor, array, BATCH, 0), 0)
    print(sent / (time.monotonic() - begin))


def count(address, seconds):
    """Counts what arrives in the time, and prints the number of datagrams a second between the first and the last."""
    receiver = listener(address)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
    call, descriptor = ctypes.CDLL(None).recvmmsg, receiver.fileno()
    array, _kept = messages(BATCH)
    arrived, first, last, end = 0, 0.0, 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        got = call(descriptor, array, BATCH, MSG_WAITFORONE, None)
        if got > 0:
            last = time.monotonic()
            first = first or last
            arrived += got
    print(arrived / (last - first) if last > first else 0)


def pace(address, seconds, rate):
    """Sends stamped datagrams at a rate."""
    ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((address, PORT))
    rest, begin = bytes(PAYLOAD - 8), time.monotonic()
    for index in range(int(rate * seconds)):
        wait = begin + index / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        sender.send(struct.pack("q", time.clock_gettime_ns(time.CLOCK_REALTIME)) + rest)


def stamps(address, seconds):
    """Prints quantiles of the time that stamped datagrams took, in microseconds."""
    receiver = listener(address)
    receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    receiver.settimeout(0.1)
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            data, controls, _, _ = receiver.recvmsg(PAYLOAD, 64)
        except TimeoutError:
            continue
        for _, _, stamp in controls:
            whole, nanos = struct.unpack("qq", stamp[:16])
            times.append((whole * 1_000_000_000 + nanos - struct.unpack_from("q", data)[0]) / 1_000)
    times.sort()
    print(*(times[min(int(len(times) * q), len(times) - 1)] for q in QUANTILES))


def listener(address):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    receiver.bind((address, PORT))
    return receiver


class Link:
    """A running program between two namespaces."""

    def __init__(self, program, rules):
        self.names = [f"link{os.getpid()}{side}" for side in "ab"]
        for name in self.names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        ends = [f"t0@{name}=10.9.0.{number}/24" for number, name in enumerate(self.names, 1)]
        self.program = subprocess.Popen([*shlex.split(program), *ends, "--both", rules, "--seconds", "300"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if not self.program.stdout.readline().startswith("ready"):
            sys.exit(f"{program} did not start")

    def role(self, side, *words):
        """Starts this file as a sender or a receiver at one end."""
        command = ["ip", "netns", "exec", self.names[side], sys.executable, __file__, "--role", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def measure(self, seconds, sender, receiver):
        """Runs both ends. Returns what they print as numbers, and the program's time on a processor, in nanoseconds."""
        b = self.role(1, receiver, "10.9.0.2", seconds + 2)
        time.sleep(0.7)
        before = self.busy_nanos()
        a = self.role(0, sender[0], "10.9.0.2", seconds, *sender[1:])
        words = [process.communicate()[0].split() for process in (a, b)]
        return [[float(word) for word in side] for side in words] + [self.busy_nanos() - before]

    def busy_nanos(self):
        tasks = f"/proc/{self.program.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks))

    def close(self):
        self.program.communicate("quit\n")
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def measured(program, rules, *what):
    link = Link(program, rules)
    try:
        return link.measure(*what)
    finally:
        link.close()


def rows(columns):
    """Returns the median of each column of a list of rows."""
    return [statistics.median(column) for column in zip(*columns)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", choices=["rate", "delay"], help="measures nothing else")
    options = parser.parse_args()
    rates, times = {}, {}
    for _ in range(options.rounds):
        for program in options.programs:
            if options.only != "delay":
                [sent], [arrived], busy = measured(program, "none", options.seconds, ("flood",), "count")
                rates.setdefault(program, []).append((sent, arrived, busy / (arrived * options.seconds)))
            for rules in LINKS if options.only != "rate" else ():
                for rate in (1_000, 50_000):
                    _, row, _ = measured(program, rules, options.seconds, ("pace", rate), "stamps")
                    times.setdefault((program, rate, rules), []).append(row)
    print("load", os.getloadavg())
    for program, found in rates.items():
        sent, arrived, busy = rows(found)
        print(f"{program}: {sent:,.0f}/s sent, {arrived:,.0f}/s arrived"
              f" ({min(found, key=lambda row: row[1])[1]:,.0f} to {max(found, key=lambda row: row[1])[1]:,.0f}),"
              f" {busy:,.0f} ns of the program each")
    if times:
        print("times in us: median, 90 %, 99 %, 99.9 %, longest")
    for (program, rate, rules), found in times.items():
        way, plain = rows(found), rows(times[program, rate, "none"])
        text = " ".join(f"{time:9.1f}" for time in way)
        if rules != "none":
            text += "   error" + "".join(f" {a - b - LINKS[rules] * 1e6:8.1f}" for a, b in zip(way, plain))
        print(f"{program}: {rate:6}/s {rules:24} {text}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--role"]:
        role, where, *numbers = sys.argv[2:]
        {"flood": flood, "count": count, "pace": pace, "stamps": stamps}[role](where, *map(int, numbers))
    else:
        main()
