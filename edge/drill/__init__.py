"""Outages practised on the real box, beside the real data: a worker that is killed, a cloud that stands in, cases."""
