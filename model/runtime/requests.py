"""Requests: a network compiled by OpenVINO, run by several threads at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Requests:
    """A compiled network and its idle requests: a request runs one batch at a time.

    Args:
        network: An openvino.CompiledModel.
    """

    def __init__(self, network: Any) -> None:  # noqa: ANN401 - the package has no types
        self._network = network
        self._idle: list[Any] = []  # append and pop of a list are atomic

    @contextmanager
    def infer(self, given: dict[str, NDArray[Any]]) -> Iterator[Any]:
        """Run the network.

        Args:
            given: C-contiguous arrays by the name of the input; they are not copied.

        Yields:
            The arrays it gives, by name or place: the request's own, overwritten by another thread after the block.
        """
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._network.create_infer_request()
        yield request.infer(given, share_inputs=True, share_outputs=True)
        self._idle.append(request)

    def release(self) -> None:
        """Give back the memory between layers, unless a picture is being worked on."""
        self._network.release_memory()
