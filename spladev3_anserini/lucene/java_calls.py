"""Methods of Java -> one callable that runs entirely inside the JVM.

A call from Python costs microseconds, and so does each attribute of a hit. Fetching a ranking of
1,000 hits piece by piece therefore costs more than computing it. This module instead joins Java's
method handles (`java.lang.invoke`): a text goes in, a text comes out. The calls run on Java's
threads, because pyjnius stores a call's object in the method, which Python threads would share.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator, Iterable
from functools import cache
from typing import Any, ClassVar

from spladev3_anserini.lucene.jvm import java_class, java_errors

_HANDLE, _CALLABLE = "java.lang.invoke.MethodHandle", "java.util.concurrent.Callable"


def method_descriptor(*names: str) -> str:
    """Returns a method's descriptor, `(arguments)result`.

    `names` are the arguments and the result: classes by full name, primitives by letter.
    """
    *arguments, result = (n if len(n) == 1 else f"L{n.replace('.', '/')};" for n in names)
    return f"({''.join(arguments)}){result}"


def class_named(name: str) -> Any:
    """Returns the `java.lang.Class` of a name; an array's name is `[Lfull.name;`."""
    return java_class("java.lang.Class").forName(name)


def method_handle(owner: Any, name: str, descriptor: str, of: str) -> Any:
    """Returns the handle of a method.

    Args:
        owner: The object that it is bound to; None for a static method.
        name: The method's name.
        descriptor: Its arguments and result; see `method_descriptor`.
        of: The full name of the class that declares it.
    """
    kind = _method_type(descriptor)
    lookup = java_class("java.lang.invoke.MethodHandles").publicLookup()
    if owner is None:
        return lookup.findStatic(class_named(of), name, kind)
    return lookup.findVirtual(class_named(of), name, kind).bindTo(owner)


def _method_type(descriptor: str) -> Any:
    loader = java_class("java.lang.ClassLoader").getSystemClassLoader()
    return java_class("java.lang.invoke.MethodType").fromMethodDescriptorString(descriptor, loader)


def field_getter(of: str, name: str, kind: str) -> Any:
    """Returns the handle that reads a field, of type `kind`, of an object of class `of`."""
    lookup = java_class("java.lang.invoke.MethodHandles").publicLookup()
    return lookup.findGetter(class_named(of), name, class_named(kind))


def bind_arguments(handle: Any, position: int, *values: Any) -> Any:
    """Returns the handle with the arguments from `position` on fixed to `values`."""
    for value in values:
        if isinstance(value, int):
            value = java_class("java.lang.Integer")(value)
        handle = java_class("java.lang.invoke.MethodHandles").insertArguments(
            handle, position, value)
    return handle


def compose(first: Any, second: Any) -> Any:
    """Returns the handle of second(first(...)); the value between them is cast if needed."""
    anything = class_named("java.lang.Object")
    return java_class("java.lang.invoke.MethodHandles").filterReturnValue(
        first.asType(first.type().changeReturnType(anything)),
        second.asType(second.type().changeParameterType(0, anything)))


def invoke(handle: Any, text: str) -> str:
    """Calls a handle with a text; raises InputError if it throws."""
    with java_errors("search"):
        task = _task(handle, text)
        task.run()
        return str(task.get())


def invoke_all(calls: Iterable[tuple[Any, str]], threads: int) -> Generator[str, None, None]:
    """Runs calls on Java's threads and yields their results in order.

    Args:
        calls: (handle, text) for each call.
        threads: Java's threads. They work ahead by at most 16 calls per thread.

    Raises:
        InputError: A call throws.
    """
    executor = java_class("java.util.concurrent.Executors").newFixedThreadPool(threads)
    running: deque[Any] = deque()
    try:
        for handle, text in calls:
            with java_errors("search"):
                task = _task(handle, text)
                executor.execute(task)
            running.append(task)
            if len(running) > 16 * threads:
                yield _result(running.popleft())
        while running:
            yield _result(running.popleft())
    finally:
        if not sys.is_finalizing():  # this class is gone by then
            executor.shutdownNow()


def _task(handle: Any, text: str) -> Any:
    """Returns the FutureTask that calls a handle with a text."""
    arguments = java_class("java.util.ArrayList")()
    arguments.add(bind_arguments(handle, 0, text))
    return _task_maker().invokeWithArguments(arguments)


def _result(task: Any) -> str:
    with java_errors("search"):
        return str(task.get())


@cache
def _task_maker() -> Any:
    """Returns the handle (handle) -> FutureTask.

    The Callable between the two stays inside Java: its class is hidden from Java 22 on, so pyjnius
    cannot look it up.
    """
    lookup = _full_lookup()
    proxy = lookup.findStatic(
        class_named("java.lang.invoke.MethodHandleProxies"), "asInterfaceInstance",
        _method_type(method_descriptor("java.lang.Class", _HANDLE, "java.lang.Object")))
    task = lookup.findConstructor(class_named("java.util.concurrent.FutureTask"),
                                  _method_type(method_descriptor(_CALLABLE, "V")))
    return compose(bind_arguments(proxy, 0, class_named(_CALLABLE)), task)


def _full_lookup() -> Any:
    """Returns a lookup that finds `asInterfaceInstance`; the public one does only from Java 24 on.

    A lookup has the rights of the Java class that requests it. Python is no such class. Java
    therefore calls Python here, which requests the lookup within that call: the class is then one
    of pyjnius.
    """
    from jnius import PythonJavaClass, java_method

    class Requester(PythonJavaClass):  # type: ignore[misc]
        __javainterfaces__: ClassVar = ["java/lang/Runnable"]

        @java_method("()V")  # type: ignore[untyped-decorator]
        def run(self) -> None:
            self.lookup = java_class("java.lang.invoke.MethodHandles").lookup()

    requester = Requester()
    java_class("java.util.concurrent.FutureTask")(requester, None).run()
    return requester.lookup
