"""Send the RTP of a capture to a port of this machine in time: SIPp itself needs CAP_NET_RAW for that.

play.py CAPTURE PORT [LOST]: LOST is the share of packets, 0 to 1, that are never sent; always the same ones.
"""

import random
import socket
import struct
import sys
import time
from pathlib import Path

HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP: as `capture.py` writes them


def play(capture: Path, port: int, lost: float = 0.0) -> None:
    fate = random.Random(1)
    data = capture.read_bytes()
    position, began = 24, time.monotonic()
    first: float | None = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while position < len(data):
            seconds, micros, size, _ = struct.unpack_from("<IIII", data, position)
            at = seconds + micros / 1_000_000
            first = at if first is None else first
            time.sleep(max(0.0, began + at - first - time.monotonic()))
            position += 16 + size
            if fate.random() >= lost:
                sock.sendto(data[position - size + HEADERS : position], ("127.0.0.1", port))


if __name__ == "__main__":
    play(Path(sys.argv[1]), int(sys.argv[2]), float((*sys.argv, "0")[3]))
