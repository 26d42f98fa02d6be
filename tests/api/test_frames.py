"""Docker's multiplexed stream."""

from hypothesis import given
from hypothesis import strategies as st

from wherry.api.frames import frame, media_type
from wherry.client.frames import FrameDecoder


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1))), st.integers(1, 50))
def test_what_is_framed_is_what_a_client_decodes(
    pieces: list[tuple[int, bytes]], step: int
) -> None:
    stream = b"".join(frame(number, data) for number, data in pieces)
    decoder = FrameDecoder()
    received = {1: b"", 2: b""}
    for start in range(0, len(stream), step):
        for number, data in decoder.feed(stream[start : start + step]):
            received[number] += data
    for number in (1, 2):
        assert received[number] == b"".join(data for each, data in pieces if each == number)


def test_the_media_type_tells_both_kinds_apart_since_1_42() -> None:
    assert media_type(tty=False, version=(1, 42)) == "application/vnd.docker.multiplexed-stream"
    assert media_type(tty=True, version=(1, 42)) == "application/vnd.docker.raw-stream"
    assert media_type(tty=False, version=(1, 41)) == "application/vnd.docker.raw-stream"
