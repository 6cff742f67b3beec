"""Ask the brokers that lead a topic whether they are there, and whether the topic is.

In: a started client, which a producer has. Out: nothing, or the reason why the topic cannot be written now.
One small request to each of those brokers, by the connection that its batches take; on a client that has
never heard of the topic, to any one broker. Ends within a few of the client's request timeouts. Creates
nothing.
"""

import asyncio

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import LeaderNotAvailableError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from service.errors import InvariantError, TransientError
from service.kafka.administration import refuse_wrong


class TopicUnusableError(TransientError):
    """The topic is missing, or has other partitions: somebody has to make it right."""


async def beat(client: AIOKafkaClient, name: str, *, partitions: int) -> None:
    """Return if every broker that leads a partition of topic `name` answers, and the topic is as wanted.

    Raises TopicUnusableError, or what aiokafka raises where a broker does not answer.
    """
    led_by = {
        client.cluster.leader_for_partition(TopicPartition(name, partition))
        for partition in range(partitions)
    } - {None, -1}
    request = MetadataRequest([name], allow_auto_topic_creation=False)
    answers = await asyncio.gather(
        *(client.send(node, request) for node in led_by or {client.get_random_node()})
    )
    for answer in answers:
        (described,) = answer.to_object()["topics"]
        if described["error_code"] not in {0, UnknownTopicOrPartitionError.errno}:
            raise for_code(described["error_code"])
        try:
            refuse_wrong(name, described, partitions=partitions)
        except (TransientError, InvariantError) as error:
            raise TopicUnusableError(str(error), store="kafka") from error
        if any(partition["leader"] < 0 for partition in described["partitions"]):
            raise LeaderNotAvailableError(name)
