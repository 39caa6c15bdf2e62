"""What steers the compilation of TensorFlow's functions, and why.

Inference is fast because TensorFlow compiles it: the recursions over chains by XLA, into machine
code for one shape of their arguments, and the matrix products of densities and moments as traced
graphs. Both have a price, and the tables below are what keeps it small.

**Shapes.** XLA compiles a function anew for every shape that it meets. That takes a second or two
and some 10 MB that are never given back, so recordings of any length must make do with few
shapes. Chains are cut into chunks of one of four lengths (`chunks.CHUNK_LENGTHS`), and chunks are
put together into groups of the sizes below, padded with chunks of no samples. A group alone may
hold 8, 32 or 128 chunks. More chunks than that are spread over several groups of one size, which
is 96, 128, 160, 208 or 256. So there are seven sizes in all, whatever the data. Few chunks become
four times as many in the worst case, which costs little; many become half more.

**Threads.** Several groups are worked on side by side. They are called from a graph that is not
compiled, only traced (`call_on_groups`): TensorFlow runs what does not depend on each other on
several threads. Tracing it takes next to nothing, since what it calls is compiled already. Groups
are as many as a multiple of `N_THREADS`, so that no thread is left without one in the end.

**Blocks.** Densities and moments are products over blocks of rows that fit into the processor's
cache. Every call into TensorFlow wakes its threads and waits until the last of them has ended,
which is much for the work of one block. So a call takes as many as eight blocks
(`BLOCKS_PER_CALL`), and only two of them are worked on at a time (`N_CONCURRENT_BLOCKS`): the
temporaries of all eight would fill caches and memory. Every number of blocks is traced once, and
takes memory, which is why there are four of them and not eight. The number of rows is left open.

**Caches.** Concrete functions are kept here, by function and shapes, and not by TensorFlow,
which takes a function that meets many shapes for a mistake and warns about retracing. The caches
hold `CACHE_SIZE` functions each, so that a program that fits models of ever new sizes does not
fill the memory.

**Locks.** Tracing a function compiles those that it calls, and fits may run in several threads of
a process. One of them compiles, others wait (`_COMPILING`, which a thread may enter twice).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from ..runtime._tensorflow import tf

# Numbers of chunks in a group that is alone, and in each of several.
GROUP_SIZES_ALONE = (8, 32, 128)
GROUP_SIZES_TOGETHER = (96, 128, 160, 208, 256)
# Groups are as many as a multiple of this, which are worked on side by side.
N_THREADS = 2

# Numbers of blocks that one call works on, the largest that there are enough for.
BLOCKS_PER_CALL = (8, 4, 2, 1)
# Of these, so many are worked on at a time.
N_CONCURRENT_BLOCKS = 2

# Functions that each cache keeps.
CACHE_SIZE = 256
# Keeps what a function traces, by its arguments.
cache_traced = lru_cache(maxsize=CACHE_SIZE)

_COMPILING = threading.RLock()


def group_sizes(n_chunks: int) -> list[int]:
    """Choose groups for so many chunks: the number of chunks in each, those that pad included."""
    alone = n_chunks <= GROUP_SIZES_ALONE[-1]
    n_groups = 1 if alone else N_THREADS * -(-n_chunks // (N_THREADS * GROUP_SIZES_TOGETHER[-1]))
    sizes = GROUP_SIZES_ALONE if alone else GROUP_SIZES_TOGETHER
    return [next(size for size in sizes if size * n_groups >= n_chunks)] * n_groups


def call_compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function, compiled by XLA for the shapes of its arguments."""
    tensors, specs = _with_specs(arguments)
    with _COMPILING:  # of several threads, one
        compiled = _compiled(function, *specs)
    return compiled(*tensors)


def call_on_groups(function: Callable[..., Any], groups: Sequence[int], *arguments: Any) -> Any:
    """Run a function of groups of chunks, which calls compiled ones, as one graph."""
    tensors, specs = _with_specs(arguments)
    with _COMPILING:
        traced = _traced_on_groups(function, tuple(groups), *specs)
    return traced(*tensors)


@cache_traced
def _compiled(function: Callable[..., Any], *specs: tuple[Any, ...]) -> Callable[..., Any]:
    """Compile a function for one shape of each argument."""
    shapes = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.get_concrete_function(*shapes)


@cache_traced
def _traced_on_groups(
    function: Callable[..., Any], groups: tuple[int, ...], *specs: tuple[Any, ...]
) -> Callable[..., Any]:
    """Trace a function of groups for one shape of each argument."""
    shapes = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    of_groups = tf.function(partial(function, groups), autograph=False)
    return of_groups.get_concrete_function(*shapes)


def _with_specs(arguments: Sequence[Any]) -> tuple[list["tf.Tensor"], list[tuple[Any, ...]]]:
    """Get arguments as tensors, and the shape and type of each."""
    tensors = [tf.convert_to_tensor(argument) for argument in arguments]
    return tensors, [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]


def by_calls(blocks: Iterable[Any], *lists: Iterable[Any]) -> Iterator[list[list[Any]]]:
    """Yield blocks, and what belongs to each of them, as many as go into one call."""
    by_block = zip(blocks, *lists, strict=True)
    while waiting := list(islice(by_block, BLOCKS_PER_CALL[0])):
        while waiting:
            size = next(size for size in BLOCKS_PER_CALL if size <= len(waiting))
            yield [list(of_kind) for of_kind in zip(*waiting[:size], strict=True)]
            waiting = waiting[size:]


def map_blocks(function: Callable[..., Any], *lists: Iterable[Any]) -> list[Any]:
    """Apply a function to blocks, and to what belongs to each of them, a few side by side."""
    results: list[Any] = []
    for i_block, of_block in enumerate(zip(*lists, strict=True)):
        before = results[i_block - N_CONCURRENT_BLOCKS] if i_block >= N_CONCURRENT_BLOCKS else []
        with tf.control_dependencies(tf.nest.flatten(before)):
            results.append(function(*of_block))
    return results
