"""No client of this process creates a topic by asking for it.

A broker that has `auto.create.topics.enable` creates a topic as soon as a client asks for its metadata by
name, with the broker's own number of partitions, unless the request forbids it. Each client of aiokafka 0.14
asks by name (a producer that sends, a consumer that is assigned, the administration that describes), asks
again after each error and every five minutes, and never forbids it: a topic that somebody deleted under a
running role comes back with one partition. All of them build the same request, so it is forbidden there.
"""

from aiokafka.protocol.metadata import MetadataRequest


def forbid() -> None:
    """Make `allow_auto_topic_creation` false wherever the caller says nothing. Safe to repeat.

    Rests on the signature of aiokafka's MetadataRequest; tests/integration/kafka/test_topics.py holds it.
    """
    MetadataRequest.__init__.__defaults__ = (None, False)
