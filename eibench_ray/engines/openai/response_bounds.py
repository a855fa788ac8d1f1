"""Bounds for what a response may hold once it is unpacked: 200 kB of gzip can be a gigabyte of zeros.

A hook of httpx2's, so that it holds for every response: replies, errors, redirections, files.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import httpx2

# A reply of 100,000 tokens with the log probability of each has some 15 MB.
MAX_REPLY_BYTES = 32 * 2**20
# Of a batch's output, which goes to the disk line by line.
MAX_FILE_BYTES = 4 * 2**30
# What is asked for; what comes in another packing is refused, since it cannot be unpacked bit by bit here.
ENCODINGS = "gzip"
_EITHER_HEADER = 32 + zlib.MAX_WBITS


class ResponseTooLargeError(httpx2.DecodingError):
    """A response holds more than it may."""


class _Bounded(httpx2.AsyncByteStream):
    """A response's bytes, unpacked, up to a limit."""

    def __init__(self, packed: httpx2.AsyncByteStream, most: int, *, is_packed: bool) -> None:
        self._packed = packed
        self._most = most
        self._unpacker = zlib.decompressobj(_EITHER_HEADER) if is_packed else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        async for chunk in self._packed:
            data = self._unpack(chunk, self._most - num_bytes + 1) if self._unpacker else chunk
            num_bytes += len(data)
            if num_bytes > self._most:
                raise ResponseTooLargeError(f"more than {self._most:,} bytes")
            yield data

    async def aclose(self) -> None:
        await self._packed.aclose()

    def _unpack(self, chunk: bytes, most: int) -> bytes:
        assert self._unpacker is not None
        try:
            return self._unpacker.decompress(chunk, most)
        except zlib.error as error:
            raise httpx2.DecodingError(f"what came cannot be unpacked ({error})") from None


async def bound(response: httpx2.Response) -> None:
    """Lets no more of a response through than it may hold.

    Raises:
        httpx2.DecodingError: it is packed in a way that was not asked for.
    """
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise httpx2.DecodingError(f"the reply is packed as {packing[:40]!r}, which was not asked for")
    if "content-encoding" in response.headers:
        del response.headers["content-encoding"]
    is_file = response.request.url.path.endswith("/content")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    most = MAX_FILE_BYTES if is_file else MAX_REPLY_BYTES
    response.stream = _Bounded(response.stream, most, is_packed=packing in ("gzip", "x-gzip", "deflate"))
