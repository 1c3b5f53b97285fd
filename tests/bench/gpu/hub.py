# SPDX-License-Identifier: Apache-2.0
"""Starts so many probers for each number on standard input, each at a connection to the socket; ends with its input.

    hub.py PROBER SOCKET
"""
import socket
import subprocess
import sys


def main():
    prober, path = sys.argv[1:]
    running = []
    for line in sys.stdin:
        for _ in range(int(line)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                running.append(subprocess.Popen([prober], stdin=sock, stdout=sock))
    for one in running:
        one.wait()


if __name__ == '__main__':
    main()
