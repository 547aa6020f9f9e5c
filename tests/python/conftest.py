"""One broker a test, ended with it; its log is shown when the test failed."""

import pytest

from mub1 import Broker


@pytest.fixture
def make_broker(tmp_path_factory):
    """Makes brokers that are started by the test and ended after it."""
    made = []

    def make(config="", **options):
        # A short path: a unix socket's is at most 107 bytes.
        broker = Broker(tmp_path_factory.mktemp("b"), config, **options)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        if broker.process is not None and broker.process.poll() is None:
            broker.stop()
        assert "panicked" not in broker.tail(), broker.tail()


@pytest.fixture
def broker(make_broker):
    """A running broker with the default settings."""
    return make_broker().start()
