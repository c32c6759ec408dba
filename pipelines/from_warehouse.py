"""Commands whose work stands in a warehouse: planned by reading it, then run as one job."""

from __future__ import annotations

from collections.abc import Callable

import warehouses
from pipelines import logs
from pipelines.errors import OptionsError
from pipelines.job import Job
from pipelines.status import FAILED, INTERRUPTED, WRONG_OPTIONS
from warehouses import QueryError
from warehouses.reachable import told
from warehouses.warehouse import Warehouse


def run_planned(command: str, plan: Callable[[], tuple[Job, Callable[[], int]]]) -> int:
    """Run what ``plan`` gives: a job, and what to do, which gives the exit status. What goes wrong is told in one sentence."""
    try:
        job, work = plan()
    except OptionsError as error:
        logs.failed(command, str(error))
        return WRONG_OPTIONS
    except Exception as error:  # the warehouse cannot be read
        logs.failed(command, f"the warehouse cannot be read: {told(error)}", exc_info=True)
        return FAILED
    with logs.of_run(job.run_id):
        try:
            return work()
        except Exception as error:
            logs.failed(command, f"the run failed: {told(error)}", exc_info=True)
            return FAILED
        except KeyboardInterrupt:
            logs.failed(command, "interrupted; what is in the warehouse is whole: run the same command again for the rest")
            return INTERRUPTED
        finally:
            job.clean_up()


def check_warehouse(uri: str, what: str, holds: Callable[[Warehouse], bool]) -> None:
    """Refuse a place that holds nothing of what is needed, before anybody makes it.

    Raises ``OptionsError``, and ``QueryError`` where nobody answers.
    """
    try:
        warehouse = warehouses.at(uri)
    except QueryError as error:
        raise OptionsError(f"--warehouse {error}") from error
    with warehouse:
        if not holds(warehouse):
            raise OptionsError(f"--warehouse {uri} holds no {what}; fill it with: broker ingest --input ... --warehouse {uri}")
