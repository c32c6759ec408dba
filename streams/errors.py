"""What may be wrong with a place that messages come from."""

from __future__ import annotations


class StreamProblem(Exception):
    """What is wrong with a stream, or with what was said of it, in one sentence."""


class StreamAway(StreamProblem):
    """Nobody answers, or not yet: it may pass."""


class StreamStops(StreamProblem):
    """To go on would leave something out, or read it again."""


class TopicMadeAnew(StreamStops):
    """Offsets mean other messages than before: to go on would leave some out, or read some again."""


class MessageRefused(StreamProblem):
    """Of one message: it will never be taken there; others may."""


class NoTopic(StreamProblem):
    """There is no such topic, or not any more."""


class TopicGone(StreamAway):
    """A topic that was there is not any more: what is for it waits."""
