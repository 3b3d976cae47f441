#!/usr/bin/env python3
"""Adds up the counts of each word, of lines `word<TAB>count` sorted by word. Reads its own output too, so that it serves
as the combiner."""

import sys
from itertools import groupby


def split(line: bytes) -> tuple[bytes, int]:
    word, _, count = line.rstrip(b"\n").partition(b"\t")
    return word, int(count)


def main() -> None:
    pairs = map(split, sys.stdin.buffer)
    for word, group in groupby(pairs, key=lambda pair: pair[0]):
        total = sum(count for _, count in group)
        sys.stdout.buffer.write(b"%s\t%d\n" % (word, total))


if __name__ == "__main__":
    main()
