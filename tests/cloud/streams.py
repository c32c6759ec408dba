"""Streams for tests: messages on a topic of the emulator, and runs that read them until a warehouse holds what it should."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1

from pipelines import ingest
from pipelines.job import Job
from pipelines.options import parse

HEARTBEAT = b"heartbeat"
"""The local runner's pull from Pub/Sub holds up its timers until a message comes, so now and then one does.

It is no alert: each becomes a dead letter, which tests leave out.
"""


class Topic:
    """A new topic with as many subscriptions as are asked for."""

    def __init__(self, project: str, subscriptions: int = 1) -> None:
        name = f"alerts-{uuid.uuid4().hex[:8]}"
        self.name = f"projects/{project}/topics/{name}"
        self.subscriptions = [f"projects/{project}/subscriptions/{name}-{number}" for number in range(subscriptions)]
        self._publisher = pubsub_v1.PublisherClient()
        self._publisher.create_topic(name=self.name)
        with pubsub_v1.SubscriberClient() as subscriber:
            for subscription in self.subscriptions:
                subscriber.create_subscription(name=subscription, topic=self.name)

    def publish(self, messages: Iterable[bytes]) -> int:
        """Publish messages in this order; gives their number."""
        futures = [self._publisher.publish(self.name, message) for message in messages]
        for future in futures:
            future.result(timeout=60)
        return len(futures)

    def subscriptions_there(self) -> list[str]:
        """The subscriptions that the topic has now."""
        return list(self._publisher.list_topic_subscriptions(topic=self.name))

    @contextlib.contextmanager
    def beating(self, every_secs: float = 1.5) -> Iterator[None]:
        """A heartbeat as long as the context lasts."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(every_secs):
                self.publish([HEARTBEAT])

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def everything_on(subscription: str, expected: int, secs: float = 120) -> Counter[bytes]:
    """What a reader gets of a subscription, with acknowledgment, until so many messages have come, or for some seconds."""
    found: Counter[bytes] = Counter()
    deadline = time.monotonic() + secs
    with pubsub_v1.SubscriberClient() as client:
        while found.total() < expected and time.monotonic() < deadline:
            try:
                got = client.pull(subscription=subscription, max_messages=20, timeout=min(5, secs), retry=None).received_messages
            except DeadlineExceeded:
                continue
            found.update(one.message.data for one in got)
            if got:
                client.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in got])
    return found


def run_until(
    topic: Topic,
    runs: Sequence[Sequence[str]],
    complete: Callable[[], bool],
    timeout_secs: float = 600,
    poll_secs: float = 1.0,
) -> list[Job]:
    """Run one stream per list of flags, each on a subscription of the topic, until ``complete``; gives their jobs."""
    jobs, results = [], []
    with contextlib.ExitStack() as claims:
        for flags, subscription in zip(runs, topic.subscriptions, strict=True):
            # What Dataflow gets, by the one runner here that reads Pub/Sub without an end.
            options = parse(["--subscription", subscription, "--runner", "BundleBasedDirectRunner", *flags])
            job = Job.from_options(options)
            job.warehouse.prepare(job.sink.surveys)
            claims.enter_context(job.warehouse.claim(job.run_id, job.claims))
            jobs.append(job)
            results.append(ingest.start(job, options))
        deadline = time.monotonic() + timeout_secs
        with topic.beating():
            while not complete():
                assert time.monotonic() < deadline, "the streams did not write everything in time"
                time.sleep(poll_secs)
            for result in results:
                result.cancel()
    for job in jobs:
        job.clean_up()
    return jobs
