"""Topics of a Kafka for tests, and messages put onto them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

_SECS = 30


@dataclass
class TestTopics:
    """Makes topics at a Kafka, and fills them."""

    __test__ = False

    servers: str

    def name(self, begin: str = "alerts") -> str:
        """A name that nobody has had."""
        return f"{begin}-{uuid.uuid4().hex[:8]}"

    def make(self, name: str, partitions: int = 4, **config: str) -> str:
        """A new topic of this name."""
        admin = self._admin()
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(_SECS)
        return name

    def _admin(self) -> AdminClient:
        # Whoever asks it something must hold it until the answer has come.
        return AdminClient({"bootstrap.servers": self.servers})

    def scram(self, name: str, password: str) -> None:
        """A user's password for SCRAM."""
        admin = self._admin()
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        told = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, how, password.encode())])
        told[name].result(_SECS)

    def allow(self, name: str, groups: str, writes: str) -> None:
        """Let a user read every topic, in groups whose names begin so, and write to one."""
        admin = self._admin()
        who = f"User:{name}", "*"
        rules = [
            *(
                AclBinding(ResourceType.TOPIC, "*", ResourcePatternType.LITERAL, *who, what, AclPermissionType.ALLOW)
                for what in (AclOperation.READ, AclOperation.DESCRIBE)
            ),
            AclBinding(
                ResourceType.TOPIC, writes, ResourcePatternType.LITERAL, *who, AclOperation.WRITE, AclPermissionType.ALLOW
            ),
            AclBinding(
                ResourceType.GROUP, groups, ResourcePatternType.PREFIXED, *who, AclOperation.READ, AclPermissionType.ALLOW
            ),
        ]
        for told in admin.create_acls(rules).values():
            told.result(_SECS)

    def set(self, name: str, **config: str) -> None:
        """Other settings of a topic."""
        admin = self._admin()
        entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
        wanted = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
        admin.incremental_alter_configs([wanted])[wanted].result(_SECS)

    def delete(self, name: str) -> None:
        """Take a topic away, with its messages."""
        admin = self._admin()
        admin.delete_topics([name])[name].result(_SECS)

    def make_again(self, name: str) -> None:
        """Make a topic of one partition whose namesake is being taken away."""
        for _ in range(100):
            try:
                self.make(name, 1)
                return
            except KafkaException:
                time.sleep(0.1)
        raise AssertionError(f"{name} is not taken away")

    def widen(self, name: str, partitions: int) -> None:
        """More partitions for a topic."""
        admin = self._admin()
        admin.create_partitions([NewPartitions(name, partitions)])[name].result(_SECS)

    def delete_before(self, name: str, partition: int, offset: int) -> None:
        """What retention does: the messages of a partition before an offset are gone."""
        admin, wanted = self._admin(), TopicPartition(name, partition, offset)
        admin.delete_records([wanted])[wanted].result()

    def send(
        self,
        name: str,
        values: Iterable[bytes | None],
        *,
        partitions: int = 4,
        rate: float = 0.0,
        keys: Sequence[bytes] | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        **settings: object,
    ) -> int:
        """Messages to the partitions one after another, ``rate`` a second; gives their number."""
        common = {"bootstrap.servers": self.servers, "linger.ms": 5, "acks": "all", "enable.idempotence": True}
        producer = Producer({**common, "message.max.bytes": 8 * 2**20, **settings})
        began, number = time.monotonic(), 0
        for value in values:
            key = keys[number % len(keys)] if keys else None
            while True:
                try:
                    producer.produce(name, value, key, number % partitions, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
            number += 1
            if rate:
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
        assert producer.flush(_SECS) == 0
        return number

    def ends(self, topic: str) -> int:
        """The number of messages that have ever been sent to a topic."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "ends"})
        partitions = consumer.list_topics(topic, timeout=_SECS).topics[topic].partitions
        found = sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_SECS)[1] for number in partitions)
        consumer.close()
        return found

    def committed(self, group: str, topic: str, partitions: int = 4) -> list[int]:
        """The offsets of a group."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group})
        found = consumer.committed([TopicPartition(topic, number) for number in range(partitions)], timeout=_SECS)
        consumer.close()
        return [here.offset for here in found]

    def commit(self, group: str, topic: str, offset: int) -> None:
        """Set a group's offset of the first partition."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group})
        consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()

    def transactional(self, name: str) -> Producer:
        """A producer whose messages count when they are committed."""
        producer = Producer({"bootstrap.servers": self.servers, "transactional.id": f"{name}-{uuid.uuid4().hex}"})
        producer.init_transactions(_SECS)
        return producer
