"""Worker processes of a local run (``--direct_num_workers``): when one dies, the run fails and says so.

Beam's own handler leaves the runner waiting for its answer, in most moments for ever.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ControlFuture,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.utils.sentinel import Sentinel

_LOOK_EVERY_SECS = 0.2


class WatchedWorker(SubprocessSdkWorkerHandler):
    """A worker process whose death is the answer to whatever it is asked: an error, as from a bundle that failed."""

    def __init__(self, command_line: bytes, *others: Any) -> None:
        super().__init__(command_line, *others)
        self._command_line = command_line
        self._asked: weakref.WeakValueDictionary[str, ControlFuture] = weakref.WeakValueDictionary()
        """By its id, what somebody waits for."""
        self._push = self.control_conn.push
        self.control_conn.push = self._ask

    def start_worker(self) -> None:
        """Start the process, and the thread that waits for its end."""
        self.worker = SubprocessSdkWorker(self._command_line, self.control_address, self.provision_info, self.worker_id)
        self._closed = threading.Event()
        self._died = False
        self.worker_thread = threading.Thread(name="run_worker", target=self._work)
        self.worker_thread.start()

    def _ask(self, request: Any) -> ControlFuture | None:
        future = self._push(request)
        if future is not None:
            self._asked[future.instruction_id] = future
        return future

    def _work(self) -> None:
        try:
            self.worker.run()
        except RuntimeError as error:
            # Not before it has been told to end: then nobody asks it any more.
            if not self._closed.is_set():
                self._died = True
                self._answer_until_closed(f"a worker process has died ({error}); run the same command again")

    def _answer_until_closed(self, error: str) -> None:
        while not self._closed.wait(_LOOK_EVERY_SECS):
            # References, since more may be asked meanwhile.
            for future in (reference() for reference in self._asked.valuerefs()):
                if future is not None and not future.is_done():
                    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=error))

    def close(self) -> None:
        """End it. Of one that has died the connections are broken already, which is no further error."""
        self._closed.set()
        # One that is only starting would come later, and wait for ever to be told something.
        self.control_conn.push(Sentinel.sentinel)
        try:
            super().close()
        except Exception:
            if not self._died:
                raise
            self.stop_worker()


def watch_workers() -> None:
    """Let runners in this process start their workers so."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WatchedWorker)
