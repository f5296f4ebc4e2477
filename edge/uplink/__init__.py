"""From a committed record on the local disk to the cloud's own commit: outbox, publisher, session."""
