"""Commands whose work stands in a warehouse: planned by reading it, then run as one job."""

from __future__ import annotations

import os
from collections.abc import Callable

from pipelines import logs
from pipelines.job import Job
from pipelines.options import OptionsError
from pipelines.status import FAILED, INTERRUPTED, WRONG_OPTIONS
from transforms.write_tables import BIGQUERY
from warehouses.folder.views import tables
from warehouses.reachable import told


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


def check_warehouse(warehouse: str, who: str, what: str, holds: Callable[[str], bool]) -> None:
    """Refuse a folder none of whose tables is one that is needed, before anybody makes it. Raises ``OptionsError``."""
    if warehouse.startswith(BIGQUERY):
        return
    if "://" in warehouse:
        raise OptionsError(f"--warehouse {warehouse} cannot be asked; {who} reads a folder of this machine, or BigQuery")
    if not os.path.isdir(warehouse) or not any(map(holds, tables(warehouse))):
        raise OptionsError(
            f"--warehouse {warehouse} holds no {what}; fill it with: broker ingest --input ... --warehouse {warehouse}"
        )
