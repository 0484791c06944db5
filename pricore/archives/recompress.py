"""A program of its own: packs an archive that is kept, from its standard input to its standard output, harder.

Its argument is the size of what is in the archive. It has the lowest priority, and rests as long as it works:
what a container may take of a processor is for who waits. Its memory is 50 MB at most, by a window of 2 MB.
"""

import os
import sys
import time
from typing import Final

import zstandard

_LEVEL: Final = 19
_WINDOW: Final = 2 * 1024**2
_PIECE: Final = 128 * 1024


def main() -> None:
    """Pack, with the size in the frame's head: what was packed while somebody waited has none."""
    os.nice(19)
    size = int(sys.argv[1])
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=min(size, _WINDOW), write_checksum=True
    )
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=size)
    with zstandard.ZstdDecompressor().stream_reader(sys.stdin.buffer) as archive:
        while piece := archive.read(_PIECE):
            began = time.process_time()
            sys.stdout.buffer.write(packer.compress(piece))
            time.sleep(time.process_time() - began)
    sys.stdout.buffer.write(packer.flush())


if __name__ == "__main__":
    main()
