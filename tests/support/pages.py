"""Lists that come in pages."""


async def pages(read):
    """Yield each page. `read(after)` returns the page and where the next one begins, or None at the end."""
    after = None
    while True:
        begins, (page, after) = after, await read(after)
        yield page
        if after is None:
            return
        assert after != begins, "a page begins where the one before began"
