#!/usr/bin/env python3
"""Writes `word<TAB>1` for each word on stdin. Bytes in, bytes out: the text need not be UTF-8."""

import sys


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        for word in line.split():
            out.write(word + b"\t1\n")


if __name__ == "__main__":
    main()
