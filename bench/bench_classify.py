"""Replies classified per second on one core: never seen before, of a known template, and seen before.

    python bench/bench_classify.py [--count N]

The replies are the examples of the shipped rules with fresh addresses, hosts and ids. Each `uncached` one is a template
of its own; a `template` one differs from what was seen only in what templates lift out. Processor time is measured, so
that neighbours on the machine do not count.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

from mta.events.classifier import ReplyClassifier
from mta.events.reply import SmtpReply, parse_reply
from mta.events.template import templatize
from mtascope.resources import reply_classifier, reply_rule_files, taxonomy


def replies(count: int, *, new_words: bool) -> list[SmtpReply]:
    """Replies that differ in address, host and id; with `new_words` each is a template of its own, too."""
    rng = random.Random(7)
    examples = [rule.example for rule in reply_classifier().rules if rule.phrases and rule.example]
    made = []
    for number in range(count):
        text = rng.choice(examples).replace("jane@", f"jane.{rng.randrange(10**9)}@")
        text = text.replace("192.0.2.1", f"198.51.{rng.randrange(256)}.{rng.randrange(256)}")
        word = "".join(chr(97 + int(digit)) for digit in str(number)) if new_words else ""
        made.append(parse_reply(f"{text} mx{number}.example.net {rng.getrandbits(60):x}9 {word}"))
    return made


def per_second(work: list[SmtpReply], classifier: ReplyClassifier) -> float:
    started = time.process_time()
    for reply in work:
        classifier.classify(reply)
    return len(work) / (time.process_time() - started)


def measure(count: int) -> dict[str, float]:
    classifier = ReplyClassifier.from_toml(taxonomy(), *reply_rule_files().values())
    per_second(replies(2_000, new_words=False), classifier)
    rates = {"uncached": per_second(replies(count, new_words=True), classifier)}
    rates["template"] = per_second(replies(count, new_words=False), classifier)
    seen = replies(1_000, new_words=False)
    per_second(seen, classifier)
    rates["cached"] = per_second(seen * (count // 500), classifier)
    work = replies(count, new_words=False)
    started = time.process_time()
    for reply in work:
        templatize(reply.text)
    rates["templatize alone"] = count / (time.process_time() - started)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    started = time.process_time()
    ReplyClassifier.from_toml(taxonomy(), *reply_rule_files().values())
    print(f"{'rules compiled in':20} {1000 * (time.process_time() - started):10.0f} ms")
    runs = [measure(count) for _ in range(3)]
    for name in runs[0]:
        print(f"{name:20} {statistics.median(run[name] for run in runs):10,.0f} replies/s")


if __name__ == "__main__":
    main()
