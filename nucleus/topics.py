"""Topic filters: `+` is one level, `#` at the end is all that follow."""


def is_wildcard(topic_filter: str) -> bool:
    """Whether a filter has a level `+`, or a last level `#`."""
    levels = topic_filter.split("/")
    return "+" in levels or levels[-1] == "#"


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic passes a filter, as MQTT has it.

    So `a/#` takes `a` too, and a filter that starts with a wildcard takes no topic that starts
    with `$`. Nucleus lite matches local topics in this way as well.
    Source: MQTT 5.0, section 4.7; aws-greengrass-lite, modules/ggpubsubd/src/bus_server.c.
    """
    if topic.startswith("$") and topic_filter.startswith(("+", "#")):
        return False
    if topic_filter.endswith("/#") and matches_in_trie(topic_filter[:-2], topic):
        return True
    return matches_in_trie(topic_filter, topic)


def matches_in_trie(topic_filter: str, topic: str) -> bool:
    """Whether a topic passes a filter in the local pub/sub of the classic nucleus.

    There `a/#` does not take `a`, and `$` is an ordinary character.
    Source: aws-greengrass-nucleus, builtin/services/pubsub/SubscriptionTrie.java.
    """
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        if len(levels) <= len(wanted):
            return False
    elif len(levels) != len(wanted):
        return False
    return all(want in ("+", level) for want, level in zip(wanted, levels, strict=False))
