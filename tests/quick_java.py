"""Java as the tests run it: each lives for seconds, so it compiles less and collects with one thread."""

from __future__ import annotations

from collections.abc import Callable

QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def start_java_quickly(setattr_: Callable[..., None] = setattr) -> None:
    """Adds QUICK to the options of each Java that this process starts from now on.

    What a test asserts does not depend on them. They save a quarter of Java's processor time.
    """
    from spladev3_anserini.lucene import jvm, start

    options_of = start.options_of

    def quick_options_of(version: int) -> list[str]:
        return [*options_of(version), *QUICK]

    for module in (jvm, start):
        setattr_(module, "options_of", quick_options_of)
