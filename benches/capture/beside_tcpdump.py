#!/usr/bin/env python3
"""Compares a capture of netstackd with one that tcpdump makes of the same device at the same time, and counts what a
capture of a bulk transfer loses.

Run as root. It makes a network namespace of its own, starts netstackd in it, and prints for each direction how much later
netstackd's time stamps are than tcpdump's (negative: earlier), in microseconds. Then it downloads from chargen, while the
beginnings of all packets are captured, and prints what is lost.

    cargo build --release --bin netstackd
    benches/capture/beside_tcpdump.py target/release/netstackd
    benches/capture/beside_tcpdump.py target/release/netstackd --bytes 1000000000 --snaplen 96 --offload off
"""

import argparse
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HOST, STACK = "10.77.0.1", "10.77.0.2"
ECHO, CHARGEN = 7, 19


def pcap_packets(path):
    """Yields time in nanoseconds and bytes of each packet of a pcap file of this machine's byte order."""
    data = open(path, "rb").read()
    magic, = struct.unpack_from("<I", data)
    unit = {0xA1B23C4D: 1, 0xA1B2C3D4: 1_000}[magic]
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, kept, _ = struct.unpack_from("<IIII", data, at)
        at += 16
        yield seconds * 1_000_000_000 + fraction * unit, data[at:at + kept]
        at += kept


def pcapng_packets(path):
    """Yields the same of a pcapng file with one interface and nanoseconds."""
    data = open(path, "rb").read()
    at = 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 6:
            _, high, low, kept, _ = struct.unpack_from("<IIIII", data, at + 8)
            yield (high << 32) + low, data[at + 28:at + 28 + kept]
        at += length


def key(packet):
    """Returns what tells one packet from the others and does not depend on who completes its checksum."""
    if len(packet) < 40 or packet[0] != 0x45 or packet[9] != 6:
        return packet[:10] + packet[12:22] + packet[24:60]
    return packet[:10] + packet[12:36] + packet[38:60]


def differences(ours, theirs):
    """Returns how much later each packet of ours is than tcpdump's, by direction, and how many have no fellow."""
    waiting = {}
    for at, packet in theirs:
        waiting.setdefault(key(packet), []).append(at)
    found, alone = {"received": [], "sent": []}, 0
    for at, packet in ours:
        fellows = waiting.get(key(packet))
        if not fellows:
            alone += 1
            continue
        direction = "sent" if socket.inet_ntoa(packet[12:16]) == STACK else "received"
        found[direction].append((at - fellows.pop(0)) / 1_000)
    return found, alone


def receive(port, count, request=b""):
    """Reads so many bytes of a connection; an echo sends the request back."""
    with socket.create_connection((STACK, port), timeout=30) as stream:
        stream.sendall(request)
        got = 0
        while got < count:
            piece = stream.recv(1 << 20)
            if not piece:
                sys.exit(f"the connection ended after {got} bytes")
            got += len(piece)


def wait_for(path):
    """Waits until a capture has begun to write."""
    deadline = time.monotonic() + 30
    while not (os.path.exists(path) and os.path.getsize(path)):
        if time.monotonic() > deadline:
            sys.exit(f"{path}: no capture began")
        time.sleep(0.01)


def end(process):
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return said.decode().strip()


def compare_clocks(netstackd, place, pauses):
    ours, theirs = os.path.join(place, "ours.pcapng"), os.path.join(place, "theirs.pcap")
    tcpdump = subprocess.Popen(
        ["tcpdump", "-i", "t0", "-n", "-U", "-B", "65536", "--time-stamp-precision=nano", "-w", theirs],
        stderr=subprocess.PIPE)
    capture = subprocess.Popen([netstackd, "capture", "-w", ours], stderr=subprocess.PIPE)
    wait_for(ours)
    wait_for(theirs)
    time.sleep(1)
    # The daemon sleeps before each of the first, and is busy during the last.
    for number in range(pauses):
        receive(ECHO, 100, bytes([number % 256]) * 100)
        time.sleep(0.02)
    receive(CHARGEN, 20_000_000)
    time.sleep(1)
    end(capture)
    end(tcpdump)
    found, alone = differences(pcapng_packets(ours), pcap_packets(theirs))
    for direction, values in found.items():
        values.sort()
        at = {share: values[int(share * (len(values) - 1))] for share in (0.01, 0.5, 0.99)}
        print(f"{direction}: {len(values)} packets, ours later by {at[0.5]:.1f} us (median), "
              f"{at[0.01]:.1f} (1%), {at[0.99]:.1f} (99%), {values[0]:.1f} to {values[-1]:.1f}")
    print(f"{alone} packets of ours without one of tcpdump's")


def count_losses(netstackd, place, size, snaplen):
    path = os.path.join(place, "bulk.pcapng")

    def download():
        began = time.monotonic()
        receive(CHARGEN, size)
        return size * 8 / (time.monotonic() - began) / 1e9

    alone = download()
    capture = subprocess.Popen([netstackd, "capture", "-s", str(snaplen), "-w", path], stderr=subprocess.PIPE)
    wait_for(path)
    rate = download()
    said = end(capture)
    print(f"{size} bytes of chargen at {rate:.2f} Gb/s ({alone:.2f} without a capture), "
          f"{snaplen} bytes of each packet: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("netstackd")
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--snaplen", type=int, default=96)
    parser.add_argument("--pauses", type=int, default=200)
    parser.add_argument("--offload", choices=["auto", "off"], default="auto")
    args = parser.parse_args()
    if "BESIDE_TCPDUMP" not in os.environ:
        os.environ["BESIDE_TCPDUMP"] = "inside"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ["NETSTACKD_CONTROL"] = os.path.join(place, "control.sock")
        daemon = subprocess.Popen(
            [args.netstackd, "run", "--tun", "t0", "--addr", f"{STACK}/24", "--control",
             os.environ["NETSTACKD_CONTROL"], "--offload", args.offload, "--exit-with-parent"], stdout=subprocess.PIPE)
        try:
            if not re.match(rb"ready ", daemon.stdout.readline()):
                sys.exit("netstackd does not start")
            compare_clocks(args.netstackd, place, args.pauses)
            count_losses(args.netstackd, place, args.bytes, args.snaplen)
        finally:
            daemon.terminate()
            daemon.wait(timeout=30)


if __name__ == "__main__":
    main()
