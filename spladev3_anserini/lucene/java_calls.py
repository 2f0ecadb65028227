"""Methods of Java -> one callable that runs whole inside the JVM.

A call from Python costs microseconds and an attribute of a hit as much again, so a ranking of
1,000 hits fetched piece by piece costs more than finding it. Java's own method handles are put
together here instead (`java.lang.invoke`): a text goes in, a text comes out. The calls run on
Java's threads: pyjnius keeps a call's object in the method and is not safe on several of Python's.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator, Iterable
from functools import cache
from time import thread_time
from typing import Any, ClassVar

from spladev3_anserini.lucene.jvm import java_class, java_errors

_HANDLE, _CALLABLE = "java.lang.invoke.MethodHandle", "java.util.concurrent.Callable"


def method_descriptor(*names: str) -> str:
    """A method's descriptor, `(arguments)result`: classes by full name, primitives by letter."""
    *arguments, result = (n if len(n) == 1 else f"L{n.replace('.', '/')};" for n in names)
    return f"({''.join(arguments)}){result}"


def class_named(name: str) -> Any:
    """The `java.lang.Class` of a name; an array's is `[Lfull.name;`."""
    return java_class("java.lang.Class").forName(name)


def method_handle(owner: Any, name: str, descriptor: str, of: str) -> Any:
    """The handle of an object's method as class `of` declares it; a static one's for None."""
    kind = _method_type(descriptor)
    lookup = java_class("java.lang.invoke.MethodHandles").publicLookup()
    if owner is None:
        return lookup.findStatic(class_named(of), name, kind)
    return lookup.findVirtual(class_named(of), name, kind).bindTo(owner)


def _method_type(descriptor: str) -> Any:
    loader = java_class("java.lang.ClassLoader").getSystemClassLoader()
    return java_class("java.lang.invoke.MethodType").fromMethodDescriptorString(descriptor, loader)


def field_getter(of: str, name: str, kind: str) -> Any:
    """The handle that reads a field of an object of class `of`."""
    lookup = java_class("java.lang.invoke.MethodHandles").publicLookup()
    return lookup.findGetter(class_named(of), name, class_named(kind))


def bind_arguments(handle: Any, position: int, *values: Any) -> Any:
    """The handle with arguments from `position` on filled in."""
    boxes = {bool: "Boolean", int: "Integer", float: "Double"}
    for value in values:
        if box := boxes.get(type(value)):
            value = java_class(f"java.lang.{box}")(value)
        handle = java_class("java.lang.invoke.MethodHandles").insertArguments(
            handle, position, value)
    return handle


def compose(first: Any, second: Any) -> Any:
    """second(first(...)); what passes between them is cast where need be."""
    whole = class_named("java.lang.Object")
    return java_class("java.lang.invoke.MethodHandles").filterReturnValue(
        first.asType(first.type().changeReturnType(whole)),
        second.asType(second.type().changeParameterType(0, whole)))


def feed_argument(handle: Any, position: int, source: Any) -> Any:
    """The handle with the argument at `position` made by `source`, whose arguments take its
    place."""
    whole = class_named("java.lang.Object")
    return java_class("java.lang.invoke.MethodHandles").collectArguments(
        handle.asType(handle.type().changeParameterType(position, whole)), position,
        source.asType(source.type().changeReturnType(whole)))


def invoke(handle: Any, *texts: str) -> tuple[str, float]:
    """What a handle returns, and this thread's processor seconds inside the JVM. Raises
    InputError where it throws."""
    with java_errors("search"):
        task = _task(handle, texts)
        begin = thread_time()
        task.run()
        seconds = thread_time() - begin
        return str(task.get()), seconds


def invoke_all(calls: Iterable[tuple[Any, ...]], threads: int) -> Generator[str, None, None]:
    """Yields what each (handle, text, ...) returns, in their order, while `threads` threads of Java
    work ahead by a bounded number of calls; raises InputError where one throws."""
    executor = java_class("java.util.concurrent.Executors").newFixedThreadPool(threads)
    running: deque[Any] = deque()
    try:
        for handle, *texts in calls:
            with java_errors("search"):
                task = _task(handle, texts)
                executor.execute(task)
            running.append(task)
            if len(running) > 16 * threads:
                yield _result(running.popleft())
        while running:
            yield _result(running.popleft())
    finally:
        if not sys.is_finalizing():  # this class is gone by then
            executor.shutdownNow()


def _task(handle: Any, texts: Iterable[str]) -> Any:
    """The FutureTask that calls a handle."""
    arguments = java_class("java.util.ArrayList")()
    arguments.add(bind_arguments(handle, 0, *texts))
    return _task_maker().invokeWithArguments(arguments)


def _result(task: Any) -> str:
    with java_errors("search"):
        return str(task.get())


@cache
def _task_maker() -> Any:
    """The handle (handle) -> FutureTask.

    The object between the two, a Callable, stays inside Java: its class is hidden from Java 22 on,
    and pyjnius cannot look that up.
    """
    lookup = _full_lookup()
    proxy = lookup.findStatic(
        class_named("java.lang.invoke.MethodHandleProxies"), "asInterfaceInstance",
        _method_type(method_descriptor("java.lang.Class", _HANDLE, "java.lang.Object")))
    task = lookup.findConstructor(class_named("java.util.concurrent.FutureTask"),
                                  _method_type(method_descriptor(_CALLABLE, "V")))
    return compose(bind_arguments(proxy, 0, class_named(_CALLABLE)), task)


def _full_lookup() -> Any:
    """A lookup that finds `asInterfaceInstance`, which the public one does from Java 24 on only.

    A lookup has the rights of the Java class that asks for it. Python is none, so Java calls
    Python here, which asks within that call: the class is pyjnius's own.
    """
    from jnius import PythonJavaClass, java_method

    class Asks(PythonJavaClass):  # type: ignore[misc]
        __javainterfaces__: ClassVar = ["java/lang/Runnable"]

        @java_method("()V")  # type: ignore[untyped-decorator]
        def run(self) -> None:
            self.lookup = java_class("java.lang.invoke.MethodHandles").lookup()

    asks = Asks()
    java_class("java.util.concurrent.FutureTask")(asks, None).run()
    return asks.lookup
