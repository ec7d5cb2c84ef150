"""Keep the pool's threads awake while a program runs that shares several loops with them.

Between two loops that are shared, a program does other things, often for longer than workers wait;
each loop would then wake them again, or go without them where that is not repaid. See
`native/pool_text`: `enter` counts the calls under way, and wakes workers for all the loops at once.
"""

from __future__ import annotations

from symgraph.cpu.abi import POOL_CALLS, POOL_ENTER, Ctx

_BODY = "define i32 @run("
BODY_NAME = "run.parts"
_TEXT = """
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) nounwind {{
  %pool.at = getelementptr i64, ptr %ctx, i64 {pool}
  %pool = load ptr, ptr %pool.at, align 8
  %enter.at = getelementptr i8, ptr %pool, i64 {enter}
  %enter = load ptr, ptr %enter.at, align 8
  call void %enter(ptr %pool, i64 {pieces}, ptr %ctx)
  %status = call i32 @run.parts(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx)
  %calls = getelementptr i8, ptr %pool, i64 {calls}
  %before = atomicrmw sub ptr %calls, i64 1 monotonic, align 8
  ret i32 %status
}}
"""


def under_way(text: str, pieces: int) -> str:
    """Return the module with a `run` that says when it begins and ends.

    pieces: of all shared loops together, as far as their sizes are known.
    """
    run = _TEXT.format(
        pool=int(Ctx.THREAD_POOL), enter=POOL_ENTER, calls=POOL_CALLS, pieces=pieces
    )
    return text.replace(_BODY, f"define internal i32 @{BODY_NAME}(") + run
