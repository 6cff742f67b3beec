"""A real Postgres and a real Kafka of this checkout's own, behind the demo, the tests and `make stack`."""

from service.localstack.errors import LocalStackError
from service.localstack.stack import LOCAL, Stack, running

__all__ = ["LOCAL", "LocalStackError", "Stack", "running"]
