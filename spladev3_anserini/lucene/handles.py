"""Methods of Java -> one callable that runs whole inside the JVM.

A call from Python costs microseconds and an attribute of a hit as much again, so a ranking of
1,000 hits fetched piece by piece costs more than finding it. Java's own method handles are put
together here instead (`java.lang.invoke`): a text goes in, a text comes out. The calls run on
Java's threads: pyjnius keeps a call's object in the method and is not safe on several of Python's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from time import thread_time
from typing import Any

from spladev3_anserini.lucene.jvm import java_class, java_errors

_OBJECT = "Ljava/lang/Object;"


def described(*names: str) -> str:
    """A method's descriptor, `(arguments)result`: classes by full name, primitives by letter."""
    *arguments, result = (n if len(n) == 1 else f"L{n.replace('.', '/')};" for n in names)
    return f"({''.join(arguments)}){result}"


def class_named(name: str) -> Any:
    """The `java.lang.Class` of a name; an array's is `[Lfull.name;`."""
    return java_class("java.lang.Class").forName(name)


def method(owner: Any, name: str, descriptor: str, of: str) -> Any:
    """The handle of an object's method as class `of` declares it; a static one's for None."""
    loader = java_class("java.lang.ClassLoader").getSystemClassLoader()
    kind = java_class("java.lang.invoke.MethodType").fromMethodDescriptorString(descriptor, loader)
    lookup = java_class("java.lang.invoke.MethodHandles").publicLookup()
    if owner is None:
        return lookup.findStatic(class_named(of), name, kind)
    return lookup.findVirtual(class_named(of), name, kind).bindTo(owner)


def field(of: str, name: str, kind: str) -> Any:
    """The handle that reads a field of an object of class `of`."""
    lookup = java_class("java.lang.invoke.MethodHandles").publicLookup()
    return lookup.findGetter(class_named(of), name, class_named(kind))


def given(handle: Any, position: int, *values: Any) -> Any:
    """The handle with arguments from `position` on filled in."""
    boxes = {bool: "Boolean", int: "Integer", float: "Double"}
    for value in values:
        if box := boxes.get(type(value)):
            value = java_class(f"java.lang.{box}")(value)
        handle = java_class("java.lang.invoke.MethodHandles").insertArguments(
            handle, position, value)
    return handle


def then(first: Any, second: Any) -> Any:
    """second(first(...)); what passes between them is cast where need be."""
    whole = class_named("java.lang.Object")
    return java_class("java.lang.invoke.MethodHandles").filterReturnValue(
        first.asType(first.type().changeReturnType(whole)),
        second.asType(second.type().changeParameterType(0, whole)))


def fed(handle: Any, position: int, source: Any) -> Any:
    """The handle with the argument at `position` made by `source`, whose arguments take its
    place."""
    whole = class_named("java.lang.Object")
    return java_class("java.lang.invoke.MethodHandles").collectArguments(
        handle.asType(handle.type().changeParameterType(position, whole)), position,
        source.asType(source.type().changeReturnType(whole)))


def call(handle: Any, *texts: str) -> tuple[str, float]:
    """What a handle returns, and this thread's processor seconds inside the JVM. Raises
    InputError where it throws."""
    task = _task(given(handle, 0, *texts))
    begin = thread_time()
    task.run()
    seconds = thread_time() - begin
    return _result(task), seconds


def called(calls: Iterable[tuple[Any, ...]], threads: int) -> Iterator[str]:
    """Yields what each (handle, text, ...) returns, in their order, while `threads` threads of Java
    work ahead by a bounded number of calls; raises InputError where one throws."""
    executor = java_class("java.util.concurrent.Executors").newFixedThreadPool(threads)
    running: deque[Any] = deque()
    try:
        for handle, *texts in calls:
            task = _task(given(handle, 0, *texts))
            executor.execute(task)
            running.append(task)
            if len(running) > 16 * threads:
                yield _result(running.popleft())
        while running:
            yield _result(running.popleft())
    finally:
        executor.shutdownNow()


def _task(handle: Any) -> Any:
    from jnius import cast

    proxy = java_class("java.lang.invoke.MethodHandleProxies").asInterfaceInstance(
        class_named("java.util.concurrent.Callable"), handle)
    return java_class("java.util.concurrent.FutureTask")(cast("java.util.concurrent.Callable",
                                                              proxy))


def _result(task: Any) -> str:
    with java_errors("search"):
        return str(task.get())
